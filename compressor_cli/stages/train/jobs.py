"""From settings and files to a job that a backend can train, or a clear reason why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from compressor_cli.backends import BACKENDS
from compressor_cli.backends.torch.packing import packed
from compressor_cli.core.chat_tokenizer import ChatTokenizer, load_chat_tokenizer
from compressor_cli.core.models import model_folder, model_identity, require_model
from compressor_cli.core.pace import Pace, plan_steps
from compressor_cli.core.train_rows import TOO_LONG, RowFilter, TrainRows, read_train_rows
from compressor_cli.core.training import TrainJob, TrainSettings, start_identity
from compressor_cli.errors import MissingExtraError, UsageError
from compressor_cli.settings import TorchSettings

STAGES = {"local": ("sft", "pretrain"), "tinker": ("sft", "pretrain"), "torch": ("pretrain", "sft", "dpo", "distill")}


@dataclass(frozen=True)
class Sources:
    """Where a job comes from. `token` is the hub's, `bars` shows its progress, `weights` fetches the model too."""

    data: Path
    where: RowFilter | None = None
    skip_invalid: bool = False
    token: str | None = None
    bars: bool = False
    weights: bool = True


def prepare(
    backend: str,
    settings: TrainSettings,
    sources: Sources,
    *,
    tell: Callable[[str], None] = lambda message: None,
) -> TrainJob:
    """Raises UsageError where the data is missing or teaches nothing, or the backend cannot do what is asked."""
    require_able(backend, settings)
    files = data_files(sources.data)
    if find_spec("transformers") is None:  # which has all tokenizers
        raise MissingExtraError("transformers", BACKENDS[backend].extra)
    tokenizer = load_chat_tokenizer(settings.model, token=sources.token)
    train, valid = (_rows(files, name, settings, sources, tokenizer) for name in ("train", "valid"))
    for name, rows in (("train", train), ("valid", valid)):
        for reason, count in rows.left_out.items():
            tell(f"{name}: {count:,} rows left out: {reason}")
    if not len(train):
        _refuse_nothing(files["train"], train.left_out)
    on_disk = sources.weights and backend != "tinker"
    folder = model_folder(settings.model, token=sources.token, bars=sources.bars) if on_disk else tokenizer.folder
    if on_disk and not getattr(settings, "from_config", None):
        require_model(folder, settings.model)
    job = TrainJob(
        backend=backend,
        settings=settings,
        model=settings.model,
        folder=folder,
        data=files,
        train=train,
        valid=valid,
        pace=_pace(settings, len(train)),
        prompt=train.prompt(),
        identity=_identity(sources.where, folder if on_disk else None),
    )
    return packed(job) if isinstance(settings, TorchSettings) else job


def _refuse_nothing(path: Path, left_out: Mapping[str, int]) -> NoReturn:
    if not left_out:
        raise UsageError(f"{path}: there are no rows in it")
    reasons = "; ".join(f"{count:,} {reason}" for reason, count in left_out.items())
    lengths = "scc data stats tells their lengths; --max-seq-length takes longer ones"
    raise UsageError(f"{path}: no row is left to train on: {reasons}", hint=lengths if TOO_LONG in left_out else None)


def data_files(data: Path) -> dict[str, Path]:
    """By split. Raises UsageError where there is nothing to train on."""
    hint = f"scc data pull --output {data}"
    if data.is_file():
        return {"train": data}
    if not data.is_dir():
        raise UsageError(f"--data {data}: no such folder", hint=hint)
    files = {name: data / f"{name}.jsonl" for name in ("train", "valid")}
    if not files["train"].is_file():
        raise UsageError(f"--data {data}: train.jsonl is missing", hint=hint)
    return {name: path for name, path in files.items() if path.is_file()}


def require_packages(backend: str) -> None:
    if missing := BACKENDS[backend].missing_packages():
        raise MissingExtraError(missing[0], BACKENDS[backend].extra)


def require_able(backend: str, settings: TrainSettings) -> None:
    """Raises UsageError for a stage that the backend does not have."""
    if settings.stage not in STAGES[backend]:
        able = [name for name, stages in STAGES.items() if settings.stage in stages]
        raise UsageError(f"--stage {settings.stage} is not for --backend {backend}", hint=f"--backend {able[0]} has it")


def _rows(
    files: Mapping[str, Path], split: str, settings: TrainSettings, sources: Sources, tokenizer: ChatTokenizer
) -> TrainRows:
    if split not in files:
        return TrainRows()
    return read_train_rows(
        files[split],
        tokenizer,
        stage=settings.stage,
        mask=settings.mask,
        max_seq_length=settings.max_seq_length,
        where=sources.where,
        limit=settings.limit if split == "train" else settings.eval_rows,
        skip_invalid=sources.skip_invalid,
    )


def _pace(settings: TrainSettings, rows: int) -> Pace:
    steps = plan_steps(
        rows,
        settings.rows_per_step,
        epochs=settings.epochs,
        steps=settings.steps,
        iterations=getattr(settings, "iterations", None),
        accumulation=getattr(settings, "gradient_accumulation", 1),
    )
    return Pace(rows, settings.rows_per_step, steps, settings.seed)


def _identity(where: RowFilter | None, folder: Path | None) -> dict[str, Any]:
    chosen = where.model_dump(mode="json", exclude_defaults=True) if where else {}
    return {**({"where": chosen} if chosen else {}), **(model_identity(folder) if folder else {})}


def starting_from(job: TrainJob, start: Path | None) -> TrainJob:
    """The same job, from the result of a finished run."""
    if start is None:
        return job
    return replace(job, start=start, identity={**job.identity, **start_identity(start)})
