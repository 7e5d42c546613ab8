"""Units for a budget with every protected fact still stated, as `core.facts` reads the result.

The choice is made once. Where a fact is lost by it, the words next to it are put back, then the fewest runs of kept
units are taken out that bring it back, and the room goes to others. Reading the result again is much cheaper than
choosing again, so each step is checked whole: what a step does to facts far away is seen too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compressor_cli.engines.choose import Chooser, runs_of
from compressor_cli.engines.guard import Guard
from compressor_cli.engines.select import Bools
from compressor_cli.records import FactStatus

_NEAR = 2  # units on both sides of a lost fact that it gets back first
_WIDENINGS = 10  # of the facts alone, each wider than the one before
_ROUNDS = 10  # of taking out what spoils a fact and filling the room
_CHECKS = 40  # of halves a round
_SPENT = 0.99  # of the budget: no more room to fill

Runs = list[NDArray[np.int64]]


class Keeper:
    """`must` states the protected facts when nothing else is kept."""

    def __init__(self, chooser: Chooser, guard: Guard) -> None:
        self._chooser, self._guard = chooser, guard
        self._excused: set[tuple[int, int]] = set()  # lost even there: no choice brings them back
        self._last: tuple[bytes, list[FactStatus]] | None = None
        self.must = chooser.closed(guard.units, guard.lines)
        for reach in range(1, _WIDENINGS + 1):
            lost = self._lost(self.must)
            if not lost:
                return
            spots = guard.spots(lost, self.must)
            wider = guard.widened(self.must, spots, reach)
            if reach > _NEAR:
                wider |= guard.around(spots, 2 ** (reach - _NEAR - 1) - 1)
            self.must = chooser.closed(wider, guard.lines)
        self._excused = {(fact.start, fact.end) for fact in self._lost(self.must)}
        self._last = None

    def choose(self, budget: int) -> Bools:
        """The best units for the budget that leave every protected fact standing; at worst the facts alone."""
        first = self._chooser.choose(budget, self.must)
        goal, best = self._with_neighbours(first, budget), self.must
        barred = np.zeros(len(best), dtype=bool)
        for _ in range(_ROUNDS):
            best, culprits = self._without_culprits(goal, best)
            if not culprits or self._chooser.size(best) >= _SPENT * budget:
                break
            barred |= self._mask(culprits)
            goal = self._chooser.filled(best, first, budget, barred)
        return best

    def _with_neighbours(self, keep: Bools, budget: int) -> Bools:
        """`keep` with the words around what it lost, and as much less elsewhere."""
        must = self.must
        for reach in range(1, _NEAR + 1):
            lost = self._lost(keep)
            if not lost:
                break
            wider = self._chooser.closed(
                self._guard.widened(must, self._guard.spots(lost, keep), reach), self._guard.lines
            )
            if self._chooser.size(wider) > budget:
                break
            must = wider
            keep = self._chooser.trimmed(keep | must, budget, must)
        return keep

    def _without_culprits(self, goal: Bools, best: Bools) -> tuple[Bools, Runs]:
        """`goal` without the runs that spoil a fact of those it has beyond `best`, and these runs.

        Taken out are 1, 2, 4 ... of the most suspicious runs until all is well; of them, halves are put back that
        spoil nothing.
        """
        lost = self._lost(goal)
        runs = self._suspects(lost, goal, best) if lost else []
        if not runs:
            return goal, []
        out = 1
        while out < len(runs) and self._lost(self._without(goal, runs[:out])):
            out *= 2
        best = self._without(goal, runs[:out]) if out < len(runs) else best
        waiting, culprits, checks = [runs[:out]], [], 0  # what waits is known to spoil something
        while waiting:
            part = waiting.pop()
            if len(part) == 1 or checks >= _CHECKS:
                culprits += part
                continue
            for half in (part[len(part) // 2 :], part[: len(part) // 2]):
                trial = self._chooser.settled(best | self._mask(half), best)
                checks += 1
                if self._lost(trial):
                    waiting.append(half)
                else:
                    best = trial
        return best, culprits

    def _suspects(self, lost: Sequence[FactStatus], goal: Bools, best: Bools) -> Runs:
        """Runs that only `goal` keeps, those nearest to where something went wrong first."""
        spots = np.array([first for first, _ in self._guard.spots(lost, goal)])
        return sorted(runs_of(goal & ~best), key=lambda run: int(np.abs(spots - run[len(run) // 2]).min()))

    def _without(self, keep: Bools, runs: Runs) -> Bools:
        return self._chooser.settled(keep & ~self._mask(runs), self.must)

    def _mask(self, runs: Runs) -> Bools:
        mask = np.zeros(len(self.must), dtype=bool)
        mask[np.concatenate(runs)] = True
        return mask

    def _lost(self, keep: Bools) -> list[FactStatus]:
        if not self._guard or keep.all():
            return []
        key = keep.tobytes()
        if self._last is None or self._last[0] != key:  # the end of one step is the beginning of the next
            lost = self._guard.lost(self._chooser.rendered(keep))
            self._last = key, [fact for fact in lost if (fact.start, fact.end) not in self._excused]
        return self._last[1]
