"""Whether what was denied and what was not have changed places, and what only the other text denies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from compressor_cli.core.facts.cues import SYMBOL, governs
from compressor_cli.core.facts.sides import ENOUGH, KEPT, Outcome, Side
from compressor_cli.core.facts.values import plainly, stem
from compressor_cli.core.facts.words import DENIES, FUNCTION, KEEPS, LOOSE_DENIALS, MAY_DENY

_UNDONE = re.compile(r"(?:un(?!der|i|til|less)|non)[a-z]{4,}")
_ENDED = frozenset(
    "closed cancelled canceled dismissed removed deleted lost ended withdrew withdrawn ceased too unlike dropped empty "
    "far forgot forgotten abandoned suspended stopped broke broken gone expired dead died disabled blocked".split()
)


def moved(one: Side, other: Side, result: list[Outcome]) -> None:
    """Where a word is said with a cue and without it, the two must not have changed places."""
    known: dict[tuple[str, int, bool], set[int]] = {}

    def covers(side: Side, does: str, loose: bool) -> set[int]:
        key = (does, id(side), loose)
        if key not in known:
            keeps = set(KEEPS.get(does, (does,)))
            known[key] = {k for cue in side.cues if keeps & set(cue.does) and cue.loose <= loose for k in cue.near}
        return known[key]

    for i, cue in enumerate(one.cues):
        if cue.number or result[i] != KEPT or not cue.governed:
            continue
        does, word = governs(one.words, cue)
        if not 1 < len(one.stems.get(word, ())) == len(other.stems.get(word, ())) <= ENOUGH:
            continue
        here, there = sorted(one.stems[word]), sorted(other.stems[word])
        before, now, maybe = covers(one, does, False), covers(other, does, False), covers(other, does, True)
        lost = [k for k in range(len(here)) if here[k] in before and there[k] not in maybe]
        new = [k for k in range(len(here)) if there[k] in now and here[k] not in before]
        if lost and new:
            about, after = _left(one, here), _left(other, there)
            if all(about[k] & after[k] for k in (*lost, *new)):
                result[i] = "changed", None


def _left(side: Side, places: Iterable[int]) -> list[set[str]]:
    """What stands before each place; 1st and first are one, and A may be a name."""
    words = side.words.words
    near = (
        [j for j in range(max(0, k - 5), k) if words[j] not in FUNCTION or side.words.raw(j) == "A"] for k in places
    )
    return [{stem(plainly(words[j])) for j in before} for before in near]


_NEAR = 4  # words


class Turned(NamedTuple):
    """A word of the original that the other text says the opposite of."""

    start: int
    end: int
    found: str


def turned(one: Side, other: Side, used: set[int]) -> Iterator[Turned]:
    """Words that the original says and the other text negates."""
    words = other.words.words
    denials = [cue for cue in one.cues if cue.does[0] in MAY_DENY]
    denied = {k for cue in denials for k in (*cue.near, *range(cue.first - 3, cue.stop + 3))}
    notation = SYMBOL.search(one.words.text) is not None
    for cue in other.cues:
        if cue.does[0] not in DENIES or not cue.governed or cue.loose or cue.number or id(cue) in used:
            continue
        if cue.governed[0] < cue.stop or (notation and cue.first == cue.stop):
            continue
        word = stem(words[cue.governed[0]])
        here = one.stems.get(word, ())
        if not 0 < len(here) <= ENOUGH or word[0].isdigit() or len(other.stems[word]) > len(here):
            continue
        if not any(k in denied or may_be_denied(one, k) for k in here):
            k, last = here[0], max(cue.governed[0], cue.stop - 1)
            found = other.words.text[other.words.starts[cue.first] : other.words.ends[last]]
            yield Turned(one.words.starts[k], one.words.ends[k], found)


def may_be_denied(side: Side, k: int, after: int = _NEAR) -> bool:
    """Whether there is something near word k, at most `after` words on, that may be put as a negation."""
    words = side.words.words
    near = words[max(0, k - _NEAR) : k] + words[k + 1 : k + after + 1]
    return any(word in _ENDED or word in LOOSE_DENIALS or _UNDONE.fullmatch(word) for word in near)
