"""`scc compress --stream`: text is compressed while it arrives, a window of whole paragraphs at a time.

Where a window ends depends on the text alone, never on how it arrives: the same input gives the same output.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from compressor_cli.core.domains import FENCE, closes_fence, detect_domain
from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.compress import compress
from compressor_cli.engines.options import Options
from compressor_cli.engines.structured import source_of
from compressor_cli.errors import BudgetTooSmallError, UsageError
from compressor_cli.records import Receipt
from compressor_cli.settings import CompressSettings

_READ = 1 << 16
_LEAST = 1_200  # characters of a window; and what must follow it, so that no short rest is left over at the end
_MOST = 24_000  # where no paragraph ends, a line does; where none does, a word
_GO_ON = 8  # windows that are put together where one alone cannot meet the rate
_CODE_ON = re.compile(r"[ \t)\]}]|(?:else|elif|except|finally|catch|end)\b")


@dataclass(frozen=True)
class StreamSummary:
    windows: int
    tokens_in: int
    tokens_out: int


def compress_stream(
    settings: CompressSettings, read: Callable[[int], bytes], write: Callable[[Receipt, str], None]
) -> StreamSummary:
    """`read(n)` gives the bytes at hand, at most n, and b"" at the end; `write` gets each window's receipt, and its
    text with the blank line that stood behind it. A rate holds for each window.

    Raises UsageError for settings that need the whole text, for JSON and tables, and for bytes that are not UTF-8;
    BudgetTooSmallError where windows together cannot meet the rate. What was written before stands.
    """
    options = settings.model_dump()
    Options(**options)
    for name in ("max_tokens", "keep_first", "keep_last", "stable_prefix", "chat"):
        if options[name]:
            raise UsageError(f"--{name.replace('_', '-')} needs the whole text and does not go with --stream")
    count = token_counter(settings.tokenizer).count
    windows = tokens_in = tokens_out = 0
    waiting = ""
    refused: BudgetTooSmallError | None = None
    held = 0
    for window in _windows(_decoded(read), options["domain"]):
        waiting += window
        try:
            receipt = compress(waiting, **options)
        except BudgetTooSmallError as exc:
            refused, held = exc, held + 1
            if held >= _GO_ON:
                break
            continue
        refused, held = None, 0
        text = receipt.compressed
        blank = waiting.endswith(("\n\n", "\r\n\r\n")) and not text.endswith(("\n\n", "\r\n\r\n"))
        if blank and count(text + "\n") <= receipt.rate * receipt.tokens_in:
            text += "\n"
        write(receipt, text)
        windows, tokens_in, tokens_out = windows + 1, tokens_in + receipt.tokens_in, tokens_out + count(text)
        waiting = ""
    if refused is not None:
        where = f"after {tokens_in} tokens of input, in a window of {count(waiting)}: " if windows else ""
        raise BudgetTooSmallError(f"{where}{refused}", refused.tokens_needed, hint=refused.hint)
    if not windows:
        raise UsageError("the input is empty")
    return StreamSummary(windows, tokens_in, tokens_out)


def _decoded(read: Callable[[int], bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    while True:
        data = read(_READ)
        if not offset and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise UsageError("stdin: UTF-16, and UTF-8 is needed", hint="convert it first: iconv -f UTF-16 -t UTF-8")
        if b"\0" in data:
            raise UsageError(
                f"stdin: binary data (a NUL byte at offset {offset + data.index(0)}); UTF-8 text is needed"
            )
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as exc:
            pending = len(exc.object) - len(data)
            raise UsageError(f"stdin: not UTF-8 at offset {offset - pending + exc.start}") from None
        yield text.removeprefix("\ufeff") if not offset else text
        offset += len(data)
        if not data:
            return


def _windows(pieces: Iterator[str], domain: str | None) -> Iterator[str]:
    buffer = ""
    code: bool | None = None if domain is None else domain == "code"
    for piece in pieces:
        buffer += piece
        while len(buffer) >= 2 * _LEAST:
            if code is None:
                code = _is_code(buffer)
            cut = _cut(buffer, code)
            if not cut:
                break
            yield buffer[:cut]
            buffer = buffer[cut:]
    if buffer.strip():
        if code is None:
            _is_code(buffer)
        yield buffer


def _is_code(beginning: str) -> bool:
    found = detect_domain(beginning)
    opens_json = re.match(r'\s*(?:\{\s*"|\[\s*[\[{"\d])', beginning)
    if found.name == "json" or opens_json or found.language == "csv" or source_of(beginning) is not None:
        raise UsageError(
            "JSON and tables are compressed as a whole, and do not go with --stream",
            hint="scc compress without --stream; rows of a JSONL file: --input and --output",
        )
    return found.name == "code"


def _cut(buffer: str, code: bool) -> int:
    """Where the first window of `buffer` ends; 0 where more must be read to tell."""
    last = len(buffer) - _LEAST
    fence, at, line_end = "", 0, 0
    for line in buffer.splitlines(keepends=True):
        at += len(line)
        if at > last:
            break
        mark = FENCE.match(line)
        if mark and not fence:
            fence = mark.group(1)
        elif mark and closes_fence(line, fence):
            fence = ""
        if not fence and at <= _MOST:
            line_end = at
        if at >= _LEAST and not fence and not line.strip() and not (code and _CODE_ON.match(buffer, at)):
            following = buffer[at : at + 2]
            if following.strip("\r\n"):  # blank lines stay with what they follow
                return at
    if len(buffer) < _MOST + _LEAST:
        return 0
    return line_end or buffer.rfind(" ", 0, _MOST) + 1 or _MOST
