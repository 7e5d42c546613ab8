"""What a run would do and take; what cannot end well is refused before it begins."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from compressor_cli.backends.torch.packing import packs
from compressor_cli.core.footprint import FAR, Footprint, footprint, machine_memory, read_shape, size
from compressor_cli.core.prices import NANO
from compressor_cli.core.runs import require_space
from compressor_cli.core.training import TrainJob
from compressor_cli.core.training_prices import training_price
from compressor_cli.errors import UsageError
from compressor_cli.settings import LocalSettings, TorchSettings


@dataclass(frozen=True)
class TrainPlan:
    """`tokens` and `trained_tokens` are those of one epoch, `tokens_a_step` a mean, `total_tokens` of all steps.

    Bytes and cost are None where they are not known. `memory_bytes` is an estimate of one process.
    """

    backend: str
    stage: str
    model: str
    rows: int
    left_out: Mapping[str, int]
    valid_rows: int
    tokens: int
    trained_tokens: int
    longest: int
    rows_a_step: int
    steps_an_epoch: int
    steps: int
    tokens_a_step: int
    total_tokens: int
    save_every: int
    trained_weights: int | None
    memory_bytes: int | None
    machine_bytes: int | None
    checkpoint_bytes: int | None
    cost_usd: str | None
    prices_of: str | None
    settings: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def plan_of(job: TrainJob) -> TrainPlan:
    found = _footprint(job)
    total = total_tokens(job)
    cost, day = _cost(job, total)
    return TrainPlan(
        backend=job.backend,
        stage=job.settings.stage,
        model=job.model,
        rows=len(job.train),
        left_out=dict(job.train.left_out),
        valid_rows=len(job.valid),
        tokens=job.train.tokens,
        trained_tokens=job.train.trained,
        longest=job.train.longest,
        rows_a_step=job.pace.rows_per_step,
        steps_an_epoch=job.pace.steps_per_epoch,
        steps=job.pace.steps,
        tokens_a_step=round(total / job.pace.steps),
        total_tokens=total,
        save_every=job.save_every,
        trained_weights=found.trained if found else None,
        memory_bytes=found.memory if found else None,
        machine_bytes=_memory_there(job) if found else None,
        checkpoint_bytes=found.checkpoint if found else None,
        cost_usd=cost,
        prices_of=day,
        settings=job.settings.model_dump(mode="json", exclude_none=True),
    )


def require_room(plan: TrainPlan, output: Path) -> str | None:
    """Raises UsageError where memory or disk are far from enough; a line where memory may be short."""
    if plan.checkpoint_bytes:
        require_space(output, plan.checkpoint_bytes, plan.settings["keep_last"])
    if not plan.memory_bytes or not plan.machine_bytes:
        return None
    told = f"about {size(plan.memory_bytes)} of memory are needed, and {size(plan.machine_bytes)} are there"
    if plan.memory_bytes > FAR * plan.machine_bytes:
        raise UsageError(
            f"this run does not fit: {told}",
            hint="a smaller or a 4-bit --model, a lower --batch-size or --max-seq-length, gradient_checkpointing: true",
        )
    return f"memory may be short: {told}" if plan.memory_bytes > plan.machine_bytes else None


def total_tokens(job: TrainJob) -> int:
    """Exactly those that all steps go through; for preferences the mean of a row times their number."""
    lengths = _lengths(job)
    if not lengths:
        rows = sum(len(job.pace.rows_of(step)) for step in range(job.pace.steps))
        return round(job.train.tokens / len(job.train) * rows)
    return sum(lengths[row] for step in range(job.pace.steps) for row in job.pace.rows_of(step))


def _lengths(job: TrainJob) -> list[int]:
    """Of what the pace counts as a row."""
    rows = [len(row.tokens) for row in job.train.rendered]
    if isinstance(job.settings, TorchSettings):
        return [sum(rows[place] for place in pack) for pack in packs(job.train.rendered, job.settings)]
    return rows


def _footprint(job: TrainJob) -> Footprint | None:
    settings = job.settings
    if isinstance(settings, LocalSettings):
        shape = read_shape(job.folder)
        layers, checkpointing = settings.num_layers, settings.gradient_checkpointing
        teacher, tiled = 0, False
    elif isinstance(settings, TorchSettings):
        shape = read_shape(settings.from_config or job.folder, settings.precision)
        layers, checkpointing = -1, settings.gradient_checkpointing
        tiled = settings.stage != "distill" or settings.distill_loss != "logits"
        teacher = int(settings.stage == "dpo" or not tiled)
    else:
        return None  # it is the server's
    if shape is None:
        return None
    copies = 2 if settings.stage == "dpo" else 1  # chosen and rejected
    return footprint(
        shape,
        rank=settings.rank if settings.fine_tune_type != "full" else None,
        layers=shape.layers if layers < 0 else min(layers, shape.layers),
        batch_size=settings.batch_size,
        tokens=job.train.longest * copies,
        tail=job.train.longest_tail * copies,
        checkpointing=checkpointing,
        backend=job.backend,
        reference=teacher,
        tiled=tiled,
    )


def _memory_there(job: TrainJob) -> int:
    if isinstance(job.settings, TorchSettings) and job.settings.device in ("auto", "cuda"):
        torch = importlib.import_module("torch") if find_spec("torch") else None  # a plan does without
        if torch and torch.cuda.is_available():
            return int(torch.cuda.get_device_properties(0).total_memory)
    return machine_memory()


def _cost(job: TrainJob, tokens: int) -> tuple[str | None, str | None]:
    """Of the steps, and of the validations after them."""
    price = training_price(job.model) if job.backend == "tinker" else None
    if price is None:
        return None, None
    validations = len({*range(job.eval_every, job.pace.steps + 1, job.eval_every), job.pace.steps})
    cost = price.cost(tokens, validations * job.valid.tokens)
    return f"{cost / NANO:.4f}", str(price.as_of)
