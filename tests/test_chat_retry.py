"""Retries, adaptive concurrency and the fallback: on a clock of the test's own, and once with the real SDKs."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable
from dataclasses import replace

import pytest
from provider_server import Reply, serving

from compressor_cli.chat import Chat
from compressor_cli.chat.clients import open_chat
from compressor_cli.chat.fallback import FallbackChat
from compressor_cli.chat.retry import Limiter, RetryingChat
from compressor_cli.errors import (
    BadRequestError,
    ChatError,
    QuotaError,
    RateLimitedError,
    SccError,
    SpendCapError,
    UnavailableError,
    UsageError,
)
from compressor_cli.records import ChatMessage, ChatReply, ChatRequest, Usage
from compressor_cli.settings import ChatSettings

REQUEST = ChatRequest((ChatMessage("user", "Hello."),))
ANSWER = ChatReply("Yes.", "m", "r", "end", Usage(1, 1), 0.1)
SETTINGS = ChatSettings(attempts=4, retry_after=60, retry_total=100)


class Clock:
    """Time passes only by sleeping; whoever has the earliest alarm wakes first."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self._alarms: list[tuple[float, int, asyncio.Event]] = []
        self._numbers = itertools.count()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        rung = asyncio.Event()
        self._alarms.append((self.now + seconds, next(self._numbers), rung))
        await rung.wait()

    async def run(self, *asks: Awaitable[object]) -> list[object]:
        done = asyncio.gather(*asks, return_exceptions=True)
        while True:
            for _ in range(50):
                await asyncio.sleep(0)
            if done.done():
                return list(await done)
            assert self._alarms, "nobody sleeps, and nobody is done"
            alarm = min(self._alarms)
            self._alarms.remove(alarm)
            self.now = max(self.now, alarm[0])
            alarm[2].set()


class Scripted:
    """Takes a second for each answer, which is the next of the script; after that all is well."""

    name = "test:model"

    def __init__(self, clock: Clock, *script: SccError) -> None:
        self.clock = clock
        self.script = list(script)
        self.sent: list[float] = []
        self.out = self.most_out = 0
        self.closed = False

    async def ask(self, request: ChatRequest) -> ChatReply:
        self.sent.append(self.clock.now)
        self.out += 1
        self.most_out = max(self.out, self.most_out)
        failure = self.script.pop(0) if self.script else None
        try:
            await self.clock.sleep(1)
        finally:
            self.out -= 1
        if failure is not None:
            raise failure
        return ANSWER

    async def aclose(self) -> None:
        self.closed = True


def retrying(inner: Chat, clock: Clock, most: int = 8, settings: ChatSettings = SETTINGS) -> RetryingChat:
    limiter = Limiter(most, sleep=clock.sleep, clock=clock)
    return RetryingChat(inner, limiter, settings, sleep=clock.sleep, clock=clock, chance=lambda: 0.5)


def run(*script: SccError, settings: ChatSettings = SETTINGS) -> tuple[object, Scripted]:
    clock = Clock()
    inner = Scripted(clock, *script)

    async def once() -> object:
        (result,) = await clock.run(retrying(inner, clock, settings=settings).ask(REQUEST))
        return result

    return asyncio.run(once()), inner


def limited(seconds: float | None = None) -> RateLimitedError:
    return RateLimitedError("slow down", retry_after=seconds)


DOWN = UnavailableError("down")


@pytest.mark.parametrize(
    ("script", "sent"),
    [
        ([], [0]),
        ([DOWN, DOWN, limited()], [0, 1.5, 3.5, 6.5]),  # half of 1, 2 and 4 seconds after an answer of one second
        ([limited(7)], [0, 8]),
        ([limited(0)], [0, 1.5]),  # not at once, whatever the provider says
        ([limited(1000)], [0, 61]),  # the cap
        ([UnavailableError("busy", retry_after=5)], [0, 6]),
    ],
)
def test_when_it_is_tried_again(script: list[SccError], sent: list[float]) -> None:
    result, inner = run(*script)
    assert result == ANSWER
    assert inner.sent == sent


def test_the_jitter_is_full_and_the_delay_has_an_end() -> None:
    inner, limiter = Scripted(Clock()), Limiter(1)
    assert RetryingChat(inner, limiter, SETTINGS, chance=lambda: 0.0)._backoff(9) == 0
    chat = RetryingChat(inner, limiter, SETTINGS, chance=lambda: 1.0)
    assert [chat._backoff(attempt) for attempt in (1, 2, 3, 30)] == [1, 2, 4, 60]


def test_attempts_and_time_have_a_limit() -> None:
    last = UnavailableError("the last", maybe_charged=True)
    assert run(DOWN, DOWN, DOWN, last)[0] is last
    result, inner = run(limited(60), too_late := limited(60))
    assert result is too_late  # another minute would pass the total of 100 seconds: said now, not then
    assert inner.sent == [0, 61]


@pytest.mark.parametrize(
    "failure", [BadRequestError("no"), QuotaError("spent"), UsageError("key"), SpendCapError("cap"), ChatError("?")]
)
def test_what_is_never_tried_again(failure: SccError) -> None:
    result, inner = run(failure)
    assert result is failure and inner.sent == [0]


def test_once_the_quota_is_gone_nothing_is_sent() -> None:
    clock = Clock()
    inner = Scripted(clock, QuotaError("spent"))

    async def go() -> list[object]:
        chat = retrying(inner, clock, most=1)
        return await clock.run(*(chat.ask(REQUEST) for _ in range(5)))

    results = asyncio.run(go())
    assert [str(result) for result in results] == ["spent"] * 5
    assert all(isinstance(result, QuotaError) for result in results)
    assert inner.sent == [0]


def many(asks: int, most: int, *script: SccError) -> tuple[list[object], Scripted, RetryingChat]:
    clock = Clock()
    inner = Scripted(clock, *script)
    chat = retrying(inner, clock, most, replace_settings(attempts=20, retry_total=10_000))

    async def go() -> list[object]:
        return await clock.run(*(chat.ask(REQUEST) for _ in range(asks)))

    return asyncio.run(go()), inner, chat


def replace_settings(**changes: float) -> ChatSettings:
    return SETTINGS.model_copy(update=changes)


def test_no_more_than_the_concurrency_are_out() -> None:
    results, inner, chat = many(20, 8)
    assert results == [ANSWER] * 20
    assert inner.most_out == 8 and inner.sent == [0] * 8 + [1] * 8 + [2] * 4
    assert chat.limiter.slots == 8


def test_a_burst_of_rate_limits_halves_the_concurrency_once() -> None:
    results, inner, chat = many(8, 8, *(limited(10) for _ in range(8)))
    assert results == [ANSWER] * 8
    assert inner.sent[8:] == [11] * 4 + [12] * 4  # all waited, then four at a time
    assert 4 < chat.limiter.slots < 8


def test_concurrency_never_falls_below_one_and_comes_back() -> None:
    results, inner, chat = many(60, 8, *(limited(1) for _ in range(8 + 4 + 2 + 1 + 1)))
    assert results == [ANSWER] * 60
    assert chat.limiter.slots == 8
    sent = inner.sent[16:]
    at_once = [len(list(group)) for _, group in itertools.groupby(sent)]
    assert at_once[0] == 1 and max(at_once) == 8
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(at_once))  # up by one a round


@pytest.mark.parametrize("failure", [limited(10), UnavailableError("busy", retry_after=10)])
def test_everyone_waits_while_a_retry_after_runs(failure: SccError) -> None:
    results, inner, _ = many(6, 2, failure)
    assert results == [ANSWER] * 6
    assert inner.sent[:2] == [0, 0] and min(inner.sent[2:]) == 11


def test_answers_to_what_was_sent_before_a_cut_do_not_raise_it() -> None:
    limiter = Limiter(8)

    async def go() -> None:
        tickets = [await limiter.acquire() for _ in range(8)]
        limiter.limited(tickets[3])
        for ticket in tickets:
            limiter.succeeded(ticket)
        assert limiter.slots == 4
        limiter.limited(tickets[7])
        assert limiter.slots == 4
        for _ in tickets:
            limiter.release()
        later = await limiter.acquire()
        limiter.succeeded(later)
        assert limiter.slots == 4.25
        limiter.limited(later)
        assert limiter.slots == 2.125

    asyncio.run(go())


def test_who_is_cancelled_gives_the_slot_back() -> None:
    clock = Clock()
    limiter = Limiter(1, sleep=clock.sleep, clock=clock)

    async def go() -> None:
        await limiter.acquire()
        first, second, third = (asyncio.ensure_future(limiter.acquire()) for _ in range(3))
        await asyncio.sleep(0)
        first.cancel()  # while it waits
        limiter.release()  # passes over the cancelled one, which does not know yet, to the second
        second.cancel()  # in the moment in which it got the slot
        await asyncio.wait([first, second])
        assert first.cancelled() and second.cancelled()
        await asyncio.wait_for(third, 1)
        limiter.pause(10)
        limiter.release()
        paused = asyncio.ensure_future(limiter.acquire())
        await asyncio.sleep(0)
        paused.cancel()
        await asyncio.wait([paused])
        clock.now = 20
        await asyncio.wait_for(limiter.acquire(), 1)

    asyncio.run(go())


def test_a_cancelled_ask_releases_its_slot() -> None:
    clock = Clock()
    inner = Scripted(clock)

    async def go() -> list[object]:
        chat = retrying(inner, clock, most=2)
        asks = [asyncio.ensure_future(chat.ask(REQUEST)) for _ in range(6)]
        await asyncio.sleep(0)
        for task in (asks[0], asks[3]):
            task.cancel()
        return await clock.run(*asks)

    results = asyncio.run(go())
    assert [type(result).__name__ for result in results].count("CancelledError") == 2
    assert results.count(ANSWER) == 4 and inner.most_out == 2


# --- fallback


def fall_back(first: Chat, second: Chat, *, asks: int = 2) -> tuple[list[object], list[str]]:
    notes: list[str] = []
    chat = FallbackChat(first, second, notes.append)
    assert chat.name == first.name

    async def go() -> list[object]:
        results = [(await asyncio.gather(chat.ask(REQUEST), return_exceptions=True))[0] for _ in range(asks)]
        await chat.aclose()
        return list(results)

    return asyncio.run(go()), notes


class Always:
    def __init__(self, name: str, result: ChatReply | SccError) -> None:
        self.name, self.result, self.asked, self.closed = name, result, 0, False

    async def ask(self, request: ChatRequest) -> ChatReply:
        self.asked += 1
        if isinstance(self.result, ChatReply):
            return self.result
        raise self.result

    async def aclose(self) -> None:
        self.closed = True


SECOND = replace(ANSWER, model="second")


@pytest.mark.parametrize(
    ("failure", "note"),
    [
        (QuotaError("a:m: 429: spent"), "a:m: 429: spent; from here on b:m answers"),
        (DOWN, "a:m is not to be had at times; b:m answers in its place"),
        (limited(), "a:m is not to be had at times; b:m answers in its place"),
    ],
)
def test_the_second_answers(failure: SccError, note: str) -> None:
    first, second = Always("a:m", failure), Always("b:m", SECOND)
    assert fall_back(first, second) == ([SECOND, SECOND], [note])
    assert first.closed and second.closed


@pytest.mark.parametrize("result", [ANSWER, BadRequestError("no"), UsageError("key"), SpendCapError("cap")])
def test_the_second_is_not_asked(result: ChatReply | SccError) -> None:
    first, second = Always("a:m", result), Always("b:m", SECOND)
    assert fall_back(first, second) == ([result, result], [])
    assert second.asked == 0


def test_when_neither_answers_the_second_says_why() -> None:
    results, _ = fall_back(Always("a:m", DOWN), Always("b:m", QuotaError("spent too")), asks=1)
    assert str(results[0]) == "spent too"


# --- with the real SDKs


def test_the_layers_together(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = {"error": {"message": "spent", "type": "insufficient_quota", "code": "insufficient_quota"}}
    notes: list[str] = []
    metered: list[str] = []

    class Meter:
        def __init__(self, chat: Chat) -> None:
            self.name, self._chat = chat.name, chat

        async def ask(self, request: ChatRequest) -> ChatReply:
            metered.append(self.name)
            return await self._chat.ask(request)

        async def aclose(self) -> None:
            await self._chat.aclose()

    async def go() -> list[ChatReply]:
        settings = ChatSettings(fallback="anthropic:claude-test", concurrency=1)
        limiters: dict[str, Limiter] = {}
        chat = open_chat("openai:gpt-test", settings, notes.append, meter=Meter, limiters=limiters)
        again = open_chat("openai:gpt-test", settings, notes.append, limiters=limiters)
        assert list(limiters) == ["openai:gpt-test", "anthropic:claude-test"]
        try:
            return [await chat.ask(replace(REQUEST, sample=sample)) for sample in (0, 1, 2, 2)]
        finally:
            await chat.aclose()
            await again.aclose()

    with serving() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        server.script.extend([Reply(429, "slow", {"retry-after-ms": "1"}), Reply(200, b"{"), Reply(500, "broken")])
        monkeypatch.setattr("compressor_cli.chat.retry.FIRST_DELAY", 0.01)
        monkeypatch.setattr(server, "answer", lambda request: request.provider)
        server.script.append(Reply(429, spent))
        replies = asyncio.run(go())
    assert [reply.text for reply in replies] == ["anthropic"] * 4
    assert [reply.model for reply in replies] == ["claude-test"] * 4
    assert [reply.cached for reply in replies] == [False, False, False, True]
    assert metered == ["openai:gpt-test"] * 4 + ["anthropic:claude-test"] * 3
    assert [request.provider for request in server.requests] == ["openai"] * 4 + ["anthropic"] * 3
    assert len(notes) == 1 and notes[0].endswith("from here on anthropic:claude-test answers")
