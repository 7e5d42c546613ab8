"""Which negations, modals and limits another text keeps: those that still bear on what they governed."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Sequence

from compressor_cli.core.facts.check_numbers import keys_of
from compressor_cli.core.facts.check_polarity import Turned, moved, turned
from compressor_cli.core.facts.check_reworded import by_neighbour, stand_in
from compressor_cli.core.facts.cue_search import Search, cue_key, cues_by_stem
from compressor_cli.core.facts.cues import Cue, governs
from compressor_cli.core.facts.sides import ENOUGH, KEPT, LOST, Outcome, Side, stands
from compressor_cli.core.facts.values import stem
from compressor_cli.core.facts.words import DETERMINERS

_SOME = frozenset(
    "all every everyone everything each some several many most few part partly partially certain various half always "
    "whole entire entirely fully limited only majority minority".split()
)
_UP_TO = re.compile(r"(?:[-–—→]|\b(?:to|by|through|thru|before|til|ends?)) ?$")


def cue_outcomes(one: Side, other: Side) -> tuple[list[Outcome], list[Turned]]:
    """For each cue of the original; and the words of it that only the other text negates."""
    search = Search(one, other, cues_by_stem(one, other), {id(cue): cue_key(other, cue) for cue in other.cues})
    wanted = Counter(_asked(one, cue) for cue in one.cues if not cue.number)
    hits = {asked: _hits(search, asked, search.same) for asked in wanted}
    for asked, found in hits.items():
        _use(search, asked, found)
    for asked, found in hits.items():
        if not found:
            hits[asked] = _hits(search, asked, search.free)
            _use(search, asked, hits[asked])
    counts = {asked: len({hit.first for hit in found}) for asked, found in hits.items()}
    limits, ends = _limits_by_number(other), _ends(other)
    result: list[Outcome] = []
    for cue in one.cues:
        asked = () if cue.number else _asked(one, cue)
        if cue.number:
            result.append(_limit(one, other, cue, limits))
        elif counts[asked]:
            result.append(_enough(one, other, cue, counts[asked], wanted[asked]))
        else:
            until = cue.does[0] == "until" and any(key in ends for key in _after(one, cue))
            result.append(KEPT if until else LOST)
    waiting = [i for i, cue in enumerate(one.cues) if result[i] == LOST and not cue.number]
    near = by_neighbour(search) if waiting else {}
    for i in waiting:
        result[i] = stand_in(search, one.cues[i], near)
    _not_all(one, other, result)
    moved(one, other, result)
    return result, list(turned(one, other, search.used))


def _not_all(one: Side, other: Side, result: list[Outcome]) -> None:
    """`Not all` denies less than `no` does: what keeps it says all or some as well."""
    said = one.words.words
    for i, cue in enumerate(one.cues):
        some = said[cue.first : cue.first + 1] == ["not"] and said[cue.stop : cue.stop + 1] in (["all"], ["every"])
        if some and result[i] == KEPT and _SOME.isdisjoint(other.at):
            result[i] = LOST


def _use(search: Search, asked: tuple[str, ...], hits: Sequence[Cue]) -> None:
    """Those that govern the same word first are taken, if there are any."""
    words = search.other.words.words
    strong = {id(hit) for hit in hits if hit.governed and stem(words[hit.governed[0]]) in asked[2:3]}
    search.used.update(strong or {id(hit) for hit in hits})


def _ends(other: Side) -> set[Hashable]:
    """Where ranges end: the 18:00 of `9:00-18:00`, of `to 18:00`."""
    text = other.words.lower
    ending = [found for found in other.numbers if _UP_TO.search(text, max(0, found.start - 9), found.start)]
    return {key for found in ending for key in keys_of(found)}


def _after(one: Side, cue: Cue) -> Sequence[Hashable]:
    """What the number after a cue may mean."""
    start = one.words.starts[cue.stop] if cue.stop < len(one.words.starts) else len(one.words.text)
    k = bisect_left(one.numbers, start, key=lambda found: found.start)
    found = one.numbers[k] if k < len(one.numbers) else None
    return (found.value, *found.also) if found and found.start - start < 5 else ()


def _limits_by_number(other: Side) -> dict[Hashable, list[Cue]]:
    table: dict[Hashable, list[Cue]] = {}
    for cue in other.cues:
        if cue.number:
            for key in keys_of(cue.number):
                table.setdefault(key, []).append(cue)
    return table


def _limit(one: Side, other: Side, cue: Cue, limits: dict[Hashable, list[Cue]]) -> Outcome:
    assert cue.number
    there = [found for key in (cue.number.value, *cue.number.also) for found in limits.get(key, ())[:ENOUGH]]
    said = one.words.text[cue.parts[0][0] : cue.parts[-1][1]]
    if any(set(cue.does) & set(found.does) for found in there):
        return KEPT
    if stands(other, said) or (" a " in said and stands(other, said.replace(" a ", " ", 1))):
        return KEPT
    if there:
        first, last = there[0].parts[0][0], there[0].parts[-1][1]
        return "changed", other.words.text[first:last]
    return LOST


def _asked(one: Side, cue: Cue) -> tuple[str, ...]:
    """What the cue does, its key, and the stems to which another cue may do it: of `no member voted` both."""
    words = one.words.words
    places = cue.near if words[cue.first] in DETERMINERS else cue.governed[:1]
    return cue.does[0], cue_key(one, cue), *(stem(words[k]) for k in places or cue.governed)


def _hits(search: Search, asked: tuple[str, ...], may_keep: Callable[[str, str, Cue], bool]) -> list[Cue]:
    does, key, *stems = asked
    for word in stems:
        hits = [hit for hit in search.by_stem.get(word, ()) if may_keep(key, does, hit)]
        if hits:
            return hits
    return []


def _enough(one: Side, other: Side, cue: Cue, hits: int, wanted: int) -> Outcome:
    """Said as often as before, or at least the word does not stand without it more often than before."""
    word = governs(one.words, cue)[1]
    if wanted <= hits:
        return KEPT
    free_before = len(one.stems.get(word, ())) - wanted
    free = len(other.stems.get(word, ())) - hits
    return ("changed", None) if free > free_before else KEPT
