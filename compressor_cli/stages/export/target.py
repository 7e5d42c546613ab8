"""The folder an export goes to: written beside its place, and renamed once it is whole."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compressor_cli.core.adapters import EXPORT, EXPORT_FORMAT, read_export
from compressor_cli.core.files import write_json
from compressor_cli.errors import UsageError

_STAGED, _OLD = ".tmp", ".old"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def require_free(folder: Path, needed: Sequence[Path], *, force: bool) -> None:
    """Raises UsageError where something is there that is not to be replaced: `needed` are folders that are read."""
    place = folder.resolve()
    for other in (path.resolve() for path in needed):
        if place == other or place in other.parents:
            raise UsageError(f"--to {folder} holds what is exported", hint="name another folder")
    if place == Path.cwd():
        raise UsageError(f"--to {folder} is the folder that you are in", hint="name one to be made")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--to {folder} is not a folder")
    above = next(parent for parent in place.parents if parent.exists())
    if not above.is_dir():
        raise UsageError(f"--to {folder}: {above} is not a folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not force:
        raise UsageError(f"--to {folder} is not empty", hint="name another folder, or --force to replace an export")
    if read_export(folder) is None:
        raise UsageError(
            f"--to {folder} holds files that no export wrote", hint="--force replaces earlier exports only"
        )


def clear_left(folder: Path) -> None:
    """What a killed export to `folder` left beside it goes; an export that it had moved away comes back."""
    folder = folder.resolve()
    hidden = f".{glob.escape(folder.name)}.????????"
    for staged in folder.parent.glob(f"{hidden}{_STAGED}"):
        if (lock := _locked(staged)) is not None:
            _restored(staged.with_suffix(_OLD), folder)
            shutil.rmtree(staged, ignore_errors=True)
            os.close(lock)
    for old in folder.parent.glob(f"{hidden}{_OLD}"):
        if not old.with_suffix(_STAGED).exists():
            _restored(old, folder)


def _restored(old: Path, folder: Path) -> None:
    if old.is_dir() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def beside(folder: Path) -> Iterator[Path]:
    """A hidden folder beside `folder`, of this process alone, which goes again. Errors of the disk name `folder`."""
    place = folder.resolve()
    staged = lock = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=_STAGED, dir=place.parent))
        lock = _locked(staged)
        yield staged
    except OSError as exc:
        if exc.errno in _FULL or f"/.{place.name}." in str(exc.filename):
            exc.filename = str(folder)
        raise
    finally:
        if staged is not None:
            shutil.rmtree(staged, ignore_errors=True)
        if lock is not None:
            os.close(lock)


@contextmanager
def replacing(folder: Path, *, force: bool) -> Iterator[Path]:
    """A folder beside `folder`, which takes its place when all went well; else nothing is changed.

    Raises UsageError where, without `force`, another process has put something there meanwhile.
    """
    with beside(folder) as staged:
        yield staged
        folder, old = folder.resolve(), staged.with_suffix(_OLD)
        staged.chmod(0o755)
        if folder.exists() and not force and any(folder.iterdir()):
            raise UsageError(f"--to {folder} was filled by another process meanwhile")
        if folder.exists():
            folder.rename(old)
        try:
            staged.rename(folder)
        except BaseException:
            if old.exists():
                old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)


def write_manifest(folder: Path, told: dict[str, Any]) -> dict[str, int]:
    """Sizes by name; the manifest is what tells a later --force that it may replace the folder."""
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    write_json(folder / EXPORT, {"format": EXPORT_FORMAT, **told, "files": sizes})
    return sizes


def _locked(folder: Path) -> int | None:
    """A lock that goes with this process; None where another holds it, or the folder is gone."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd
