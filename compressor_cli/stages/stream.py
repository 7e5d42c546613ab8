"""`scc compress --stream`: text is compressed while it arrives, a window of whole paragraphs at a time.

Where a window ends depends on the text alone, never on how it arrives: the same input gives the same output.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from compressor_cli.core.domains import closes_fence, detect_domain
from compressor_cli.core.text_input import decode_pieces
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
_LONGEST = 1 << 20  # characters of a fence or table: memory stays flat
_GO_ON = 8  # windows that are put together where one alone cannot meet the rate
_BLANK = re.compile(r"(?<=\n)(\r?\n)\Z")
_FENCE = re.compile(r"\s*(?:(?:[-*+]|\d{1,4}[.)])\s+)?(`{3,}(?=[^`\n]*$)|~{3,})")  # as in engines/layout.py
_TABLE_RULE = re.compile(r"[-|: \t]*-[-|: \t]*")
_CODE_ON = re.compile(r"[ \t)\]}]|(?:else|elif|except|finally|catch|end)\b")


@dataclass(frozen=True)
class StreamSummary:
    windows: int
    tokens_in: int
    tokens_out: int


def compress_stream(
    settings: CompressSettings,
    read: Callable[[int], bytes],
    write: Callable[[Receipt, str], None],
    *,
    name: str = "stdin",
) -> StreamSummary:
    """`read(n)` gives the bytes at hand, at most n, and b"" at the end; `write` gets each window's receipt, and its
    text, which ends as the window does, so that nothing runs into what follows. A rate holds for each window. `name`
    is that of the input in errors.

    Raises UsageError for settings that need the whole text, for JSON and tables, and for bytes that are not UTF-8;
    BudgetTooSmallError where windows together cannot meet the rate. What was written before stands.
    """
    given = settings.given()
    options = Options(**given)
    for option in ("max_tokens", "keep_first", "keep_last", "stable_prefix", "chat"):
        if getattr(options, option):
            raise UsageError(f"--{option.replace('_', '-')} needs the whole text and does not go with --stream")
    count = token_counter(options.tokenizer).count
    windows = tokens_in = tokens_out = 0
    waiting = ""
    refused: BudgetTooSmallError | None = None
    held = 0
    for window in _windows(decode_pieces(iter(partial(read, _READ), b""), name), options.domain):
        waiting += window
        if not waiting.strip():
            continue
        try:
            receipt = _compressed(waiting, given, count)
        except BudgetTooSmallError as exc:
            refused, held = exc, held + 1
            if held >= _GO_ON:
                break
            continue
        refused, held, waiting = None, 0, ""
        write(receipt, receipt.compressed)
        windows, tokens_in, tokens_out = windows + 1, tokens_in + receipt.tokens_in, tokens_out + receipt.tokens_out
    if refused is not None:
        where = f"after {tokens_in} tokens of input, in a window of {count(waiting)}: " if windows else ""
        raise BudgetTooSmallError(where + refused.template, refused.tokens_needed, refused.budget, hint=refused.hint)
    if not windows:
        raise UsageError("the input is empty")
    return StreamSummary(windows, tokens_in, tokens_out)


def _compressed(window: str, options: dict[str, Any], count: Callable[[str], int]) -> Receipt:
    """With the blank line behind it where that fits the rate too, and with a space behind it in any case."""
    receipt = compress(window, **options)
    most = math.floor(receipt.rate * receipt.tokens_in)
    if window.endswith(" ") and not receipt.compressed[-1:].isspace():
        if options.get("rate") is not None and count(receipt.compressed + " ") > most:
            receipt = compress(window, **{**options, "rate": None, "max_tokens": most - 1})
        return _with_text(receipt, receipt.compressed + " ", count)
    blank = _BLANK.search(window)
    if blank is None or _BLANK.search(receipt.compressed):
        return receipt
    longer = _with_text(receipt, receipt.compressed + blank.group(1), count)
    return longer if longer.tokens_out <= most else receipt


def _with_text(receipt: Receipt, text: str, count: Callable[[str], int]) -> Receipt:
    tokens = count(text)
    ratio = tokens / receipt.tokens_in
    return replace(receipt, compressed=text, tokens_out=tokens, ratio=round(ratio, 4), savings=round(1 - ratio, 4))


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
    """Where the first window of `buffer` ends; 0 where more must be read to tell. No fence or table is cut."""
    last = len(buffer) - _LEAST
    block, at, line_end, before_it = "", 0, 0, 0
    for line in buffer.splitlines(keepends=True):
        at += len(line)
        if at > last:
            break
        opened, block = block, "" if code else _block(block, line)
        if block:
            if block == "|" != opened:  # the line above is its head
                line_end = before_it
            continue
        if at <= _MOST or line_end < _LEAST:
            before_it, line_end = line_end, at
        if at >= _LEAST and not line.strip() and not (code and _CODE_ON.match(buffer, at)):
            following = buffer[at : at + 2]
            if following.strip("\r\n"):  # blank lines stay with what they follow
                return at
    if len(buffer) < _MOST + _LEAST:
        return 0
    if block and line_end < _LEAST:
        if len(buffer) > _LONGEST:
            raise UsageError(
                f"a fence or table of more than {_LONGEST:,} characters does not go with --stream",
                hint="is a fence not closed? scc compress without --stream takes the whole text",
            )
        return 0
    return line_end or buffer.rfind(" ", 0, _MOST) + 1 or _MOST


def _block(block: str, line: str) -> str:
    """What is open behind `line`, where `block` was before it: the mark of a fence, "|" for a table, or nothing."""
    if block == "|":
        block = block if "|" in line else ""
    elif block:
        return "" if closes_fence(line, block) else block
    elif "|" in line and _TABLE_RULE.fullmatch(line.strip()):
        return "|"
    mark = _FENCE.match(line)
    return mark.group(1) if mark else block
