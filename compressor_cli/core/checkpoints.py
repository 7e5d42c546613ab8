"""Checkpoints: `step_%08d` folders that are either whole or skipped.

A backend writes its files into a staging folder beside; `state.json`, with the size and SHA-256 of each, is written
last, and a rename makes it a checkpoint. The caller holds the lock of the run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compressor_cli.core.files import sha256_file
from compressor_cli.core.tensors import load_tensors, non_finite_tensor
from compressor_cli.errors import SccError, UsageError

STATE = "state.json"
FORMAT = "scc-checkpoint-1"
STAGING = ".staging"
_REMOVED = ".removed"
_NAME = re.compile(r"step_(\d{8,})")


@dataclass(frozen=True)
class Position:
    """A step is one optimizer update: `global_step` of them are done, `step_in_epoch` of them in `epoch` (from 0)."""

    epoch: int
    step_in_epoch: int
    global_step: int


@dataclass(frozen=True)
class Checkpoint:
    """`files` has the size and the hash of each file by its name, which is a path below `path`."""

    path: Path
    position: Position
    settings: Mapping[str, Any]
    files: Mapping[str, tuple[int, str]] = field(repr=False)

    @property
    def step(self) -> int:
        return self.position.global_step


class TornCheckpoint(SccError):
    """Not a whole checkpoint of ours; the message says why, in a few words."""


def checkpoint_name(step: int) -> str:
    return f"step_{step:08d}"


def save_checkpoint(
    folder: Path, position: Position, settings: Mapping[str, Any], write: Callable[[Path], None]
) -> Checkpoint:
    """`write` fills the empty folder that it is given; without an exception that becomes `folder/step_%08d`.

    A valid checkpoint of the same step stays as it is, and a torn one is set aside (`.torn`).
    Raises SccError, and keeps nothing, where a tensor holds NaN or an infinity.
    """
    staged = folder / STAGING
    shutil.rmtree(staged, ignore_errors=True)  # what a killed save left
    staged.mkdir(parents=True)
    try:
        write(staged)
        return _seal(staged, folder / checkpoint_name(position.global_step), position, settings)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def _seal(staged: Path, target: Path, position: Position, settings: Mapping[str, Any]) -> Checkpoint:
    paths = list(_files(staged))
    if not paths:
        raise ValueError("a checkpoint without files")
    for path in paths:
        if path.suffix == ".safetensors" and (name := non_finite_tensor(path)):
            raise SccError(f"the weights are not finite ({name}) at step {position.global_step}; they are not saved")
        _sync(path)
    files = {path.relative_to(staged).as_posix(): (path.stat().st_size, sha256_file(path)) for path in paths}
    state: dict[str, Any] = {
        "format": FORMAT,
        "epoch": position.epoch,
        "step_in_epoch": position.step_in_epoch,
        "global_step": position.global_step,
        "settings": dict(settings),
        "files": {name: {"size": size, "sha256": digest} for name, (size, digest) in files.items()},
    }
    (staged / STATE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    _sync(staged / STATE)
    for place in (*(path for path in staged.rglob("*") if path.is_dir()), staged):
        _sync(place)
    if target.exists():
        try:
            there = check_checkpoint(target)
            shutil.rmtree(staged)
            return there
        except TornCheckpoint:
            set_aside(target, ".torn")
    staged.rename(target)
    _sync(target.parent)
    return Checkpoint(target, position, state["settings"], files)


def check_checkpoint(path: Path) -> Checkpoint:
    """Reads every file. Raises TornCheckpoint for whatever is not as `state.json` says."""
    found = _read_state(path)
    for name, (size, digest) in found.files.items():
        file = path / name
        if file.is_symlink() or not file.is_file():
            raise TornCheckpoint(f"{name} is missing")
        if file.stat().st_size != size:
            raise TornCheckpoint(f"{name} has {file.stat().st_size:,} bytes of {size:,}")
        if sha256_file(file) != digest:
            raise TornCheckpoint(f"{name} is not what was written")
    if strangers := _strangers(found):
        raise TornCheckpoint(f"{strangers[0]} was not written by the run")
    return found


def latest_checkpoint(folder: Path, settings: Mapping[str, Any] | None = None) -> tuple[Checkpoint | None, list[str]]:
    """The valid one of the highest step, and a line on each entry that was passed over to reach it.

    With `settings`, one that was saved under others is passed over too.
    """
    steps, notes = _entries(folder)
    for path in reversed(steps):
        try:
            found = check_checkpoint(path)
            if settings is not None and found.settings != settings:
                raise TornCheckpoint("it was saved under other settings, or from other data")
            return found, notes
        except TornCheckpoint as exc:
            notes.append(f"checkpoint {path.name} is skipped: {exc}")
    return None, notes


def list_checkpoints(folder: Path) -> list[tuple[Path, Checkpoint | TornCheckpoint]]:
    """By step; each is read whole."""
    found: list[tuple[Path, Checkpoint | TornCheckpoint]] = []
    for path in _entries(folder)[0]:
        try:
            found.append((path, check_checkpoint(path)))
        except TornCheckpoint as exc:
            found.append((path, exc))
    return found


def later_than(folder: Path, step: int) -> list[Path]:
    return [path for path in _entries(folder)[0] if _step(path) > step]


def prune_checkpoints(folder: Path, keep_last: int, *, newest: Checkpoint | None = None) -> list[Path]:
    """Remove all but the last `keep_last`; what was removed. `newest`, just saved, is not read again to be sure of it.

    Everything from the newest valid one on stays. Nothing is removed that holds more than was saved there.
    """
    if keep_last < 1:
        raise ValueError("keep_last is at least 1")
    shutil.rmtree(folder / _REMOVED, ignore_errors=True)  # what a killed removal left
    newest = newest or latest_checkpoint(folder)[0]
    ours = []
    for path in _entries(folder)[0]:
        try:
            found = _read_state(path)
        except TornCheckpoint:
            continue
        if newest and found.step < newest.step and not _strangers(found):
            ours.append(path)
    removed = ours[: max(0, len(ours) - (keep_last - 1))]
    for path in removed:
        path.rename(folder / _REMOVED)  # gone at once: a kill leaves no half of it
        shutil.rmtree(folder / _REMOVED)
    return removed


def set_aside(path: Path, suffix: str) -> Path:
    """Rename, under a name that is free and that no resume looks at."""
    number = 1
    while (aside := path.with_name(f"{path.name}{suffix}{number if number > 1 else ''}")).exists():
        number += 1
    path.rename(aside)
    return aside


def load_state(checkpoint: Checkpoint, name: str) -> dict[str, Any]:
    """Optimizer or other state of a checkpoint: tensors by name, or what a JSON object holds.

    Raises UsageError for any other kind of file: reading one could run what it holds.
    """
    path = checkpoint.path / name
    if path.suffix not in (".safetensors", ".json"):
        raise UsageError(f"{path} is not read: only .safetensors and .json files are, since others could run code")
    if name not in checkpoint.files:
        raise UsageError(f"{checkpoint.path} has no {name}: it was saved by another backend, or another version")
    if path.suffix == ".safetensors":
        return load_tensors(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise SccError(f"{path}: not JSON") from None
    if not isinstance(value, dict):
        raise SccError(f"{path}: a JSON object is needed")
    return value


def _read_state(path: Path) -> Checkpoint:
    """What `state.json` says, without a look at the files. It may come from anywhere: no name leads out."""
    match = _NAME.fullmatch(path.name)
    if path.is_symlink() or not path.is_dir() or not match:
        raise TornCheckpoint("not a checkpoint folder")
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        if state["format"] != FORMAT or not isinstance(state["settings"], dict):
            raise ValueError
        position = Position(*(_count(state[key]) for key in ("epoch", "step_in_epoch", "global_step")))
        files = {_inside(name): (_count(of["size"]), str(of["sha256"])) for name, of in state["files"].items()}
    except FileNotFoundError:
        raise TornCheckpoint(f"{STATE} is missing") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise TornCheckpoint(f"{STATE} is damaged, or not written by scc") from None
    if position.global_step != int(match[1]):
        raise TornCheckpoint(f"{STATE} is that of step {position.global_step}")
    if not files:
        raise TornCheckpoint("it has no files")
    return Checkpoint(path, position, state["settings"], files)


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError
    return value


def _inside(name: str) -> str:
    if not name or name.startswith("/") or "\\" in name or {"", ".", ".."} & set(name.split("/")):
        raise ValueError
    return name


def _strangers(checkpoint: Checkpoint) -> list[str]:
    """Files beside those of `state.json`; hidden ones (a desktop leaves them) are loaded by nothing."""
    names = (path.relative_to(checkpoint.path).as_posix() for path in checkpoint.path.rglob("*") if not path.is_dir())
    known = {*checkpoint.files, STATE}
    return sorted(name for name in names if name not in known and not name.rsplit("/", 1)[-1].startswith("."))


def _entries(folder: Path) -> tuple[list[Path], list[str]]:
    """Folders by step, and a line on each other thing that lies there."""
    if not folder.is_dir():
        return [], []
    steps, notes = [], []
    for path in sorted(folder.iterdir()):
        if _NAME.fullmatch(path.name):
            steps.append(path)
        elif path.name == STAGING:
            notes.append("a save that was cut off is left out")
        elif not path.name.startswith("."):
            notes.append(f"{path.name} in {folder} is no checkpoint of this run; it is left as it is")
    return sorted(steps, key=_step), notes


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step_"))


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ValueError(f"{path.name} is no regular file")
        if path.is_file():
            yield path


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
