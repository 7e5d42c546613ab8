"""Texts of a user's own, from files and folders; what is left out of a folder is counted by why."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from compressor_cli.core.text_input import decode_text
from compressor_cli.errors import UsageError


@dataclass(frozen=True)
class TextFile:
    """`name` is the path as it can be printed."""

    path: Path
    name: str
    text: str


@dataclass(frozen=True)
class Gathered:
    """Every file that stands in the folders is in exactly one of the three."""

    files: tuple[TextFile, ...]
    left_out: dict[str, int]
    failed: tuple[tuple[str, str], ...]  # name, error


def gather(paths: Sequence[Path], *, max_bytes: int, but_not: Path | None = None) -> Gathered:
    """UTF-8 texts in the order of their paths, each once. Links to folders are not followed; a hidden file is taken
    where it is named itself. Raises UsageError for a path that is not there."""
    left_out: Counter[str] = Counter()
    files: list[TextFile] = []
    failed: list[tuple[str, str]] = []
    seen: set[Path] = {but_not.resolve()} if but_not is not None else set()
    for path in paths:
        if not path.exists():
            raise UsageError(f"no such file or folder: {path}")
        for file in _walk(path, left_out, failed) if path.is_dir() else [path]:
            if file.resolve() in seen:
                continue
            seen.add(file.resolve())
            try:
                reason, text = _read(file, max_bytes)
            except OSError as exc:
                failed.append((printable(file), exc.strerror or str(exc)))
                continue
            if reason:
                left_out[reason] += 1
            else:
                files.append(TextFile(file, printable(file), text))
    return Gathered(tuple(files), dict(sorted(left_out.items())), tuple(failed))


def printable(path: Path) -> str:
    """A file name is bytes to the system, which need not be UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _walk(folder: Path, left_out: Counter[str], failed: list[tuple[str, str]]) -> Iterator[Path]:
    def refused(exc: OSError) -> None:
        failed.append((printable(Path(exc.filename)), exc.strerror or str(exc)))

    for place, folders, names in os.walk(folder, onerror=refused):
        visible = sorted(name for name in folders if not name.startswith("."))
        left_out["hidden"] += len(folders) - len(visible) + sum(name.startswith(".") for name in names)
        folders[:] = visible
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _read(file: Path, max_bytes: int) -> tuple[str | None, str]:
    """Why the file is left out, or None and its text."""
    if not file.is_file():
        return "no regular file", ""
    with file.open("rb") as handle:
        data = handle.read(max_bytes + 1)
    if len(data) > max_bytes:
        return f"over {max_bytes:,} bytes", ""
    try:
        text = decode_text(data, "")
    except UsageError:
        return "binary or not UTF-8", ""
    return (None, text) if text.strip() else ("empty", "")
