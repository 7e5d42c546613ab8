"""The two texts that are compared, and what is asked of facts of any kind: do they stand there, and where."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

from compressor_cli.core.facts.cues import Cue
from compressor_cli.core.facts.names import TITLES
from compressor_cli.core.facts.tokens import WORD, Found, Words
from compressor_cli.core.facts.values import stem
from compressor_cli.core.facts.words import FUNCTION

Status = Literal["kept", "changed", "lost"]
Outcome = tuple[Status, str | None]
_RELATIONS = frozenset("'s of by from to for with than after before in on at under over".split())
_SILENT = (FUNCTION - _RELATIONS) | {"'s"}
_LONGEST_BETWEEN = 12  # words
KEPT: Outcome = ("kept", None)
LOST: Outcome = ("lost", None)
_RIVALS = 3  # on each side of where a fact stood
ENOUGH = 50  # places at which a common word is looked up


@dataclass(frozen=True)
class Side:
    """One of the two texts with all that was found in it."""

    words: Words
    numbers: list[Found]
    cues: list[Cue]
    names: list[Found]
    exact: list[Found]  # URLs, paths, identifiers, code and quotations

    @cached_property
    def at(self) -> dict[str, list[int]]:
        """Where each word stands."""
        places: defaultdict[str, list[int]] = defaultdict(list)
        for i, word in enumerate(self.words.words):
            places[word].append(i)
        return dict(places)

    @cached_property
    def around(self) -> dict[tuple[int, int], set[str]]:
        """What `neighbours` has said."""
        return {}

    @cached_property
    def stood(self) -> dict[tuple[str, bool], bool]:
        """What `stands` has said."""
        return {}

    @cached_property
    def stems(self) -> dict[str, list[int]]:
        places: dict[str, list[int]] = {}
        for word, found in self.at.items():
            places.setdefault(stem(word), []).extend(found)
        return places


def stands(side: Side, text: str, exact_end: bool = False) -> bool:
    """Whether `text` stands in `side` with bounds on both ends; `exact_end`: and a URL or path would end there."""
    key = (text, exact_end)
    if key not in side.stood:
        side.stood[key] = _stands(side, text.lower(), exact_end)
    return side.stood[key]


def _stands(side: Side, lower: str, exact_end: bool) -> bool:
    """It is looked for where the rarest of its words stands, for the first may stand everywhere."""
    other, found = side.words.lower, list(WORD.finditer(lower))
    if not found:
        return lower in other
    whole = found[1:-1] + [word for word in found[-1:] if word.group().isdigit()]
    rarest = min((found[0], *whole), key=lambda word: len(side.at.get(word.group(), ())))
    places, offset = side.at.get(rarest.group(), ()), rarest.start()
    starts = (side.words.starts[i] - offset for i in places)
    return any(
        start >= 0 and other.startswith(lower, start) and bounded(other, start, start + len(lower), exact_end)
        for start in starts
    )


def bounded(text: str, start: int, end: int, exact_end: bool) -> bool:
    before, after = text[start - 1 : start], text[end : end + 1]
    if after.isalnum() or after == "_" or ((before.isalnum() or before == "_") and text[start].isalnum()):
        return False
    if not exact_end:
        return True
    more = text[end + 1 : end + 2]
    return (
        not (after and after in "/?#=&%@~" and more.strip())
        and not (after and after in ".:-" and more.isalnum())
        and before not in "/.\\-@"
    )


def nearest(one: Side, other: Side, found: Found, rivals: Sequence[Found]) -> Outcome:
    """What stands where `found` did, by the words around it and its place in the text. `rivals` are in the order of
    the text."""
    place = found.start * len(other.words.text) // max(len(one.words.text), 1)
    k = bisect_left(rivals, place, key=lambda rival: rival.start)
    about, near = neighbours(one, found), rivals[max(0, k - _RIVALS) : k + _RIVALS]
    shared = [len(about & neighbours(other, rival)) for rival in near]
    best = max(range(len(near)), key=lambda i: (shared[i], -abs(near[i].start - place)), default=None)
    if best is None:
        return LOST
    alone = len(rivals) == 1 and not (about and neighbours(other, near[best]))
    return ("changed", _text(other, near[best])) if shared[best] or alone else LOST


def neighbours(side: Side, found: Found) -> set[str]:
    """Stems of the words around a fact that say something."""
    span = (found.start, found.end)
    if span not in side.around:
        side.around[span] = _neighbours(side.words, found)
    return side.around[span]


def _neighbours(words: Words, found: Found) -> set[str]:
    first, after = words.at(found.start), words.at(found.end)
    near = [
        words.words[k] for k in range(max(0, first - 4), min(after + 4, len(words.words))) if not first <= k < after
    ]
    return {stem(word) for word in near if word not in FUNCTION and not word[0].isdigit()}


def changed_places(
    one: Side,
    other: Side,
    mine: Sequence[Found],
    theirs: Sequence[Found],
    result: list[Outcome],
    same: Callable[[int, int], bool],
) -> None:
    """A kept fact whose place, by the words on both sides, is held by another one that stood elsewhere before."""
    if len(mine) == len(theirs) and all(same(i, i) for i in range(len(mine))):
        return
    _turned_round(one, other, mine, theirs, result)
    here, there = _contexts(one, mine), _contexts(other, theirs)
    if len(mine) == len(theirs):
        pairs = [(i, i) for i in range(len(mine)) if here[i] and here[i] == there[i]]
    else:
        once, also_once = Counter(here), Counter(there)
        places = {context: k for k, context in enumerate(there) if context and also_once[context] == 1}
        pairs = [(i, places[context]) for i, context in enumerate(here) if context in places and once[context] == 1]
    for i, k in pairs:
        if result[i] != KEPT or same(i, k):
            continue
        before = [j for j in range(max(0, i - ENOUGH), min(len(mine), i + ENOUGH)) if same(j, k)]
        if not before or (
            not _in_one_list(one, mine, i, before[0])
            and (len(mine) == len(theirs) or (len(before) == 1 and _inverted(i, before[0], k, len(theirs), same)))
        ):
            result[i] = "changed", other.words.text[theirs[k].start : theirs[k].end]


def _turned_round(
    one: Side, other: Side, mine: Sequence[Found], theirs: Sequence[Found], result: list[Outcome]
) -> None:
    """Two facts that exchanged the words between them, or the words next to them: 23 women, 17 men."""
    once = Counter(found.value for found in mine)
    places = {found.value: k for k, found in enumerate(theirs)}
    twice = Counter(found.value for found in theirs)
    known = [i for i, found in enumerate(mine) if once[found.value] == 1 and twice[found.value] == 1]
    sides = {i: (_next_to(one, mine[i]), _next_to(other, theirs[places[mine[i].value]])) for i in known}
    for i, j in pairwise(known):
        a, b = mine[i], mine[j]
        x, y = theirs[places[a.value]], theirs[places[b.value]]
        between = _between(one, a, b)
        turned = y.start < x.start and _alike(between, _between(other, y, x))
        turned = turned and not _in_one_list(one, mine, i, j)
        (before_a, before_x), (before_b, before_y) = sides[i], sides[j]
        for side in (0, 1):
            was, now = (before_a[side], before_b[side]), (before_x[side], before_y[side])
            turned = turned or (all(was) and was[0] != was[1] and was == now[::-1])
        if turned and a.type == b.type:
            result[i], result[j] = ("changed", _text(one, b)), ("changed", _text(one, a))


def _text(side: Side, found: Found) -> str:
    return side.words.text[found.start : found.end]


def _between(side: Side, a: Found, b: Found) -> list[str]:
    words = side.words.words[side.words.at(a.end) : side.words.at(b.start)]
    if len(words) > _LONGEST_BETWEEN:
        return []
    own = ["'s"] if side.words.lower.startswith(("'s", "’s"), a.end) else []
    return own + [word if word in _RELATIONS else stem(word) for word in words if word not in _SILENT]


def _alike(between: list[str], now: list[str]) -> bool:
    """The same relation in the same direction: nothing that turns it round, and the same words or fewer."""
    relations = [word for word in between if word in _RELATIONS] == [word for word in now if word in _RELATIONS]
    return relations and bool(between and now) and (set(now) <= set(between) or set(between) <= set(now))


def _next_to(side: Side, found: Found) -> tuple[str, str]:
    """The stems of the words before and after, where they say something."""
    words = side.words
    first, after = words.at(found.start) - 1, words.at(found.end)
    near = [words.words[k] if 0 <= k < len(words.words) else "" for k in (first, after)]
    before, behind = ("" if not word or word in FUNCTION or word[0].isdigit() else stem(word) for word in near)
    return before, behind


def _inverted(i: int, before: int, k: int, count: int, same: Callable[[int, int], bool]) -> bool:
    """Fact `before` now stands at k; is fact i on the other side of it than it was?"""
    places = [m for m in range(max(0, k - ENOUGH), min(count, k + ENOUGH)) if same(i, m)]
    return bool(places) and all((m < k) != (i < before) for m in places)


def _contexts(side: Side, facts: Sequence[Found]) -> list[tuple[str, str] | None]:
    words = side.words
    inside = {k for found in facts for k in range(words.at(found.start), words.at(found.end))}
    contexts: list[tuple[str, str] | None] = []
    for found in facts:
        first, after = words.at(found.start), words.at(found.end)
        while first and words.words[first - 1] in TITLES and first - 1 not in inside:
            first -= 1
        left = "" if not first else "#" if first - 1 in inside else words.words[first - 1]
        right = "" if after >= len(words.words) else "#" if after in inside else words.words[after]
        contexts.append((left, right) if left.strip("#") or right.strip("#") else None)
    return contexts


def _in_one_list(side: Side, facts: Sequence[Found], i: int, j: int) -> bool:
    """`Alice and Bob` may change places, but not where others belong to them respectively."""
    first, last = sorted((i, j))
    if last - first > 10 or "respectively" in side.words.lower:
        return False
    gaps = (side.words.text[facts[k].end : facts[k + 1].start].strip().lower() for k in range(first, last))
    return all(gap in ("and", "or", ",", "&", ", and", ", or", "/", "+", ";", "nor") for gap in gaps)
