"""Whether what was denied and what was not have changed places, and what only the other text denies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from compressor_cli.core.facts.cues import cues, governs
from compressor_cli.core.facts.sides import ENOUGH, KEPT, Outcome, Side
from compressor_cli.core.facts.values import CARDINALS, ORDINALS, stem
from compressor_cli.core.facts.words import DENIES, FUNCTION, KEEPS

_UNDONE = re.compile(r"(?:un(?!der|i|til|less)|non)[a-z]{4,}")
_ENDED = frozenset(
    "closed cancelled canceled dismissed removed deleted lost ended withdrew withdrawn ceased too unlike dropped empty "
    "forgot forgotten abandoned suspended stopped broke broken gone expired dead died disabled blocked".split()
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
    """What stands before each place; 1st and first are one."""
    words = side.words.words
    return [{_plainly(words[j]) for j in range(max(0, k - 5), k) if words[j] not in FUNCTION} for k in places]


def _plainly(word: str) -> str:
    n = ORDINALS.get(word, CARDINALS.get(word))
    digits = word.rstrip("stndrh")
    return str(n) if n is not None else digits if digits.isdigit() else stem(word)


class Turned(NamedTuple):
    """A word that the original says and the other text negates."""

    start: int
    end: int
    found: str


def turned(one: Side, other: Side, used: set[int]) -> Iterator[Turned]:
    fresh = [
        cue for cue in other.cues if cue.does[0] in DENIES and cue.governed and not cue.loose and id(cue) not in used
    ]
    asked = [(cue, stem(other.words.words[cue.governed[0]])) for cue in fresh if not cue.number]
    asked = [
        (cue, word)
        for cue, word in asked
        if word in one.stems and not word[0].isdigit() and len(one.stems[word]) <= ENOUGH
    ]
    if not asked:
        return
    denied = _denied(one)
    for cue, word in asked:
        here = one.stems[word]
        if len(other.stems[word]) - 1 < len(here) and not any(k in denied for k in here):
            k, last = here[0], max(cue.governed[0], cue.stop - 1)
            found = other.words.text[other.words.starts[cue.first] : other.words.ends[last]]
            yield Turned(one.words.starts[k], one.words.ends[k], found)


def _denied(side: Side) -> set[int]:
    """Words near something that may be put as a negation."""
    found: set[int] = set()
    for cue in cues(side.words, side.numbers, loose=True):
        if (cue.does[0] in DENIES and cue.does[0] != "notuntil") or cue.does[0] in (
            "except",
            "unless",
            "instead",
            "only",
        ):
            found |= {*cue.near, *range(cue.first - 3, cue.stop + 3)}
    for i, word in enumerate(side.words.words):
        if word in _ENDED or _UNDONE.fullmatch(word):
            found |= {*range(i - 4, i + 5)}
    return found
