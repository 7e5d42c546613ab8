"""How a run goes through its rows: the same on every backend, and a pure function of the step, so that it resumes.

An epoch is all rows in an order of its own; a step takes the next `rows_per_step` of them, the last of an epoch what
is left.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from compressor_cli.core.checkpoints import Position

Schedule = Literal["linear", "cosine", "constant"]


@dataclass(frozen=True)
class Pace:
    """`steps` updates of the weights in all."""

    rows: int
    rows_per_step: int
    steps: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.rows / self.rows_per_step)

    def position(self, step: int) -> Position:
        """After `step` steps."""
        return Position(step // self.steps_per_epoch, step % self.steps_per_epoch, step)

    def epoch(self, step: int) -> float:
        """Epochs done after `step` steps, for people to read."""
        return round(step / self.steps_per_epoch, 4)

    def rows_of(self, step: int) -> Sequence[int]:
        """The places of the rows that step number `step`, counted from 0, is made of."""
        epoch, within = divmod(step, self.steps_per_epoch)
        order = _order(self.rows, self.seed, epoch)
        return order[within * self.rows_per_step : (within + 1) * self.rows_per_step]


@lru_cache(maxsize=2)
def _order(rows: int, seed: int, epoch: int) -> tuple[int, ...]:
    order = list(range(rows))
    random.Random(f"{seed} {epoch}").shuffle(order)
    return tuple(order)


def plan_steps(
    rows: int,
    rows_per_step: int,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    iterations: int | None = None,
    accumulation: int = 1,
) -> int:
    """One of the three is given. `iterations` are batches, `accumulation` of which make a step."""
    if steps is not None:
        return steps
    if iterations is not None:
        return math.ceil(iterations / accumulation)
    assert epochs is not None
    return epochs * math.ceil(rows / rows_per_step)


def learning_rate(step: int, steps: int, peak: float, warmup: float, schedule: Schedule) -> float:
    """For step number `step`, counted from 0. It rises over `warmup` (a share of all steps) and never is zero."""
    warm = math.ceil(warmup * steps)
    if step < warm:
        return peak * (step + 1) / warm
    if schedule == "constant":
        return peak
    left = (steps - step) / max(1, steps - warm)  # 1 where the warm-up ends, above 0 in the last step
    return peak * (left if schedule == "linear" else 0.5 * (1 - math.cos(math.pi * left)))
