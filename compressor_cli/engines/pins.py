"""Parts of a text that stay byte for byte: its first tokens, its first and last sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from compressor_cli.engines.layout import parse

_WORD_END = re.compile(r"(?<=\S)(?=\s)")


def split_pinned(
    text: str,
    *,
    keep_first: int,
    keep_last: int,
    stable_prefix: int,
    by_lines: bool,
    count: Callable[[str], int],
    uncut: Sequence[tuple[int, int]] = (),
) -> tuple[str, str, str]:
    """(head, middle, tail), which make up `text`; head and tail stay as they are, with the white space beside them.

    A sentence ends where the prose engine ends it; a heading, an item or a fence is one. `by_lines`: a line is one.
    What would cut a span of `uncut` in two takes all of it.
    """
    spans = _lines(text) if by_lines else _sentences(text)
    head = 0
    if keep_first and spans:
        head = spans[min(keep_first, len(spans)) - 1][1]
    if stable_prefix:
        head = max(head, _token_end(text, stable_prefix, count))
    tail = spans[-min(keep_last, len(spans))][0] if keep_last and spans else len(text)
    for start, stop in sorted(uncut):
        head = stop if start < head < stop else head
    for start, stop in sorted(uncut, key=lambda span: -span[1]):
        tail = start if start < tail < stop else tail
    tail = max(tail, head)
    head += len(text[head:tail]) - len(text[head:tail].lstrip())
    middle = text[head:tail].rstrip()
    return text[:head], middle, text[head + len(middle) :]


def _sentences(text: str) -> list[tuple[int, int]]:
    document = parse(text)
    spans: list[tuple[int, int]] = []
    for line in document.lines:
        start = line.offsets[0]
        if line.fixed is not None:
            spans.append((start, start + len(line.fixed)))
        for n, (a, b) in enumerate(line.sentences):
            spans.append((document.units[a].start if n else start, document.units[b - 1].end))
    return spans


def _lines(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"\S[^\n]*|[^\S\n]+\S[^\n]*", text)]


def _token_end(text: str, tokens: int, count: Callable[[str], int]) -> int:
    """The first end of a word by which `tokens` tokens are complete; the end of the text where it has fewer."""
    ends = [match.start() for match in _WORD_END.finditer(text)]
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high) // 2
        if count(text[: ends[middle]]) >= tokens:
            high = middle
        else:
            low = middle + 1
    return ends[low] if low < len(ends) else len(text)
