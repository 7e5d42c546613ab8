"""Which units of a document to keep: the optimiser's runs, then exact counts of the rendered text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from compressor_cli.engines.layout import Document, Unit
from compressor_cli.engines.query import Bearing, aim
from compressor_cli.engines.render import render
from compressor_cli.engines.scorer import Scorer, Scores
from compressor_cli.engines.select import Bools, Floats, estimate, select
from compressor_cli.engines.worth import protected_free, weigh

_FACT_WORTH = 0.1  # in answers, of a unit that states a protected fact where not all of them fit
_ALONE_WORTH = 0.05  # of a unit beside none that is kept, where budget is left: `If.` says little
_SHORTEST_ROW, _ROW_SHARE = 8, 2 / 3  # units, and how many of them with a digit make figures of a sentence
_ROW_CHANCES = (0.02, 0.5, 0.02)  # that an answer starts, that it goes on, that a writer keeps the unit
_FILL_ROUNDS = 4
_ONE_BY_ONE = 12  # tokens left that are worth exact counts
_TRIES = 12_000  # units rendered while trying; bounds the time on long texts


class Chooser:
    """Chooses units of one document; holds what each step needs of the one before.

    `must` are units that stay whatever they cost: free in the problem, their price taken off the budget.
    """

    def __init__(
        self,
        document: Document,
        scorer: Scorer,
        count: Callable[[str], int],
        *,
        bearing: Bearing | None = None,
        marker: bool = False,
    ) -> None:
        self.document = document
        self.count = count
        self.marker = marker
        self.strict = True
        self.known: dict[tuple[int, bytes], str | None] = {}
        self.nothing = self.barred = np.zeros(len(document.units), dtype=bool)
        worth = weigh(document, _scores(document, scorer), count)
        self.worth = aim(worth, bearing) if bearing else worth
        self.problem = self.worth.problem
        self.bound = self.nothing.copy()  # kept only when the first of their group is
        for first, stop in self.worth.groups:
            self.bound[first + 1 : stop] = True

    def closed(self, must: Bools, lines: set[int]) -> Bools:
        """`must` with whole groups, and with the best unit of each line that has to stand."""
        must = must.copy()
        for n in lines:
            line = self.document.lines[n]
            if not must[line.start : line.stop].any():
                worth = self.problem.start[line.start : line.stop] + self.problem.bonus[line.start : line.stop]
                must[line.start + int(worth.argmax())] = True
        for first, stop in self.worth.groups:
            must[first:stop] |= must[first:stop].any()
        return must

    def prefer(self, units: Bools) -> None:
        """Of units that need not stay, keep these rather than others."""
        self.problem = replace(
            self.problem, bonus=self.problem.bonus + np.float32(_FACT_WORTH) * units.astype(np.float32)
        )

    def rendered(self, keep: Bools) -> str:
        return render(self.document, keep.tolist(), self.known, marker=self.marker)

    def size(self, keep: Bools) -> int:
        return self.count(self.rendered(keep))

    def choose(self, budget: int, must: Bools) -> Bools:
        """Estimates lead, exact counts of the rendered text decide. Never less than `must`, whatever the budget."""
        problem = protected_free(self.problem, must)
        keep, used = must, self.size(must)
        target = float(budget - used)
        beyond, price = keep, None
        for _ in range(_FILL_ROUNDS):
            if target <= 0:
                break
            trial, larger, price = select(problem, target, price)
            estimated = float(estimate(problem, trial[None])[0])
            trial = self.settled(trial, must)
            size = self.size(trial)
            if used <= size <= budget:
                keep, used, beyond = trial, size, larger
            if 0 <= budget - size <= _ONE_BY_ONE + budget // 200:
                break
            # Correct by what the estimate was off; where it was too much, at least to the next smaller solution.
            target = target + budget - size if size < budget else max(min(target, estimated) - (size - budget), 0.0)
        return self._fill(keep, beyond, budget, must)

    def filled(self, keep: Bools, beyond: Bools, budget: int, barred: Bools) -> Bools:
        """`keep` and what fits the budget besides, of `beyond` first, nothing of `barred`."""
        self.barred = barred & ~keep
        return self._fill(keep, beyond & ~barred, budget, keep)

    def trimmed(self, keep: Bools, budget: int, must: Bools) -> Bools:
        """`keep` within the budget: without the runs that are worth least a token, but for `must`."""
        value = self.problem.start + self.problem.bonus
        runs = sorted(runs_of(keep & ~must), key=lambda run: -float(value[run].sum() / self.problem.cost[run].sum()))
        within, over = keep, self.size(keep) - budget
        while over > 0 and runs:
            within = within.copy()
            while over > 0 and runs:
                run = runs.pop()
                within[run] = False
                over -= int(self.problem.cost[run].sum())
            within = self.settled(within, must)
            over = self.size(within) - budget
        return self._fill(within, keep, budget, must)

    def settled(self, keep: Bools, must: Bools) -> Bools:
        """A group follows its first unit, a sentence its negations; a lone dash stands only between two kept units."""
        keep = keep & ~self.barred | must
        for first, stop in self.worth.groups:
            keep[first:stop] = keep[first]
        if self.strict:  # better no sentence than one that says the opposite
            for a, b, negations in self.worth.negated:
                if not all(keep[i] for i in negations):
                    keep[a:b] = must[a:b]
        dash = self.worth.dash & ~self.bound
        inner = np.flatnonzero(dash[1:-1]) + 1 if len(keep) > 2 else np.zeros(0, dtype=np.int64)
        keep[inner] = keep[inner] | (keep[inner - 1] & keep[inner + 1])
        return keep

    def _fill(self, keep: Bools, beyond: Bools, budget: int, must: Bools) -> Bools:
        """Spend what is left: first on what the next larger solution has, then on neighbours and articles."""
        used = self.size(keep)
        share = 1.0
        for _ in range(2 * _FILL_ROUNDS):  # in bulk, by estimate
            room = budget - used
            if room <= _ONE_BY_ONE:
                break
            steps = _fitting(self._steps(keep, beyond), self.problem.cost, int(share * (room - 2)))
            if not steps:
                break
            trial, size = self._with(keep, steps, must)
            if size > budget:  # brackets and sentence ends come on top of an estimate
                share /= 2
            else:
                keep, used = trial, size
        tries = max(_TRIES // max(len(keep), 1), 8)
        for step in self._steps(keep, beyond)[:tries]:  # the rest by exact counts
            if used >= budget:
                break
            trial, size = self._with(keep, [step], must)
            if used < size <= budget:
                keep, used = trial, size
        return keep

    def _with(self, keep: Bools, steps: list[NDArray[np.int64]], must: Bools) -> tuple[Bools, int]:
        trial = keep.copy()
        for step in steps:
            trial[step] = True
        trial = self.settled(trial, must)
        return trial, self.size(trial)

    def _steps(self, keep: Bools, beyond: Bools) -> list[NDArray[np.int64]]:
        """Units that could be added, together or one by one, best worth a token first."""
        problem, weighed = self.problem, self.worth
        value = problem.start + problem.bonus + 0.02
        free = ~keep & ~self.bound & ~self.barred
        runs = [(1.0 + float(value[run].sum() / problem.cost[run].sum()), run) for run in runs_of(beyond & free)]
        near = np.zeros(len(keep), dtype=np.float32)
        near[1:] += keep[:-1] & ~weighed.begins[1:]
        near[:-1] += keep[1:] & ~weighed.begins[1:]
        value = (value + 0.05 * near) / problem.cost
        value[near == 0] *= _ALONE_WORTH
        value[weighed.article] = 0.03 + near[weighed.article] * 0.01
        single = np.flatnonzero(free & ~weighed.dash & (~weighed.article | np.append(keep[1:], False)))
        ones = [(float(value[i]), np.array([i])) for i in single]
        return [step for _, step in sorted([*runs, *ones], key=lambda pair: -pair[0])]


def _scores(document: Document, scorer: Scorer) -> Scores:
    """The model's, but for rows of figures, of which it knows nothing and which would take as long as prose."""
    sentences = [span for line in document.lines for span in line.sentences]
    rows = [_is_row(document.units[a:b]) for a, b in sentences]
    known = np.repeat(~np.array(rows, dtype=bool), [b - a for a, b in sentences])
    asked = [span for span, row in zip(sentences, rows, strict=True) if not row]
    scores = scorer.score([[unit.text for unit in document.units[a:b]] for a, b in asked])
    columns = [np.full(len(known), chance, dtype=np.float32) for chance in _ROW_CHANCES]
    for column, scored in zip(columns, (scores.start, scores.go_on, scores.keep), strict=True):
        column[known] = scored
    return Scores(*columns)


def _is_row(units: Sequence[Unit]) -> bool:
    figures = sum(any(map(str.isdigit, unit.core)) for unit in units)
    return len(units) >= _SHORTEST_ROW and figures >= _ROW_SHARE * len(units)


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


def runs_of(mask: Bools) -> list[NDArray[np.int64]]:
    """Indices of each maximal run of true."""
    indices = np.flatnonzero(mask)
    if not len(indices):
        return []
    return list(np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1))
