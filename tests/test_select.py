"""The choice of units against a search through all choices, and its budgets."""

from __future__ import annotations

from itertools import groupby, pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor_cli.engines.select import Bools, Problem, _chunks, _gains, _solve, estimate, select

ALL = 7  # units of a sentence whose every choice is tried


@st.composite
def problems(draw: st.DrawFn, *, longest: int = ALL, sentences: int = 3) -> Problem:
    """Sentences side by side, between them units that belong to none."""
    lengths = draw(st.lists(st.integers(1, longest), min_size=1, max_size=sentences))
    size = sum(lengths) + len(lengths)
    chances = st.floats(0, 1, width=32)

    def column(values: st.SearchStrategy[float], count: int = size) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        return np.array(draw(st.lists(values, min_size=count, max_size=count)), dtype=np.float32)

    spans, at = [], 0
    for length in lengths:
        spans.append(list(range(at, at + length)))
        at += length + 1
    return Problem(
        start=column(chances),
        go_on=column(chances),
        bonus=column(st.floats(0, 0.5, width=32)),
        cost=column(st.integers(1, 5).map(float)),
        sentences=spans,
        overhead=column(st.floats(0, 3, width=32), len(spans)),
        run_cost=draw(st.floats(0, 0.25)),
        sentence_cost=draw(st.floats(0, 0.25)),
    )


def worth(problem: Problem, sentence: list[int], overhead: float, kept: tuple[bool, ...], price: float) -> float:
    """What keeping these units of a sentence is worth, straight from the definition."""
    if not any(kept):
        return 0.0
    total = -price * overhead - problem.sentence_cost
    for chosen, run in groupby(zip(sentence, kept, strict=True), key=lambda pair: pair[1]):
        if not chosen:
            continue
        total -= problem.run_cost
        alive = 0.0
        for i, _ in run:
            alive += float(problem.start[i])
            total += alive * (1 - float(problem.go_on[i])) + float(problem.bonus[i]) - price * float(problem.cost[i])
            alive *= float(problem.go_on[i])
    return total


def solved(problem: Problem, prices: list[float]) -> Bools:
    gains = [(chunk, _gains(problem, chunk)) for chunk in _chunks(problem.sentences)]
    return _solve(problem, gains, np.array(prices, dtype=np.float32))


@given(problem=problems(), price=st.floats(0.0009765625, 1.0, width=32))
def test_the_programme_finds_the_best_of_all_choices(problem: Problem, price: float) -> None:
    (keep,) = solved(problem, [price])
    for overhead, sentence in zip(problem.overhead.tolist(), problem.sentences, strict=True):
        found = worth(problem, sentence, overhead, tuple(keep[sentence].tolist()), price)
        best = max(
            worth(problem, sentence, overhead, kept, price) for kept in product((False, True), repeat=len(sentence))
        )
        assert found == pytest.approx(best, abs=1e-4)
    outside = np.ones(len(keep), dtype=bool)
    outside[[i for sentence in problem.sentences for i in sentence]] = False
    assert not keep[outside].any()


@settings(max_examples=40)
@given(problem=problems(longest=40, sentences=6))
def test_a_higher_price_never_buys_more(problem: Problem) -> None:
    sizes = estimate(problem, solved(problem, [0.003, 0.03, 0.3, 3.0, 30.0]))
    assert all(a >= b - 1e-3 for a, b in pairwise(sizes.tolist()))
    assert sizes[-1] == 0


@settings(max_examples=40)
@given(problem=problems(longest=40, sentences=6), share=st.floats(0, 1.2))
def test_the_estimate_never_goes_beyond_the_budget(problem: Problem, share: float) -> None:
    everything = np.zeros(len(problem.cost), dtype=bool)
    everything[[i for sentence in problem.sentences for i in sentence]] = True
    total = float(estimate(problem, everything[None])[0])
    within, beyond, _ = select(problem, share * total)
    sizes = estimate(problem, np.array([within, beyond]))
    assert sizes[0] <= share * total
    assert sizes[1] >= sizes[0] - 1e-3
    if share >= 1:
        assert (within == everything).all()


@settings(max_examples=40)
@given(problem=problems(longest=40, sentences=6))
def test_a_larger_budget_never_takes_less(problem: Problem) -> None:
    sizes = [
        float(estimate(problem, select(problem, budget)[0][None])[0]) for budget in (0, 4, 8, 16, 32, 64, 128, 256)
    ]
    assert sizes[0] == 0
    assert sizes == sorted(sizes)


def test_an_answer_is_kept_whole_or_not_at_all() -> None:
    # One likely answer of three words; its middle alone is worth nothing.
    start = np.array([0, 0.9, 0, 0, 0], dtype=np.float32)
    go_on = np.array([0, 1, 1, 0, 0], dtype=np.float32)
    problem = Problem(
        start=start,
        go_on=go_on,
        bonus=np.zeros(5, dtype=np.float32),
        cost=np.ones(5, dtype=np.float32),
        sentences=[[0, 1, 2, 3, 4]],
        overhead=np.zeros(1, dtype=np.float32),
        run_cost=0.01,
    )
    assert select(problem, 2)[0].tolist() == [False] * 5
    assert select(problem, 3)[0].tolist() == [False, True, True, True, False]


def test_estimates_add_costs_and_overheads() -> None:
    problem = Problem(
        start=np.zeros(4, dtype=np.float32),
        go_on=np.zeros(4, dtype=np.float32),
        bonus=np.zeros(4, dtype=np.float32),
        cost=np.array([1, 2, 4, 8], dtype=np.float32),
        sentences=[[0, 1], [3]],
        overhead=np.array([0.5, 0.25], dtype=np.float32),
        run_cost=0,
    )
    keeps = np.array([[0, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 1]], dtype=bool)
    assert estimate(problem, keeps).tolist() == [0, 3.5, 13.75]


def test_nothing_to_choose_from() -> None:
    none = np.zeros(0, dtype=np.float32)
    problem = Problem(none, none, none, none, [], none, run_cost=0.1)
    within, beyond, _ = select(problem, 10)
    assert within.tolist() == beyond.tolist() == []
