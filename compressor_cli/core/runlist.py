"""Runs as they lie on the disk: what each is, how far it came, and its curves."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compressor_cli.core.checkpoints import Checkpoint, list_checkpoints
from compressor_cli.core.curves import Curve
from compressor_cli.core.runfiles import CARD, CHECKPOINTS, METRICS, is_alive, read_card, read_metrics
from compressor_cli.errors import SccError, UsageError

_SKIPPED = {CHECKPOINTS, "tensorboard", "adapter", "model"}


@dataclass(frozen=True)
class RunInfo:
    """`state` is running, finished, stopped or failed; a run that was killed counts as stopped. `seconds` are those
    of all its sessions, from opening to end."""

    name: str
    path: Path
    backend: str
    model: str | None
    state: str
    steps: int
    steps_planned: int | None
    loss: float | None
    best_val_loss: float | None
    started: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "path": str(self.path)}


def find_runs(folder: Path) -> tuple[list[RunInfo], list[str]]:
    """Runs in `folder` and below it, the newest last, and a line on each that cannot be read."""
    if not folder.is_dir():
        raise UsageError(f"no such folder: {folder}")
    found, notes = [], []
    for path in _run_folders(folder):
        name = path.name if path == folder else path.relative_to(folder).as_posix()
        try:
            found.append(read_run(path, name))
        except SccError as exc:
            notes.append(str(exc))
    return sorted(found, key=lambda run: (run.started, run.name)), notes


def read_run(path: Path, name: str | None = None) -> RunInfo:
    """Raises UsageError where there is no run."""
    card = _card(path)
    rows, _ = read_metrics(path / METRICS)
    losses = [row["loss"] for row in rows if row.get("loss") is not None]
    valid = [row["val_loss"] for row in rows if row.get("val_loss") is not None]
    alive = is_alive(path)
    state = str(card["state"])
    return RunInfo(
        name=name or path.resolve().name,
        path=path,
        backend=str(card["backend"]),
        model=card.get("model"),
        state="running" if alive else "stopped" if state == "running" else state,
        steps=rows[-1]["step"] if rows else 0,
        steps_planned=card.get("steps_planned"),
        loss=losses[-1] if losses else None,
        best_val_loss=min(valid) if valid else None,
        started=str(card["created"]),
        seconds=_duration(card, path, alive),
    )


def describe(path: Path) -> dict[str, Any]:
    """All that is known of a run; every checkpoint is read whole."""
    checkpoints: list[dict[str, Any]] = []
    for place, found in list_checkpoints(path / CHECKPOINTS):
        size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file()) if place.is_dir() else 0
        told = None if isinstance(found, Checkpoint) else str(found)
        checkpoints.append({"name": place.name, "valid": told is None, "bytes": size, "problem": told})
    return {**read_run(path).as_dict(), "run": _card(path), "checkpoints": checkpoints}


def curves(paths: Sequence[Path]) -> list[Curve]:
    """Loss and validation loss of each run, named by as much of its path as tells them apart."""
    found = []
    for path, name in zip(paths, _names(paths), strict=True):
        _card(path)
        rows, _ = read_metrics(path / METRICS)
        for field, label, dashed in (("loss", name, False), ("val_loss", f"{name} (validation)", True)):
            points = [(float(row["step"]), float(row[field])) for row in rows if row.get(field) is not None]
            if points:
                found.append(Curve(label, tuple(points), dashed))
    if not found:
        raise UsageError(f"no losses yet in {', '.join(map(str, paths))}")
    return found


def _names(paths: Sequence[Path]) -> list[str]:
    parts = [path.resolve().parts for path in paths]
    length = 1
    while length < max(map(len, parts)) and len({part[-length:] for part in parts}) < len(set(parts)):
        length += 1
    return ["/".join(part[-length:]) for part in parts]


def _run_folders(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        if CARD in names:
            yield Path(place)


def _card(path: Path) -> dict[str, Any]:
    card = read_card(path)
    if card is None:
        raise UsageError(f"{path} is no run: it has no {CARD}")
    return card


def _duration(card: dict[str, Any], path: Path, alive: bool) -> float:
    """A session that was killed lasted until its last row."""
    total = 0.0
    for session in card["sessions"]:
        started = datetime.fromisoformat(session["started"])
        if session["ended"]:
            ended = datetime.fromisoformat(session["ended"])
        elif alive and session is card["sessions"][-1]:
            ended = datetime.now(UTC)
        else:
            metrics = path / METRICS
            ended = datetime.fromtimestamp(metrics.stat().st_mtime, UTC) if metrics.exists() else started
        total += max(0.0, (ended - started).total_seconds())
    return round(total, 3)
