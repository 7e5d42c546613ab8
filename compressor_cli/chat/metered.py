"""A chat whose every request is in the ledger: its highest cost is reserved before, what it did cost settled after."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from compressor_cli.chat import Chat
from compressor_cli.core.prices import NANO, Price, Prices
from compressor_cli.core.spend import Ledger
from compressor_cli.errors import BadRequestError, QuotaError, RateLimitedError, UnavailableError, UsageError
from compressor_cli.records import ChatReply, ChatRequest


class Metered:
    """What no answer tells of stays counted as spent: a request that was cancelled, or cut off on its way.

    Only an error by which the provider refused the request, or was never reached, gives the reservation back.
    """

    def __init__(
        self, chat: Chat, ledger: Ledger, prices: Prices, *, command: str, allow_unpriced: bool = False
    ) -> None:
        self._chat, self._ledger, self._command = chat, ledger, command
        self._price = price_of(chat.name, ledger, prices, allow_unpriced=allow_unpriced)

    @property
    def name(self) -> str:
        return self._chat.name

    async def ask(self, request: ChatRequest) -> ChatReply:
        """Raises SpendCapError before a request that could pass the cap."""
        price = self._price and self._price.at(date.today())
        bound = price.bound(request) if price else None
        reservation = await self._ledger.reserve(bound, model=self.name, command=self._command)
        try:
            reply = await self._chat.ask(request)
        except BaseException as exc:
            if _uncharged(exc):
                self._ledger.release(reservation)
            else:
                self._ledger.keep(reservation)
            raise
        counted = reply.usage.input_tokens or reply.usage.output_tokens
        cost = price.cost(reply.usage) if price and counted else bound
        self._ledger.settle(reservation, cost, reply)
        return replace(reply, cost_usd=None if cost is None else cost / NANO)

    async def aclose(self) -> None:
        await self._chat.aclose()


def price_of(name: str, ledger: Ledger, prices: Prices, *, allow_unpriced: bool) -> Price | None:
    """Raises UsageError for a model without a known price under a cap, unless `allow_unpriced`."""
    price = prices.find(name)
    if price is None and ledger.budget is not None and not allow_unpriced:
        raise UsageError(
            f"no price is known for {name} (list of {prices.as_of}), so --budget-usd cannot hold",
            hint="--prices FILE gives it one, in the form of compressor_cli/assets/prices.yaml; "
            "--allow-unpriced leaves its requests out of the budget",
        )
    return price


def _uncharged(exc: BaseException) -> bool:
    if isinstance(exc, UnavailableError):
        return not exc.maybe_charged
    return isinstance(exc, RateLimitedError | BadRequestError | QuotaError | UsageError)
