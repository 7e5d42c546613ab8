"""What is measured over the rows of an eval: figures with 95 % intervals, gates on them, and samples."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compressor_cli.core.comparison import LEAST, RESAMPLES
from compressor_cli.core.jsonl import Row
from compressor_cli.errors import UsageError

OVERALL = "overall"
SAMPLES = 5
TARGET_SECONDS = 0.1  # the aim for an answer
_AT_ONCE = 100_000  # rows drawn at a time
_GATE = re.compile(r"\s*([a-z0-9_]+)\s*(<=|>=|=)\s*(-?[0-9.]+)\s*")

Part = tuple[float, float]


@dataclass(frozen=True)
class Measure:
    """A figure is the sum of the first over the sum of the second parts of its rows, or a quantile of their quotients.

    `part` is None for a row that says nothing of it. `title` is for people. A `share` is of rows for which something
    holds: its interval is Wilson's, since a bootstrap of rows that all agree has no width.
    """

    name: str
    title: str
    better: Literal["higher", "lower"]
    part: Callable[[Row], Part | None]
    quantile: float | None = None
    share: bool = False


@dataclass(frozen=True)
class Figure:
    """`low` and `high` hold the value with 95 %; None from fewer than five rows. `rows` have something to measure."""

    value: float | None
    low: float | None
    high: float | None
    rows: int


@dataclass(frozen=True)
class Gate:
    measure: str
    relation: Literal["<=", ">="]
    bound: float

    def holds(self, figures: Mapping[str, Figure]) -> bool:
        """Not where there is nothing to measure."""
        value = figures[self.measure].value
        if value is None:
            return False
        return value <= self.bound if self.relation == "<=" else value >= self.bound

    def told(self, figures: Mapping[str, Figure]) -> str:
        value = figures[self.measure].value
        found = "not measured" if value is None else f"{value:.4g}"
        return (
            f"{self.measure} is {found}, {'at most' if self.relation == '<=' else 'at least'} {self.bound:g} is asked"
        )


def measures(threshold: float) -> tuple[Measure, ...]:
    """`threshold` is for the pass rate."""
    return (
        Measure("ratio", "ratio, mean", "lower", partial(_value, "ratio")),
        Measure("ratio_median", "ratio, median", "lower", partial(_value, "ratio"), 0.5),
        Measure("ratio_p90", "ratio, 90th percentile", "lower", partial(_value, "ratio"), 0.9),
        Measure("savings", "tokens saved", "higher", _savings),
        Measure("fidelity", "fidelity", "higher", _fidelity),
        Measure("truncation_fidelity", "fidelity of truncation", "higher", partial(_truncation, _fidelity)),
        Measure("fidelity_gain", "fidelity above truncation", "higher", partial(_gain, _fidelity)),
        Measure("similarity", "similarity to the reference", "higher", _similarity),
        Measure("truncation_similarity", "similarity of truncation", "higher", partial(_truncation, _similarity)),
        Measure("similarity_gain", "similarity above truncation", "higher", partial(_gain, _similarity)),
        Measure("equivalence", "equivalence by judge", "higher", partial(_value, "equivalence")),
        Measure("pass_rate", "pass rate", "higher", lambda row: (passes(row, threshold), 1), share=True),
        Measure("larger", "larger than the input", "lower", _larger, share=True),
        Measure("truncated", "truncated", "lower", partial(_value, "truncated"), share=True),
        Measure("repaired", "repaired", "lower", partial(_value, "repaired"), share=True),
        Measure("empty", "empty", "lower", lambda row: (not row["output"], 1), share=True),
        Measure("latency_p50", "latency, median, s", "lower", partial(_value, "seconds"), 0.5),
        Measure("latency_p95", "latency, 95th percentile, s", "lower", partial(_value, "seconds"), 0.95),
        Measure("within_target", "within 100 ms", "higher", _in_time, share=True),
        Measure("tokens_per_second", "tokens/s written", "higher", _speed),
    )  # fmt: skip


def passes(row: Row, threshold: float) -> bool:
    """Smaller than the input, not cut, and no score of it below the threshold."""
    scores = [row["fidelity"], *([row["equivalence"]] if row.get("equivalence") is not None else [])]
    whole = bool(row["output"]) and not row["truncated"]
    return whole and row["tokens_out"] < row["tokens_in"] and min(scores) >= threshold


def _value(name: str, row: Row) -> Part | None:
    value = row.get(name)
    return None if value is None else (float(value), 1)


def _larger(row: Row) -> Part:
    return row["tokens_out"] > row["tokens_in"], 1


def _in_time(row: Row) -> Part:
    return row["seconds"] <= TARGET_SECONDS, 1


def _savings(row: Row) -> Part:
    return row["tokens_in"] - row["tokens_out"], row["tokens_in"]


def _fidelity(row: Row) -> Part | None:
    """A text without facts keeps all of them, which says nothing."""
    return (row["fidelity"], 1) if row["facts"] else None


def _similarity(row: Row) -> Part | None:
    return _value("similarity", row)


def _speed(row: Row) -> Part | None:
    """Over the time that passed, so that rows in work at once count together."""
    return row["model_tokens_out"], row["wall_seconds"]


def _truncation(part: Callable[[Row], Part | None], row: Row) -> Part | None:
    """Of the same measure."""
    return part({**row, **row["truncation"]})


def _gain(part: Callable[[Row], Part | None], row: Row) -> Part | None:
    ours, theirs = part(row), _truncation(part, row)
    return None if ours is None or theirs is None else (ours[0] - theirs[0], 1)


def figures(rows: Sequence[Row], *, threshold: float, seed: int) -> dict[str, Figure]:
    """Of rows without an error. `cost_usd` is their sum, None where a price is not known."""
    found = {measure.name: figure(measure, rows, seed) for measure in measures(threshold)}
    costs = [row["cost_usd"] for row in rows]
    total = round(sum(costs), 9) if rows and None not in costs else None
    return {**found, "cost_usd": Figure(total, None, None, len(rows))}


def figure(measure: Measure, rows: Sequence[Row], seed: int) -> Figure:
    parts = np.array([part for row in rows if (part := measure.part(row)) is not None], dtype=np.float64)
    if not len(parts):
        return Figure(None, None, None, 0)
    value = float(_statistic(parts[None], measure.quantile)[0])
    if len(parts) < LEAST:
        return Figure(_rounded(value), None, None, len(parts))
    if measure.share:
        return Figure(_rounded(value), *wilson(value, len(parts)), len(parts))
    drawn = np.concatenate([_statistic(parts[each], measure.quantile) for each in resamples(len(parts), seed)])
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Figure(_rounded(value), _rounded(float(low)), _rounded(float(high)), len(parts))


def wilson(share: float, rows: int) -> tuple[float, float]:
    """95 % interval of a share."""
    squared = 1.959964**2 / rows
    centre, half = share + squared / 2, np.sqrt(squared * (share * (1 - share) + squared / 4))
    low, high = (float((centre + sign * half) / (1 + squared)) for sign in (-1, 1))
    return round(max(0.0, low), 6), round(min(1.0, high), 6)


def resamples(rows: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Places of rows, drawn with replacement: some resamples at a time, for there can be many thousand rows."""
    rng = np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // rows)
    for first in range(0, RESAMPLES, at_once):
        yield rng.integers(0, rows, size=(min(at_once, RESAMPLES - first), rows))


def _statistic(parts: NDArray[np.float64], quantile: float | None) -> NDArray[np.float64]:
    """`parts` by resample, row, and part and whole."""
    if quantile is not None:
        return np.asarray(np.quantile(parts[..., 0] / parts[..., 1], quantile, axis=1))
    sums = parts.sum(axis=1)
    return np.asarray(sums[:, 0] / np.where(sums[:, 1] > 0, sums[:, 1], np.nan))


def _rounded(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None


def by_domain(rows: Sequence[Row], *, threshold: float, seed: int) -> dict[str, dict[str, Figure]]:
    """Overall first. A domain of that name gets another one."""
    groups: dict[str, Sequence[Row]] = {OVERALL: rows}
    for name in sorted({row["domain"] for row in rows}):
        shown = f"{name} (domain)" if name == OVERALL else name
        groups[shown] = [row for row in rows if row["domain"] == name]
    return {name: figures(group, threshold=threshold, seed=seed) for name, group in groups.items()}


def samples(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The five best rows and the five worst: by their lowest score, then by their ratio; no row is in both."""

    def rank(row: Row) -> tuple[Any, ...]:
        scores = [row["fidelity"], *([row["equivalence"]] if row.get("equivalence") is not None else [])]
        return bool(row["output"]), min(scores), -row["ratio"], row["id"]

    ranked = sorted(rows, key=rank, reverse=True)
    shown = min(SAMPLES, len(ranked) // 2)
    return ranked[:shown], ranked[len(ranked) - shown :][::-1]


def read_gates(text: str | None) -> list[Gate]:
    """`fidelity=0.95,ratio<=0.65`; `=` is at least. Raises UsageError for what is no gate."""
    known = {measure.name: measure for measure in measures(0)}
    gates = []
    for word in (text or "").split(",") if text is not None else []:
        found = _GATE.fullmatch(word)
        if found is None:
            raise UsageError(f"--fail-under {word!r}: NAME=VALUE is needed", hint="fidelity=0.95,ratio<=0.65")
        name, relation, bound = found.groups()
        if name not in known:
            raise UsageError(f"--fail-under: no figure {name!r}", hint=f"one of {', '.join(known)}")
        better = known[name].better
        if relation == "=" and better == "lower":
            raise UsageError(f"--fail-under {word}: less is better of {name}", hint=f"{name}<={bound}")
        try:
            gates.append(Gate(name, "<=" if relation == "<=" else ">=", float(bound)))
        except ValueError:
            raise UsageError(f"--fail-under {word}: {bound} is no number") from None
    return gates


def plain(found: Mapping[str, Figure]) -> dict[str, Any]:
    return {name: asdict(one) for name, one in found.items()}


def shown(value: float) -> str:
    """A figure for people."""
    text = f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
