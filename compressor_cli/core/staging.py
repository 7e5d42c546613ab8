"""Several files that change together: staged in a hidden folder inside their own, then moved, the manifest last."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor_cli.errors import UsageError

MANIFEST = "manifest.json"
STAGE = ".pull"


@dataclass
class Stage:
    """Write into `folder`, the manifest last, then commit. `finished_earlier`: a commit that had been cut off."""

    output: Path
    folder: Path
    finished_earlier: bool = False

    def commit(self) -> None:
        """Move what is staged and remove what only the manifest before names. Any part of it may already be done."""
        manifest = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
        before = read_manifest(self.output) or {"files": {}}
        signals = {signal.SIGINT, signal.SIGTERM}
        held = signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # half a move is for power cuts only
        try:
            for name in manifest["files"]:
                if (self.folder / name).exists():
                    (self.folder / name).replace(self.output / name)
            for name in before["files"]:
                if name not in manifest["files"]:
                    (self.output / name).unlink(missing_ok=True)
            (self.folder / MANIFEST).replace(self.output / MANIFEST)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)


@contextmanager
def staging(output: Path) -> Iterator[Stage]:
    """An empty stage that no other process has. Without a commit nothing stays of it, nor of folders made for it.

    Raises UsageError where the output cannot be a folder to write in, or is being written.
    """
    made = [folder for folder in (output, *output.parents) if not folder.exists()]
    folder = output / STAGE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _locked(folder, output)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{output} is not a folder") from None
    except PermissionError:
        raise UsageError(f"{output} cannot be written: permission denied") from None
    stage = Stage(output, folder)
    try:
        if (folder / MANIFEST).exists():
            stage.commit()
            stage.finished_earlier = True
        _empty(folder)
        yield stage
    finally:
        # A manifest that is still staged marks a commit that failed half-way: the next pull finishes it.
        if not (folder / MANIFEST).exists():
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
        for parent in made:
            with suppress(OSError):
                parent.rmdir()


def read_manifest(output: Path, *keys: str) -> dict[str, Any] | None:
    """The manifest, or None where there is none that has these keys. Anyone may have written it: no name leads out."""
    try:
        manifest = json.loads((output / MANIFEST).read_text(encoding="utf-8"))
        for name, file in manifest["files"].items():
            if Path(name).name != name or not name.endswith(".jsonl"):
                return None
            if not isinstance(file["sha256"], str) or not isinstance(file["rows"], int):
                return None
        return manifest if all(key in manifest for key in keys) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _locked(folder: Path, output: Path) -> int:
    """The lock goes with the process that holds it. Raises UsageError where another holds it."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            fd = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # the one before us just removed it
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if folder.exists() and os.path.samestat(os.fstat(fd), folder.stat()):
                return fd
            os.close(fd)
        except BlockingIOError:
            os.close(fd)
            raise UsageError(f"{output} is being written by another process") from None


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
