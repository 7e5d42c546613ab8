"""The prose engine: the embedded model's scores, the best runs within the budget, the text put together again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressor_cli.engines.language import foreign_language
from compressor_cli.engines.layout import Document, Unit, parse
from compressor_cli.engines.render import render
from compressor_cli.engines.scorer import Scorer
from compressor_cli.engines.select import Bools, Floats, estimate, select
from compressor_cli.engines.worth import unit_costs, weigh
from compressor_cli.errors import BudgetTooSmallError

_ALONE_WORTH = 0.05  # of a unit beside none that is kept, where budget is left: `If.` says little
_FILL_ROUNDS = 4
_ONE_BY_ONE = 12  # tokens left that are worth exact counts
_SHORTEST = 16  # units looked at for the smallest result there can be
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
    given = budget is not None
    if budget is None:
        total = count(text)
        budget = min(fixed + int(share * (total - fixed)), total) if fixed else int(share * total)
        if fixed:
            warnings.append(
                f"{fixed} tokens of fences, tables and other parts that stay as they are come on top of the rate"
            )
        budget = max(budget, 1)
        if not document.units:
            return ProseResult(text, budget, tuple(warnings))
    if fixed > budget:
        raise BudgetTooSmallError(f"what must stay as it is takes {fixed} tokens, the budget is {budget}", fixed)
    chooser = _Chooser(document, scorer, count) if document.units else None
    keep = chooser.choose(budget) if chooser else nothing
    if not keep.any() and not fixed:
        negated = chooser is not None and bool(chooser.worth.negated)
        smallest, needed = _smallest(document, count)
        if not given and (negated or needed > budget):
            return ProseResult(text, budget, (*warnings, "too short for the rate: left as it is"))
        if needed > budget:
            raise BudgetTooSmallError(f"no word fits a budget of {budget} tokens; {needed} are needed", needed)
        if chooser and negated:
            chooser.strict = False
            keep = chooser.choose(budget)
            warnings.append("a negation did not fit the budget: the meaning may have turned; give a higher one")
        keep = keep if keep.any() else smallest
    return ProseResult(render(document, keep.tolist()), budget, tuple(warnings))


def _smallest(document: Document, count: Callable[[str], int]) -> tuple[Bools, int]:
    """One unit and the tokens it takes alone, the fewest among those that promise to be short."""
    order = np.argsort(unit_costs(document.units, count), kind="stable")[:_SHORTEST]
    sizes: list[tuple[int, int]] = []
    for i in order.tolist():
        one = np.zeros(len(document.units), dtype=bool)
        one[i] = True
        sizes.append((count(render(document, one.tolist())), i))
    needed, best = min(sizes)
    only = np.zeros(len(document.units), dtype=bool)
    only[best] = True
    return only, needed


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
            line.fixed = "\n".join(line.raw)
            found.append(own)
    if not found:
        return []
    _drop_units_of_fixed_lines(document)
    languages = ", ".join(sorted(set(found)))
    what = "1 line in {} is left as it is" if len(found) == 1 else f"{len(found)} lines in {{}} are left as they are"
    return [what.format(languages) + " (the model knows English); --engine prose forces"]


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
        self.strict = True
        self.known: dict[tuple[int, bytes], str | None] = {}
        sentences = [span for line in document.lines for span in line.sentences]
        scores = scorer.score([[unit.text for unit in document.units[a:b]] for a, b in sentences])
        self.worth = weigh(document, scores, count)
        self.problem = self.worth.problem
        self.bound = np.zeros(len(document.units), dtype=bool)  # kept only when the first of their group is
        for first, stop in self.worth.groups:
            self.bound[first + 1 : stop] = True

    def choose(self, budget: int) -> Bools:
        """Estimates lead, exact counts of the rendered text decide."""
        fixed = self._exact(np.zeros(len(self.bound), dtype=bool))
        target = float(budget - fixed)
        keep, used = np.zeros(len(self.bound), dtype=bool), fixed
        beyond, price = keep, None
        for _ in range(_FILL_ROUNDS):
            trial, larger, price = select(self.problem, target, price)
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
        return self.count(render(self.document, keep.tolist(), self.known))

    def _settled(self, keep: Bools) -> Bools:
        """A group follows its first unit, a sentence its negations; a lone dash stands only between two kept units."""
        keep = keep.copy()
        for first, stop in self.worth.groups:
            keep[first:stop] = keep[first]
        if self.strict:  # better no sentence than one that says the opposite
            for a, b, negations in self.worth.negated:
                if not all(keep[i] for i in negations):
                    keep[a:b] = False
        dash = self.worth.dash & ~self.bound
        inner = np.flatnonzero(dash[1:-1]) + 1 if len(keep) > 2 else np.zeros(0, dtype=np.int64)
        keep[inner] = keep[inner] | (keep[inner - 1] & keep[inner + 1])
        return keep

    def _fill(self, keep: Bools, beyond: Bools, budget: int) -> Bools:
        """Spend what is left: first on what the next larger solution has, then on neighbours and articles."""
        used = self._exact(keep)
        share = 1.0
        for _ in range(2 * _FILL_ROUNDS):  # in bulk, by estimate
            room = budget - used
            if room <= _ONE_BY_ONE:
                break
            steps = _fitting(self._steps(keep, beyond), self.problem.cost, int(share * (room - 2)))
            if not steps:
                break
            trial, size = self._with(keep, steps)
            if size > budget:  # brackets and sentence ends come on top of an estimate
                share /= 2
            else:
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
        problem, weighed = self.problem, self.worth
        value = problem.start + problem.bonus + 0.02
        free = ~keep & ~self.bound
        runs = [(1.0 + float(value[run].sum() / problem.cost[run].sum()), run) for run in _runs(beyond & free)]
        near = np.zeros(len(keep), dtype=np.float32)
        near[1:] += keep[:-1] & ~weighed.begins[1:]
        near[:-1] += keep[1:] & ~weighed.begins[1:]
        value = (value + 0.05 * near) / problem.cost
        value[near == 0] *= _ALONE_WORTH
        value[weighed.article] = 0.03 + near[weighed.article] * 0.01
        single = np.flatnonzero(free & ~weighed.dash & (~weighed.article | np.append(keep[1:], False)))
        ones = [(float(value[i]), np.array([i])) for i in single]
        return [step for _, step in sorted([*runs, *ones], key=lambda pair: -pair[0])]


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


def _runs(mask: Bools) -> list[NDArray[np.int64]]:
    """Indices of each maximal run of true."""
    indices = np.flatnonzero(mask)
    if not len(indices):
        return []
    return list(np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1))
