"""How often: rates said after a number, and once a week."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from compressor_cli.core.facts.sides import ENOUGH, Side
from compressor_cli.core.facts.tokens import Found
from compressor_cli.core.facts.units import UNITS, unit

_LY = {"daily": "day", "weekly": "week", "monthly": "month", "yearly": "year", "annually": "year", "hourly": "hour"}
_ADVERB = {"annual": "year", **_LY}
_ADVERBS = {form: [adverb for adverb, of in _ADVERB.items() if of == form] for form in _ADVERB.values()}
_FORMS = {form: [name for name, what in UNITS.items() if what == UNITS[form] and name.isalpha()] for form in _ADVERBS}
_RATE = re.compile(
    r"(?: ?(?!and|or|in|for|per|an?|each|every|the|of|to)[a-z]+){0,2}(?: per | an? | each | every | ?/ ?)([a-z]+)(?!\w)"
    r"|(?: ?[a-z]+)? (" + "|".join(_LY) + r")\b"
)
_ONCE = re.compile(r" (?:an?|per|each|every) ([a-z]+)| (" + "|".join(_LY) + r")\b")
_PER = frozenset("a an per each every".split())


def rate(side: Side, found: Found) -> Decimal | None:
    """The period of `50 requests per second`, in seconds or in months; what has a unit of time says it itself."""
    match = _RATE.match(side.words.lower, found.end)
    if not match:
        return None
    period = unit(_LY.get(match[2], match[2]) if match[2] else match[1])
    if period is None or period[0] not in ("s", "month"):
        return None
    return period[1] if period[0] == "s" else period[1] * 2_629_746


def other_rate(one: Side, other: Side, found: Found, hits: Sequence[Found]) -> Found | None:
    """Where all that keeps a number says another rate with it, the first of these."""
    if found.value[0] != "n" or (found.mark and found.mark[1] and found.mark[1][0] in ("s", "month")):  # type: ignore[index]
        return None
    said = rate(one, found)
    if said is None:
        return None
    now = [rate(other, hit) for hit in hits]
    return hits[0] if hits and all(period is not None and period != said for period in now) else None


def once_stands(one: Side, other: Side, found: Found) -> bool:
    """`once a week` is weekly, every week and /week, where no number stands before these."""
    match = _ONCE.match(one.words.lower, found.end)
    if not match:
        return False
    period = _LY[match[2]] if match[2] else match[1]
    if period not in _ADVERBS:  # once every two weeks
        return match[2] is None and match.group().startswith(" every") and "every" in other.at
    words = other.words
    for adverb in _ADVERBS[period]:
        if any(not _counted(other, i) for i in other.at.get(adverb, ())[:ENOUGH]):
            return True
    for form in _FORMS[period]:
        for i in other.at.get(form, ())[:ENOUGH]:
            slash = words.gap(i).strip() == "/"
            if (slash or (i and words.words[i - 1] in _PER)) and not _counted(other, i if slash else i - 1):
                return True
    return False


def _counted(side: Side, i: int) -> bool:
    """Whether a number stands before word `i`."""
    if not i:
        return False
    word = side.words.words[i - 1]
    return (word[0].isdigit() and word != "1x" and word != "1") or word in ("twice", "thrice", "times")
