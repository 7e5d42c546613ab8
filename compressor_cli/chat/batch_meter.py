"""The costs of what is in batches: reserved before one is submitted, settled by its results, in whatever process.

A reservation has the custom id of its request for a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from compressor_cli.chat.batch_service import Outcome
from compressor_cli.core.batches import Batch
from compressor_cli.core.prices import NANO, Price
from compressor_cli.core.spend import Ledger
from compressor_cli.errors import SccError, SpendCapError, UnavailableError
from compressor_cli.records import ChatReply, ChatRequest


class BatchMeter:
    def __init__(self, ledger: Ledger, price: Price | None, *, command: str) -> None:
        self._ledger, self._price, self._command = ledger, price, command

    def reserve(self, batch: Batch, requests: Sequence[ChatRequest]) -> tuple[int, SpendCapError | None]:
        """How many of the requests, from the first on, fit under the cap, and what is said of the next one."""
        price = self._on(batch)
        for number, request in enumerate(requests):
            bound = price.bound(request, batch=True) if price else None
            try:
                self._ledger.reserve_now(bound, model=batch.model, command=self._command, name=batch.custom_id(number))
            except SpendCapError as exc:
                return number, exc
        return len(requests), None

    def settle(self, batch: Batch, outcome: Outcome) -> ChatReply | SccError:
        """The reply with its cost, or the error."""
        if outcome.reply is None:
            assert outcome.error is not None
            if charged(outcome.error):
                self._ledger.keep(outcome.custom_id)
            else:
                self._ledger.release(outcome.custom_id)
            return outcome.error
        price = self._on(batch)
        cost = price.cost(outcome.reply.usage, batch=True) if price else None
        self._ledger.settle(outcome.custom_id, cost, outcome.reply)
        seconds = round((datetime.now(UTC) - batch.time).total_seconds(), 3)
        return replace(outcome.reply, cost_usd=None if cost is None else cost / NANO, seconds=seconds)

    def release(self, batch: Batch) -> None:
        for number in range(len(batch.keys)):
            self._ledger.release(batch.custom_id(number))

    def _on(self, batch: Batch) -> Price | None:
        return self._price and self._price.at(batch.time.date())


def charged(error: Exception) -> bool:
    return isinstance(error, UnavailableError) and error.maybe_charged
