"""Loops: what a model writes when it has nothing left to say. Pure functions of text."""

from __future__ import annotations

import re
from collections import Counter
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

    What comes as often in `source` stays, and so do tables, rules and what is said a few times over. Lines may lose
    what told them apart, as those of a log do: they stay where the source has their words as often.
    """
    given = _Given(source)
    while True:
        shorter = _without_phrases(_without_characters(text, given), given)
        if shorter == text:
            return text
        text = shorter


class _Given:
    """The source, whatever stands between its letters and digits."""

    def __init__(self, source: str) -> None:
        self._bare, self._close = _letters(source), "".join(source.split())
        self._words = Counter(_bare(piece) for piece in _PIECE.findall(source))

    def holds(self, text: str) -> bool:
        letters = _letters(text)
        return letters in self._bare if letters else "".join(text.split()) in self._close

    def rounds(self, unit: Sequence[str]) -> int:
        """How often it has all words of the unit."""
        told = Counter(word for word in unit if any(map(str.isalnum, word)))
        return min((self._words[word] // times for word, times in told.items()), default=0)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _without_characters(text: str, given: _Given) -> str:
    def cut(found: re.Match[str]) -> str:
        whole, unit = found.group(), found.group(1) or found.group(2)
        drawn = not any(char.isalnum() for char in unit) and len(whole) <= _RULE
        return whole if drawn or given.holds(whole) else unit

    return _CHARACTERS.sub(cut, text)


def _without_phrases(text: str, given: _Given) -> str:
    """Without the loops of the shortest period that has any."""
    pieces = _PIECE.findall(text)
    words = [_bare(piece) for piece in pieces]
    kept, at, period = [text[: len(text) - len(text.lstrip())]], 0, 0
    for loop in _loops(words):
        if period and loop.period > period:
            break
        if loop.start < at or _is_given(loop, pieces, words, given):
            continue
        period = loop.period
        kept += pieces[at : loop.start + period]
        at = loop.end + _torn(words, loop)
    kept += pieces[at:]
    return "".join(kept).rstrip() if at and at == len(pieces) else "".join(kept)


def _is_given(loop: _Loop, pieces: Sequence[str], words: Sequence[str], given: _Given) -> bool:
    first = slice(loop.start, loop.start + loop.period)
    lines = "\n" in pieces[first.stop - 1] and (not loop.start or "\n" in pieces[loop.start - 1])
    return given.holds("".join(pieces[loop.start : loop.end])) or (
        lines and (loop.end - loop.start) // loop.period <= given.rounds(words[first])
    )


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


def _torn(words: Sequence[str], loop: _Loop) -> int:
    """1 where the last word of all is the beginning of the next one of the loop."""
    if loop.end != len(words) - 1:
        return 0
    following = words[loop.end - loop.period]
    return int(following.startswith(words[loop.end]))
