"""The one retry layer, and how many requests to a model are out at once."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import TypeVar

from compressor_cli.chat import Chat
from compressor_cli.errors import QuotaError, RateLimitedError, UnavailableError
from compressor_cli.records import ChatReply, ChatRequest
from compressor_cli.settings import ChatSettings

FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0  # seconds; the first doubles until it is the longest

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]


class Limiter:
    """Slots for requests to one model, shared by all who ask it; first come, first served.

    A 429 halves their number, once for all requests that were sent before the cut; answers to requests sent since then
    bring it back up, by one slot a round. While a Retry-After runs nobody sends.
    """

    def __init__(self, most: int, *, sleep: Sleep = asyncio.sleep, clock: Clock = time.monotonic) -> None:
        self.most = most
        self.slots = float(most)
        self._sleep, self._clock = sleep, clock
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._tickets = count(1)
        self._first_since_cut = 1
        self._open_at = -float("inf")

    async def acquire(self) -> int:
        """A slot, and the ticket that `succeeded` and `limited` want; `release` gives the slot back."""
        if self._taken >= int(self.slots):
            await self._wait()
        else:
            self._taken += 1
        try:
            while (left := self._open_at - self._clock()) > 0:
                await self._sleep(left)
        except BaseException:
            self.release()
            raise
        return next(self._tickets)

    def release(self) -> None:
        self._taken -= 1
        self._wake()

    def succeeded(self, ticket: int) -> None:
        if ticket >= self._first_since_cut:
            self.slots = min(float(self.most), self.slots + 1 / self.slots)
            self._wake()

    def limited(self, ticket: int) -> None:
        if ticket >= self._first_since_cut:
            self.slots = max(1.0, self.slots / 2)
            self._first_since_cut = next(self._tickets)

    def pause(self, seconds: float) -> None:
        self._open_at = max(self._open_at, self._clock() + seconds)

    async def _wait(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.release()  # the slot came in the moment of the cancellation
            else:
                with suppress(ValueError):  # `_wake` may have passed over it already
                    self._waiting.remove(turn)
            raise

    def _wake(self) -> None:
        while self._waiting and self._taken < int(self.slots):
            turn = self._waiting.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)


class Retries:
    """Tries again where that can help: too much at once, or out of order. Once the quota is gone, nothing is sent."""

    def __init__(
        self,
        limiter: Limiter,
        settings: ChatSettings,
        *,
        sleep: Sleep = asyncio.sleep,
        clock: Clock = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.limiter = limiter
        self._settings = settings
        self._sleep, self._clock, self._chance = sleep, clock, chance
        self._spent: QuotaError | None = None

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        until: float | None = None  # from the first sending on: to wait for a slot is no attempt
        for attempt in count(1):
            ticket = await self.limiter.acquire()
            if until is None:
                until = self._clock() + self._settings.retry_total
            try:
                if self._spent is not None:
                    raise QuotaError(str(self._spent), hint=self._spent.hint)
                done = await work()
            except QuotaError as exc:
                self._spent = exc
                raise
            except (RateLimitedError, UnavailableError) as exc:
                delay = max(self._told_to_wait(exc, ticket), self._backoff(attempt))
                failure = exc
            else:
                self.limiter.succeeded(ticket)
                return done
            finally:
                self.limiter.release()
            if attempt >= self._settings.attempts or self._clock() + delay > until:
                raise failure
            await self._sleep(delay)
        raise AssertionError("count() has no end")

    def _backoff(self, attempt: int) -> float:
        return self._chance() * min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (attempt - 1))

    def _told_to_wait(self, exc: RateLimitedError | UnavailableError, ticket: int) -> float:
        """How long the provider asks us to wait, within the cap; all others wait too."""
        if isinstance(exc, RateLimitedError):
            self.limiter.limited(ticket)
        delay = min(exc.retry_after or 0.0, self._settings.retry_after)
        self.limiter.pause(delay)
        return delay


class RetryingChat(Retries):
    def __init__(
        self,
        chat: Chat,
        limiter: Limiter,
        settings: ChatSettings,
        *,
        sleep: Sleep = asyncio.sleep,
        clock: Clock = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(limiter, settings, sleep=sleep, clock=clock, chance=chance)
        self.name = chat.name
        self._chat = chat

    async def ask(self, request: ChatRequest) -> ChatReply:
        return await self.run(lambda: self._chat.ask(request))

    async def aclose(self) -> None:
        await self._chat.aclose()
