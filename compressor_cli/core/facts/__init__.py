"""Facts of a text, and which of them another text keeps: what receipts, `--protect` and `scc check` stand on."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter

from compressor_cli.core.facts.check_code import exact_outcomes
from compressor_cli.core.facts.check_cues import cue_outcomes
from compressor_cli.core.facts.check_names import name_outcomes
from compressor_cli.core.facts.check_numbers import number_outcomes
from compressor_cli.core.facts.check_opposites import opposed
from compressor_cli.core.facts.code import code, urls
from compressor_cli.core.facts.cues import Cue, cues, governs
from compressor_cli.core.facts.kinds import KINDS, kinds_of
from compressor_cli.core.facts.names import names
from compressor_cli.core.facts.numbers import numbers
from compressor_cli.core.facts.operators import operators_changed
from compressor_cli.core.facts.sides import KEPT, LOST, Side
from compressor_cli.core.facts.tokens import Found, split
from compressor_cli.errors import UsageError
from compressor_cli.records import FactReport, FactStatus

__all__ = ["KINDS", "Fact", "check_facts", "find_facts"]
_place = attrgetter("start", "end")
_URL_TYPES = frozenset(("url", "email", "path"))
_REMEMBERED = 1_000_000  # characters; a text is read again and again while it is compressed
_MODAL = frozenset(("must", "should", "may", "optional", "le", "ge", "lt", "gt"))


@dataclass(frozen=True, slots=True)
class Fact:
    """`parts` are the spans that must all survive for the fact to: `must` and `opened` of `must never be opened`.

    Facts with equal values mean the same.
    """

    kind: str
    type: str
    text: str
    start: int
    end: int
    parts: tuple[tuple[int, int], ...]
    value: Hashable


def find_facts(text: str, kinds: Collection[str] = KINDS) -> list[Fact]:
    """Sorted by where they start. What is an address or an identifier holds no other facts; quotations do."""
    side = _side(text, kinds)
    facts = [_fact(text, kind, found) for kind, found, _ in _found(side, kinds)]
    facts += (_cue_fact(side, cue) for cue in side.cues)
    return sorted(facts, key=_place)


def check_facts(
    original: str, compressed: str, *, kinds: str | Collection[str] = KINDS, patterns: Sequence[re.Pattern[str]] = ()
) -> FactReport:
    """What became of each fact of `original`. What matches one of `patterns` must stand in `compressed` as it is,
    up to white space. `kinds` as `--protect` takes them: "all", "numbers,urls", ["code"]; an empty collection is none.

    A word that only `compressed` negates is told as a negation that changed: the original says the opposite.

    >>> report = check_facts("The valve must not be opened above 5 bar.", "Valve: must be opened >5 bar.")
    >>> [(fact.text, fact.status) for fact in report.facts if fact.status != "kept"]
    [('must not be opened', 'changed')]
    """
    _check_texts(original=original, compressed=compressed)
    if not all(hasattr(pattern, "finditer") for pattern in patterns):
        raise UsageError("patterns: compiled patterns are needed", hint="re.compile(...)")
    kinds = () if kinds in ((), [], set()) else kinds_of(kinds, "kinds")
    facts = _kept(original, kinds) if original == compressed else _compared(original, compressed, kinds)
    spaced = " ".join(compressed.split()) if patterns else ""
    for pattern in patterns:
        for match in pattern.finditer(original):
            if match.group():
                status = KEPT if " ".join(match.group().split()) in spaced else LOST
                facts.append(FactStatus("pattern", "pattern", match.group(), *match.span(), *status))
    return FactReport(tuple(sorted(facts, key=_place)))


def _check_texts(**texts: object) -> None:
    for name, text in texts.items():
        if not isinstance(text, str):
            raise UsageError(f"{name}: text is needed, this is {text!r:.60}")


def _kept(text: str, kinds: Collection[str]) -> list[FactStatus]:
    """Of a text that came back as it was, however oddly it reads."""
    return [FactStatus(f.kind, f.type, text[f.start : f.end], f.start, f.end, *KEPT) for f in find_facts(text, kinds)]


def _compared(original: str, compressed: str, kinds: Collection[str]) -> list[FactStatus]:
    one, other = _side(original, kinds), _side(compressed, kinds, loose=True)
    outcomes = {
        "numbers": number_outcomes(one, other) if "numbers" in kinds else [],
        "names": name_outcomes(one, other),
        "exact": exact_outcomes(one, other),
    }
    facts = [
        FactStatus(kind, found.type, original[found.start : found.end], found.start, found.end, *outcomes[group][i])
        for kind, found, (group, i) in _found(one, kinds)
    ]
    said, turned = cue_outcomes(one, other)
    for cue, outcome in zip(one.cues, said, strict=True):
        kind, start, end = _cue_type(cue), *_cue_span(cue)
        facts.append(FactStatus("negation", kind, original[start:end], start, end, *outcome))
    opposites = opposed(one, other) if "negation" in kinds else ()
    operators = operators_changed(one, other) if "code" in kinds else ()
    turns = (("negation", "negation", turned), ("negation", "opposite", opposites), ("code", "operator", operators))
    for kind, type_, places in turns:
        for start, end, there in places:
            facts.append(FactStatus(kind, type_, original[start:end], start, end, "changed", there))
    return facts


def _side(text: str, kinds: Collection[str], loose: bool = False) -> Side:
    read = _remembered if len(text) <= _REMEMBERED else _read
    return read(text, frozenset(kinds), loose)


def _read(text: str, kinds: frozenset[str], loose: bool) -> Side:
    """Everything is looked for in the order in which a finder may take what others would misread."""
    words = split(text)
    exact = urls(words) + code(words)
    figures = numbers(words)
    return Side(
        words,
        figures,
        cues(words, figures, loose) if "negation" in kinds else [],
        list(names(words)) if "names" in kinds else [],
        exact,
    )


_remembered = lru_cache(maxsize=4)(_read)


def _found(side: Side, kinds: Collection[str]) -> Iterator[tuple[str, Found, tuple[str, int]]]:
    """The kind of each fact but the negations, and the list and place of its outcome."""
    for group, members in (("numbers", side.numbers), ("names", side.names), ("exact", side.exact)):
        for i, found in enumerate(members):
            kind = ("urls" if found.type in _URL_TYPES else "code") if group == "exact" else group
            if kind in kinds:
                yield kind, found, (group, i)


def _fact(text: str, kind: str, found: Found) -> Fact:
    return Fact(kind, found.type, text[found.start : found.end], found.start, found.end, found.parts, found.value)


def _cue_fact(side: Side, cue: Cue) -> Fact:
    start, end = _cue_span(cue)
    value = (cue.does[0], cue.number.value) if cue.number else governs(side.words, cue)
    return Fact("negation", _cue_type(cue), side.words.text[start:end], start, end, cue.parts, value)


def _cue_span(cue: Cue) -> tuple[int, int]:
    return cue.parts[0][0], max(stop for _, stop in cue.parts)


def _cue_type(cue: Cue) -> str:
    return "modal" if cue.does[0] in _MODAL else "negation"
