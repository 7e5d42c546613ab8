"""The ledger of a file of generated rows: asked = accepted + rejected + failed + pending, for each job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Tally:
    """`reasons` counts rejected rows by each of their reasons; `cost_usd` is None where a price is not known.

    `failure` is the error of the failed row that came last. `exhausted`: the source of the job has no more to give.
    """

    name: str
    target: int | None
    accepted: int = 0
    rejected: int = 0
    failed: int = 0
    pending: int = 0
    cached: int = 0
    cost_usd: float | None = 0.0
    reasons: dict[str, int] = field(default_factory=dict)
    failure: str | None = None
    exhausted: bool = False

    @property
    def asked(self) -> int:
        return self.accepted + self.rejected + self.failed + self.pending

    @property
    def short(self) -> int:
        """Accepted rows that the target lacks."""
        return max((self.target or 0) - self.accepted, 0)

    @property
    def share(self) -> float | None:
        """Of the rows that were answered those that are accepted."""
        done = self.accepted + self.rejected
        return round(self.accepted / done, 4) if done else None

    @property
    def missed(self) -> int:
        """Failed rows that count: where a target is met, others have taken their place."""
        return self.failed if self.target is None or self.short else 0

    def add(self, row: Mapping[str, Any]) -> None:
        if row["status"] == "accepted":
            self.accepted += 1
        else:
            self.rejected += 1
            count_reasons(row, self.reasons)
        self.cached += row["cached"]
        cost = row["cost_usd"]
        self.cost_usd = None if cost is None or self.cost_usd is None else round(self.cost_usd + cost, 9)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"asked": self.asked, "short": self.short, "yield": self.share}


def count_reasons(row: Mapping[str, Any], counts: dict[str, int]) -> None:
    """Each reason of a rejected row once; of a row from elsewhere those that have the form."""
    found = row.get("reasons")
    listed = found if isinstance(found, list) else []
    for reason in {str(one.get("reason")) for one in listed if isinstance(one, Mapping)}:
        counts[reason] = counts.get(reason, 0) + 1


def count_rows(rows: Iterable[Mapping[str, Any]], tallies: Mapping[str, Tally]) -> None:
    """The last row of a key counts. Only a failed one is ever superseded, so that nothing else has to be kept."""
    failed: dict[str, tuple[Tally, str]] = {}
    for row in rows:
        tally = tallies[row["job"]]
        if "error" in row:
            failed[row["key"]] = tally, row["error"]
        else:
            failed.pop(row["key"], None)
            tally.add(row)
    for tally, error in failed.values():
        tally.failed += 1
        tally.failure = error


def total(name: str, tallies: Sequence[Tally]) -> Tally:
    """Of all of them; it has a target where each has one."""
    costs = [one.cost_usd for one in tallies]
    targets = [one.target for one in tallies]
    summed = Tally(name, None if None in targets else sum(target or 0 for target in targets))
    for which in ("accepted", "rejected", "failed", "pending", "cached"):
        setattr(summed, which, sum(getattr(one, which) for one in tallies))
    summed.cost_usd = None if None in costs else round(sum(cost or 0 for cost in costs), 9)
    summed.exhausted = all(one.exhausted for one in tallies)
    for one in tallies:
        for reason, count in one.reasons.items():
            summed.reasons[reason] = summed.reasons.get(reason, 0) + count
    return summed
