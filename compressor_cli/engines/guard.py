"""Which facts of a text must survive its compression, and whether they did.

Facts in fixed lines are nobody's to drop here, so they are left out. The check reads the result as any reader of a pair
would (`core.facts`): a fact that it cannot find again, for words that came together, gets its neighbours back.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence

import numpy as np

from compressor_cli.core.facts import KINDS, check_facts, find_facts
from compressor_cli.engines.layout import Document
from compressor_cli.engines.options import Options
from compressor_cli.engines.select import Bools
from compressor_cli.records import FactStatus

_EDGES = re.compile(r"^[\W_]+|[\W_]+$")
_FEW = 3  # places in which a result says something; where there are more, none is told from the others


class Guard:
    """The protected facts of one document, by the units that hold them."""

    def __init__(
        self, text: str, document: Document, kinds: Collection[str], patterns: Sequence[re.Pattern[str]] = ()
    ) -> None:
        self._text, self._kinds, self._patterns = text, kinds, patterns
        self._document = document
        self._starts = [unit.start for unit in document.units]
        self._ends = [unit.end for unit in document.units]
        self._line_starts = [line.offsets[0] for line in document.lines]
        self.units = np.zeros(len(document.units), dtype=bool)
        self.beside = self.units.copy()  # behind a bare number: `two` alone says little
        self.lines: set[int] = set()  # lines of which something must be kept: a fact stands in their prefix
        self._plain = [_plain(unit.core) for unit in document.units]
        self._spans: dict[tuple[int, int], list[tuple[int, int]]] = {}  # units by fact, as ranges
        # All kinds are looked for, here and below: the receipt asks for the same again, and that is remembered.
        facts = [fact for fact in find_facts(text) if fact.kind in kinds] if kinds else []
        spans = [(fact.start, fact.end, fact.parts) for fact in facts]
        spans += [(m.start(), m.end(), (m.span(),)) for p in patterns for m in p.finditer(text) if m.group().strip()]
        for start, end, parts in spans:
            held = [units for part in parts if (units := self._place(*part)) is not None]
            if held:
                self._spans.setdefault((start, end), []).extend(held)
                for first, stop in held:
                    self.units[first:stop] = True
        for fact in facts:
            place = self._place(fact.start, fact.end) if fact.type == "number" else None
            if place and place[1] > place[0] and not document.units[place[1] - 1].tail:
                self.beside[place[1] : place[1] + 1] = True

    def __bool__(self) -> bool:
        return bool(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def _place(self, start: int, end: int) -> tuple[int, int] | None:
        """The units that overlap a span of the text; an empty range at the line's where a prefix holds it."""
        first, stop = self._units_at(start, end)
        if first < stop:
            return first, stop
        n = bisect_right(self._line_starts, start) - 1
        line = self._document.lines[n]
        if line.fixed is not None or line.stop == line.start:
            return None
        self.lines.add(n)
        return line.start, line.start

    def _units_at(self, start: int, end: int) -> tuple[int, int]:
        return bisect_right(self._ends, start), bisect_left(self._starts, end)

    def lost(self, compressed: str) -> list[FactStatus]:
        """Facts that `compressed` does not state any more or turns round, and words that only it negates."""
        report = check_facts(self._text, compressed, patterns=self._patterns)
        protected = (*self._kinds, "pattern")
        return [f for f in report.facts if f.status != "kept" and f.kind in protected and self._held(f)]

    def spots(self, lost: Sequence[FactStatus], keep: Bools) -> list[tuple[int, int]]:
        """Units to look at for what went wrong: those of each fact, and those kept that now say something else."""
        spots = [units for fact in lost for units in self._held(fact)]
        kept = [i for i in np.flatnonzero(keep).tolist() if self._plain[i]]
        said = [self._plain[i] for i in kept]
        for fact in lost:
            words = [word for word in map(_plain, (fact.found or "").split()) if word]
            places = [k for k in range(len(said)) if words and said[k : k + len(words)] == words]
            if len(places) <= _FEW:
                spots += [(i, i + 1) for k in places for i in kept[k : k + len(words)]]
        return sorted(set(spots))

    def widened(self, must: Bools, spots: Sequence[tuple[int, int]], reach: int) -> Bools:
        """`must` with `reach` units on both sides of each spot, within its line."""
        must = must.copy()
        for first, stop in spots:
            line = self._document.lines[self._line_of(first)]
            must[max(first - reach, line.start) : min(stop + reach, line.stop)] = True
        return must

    def around(self, spots: Sequence[tuple[int, int]], lines: int) -> Bools:
        """The lines of the spots, and as many on both sides."""
        mask = np.zeros(len(self._document.units), dtype=bool)
        for n in {self._line_of(first) for first, _ in spots}:
            part = self._document.lines[max(n - lines, 0) : n + lines + 1]
            mask[part[0].start : part[-1].stop] = True
        return mask

    def _held(self, fact: FactStatus) -> list[tuple[int, int]]:
        """The units of a fact; a word that only the result negates is no fact of the text, but stands in one."""
        known = self._spans.get((fact.start, fact.end))
        if known is not None:
            return known
        units = self._units_at(fact.start, fact.end)
        return [units] if units[0] < units[1] else []

    def _line_of(self, unit: int) -> int:
        return bisect_right(self._line_starts, self._document.units[unit].start) - 1


def lost_as_told(text: str, compressed: str, options: Options) -> list[FactStatus]:
    """Facts of kinds that the caller named, and matches of patterns, that `compressed` does not state any more."""
    kinds = () if options.protect is None else options.kinds
    if options.allow_loss or not (kinds or options.patterns):
        return []
    report = check_facts(text, compressed, kinds=KINDS if kinds else (), patterns=options.patterns)
    return [fact for fact in report.facts if fact.status != "kept" and fact.kind in (*kinds, "pattern")]


def _plain(word: str) -> str:
    return _EDGES.sub("", word.lower())
