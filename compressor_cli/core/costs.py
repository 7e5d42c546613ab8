"""What ledgers say was spent, by day, command and model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from compressor_cli.core.prices import NANO
from compressor_cli.core.spend import LEDGER, parsed, read_events
from compressor_cli.errors import UsageError


@dataclass
class Spent:
    """Requests that were sent, and not given back. Amounts are in 1e-9 USD, of those requests whose price is known.

    `unsettled` are requests without a known outcome, counted as spent at their highest cost; `unpriced` are those
    whose price is unknown. `cached_tokens` are input tokens from the provider's prompt cache.
    """

    requests: int = 0
    unsettled: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    settled_nano: int = 0
    unsettled_nano: int = 0

    def add(self, reserved: dict[str, Any], outcome: dict[str, Any] | None) -> None:
        self.requests += 1
        last = outcome or reserved
        self.unpriced += last["usd"] is None
        if outcome is None:
            self.unsettled += 1
            self.unsettled_nano += parsed(reserved["usd"])
            return
        usage = outcome["usage"]
        self.input_tokens += usage.get("input_tokens", 0)
        self.cached_tokens += usage.get("cache_read", 0)
        self.output_tokens += usage.get("output_tokens", 0)
        self.settled_nano += parsed(outcome["usd"])

    def plus(self, other: Spent) -> Spent:
        return Spent(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Spent)))

    def as_dict(self) -> dict[str, Any]:
        """Amounts in dollars; null where no price is known of any request that they are of."""
        counts = {field.name: getattr(self, field.name) for field in fields(Spent) if not field.name.endswith("_nano")}
        known = self.unpriced < self.requests or not self.requests
        return counts | {
            "usd_settled": self.settled_nano / NANO if known else None,
            "usd_unsettled": self.unsettled_nano / NANO if known else None,
        }


@dataclass(frozen=True)
class Costs:
    """`rows` by day, command and model, in this order; `torn` names ledgers whose last line was cut off."""

    ledgers: tuple[Path, ...]
    rows: dict[tuple[str, str, str], Spent]
    torn: tuple[Path, ...]

    @property
    def total(self) -> Spent:
        total = Spent()
        for spent in self.rows.values():
            total = total.plus(spent)
        return total

    def as_dict(self) -> dict[str, Any]:
        rows = [
            {"day": day, "command": command, "model": model, **spent.as_dict()}
            for (day, command, model), spent in self.rows.items()
        ]
        return {"ledgers": [str(path) for path in self.ledgers], "rows": rows, "total": self.total.as_dict()}


def collect(places: Sequence[Path]) -> Costs:
    """Of ledgers, and of each `costs.jsonl` in folders. A day is that of the request, in UTC.

    Raises UsageError for what is missing or no ledger, and for a folder without one.
    """
    ledgers = tuple(dict.fromkeys(path.resolve() for place in places for path in _ledgers(place)))
    rows: dict[tuple[str, str, str], Spent] = {}
    torn = []
    for path in ledgers:
        events, cut_off = read_events(path)
        if cut_off:
            torn.append(path)
        reserved: dict[str, dict[str, Any]] = {}
        outcomes: dict[str, dict[str, Any]] = {}
        for event in events:
            (reserved if event["event"] == "reserve" else outcomes).setdefault(event["id"], event)
        for name, event in reserved.items():
            outcome = outcomes.get(name)
            if outcome is None or outcome["event"] == "settle":
                key = event["time"][:10], event["command"], event["model"]
                rows.setdefault(key, Spent()).add(event, outcome)
    return Costs(ledgers, dict(sorted(rows.items())), tuple(torn))


def _ledgers(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        yield place
        return
    found = False
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if LEDGER in names:
            found = True
            yield Path(folder, LEDGER)
    if not found:
        raise UsageError(f"no {LEDGER} in {place}", hint="name a ledger, or a folder that holds one")
