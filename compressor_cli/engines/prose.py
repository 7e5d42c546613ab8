"""The prose engine: the embedded model's scores, the best runs within the budget, the text put together again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressor_cli.engines.language import foreign_language
from compressor_cli.engines.layout import Document, Line, Unit, parse, render
from compressor_cli.engines.scorer import Scorer, Scores
from compressor_cli.engines.select import Bools, Floats, Problem, estimate, select
from compressor_cli.errors import BudgetTooSmallError

_ARTICLES = frozenset(("a", "an", "the"))
_NEGATIONS = frozenset("not no never none nor neither without cannot unless except nobody nothing".split())

# Chosen on XQuAD's odd articles; what each does is in docs/experiments.md.
_KEEP_WORTH = 0.05  # of a unit that a writer would surely keep, in answers
_RUN_COST = 0.03
_SENTENCE_COST = 0.0  # on top, for the first run of a sentence
_GO_ON_BIAS = 0.75  # added to the logit of going on: answers are kept a little longer than they are marked
_CAPITAL_WORTH = 0.02
_NEGATION_WORTH = 0.3
_HEADING_WORTH = 0.15  # a token
_FILL_ROUNDS = 4
_ONE_BY_ONE = 12  # tokens left that are worth exact counts
_TRIES = 12_000  # units rendered while trying; bounds the time on long texts


@dataclass(frozen=True)
class ProseResult:
    compressed: str
    budget: int
    warnings: tuple[str, ...]


def compress_prose(
    text: str, *, share: float, budget: int | None, count: Callable[[str], int], scorer: Scorer, any_language: bool
) -> ProseResult:
    """`budget` in tokens is hard; with None, fixed parts are kept and `share` is taken of the rest.

    Raises BudgetTooSmallError where fixed parts, or the smallest unit, do not fit the budget.
    """
    document = parse(text)
    warnings = [] if any_language else _fix_foreign_lines(document)
    nothing = np.zeros(len(document.units), dtype=bool)
    fixed = count(render(document, nothing.tolist()))
    if budget is None:
        total = count(text)
        budget = min(fixed + int(share * (total - fixed)), total) if fixed else int(share * total)
        if fixed:
            warnings.append(f"fences, tables and other parts that stay as they are: {fixed} tokens on top of the rate")
        budget = max(budget, 1)
    if not document.units:
        return _unchanged(text, fixed, count(text), budget, warnings)
    if fixed > budget:
        raise BudgetTooSmallError(f"what must stay as it is takes {fixed} tokens, the budget is {budget}", fixed)
    keep = _Chooser(document, scorer, count).choose(budget)
    if not keep.any() and not fixed:
        needed = min(count(render(document, _only(nothing, i).tolist())) for i in range(len(nothing)))
        raise BudgetTooSmallError(f"no word fits a budget of {budget} tokens", needed)
    return ProseResult(render(document, keep.tolist()), budget, tuple(warnings))


def _unchanged(text: str, fixed: int, total: int, budget: int, warnings: list[str]) -> ProseResult:
    if total > budget:
        raise BudgetTooSmallError(f"what must stay as it is takes {fixed} tokens, the budget is {budget}", total)
    return ProseResult(text, budget, tuple(warnings))


def _only(nothing: Bools, i: int) -> Bools:
    one = nothing.copy()
    one[i] = True
    return one


def _fix_foreign_lines(document: Document) -> list[str]:
    """Turn lines in other languages into fixed ones. Lines too short to tell go with the whole text."""
    words = [unit.core for unit in document.units]
    overall = foreign_language(words[:4000])
    found: list[str] = []
    for line in document.lines:
        if line.fixed is not None:
            continue
        own = foreign_language(words[line.start : line.stop], among_english=overall is None)
        own = own or (overall if line.stop - line.start < 12 else None)
        if own:
            line.fixed = line.prefix + " ".join(unit.text for unit in document.units[line.start : line.stop])
            found.append(own)
    if not found:
        return []
    _drop_units_of_fixed_lines(document)
    languages = ", ".join(sorted(set(found)))
    return [f"{len(found)} lines in {languages} are left as they are (the model knows English); --engine prose forces"]


def _drop_units_of_fixed_lines(document: Document) -> None:
    kept: list[Unit] = []
    for line in document.lines:
        shift = len(kept) - line.start
        if line.fixed is not None:
            line.start = line.stop = len(kept)
            line.sentences, line.pairs = [], []
            continue
        kept.extend(document.units[line.start : line.stop])
        line.start, line.stop = line.start + shift, line.stop + shift
        line.sentences = [(a + shift, b + shift) for a, b in line.sentences]
        line.pairs = [(i + shift, opener, j + shift, closer) for i, opener, j, closer in line.pairs]
    document.units[:] = kept


class _Chooser:
    """Chooses units of one document; holds what each step needs of the one before."""

    def __init__(self, document: Document, scorer: Scorer, count: Callable[[str], int]) -> None:
        self.document = document
        self.count = count
        self.costs = _unit_costs(document.units, count)
        self.article = np.array([_is_article(unit) for unit in document.units], dtype=bool)
        self.dash = np.array([not any(map(str.isalnum, unit.core)) for unit in document.units], dtype=bool)
        self.whole = _whole_lines(document)
        sentences = [span for line in document.lines for span in line.sentences]
        scores = scorer.score([[unit.text for unit in document.units[a:b]] for a, b in sentences])
        self.problem = self._problem(scores)

    def _problem(self, scores: Scores) -> Problem:
        units = self.document.units
        start = scores.start.copy()
        odds = scores.go_on / np.maximum(1 - scores.go_on, 1e-6) * np.exp(_GO_ON_BIAS)
        go_on = (odds / (1 + odds)).astype(np.float32)
        bonus = (_KEEP_WORTH * scores.keep).astype(np.float32)
        for i, unit in enumerate(units):
            if unit.core[:1].isupper():
                bonus[i] += _CAPITAL_WORTH
            if _is_negation(unit):
                _mark_negation(units, start, go_on, i)
        sentences: list[list[int]] = []
        overhead: list[float] = []
        for line in self.document.lines:
            if line.whole:
                bonus[line.start : line.stop] += _HEADING_WORTH * self.costs[line.start : line.stop]
            mark = 1.0 + (self.count(line.prefix) if line.prefix else 0)
            for a, b in line.sentences:
                members = [i for i in range(a, b) if line.whole or not (self.article[i] or self.dash[i])]
                if members:
                    sentences.append(members)
                    overhead.append(1.0 + mark / len(line.sentences))
        return Problem(
            start,
            go_on,
            bonus,
            self.costs,
            sentences,
            np.array(overhead, dtype=np.float32),
            run_cost=_RUN_COST,
            sentence_cost=_SENTENCE_COST,
        )

    def choose(self, budget: int) -> Bools:
        """Estimates lead, exact counts of the rendered text decide."""
        fixed = self._exact(np.zeros(len(self.costs), dtype=bool))
        target = float(budget - fixed)
        keep, used = np.zeros(len(self.costs), dtype=bool), fixed
        beyond = keep
        for _ in range(_FILL_ROUNDS):
            trial, larger = select(self.problem, target)
            estimated = float(estimate(self.problem, trial[None])[0])
            trial = self._settled(trial)
            size = self._exact(trial)
            if used <= size <= budget:
                keep, used, beyond = trial, size, larger
            if 0 <= budget - size <= _ONE_BY_ONE + budget // 200:
                break
            # Correct by what the estimate was off; where it was too much, at least to the next smaller solution.
            target = target + budget - size if size < budget else max(min(target, estimated) - (size - budget), 0.0)
        return self._fill(keep, beyond, budget)

    def _exact(self, keep: Bools) -> int:
        return self.count(render(self.document, keep.tolist()))

    def _settled(self, keep: Bools) -> Bools:
        """Headings are kept or dropped whole; a lone dash stands only between two kept units."""
        keep = keep.copy()
        for line in self.whole:
            keep[line.start : line.stop] = keep[line.start : line.stop].sum() * 2 > line.stop - line.start
        inner = np.flatnonzero(self.dash[1:-1]) + 1 if len(keep) > 2 else np.zeros(0, dtype=np.int64)
        keep[inner] = keep[inner] | (keep[inner - 1] & keep[inner + 1])
        return keep

    def _fill(self, keep: Bools, beyond: Bools, budget: int) -> Bools:
        """Spend what is left: first on what the next larger solution has, then on neighbours and articles."""
        used = self._exact(keep)
        for _ in range(_FILL_ROUNDS):  # in bulk, by estimate
            room = budget - used
            if room <= _ONE_BY_ONE:
                break
            steps = _fitting(self._steps(keep, beyond), self.costs, room - 2)
            trial, size = self._with(keep, steps)
            if not steps or size > budget:
                break
            keep, used = trial, size
        tries = max(_TRIES // max(len(keep), 1), 8)
        for step in self._steps(keep, beyond)[:tries]:  # the rest by exact counts
            if used >= budget:
                break
            trial, size = self._with(keep, [step])
            if used < size <= budget:
                keep, used = trial, size
        return keep

    def _with(self, keep: Bools, steps: list[NDArray[np.int64]]) -> tuple[Bools, int]:
        trial = keep.copy()
        for step in steps:
            trial[step] = True
        trial = self._settled(trial)
        return trial, self._exact(trial)

    def _steps(self, keep: Bools, beyond: Bools) -> list[NDArray[np.int64]]:
        """Units that could be added, together or one by one, best worth a token first."""
        worth = self.problem.start + self.problem.bonus + 0.02
        free = ~keep & ~self._in_whole()
        runs = [(1.0 + float(worth[run].sum() / self.costs[run].sum()), run) for run in _runs(beyond & free)]
        near = np.zeros(len(keep), dtype=np.float32)
        near[1:] += keep[:-1]
        near[:-1] += keep[1:]
        value = (worth + 0.05 * near) / self.costs
        value[self.article] = 0.03 + near[self.article] * 0.01
        single = np.flatnonzero(free & ~self.dash & (~self.article | np.append(keep[1:], False)))
        ones = [(float(value[i]), np.array([i])) for i in single]
        return [step for _, step in sorted([*runs, *ones], key=lambda pair: -pair[0])]

    def _in_whole(self) -> Bools:
        inside = np.zeros(len(self.costs), dtype=bool)
        for line in self.whole:
            inside[line.start : line.stop] = True
        return inside


def _mark_negation(units: Sequence[Unit], start: Floats, go_on: Floats, i: int) -> None:
    """Worth keeping with the word before and the words after it, and not alone: `not.` turns a meaning round."""
    first = i - 1 if i and not units[i - 1].tail else i
    start[first] = min(start[first] + _NEGATION_WORTH, 1.0)
    for at, chance in ((first, 0.97), (i, 0.97), (i + 1, 0.6)):
        if at < len(units):
            go_on[at] = max(go_on[at], chance) if not _stops(units[at].tail) else go_on[at]


def _stops(tail: str) -> bool:
    return any(mark in ".!?;:" for mark in tail)


def _fitting(steps: list[NDArray[np.int64]], costs: Floats, room: int) -> list[NDArray[np.int64]]:
    """The first steps that fit the room by estimate, none twice."""
    taken: list[NDArray[np.int64]] = []
    seen: set[int] = set()
    for step in steps:
        cost = int(costs[step].sum())
        if cost <= room and seen.isdisjoint(step.tolist()):
            taken.append(step)
            seen.update(step.tolist())
            room -= cost
    return taken


def _whole_lines(document: Document) -> list[Line]:
    return [line for line in document.lines if line.whole and line.stop > line.start]


def _unit_costs(units: Sequence[Unit], count: Callable[[str], int]) -> Floats:
    """Tokens of each unit with the space before it, at least 1."""
    known: dict[str, int] = {}
    costs = np.empty(len(units), dtype=np.float32)
    for i, unit in enumerate(units):
        text = unit.text
        if text not in known:
            known[text] = max(count(" " + text), 1)
        costs[i] = known[text]
    return costs


def _is_article(unit: Unit) -> bool:
    return not unit.tail and not unit.lead and unit.core.lower() in _ARTICLES


def _is_negation(unit: Unit) -> bool:
    word = unit.core.lower()
    return word in _NEGATIONS or word.endswith(("n't", "n’t"))


def _runs(mask: Bools) -> list[NDArray[np.int64]]:
    """Indices of each maximal run of true."""
    indices = np.flatnonzero(mask)
    if not len(indices):
        return []
    return list(np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1))
