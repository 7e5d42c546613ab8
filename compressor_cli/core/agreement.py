"""How far verdicts can be relied on: whether models agree, and where a threshold stands against human labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from compressor_cli.errors import MissingExtraError


@dataclass(frozen=True)
class Calibration:
    """At `threshold`: shares of the labelled pairs. `balanced` is the mean of both hit rates, `kappa` Cohen's."""

    threshold: float
    pairs: int
    agreement: float
    balanced: float
    precision: float | None
    recall: float | None
    kappa: float | None


def alpha(scores: Sequence[Sequence[float | None]]) -> float | None:
    """Krippendorff's for interval data: one row a model, one column a pair, None where it gave no score.

    None where it is not defined: fewer than two models, or scores that do not vary at all.
    """
    if len(scores) < 2 or len({score for row in scores for score in row if score is not None}) < 2:
        return None
    try:
        import krippendorff
    except ModuleNotFoundError:
        raise MissingExtraError("krippendorff", "providers") from None
    data = [[float("nan") if score is None else score for score in row] for row in scores]
    if not any(sum(row[i] is not None for row in scores) > 1 for i in range(len(scores[0]))):
        return None
    return round(float(krippendorff.alpha(reliability_data=data, level_of_measurement="interval")), 4)


def calibrate(scores: Sequence[float], labels: Sequence[bool], threshold: float) -> tuple[Calibration, Calibration]:
    """At the threshold that is used, and at the one between two scores with the best balance (the lowest of equals)."""
    ranks = sorted(set(scores))
    between = [round((low + high) / 2, 4) for low, high in pairwise(ranks)]
    candidates = [_at(scores, labels, one) for one in [round(ranks[0], 4), *between]]
    best = max(candidates, key=lambda one: (one.balanced, -one.threshold))
    return _at(scores, labels, threshold), best


def _at(scores: Sequence[float], labels: Sequence[bool], threshold: float) -> Calibration:
    passed = [score >= threshold for score in scores]
    both = sum(p and y for p, y in zip(passed, labels, strict=True))
    neither = sum(not p and not y for p, y in zip(passed, labels, strict=True))
    n, yes, positive = len(labels), sum(labels), sum(passed)
    rates = [both / yes] * bool(yes) + [neither / (n - yes)] * bool(n - yes)
    agreement = (both + neither) / n
    chance = (yes * positive + (n - yes) * (n - positive)) / (n * n)
    return Calibration(
        threshold=threshold,
        pairs=n,
        agreement=round(agreement, 4),
        balanced=round(sum(rates) / len(rates), 4),
        precision=round(both / positive, 4) if positive else None,
        recall=round(both / yes, 4) if yes else None,
        kappa=None if chance == 1 else round((agreement - chance) / (1 - chance), 4),
    )
