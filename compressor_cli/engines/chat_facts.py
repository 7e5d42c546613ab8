"""The facts of a chat: found in its contents as a model reads them, told by where they stand in the JSON."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from compressor_cli.records import FactStatus

_STRING = re.compile(r'"((?:[^"\\]++|\\.)*+)"')
_PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # one character in two escapes
_ESCAPE = re.compile(rf"{_PAIR}|\\u[0-9a-fA-F]{{4}}|\\.")


def placed(text: str, facts: Iterable[tuple[int, tuple[FactStatus, ...]]]) -> Iterator[FactStatus]:
    """`facts` of strings of the JSON `text`, each with the number of its string, at their places in `text`."""
    strings = [match.span(1) for match in _STRING.finditer(text)]
    for number, found in facts:
        start, end = strings[number]
        place = _places(text[start:end])
        for fact in found:
            yield replace(fact, start=start + place(fact.start), end=start + place(fact.end))


def _places(written: str) -> Callable[[int], int]:
    """From a character of a string to where it is written."""
    read, at = [0], [0]  # where runs without escapes begin
    for escape in _ESCAPE.finditer(written):
        read.append(read[-1] + escape.start() - at[-1] + 1)
        at.append(escape.end())

    def place(n: int) -> int:
        run = bisect_right(read, n) - 1
        return at[run] + n - read[run]

    return place
