"""`scc train --backend extractive`: chat rows in, a run folder with a model of the prose engine out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from compressor_cli.core.files import sha256_file, write_json
from compressor_cli.core.jsonl import content_key, read_rows
from compressor_cli.core.runs import Run, RunSpec, open_run
from compressor_cli.core.stopping import stop_on_signals
from compressor_cli.core.training import Launch
from compressor_cli.errors import UsageError
from compressor_cli.settings import ExtractiveSettings
from compressor_cli.stages.train.jobs import data_files, require_packages


@dataclass(frozen=True)
class ExtractivePlan:
    """What a run would do; counts of rows, windows and optimizer steps."""

    rows: int
    prose: int
    code: int
    short: int
    answered: int
    valid: int
    windows: int
    steps: int


@dataclass(frozen=True)
class ExtractiveSummary:
    run: Path
    model: Path
    metrics: dict[str, Any]


def train_extractive(
    settings: ExtractiveSettings,
    data: Path,
    launch: Launch,
    *,
    dry_run: bool = False,
) -> ExtractivePlan | ExtractiveSummary:
    """Train, export and describe an extractive model in a run folder; a run that was stopped goes on.

    Raises UsageError where the data is missing, teaches nothing, or differs from that of the run that is there.
    """
    require_packages("extractive")
    from compressor_cli.backends.extractive.labels import NO_ANSWERS, label_rows, read_answers
    from compressor_cli.backends.extractive.network import base_folder

    files = data_files(data)
    answers = read_answers(settings.answers) if settings.answers else NO_ANSWERS
    labelled = label_rows(_rows(files["train"], settings.limit), answers)
    only_marked = replace(answers, passages=())
    valid = label_rows(_rows(files["valid"], settings.limit), only_marked) if "valid" in files else None
    if not labelled.examples:
        raise UsageError(
            f"{files['train']}: none of its {labelled.asked} rows is prose; there is nothing to learn from"
        )
    base = base_folder(settings.model)
    job = _Job(settings, base)
    windows = job.windows(labelled.examples), job.windows(valid.examples if valid else ())
    plan = ExtractivePlan(
        rows=labelled.asked,
        prose=len(labelled.examples),
        code=labelled.code,
        short=labelled.short,
        answered=labelled.answered,
        valid=len(valid.examples) if valid else 0,
        windows=len(windows[0]),
        steps=settings.epochs * job.steps(windows[0]),
    )
    if dry_run:
        return plan
    launch.on_event({"message": ", ".join(f"{name} {value}" for name, value in asdict(plan).items())})
    network = job.network()  # what it refuses must not have begun a run
    spec = _spec(settings, files, base, plan, launch)
    with open_run(
        launch.folder, spec, resume=launch.resume, resume_from=launch.resume_from, on_event=launch.on_event
    ) as opened:
        if opened.finished:
            launch.on_event({"message": "this run is complete already"})
        else:
            job.execute(opened, network, *windows)
        return ExtractiveSummary(opened.folder, opened.folder / "model", opened.rows[-1])


def _rows(path: Path, limit: int | None) -> list[dict[str, Any]]:
    rows = list(read_rows(path))
    return rows[:limit] if limit else rows


def _spec(
    settings: ExtractiveSettings, files: Mapping[str, Path], base: Path, plan: ExtractivePlan, launch: Launch
) -> RunSpec:
    answers = {"answers": settings.answers} if settings.answers else {}
    return RunSpec(
        backend="extractive",
        model=settings.model,
        settings=settings.model_dump(mode="json", exclude={"answers"}),  # its hash says which, wherever it lies
        data={**files, **answers},
        identity={"base_sha256": {path.name: sha256_file(path) for path in sorted(base.glob("*.safetensors"))}},
        packages=("torch", "transformers", "onnx", "onnxruntime", "tokenizers", "numpy"),
        steps=plan.steps,
        keep_last=1,
        command=launch.command,
        wandb=launch.wandb,
    )


class _Job:
    """The tokenizer of the base model, and what is made with it: windows, and `model/` in the run."""

    def __init__(self, settings: ExtractiveSettings, base: Path) -> None:
        from tokenizers import Tokenizer

        self.settings, self.base = settings, base
        self.tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        ids = [self.tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]")]
        self.cls_id, self.sep_id = (-1 if found is None else found for found in ids)
        if None in ids:
            raise UsageError(f"base model {base}: its tokenizer has no [CLS] and [SEP]")

    def windows(self, examples: Any) -> Any:
        from compressor_cli.backends.extractive.training import make_windows

        return make_windows(examples, self.tokenizer, self.settings.max_seq_length, self.cls_id, self.sep_id)

    def steps(self, windows: Any) -> int:
        from compressor_cli.backends.extractive.training import batches

        return sum(1 for _ in batches(windows, self.settings.batch_size, None))

    def network(self) -> Any:
        import torch

        from compressor_cli.backends.extractive.network import load_network

        torch.manual_seed(self.settings.seed)
        return load_network(self.base, self.settings.layers, self.settings.dropout)

    def execute(self, run: Run, network: Any, train: Any, valid: Any) -> None:
        from compressor_cli.backends.extractive.training import fit

        with stop_on_signals() as stop:
            fit(network, train, valid, self.settings, run, stop)
        self._export(run, network)
        run.finish()

    def _export(self, run: Run, network: Any) -> None:
        """`model/`: what compress loads; model.json is written last."""
        from compressor_cli.backends.extractive.network import export_onnx

        folder = run.folder / "model"
        folder.mkdir(exist_ok=True)
        export_onnx(network, folder / "model.onnx")
        self.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        card = {name: run.fingerprint[name] for name in ("backend", "settings", "data_sha256", "base_sha256")}
        write_json(
            folder / "model.json",
            {
                "id": content_key(card)[:12],
                **card,
                "command": run.card["command"],
                "versions": run.card["versions"],
                "metrics": run.rows[-1],
                "max_seq_length": self.settings.max_seq_length,
                "cls_id": self.cls_id,
                "sep_id": self.sep_id,
                "sha256": {name: sha256_file(folder / name) for name in ("model.onnx", "tokenizer.json")},
            },
        )
