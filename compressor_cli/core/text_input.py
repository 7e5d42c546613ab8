"""Reading text that a user names: a file, or standard input."""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from compressor_cli.errors import UsageError

T = TypeVar("T")


def input_name(path: Path | None) -> str:
    return "stdin" if _is_stdin(path) else str(path)


def read_text(path: Path | None) -> str:
    """The text of `path`; None or `-` is standard input. A byte order mark is taken off; line ends stay.

    Raises UsageError for a file that is missing, unreadable or a directory, and for bytes that are not UTF-8 text.
    """
    return decode_text(read_bytes(path), input_name(path))


def decode_text(data: bytes, name: str) -> str:
    """Strict UTF-8: a replaced character would be text that nobody wrote."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(f"{name}: UTF-16, and UTF-8 is needed", hint=_CONVERT.format("UTF-16"))
    nul = data.find(b"\0")
    if nul >= 0:
        raise UsageError(f"{name}: binary data (a NUL byte at offset {nul}); UTF-8 text is needed")
    # Cut off by hand: the codec `utf-8-sig` counts its offsets after the mark.
    mark = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    try:
        return data[mark:].decode("utf-8")
    except UnicodeDecodeError as exc:
        byte = data[mark + exc.start]
        raise UsageError(
            f"{name}: not UTF-8: byte 0x{byte:02x} at offset {mark + exc.start}", hint=_CONVERT.format("LATIN1")
        ) from None


_CONVERT = "convert it first, for example: iconv -f {} -t UTF-8"


def _is_stdin(path: Path | None) -> bool:
    return path is None or str(path) == "-"


def read_bytes(path: Path | None) -> bytes:
    if path is None or _is_stdin(path):
        if sys.stdin is None:  # closed by whoever started the process
            raise UsageError("stdin is closed; name a file")
        return _checked(lambda: sys.stdin.buffer.read(), "stdin")
    return _checked(path.read_bytes, str(path))


@contextmanager
def open_bytes(path: Path | None) -> Iterator[io.BufferedReader]:
    """For what is read piece by piece. Raises UsageError as `read_text` does."""
    if path is None or _is_stdin(path):
        if sys.stdin is None:
            raise UsageError("stdin is closed; name a file")
        yield sys.stdin.buffer  # type: ignore[misc]
        return
    handle = _checked(lambda: path.open("rb"), str(path))
    with handle:
        yield handle


def _checked(action: Callable[[], T], name: str) -> T:
    try:
        return action()
    except FileNotFoundError:
        raise UsageError(f"no such file: {name}") from None
    except IsADirectoryError:
        raise UsageError(f"{name} is a directory; a text file is needed") from None
    except OSError as exc:
        raise UsageError(f"{name} cannot be read: {exc.strerror or exc}") from None
