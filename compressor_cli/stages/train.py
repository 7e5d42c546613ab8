"""`scc train`: chat rows in, a run folder with a model out."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compressor_cli import __version__
from compressor_cli.backends import BACKENDS
from compressor_cli.core.files import sha256_file, write_atomic, write_json
from compressor_cli.core.jsonl import content_key, dump_row, read_rows
from compressor_cli.errors import MissingExtraError, UsageError
from compressor_cli.settings import ExtractiveSettings

Event = Mapping[str, Any]


@dataclass(frozen=True)
class TrainPlan:
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
class TrainSummary:
    run: Path
    model: Path
    metrics: dict[str, Any]


def train_extractive(
    settings: ExtractiveSettings,
    data: Path,
    run: Path,
    *,
    command: str = "",
    dry_run: bool = False,
    on_event: Callable[[Event], None] = lambda event: None,
) -> TrainPlan | TrainSummary:
    """Train, export and describe an extractive model in `run`; a run that was stopped goes on.

    `command` is what asked for the run, for its card.
    Raises UsageError where the data is missing, teaches nothing, or differs from that of the run that is there.
    """
    missing = BACKENDS["extractive"].missing_packages()
    if missing:
        raise MissingExtraError(missing[0], BACKENDS["extractive"].extra)
    from compressor_cli.backends.extractive.labels import NO_ANSWERS, label_rows, read_answers
    from compressor_cli.backends.extractive.network import base_folder

    files = _data_files(data)
    answers = read_answers(settings.answers) if settings.answers else NO_ANSWERS
    labelled = label_rows(_rows(files["train"], settings.limit), answers)
    only_marked = replace(answers, passages=())
    valid = label_rows(_rows(files["valid"], settings.limit), only_marked) if "valid" in files else None
    if not labelled.examples:
        raise UsageError(
            f"{files['train']}: none of its {labelled.asked} rows is prose; there is nothing to learn from"
        )
    base = base_folder(settings.base_model)
    card = _run_card(settings, files, base)
    job = _Job(settings, run, base, card, command, on_event)
    windows = job.windows(labelled.examples), job.windows(valid.examples if valid else ())
    plan = TrainPlan(
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
    on_event({"event": "plan", "plan": plan})
    return job.execute(*windows)


def _data_files(data: Path) -> dict[str, Path]:
    if not data.is_dir():
        raise UsageError(f"--data {data}: no such folder", hint="scc data pull --output " + str(data))
    files = {name: data / f"{name}.jsonl" for name in ("train", "valid")}
    if not files["train"].is_file():
        raise UsageError(f"--data {data}: train.jsonl is missing", hint="scc data pull --output " + str(data))
    return {name: path for name, path in files.items() if path.is_file()}


def _rows(path: Path, limit: int | None) -> list[dict[str, Any]]:
    rows = list(read_rows(path))
    return rows[:limit] if limit else rows


def _run_card(settings: ExtractiveSettings, files: Mapping[str, Path], base: Path) -> dict[str, Any]:
    """What makes the run: other values are another run."""
    hashes = {name: sha256_file(path) for name, path in files.items()}
    if settings.answers:
        hashes["answers"] = sha256_file(settings.answers)
    weights = sorted(base.glob("*.safetensors"))
    return {
        "backend": "extractive",
        "settings": settings.model_dump(mode="json", exclude={"answers"}),  # its hash says which, wherever it lies
        "data_sha256": hashes,
        "base_sha256": {path.name: sha256_file(path) for path in weights},
    }


class _Job:
    """One run in its folder: run.json, train.log, metrics.jsonl, checkpoint.pt while it lasts, model/."""

    def __init__(
        self,
        settings: ExtractiveSettings,
        run: Path,
        base: Path,
        card: dict[str, Any],
        command: str,
        on_event: Callable[[Event], None],
    ) -> None:
        from tokenizers import Tokenizer

        self.settings, self.run, self.base, self.card, self.on_event = settings, run, base, card, on_event
        self.origin = {"command": command, "versions": _versions()}
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

    def execute(self, train: Any, valid: Any) -> TrainSummary:
        import torch

        from compressor_cli.backends.extractive.network import load_network
        from compressor_cli.backends.extractive.training import fit

        self._open()
        if (self.run / "model" / "model.json").exists():
            self.on_event({"event": "done_before"})
            return TrainSummary(self.run, self.run / "model", self._last_metrics())
        torch.manual_seed(self.settings.seed)
        network = load_network(self.base, self.settings.layers, self.settings.dropout)
        fit(network, train, valid, self.settings, self.run / "checkpoint.pt", self._record)
        self._export(network)
        (self.run / "checkpoint.pt").unlink(missing_ok=True)
        return TrainSummary(self.run, self.run / "model", self._last_metrics())

    def _open(self) -> None:
        """Begin the run, or go on with one that is the same."""
        place = self.run / "run.json"
        if place.exists():
            before = json.loads(place.read_text(encoding="utf-8"))
            differing = [key for key in _flat(self.card) if _flat(before).get(key) != _flat(self.card)[key]]
            if differing:
                raise UsageError(
                    f"{self.run} is a run with other settings or data: {', '.join(differing)}",
                    hint="name another --output",
                )
            return
        if self.run.exists() and any(self.run.iterdir()):
            raise UsageError(f"--output {self.run} is not empty and no run", hint="name another --output")
        write_json(place, {**self.card, **self.origin, "created": datetime.now(UTC).isoformat(timespec="seconds")})

    def _record(self, event: Event) -> None:
        if "history" in event:  # whole each time: a kill between checkpoint and metrics loses no row
            write_atomic(self.run / "metrics.jsonl", b"".join(dump_row(row) for row in event["history"]))
        if event["event"] != "step":
            told = {key: value for key, value in event.items() if key != "history"}
            if event["event"] == "epoch":
                told |= event["history"][-1]
            with (self.run / "train.log").open("a", encoding="utf-8") as log:
                log.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {json.dumps(told)}\n")
        self.on_event(event)

    def _last_metrics(self) -> dict[str, Any]:
        path = self.run / "metrics.jsonl"
        return list(read_rows(path))[-1] if path.exists() else {}

    def _export(self, network: Any) -> None:
        """`model/`: what compress loads; model.json is written last."""
        from compressor_cli.backends.extractive.network import export_onnx

        folder = self.run / "model"
        folder.mkdir(exist_ok=True)
        export_onnx(network, folder / "model.onnx")
        self.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        write_json(
            folder / "model.json",
            {
                "id": content_key(self.card)[:12],
                **self.card,
                **self.origin,
                "metrics": self._last_metrics(),
                "max_seq_length": self.settings.max_seq_length,
                "cls_id": self.cls_id,
                "sep_id": self.sep_id,
                "sha256": {name: sha256_file(folder / name) for name in ("model.onnx", "tokenizer.json")},
            },
        )


def _flat(card: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in card.items():
        if prefix == "" and key in ("command", "versions", "created"):
            continue
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    names = ("torch", "transformers", "onnx", "onnxruntime", "tokenizers", "numpy")
    return {"compressor_cli": __version__, "python": platform.python_version(), **{n: version(n) for n in names}}
