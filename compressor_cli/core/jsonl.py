"""Resumable JSONL: rows appended whole, under a lock, each with a key that hashes what made it.

Killed at any byte, a journal loses only the row in flight; it is repaired when it is opened again.
"""

from __future__ import annotations

import codecs
import fcntl
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from compressor_cli.core.files import write_json
from compressor_cli.errors import SccError, UsageError

Row = dict[str, Any]


def dump_row(row: Mapping[str, Any]) -> bytes:
    """One line. Lone surrogates, which JSON can carry and UTF-8 cannot, are written escaped."""
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(row, ensure_ascii=True, allow_nan=False).encode() + b"\n"


def append_row(fd: int, path: Path, row: Mapping[str, Any], *, flush: bool = False) -> int:
    """At the end of a file that nobody else writes now, whole or not at all; the bytes written. Errors name `path`."""
    data, start = dump_row(row), os.fstat(fd).st_size
    written = 0
    try:
        while written < len(data):
            written += os.write(fd, data[written:])
        if flush:
            os.fsync(fd)
    except BaseException as exc:
        os.ftruncate(fd, start)  # a full disk, or a signal, must not leave half a row
        if isinstance(exc, OSError):
            exc.filename = str(path)
        raise
    return written


def content_key(*parts: Any) -> str:
    """Hash of JSON-able parts that is the same in every process; 32 hex digits."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Line number (from 1) and bytes of each non-blank line."""
    try:
        with path.open("rb") as handle:
            for number, line in enumerate(handle, start=1):
                if line.strip():
                    yield number, line
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except IsADirectoryError:
        raise UsageError(f"{path} is a directory; a JSONL file is needed") from None
    except PermissionError:
        raise UsageError(f"{path} cannot be read: permission denied") from None


def parse_row(line: bytes) -> Row:
    """Raises ValueError, with what is wrong, for anything but one JSON object.

    The bytes are decoded here, because `json.loads` guesses at UTF-16 and lets encoded surrogates pass.
    """
    try:
        text = line.removeprefix(codecs.BOM_UTF8).decode("utf-8")
        row = json.loads(text, parse_constant=_finite, parse_float=_finite)
    except UnicodeDecodeError as exc:
        raise ValueError(f"not UTF-8 (byte {exc.start})") from None
    except json.JSONDecodeError as exc:
        raise ValueError(f"not JSON ({exc.msg} at column {exc.colno})") from None
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    if not isinstance(row, dict):
        raise ValueError(f"a JSON object is needed, this is {type(row).__name__}")
    return row


def _finite(literal: str) -> float:
    """NaN and numbers beyond a float could be read but never written again."""
    value = float(literal)
    if not math.isfinite(value):
        raise ValueError(f"the number {literal} has no place in JSON")
    return value


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of a file that this project wrote; a bad line is an error naming its place."""
    for number, line in read_lines(path):
        try:
            yield parse_row(line)
        except ValueError as exc:
            raise SccError(f"{path}, line {number}: {exc}", hint="remove or mend that line, then run again") from None


class Journal:
    """An append-only JSONL file whose rows carry a `key`.

    `settings` are those that change a row's content. They stand beside the file, in `<name>.settings.json`;
    opening the file again under others raises UsageError, naming those that differ. A non-empty file needs
    `resume=True`. `repaired` is the number of bytes of a torn last line that were cut off on opening.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, resume: bool = False) -> None:
        self.path = path
        self.settings_path = path.with_name(f"{path.name}.settings.json")
        self.repaired = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is not a regular file; a journal needs one")
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except PermissionError:
            raise UsageError(f"{path} cannot be written: permission denied") from None
        try:
            self._lock()
            size = os.fstat(self._fd).st_size
            if size and not resume:
                raise UsageError(
                    f"{path} already holds rows", hint="--resume goes on where it stopped; or name another output"
                )
            self._check_settings(dict(settings), fresh=size == 0)
            self._repair(size)
            # The last row of a key counts: a later attempt supersedes a failed one.
            self.rows: dict[str, bool] = {row["key"]: "error" in row for row in self._own_rows()}
        except BaseException:
            os.close(self._fd)
            raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{self.path} is being written by another process") from None

    def _check_settings(self, settings: dict[str, Any], *, fresh: bool) -> None:
        settings = json.loads(json.dumps(settings))
        if fresh:
            write_json(self.settings_path, settings)
            return
        if not self.settings_path.exists():
            raise UsageError(
                f"{self.path} was not written by scc: {self.settings_path.name} is missing beside it",
                hint="name another output",
            )
        before = self._settings_before()
        differing = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
        if differing:
            told = ", ".join(f"{name} was {before.get(name)!r}, is {settings.get(name)!r}" for name in differing)
            raise UsageError(
                f"{self.path} was begun under other settings: {told}",
                hint="use the same settings, or name another output",
            )

    def _settings_before(self) -> Row:
        try:
            return parse_row(self.settings_path.read_bytes())
        except ValueError as exc:
            raise UsageError(f"{self.settings_path}: {exc}", hint="name another output") from None

    def _repair(self, size: int) -> None:
        """Cut off a last line that has no newline."""
        end = size
        while end:
            start = max(0, end - 65536)
            newline = os.pread(self._fd, end - start, start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._fd, end)
            self.repaired = size - end

    def _own_rows(self) -> Iterator[Row]:
        for row in read_rows(self.path):
            if not isinstance(row.get("key"), str):
                raise UsageError(f"{self.path} was not written by scc: a row has no key", hint="name another output")
            yield row

    def has(self, key: str, *, retry_errors: bool = False) -> bool:
        """Whether the row is there, and not an error that is to be tried again."""
        return key in self.rows and not (retry_errors and self.rows[key])

    @property
    def failed(self) -> int:
        return sum(self.rows.values())

    def append(self, row: Row) -> None:
        """`row` must have a `key`; an `error` field marks it as failed."""
        key = row["key"]  # before anything is written
        append_row(self._fd, self.path, row)
        self.rows[key] = "error" in row

    def close(self) -> None:
        os.fsync(self._fd)
        os.close(self._fd)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
