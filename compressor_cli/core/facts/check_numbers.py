"""Which numbers another text keeps: values, however they are written."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import Any

from compressor_cli.core.facts.leads import other_lead
from compressor_cli.core.facts.rates import once_stands, other_rate
from compressor_cli.core.facts.sides import (
    ENOUGH,
    KEPT,
    LOST,
    Outcome,
    Side,
    bounded,
    changed_places,
    nearest,
    neighbours,
    stands,
)
from compressor_cli.core.facts.tokens import Found
from compressor_cli.core.facts.values import MONTHS, ORDINALS, SCALES, WEEKDAYS, quantity, ratio, stem
from compressor_cli.core.facts.words import FUNCTION

_ORDINALS = {n: word for word, n in ORDINALS.items()}
_FALLING = re.compile(
    r"\b(?:f[ae]ll|drop|declin|decreas|reduc|los[st]|lower|down|less|fewer|cost|weak|short|shr[aiu]nk|cut|slump|slip|minus|below|withdr)"
)
_MANY = 60  # of one number; what was said so often is not told apart
_TO = frozenset(("to", "→", "-", "–", "—"))
_FAR = 6  # words
_SOON = 60  # characters


def number_outcomes(one: Side, other: Side) -> list[Outcome]:
    theirs = [frozenset(keys_of(found)) for found in other.numbers]
    mine = [frozenset((found.value, *found.also)) for found in one.numbers]
    index: defaultdict[Hashable, list[int]] = defaultdict(list)
    for k, keys in enumerate(theirs):
        for key in keys:
            index[key].append(k)
    matches = [{k for key in keys if key in index for k in index[key][:_MANY]} for keys in mine]
    matched = {k for hits in matches for k in hits}
    foreign = [k for k in range(len(other.numbers)) if k not in matched]
    strange: defaultdict[str, list[Found]] = defaultdict(list)
    for k in foreign:
        strange[other.numbers[k].type].append(other.numbers[k])
    anything = [other.numbers[k] for k in foreign]
    kin = {when: [rival for rival in anything if _is_when(rival) == when] for when in (False, True)}
    result: list[Outcome] = []
    for i, (found, hits) in enumerate(zip(one.numbers, matches, strict=True)):
        if _is_fraction(one, found):
            matches[i] = hits = {k for k in hits if _same_fraction(one, other, found, other.numbers[k], index)}
        there = [other.numbers[k] for k in sorted(hits)]
        if (
            rival := other_rate(one, other, found, there)
            or other_lead(one, other, found, there)
            or _other_order(found, there)
        ):
            result.append(("changed", other.words.text[rival.start : rival.end]))
        elif hits or _number_stands(one, other, found, index) or _elsewhere(one, other, found, anything):
            result.append(KEPT)
        else:
            result.append(nearest(one, other, found, strange.get(found.type, kin[_is_when(found)])))
    _said_twice(one, other, matches, foreign, result)
    changed_places(one, other, one.numbers, other.numbers, result, lambda i, k: not mine[i].isdisjoint(theirs[k]))
    _apart(one, other, matches, result)
    _crossed(one, other, matches, result)
    _reversed(one, other, matches, result)
    return result


def _other_order(found: Found, hits: Sequence[Found]) -> Found | None:
    """Of 04/03/2020 for 03/04/2020: whichever is the month, both are written in one order."""
    if not _is_ambiguous(found) or not hits:
        return None
    return hits[0] if all(_is_ambiguous(hit) and hit.value != found.value for hit in hits) else None


def _is_ambiguous(found: Found) -> bool:
    """A date in figures of which either can be the month."""
    return found.type == "date" and len(found.also) == 1 and found.also[0][0] == "date"  # type: ignore[index]


def _is_when(found: Found) -> bool:
    """An hour does not become a percentage."""
    return found.type in ("date", "time")


def _is_fraction(side: Side, found: Found) -> bool:
    """142/88, which may be 142 of 88, 142 over 88 and a day of a month as well as a number."""
    return found.mark is None and found.type == "number" and "/" in side.words.text[found.start : found.end]


def _same_fraction(one: Side, other: Side, mine: Found, theirs: Found, index: Mapping[Hashable, object]) -> bool:
    """Not for one of its numbers alone."""
    above, below = mine.also[-2:]
    if _is_fraction(other, theirs):
        return mine.value == theirs.value
    if {mine.value, *mine.also[:-2]} & {theirs.value, *theirs.also}:
        return True
    return above in index and below in index


def _elsewhere(one: Side, other: Side, found: Found, strange: Sequence[Found]) -> bool:
    """`16 bytes, first 4` keeps `the first four bytes`: another number there has the unit, and the same word before."""
    if not (found.mark and found.mark[1] and isinstance(found.value, tuple)):
        return False
    bare = quantity(ratio(found.value[1], found.mark[1][1]))
    before = _word_before(one, found)
    if not before or not any(_unit_of(there)[1] == found.value[2] for there in other.numbers[:ENOUGH]):
        return False
    return any(there.value == bare and _word_before(other, there) == before for there in strange[:ENOUGH])


def _word_before(side: Side, found: Found) -> str:
    k = side.words.at(found.start) - 1
    return "" if k < 0 or side.words.words[k] in FUNCTION else stem(side.words.words[k])


def keys_of(found: Found) -> list[Hashable]:
    keys = [found.value, *found.also]
    for value in list(keys):
        if isinstance(value, tuple) and value[0] == "date":
            _, year, month, day = value
            keys += [("date", y, m, d) for y in {year, None} for m in {month, None} for d in {day, None}]
            if year:
                keys.append(quantity(Decimal(year)))
        elif isinstance(value, tuple) and value[0] == "time" and value[2]:
            keys.append(("time", value[1], ""))
    return keys


def _number_stands(one: Side, other: Side, found: Found, index: dict[Hashable, list[int]]) -> bool:
    value, text = found.value, one.words.text
    assert isinstance(value, tuple)
    raw = text[found.start : found.end]
    if value[0] == "date" and value[1] and (value[2] or value[3]):
        rest, year = ("date", None, value[2], value[3]), quantity(Decimal(value[1]))
        if (
            rest in index
            and year in index
            and not any(_year_of(other.numbers[k]) not in (None, value[1]) for k in index[rest])
        ):
            return True
    falls = value[0] == "n" and value[1] > 0 and ("n", -value[1], value[2]) in index
    if falls and _FALLING.search(one.words.lower, max(0, found.start - _SOON), found.end + _SOON // 2):
        return True
    if value == quantity(Decimal(1)) and not raw.isdigit() and _single(one, other, found):
        return True
    if raw.lower() == "once" and once_stands(one, other, found):
        return True
    if value == quantity(Decimal(2)) and "both" in other.at:
        return True
    if value[0] == "day":
        return any(name in other.at for name, day in WEEKDAYS.items() if day == value[1])
    if value[0] == "date" and value[1:2] == (None,) and value[3] is None:
        names = [name for name, month in MONTHS.items() if month == value[2]]
        return any(other.words.raw(i)[0].isupper() for name in names for i in other.at.get(name, ())[:ENOUGH])
    if value[0] == "o" and _ORDINALS.get(value[1]) in other.at:
        return True
    if raw[:2].lower() == "a " and stands(other, raw[2:]):  # about a third
        return True
    if value[0] == "many":
        return stands(other, f"{value[1]}s") or stands(other, f"{value[1]:,}s") or stands(other, raw)
    if value[0] == "time" and value[2] and value[2].lower() in other.at and ("time", value[1], "") in index:
        return True
    if value[0] == "version":
        return stands(other, value[1].lstrip("v")) or stands(other, "v" + value[1])
    return _merged(one, other, found)


def _year_of(found: Found) -> int | None:
    return found.value[1] if isinstance(found.value, tuple) and found.value[0] == "date" else None


def _single(one: Side, other: Side, found: Found) -> bool:
    """`one dog` is `a dog` or `single dog`."""
    k = one.words.at(found.end)
    after = stem(one.words.words[k]) if k < len(one.words.words) else ""
    words = other.words.words
    return any(
        words[i - 1] in ("a", "an", "single", "sole", "each", "per") for i in other.stems.get(after, ())[:ENOUGH] if i
    )


def _merged(one: Side, other: Side, found: Found) -> bool:
    """Where words between two facts were dropped, one may be read as a part of the other: 3 March 2020 people."""
    parts = [one.words.text[a:b] for a, b in found.parts]
    begin = found.parts[0][0]
    first = one.words.at(begin)
    if first == len(one.words.words):  # a sign at the very end, which is no word
        return False
    for i in other.at.get(one.words.words[first], ())[:ENOUGH]:
        start = other.words.starts[i] - (one.words.starts[first] - begin)
        end = start
        for part in parts:
            while end > start and other.words.text[end : end + 1] in (" ", "-", "\u00a0"):
                end += 1
            if start < 0 or not other.words.text.startswith(part, end):
                break
            end += len(part)
        else:
            if bounded(other.words.text, start, end, False) and _covered(one, other, found, start, end):
                return True
    return False


def _covered(one: Side, other: Side, number: Found, start: int, end: int) -> bool:
    """Whether what stands there is not a number by itself, or one that took in a word from further on."""
    k = bisect_right(other.numbers, start, key=lambda found: found.start) - 1
    found = other.numbers[k] if k >= 0 and end <= other.numbers[k].end else None
    if found is None:
        return not other.words.taken[start]
    if found.type in ("date", "time", "version"):
        return True
    before, rest = other.words.text[found.start : start].strip(), other.words.lower[end : found.end].split()
    if before.isdigit() or (rest and rest[0].isdigit()):  # 687 760 nm
        return True
    soon = re.findall(r"\w+", one.words.lower[number.end : number.end + _SOON])
    return bool(rest) and rest[-1] in soon and rest[-1] not in SCALES


def _said_twice(one: Side, other: Side, matches: list[set[int]], foreign: list[int], result: list[Outcome]) -> None:
    """Of a value that was said more often than it is kept, the others must have said the same thing."""
    groups: dict[Hashable, list[int]] = {}
    for i, found in enumerate(one.numbers):
        if matches[i]:
            groups.setdefault(found.value, []).append(i)
    rivals: defaultdict[tuple[str, Any], list[Found]] = defaultdict(list)
    for k in foreign:
        rivals[_unit_of(other.numbers[k])].append(other.numbers[k])
    for _value, members in groups.items():
        hits = set().union(*(matches[i] for i in members[:ENOUGH]))
        said = one.words.lower[one.numbers[members[0]].start : one.numbers[members[0]].end]
        if len(members) <= max(len(hits), len(other.at.get(said, ()))) or len(members) > ENOUGH:
            continue
        about = {i: neighbours(one, one.numbers[i]) for i in members}
        left = list(members)
        for k in sorted(hits):
            near = neighbours(other, other.numbers[k])
            best = max(left, key=lambda i: len(about[i] & near))
            left.remove(best)
        kept = [i for i in members if i not in left]
        for i in left:
            if unit_rivals := rivals.get(_unit_of(one.numbers[i])):
                result[i] = nearest(one, other, one.numbers[i], unit_rivals)
            elif one.numbers[i].type not in ("date", "time") and not any(about[i] & about[k] for k in kept):
                result[i] = LOST


def _unit_of(found: Found) -> tuple[str, Any]:
    value = found.value
    return found.type, value[2] if isinstance(value, tuple) and value[0] == "n" else None


def _apart(one: Side, other: Side, matches: Sequence[set[int]], result: list[Outcome]) -> None:
    """Two numbers that exchanged the words before or after them that both texts have once: red 12 V, blue 5 V."""
    twice = Counter(k for hits in matches for k in hits)
    single = [(i, k) for i, hits in enumerate(matches) if len(hits) == 1 and twice[k := next(iter(hits))] == 1]
    if len(single) < 2:
        return
    stems = other.stems
    shared = [
        (places[0], there[0], word)
        for word, places in one.stems.items()
        if len(places) == 1 and len(there := stems.get(word, [])) == 1
    ]
    shared.sort()
    starts = [other.numbers[k].start for _, k in single]
    if starts == sorted(starts) and all(a[1] < b[1] for a, b in pairwise(shared)):  # nothing changed places
        return
    mine = [(place, word) for place, _, word in shared if one.words.words[place] not in FUNCTION]
    theirs = sorted((place, word) for _, place, word in shared if other.words.words[place] not in FUNCTION)
    near = [(_beside(one, one.numbers[i], mine), _beside(other, other.numbers[k], theirs)) for i, k in single]
    for (i, _), (j, _), (was, now), (was_next, now_next) in zip(single, single[1:], near, near[1:], strict=False):
        for side in (0, 1):
            a, b = was[side], was_next[side]
            if a and b and a != b and (now[side], now_next[side]) == (b, a):
                result[i] = "changed", one.words.text[one.numbers[j].start : one.numbers[j].end]
                result[j] = "changed", one.words.text[one.numbers[i].start : one.numbers[i].end]


def _reversed(one: Side, other: Side, matches: Sequence[set[int]], result: list[Outcome]) -> None:
    """From 5 to 7, and 7 to 5."""
    for i, (hits, more) in enumerate(pairwise(matches)):
        if len(hits) != 1 or len(more) != 1:
            continue
        a, b = one.numbers[i], one.numbers[i + 1]
        x, y = other.numbers[next(iter(hits))], other.numbers[next(iter(more))]
        between, now = one.words.lower[a.end : b.start], other.words.lower[y.end : x.start]
        if y.end <= x.start and between.strip() in _TO and now.strip() in _TO:
            result[i] = "changed", one.words.text[b.start : b.end]
            result[i + 1] = "changed", one.words.text[a.start : a.end]


def _beside(side: Side, found: Found, anchors: list[tuple[int, str]]) -> tuple[str, str]:
    """The anchors before and after a fact, unless they are far away."""
    first, after = side.words.at(found.start), side.words.at(found.end)
    k = bisect_left(anchors, (first, ""))
    n = bisect_left(anchors, (after, ""))
    before = anchors[k - 1] if k else (-_FAR, "")
    behind = anchors[n] if n < len(anchors) else (after + _FAR, "")
    return before[1] if first - before[0] < _FAR else "", behind[1] if behind[0] - after < _FAR else ""


def _crossed(one: Side, other: Side, matches: Sequence[set[int]], result: list[Outcome]) -> None:
    """Two numbers of a kind that changed sides of something that stayed: Alice 5, Bob 7 and Alice 7, Bob 5."""
    order = [
        (other.numbers[next(iter(hits))].start, one.numbers[i].start, i)
        for i, hits in enumerate(matches)
        if len(hits) == 1
    ]
    now = Counter(start for start, _, _ in order)
    there = {found.value: found.start for found in other.names}
    here = Counter(found.value for found in one.names)
    order += [
        (there[name.value], name.start, -1) for name in one.names if name.value in there and here[name.value] == 1
    ]
    order = sorted(one_fact for one_fact in order if now[one_fact[0]] < 2)
    before = {start: rank for rank, start in enumerate(sorted(start for _, start, _ in order))}
    ranks = [before[start] for _, start, _ in order]
    fixed = list(accumulate((rank == place for place, rank in enumerate(ranks)), initial=0))
    for place, rank in enumerate(ranks):
        i, j = order[place][2], order[rank][2]
        swapped = place < rank and ranks[rank] == place and min(i, j) >= 0 and fixed[rank] > fixed[place]
        if swapped and _unit_of(one.numbers[i]) == _unit_of(one.numbers[j]):
            result[i] = "changed", one.words.text[one.numbers[j].start : one.numbers[j].end]
            result[j] = "changed", one.words.text[one.numbers[i].start : one.numbers[i].end]
