"""Where another text says the opposite: unsafe or dangerous for safe, in the same surroundings and as much denied.

A word that both texts say, and one that the original says the opposite of elsewhere, is no contradiction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from compressor_cli.core.facts.check_polarity import Turned, may_be_denied
from compressor_cli.core.facts.opposites import POLES, PREFIXES, without_less, without_prefix
from compressor_cli.core.facts.sides import ENOUGH, Side
from compressor_cli.core.facts.values import plainly, stem
from compressor_cli.core.facts.words import DENIES, FUNCTION, MAY_DENY

_REACH = 8  # words
_LESS = frozenset(("less", "least"))
_BE = frozenset("is are was were be been being it's isn't".split())
_SENTENCE = 12  # words, in which a clause in front ends: after the war, ...


class _Rival(NamedTuple):
    """A word of the other text, and the places in the original of words that it is the opposite of.

    `sided`: the opposite says the same from the other side, as above and below do.
    """

    here: Sequence[int]
    there: Sequence[int]
    sided: bool


class _Text:
    """What is asked about places in one of the texts."""

    def __init__(self, side: Side) -> None:
        self.side = side

    @cached_property
    def denied(self) -> set[int]:
        return {k for cue in self.side.cues if cue.does[0] in DENIES for k in cue.governed[:1]}

    @cached_property
    def maybe_denied(self) -> set[int]:
        cues = [cue for cue in self.side.cues if cue.does[0] in MAY_DENY]
        return {k for cue in cues for k in (*cue.near, *range(cue.stop, cue.stop + _REACH))}

    def denies(self, k: int) -> bool | None:
        """None where that cannot be told."""
        if k in self.denied:
            return True
        words = self.side.words
        before = words.words[k - 1] if k else ""
        turned = before in _LESS or (before in PREFIXES and words.gap(k) == "-") or k in self.maybe_denied
        return None if turned or (words.words[k] not in FUNCTION and may_be_denied(self.side, k, 0)) else False

    def around(self, k: int, sided: bool) -> tuple[set[str], set[str]]:
        """What is said before and after word k; `sided`: before a clause that begins a sentence is what follows it."""
        words = self.side.words
        if sided and words.begins_sentence(k):
            stop = min(k + _SENTENCE, len(words.words))
            comma = next((n for n in range(k + 1, stop) if "," in words.gap(n)), stop)
            return self._said(comma, min(comma + _REACH, stop)), self._said(k + 1, comma)
        return self._said(max(0, k - _REACH), k), self._said(k + 1, k + 1 + _REACH)

    def _said(self, first: int, stop: int) -> set[str]:
        return {stem(plainly(word)) for word in self.side.words.words[first:stop] if word not in FUNCTION}


def opposed(one: Side, other: Side) -> Iterator[Turned]:
    mine, theirs = _Text(one), _Text(other)
    for rival in (*_pairs(mine, theirs), *_prefixed(one, other), *_undenied(one, other)):
        place = _place(mine, theirs, rival)
        if place:
            i, k = place
            yield Turned(one.words.starts[i], one.words.ends[i], other.words.raw(k))


def _pairs(mine: _Text, theirs: _Text) -> Iterator[_Rival]:
    """What the original denies says the opposite: not included is excluded."""
    one, other = mine.side, theirs.side
    said = [(key, pole) for key in one.stems.keys() & POLES.keys() for pole in POLES[key]]
    sides = {pole[:2] for _, pole in said}
    denied = {(line, not side) for key, (line, side, _) in said if not mine.denied.isdisjoint(one.stems[key])}
    for key in sorted(other.stems.keys() & POLES.keys()):
        known = sides | denied if theirs.denied.isdisjoint(other.stems[key]) else sides
        for line, side, sided in POLES[key]:
            if (line, side) in known or (line, not side) not in sides:
                continue
            against = [word for word, pole in said if pole[:2] == (line, not side)]
            here = [i for word in sorted(against) if _rarer(one, other, word) for i in one.stems[word]]
            yield _Rival(here, other.stems[key], sided)


def _rarer(one: Side, other: Side, word: str) -> bool:
    return len(other.stems.get(word, ())) < len(one.stems[word])


def _prefixed(one: Side, other: Side) -> Iterator[_Rival]:
    for word in sorted(other.at.keys() - one.at.keys()):
        for bare in _bare(word) if not _hyphened(one, word) else ():
            if bare in one.stems and stem(word) not in one.stems and _rarer(one, other, bare):
                yield _Rival(one.stems[bare], other.at[word], False)
    for word in sorted(one.at.keys() - other.at.keys()):
        for bare in _bare(word):
            if bare in other.stems and bare not in one.stems:
                yield _Rival(one.at[word], other.stems[bare], False)


def _undenied(one: Side, other: Side) -> Iterator[_Rival]:
    """Of non-flammable and far from safe what is left without what denies it."""
    words = one.words.words
    for i in [i for prefix in PREFIXES for i in one.at.get(prefix, ()) if one.words.gap(i + 1) == "-"]:
        yield from _left_alone(one, other, i, i + 1)
    for i in one.at.get("from", ()):
        if i > 1 and words[i - 1] == "far" and words[i - 2] in _BE and words[i + 1 : i + 2]:
            yield from _left_alone(one, other, i - 1, i + 1)


def _left_alone(one: Side, other: Side, denial: int, denied: int) -> Iterator[_Rival]:
    word = one.words.words[denied]
    key = stem(word)
    if word not in FUNCTION and one.stems[key] == [denied] and one.words.words[denial] not in other.at:
        yield _Rival([denial], other.stems.get(key, ()), False)


def _hyphened(side: Side, word: str) -> bool:
    """Whether nonlinear stands there as non-linear."""
    rest = without_prefix(word)
    return bool(rest) and f"{word.removesuffix(rest)}-{rest}" in side.words.lower


def _bare(word: str) -> list[str]:
    """The stems of what a word with a negating prefix or ending is the opposite of."""
    if bare := without_prefix(word):
        return [stem(bare)]
    return [stem(bare + "ful")] if (bare := without_less(word)) else []


def _place(mine: _Text, theirs: _Text, rival: _Rival) -> tuple[int, int] | None:
    """The first pair of places with the same surroundings and both denied or neither."""
    if max(len(rival.here), len(rival.there)) > ENOUGH:
        return None
    for k in rival.there:
        denied = theirs.denies(k)
        before, after = theirs.around(k, rival.sided)
        for i in rival.here if denied is not None else ():
            if mine.denies(i) == denied and _same_place(mine.around(i, rival.sided), (before, after), rival.sided):
                return i, k
    return None


def _same_place(was: tuple[set[str], set[str]], now: tuple[set[str], set[str]], sided: bool) -> bool:
    same = sum(len(a & b) for a, b in zip(was, now, strict=True))
    crossed = sum(len(a & b) for a, b in zip(was, reversed(now), strict=True))
    shared = same if sided else same + crossed
    enough = min(2, len(now[0] | now[1]))
    return shared >= max(enough, 1) and (not sided or not crossed)
