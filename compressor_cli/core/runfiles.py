"""The small files of a run folder, as those who train write them and everyone else reads them."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from compressor_cli.core.files import write_atomic, write_json
from compressor_cli.core.jsonl import Row, dump_row, parse_row, read_lines
from compressor_cli.errors import SccError, UsageError

CARD = "run.json"
METRICS = "metrics.jsonl"
LOG = "train.log"
CHECKPOINTS = "checkpoints"
ADAPTER = "adapter"
BOARD = "tensorboard"
TINKER = "tinker_run.json"
FORMAT = "scc-run-1"
_PATIENCE = 1.0  # a reader that looks whether a run is alive holds its lock for a moment


def read_card(folder: Path) -> dict[str, Any] | None:
    """`run.json`, or None where there is none. Raises UsageError for one that is no card of a run."""
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        raise UsageError(f"{folder / CARD} is not JSON") from None
    if not _is_card(card):
        raise UsageError(f"{folder / CARD} is not the card of a run that this version knows")
    return dict(card)


def _is_card(card: Any) -> bool:
    try:
        times = [card["created"], *(session["started"] for session in card["sessions"])]
        times += [session["ended"] for session in card["sessions"] if session["ended"] is not None]
        for time_told in times:
            datetime.fromisoformat(time_told)
        texts = isinstance(card["backend"], str) and isinstance(card["state"], str)
        return bool(card["format"] == FORMAT and texts and isinstance(card["versions"], dict))
    except (KeyError, TypeError, ValueError):
        return False


def lock_run(folder: Path) -> int:
    """A descriptor; the lock goes with it, or with the process. Raises UsageError where another process trains."""
    fd = os.open(folder, os.O_RDONLY)
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(fd)
                raise UsageError(f"{folder} is being trained by another process") from None
            time.sleep(0.02)


def is_alive(folder: Path) -> bool:
    """Whether a process trains there now."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)


def read_metrics(path: Path) -> tuple[list[Row], bool]:
    """Rows, and whether the last line is cut off; it is left out. No file is no rows."""
    if not path.exists():
        return [], False
    rows: list[Row] = []
    lines = list(read_lines(path))
    for number, line in lines:
        try:
            row = parse_row(line)
            if not isinstance(row.get("step"), int):
                raise ValueError("a row has no step")
            if strange := [name for name, value in row.items() if not isinstance(value, int | float | None)]:
                raise ValueError(f"{strange[0]} is no number")
            rows.append(row)
        except ValueError as exc:
            if number == lines[-1][0] and not line.endswith(b"\n"):
                return rows, True
            raise SccError(f"{path}, line {number}: {exc}", hint="remove that line, then run again") from None
    return rows, bool(lines) and not lines[-1][1].endswith(b"\n")


class MetricsLog:
    """`metrics.jsonl`: one row a step at most, appended whole, in order. Rows after `keep_through` are `dropped`."""

    def __init__(self, path: Path, keep_through: int) -> None:
        rows, torn = read_metrics(path)
        self.rows = [row for row in rows if row["step"] <= keep_through]
        self.dropped = len(rows) - len(self.rows)
        if self.dropped or torn:
            write_atomic(path, b"".join(map(dump_row, self.rows)))
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def append(self, row: Row) -> None:
        if self.rows and row["step"] <= self.rows[-1]["step"]:
            raise ValueError(f"step {row['step']} after step {self.rows[-1]['step']}")
        data, start = dump_row(row), os.fstat(self._fd).st_size
        try:
            if os.write(self._fd, data) < len(data):
                raise OSError("the disk is full")
        except BaseException:
            os.ftruncate(self._fd, start)
            raise
        self.rows.append(row)

    def sync(self) -> None:
        os.fsync(self._fd)

    def close(self) -> None:
        os.fsync(self._fd)
        os.close(self._fd)


@dataclass(frozen=True)
class TinkerRun:
    """What `local` or `tinker` needs to go on; `local` has paths of files, `tinker` those of its server."""

    backend: str
    model: str
    steps_done: int
    run_id: str | None = None
    session_id: str | None = None
    state_path: str | None = None
    sampler_path: str | None = None


def write_tinker_run(folder: Path, run: TinkerRun) -> None:
    write_json(folder / TINKER, asdict(run))


def read_tinker_run(folder: Path) -> TinkerRun | None:
    """None where there is none. Raises UsageError for a file that is no such thing."""
    path = folder / TINKER
    try:
        return _tinker_run(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, RecursionError):
        raise UsageError(f"{path} is damaged, or was not written by scc") from None


def named_checkpoint(path: Path) -> Path:
    """The checkpoint that a `tinker_run.json` names; any other path as it is. Raises UsageError where it names none."""
    if path.name != TINKER:
        return path
    run = read_tinker_run(path.parent)
    if run is None or not run.steps_done:
        raise UsageError(f"--resume-from {path}: it names no checkpoint")
    return path.parent / CHECKPOINTS / f"step_{run.steps_done:08d}"


def _tinker_run(value: Mapping[str, Any]) -> TinkerRun:
    run = TinkerRun(**value)
    texts = (run.run_id, run.session_id, run.state_path, run.sampler_path)
    if not (isinstance(run.backend, str) and isinstance(run.model, str) and type(run.steps_done) is int):
        raise ValueError
    if not all(text is None or isinstance(text, str) for text in texts):
        raise ValueError
    return run
