"""Who did it to whom: `A was acquired by B` is `B acquired A`, and not `A acquired B`."""

from __future__ import annotations

import re
from collections.abc import Container, Hashable, Iterator
from itertools import pairwise

from compressor_cli.core.facts.sides import KEPT, Outcome, Side
from compressor_cli.core.facts.tokens import Found
from compressor_cli.core.facts.values import stem
from compressor_cli.core.facts.words import FUNCTION

_FAR = 80  # characters between the two
_STOP = re.compile(r"[.;:!?]")
_CLAUSE = frozenset("and but or which who that him her it them to from while when me us".split())
Role = tuple[Hashable, str, Hashable]  # who, the stem of what is done, to whom


def exchanged_roles(one: Side, other: Side, result: list[Outcome]) -> None:
    """Where the texts differ in voice. Names that changed places in the same voice are found by their places."""
    before, now = dict(_passive(one)), dict(_passive(other))
    said = {role for role, _ in _active(other, {(who, whom) for who, _, whom in before})} if before else set()
    asked = dict(_active(one, {(who, whom) for who, _, whom in now})) if now else {}
    for roles, others in ((before, said), (asked, set(now))):
        for (who, done, whom), places in roles.items():
            if (whom, done, who) in others and (who, done, whom) not in others:
                for i, name in zip(places, (whom, who), strict=True):
                    if result[i] == KEPT:
                        result[i] = "changed", _text_of(other, name)


def _text_of(side: Side, value: Hashable) -> str | None:
    return next((side.words.text[found.start : found.end] for found in side.names if found.value == value), None)


def _passive(side: Side) -> Iterator[tuple[Role, tuple[int, int]]]:
    """With the places in `side.names` of who and whom."""
    if " by " not in side.words.lower:
        return
    for i, (a, b) in enumerate(pairwise(side.names)):
        between = _between(side, a, b)
        if "by" in between[1:] and not _CLAUSE.intersection(between):
            done = between[between.index("by", 1) - 1]
            if done not in FUNCTION and done.endswith(("ed", "en", "t", "d", "n", "e")):
                yield (b.value, stem(done), a.value), (i + 1, i)


def _active(side: Side, pairs: Container[tuple[Hashable, Hashable]]) -> Iterator[tuple[Role, tuple[int, int]]]:
    """Between one of `pairs`, in either order."""
    for i, (a, b) in enumerate(pairwise(side.names)):
        if (a.value, b.value) in pairs or (b.value, a.value) in pairs:
            between = _between(side, a, b)
            if "by" not in between:
                yield from (((a.value, stem(word), b.value), (i, i + 1)) for word in between if word not in FUNCTION)


def _between(side: Side, a: Found, b: Found) -> list[str]:
    words = side.words
    if b.start - a.end > _FAR or _STOP.search(words.text, a.end, b.start):
        return []
    return words.words[words.at(a.end) : words.at(b.start)]
