"""The folder of a training run, alike for every backend.

with open_run(folder, spec, on_event=tell) as run, stop_on_signals() as stop:
    while run.step < total and not run.finished:
        ...one optimizer update, from run.resumed on...
        run.record(step, epoch, loss=loss, lr=lr, tokens=tokens, seconds=seconds)
        if run.due(step) or stop.asked:
            run.save(Position(epoch, step_in_epoch, step), write)
        run.leave_if(stop)
    run.finish()
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compressor_cli.core.board import BoardWriter, has_writer
from compressor_cli.core.checkpoints import (
    Checkpoint,
    Position,
    TornCheckpoint,
    check_checkpoint,
    later_than,
    latest_checkpoint,
    prune_checkpoints,
    save_checkpoint,
    set_aside,
)
from compressor_cli.core.files import sha256_file, write_json
from compressor_cli.core.footprint import size
from compressor_cli.core.origin import git_commit, package_versions
from compressor_cli.core.runfiles import (
    ADAPTER,
    BOARD,
    CARD,
    CHECKPOINTS,
    FORMAT,
    LOG,
    METRICS,
    MetricsLog,
    lock_run,
    named_checkpoint,
    read_card,
)
from compressor_cli.core.stopping import Stop
from compressor_cli.core.tracking import Tracker
from compressor_cli.errors import SccError, UsageError

OnEvent = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class RunSpec:
    """What makes a run, and how it is conducted.

    Another `backend`, `model`, `settings`, `identity` (hashes of other inputs) or content of `data` is another run;
    the rest may differ when it goes on. `steps` is what is planned, `packages` are those whose versions matter,
    `wandb` is a project of W&B, and `notes` what else the card says.
    """

    backend: str
    settings: Mapping[str, Any]
    data: Mapping[str, Path]
    model: str | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    steps: int | None = None
    save_every: int | None = None
    keep_last: int = 3
    command: str = ""
    wandb: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def fingerprint(self) -> dict[str, Any]:
        """As JSON gives it back. Reads the data."""
        parts = {
            "backend": self.backend,
            "model": self.model,
            "settings": dict(self.settings),
            "data_sha256": {name: sha256_file(path) for name, path in self.data.items()},
            **self.identity,
        }
        told: dict[str, Any] = json.loads(json.dumps(parts))
        return told


class Run:
    """An open run. `resumed` is the checkpoint it goes on from; `finished` says that there is nothing left to do."""

    def __init__(self, folder: Path, spec: RunSpec, fingerprint: dict[str, Any], on_event: OnEvent) -> None:
        self.folder, self.spec, self.fingerprint, self.on_event = folder, spec, fingerprint, on_event
        self.checkpoints, self.adapter = folder / CHECKPOINTS, folder / ADAPTER
        self.card: dict[str, Any] = {}
        self.resumed: Checkpoint | None = None
        self.saved_step = 0
        self.began = False  # in this session, which stands in the card then
        self._board: BoardWriter | None = None
        self._tracker: Tracker | None = None

    @property
    def finished(self) -> bool:
        return bool(self.card["state"] == "finished")

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Of `metrics.jsonl`, up to now."""
        return self._metrics.rows

    def tell(self, message: str) -> None:
        """For the person who watches, and for `train.log`."""
        self.log(message)
        self.on_event({"message": message})

    def log(self, text: str) -> None:
        with (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"{_now()} {text}\n")

    def record(
        self,
        step: int,
        epoch: float,
        *,
        loss: float | None = None,
        val_loss: float | None = None,
        lr: float | None = None,
        tokens: int = 0,
        seconds: float = 0.0,
        **more: float | None,
    ) -> dict[str, Any]:
        """One row of metrics. `tokens` and `seconds` are those since the row before; the file has their sums.

        Raises SccError where a loss is NaN or infinite: nothing after the last checkpoint is kept then.
        """
        for name, value in (("loss", loss), ("validation loss", val_loss)):
            if value is not None:
                require_finite(value, step, name)
        before = self.rows[-1] if self.rows else {"tokens": 0, "seconds": 0.0}
        row = {
            "step": step,
            "epoch": epoch,
            "loss": loss,
            "val_loss": val_loss,
            "lr": lr,
            "tokens": before["tokens"] + tokens,
            "tokens_per_second": round(tokens / seconds, 1) if seconds else None,
            "seconds": round(before["seconds"] + seconds, 3),
            **more,
        }
        self._metrics.append(row)
        if self._board:
            self._board.write(row)
        if self._tracker:
            self._tracker.write(row)
        self.on_event({"done": step, "total": self.spec.steps, "row": row})
        return row

    def due(self, step: int) -> bool:
        """Whether a checkpoint is to be saved after this step."""
        return bool(self.spec.save_every) and step % (self.spec.save_every or 1) == 0

    def save(self, position: Position, write: Callable[[Path], None]) -> Checkpoint:
        """A checkpoint, after which old ones are pruned. `write` fills a folder; torn or NaN, it is never kept."""
        self._metrics.sync()  # a resume from here must find the rows up to here
        saved = save_checkpoint(self.checkpoints, position, self.fingerprint, write)
        self.saved_step = saved.step
        prune_checkpoints(self.checkpoints, self.spec.keep_last, newest=saved)
        self.log(f"saved {saved.path.name}")
        self.on_event({"saved": saved.path.name, "kept": len(list(self.checkpoints.glob("step_*")))})
        return saved

    def leave_if(self, stop: Stop) -> None:
        """Where a signal asked to stop: raises SystemExit with 130 or 143. Save before."""
        if isinstance(stop.reason, int):
            self.tell(f"stopped; the same command goes on after step {self.saved_step}")
            raise SystemExit(128 + stop.reason)

    def finish(self) -> None:
        self._write_card(state="finished", steps_done=self.rows[-1]["step"] if self.rows else 0)
        self.log("finished")

    def _open(self, resume: bool, resume_from: Path | None) -> None:
        before = read_card(self.folder)
        if before is None:
            if any(not path.name.startswith(".") for path in self.folder.iterdir()):
                raise UsageError(f"--output {self.folder} is not empty and no run", hint="name another --output")
            self.card = {"format": FORMAT, **self.fingerprint, "created": _now(), "sessions": []}
        else:
            if not resume:
                raise UsageError(f"{self.folder} already holds a run", hint="name another --output, or let it resume")
            refuse_other(self.folder, before, self.fingerprint)
            self.card = before
        if before and before["state"] == "finished" and resume_from is None:
            self._metrics = MetricsLog(self.folder / METRICS, before["steps_done"])
            return
        self.resumed, notes = self._find(resume_from)
        self.saved_step = self.resumed.step if self.resumed else 0
        self._metrics = MetricsLog(self.folder / METRICS, self.saved_step)
        self._begin(before, notes)

    def _find(self, resume_from: Path | None) -> tuple[Checkpoint | None, list[str]]:
        if resume_from is None:
            return latest_checkpoint(self.checkpoints, self.fingerprint)
        try:
            found = check_checkpoint(named_checkpoint(resume_from))
        except TornCheckpoint as exc:
            raise UsageError(f"--resume-from {resume_from}: {exc}", hint=_hint(resume_from)) from None
        refuse_other(resume_from, found.settings, self.fingerprint)
        aside = [set_aside(path, ".later").name for path in later_than(self.checkpoints, found.step)]
        return found, [f"set aside, since the run goes on from step {found.step}: {', '.join(aside)}"] if aside else []

    def _begin(self, before: Mapping[str, Any] | None, notes: list[str]) -> None:
        spec, versions = self.spec, package_versions(self.spec.packages)
        changed = [name for name in versions if before and before["versions"].get(name) != versions[name]]
        self._write_card(
            state="running",
            error=None,
            steps_planned=spec.steps,
            save_every=spec.save_every,
            keep_last=spec.keep_last,
            command=spec.command,
            **spec.notes,
            data={name: {"path": str(path), "bytes": path.stat().st_size} for name, path in spec.data.items()},
            versions=versions,
            git=git_commit(),
            sessions=[*self.card["sessions"], {"started": _now(), "from_step": self.saved_step, "ended": None}],
        )
        self.began = True
        for note in notes:
            self.tell(note)
        if changed:
            self.tell(f"begun with other versions of {', '.join(changed)}: the weights may differ")
        if self._metrics.dropped:
            self.tell(f"{self._metrics.dropped} rows of metrics after step {self.saved_step} are done again")
        if before:
            self.tell(f"going on after step {self.saved_step}" if self.resumed else "no checkpoint: starting again")
        if has_writer():
            self._board = BoardWriter(self.folder / BOARD, self._metrics.rows, self.card["created"], self.tell)
        else:
            self.tell("no TensorBoard events are written: tensorboardX is not installed")
        if spec.wandb:
            self._tracker = Tracker(spec.wandb, self.folder, self.card["created"], self.fingerprint)
            if self._tracker.offline:
                self.tell(f"W&B is offline: its files are in {self.folder / 'wandb'}, and wandb sync sends them")

    def _close(self, error: BaseException | None) -> None:
        if self._tracker:
            self._tracker.close(failed=isinstance(error, Exception))
        if self._board:
            self._board.close()
        self._metrics.close()
        if self.card["sessions"][-1]["ended"]:  # the run was finished before
            return
        state = self.card["state"]
        failed = isinstance(error, Exception)
        if state == "running":
            state = "failed" if failed else "stopped"
        steps = self._metrics.rows[-1]["step"] if self._metrics.rows else 0
        if failed:
            self.log(f"failed: {error}")
        sessions = [*self.card["sessions"][:-1], {**self.card["sessions"][-1], "ended": _now()}]
        told = f"{type(error).__name__}: {error}" if failed else None
        self._write_card(state=state, error=told, sessions=sessions, steps_done=steps)

    def _write_card(self, **changes: Any) -> None:
        self.card = {**self.card, **changes}
        write_json(self.folder / CARD, self.card)


@contextmanager
def open_run(
    folder: Path,
    spec: RunSpec,
    *,
    resume: bool = True,
    resume_from: Path | None = None,
    on_event: OnEvent = lambda event: None,
) -> Iterator[Run]:
    """Begin a run in `folder`, or go on with the same one there, under a lock.

    Raises UsageError for a folder of something else, a run with other data or settings (naming what differs), one that
    another process trains, and with `resume=False` for any run.
    """
    fingerprint = spec.fingerprint()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder} is not a folder")
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_run(folder)
    run = Run(folder, spec, fingerprint, on_event)
    try:
        try:
            run._open(resume, resume_from)
        except BaseException as exc:
            if run.began:  # and then W&B, or the disk, said no
                run._close(exc)
            raise
        try:
            yield run
        except BaseException as exc:
            run._close(exc)
            raise
        run._close(None)
    finally:
        os.close(lock)
        with suppress(OSError):
            folder.rmdir()  # one that was made for a run that is refused is empty


def refuse_other(place: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises UsageError naming every part of `now` that is not as it was."""
    was, present = _flat({key: before.get(key) for key in now}), _flat(now)
    differing = [key for key in {**was, **present} if was.get(key) != present.get(key)]
    if "backend" in differing:  # which has other settings altogether
        differing = ["backend"]
    if differing:
        told = ", ".join(_told(key, was.get(key), present.get(key)) for key in differing)
        raise UsageError(f"{place} is a run with other settings or data: {told}", hint="name another --output")


def require_finite(loss: float, step: int, name: str = "loss") -> None:
    if not math.isfinite(loss):
        raise SccError(
            f"the {name} is {loss} at step {step}; the run stops, and nothing of it is saved",
            hint="try a lower --lr with another --output; rows that are cut before their answer begins can do this too",
        )


def require_space(folder: Path, checkpoint_bytes: int, keep_last: int) -> None:
    """Raises UsageError where the disk cannot hold `keep_last` checkpoints, and the next one before one is pruned."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free, needed = shutil.disk_usage(place).free, checkpoint_bytes * (keep_last + 1)
    if free < needed:
        raise UsageError(
            f"{keep_last} checkpoints in {folder} need {size(needed)}, and {size(free)} are free",
            hint="make room, name another --output, or keep fewer: --keep-last 1",
        )


def _hint(path: Path) -> str:
    """A checkpoint in or beside `path`, the last one."""
    there = [found for folder in (path / CHECKPOINTS, path, path.parent) for found in later_than(folder, 0)]
    return f"for example {there[-1]}" if there else f"it is a folder like RUN/{CHECKPOINTS}/step_00000050"


def _told(key: str, was: Any, now: Any) -> str:
    if key.startswith("data_sha256."):
        return f"the rows of {key.removeprefix('data_sha256.')}"
    return key if any(part.endswith("sha256") for part in key.split(".")) else f"{key} was {was!r}, is {now!r}"


def _flat(card: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in card.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value})
    return flat


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
