"""Reading text that a user names: a file, or standard input."""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
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
    return "".join(decode_pieces([data], name))


def decode_pieces(pieces: Iterable[bytes], name: str) -> Iterator[str]:
    """Strict UTF-8, since a replaced character would be text that nobody wrote. A piece may end within a character.

    Raises UsageError as `read_text` does; offsets count from the first byte, a byte order mark too.
    """
    waiting, offset, begun = b"", 0, False
    for data in chain(pieces, [b""]):
        waiting += data
        if not begun:
            if data and len(waiting) < len(codecs.BOM_UTF8):
                continue
            if waiting.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise UsageError(f"{name}: UTF-16, and UTF-8 is needed", hint=_CONVERT.format("UTF-16"))
            offset = len(codecs.BOM_UTF8) if waiting.startswith(codecs.BOM_UTF8) else 0
            waiting, begun = waiting[offset:], True
        nul = waiting.find(b"\0")
        if nul >= 0:
            raise UsageError(f"{name}: binary data (a NUL byte at offset {offset + nul}); UTF-8 text is needed")
        try:
            text, used = codecs.utf_8_decode(waiting, "strict", not data)
        except UnicodeDecodeError as exc:
            raise UsageError(
                f"{name}: not UTF-8: byte 0x{waiting[exc.start]:02x} at offset {offset + exc.start}",
                hint=_CONVERT.format("LATIN1"),
            ) from None
        yield text
        waiting, offset = waiting[used:], offset + used


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
