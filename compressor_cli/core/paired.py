"""Two or more evals of the same rows: differences with intervals, tests, and the rows that differ most."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compressor_cli.core.comparison import LEAST
from compressor_cli.core.evaluation import passes, resamples
from compressor_cli.core.jsonl import Row, read_rows
from compressor_cli.errors import MissingExtraError, UsageError

SIGNIFICANT = 0.05
_ALIKE = 1e-9


@dataclass(frozen=True)
class Aspect:
    """`value` is None for a row that says nothing of it. A `share` is of rows for which something holds."""

    name: str
    title: str
    better: Literal["higher", "lower"]
    value: Callable[[Row], float | None]
    share: bool = False


@dataclass(frozen=True)
class Contrast:
    """How `other` differs from `first` over `rows`: `difference` is of their means, other - first, within `low` and
    `high` with 95 %. `p` is of the test that is named, `adjusted` for all tests of the comparison (Holm). `wins` are
    rows on which the other is better. Where rows are not paired there are none."""

    aspect: str
    title: str
    better: str
    first: str
    other: str
    rows: int
    value_first: float
    value_other: float
    difference: float
    low: float | None
    high: float | None
    test: str
    p: float
    adjusted: float
    wins: int | None = None
    ties: int | None = None
    losses: int | None = None

    @property
    def verdict(self) -> str:
        """Of the other."""
        if self.adjusted > SIGNIFICANT or not self.difference:
            return "no clear difference"
        return "better" if (self.difference > 0) == (self.better == "higher") else "worse"


def aspects(threshold: float) -> tuple[Aspect, ...]:
    """`threshold` is for the pass rate."""

    def field(name: str) -> Callable[[Row], float | None]:
        return lambda row: None if row.get(name) is None else float(row[name])

    return (
        Aspect("ratio", "ratio", "lower", field("ratio")),
        Aspect("fidelity", "fidelity", "higher", lambda row: row["fidelity"] if row["facts"] else None),
        Aspect("similarity", "similarity to the reference", "higher", field("similarity")),
        Aspect("equivalence", "equivalence by judge", "higher", field("equivalence")),
        Aspect("seconds", "latency, s", "lower", field("seconds")),
        Aspect("passed", "pass rate", "higher", lambda row: float(passes(row, threshold)), share=True),
        Aspect("larger", "larger than the input", "lower", _larger, share=True),
        Aspect("truncated", "truncated", "lower", field("truncated"), share=True),
    )  # fmt: skip


def _larger(row: Row) -> float:
    return float(row["tokens_out"] > row["tokens_in"])


def read_eval(path: Path) -> dict[str, Row]:
    """The rows that were measured, by id. Raises UsageError for a file of another kind, and for an id that two rows
    have."""
    last: dict[str, Row] = {}
    for number, row in enumerate(read_rows(path), start=1):
        if not isinstance(row.get("key"), str) or not isinstance(row.get("id"), str):
            raise UsageError(f"{path} was not written by scc eval: row {number} has no key and id")
        last[row["key"]] = row
    rows: dict[str, Row] = {}
    for row in last.values():
        if "error" in row:
            continue
        if name := _unfit(row):
            raise UsageError(
                f"{path} was not written by scc eval: the {name} of row {row['id']} is not as it writes it"
            )
        if row["id"] in rows:
            raise UsageError(
                f"{path} has two rows {row['id']}: its data were changed in between",
                hint="evaluate into a new --output",
            )
        rows[row["id"]] = row
    if not rows:
        raise UsageError(f"{path} holds no row that was measured")
    return rows


def _unfit(row: Row) -> str | None:
    """The first field that is not what scc eval writes there."""
    fits: dict[str, Callable[[Any], bool]] = {
        **dict.fromkeys(("input", "output", "domain", "tokenizer"), lambda value: isinstance(value, str)),
        **dict.fromkeys(("ratio", "fidelity", "tokens_in", "tokens_out", "facts", "truncated"), _is_number),
        **dict.fromkeys(("similarity", "equivalence", "seconds"), lambda value: value is None or _is_number(value)),
        "lost": lambda value: isinstance(value, list) and all(map(_is_fact, value)),
    }
    return next((name for name, fit in fits.items() if not fit(row.get(name))), None)


def _is_fact(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(name), kind)
        for name, kind in (("start", int), ("end", int), ("kind", str), ("status", str))
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def shared_rows(evals: Mapping[str, Mapping[str, Row]]) -> list[tuple[Row, ...]]:
    """Rows that all evals have, one entry an eval. Raises UsageError where none is, or they are not of one kind."""
    first, *others = evals.values()
    ids = [name for name in first if all(name in other for other in others)]
    names = ", ".join(evals)
    if not ids:
        raise UsageError(f"{names}: they share no row", hint="evals of the same data can be compared")
    rows = [tuple(each[name] for each in evals.values()) for name in ids]
    for together in rows:
        if len({row["input"] for row in together}) > 1:
            raise UsageError(
                f"row {together[0]['id']} has another input in each of {names}", hint="name evals of one data"
            )
    if len(counted := {row["tokenizer"] for together in rows for row in together}) > 1:
        raise UsageError(
            f"tokens are counted by {' and '.join(sorted(counted))}", hint="use one --tokenizer for both evals"
        )
    if len(metrics := {str(row["metric"]) for together in rows for row in together}) > 1:
        raise UsageError(f"similarity is by {' and '.join(sorted(metrics))}", hint="use the same --embeddings for both")
    return rows


def contrasts(names: Sequence[str], rows: Sequence[Sequence[Row]], *, threshold: float, seed: int) -> list[Contrast]:
    """Each eval against the first; paired by row."""
    found = []
    for n, other in enumerate(names[1:], start=1):
        for aspect in aspects(threshold):
            known = [
                (one, two)
                for together in rows
                if (one := aspect.value(together[0])) is not None and (two := aspect.value(together[n])) is not None
            ]
            if known:
                found.append(_paired(aspect, names[0], other, np.array(known, dtype=np.float64), seed))
    return corrected(found)


def _paired(aspect: Aspect, first: str, other: str, pairs: NDArray[np.float64], seed: int) -> Contrast:
    differences = np.round(pairs[:, 1] - pairs[:, 0], 9)
    better = differences if aspect.better == "higher" else -differences
    low, high = _interval(differences, seed)
    test, p = _mcnemar(differences) if aspect.share else _wilcoxon(differences)
    one, two = (round(float(value), 6) for value in pairs.mean(axis=0))
    return Contrast(
        aspect=aspect.name,
        title=aspect.title,
        better=aspect.better,
        first=first,
        other=other,
        rows=len(pairs),
        value_first=one,
        value_other=two,
        difference=round(float(differences.mean()), 6),
        low=low,
        high=high,
        test=test,
        p=p,
        adjusted=p,
        wins=int((better > _ALIKE).sum()),
        ties=int((abs(better) <= _ALIKE).sum()),
        losses=int((better < -_ALIKE).sum()),
    )


def unpaired(
    first: str, other: str, ours: Sequence[Row], theirs: Sequence[Row], *, threshold: float, seed: int
) -> list[Contrast]:
    """Of evals whose rows are different ones, dealt out at random."""
    found = []
    for aspect in aspects(threshold):
        one, two = (
            np.array([value for row in rows if (value := aspect.value(row)) is not None], dtype=np.float64)
            for rows in (ours, theirs)
        )
        if len(one) and len(two):
            found.append(_apart(aspect, first, other, one, two, seed))
    return corrected(found)


def _apart(
    aspect: Aspect, first: str, other: str, one: NDArray[np.float64], two: NDArray[np.float64], seed: int
) -> Contrast:
    low = high = None
    if min(len(one), len(two)) >= LEAST:
        drawn = [
            np.concatenate([values[each].mean(axis=1) for each in resamples(len(values), seed + n)])
            for n, values in enumerate((one, two))
        ]
        low, high = interval_of(drawn[1] - drawn[0])
    test, p = _fisher(one, two) if aspect.share else _mann_whitney(one, two)
    return Contrast(
        aspect=aspect.name,
        title=aspect.title,
        better=aspect.better,
        first=first,
        other=other,
        rows=len(one) + len(two),
        value_first=round(float(one.mean()), 6),
        value_other=round(float(two.mean()), 6),
        difference=round(float(two.mean() - one.mean()), 6),
        low=low,
        high=high,
        test=test,
        p=p,
        adjusted=p,
    )


def _mann_whitney(one: NDArray[np.float64], two: NDArray[np.float64]) -> tuple[str, float]:
    if len({*one, *two}) == 1:
        return "Mann-Whitney U", 1.0
    return "Mann-Whitney U", float(scipy_stats().mannwhitneyu(one, two).pvalue)


def _fisher(one: NDArray[np.float64], two: NDArray[np.float64]) -> tuple[str, float]:
    counts = [[int(values.sum()), len(values) - int(values.sum())] for values in (one, two)]
    return "Fisher, exact", float(scipy_stats().fisher_exact(counts).pvalue)


def _interval(differences: NDArray[np.float64], seed: int) -> tuple[float | None, float | None]:
    if len(differences) < LEAST:
        return None, None
    drawn = np.concatenate([differences[each].mean(axis=1) for each in resamples(len(differences), seed)])
    return interval_of(drawn)


def interval_of(drawn: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(drawn, (2.5, 97.5))
    return round(float(low), 6), round(float(high), 6)


def _wilcoxon(differences: NDArray[np.float64]) -> tuple[str, float]:
    """Rows on which both are equal say nothing."""
    moved = differences[differences != 0]
    if not len(moved):
        return "Wilcoxon signed-rank", 1.0
    return "Wilcoxon signed-rank", float(scipy_stats().wilcoxon(moved).pvalue)


def _mcnemar(differences: NDArray[np.float64]) -> tuple[str, float]:
    """Exact: of rows on which they differ, as many should turn one way as the other."""
    up, down = int((differences > 0).sum()), int((differences < 0).sum())
    return "McNemar, exact", float(scipy_stats().binomtest(up, up + down, 0.5).pvalue) if up + down else 1.0


def corrected(found: Sequence[Contrast]) -> list[Contrast]:
    """Holm's correction: the smallest p times the number of tests, the next times one fewer, never falling."""
    adjusted: dict[int, float] = {}
    most = 0.0
    ranked = sorted(range(len(found)), key=lambda n: found[n].p)
    for rank, n in enumerate(ranked):
        most = max(most, min(1.0, found[n].p * (len(found) - rank)))
        adjusted[n] = most
    return [
        replace(contrast, p=round(contrast.p, 6), adjusted=round(adjusted[n], 6)) for n, contrast in enumerate(found)
    ]


def differing(rows: Sequence[Sequence[Row]], most: int) -> list[Sequence[Row]]:
    """The rows on which the evals are furthest apart in fidelity, equivalence, similarity and ratio, together; none on
    which they agree."""
    return sorted(filter(apart, rows), key=apart, reverse=True)[:most]


def apart(together: Sequence[Row]) -> float:
    def spread(name: str) -> float:
        values = [row[name] for row in together if row.get(name) is not None]
        return max(values) - min(values) if values else 0.0

    return sum(spread(name) for name in ("fidelity", "equivalence", "similarity", "ratio"))


def scipy_stats() -> Any:
    """Raises MissingExtraError."""
    if find_spec("scipy") is None:
        raise MissingExtraError("scipy", "eval")
    return importlib.import_module("scipy.stats")
