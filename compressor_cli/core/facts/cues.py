"""Finds negations and modals with what they govern, and numbers that are limits.

A `Cue` is a word or phrase that denies, forbids, allows, demands or limits. What it governs are the next words that
say something; `near` reaches further, for a rewriting may put a word between: `did not get approval`, `not approved`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from compressor_cli.core.facts.limits import limit_of
from compressor_cli.core.facts.tokens import STOP, Found, Span, Words
from compressor_cli.core.facts.values import stem
from compressor_cli.core.facts.words import (
    AUXILIARY,
    BOTH_SIDES,
    CONJUNCTION,
    DETERMINERS,
    FUNCTION,
    IDIOMS,
    LED,
    LOOSE,
    LY_VERBS,
    MODALS,
    NT,
    PLAIN,
    PRONOUNS,
    RELATIVE,
    SECOND_WORDS,
    TWO_WORDS,
)

_ALLOWED = re.compile(r" (?:be |been )?(allowed|permitted)(?: to)?\b")
SYMBOL = re.compile(r"!=|!(?=[\w(`\"])|[≠¬∉∄⊄✗✘❌✕∅]")
_NEEDED = frozenset("need needed required require necessary mandatory compulsory obligation".split())
_JOINTS = frozenset((" ", "-", "/", "\n", "\u00a0"))
_LONGEST = 8  # words between a cue and what it governs


class Cue(NamedTuple):
    """Word indices: the cue itself is first:stop, `governed` what it bears on, `near` what it may bear on.

    `does`: everything that it can do. `loose`: only notation makes it a cue. A limit governs `number` instead.
    """

    does: tuple[str, ...]
    first: int
    stop: int
    governed: tuple[int, ...]
    near: tuple[int, ...]
    parts: tuple[Span, ...]
    number: Found | None = None
    loose: bool = False


def cues(words: Words, numbers: Iterable[Found], loose: bool = False) -> list[Cue]:
    """Sorted. `loose`: also what can stand for a cue in compressed notation."""
    found = list(_limits(words, numbers, loose))
    busy = {k for cue in found for k in range(cue.first, cue.stop)}
    found += _phrases(words, busy, PLAIN)
    found = [cue for cue in found if cue.does[0] not in ("must", "may", "should") or not _is_denied(words, cue)]
    if loose:
        busy |= {k for cue in found for k in range(cue.first, cue.stop)}
        found += _phrases(words, busy - {k for cue in found if cue.does[0] == "neg" for k in (cue.first,)}, LOOSE)
        found += _symbols(words)
        found = [_unneeded(words, cue) for cue in found]
    found.sort(key=lambda cue: (cue.first, cue.stop))
    return found


def _is_denied(words: Words, modal: Cue) -> bool:
    """In `no one may` the negation says it all."""
    for k in range(modal.first - 1, max(-1, modal.first - _LONGEST - 3), -1):
        if STOP.search(words.gap(k + 1).replace(".", "")) or words.words[k] in ("and", "but"):
            return False
        if words.words[k] in DETERMINERS:
            return True
    return False


def _unneeded(words: Words, cue: Cue) -> Cue:
    """`no visa needed` is not a denial only."""
    if cue.does == ("neg",) and words.words[cue.first] in ("no", "not"):
        for k in range(cue.stop, min(cue.stop + 4, len(words.words))):
            if STOP.search(words.gap(k)):
                break
            if words.words[k] in _NEEDED:
                return cue._replace(does=("neg", "optional"))
    return cue


def _limits(words: Words, numbers: Iterable[Found], loose: bool) -> Iterator[Cue]:
    for number in numbers:
        ordinal = isinstance(number.value, tuple) and number.value[0] == "o"
        if found := None if ordinal else limit_of(words, number, loose):
            does, span, first, stop = found
            yield Cue(does, first, stop, (), (), tuple(sorted((span, *number.parts))), number)


def _phrases(words: Words, busy: set[int], table: dict[str, list[tuple[list[str], tuple[str, ...]]]]) -> Iterator[Cue]:
    done = 0
    places = [i for i, word in enumerate(words.words) if word in table]
    if table is PLAIN:
        places = sorted({*places, *(i for i in words.odd if words.words[i][-3:] in NT)})
    last = len(words.words) - 1
    for i in places:
        if words.words[i] in LED and (i == last or words.words[i + 1] not in SECOND_WORDS):
            continue
        if i < done or i in busy or words.taken[words.starts[i]] or _means_else(words, i):
            continue
        does, stop = _longest(words, i, table)
        if does:
            cue = _cue(words, i, stop, does)._replace(loose=table is LOOSE)
            done = cue.stop
            yield cue


def _longest(
    words: Words, i: int, table: dict[str, list[tuple[list[str], tuple[str, ...]]]]
) -> tuple[tuple[str, ...], int]:
    word = words.words[i]
    for phrase, does in table.get("not" if word[-3:] in NT and word not in table else word, ()):
        stop = i + len(phrase)
        if words.words[i + 1 : stop] == phrase[1:] and all(words.gap(k) in _JOINTS for k in range(i + 1, stop)):
            return does, stop
    return (("neg",), i + 1) if word[-3:] in NT else ((), i)


def _means_else(words: Words, i: int) -> bool:
    word, start = words.words[i], words.starts[i]
    if word == "no":
        return (
            words.text[start + 2 : start + 4].strip(" ") == "." and words.text[start + 3 : start + 5].strip().isdigit()
        )
    if word in ("may", "none") and words.text[start].isupper():
        return not words.begins_sentence(i)  # the month, and Python's None
    if word == "should" and i + 1 < len(words.words) and words.begins_sentence(i):
        return words.words[i + 1] in PRONOUNS  # should you wish
    if word in ("more", "less", "fewer") and i:
        return bool(words.taken[words.starts[i - 1]])  # five points more than
    if word == "must":
        return bool(i) and words.words[i - 1] == "a"
    if word == "w":
        return words.text[start + 1 : start + 2] != "/"
    return word in ("whether", "not", "no") and any(
        " ".join(words.words[k : k + 3]).startswith(tuple(IDIOMS)) for k in (i, i - 2) if k >= 0
    )


def _cue(words: Words, first: int, stop: int, does: tuple[str, ...]) -> Cue:
    main, word = does[0], words.words[first]
    spans = [(words.starts[first], words.ends[stop - 1])]
    if word in MODALS and stop == first + 1:  # must therefore not
        for k in range(stop, min(stop + 3, len(words.words))):
            if words.words[k] in ("not", "never") and not STOP.search(words.gap(k)):
                main, stop = MODALS[word], k + 1
                does = (main,)
                spans.append((words.starts[k], words.ends[k]))
                break
            if not words.words[k].endswith("ly") and words.words[k] not in (
                "therefore",
                "also",
                "still",
                "of",
                "course",
                "be",
            ):
                break
    if main in ("neg", "forbid", "maynot") and (allowed := _ALLOWED.match(words.lower, words.ends[stop - 1])):
        main, does = "forbid", ("forbid",)  # must never be allowed to
        stop = words.at(allowed.end())
        spans.append((allowed.start(1), allowed.end()))
    wanted = 2 if word in TWO_WORDS else 1
    governed = _ahead(words, stop, wanted)
    near = _ahead(words, stop, 3, main, word)
    if not governed:
        governed = behind(words, first, 1)
        near = behind(words, first, 3)
    elif main in BOTH_SIDES or word[:4] in (
        "deni",
        "refu",
        "reje",
        "forb",
        "proh",
        "bann",
        "fail",
        "excl",
        "exem",
        "miss",
    ):
        near = (*near, *behind(words, first, 3))
    elif main == "only" and (stop >= len(words.words) or STOP.search(words.gap(stop)) or words.words[stop] in FUNCTION):
        near = (*near, *behind(words, first, 2))
    elif word == "not" and first and words.gap(first) == " " and words.words[first - 1] not in FUNCTION:
        near = (*near, first - 1)  # hardens not by drying
    spans += [(words.starts[k], words.ends[k]) for k in governed]
    return Cue(does, first, stop, governed, near, tuple(sorted(spans)))


def _stops(words: Words, i: int) -> bool:
    """Whether a clause ends before word `i`; a blank, which most gaps are, is not searched."""
    gap = words.gap(i)
    return gap != " " and STOP.search(gap) is not None


def _ahead(words: Words, k: int, wanted: int, does: str = "", cue: str = "", joined: bool = False) -> tuple[int, ...]:
    """The next words that say something. With `does`, as far as that reaches: not into the next clause."""
    found: list[int] = []
    for i in range(k, min(k + _LONGEST + wanted, len(words.words))):
        if _stops(words, i) and not (joined and i == k):
            break
        word = words.words[i]
        if word in FUNCTION or (word.endswith("ly") and word not in LY_VERBS and _goes_on(words, i + 1)):
            if (
                does
                and found
                and (word in CONJUNCTION or word in RELATIVE or (word in AUXILIARY and cue not in DETERMINERS))
            ):
                break
            continue
        found.append(i)
        if len(found) == wanted:
            break
    return tuple(found)


def _goes_on(words: Words, i: int) -> bool:
    return i < len(words.words) and not _stops(words, i) and words.words[i] not in FUNCTION


def behind(words: Words, first: int, wanted: int) -> tuple[int, ...]:
    found: list[int] = []
    for i in range(first - 1, max(first - 1 - _LONGEST, -1), -1):
        if _stops(words, i + 1):
            break
        if words.words[i] not in FUNCTION:
            found.append(i)
            if len(found) == wanted:
                break
    return tuple(sorted(found))


def _symbols(words: Words) -> Iterator[Cue]:
    for match in SYMBOL.finditer(words.text):
        i = words.at(match.end())
        before = behind(words, i, 2) if match.group() not in "!¬" else ()
        near = (*_ahead(words, i, 3, "neg", joined=True), *before)
        yield Cue(("neg", "instead", "except"), i, i, near[:1], near, (match.span(),))


def governs(words: Words, cue: Cue) -> tuple[str, str]:
    """What a cue does and the stem of what it does it to."""
    return cue.does[0], stem(words.words[cue.governed[0]]) if cue.governed else ""
