"""Finds what makes a number a limit: at most 5, 5 or more, ≥ 5, no later than."""

from __future__ import annotations

import re

from compressor_cli.core.facts.tokens import STOP, Found, Span, Words
from compressor_cli.core.facts.words import (
    AFTER_FIRST,
    AFTER_NUMBER,
    APART,
    FILLERS,
    LIMIT_ENDS,
    LOOSE_LIMITS,
    NT,
    PLAIN_LIMITS,
    SIGNS,
)

_SIGN_BEFORE = re.compile(r"(≤|<=|⩽|≥|>=|⩾|(?<![-=<])<|(?<![-=>])>) ?[~≈]?$")
_REVERSED = {"gt": "le", "lt": "ge"}
_BETWEEN_NOT = frozenset("be been get have contain last take cost weigh any is are for by at in".split())
_BEFORE_NOT = frozenset("must may shall should can could will would do does did is are was were".split())
Limit = tuple[tuple[str, ...], Span, int, int]  # what it does, its span, its words


def limit_of(words: Words, number: Found, loose: bool) -> Limit | None:
    i = words.at(number.start)
    found = _limit_before(words, number, i, PLAIN_LIMITS) or _limit_after(words, number)
    found = found or _limit_apart(words, i, loose)
    if loose and not found:
        found = _limit_before(words, number, i, LOOSE_LIMITS)
    return _not_more(words, found) if found else None


def _not_more(words: Words, limit: Limit) -> Limit:
    """`must not be larger than 5` is at most 5, all of it one limit."""
    does, (start, end), first, stop = limit
    if does[0] not in _REVERSED:
        return limit
    k = words.at(start) - 1
    if k < 0 or words.text[words.ends[k] : start] != " ":
        return limit
    while k > first - 4 and k > 0 and words.words[k] in _BETWEEN_NOT and words.gap(k) == " ":
        k -= 1
    if words.words[k] not in ("not", "never", "no") and words.words[k][-3:] not in NT:
        return limit
    if k and words.words[k - 1] in _BEFORE_NOT and words.gap(k) == " ":
        k -= 1
    return (_REVERSED[does[0]],), (words.starts[k], end), k, stop


def _limit_before(words: Words, number: Found, i: int, table: dict[str, tuple[str, ...]]) -> Limit | None:
    text = words.text
    if match := _SIGN_BEFORE.search(text, max(0, number.start - 4), number.start):
        return (SIGNS[match[1]],), match.span(1), i, i
    j = i
    while j and i - j < 2 and words.words[j - 1] in FILLERS and " ".join(words.words[max(0, j - 2) : j]) not in table:
        j -= 1
    if not j or words.words[j - 1] not in LIMIT_ENDS or words.taken[words.starts[j - 1]]:
        return None
    if text[words.ends[j - 1] : words.starts[j] if j < i else number.start].strip(" -:~≈\n\u00a0") != "":
        return None
    for n in (4, 3, 2, 1):
        phrase = " ".join(words.words[j - n : j]) if n <= j else ""
        if phrase in table and not (phrase == "over" and _lasts(words, number, j - 1)):
            return table[phrase], (words.starts[j - n], words.ends[j - 1]), j - n, j
    return None


def _limit_apart(words: Words, i: int, loose: bool) -> Limit | None:
    """The maximum speed is 80 km/h; loose also: max speed 80 km/h."""
    if APART.keys().isdisjoint(words.words[max(0, i - 4) : i]):
        return None
    for j in range(i - 1, max(-1, i - 5), -1):
        if STOP.search(words.gap(j + 1).replace(":", "")):
            break
        if words.words[j] in APART and (loose or words.words[j][-3:] == "mum") and not words.taken[words.starts[j]]:
            return (APART[words.words[j]],), (words.starts[j], words.ends[j]), j, j + 1
    return None


def _lasts(words: Words, number: Found, over: int) -> bool:
    """`over five years` is a limit after `for`, else the time that something took."""
    value = number.value
    time = isinstance(value, tuple) and value[-1] in ("s", "month")
    return time and (
        not over or words.words[over - 1] not in ("for", "than", "just", "of", "is", "was", "lasted", "takes", "took")
    )


def _limit_after(words: Words, number: Found) -> Limit | None:
    text, k = words.text, words.at(number.end)
    if text[number.end : number.end + 1] == "+" and not text[number.end + 1 : number.end + 2].isalnum():
        return ("ge", "gt"), (number.end, number.end + 1), k, k
    if AFTER_FIRST.isdisjoint(words.words[k : k + 2]):
        return None
    for first in (k, k + 1):
        if first >= len(words.words) or (first == k and STOP.search(words.gap(first).strip(","))):
            break
        sign = words.gap(first).strip() in ("&", "+")
        for n in (3, 2, 1):
            stop = first + n
            phrase = ("and " if sign else "") + " ".join(words.words[first:stop])
            if stop <= len(words.words) and phrase in AFTER_NUMBER and (first == k or phrase.startswith("or")):
                return (AFTER_NUMBER[phrase],), (words.starts[first], words.ends[stop - 1]), first, stop
    return None
