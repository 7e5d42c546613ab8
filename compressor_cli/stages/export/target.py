"""The folder an export goes to: written beside its place, and renamed once it is whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compressor_cli.core.adapters import EXPORT, EXPORT_FORMAT, read_export
from compressor_cli.core.files import write_json
from compressor_cli.errors import UsageError


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
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not force:
        raise UsageError(f"--to {folder} is not empty", hint="name another folder, or --force to replace an export")
    if read_export(folder) is None:
        raise UsageError(
            f"--to {folder} holds files that no export wrote", hint="--force replaces earlier exports only"
        )


@contextmanager
def replacing(folder: Path, *, force: bool) -> Iterator[Path]:
    """A folder beside `folder`, which takes its place when all went well; else nothing is changed.

    Raises UsageError where, without `force`, another process has put something there meanwhile.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
    old = staged.with_suffix(".old")
    try:
        yield staged
        staged.chmod(0o755)
        if folder.exists() and not force and any(folder.iterdir()):
            raise UsageError(f"--to {folder} was filled by another process meanwhile")
        if folder.exists():
            folder.rename(old)
        try:
            staged.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    finally:
        for left in (staged, old):
            shutil.rmtree(left, ignore_errors=True)


def write_manifest(folder: Path, told: dict[str, Any]) -> dict[str, int]:
    """Sizes by name; the manifest is what tells a later --force that it may replace the folder."""
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    write_json(folder / EXPORT, {"format": EXPORT_FORMAT, **told, "files": sizes})
    return sizes
