"""The order of rows and the learning rate: pure functions of the step."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from compressor_cli.core.pace import Pace, Schedule, learning_rate, plan_steps

paces = st.builds(
    Pace, rows=st.integers(1, 60), rows_per_step=st.integers(1, 20), steps=st.integers(1, 40), seed=st.integers(0, 3)
)


@given(paces)
def test_an_epoch_takes_each_row_once(pace: Pace) -> None:
    for epoch in range(3):
        steps = range(epoch * pace.steps_per_epoch, (epoch + 1) * pace.steps_per_epoch)
        taken = Counter(row for step in steps for row in pace.rows_of(step))
        assert taken == Counter(range(pace.rows))
        sizes = [len(pace.rows_of(step)) for step in steps]
        assert all(size == min(pace.rows_per_step, pace.rows) for size in sizes[:-1])
        assert 1 <= sizes[-1] <= pace.rows_per_step


@given(paces, st.integers(0, 200))
def test_a_position_says_where_a_run_is(pace: Pace, step: int) -> None:
    position = pace.position(step)
    assert position.epoch * pace.steps_per_epoch + position.step_in_epoch == position.global_step == step
    assert position.step_in_epoch < pace.steps_per_epoch


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    def order(seed: int, epoch: int) -> tuple[int, ...]:
        return tuple(Pace(50, 50, 3, seed).rows_of(epoch))

    orders = {order(seed, epoch) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert tuple(range(50)) not in orders


@given(
    st.integers(1, 300),
    st.floats(0, 0.9),
    st.sampled_from(["linear", "cosine", "constant"]),
)
def test_the_rate_rises_to_its_peak_then_falls_and_never_is_zero(steps: int, warmup: float, schedule: Schedule) -> None:
    rates = [learning_rate(step, steps, 2.0, warmup, schedule) for step in range(steps)]
    warm = math.ceil(warmup * steps)
    assert all(0 < rate <= 2.0 for rate in rates)
    assert rates[:warm] == sorted(rates[:warm])
    assert rates[warm:] == sorted(rates[warm:], reverse=True)
    if warm < steps:
        assert rates[warm] == 2.0
    if schedule == "constant":
        assert set(rates[warm:]) <= {2.0}


def test_steps_from_epochs_steps_or_batches() -> None:
    assert plan_steps(17, 4, epochs=3) == 15  # the last step of an epoch has one row
    assert plan_steps(17, 4, steps=7) == 7
    assert plan_steps(17, 8, iterations=500, accumulation=4) == 125
    assert plan_steps(17, 8, iterations=501, accumulation=4) == 126
