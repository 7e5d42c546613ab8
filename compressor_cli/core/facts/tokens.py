"""A text as words with their places, and a fact as the finders of each kind hand it on."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Hashable
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import NamedTuple

Span = tuple[int, int]
WORD = re.compile(r"(\w+(?:['’]\w+)*)")
_SENTENCE_END = re.compile(r"[.!?](?![,.])|[:\n\"“«*#|•>]|(?:^|\s)[-–—]\s")
STOP = re.compile(r"[.;:!?,()\[\]{}|→⇒—]|\n[ \t]*(?:\n|[-*•#>\d])|\s[-–]\s")  # ends a clause
_ABBREVIATIONS = frozenset("mr mrs ms dr prof st rev sen gov gen col sgt capt lt jr sr mt vs".split())


class Found(NamedTuple):
    """A fact without its kind. `also`: what else it can mean here, as 5 can be 5,000 metres in `5 to 7 km`.

    `mark`: multiplier and unit that a number before it in a list may share; for a time, the minutes of its half day.
    """

    type: str
    start: int
    end: int
    parts: tuple[Span, ...]
    value: Hashable
    also: tuple[Hashable, ...] = ()
    mark: tuple[Decimal, tuple[str, Decimal] | None] | None = None


@dataclass(frozen=True, slots=True)
class Words:
    """Word i is text[starts[i]:ends[i]], in lower case in `words`; `lower` is as long as `text`.

    `capitals` and `odd` are the places of words with a capital first letter, and of those that are not only letters.
    `taken`: 1 where a finder has been.
    """

    text: str
    lower: str
    words: list[str]
    starts: list[int]
    ends: list[int]
    capitals: list[int]
    odd: list[int]
    taken: bytearray

    def raw(self, i: int) -> str:
        return self.text[self.starts[i] : self.ends[i]]

    def gap(self, i: int) -> str:
        """What stands before word `i`, back to the word before it; after the last word, the rest."""
        return self.text[self.ends[i - 1] if i else 0 : self.starts[i] if i < len(self.starts) else None]

    def at(self, offset: int) -> int:
        """The first word that starts at `offset` or after it."""
        return bisect_left(self.starts, offset)

    def take(self, start: int, end: int) -> None:
        self.taken[start:end] = b"\1" * (end - start)

    def begins_sentence(self, i: int) -> bool:
        if not i:
            return True
        gap, before = self.gap(i), self.words[i - 1]
        return (
            gap != " "
            and _SENTENCE_END.search(gap) is not None
            and not (gap.strip() == "." and gap != "." and (len(before) == 1 or before in _ABBREVIATIONS))
        )


def split(text: str) -> Words:
    lower = text.lower()
    if len(lower) != len(text):  # İ is two characters in lower case
        lower = "".join(char.lower() if len(char.lower()) == 1 else char for char in text)
    pieces = WORD.split(lower)
    bounds = list(accumulate(map(len, pieces)))
    words, starts = pieces[1::2], bounds[:-1:2]
    capitals = [i for i, start in enumerate(starts) if text[start].isupper()]
    odd = [i for i, word in enumerate(words) if not word.isalpha()]
    return Words(text, lower, words, starts, bounds[1::2], capitals, odd, bytearray(len(text)))
