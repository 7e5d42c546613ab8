"""The training loop on MLX, which saves what mlx-lm's forgets: optimizer, random state and place. Imports MLX."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx import nn, optimizers
from mlx.utils import tree_flatten, tree_map, tree_unflatten
from mlx_lm.utils import maybe_set_recommended_wired_limit

from compressor_cli.backends.mlx.model import WEIGHTS, Trained, load_arrays, save_arrays
from compressor_cli.backends.mlx.recompute import checkpoint_layers
from compressor_cli.backends.mlx.tails import tail_logits, use_tails
from compressor_cli.core.checkpoints import Checkpoint, checkpoint_name, load_state
from compressor_cli.core.files import write_json
from compressor_cli.core.footprint import TAIL_TO, size
from compressor_cli.core.pace import learning_rate
from compressor_cli.core.rendering import Rendered
from compressor_cli.core.runfiles import TinkerRun, write_tinker_run
from compressor_cli.core.runs import Run
from compressor_cli.core.stopping import Stop
from compressor_cli.core.training import TrainJob
from compressor_cli.errors import UsageError
from compressor_cli.settings import LocalSettings

OPTIMIZER = "optimizer.safetensors"
RANDOM = "random.json"
_PAD_TO = 32  # as mlx-lm does: shapes come again, and are compiled once

# Tokens; what follows each, from the first place that any row is trained on; and whether the loss is on that.
Batch = tuple[mx.array, mx.array, mx.array]
Step = Callable[[Batch, mx.array, Any, bool], tuple[mx.array, Any]]


def fit(trained: Trained, job: TrainJob, run: Run, stop: Stop) -> None:
    """From where `run` stands to the last step; then fills `run.adapter`."""
    loop = _Loop(trained, job, run, stop)
    for note in trained.notes:
        run.tell(note)
    loop.restore()
    while loop.step < job.pace.steps:
        loop.one_step()
    loop.export()


class _Loop:
    """`step` updates of the weights are done."""

    def __init__(self, trained: Trained, job: TrainJob, run: Run, stop: Stop) -> None:
        assert isinstance(job.settings, LocalSettings)
        self.trained, self.job, self.run, self.stop, self.settings = trained, job, run, stop, job.settings
        self.step = 0
        maybe_set_recommended_wired_limit()
        self.optimizer = make_optimizer(self.settings)
        self.optimizer.init(trained.model.trainable_parameters())
        if self.settings.gradient_checkpointing:
            checkpoint_layers(trained.model, self.settings.dropout)
        use_tails(trained.model)
        trained.model.train()

    def restore(self) -> None:
        found = self.run.resumed
        if found is not None:
            self.trained.load(_file(found, WEIGHTS))
            self.optimizer.state = tree_unflatten(list(load_arrays(_file(found, OPTIMIZER)).items()))
            self.optimizer.init(self.trained.model.trainable_parameters())
            high, low = load_state(found, RANDOM)["key"]
            mx.random.seed((high << 32) | low)
            self.step = found.step
        mx.eval(self.trained.model.parameters(), self.optimizer.state)
        self.update = make_step(self.trained.model, self.optimizer, self.settings.max_grad_norm)

    def one_step(self) -> None:
        began, job, settings = time.perf_counter(), self.job, self.settings
        rows = [job.train.rendered[place] for place in job.pace.rows_of(self.step)]
        rate = learning_rate(self.step, job.pace.steps, settings.learning_rate, settings.warmup, settings.schedule)
        self.optimizer.learning_rate = rate
        loss = run_step(self.update, rows, settings.batch_size)
        seconds = time.perf_counter() - began
        self.step += 1
        last = self.step == job.pace.steps
        self.run.record(
            self.step,
            job.pace.epoch(self.step),
            loss=round(loss, 5),
            val_loss=self._validate() if last or self.step % job.eval_every == 0 else None,
            lr=rate,
            tokens=sum(len(row.tokens) for row in rows),
            seconds=seconds,
        )
        if last or self.run.due(self.step) or self.stop.asked:
            self._save()
        self.run.leave_if(self.stop)

    def _validate(self) -> float | None:
        if not self.job.valid.rendered:
            return None
        self.trained.model.eval()
        loss = mean_loss(self.trained.model, self.job.valid.rendered, self.settings.batch_size)
        self.trained.model.train()
        return round(loss, 5)

    def _save(self) -> None:
        saved = self.run.save(self.job.pace.position(self.step), self._write)
        self._note(saved.path)

    def _write(self, folder: Path) -> None:
        self.trained.write(folder)
        save_arrays(folder / OPTIMIZER, dict(tree_flatten(self.optimizer.state)))
        random: Any = mx.random.state
        write_json(folder / RANDOM, {"key": random[0].tolist()})

    def _note(self, sampler: Path) -> None:
        """Paths are those within the run's folder, which may be moved."""
        run = self.run
        state = run.checkpoints / checkpoint_name(self.step)
        session = run.card["sessions"][-1]["started"]
        name = run.folder.resolve().name
        paths = (str(path.relative_to(run.folder)) for path in (state, sampler))
        write_tinker_run(run.folder, TinkerRun("local", self.job.model, self.step, name, session, *paths))

    def export(self) -> None:
        """Beside, then renamed: an adapter that is there is whole."""
        run, beside = self.run, self.run.folder / f".{self.run.adapter.name}"
        for left in (beside, run.adapter):  # by a process that was killed here
            shutil.rmtree(left, ignore_errors=True)
        self.trained.export(beside, self.job.folder)
        beside.rename(run.adapter)
        self._note(run.adapter)
        run.tell(f"at most {size(mx.get_peak_memory())} of memory were in use by MLX")


def make_optimizer(settings: LocalSettings) -> Any:
    """Adam as elsewhere: MLX leaves the correction of its first steps out by default."""
    if settings.optimizer == "adam":
        return optimizers.Adam(settings.learning_rate, bias_correction=True)
    return optimizers.AdamW(settings.learning_rate, weight_decay=settings.weight_decay, bias_correction=True)


def make_batch(rows: Sequence[Rendered]) -> Batch:
    """Padded on the right, without a loss on the padding (mlx-lm's own has one on the first token of it)."""
    longest = max(len(row.tokens) - 1 for row in rows)
    width = _PAD_TO * max(1, -(-longest // _PAD_TO))
    arrays = np.zeros((3, len(rows), width), np.int32)
    for place, row in enumerate(rows):
        for array, values in zip(arrays, row.shifted(), strict=True):
            array[place, : len(values)] = values
    tokens, following, trained = arrays
    tail = slice(width - tail_length(rows, width), None)
    return mx.array(tokens), mx.array(following[:, tail]), mx.array(trained[:, tail].astype(np.bool_))


def tail_length(rows: Sequence[Rendered], width: int) -> int:
    """From the first token that any row is trained on."""
    first = min((row.trained[0][0] - 1 for row in rows if row.trained), default=0)
    return min(width, TAIL_TO * -(-(width - max(0, first)) // TAIL_TO))


def batches(rows: Sequence[Rendered], size: int) -> list[list[Rendered]]:
    """Rows of like length together: less padding, and the same sum."""
    ordered = sorted(rows, key=lambda row: len(row.tokens))
    return [ordered[at : at + size] for at in range(0, len(ordered), size)]


def sum_loss(model: Any, tokens: mx.array, following: mx.array, trained: mx.array) -> mx.array:
    losses: mx.array = nn.losses.cross_entropy(tail_logits(model, tokens, following.shape[1]), following) * trained
    return losses.astype(mx.float32).sum()


def make_step(model: Any, optimizer: Any, max_grad_norm: float | None) -> Step:
    """One batch of a step: adds its part of the mean over `total` tokens, and after the `last` updates the weights."""

    def part(model: Any, batch: Batch, total: mx.array) -> mx.array:
        return sum_loss(model, *batch) / total

    loss_and_gradients = nn.value_and_grad(model, part)
    state = [model.state, optimizer.state, mx.random.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def compute(batch: Batch, total: mx.array, before: Any, last: bool) -> tuple[mx.array, Any]:
        loss, gradients = loss_and_gradients(model, batch, total)
        if before is not None:
            gradients = tree_map(lambda a, b: a + b, gradients, before)
        if last:
            if max_grad_norm is not None:
                gradients, _ = optimizers.clip_grad_norm(gradients, max_grad_norm)
            optimizer.update(model, gradients)
            gradients = None
        return loss, gradients

    def step(batch: Batch, total: mx.array, before: Any, last: bool) -> tuple[mx.array, Any]:
        loss, gradients = compute(batch, total, before, last)
        mx.eval(state, loss, gradients)
        _free()
        return loss, gradients

    return step


def run_step(update: Step, rows: Sequence[Rendered], batch_size: int) -> float:
    """The mean loss over all trained tokens of the rows, as it was before the update."""
    parts = batches(rows, batch_size)
    total = mx.array(float(sum(row.trained_tokens for row in rows)))
    mean, gradients = 0.0, None
    for place, part in enumerate(parts):
        loss, gradients = update(make_batch(part), total, gradients, place == len(parts) - 1)
        mean += float(loss)
    return mean


def mean_loss(model: Any, rows: Sequence[Rendered], batch_size: int) -> float:
    total = 0.0
    for part in batches(rows, batch_size):
        total += float(sum_loss(model, *make_batch(part)))
        _free()
    return total / sum(row.trained_tokens for row in rows)


def _free() -> None:
    """As mlx-lm does after each batch: what other shapes used is not kept."""
    if mx.get_cache_memory():
        mx.clear_cache()


def _file(found: Checkpoint, name: str) -> Path:
    if name not in found.files:
        raise UsageError(f"{found.path} has no {name}: it was saved by another backend, or another version")
    return found.path / name
