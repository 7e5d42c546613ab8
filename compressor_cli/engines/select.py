"""Which units to keep: the most expected answers within a token budget, in runs that can be read.

For each unit the model gives s, the chance that an answer to some question starts there, c, the chance that an answer
which has reached the unit goes on past it, and k, the chance that a writer would have kept it. An answer lives only
if all of it is kept, so a run of kept units is worth the expected number of answers that lie within it:

    f_i = s_i + f_(i-1) c_(i-1)     chance-weighted answers alive at unit i, counted from the start of the run
    gain_i = f_i (1 - c_i)          those that end there, whole

plus a little for k. A dynamic programme over each sentence finds the best runs for a price a token; the
price is searched so that the whole document meets its budget. Figures behind the weights: docs/experiments.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

_AGES = 12  # units of memory: answers longer than this are too rare to tell runs apart
_PRICES = 12
_ROUNDS = 3
_LOWEST, _HIGHEST = 1e-5, 10.0  # prices between which every budget lies
_NEAR = 1.6
_CHUNK = 256  # sentences solved at once
_NEVER = np.float32(-1e9)


@dataclass(frozen=True)
class Problem:
    """One entry a unit: `start`, `go_on` (s and c above), `bonus` (worth by itself) and `cost` (tokens).

    `sentences` holds unit indices; units in none of them are optional (articles, lone dashes) and are only used to
    fill what is left. `overhead` is the cost in tokens of keeping anything of a sentence; `run_cost` the worth that a
    new run must have beyond its own, `sentence_cost` what the first of a sentence must have on top.
    """

    start: Floats
    go_on: Floats
    bonus: Floats
    cost: Floats
    sentences: list[list[int]]
    overhead: Floats
    run_cost: float
    sentence_cost: float = 0.0


def select(problem: Problem, budget: float, near: float | None = None) -> tuple[Bools, Bools, float]:
    """Units to keep at an estimated cost of at most `budget`, those of the next larger solution, and the price.

    `near` is the price of an earlier answer to a budget close to this one: it shortens the search.
    """
    none = np.zeros(len(problem.cost), dtype=bool)
    every = none.copy()
    every[[i for sentence in problem.sentences for i in sentence]] = True
    within, beyond = none, every
    if not problem.sentences or estimate(problem, every[None])[0] <= budget:
        return every, every, _LOWEST
    low, high = (near / _NEAR, near * _NEAR) if near else (_LOWEST, _HIGHEST)
    price = high
    gains = [(chunk, _gains(problem, chunk)) for chunk in _chunks(problem.sentences)]
    for _ in range(_ROUNDS - 1 if near else _ROUNDS):
        prices = np.geomspace(low, high, _PRICES).astype(np.float32)
        keeps = _solve(problem, gains, prices)
        fits = estimate(problem, keeps) <= budget
        first = int(np.argmax(fits)) if fits.any() else len(prices)
        if first < len(prices):
            within, price = keeps[first], float(prices[first])
        if first:
            beyond = keeps[first - 1]
        low, high = prices[max(first - 1, 0)], prices[min(first, len(prices) - 1)]
        if first in (0, len(prices)):
            if near:
                return select(problem, budget)
            break
    return within, beyond, price


def estimate(problem: Problem, keeps: Bools) -> NDArray[np.float64]:
    """Estimated tokens of each row of `keeps`."""
    total = keeps @ problem.cost.astype(np.float64)
    if problem.sentences:
        members = np.fromiter(chain.from_iterable(problem.sentences), dtype=np.int64)
        begins = np.cumsum([0, *map(len, problem.sentences[:-1])])
        total += np.logical_or.reduceat(keeps[:, members], begins, axis=1) @ problem.overhead.astype(np.float64)
    return np.asarray(total)


@dataclass(frozen=True)
class _Chunk:
    units: NDArray[np.int64]  # sentences x length, -1 beyond the end
    numbers: NDArray[np.int64]  # which sentences


def _chunks(sentences: list[list[int]]) -> list[_Chunk]:
    """Sentences of like length together, so that little is padded."""
    order = sorted(range(len(sentences)), key=lambda n: len(sentences[n]))
    chunks = []
    for at in range(0, len(order), _CHUNK):
        numbers = order[at : at + _CHUNK]
        units = np.full((len(numbers), len(sentences[numbers[-1]])), -1)
        for row, n in enumerate(numbers):
            units[row, : len(sentences[n])] = sentences[n]
        chunks.append(_Chunk(units, np.array(numbers)))
    return chunks


def _gains(problem: Problem, chunk: _Chunk) -> Floats:
    """Worth of keeping each unit at each age of its run: length x sentences x ages."""
    units = chunk.units
    start, go_on, bonus = (
        np.where(units >= 0, a[units], np.float32(0)) for a in (problem.start, problem.go_on, problem.bonus)
    )
    rows, length = units.shape
    gains = np.empty((length, rows, _AGES), dtype=np.float32)
    alive = np.zeros((rows, _AGES), dtype=np.float32)
    for i in range(length):
        before = go_on[:, i - 1, None] if i else np.float32(0)
        oldest = alive[:, -1:] * before
        alive[:, 1:] = alive[:, :-1] * before
        alive[:, 0] = 0
        alive[:, -1:] = oldest  # by then what a longer run adds has died away
        alive += start[:, i, None]
        gains[i] = alive * (1 - go_on[:, i, None]) + bonus[:, i, None]
    return gains


def _solve(problem: Problem, gains: list[tuple[_Chunk, Floats]], prices: Floats) -> Bools:
    """Best units to keep for each price."""
    keeps = np.zeros((len(prices), len(problem.cost)), dtype=bool)
    for chunk, gain in gains:
        kept = _solve_chunk(problem, chunk, gain, prices)
        inside = chunk.units >= 0
        keeps[:, chunk.units[inside]] = kept[:, inside]
    return keeps


def _solve_chunk(problem: Problem, chunk: _Chunk, gain: Floats, prices: Floats) -> Bools:
    """Viterbi over the states: nothing kept yet, in a run of age 1 to _AGES, in a gap after something kept."""
    units = chunk.units
    rows, length = units.shape
    inside = units >= 0
    price = prices[:, None]
    cost = np.where(inside, problem.cost[units], np.float32(0))
    entry = price * problem.overhead[chunk.numbers] + problem.sentence_cost
    runs = np.full((len(prices), rows, _AGES), _NEVER, dtype=np.float32)
    gap = np.full((len(prices), rows), _NEVER, dtype=np.float32)
    from_gap = np.empty((length, len(prices), rows), dtype=bool)  # the run of age 1 came out of a gap
    stayed = np.empty_like(from_gap)  # the oldest run was already the oldest
    ended = np.empty((length, len(prices), rows), dtype=np.int8)  # age of the run before a gap; -1: a gap before
    for i in range(length):
        best_run = runs.argmax(axis=2)
        run_value = np.take_along_axis(runs, best_run[..., None], axis=2)[..., 0]
        ended[i] = np.where(gap >= run_value, -1, best_run)
        new_gap = np.maximum(gap, run_value)
        from_gap[i] = gap > -entry
        fresh = np.maximum(gap, -entry) - problem.run_cost
        stayed[i] = runs[..., -1] > runs[..., -2]
        oldest = np.maximum(runs[..., -1], runs[..., -2])
        new_runs = np.empty_like(runs)
        new_runs[..., 0] = fresh
        new_runs[..., 1:-1] = runs[..., :-2]
        new_runs[..., -1] = oldest
        new_runs += (gain[i][None] - (price * cost[:, i])[..., None]).astype(np.float32)
        on = inside[:, i]
        runs = np.where(on[None, :, None], new_runs, runs)
        gap = np.where(on, new_gap, gap)
    return _trace_back(runs, gap, inside, from_gap, stayed, ended)


def _trace_back(
    runs: Floats, gap: Floats, inside: Bools, from_gap: Bools, stayed: Bools, ended: NDArray[np.int8]
) -> Bools:
    """Read the kept units off the decisions; states: -2 nothing, -1 gap, else the age of the run less one."""
    rows, length = inside.shape
    kept = np.zeros((runs.shape[0], rows, length), dtype=bool)
    best_run = runs.argmax(axis=2).astype(np.int64)
    run_value = runs.max(axis=2)
    state = np.where(run_value >= gap, best_run, -1)
    state = np.where(np.maximum(run_value, gap) <= 0, -2, state)
    for i in range(length - 1, -1, -1):
        on = inside[:, i][None]
        in_run = on & (state >= 0)
        kept[..., i] = in_run
        before_run = np.where(
            state == 0,
            np.where(from_gap[i], -1, -2),
            np.where((state == _AGES - 1) & stayed[i], state, state - 1),
        )
        before_gap = np.where(state == -1, ended[i].astype(np.int64), state)
        state = np.where(in_run, before_run, np.where(on, before_gap, state))
    return kept
