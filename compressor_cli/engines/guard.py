"""Which facts of a text must survive its compression, and whether they did.

Facts in fixed lines are nobody's to drop here, so they are left out. The check reads the result as any reader of a pair
would (`core.facts`): a fact that it cannot find again, for words that came together, gets its neighbours back.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence

import numpy as np

from compressor_cli.core.facts import check_facts, find_facts
from compressor_cli.engines.layout import Document
from compressor_cli.engines.select import Bools


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
        self._words: set[tuple[int, int]] = set()
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
        first, stop = bisect_right(self._ends, start), bisect_left(self._starts, end)
        if first < stop:
            return first, stop
        n = bisect_right(self._line_starts, start) - 1
        line = self._document.lines[n]
        if line.fixed is not None or line.stop == line.start:
            return None
        self.lines.add(n)
        return line.start, line.start

    def lost(self, compressed: str) -> list[tuple[int, int]]:
        """Facts, by their offsets in the text, that `compressed` does not state any more, or turns round."""
        report = check_facts(self._text, compressed, patterns=self._patterns)
        protected = (*self._kinds, "pattern")
        gone = [(f.start, f.end) for f in report.facts if f.status != "kept" and f.kind in protected]
        for span in gone:  # a word that only the result negates is no fact of the text, and as wrong
            place = self._place(*span) if span not in self._spans else None
            if place is not None and place[0] < place[1]:
                self._spans[span] = [place]
                self._words.add(span)
        return [span for span in gone if span in self._spans]

    def states_all(self, lost: Sequence[tuple[int, int]]) -> bool:
        """Whether no fact of the text is among what was lost, but at most words that seem to be negated now."""
        return self._words.issuperset(lost)

    def widened(self, must: Bools, lost: Sequence[tuple[int, int]], reach: int) -> Bools:
        """`must` with `reach` units on both sides of each lost fact, within its line."""
        must = must.copy()
        for first, stop, n in map(self._held, lost):
            line = self._document.lines[n]
            must[max(first - reach, line.start) : min(stop + reach, line.stop)] = True
        return must

    def around(self, lost: Sequence[tuple[int, int]], lines: int) -> Bools:
        """The lines of lost facts, and as many on both sides."""
        mask = np.zeros(len(self._document.units), dtype=bool)
        for _, _, n in map(self._held, lost):
            part = self._document.lines[max(n - lines, 0) : n + lines + 1]
            mask[part[0].start : part[-1].stop] = True
        return mask

    def _held(self, span: tuple[int, int]) -> tuple[int, int, int]:
        """The units of a fact, from the first to the last, and the number of its line."""
        held = self._spans[span]
        first, stop = min(a for a, _ in held), max(b for _, b in held)
        return first, stop, bisect_right(self._line_starts, self._document.units[first].start) - 1
