"""Who did it to whom: `A was acquired by B` is `B acquired A`, and not `A acquired B`."""

from __future__ import annotations

import re
from collections.abc import Container, Hashable, Iterable, Iterator, Sequence
from itertools import pairwise

from compressor_cli.core.facts.sides import ENOUGH, KEPT, Outcome, Side
from compressor_cli.core.facts.tokens import Found
from compressor_cli.core.facts.values import stem
from compressor_cli.core.facts.words import FUNCTION

_FAR = 80  # characters between the two
_STOP = re.compile(r"[.;:!?]")
_CLAUSE = frozenset("and but or which who that him her it them to from while when me us".split())
_PARTICIPLE = ("ed", "en", "t", "d", "n", "e")
_ARTICLES = frozenset(("the", "a", "an"))
Role = tuple[Hashable, str, Hashable]  # who, the stem of what is done, to whom


def exchanged_roles(one: Side, other: Side, theirs: Sequence[Found], result: list[Outcome]) -> None:
    """Where the texts differ in voice. Names that changed places in the same voice are found by their places.

    `theirs`: the names of `other`.
    """
    before, now = dict(_passive(one, one.names)), dict(_passive(other, theirs))
    said = {role for role, _ in _active(other, theirs, {(who, whom) for who, _, whom in before})} if before else set()
    asked = dict(_active(one, one.names, {(who, whom) for who, _, whom in now})) if now else {}
    for roles, others in ((before, said), (asked, set(now))):
        for (who, done, whom), places in roles.items():
            if (whom, done, who) in others and (who, done, whom) not in others:
                for i, name in zip(places, (whom, who), strict=True):
                    if result[i] == KEPT:
                        result[i] = "changed", _text_of(other, theirs, name)
    _without_by(one, other, result)


def _text_of(side: Side, names: Iterable[Found], value: Hashable) -> str | None:
    return next((side.words.text[found.start : found.end] for found in names if found.value == value), None)


def _without_by(one: Side, other: Side, result: list[Outcome]) -> None:
    """`The yard was sold by Acme`, and `the yard sold Acme`."""
    for i, name in enumerate(one.names):
        k = _skip_articles(one, one.words.at(name.start) - 1)
        if result[i] != KEPT or k < 1 or one.words.words[k] != "by":
            continue
        done = _done_by(one.words.words[max(0, k - 2) : k])
        first = one.words.words[one.words.at(name.start)]
        if done and any(_is_object(other, n, done) for n in other.at.get(first, ())[:ENOUGH]):
            n = next(n for n in other.at[first] if _is_object(other, n, done))
            result[i] = (
                "changed",
                other.words.text[other.words.starts[_skip_articles(other, n - 1)] : other.words.ends[n]],
            )


def _is_object(side: Side, n: int, done: str) -> bool:
    """Whether word n comes right after something that is said to do it."""
    words = side.words
    k = _skip_articles(side, n - 1)
    row = k > 0 and all(words.gap(m) == " " for m in range(k, n + 1))
    return row and stem(words.words[k]) == done and words.words[k - 1] not in FUNCTION


def _skip_articles(side: Side, k: int) -> int:
    while k > 0 and side.words.words[k] in _ARTICLES:
        k -= 1
    return k


def _done_by(before: Sequence[str]) -> str:
    """The stem of the participle at the end of some words: of `was taken over`."""
    done = next((word for word in reversed(before) if word not in FUNCTION), "")
    return stem(done) if done.endswith(_PARTICIPLE) else ""


def _passive(side: Side, names: Sequence[Found]) -> Iterator[tuple[Role, tuple[int, int]]]:
    """With the places in `names` of who and whom."""
    if " by " not in side.words.lower:
        return
    for i, (a, b) in enumerate(pairwise(names)):
        between = _between(side, a, b)
        if "by" in between[1:] and not _CLAUSE.intersection(between):
            done = _done_by(between[: between.index("by", 1)][-2:])
            if done:
                yield (b.value, done, a.value), (i + 1, i)


def _active(
    side: Side, names: Sequence[Found], pairs: Container[tuple[Hashable, Hashable]]
) -> Iterator[tuple[Role, tuple[int, int]]]:
    """Between one of `pairs`, in either order."""
    for i, (a, b) in enumerate(pairwise(names)):
        if (a.value, b.value) in pairs or (b.value, a.value) in pairs:
            between = _between(side, a, b)
            if "by" not in between:
                yield from (((a.value, stem(word), b.value), (i, i + 1)) for word in between if word not in FUNCTION)


def _between(side: Side, a: Found, b: Found) -> list[str]:
    words = side.words
    if b.start - a.end > _FAR or _STOP.search(words.text, a.end, b.start):
        return []
    return words.words[words.at(a.end) : words.at(b.start)]
