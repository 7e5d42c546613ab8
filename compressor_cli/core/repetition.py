"""Loops: what a model writes when it has nothing left to say. Pure functions of text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_PIECE = re.compile(r"\S+\s*")
_EDGES = re.compile(r"^\W+|\W+$")
_LONGEST = 80  # words of a phrase that comes again
_FEWEST = 3  # rounds that any loop has
_RULE = 120  # characters or words of signs that may draw a line or a table
# A unit within a word, or in a language without spaces; short ones come again by chance.
_CHARACTERS = re.compile(r"(?:(\S{1,3}?)\1{15,}|(\S{4,60}?)\2{4,})")


@dataclass(frozen=True)
class _Loop:
    """Words `start:end` are the first `period` of them again and again."""

    start: int
    end: int
    period: int


def truncate_repetition(text: str, source: str = "") -> str:
    """Each loop of lines, phrases or characters is cut to its first round.

    What comes as often in `source` stays, and so do tables, rules and what is said a few times over.
    """
    while True:
        shorter = _without_phrases(_without_characters(text, source), source)
        if shorter == text:
            return text
        text = shorter


def _without_characters(text: str, source: str) -> str:
    def cut(found: re.Match[str]) -> str:
        whole, unit = found.group(), found.group(1) or found.group(2)
        drawn = not any(char.isalnum() for char in unit) and len(whole) <= _RULE
        return whole if drawn or whole in source else unit

    return _CHARACTERS.sub(cut, text)


def _without_phrases(text: str, source: str) -> str:
    pieces = _PIECE.findall(text)
    words = [_bare(piece) for piece in pieces]
    given = [_bare(piece) for piece in _PIECE.findall(source)]
    for loop in _loops(words):
        unit = words[loop.start : loop.start + loop.period]
        if (loop.end - loop.start) // loop.period <= _rounds(unit, given):
            continue
        end = loop.end + _torn(words, loop)
        kept = [*pieces[: loop.start + loop.period], *pieces[end:]]
        lead = text[: len(text) - len(text.lstrip())]
        return lead + "".join(kept) if end < len(pieces) else (lead + "".join(kept)).rstrip()
    return text


def _bare(piece: str) -> str:
    word = piece.strip().lower()
    return _EDGES.sub("", word) or word


def _loops(words: Sequence[str]) -> Iterator[_Loop]:
    """Those of the shortest period first."""
    for period in range(1, min(_LONGEST, len(words) // _FEWEST) + 1):
        start = 0
        for at in range(period, len(words) + 1):
            if at < len(words) and words[at] == words[at - period]:
                continue
            length = at - start
            if length >= _FEWEST * period and length >= _least(words[start : start + period]) * period:
                yield _Loop(start, at, period)
            start = at - period + 1


def _least(unit: Sequence[str]) -> int:
    """Rounds from which on it is a loop: the longer, the fewer."""
    if not any(char.isalnum() for word in unit for char in word):
        return _RULE // len(unit)
    return next(
        rounds for words, rounds in ((1, 10), (2, 7), (5, 5), (19, 4), (_LONGEST, _FEWEST)) if len(unit) <= words
    )


def _rounds(unit: Sequence[str], given: Sequence[str]) -> int:
    """How often the unit comes in a row in the source, at most."""
    size, most = len(unit), 0
    for start in range(len(given) - size + 1):
        rounds = 0
        while list(given[start + rounds * size : start + (rounds + 1) * size]) == list(unit):
            rounds += 1
        most = max(most, rounds)
    return most


def _torn(words: Sequence[str], loop: _Loop) -> int:
    """1 where the last word of all is the beginning of the next one of the loop."""
    if loop.end != len(words) - 1:
        return 0
    following = words[loop.end - loop.period]
    return int(following.startswith(words[loop.end]))
