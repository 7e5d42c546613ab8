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

    None where it is not defined: no pair has two scores, or those of such pairs do not vary at all.
    """
    shared = [known for column in zip(*scores, strict=True) if len(known := _known(column)) > 1]
    if len({score for column in shared for score in column}) < 2:
        return None
    try:
        import krippendorff
    except ModuleNotFoundError:
        raise MissingExtraError("krippendorff", "providers") from None
    data = [[float("nan") if score is None else score for score in row] for row in scores]
    return round(float(krippendorff.alpha(reliability_data=data, level_of_measurement="interval")), 4)


def _known(column: Sequence[float | None]) -> list[float]:
    return [score for score in column if score is not None]


def calibrate(labelled: Sequence[tuple[float, bool]], threshold: float) -> tuple[Calibration, Calibration]:
    """At the threshold that is used, and at the one between two scores with the best balance (the lowest of equals)."""
    ranks = sorted({score for score, _ in labelled})
    between = [round((low + high) / 2, 6) for low, high in pairwise(ranks)]
    candidates = [_at(labelled, one) for one in (ranks[0], *between)]
    best = max(candidates, key=lambda one: (one.balanced, -one.threshold))
    return _at(labelled, threshold), best


def _at(labelled: Sequence[tuple[float, bool]], threshold: float) -> Calibration:
    n, yes = len(labelled), sum(label for _, label in labelled)
    positive = sum(score >= threshold for score, _ in labelled)
    both = sum(score >= threshold and label for score, label in labelled)
    neither = n - yes - positive + both
    rates = [hit / of for hit, of in ((both, yes), (neither, n - yes)) if of]
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
