"""Systems compared on the same texts: each measure is a share of sums, with a paired interval of the difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

from compressor_cli.core.metrics import Share, interval_of_shares

LEAST = 5  # texts; a bootstrap of fewer says nothing
RESAMPLES = 2000


@dataclass(frozen=True)
class Outcome:
    """One system on one text, `shares` by measure. `met` is False where its budget was too small for it."""

    shares: Mapping[str, Share]
    tokens_in: int
    tokens_out: float
    budget: int | None = None
    met: bool = True


@dataclass(frozen=True)
class Figure:
    """`value` is None where no text has anything to measure; `texts` have. `difference` is what the first system has
    more, None for the first itself; `interval` holds it with 95 %, None from fewer than `LEAST` texts."""

    value: float | None
    texts: int
    difference: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Standing:
    """One system, over the texts for which all of them met the budget."""

    system: str
    figures: dict[str, Figure]


@dataclass(frozen=True)
class Unmet:
    """A system that refused `texts` for their budget. `value`: its first measure with nothing kept of those."""

    system: str
    texts: int
    tokens: int
    value: float | None


def all_met(outcomes: Mapping[str, Sequence[Outcome]]) -> list[bool]:
    """By text: whether every system has a result. A system has an outcome for every text, in the same order."""
    return [all(outcome.met for outcome in together) for together in zip(*outcomes.values(), strict=True)]


def compare(outcomes: Mapping[str, Sequence[Outcome]], seed: int) -> tuple[Standing, ...]:
    """All against the first system."""
    met = all_met(outcomes)
    found = {name: list(compress(each, met)) for name, each in outcomes.items()}
    first, measures = next(iter(found.values())), next(iter(outcomes.values()))[0].shares
    return tuple(
        Standing(system, {name: _figure(first, each, name, seed) for name in measures})
        for system, each in found.items()
    )


def refusals(outcomes: Mapping[str, Sequence[Outcome]]) -> tuple[Unmet, ...]:
    measure = next(iter(next(iter(outcomes.values()))[0].shares))
    unmet = (_unmet(system, found, measure) for system, found in outcomes.items())
    return tuple(each for each in unmet if each.texts)


def _unmet(system: str, found: Sequence[Outcome], measure: str) -> Unmet:
    refused = [outcome for outcome in found if not outcome.met]
    tokens = sum(outcome.tokens_in for outcome in refused)
    return Unmet(system, len(refused), tokens, share_of([outcome.shares[measure] for outcome in found]))


def _figure(first: Sequence[Outcome], found: Sequence[Outcome], name: str, seed: int) -> Figure:
    ours, theirs = ([outcome.shares[name] for outcome in which] for which in (first, found))
    pairs = [pair for pair in zip(ours, theirs, strict=True) if pair[0][1] or pair[1][1]]
    value, best = share_of([their for _, their in pairs]), share_of([our for our, _ in pairs])
    if value is None or best is None or found is first:
        return Figure(value, len(pairs))
    interval = None
    if len(pairs) >= LEAST:
        mine, others = [our for our, _ in pairs], [their for _, their in pairs]
        interval = interval_of_shares(mine, others, resamples=RESAMPLES, seed=seed)
    return Figure(value, len(pairs), best - value, interval)


def share_of(shares: Sequence[Share]) -> float | None:
    whole = sum(whole for _, whole in shares)
    return sum(part for part, _ in shares) / whole if whole else None
