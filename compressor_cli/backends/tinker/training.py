"""The training loop: steps are submitted ahead of their results, and a save waits until none is under way."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor_cli.backends.tinker.access import Access, cloud_settings, find_access
from compressor_cli.backends.tinker.adapter import fill_adapter
from compressor_cli.backends.tinker.connection import Connection, connected
from compressor_cli.backends.tinker.data import LOSS, datum, total_loss
from compressor_cli.backends.tinker.session import STATE, open_client, open_service, saved_path
from compressor_cli.core.files import write_json
from compressor_cli.core.pace import learning_rate
from compressor_cli.core.rendering import Rendered
from compressor_cli.core.runfiles import TinkerRun, write_tinker_run
from compressor_cli.core.runs import Run, require_finite
from compressor_cli.core.stopping import Stop
from compressor_cli.core.training import TrainJob
from compressor_cli.errors import SccError

_AHEAD = 2  # steps under way at once: the server always has the next one when it ends one
_VALID_ROWS, _VALID_AHEAD = 32, 4  # rows of a request of validation, and how many are under way


def fit(job: TrainJob, run: Run, stop: Stop) -> None:
    access = find_access(job.settings)
    with connected(access, run.tell) as connection, open_service(connection, stop) as service:
        saved = saved_path(run, access)
        trainer = _Trainer(job, run, stop, connection, open_client(job, connection, service, saved), saved)
        complete = trainer.train()
        if complete:
            trainer.finish()
    if not complete:
        run.leave_if(stop)


@dataclass(frozen=True)
class _Step:
    """Submitted, and not yet heard of. `number` counts from 1, as in the metrics."""

    number: int
    rows: Sequence[Rendered]
    rate: float
    output: Any
    update: Any


class _Trainer:
    """`done` steps are settled: their results are here and recorded."""

    def __init__(
        self, job: TrainJob, run: Run, stop: Stop, connection: Connection, client: Any, saved: str | None
    ) -> None:
        self.job, self.run, self.stop, self.connection, self.client = job, run, stop, connection, client
        self.settings = cloud_settings(job.settings)
        self.done = run.resumed.step if run.resumed else 0
        self.under_way: deque[_Step] = deque()
        self.state_path = saved
        self._last: Sequence[Rendered] = ()
        self._states: dict[Path, str] = {}  # what this session saved, by the checkpoint that names it
        self._since = 0.0

    def train(self) -> bool:
        """Whether all steps are done; else a signal asked to stop. What is done is saved in either case."""
        last = self.job.pace.steps
        while (submitted := self.done + len(self.under_way)) < last and not self.stop.asked:
            self._submit(submitted)
            step = submitted + 1
            validate = step % self.job.eval_every == 0 or step == last
            if validate or self.run.due(step):  # the next steps must be no part of that
                self._settle_all(validate=validate)
                if self.run.due(step):
                    self._save()
            elif len(self.under_way) >= _AHEAD:
                self._settle()
        self._settle_all()
        if self.done > self.run.saved_step:
            self._save()
        return self.done == last

    def finish(self) -> None:
        """Weights to sample from, and the adapter. Both get names of their own, so that this can be done again."""
        name = _name(self.done)
        saving = self.client.save_weights_for_sampler(name)
        sampler = self.connection.wait(saving, "the weights to sample from").path
        self._tell_where(sampler)
        reference = {**self._where(), "sampler_path": sampler}
        fill_adapter(self.run, self.connection, self.client, name, reference)

    def _submit(self, step: int) -> None:
        """`step` counts from 0. The server works in the order of submission."""
        if not self.under_way:
            self._since = time.perf_counter()
        rows = [self.job.train.rendered[place] for place in self.job.pace.rows_of(step)]
        rate = learning_rate(
            step, self.job.pace.steps, self.settings.learning_rate, self.settings.warmup, self.settings.schedule
        )
        trained = sum(row.trained_tokens for row in rows)
        output = self.client.forward_backward([datum(row, 1 / trained) for row in rows], LOSS)
        update = self.client.optim_step(self._adam(rate))
        self.under_way.append(_Step(step + 1, rows, rate, output, update))

    def _adam(self, rate: float) -> Any:
        import tinker

        return tinker.AdamParams(
            learning_rate=rate,
            weight_decay=self.settings.weight_decay,
            grad_clip_norm=self.settings.max_grad_norm or 0.0,  # 0 is none
        )

    def _settle_all(self, *, validate: bool = False) -> None:
        while self.under_way:
            self._settle(validate=validate and len(self.under_way) == 1)

    def _settle(self, *, validate: bool = False) -> None:
        step = self.under_way.popleft()
        output = self.connection.wait(step.output, f"step {step.number}")
        self.connection.wait(step.update, f"the update of step {step.number}")
        self.connection.strict = False  # from here on there is something to lose
        loss = total_loss(output, step.rows) / sum(row.trained_tokens for row in step.rows)
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        self.done, self._last = step.number, step.rows
        self.run.record(
            step.number,
            self.job.pace.epoch(step.number),
            loss=loss,
            val_loss=self._validate() if validate and self.job.valid.rendered else None,
            lr=step.rate,
            tokens=sum(len(row.tokens) for row in step.rows),
            seconds=seconds,
        )

    def _validate(self) -> float:
        rows = self.job.valid.rendered
        return self._forward(rows) / sum(row.trained_tokens for row in rows)

    def _forward(self, rows: Sequence[Rendered]) -> float:
        """The summed loss of the weights as they are now; several requests are under way at once."""
        waiting: deque[tuple[Any, Sequence[Rendered]]] = deque()
        total = 0.0
        for at in range(0, len(rows), _VALID_ROWS):
            group = rows[at : at + _VALID_ROWS]
            waiting.append((self.client.forward([datum(row, 1.0) for row in group], LOSS), group))
            if len(waiting) >= _VALID_AHEAD:
                total += self._forwarded(*waiting.popleft())
        return total + sum(self._forwarded(*one) for one in waiting)

    def _forwarded(self, output: Any, rows: Sequence[Rendered]) -> float:
        return total_loss(self.connection.wait(output, f"the validation after step {self.done}"), rows)

    def _save(self) -> None:
        """Nothing is under way. The state is whole at the server before the checkpoint names it."""
        if self.run.rows[-1]["val_loss"] is None:  # the loss of a step is that of the weights before it
            require_finite(self._forward(self._last[:1]), self.done, "loss of the weights to be saved")
        saving = self.client.save_state(_name(self.done))
        self.state_path = path = str(self.connection.wait(saving, f"the state of step {self.done}").path)
        saved = self.run.save(self.job.pace.position(self.done), self._write)
        self._states[saved.path] = path
        self._tell_where(None)
        self._forget()

    def _forget(self) -> None:
        """States of checkpoints that were pruned cost money as long as they are kept."""
        for checkpoint in [path for path in self._states if not path.exists()]:
            state = self._states.pop(checkpoint)
            try:
                removing = self.connection.rest().delete_checkpoint_from_tinker_path(state)
                self.connection.wait(removing, f"{state} to be removed")
            except SccError as exc:
                self.run.log(f"{state} stays at the server: {exc}")

    def _write(self, folder: Path) -> None:
        write_json(folder / STATE, self._where())

    def _where(self) -> dict[str, Any]:
        access: Access = self.connection.access
        return {
            "model": self.job.model,
            "base_url": access.url,
            "run_id": self.client.model_id,
            "state_path": self.state_path,
        }

    def _tell_where(self, sampler: str | None) -> None:
        write_tinker_run(
            self.run.folder,
            TinkerRun(
                backend="tinker",
                model=self.job.model,
                steps_done=self.done,
                run_id=self.client.model_id,
                session_id=self.client.holder.get_session_id(),
                state_path=self.state_path,
                sampler_path=sampler,
            ),
        )


def _name(step: int) -> str:
    """Never used before: the SDK tries a name that is taken again and again."""
    return f"scc-{step:08d}-{secrets.token_hex(6)}"
