"""What happens after each step of a run. Imports transformers.

Every process goes through it; the leading one alone has a Run.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from compressor_cli.backends.torch.models import Origin, find_origin
from compressor_cli.backends.torch.rows import Rows
from compressor_cli.backends.torch.saving import keep, save_plain
from compressor_cli.backends.torch.world import World, attempt
from compressor_cli.core.runs import Run, require_finite
from compressor_cli.core.stopping import Stop
from compressor_cli.core.training import TrainJob
from compressor_cli.settings import TorchSettings

STAGED = ".trainer"  # where the Trainer writes, in the run folder


@dataclass
class Seat:
    """What a process has of the run in `folder`. `resume` is the checkpoint that all go on from."""

    job: TrainJob
    settings: TorchSettings
    world: World
    folder: Path
    trainer: Any = None
    run: Run | None = None
    stop: Stop = field(default_factory=Stop)
    resume: Path | None = None

    @cached_property
    def origin(self) -> Origin:
        return find_origin(self.job)


class Conductor(TrainerCallback):
    """Records loss and validation, saves where it is due, and ends where that is asked for."""

    def __init__(self, seat: Seat, rows: Rows) -> None:
        self.seat, self.rows = seat, rows
        self.began = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.began = time.perf_counter()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
        state.log_history.clear()  # it would grow in every checkpoint
        if "loss" not in logs:  # the totals at the end
            return
        seat, step, seconds = self.seat, state.global_step, time.perf_counter() - self.began
        if not math.isfinite(logs["loss"]):  # which is the same in all processes
            seat.world.together(lambda: require_finite(logs["loss"], step))
        last = step == seat.job.pace.steps
        val_loss = self.seat.trainer.validate() if last or step % seat.job.eval_every == 0 else None
        failed = attempt(lambda: self._record(step, logs, val_loss, seconds))
        reason = seat.world.agree(failed, seat.stop.reason if isinstance(seat.stop.reason, int) else 0)
        if reason:
            seat.stop.ask(reason)
        control.should_save = last or bool(reason) or step % seat.job.save_every == 0
        self.began = time.perf_counter()

    def _record(self, step: int, logs: Any, val_loss: float | None, seconds: float) -> None:
        if self.seat.run:
            self.seat.run.record(
                step,
                self.seat.job.pace.epoch(step),
                loss=logs["loss"],
                val_loss=val_loss,
                lr=logs["learning_rate"],
                tokens=sum(self.rows.tokens[place] for place in self.seat.job.pace.rows_of(step - 1)),
                seconds=seconds,
            )

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        seat = self.seat
        seat.world.wait()  # each process has written its random state
        seat.world.together(partial(self._keep, state.global_step))
        if isinstance(seat.stop.reason, int):
            if seat.run:
                seat.run.leave_if(seat.stop)
            raise SystemExit(128 + seat.stop.reason)
        self.began = time.perf_counter()

    def _keep(self, step: int) -> None:
        seat = self.seat
        assert seat.run
        keep(seat.run, seat.job, step, seat.folder / STAGED / f"checkpoint-{step}", seat.origin.name)
        if seat.settings.legacy_pth:
            save_plain(seat.run, self.seat.trainer.model, seat.settings.stage)
