"""Finds everything that is a number: figures, dates and times, and numbers in words.

All start from a digit, or from a word that is a number, a month or a day; what stands around it is read by patterns
that are matched at that place only, so that a text without figures costs nothing and none can cost a square.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from compressor_cli.core.facts.dates import hour_said, named_dates, past_hour
from compressor_cli.core.facts.figures import HALF, figures, glyphs, of_a_unit, with_unit
from compressor_cli.core.facts.tokens import Found, Words
from compressor_cli.core.facts.units import MONEY, UNITS, unit
from compressor_cli.core.facts.values import (
    CARDINALS,
    FRACTIONS,
    MONTHS,
    ORDINALS,
    SCALES,
    TIMES_OVER,
    WEEKDAYS,
    plus,
    quantity,
    ratio,
    spelled,
)

_LINK = re.compile(
    r"\s*(?:-|–|—|/|,|&|→|to|and|or|until|till|through|by|x|×|vs\.?|versus|from|then|of|not|rather than|instead of"
    r"|compared with|,\s*(?:and|or|then))\s*",
    re.I,
)
_LONGEST_LINK = 16
_AGE = re.compile(r"\b(?:age[ds]?|old|older|younger)\b")
_BESIDE = 20  # characters
_NOT_ONE = frozenset("no any some every each this that the which another other not only or".split())
_AFTER_ONE = frozenset(
    "might could cannot of another day who that which is was has had can may must should will would by to in on at "
    "and or as else thing s with from has".split()
)
_SECOND_IS_TIME = frozenset("a per each every one split".split())
_CLOCK = {"noon": 12 * 3600, "midday": 12 * 3600, "midnight": 0}
_AFTER_HALF = frozenset("a an of the its their his her our all as that million billion".split())
_DETERMINERS = frozenset("the a an his her its their our my your this that each every s".split())
_NUMBER_WORDS = frozenset(
    [
        *CARDINALS,
        *ORDINALS,
        *FRACTIONS,
        *TIMES_OVER,
        *WEEKDAYS,
        *_CLOCK,
        *"hundred thousand million billion trillion dozen hundreds thousands millions billions dozens".split(),
    ]
)


def numbers(words: Words) -> list[Found]:
    """Sorted; none overlap."""
    found = list(named_dates(words))
    for date in found:
        words.take(date.start, date.end)
    for finder in (figures, glyphs, _spelled):
        for number in finder(words):
            words.take(number.start, number.end)
            found.append(number)
    found = [_aged(words, number) for number in sorted(found, key=lambda number: number.start)]
    return _inherit(words.text, found)


def _aged(words: Words, found: Found) -> Found:
    """Years of age need not be called years: aged 45."""
    near = words.lower[max(0, found.start - _BESIDE) : found.end + _BESIDE]
    if found.mark and found.mark[1] == UNITS["year"] and _AGE.search(near):
        assert isinstance(found.value, tuple)
        return found._replace(also=(*found.also, quantity(ratio(found.value[1], 12))))
    return found


def _spelled(words: Words) -> Iterator[Found]:
    done = 0
    for i in [i for i, word in enumerate(words.words) if word in _NUMBER_WORDS]:
        if i >= done and not words.taken[words.starts[i]]:
            found = _spelled_at(words, i, words.words[i])
            if found:
                done = words.at(found.end)
                yield found


def _spelled_at(words: Words, i: int, word: str) -> Found | None:
    span = (words.starts[i], words.ends[i])
    before = words.words[i - 1] if i and words.gap(i) in (" ", "-") else ""
    after = words.words[i + 1] if i + 1 < len(words.words) and words.gap(i + 1) in (" ", "-") else ""
    if found := past_hour(words, i):
        return found
    if 1 <= CARDINALS.get(word, 0) <= 12 and (found := hour_said(words.lower, *span, CARDINALS[word])):
        return found
    if word in _CLOCK:
        return Found("time", *span, (span,), ("time", _CLOCK[word], ""))
    if word in WEEKDAYS:
        if not words.text[span[0]].isupper() or (word in ("sun", "sat", "wed", "mon") and not _beside_date(words, i)):
            return None
        return Found("date", *span, (span,), ("day", WEEKDAYS[word]))
    if word in TIMES_OVER:
        n = Decimal(TIMES_OVER[word])
        if word == "once" and after not in ("a", "an", "per", "every", "each", "daily", "weekly", "monthly", "only"):
            return None
        return Found("number", *span, (span,), quantity(n, UNITS["x"]), (quantity(n),))
    if word in ORDINALS and not (word == "third" and before == "a" and after == "of"):
        return _ordinal(words, i, before, after, ORDINALS[word])
    if word in FRACTIONS:
        return _part(words, i, before, after)
    if word in ("hundreds", "thousands", "millions", "billions", "dozens"):
        return Found("number", *span, (span,), ("many", SCALES[word[:-1]]))
    return _cardinal(words, i, before, after)


def _beside_date(words: Words, i: int) -> bool:
    near = [words.words[k] for k in (i - 1, i + 1) if 0 <= k < len(words.words)]
    return any(word[0].isdigit() or word in MONTHS or word in WEEKDAYS for word in near)


def _ordinal(words: Words, i: int, before: str, after: str, n: int) -> Found | None:
    span = (words.starts[i], words.ends[i])
    if n == 1 and (before not in _DETERMINERS or not after):
        return None
    if n == 2 and (before in _SECOND_IS_TIME or before.isdigit()):
        return None
    if words.begins_sentence(i) and not after:
        return None
    by_a_fifth = before == "a" and n > 2
    parts = (quantity(ratio(1, n)), quantity(ratio(100, n), UNITS["%"])) if by_a_fifth else ()
    return Found("number", *span, (span,), ("o", n), (quantity(Decimal(n)), *parts))


def _part(words: Words, i: int, before: str, after: str) -> Found | None:
    """Half, a quarter, a third of; a unit may follow: half an hour."""
    word, below = words.words[i], FRACTIONS[words.words[i]]
    if word.startswith("hal"):
        if before in ORDINALS or before == "other":
            return None
        if after not in _AFTER_HALF and before not in ("by", "in", "one", "a") and not unit(after):
            return None
    elif before not in ("a", "one") or after != "of":
        return None
    more = i > 3 and words.words[i - 2 : i] == ["and", "a"] and words.words[i - 4] in ("a", "an", "one")
    if more and (whole := unit(words.words[i - 3])):  # an hour and a half
        span = (words.starts[i - 4], words.ends[i])
        return Found("number", *span, (span,), quantity(plus(Decimal(1), ratio(1, below)), whole))
    number = ratio(1, below)
    span = (words.starts[i - 1] if before in ("a", "one") else words.starts[i], words.ends[i])
    plain = Found("number", *span, (span,), quantity(number), (quantity(number * 100, UNITS["%"]),))
    return of_a_unit(words.text, span, number) or plain


def _cardinal(words: Words, i: int, before: str, after: str) -> Found | None:
    run = [words.words[i]]
    while len(run) < 16 and i + len(run) < len(words.words) and words.gap(i + len(run)) in (" ", "-"):
        run.append(words.words[i + len(run)])
    start = words.starts[i]
    if run[0] in SCALES:
        if before not in ("a", "an", "per", "one") and run[0] != "dozen":
            return None
        start = words.starts[i - 1] if before in ("a", "an") else start
        run.insert(0, "one")
        i -= 1
    elif run[:4] == ["one", "and", "a", "half"] or run[:4] == ["one", "and", "a", "quarter"]:
        pass
    elif (run[0] == "two" and before == "the" and (not after or after in _AFTER_ONE or _of_both(words, i))) or (
        run[0] == "one"
        and (before in _NOT_ONE or after in _AFTER_ONE or not after)
        and not (after and _limited(words, i, before))
    ):
        return None
    spelt = spelled(run)
    if not spelt:
        return None
    number, length = spelt
    after = run[length] if length < len(run) else ""
    end = words.ends[i + length - 1]
    if after in ORDINALS and ORDINALS[after] < 10 and number >= 20 and not number % 10:
        span = (start, words.ends[i + length])
        return Found("number", *span, (span,), ("o", int(number) + ORDINALS[after]))
    if after in FRACTIONS and (number == 1 or after.endswith("s")):
        number = ratio(number, FRACTIONS[after])
        span = (start, words.ends[i + length])
        if found := of_a_unit(words.text, span, number):
            return found
        return Found("number", *span, (span,), quantity(number), (quantity(number * 100, UNITS["%"]),))
    if before == "minus":
        number, start = -number, words.starts[i - 1]
    digits = end
    if match := HALF.match(words.text, end):
        number, end = plus(number, ratio(1, FRACTIONS.get(match[1], 2))), match.end()
    return with_unit(words.text, (start, start), (digits, end), number, None, True)


def _limited(words: Words, i: int, before: str) -> bool:
    """At least one must, no more than one day."""
    return before in ("least", "most", "exactly") or (
        before == "than" and words.words[i - 2] in ("more", "less", "fewer", "longer", "later", "earlier")
    )


def _of_both(words: Words, i: int) -> bool:
    """`neither of the two drugs` counts no drugs."""
    return i > 2 and words.words[i - 2] == "of" and words.words[i - 3] in ("neither", "either", "both", "none")


def _inherit(text: str, found: list[Found]) -> list[Found]:
    """In `5 to 7 km` and `18 and 19 October` the first number may mean what the second says, in `$5-7` the second."""
    for k in range(len(found) - 2, -1, -1):
        a, b = found[k], found[k + 1]
        if b.start - a.end <= _LONGEST_LINK and _LINK.fullmatch(text, a.end, b.start):
            found[k] = _forward(a, b)
    for k in range(1, len(found)):
        a, b = found[k - 1], found[k]
        if b.start - a.end <= _LONGEST_LINK and _LINK.fullmatch(text, a.end, b.start):
            found[k] = _backward(a, b)
    for k in range(1, len(found)):
        found[k - 1 : k + 1] = _summed(text, found[k - 1], found[k])
    return found


def _summed(text: str, a: Found, b: Found) -> tuple[Found, Found]:
    """3 dollars and 50 cents, 4 euros and 50 cents, 2 h 51 min."""
    if not (a.mark and b.mark and a.mark[1] and b.mark[1] and text[a.end : b.start] in (" ", " and ", ", ")):
        return a, b
    (above, scale), (below, part) = a.mark[1], b.mark[1]
    if scale <= part or not (above == below or (above in MONEY and b.mark[1] == UNITS["cent"])):
        return a, b
    assert isinstance(a.value, tuple) and isinstance(b.value, tuple)
    both = ("n", a.value[1] + b.value[1], above)
    return a._replace(also=(*a.also, both)), b._replace(also=(*b.also, both))


def _bare(found: Found) -> Decimal | None:
    value = found.value
    return value[1] if isinstance(value, tuple) and value[0] == "n" and not value[2] else None


def _forward(a: Found, b: Found) -> Found:
    n = _bare(a)
    if a.type == "money" and a.mark and a.mark[0] == 1 and b.mark and b.mark[0] != 1 and isinstance(a.value, tuple):
        return a._replace(also=(*a.also, ("n", a.value[1] * b.mark[0], a.value[2])))  # €1.62-1.66B
    if n is None or not isinstance(b.value, tuple):
        return a
    if b.type == "time" and 0 <= n <= 24 and n == int(n):
        hour = int(n) % 12 + int(b.mark[0]) if b.mark else int(n)
        return a._replace(also=(*a.also, ("time", hour * 3600, b.value[2])), mark=b.mark)
    dates = [value for value in (b.value, *b.also) if isinstance(value, tuple) and value[0] == "date"]
    if dates and 1 <= n <= 31 and n == int(n):
        return a._replace(also=(*a.also, *(("date", date[1], date[2], int(n)) for date in dates)))
    if b.type != "time" and b.mark and (b.mark[1] or b.mark[0] != 1):
        factor, base = b.mark
        values = {quantity(n * factor, base), quantity(n, base)}
        return a._replace(also=(*a.also, *(values - {a.value})), mark=(factor, base))
    return a


def _backward(a: Found, b: Found) -> Found:
    n = _bare(b)
    if n is None or not isinstance(a.value, tuple):
        return b
    if a.value[0] == "date" and a.value[3] and 1 <= n <= 31 and n == int(n):
        return b._replace(also=(*b.also, ("date", a.value[1], a.value[2], int(n))))
    year = _bare(a)
    if year is not None and n < 100 and (a.type == "date" or (1000 <= year < 2100 and n > year % 100)):  # 1321-23
        return b._replace(also=(*b.also, quantity(year // 100 * 100 + n)))
    if a.type == "money" and a.mark:
        return b._replace(also=(*b.also, quantity(n * a.mark[0], a.mark[1]), quantity(n, a.mark[1])))
    return b
