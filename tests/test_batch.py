"""Requests in batches, with the real SDKs against a loopback provider."""

from __future__ import annotations

import asyncio
import gc
import json
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from provider_batches import Desk, desk_of
from provider_server import KEY, ProviderServer, Reply, serving

from compressor_cli.chat import Chat
from compressor_cli.chat.batch_control import BatchControl
from compressor_cli.chat.batches import Batches, refuse_open
from compressor_cli.core.batches import Batch, BatchJournal
from compressor_cli.core.prices import NANO, load_prices, nano
from compressor_cli.core.spend import Ledger, read_events
from compressor_cli.engines.teacher import open_teacher
from compressor_cli.errors import (
    BadRequestError,
    ChatError,
    DetachedError,
    QuotaError,
    SpendCapError,
    UnavailableError,
    UsageError,
)
from compressor_cli.records import ChatMessage, ChatReply, ChatRequest
from compressor_cli.settings import ChatSettings, Settings, SpendSettings

MODELS = {"anthropic": "anthropic:claude-haiku-4-5", "openai": "openai:gpt-4.1"}
CREATE = {"anthropic": "/v1/messages/batches", "openai": "/v1/batches"}
every = pytest.mark.parametrize("provider", MODELS)
QUICK = {"batch_wait": 0.05, "batch_poll": 0.02, "batch_poll_most": 0.05, "batch_grace": 0.2, "timeout": 5.0}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with serving() as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        running.answer = lambda request: f"answer to {request.body['messages'][-1]['content']}"
        yield running


@pytest.fixture
def desk(server: ProviderServer) -> Desk:
    return desk_of(server)


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compressor_cli.chat.retry.FIRST_DELAY", 0.01)


def request(number: int, **changes: Any) -> ChatRequest:
    return ChatRequest((ChatMessage("user", f"question {number}"),), max_tokens=50, **changes)


class Run:
    """One run of a command, as far as batches are concerned."""

    def __init__(self, work: Path, provider: str, **changes: Any) -> None:
        self.path = work / "out.jsonl.batches.jsonl"
        self.ledger_path = work / "costs.jsonl"
        self.budget: float | None = changes.pop("budget", None)
        self.settings = Settings(
            chat=ChatSettings(**{"cache_dir": work / "cache", **QUICK, **changes}), spend=SpendSettings()
        )
        self.name = MODELS.get(provider, provider)
        self.notes: list[str] = []
        self.batches: Batches

    def do(self, use: Callable[[Chat], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            asyncio.get_running_loop().set_exception_handler(_but_killed)
            budget = None if self.budget is None else nano(self.budget)
            with Batches(self.path) as self.batches, Ledger(self.ledger_path, budget=budget) as ledger:
                chat = open_teacher(
                    self.name,
                    self.settings,
                    ledger,
                    load_prices(),
                    command="test",
                    note=self.notes.append,
                    limiters={},
                    batches=self.batches,
                )
                try:
                    return await asyncio.wait_for(use(chat), 20)
                finally:
                    await chat.aclose()

        return asyncio.run(run())

    def ask(self, *requests: ChatRequest) -> list[ChatReply | BaseException]:
        async def use(chat: Chat) -> Any:
            return await asyncio.gather(*map(chat.ask, requests), return_exceptions=True)

        return list(self.do(use))

    def texts(self, *numbers: int) -> list[str]:
        return [told(one) for one in self.ask(*map(request, numbers))]

    def settled(self) -> int:
        """All reservations are settled or released, each once, and the budget is never passed; what they came to."""
        events, torn = read_events(self.ledger_path)
        assert torn == 0
        unsettled: dict[str, int] = {}
        settled = 0
        for event in events:
            usd = round((event.get("usd") or 0) * NANO)
            if event["event"] == "reserve":
                assert event["id"] not in unsettled
                unsettled[event["id"]] = usd
            else:
                del unsettled[event["id"]]
                settled += usd if event["event"] == "settle" else 0
            assert self.budget is None or settled + sum(unsettled.values()) <= nano(self.budget)
        assert not unsettled
        return settled

    def truth(self, desk: Desk) -> int:
        price = load_prices().find(self.name)
        assert price is not None
        return sum(price.cost(usage, batch=True) for usage in desk.charged)


class Killed(SystemExit):
    """As if the process ended here."""


def _but_killed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Nobody asks a task that was killed for its exception. It must not be logged when the task is collected, in the
    middle of whatever runs then: formatting a traceback parses, and CPython 3.11 cannot do that within `ast.parse`."""
    if not isinstance(context.get("exception"), Killed):
        loop.default_exception_handler(context)


def told(one: ChatReply | BaseException) -> str:
    if isinstance(one, ChatReply):
        return one.text
    if not isinstance(one, ChatError):
        raise one
    return type(one).__name__


def answers(*numbers: int) -> list[str]:
    return [f"answer to question {number}" for number in numbers]


def kinds(path: Path) -> list[str]:
    return [json.loads(line)["event"] for line in path.read_bytes().splitlines()]


@every
def test_many_questions_are_one_batch(provider: str, server: ProviderServer, desk: Desk, work: Path) -> None:
    run = Run(work, provider)
    desk.seconds = 0.2
    replies = run.ask(*[request(n, system="Be brief.") for n in range(40)])
    assert [told(one) for one in replies] == answers(*range(40))
    (batch,) = desk.batches.values()
    assert len(batch.bodies) == 40 and all(len(name) <= 64 for name in batch.bodies)
    first = replies[0]
    assert isinstance(first, ChatReply) and not first.cached and first.request_id and first.seconds >= 0.2
    assert first.model == MODELS[provider].partition(":")[2]
    costs = [reply.cost_usd for reply in replies if isinstance(reply, ChatReply)]
    assert round(sum(cost or 0 for cost in costs) * NANO) == run.settled() == run.truth(desk) > 0
    assert kinds(run.path) == ["intent", "submitting", "submitted", "ended"]
    assert not any("/single" in sent.path for sent in server.requests)


@every
def test_the_price_is_that_of_a_batch(provider: str, desk: Desk, work: Path) -> None:
    run = Run(work, provider)
    (reply,) = run.ask(request(1))
    price = load_prices().find(run.name)
    assert isinstance(reply, ChatReply) and price is not None
    full = price.cost(reply.usage)
    assert reply.cost_usd is not None and abs(reply.cost_usd * NANO * 2 - full) <= 2


@every
def test_what_is_cached_is_not_sent(provider: str, desk: Desk, work: Path) -> None:
    assert Run(work, provider).texts(1, 2) == answers(1, 2)
    again = Run(work, provider)
    assert again.texts(1, 2, 3) == answers(1, 2, 3)
    assert [len(batch.bodies) for batch in desk.batches.values()] == [2, 1]


@every
def test_equal_requests_are_sent_and_paid_once(provider: str, desk: Desk, work: Path) -> None:
    run = Run(work, provider)
    one, other, third = run.ask(request(1), request(1), request(1, sample=1))
    assert isinstance(one, ChatReply) and isinstance(other, ChatReply) and isinstance(third, ChatReply)
    assert len(desk.submitted) == 2
    assert (one.cached, other.cached, other.cost_usd, third.cached) == (False, True, 0.0, False)
    assert run.settled() == run.truth(desk)


@every
def test_a_batch_has_no_more_than_the_provider_takes(
    provider: str, desk: Desk, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = f"compressor_cli.chat.batch_{provider}.{'Anthropic' if provider == 'anthropic' else 'OpenAI'}Batches"
    monkeypatch.setattr(f"{owner}.most_requests", 4)
    assert Run(work, provider).texts(*range(10)) == answers(*range(10))
    assert sorted(len(batch.bodies) for batch in desk.batches.values()) == [2, 4, 4]
    monkeypatch.setattr(f"{owner}.most_bytes", 700)
    texts = Run(work, provider).texts(*range(10, 14))
    assert texts == answers(*range(10, 14))
    assert max(len(batch.bodies) for batch in list(desk.batches.values())[3:]) < 4


@every
def test_expired_and_cancelled_rows_go_into_another_batch(provider: str, desk: Desk, work: Path) -> None:
    fates = iter(["expired", "succeeded", "canceled", "500"])
    desk.fate = lambda custom_id, body: next(fates, "succeeded")
    run = Run(work, provider)
    assert run.texts(1, 2, 3, 4) == answers(1, 2, 3, 4)
    assert [len(batch.bodies) for batch in desk.batches.values()] == [4, 3]
    assert run.settled() == run.truth(desk)


def test_an_error_without_a_reason_is_tried_again(desk: Desk, work: Path) -> None:
    desk.fate = lambda custom_id, body: "errored" if len(desk.batches) == 1 else "succeeded"
    run = Run(work, "anthropic")
    assert run.texts(1, 2) == answers(1, 2)
    assert len(desk.batches) == 2 and run.settled() == run.truth(desk)


@every
def test_rows_that_expire_again_and_again_are_recorded(provider: str, desk: Desk, work: Path) -> None:
    desk.fate = lambda custom_id, body: "expired" if "question 1" in json.dumps(body) else "succeeded"
    run = Run(work, provider, batch_attempts=2)
    lost, found = run.ask(request(1), request(2))
    assert isinstance(lost, UnavailableError) and "(2 batches)" in str(lost)
    assert isinstance(found, ChatReply)
    assert [len(batch.bodies) for batch in desk.batches.values()] == [2, 1]
    assert run.settled() == run.truth(desk)
    desk.fate = lambda custom_id, body: "succeeded"
    assert Run(work, provider).texts(1) == answers(1)


@every
def test_a_refused_row_is_an_error_of_that_row(provider: str, desk: Desk, work: Path) -> None:
    desk.fate = lambda custom_id, body: "400" if "question 1" in json.dumps(body) else "succeeded"
    run = Run(work, provider)
    bad, good = run.ask(request(1), request(2))
    assert isinstance(bad, BadRequestError) and bad.request_id == "req_b" and KEY not in str(bad)
    assert isinstance(good, ChatReply)
    assert len(desk.batches) == 1 and run.settled() == run.truth(desk)


def test_rows_of_neither_file_go_into_another_batch(desk: Desk, work: Path) -> None:
    desk.status = "cancelled"
    fates = iter(["missing", "succeeded"])
    desk.fate = lambda custom_id, body: next(fates, "succeeded")
    run = Run(work, "openai")
    assert run.texts(1, 2) == answers(1, 2)
    assert len(desk.batches) == 2 and run.settled() == run.truth(desk)


def test_an_option_that_the_model_refuses_is_left_out_of_the_next_batch(desk: Desk, work: Path) -> None:
    desk.fate = lambda custom_id, body: "unsupported:temperature" if "temperature" in body else "succeeded"
    run = Run(work, "openai")
    (reply,) = run.ask(request(1, temperature=0.5))
    assert told(reply) == "answer to question 1" and len(desk.batches) == 2
    assert f"{run.name} takes no temperature: not sent" in run.notes


def test_a_batch_that_fails_for_one_line(desk: Desk, work: Path) -> None:
    desk.refusal = [{"code": "invalid_json", "message": "bad line", "line": 2, "param": None}]
    run = Run(work, "openai")
    assert run.texts(1, 2, 3) == ["answer to question 1", "BadRequestError", "answer to question 3"]
    assert [len(batch.bodies) for batch in desk.batches.values()] == [3, 2]
    assert run.settled() == run.truth(desk)


@pytest.mark.parametrize(
    ("code", "becomes"), [("invalid", BadRequestError), ("billing_hard_limit_reached", QuotaError)]
)
def test_a_batch_that_fails_as_a_whole(code: str, becomes: type, desk: Desk, work: Path) -> None:
    desk.refusal = [{"code": code, "message": "no such model", "line": None, "param": None}]
    run = Run(work, "openai")
    assert [type(one) for one in run.ask(request(1), request(2))] == [becomes, becomes]
    assert run.settled() == 0


def test_a_queue_that_is_full_is_tried_again(desk: Desk, work: Path) -> None:
    desk.refusal = [{"code": "token_limit_exceeded", "message": "enqueued tokens", "line": None, "param": None}]
    assert Run(work, "openai").texts(1, 2) == answers(1, 2)
    assert len(desk.batches) == 2


@every
@pytest.mark.parametrize("status", [429, 500, 529])
def test_control_requests_are_tried_again(
    provider: str, status: int, server: ProviderServer, desk: Desk, work: Path
) -> None:
    desk.seconds = 0.1
    server.script.extend([Reply(status, "busy"), Reply(status, "busy", {"retry-after": "0.05"})])
    run = Run(work, provider)

    async def use(chat: Chat) -> list[str]:
        asked = asyncio.gather(*[chat.ask(request(n)) for n in range(3)])
        while not desk.batches:
            await asyncio.sleep(0.01)
        server.script.extend([Reply(status, "busy")] * 2)
        return [reply.text for reply in await asked]

    assert run.do(use) == answers(0, 1, 2)
    assert len(desk.batches) == 1 and run.settled() == run.truth(desk)


@every
def test_an_outage_does_not_end_the_waiting(provider: str, server: ProviderServer, desk: Desk, work: Path) -> None:
    desk.seconds = 0.1
    run = Run(work, provider, attempts=2)

    async def use(chat: Chat) -> str:
        asked = asyncio.ensure_future(chat.ask(request(1)))
        while not desk.batches:
            await asyncio.sleep(0.01)
        server.script.extend([Reply(503, "down")] * 12)
        return (await asked).text

    assert run.do(use) == "answer to question 1"
    assert any("still waiting" in note for note in run.notes)


@every
@pytest.mark.parametrize("late", [0.0, 0.15])
def test_a_batch_whose_confirmation_is_lost_is_not_submitted_twice(
    provider: str, late: float, server: ProviderServer, desk: Desk, work: Path
) -> None:
    desk.late = late
    server.lost.append(f"POST {CREATE[provider]}")
    run = Run(work, provider)
    assert run.texts(1, 2, 3) == answers(1, 2, 3)
    assert not server.lost and len(desk.batches) == 1
    assert run.settled() == run.truth(desk)


@every
def test_results_that_break_off_are_read_again(provider: str, server: ProviderServer, desk: Desk, work: Path) -> None:
    content = {"anthropic": "/v1/messages/batches/anthropic_batch_1/results",
               "openai": "/v1/files/openai_batch_1-output/content"}[provider]  # fmt: skip
    server.lost.append(f"GET {content}")
    run = Run(work, provider)
    assert run.texts(*range(5)) == answers(*range(5))
    assert not server.lost and len(desk.batches) == 1 and run.settled() == run.truth(desk)


@every
@pytest.mark.parametrize("cut", [lambda data: data[: len(data) // 2], lambda data: data[: data.find(b"\n") + 1]])
def test_results_that_are_not_whole_are_read_again(
    provider: str, cut: Callable[[bytes], bytes], desk: Desk, work: Path
) -> None:
    whole: list[bytes] = []

    def tear(data: bytes) -> bytes:
        whole.append(data)
        return cut(data)

    desk.torn = tear
    run = Run(work, provider)
    assert run.texts(*range(5)) == answers(*range(5))
    assert len(whole) == 1 and len(desk.batches) == 1 and run.settled() == run.truth(desk)


@every
def test_a_result_of_another_form_is_charged_and_fails_its_row(provider: str, desk: Desk, work: Path) -> None:
    name = b'"output_tokens"' if provider == "anthropic" else b'"completion_tokens"'
    desk.torn = lambda data: data.replace(name, b'"tokens"', 1)
    run = Run(work, provider)
    told_all = run.texts(1, 2, 3)
    assert sorted(told_all) == sorted(["UnavailableError", *answers(1, 2)]) and len(desk.batches) == 1
    events, _ = read_events(run.ledger_path)
    assert [event["event"] for event in events].count("settle") == 2, "the third one stays counted as spent"


@every
def test_separators_of_lines_within_an_answer(provider: str, server: ProviderServer, desk: Desk, work: Path) -> None:
    server.answer = lambda request: "one\u2028two\x85three\u2029"
    (reply,) = Run(work, provider).ask(request(1))
    assert told(reply) == "one\u2028two\x85three\u2029"


@every
def test_an_exhausted_quota_stops_at_once(provider: str, server: ProviderServer, desk: Desk, work: Path) -> None:
    error = {"type": "error", "error": {"type": "billing_error", "message": "no credit"}}
    if provider == "openai":
        error = {"error": {"type": "insufficient_quota", "message": "no", "code": "insufficient_quota", "param": None}}
    server.script.append(Reply(429 if provider == "openai" else 402, error))
    run = Run(work, provider)
    assert [type(one) for one in run.ask(request(1), request(2))] == [QuotaError, QuotaError]
    assert not desk.batches and run.settled() == 0 and kinds(run.path)[-1] == "ended"


@every
def test_a_wrong_key_is_told(provider: str, desk: Desk, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{provider.upper()}_API_KEY", "sk-wrong")
    run = Run(work, provider)
    (error,) = run.ask(request(1))
    assert isinstance(error, UsageError) and "sk-wrong" not in "".join(traceback.format_exception(error))
    assert run.settled() == 0


def test_characters_that_are_no_text_fail_their_row_only(desk: Desk, work: Path) -> None:
    bad = ChatRequest((ChatMessage("user", "\ud800"),))
    assert [told(one) for one in Run(work, "anthropic").ask(bad, request(1))] == ["BadRequestError", *answers(1)]


@pytest.mark.parametrize("name", ["google:gemini-2.5-pro", "local:tiny", "embedded"])
def test_who_has_no_batches(name: str, work: Path) -> None:
    run = Run(work, name)
    with pytest.raises(UsageError, match="no batches") as caught:
        run.ask(request(1))
    assert caught.value.hint == "--batch is for anthropic:MODEL and openai:MODEL"
    assert not run.path.exists()


# --- the cap


@every
def test_what_the_cap_has_no_room_for_waits_for_what_is_under_way(provider: str, desk: Desk, work: Path) -> None:
    price = load_prices().find(MODELS[provider])
    assert price is not None
    bound = price.bound(request(1), batch=True) / NANO
    run = Run(work, provider, budget=bound * 5.5)
    assert run.texts(*range(10)) == answers(*range(10))
    assert next(len(batch.bodies) for batch in desk.batches.values()) == 5
    assert sum(len(batch.bodies) for batch in desk.batches.values()) == 10
    assert run.settled() == run.truth(desk)


@every
def test_no_room_at_all(provider: str, desk: Desk, work: Path) -> None:
    run = Run(work, provider, budget=0.000001)
    assert [type(one) for one in run.ask(request(1), request(2))] == [SpendCapError, SpendCapError]
    assert not desk.batches and run.settled() == 0


def test_a_model_without_a_price(desk: Desk, work: Path) -> None:
    with pytest.raises(UsageError, match="no price"):
        Run(work, "openai:unheard-of", budget=1).ask(request(1))
    run = Run(work, "openai:unheard-of")
    (reply,) = run.ask(request(1))
    assert isinstance(reply, ChatReply) and reply.cost_usd is None


# --- stopping, and going on


def stopped(run: Run, desk: Desk, *numbers: int) -> list[Any]:
    """The outcomes of a run that is interrupted as soon as its batch is submitted."""

    async def use(chat: Chat) -> Any:
        asked = asyncio.gather(*[chat.ask(request(n)) for n in numbers], return_exceptions=True)
        while not (run.path.exists() and b"submitted" in run.path.read_bytes()):
            await asyncio.sleep(0.01)
        run.batches.detach()
        with pytest.raises(DetachedError):
            await chat.ask(request(99))
        return await asked

    return list(run.do(use))


@every
def test_an_interrupted_run_leaves_its_batch_and_the_next_takes_it_up(provider: str, desk: Desk, work: Path) -> None:
    desk.seconds = 0.5
    assert {type(one) for one in stopped(Run(work, provider), desk, 1, 2, 3)} == {DetachedError}
    run = Run(work, provider)
    assert run.texts(1, 2, 3, 4) == answers(1, 2, 3, 4)
    assert [len(batch.bodies) for batch in desk.batches.values()] == [3, 1]
    assert run.settled() == run.truth(desk)
    assert kinds(run.path).count("ended") == 2


@every
def test_an_interrupt_before_a_batch_that_is_open_is_followed(
    provider: str, desk: Desk, work: Path, recwarn: pytest.WarningsRecorder
) -> None:
    desk.seconds = 3600
    stopped(Run(work, provider), desk, 1)
    run = Run(work, provider)

    async def use(chat: Chat) -> None:
        asyncio.get_running_loop().call_soon(run.batches.detach)
        with pytest.raises(DetachedError):
            await chat.ask(request(1))

    run.do(use)
    gc.collect()
    assert not recwarn.list


@every
def test_a_run_without_batches_is_refused_while_one_is_open(provider: str, desk: Desk, work: Path) -> None:
    run = Run(work, provider)
    stopped(run, desk, 1)
    with pytest.raises(UsageError, match="not over"):
        refuse_open(run.path)
    assert Run(work, provider).texts(1) == answers(1)
    refuse_open(run.path)


@every
def test_what_nobody_asks_for_any_more_is_settled_and_cached(provider: str, desk: Desk, work: Path) -> None:
    stopped(Run(work, provider), desk, 1, 2, 3)
    run = Run(work, provider)
    assert run.texts(2) == answers(2)
    assert run.settled() == run.truth(desk)
    last = Run(work, provider)
    assert last.texts(1, 2, 3) == answers(1, 2, 3)
    assert len(desk.batches) == 1


@every
def test_what_is_not_kept_is_told(provider: str, desk: Desk, work: Path) -> None:
    stopped(Run(work, provider, no_cache=True), desk, 1, 2)
    run = Run(work, provider, no_cache=True)
    assert run.texts(2) == answers(2)
    assert any("1 answers of batches were not asked for any more and are not kept" in note for note in run.notes)


@every
def test_a_batch_that_nobody_asks_for_is_left_while_it_runs(provider: str, desk: Desk, work: Path) -> None:
    desk.seconds = 60
    stopped(Run(work, provider), desk, 1, 2)
    desk.seconds = 0
    run = Run(work, provider)
    assert run.texts(3) == answers(3)
    assert any("goes on" in note for note in run.notes) and kinds(run.path).count("ended") == 1
    next(iter(desk.batches.values())).ends = 0.0
    assert Run(work, provider).texts(1, 2) == answers(1, 2)
    assert len(desk.batches) == 2 and run.settled() == run.truth(desk)


@every
@pytest.mark.parametrize("step", ["intend", "submitting", "submitted", "end"])
@pytest.mark.parametrize("done", [False, True])
def test_killed_at_each_step(
    provider: str, step: str, done: bool, desk: Desk, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(BatchJournal, step)

    def dies(journal: BatchJournal, *args: Any) -> Any:
        if done:
            original(journal, *args)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(BatchJournal, step, dies)
        with pytest.raises(Killed):
            Run(work, provider).ask(*map(request, range(5)))
    run = Run(work, provider)
    assert run.texts(*range(5)) == answers(*range(5))
    assert len(desk.submitted) == 5, "none was submitted twice"
    assert run.settled() == run.truth(desk)
    assert kinds(run.path).count("ended") == kinds(run.path).count("intent")


@every
def test_killed_with_replies_in_hand_that_are_in_no_file_yet(
    provider: str, desk: Desk, work: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def dies(chat: Chat) -> None:
        await asyncio.gather(chat.ask(request(1)), chat.ask(request(2)))
        raise Killed

    with pytest.raises(Killed):
        Run(work, provider, no_cache=True).do(dies)
    gc.collect()
    assert not caplog.records
    run = Run(work, provider, no_cache=True)
    assert run.texts(1, 2) == answers(1, 2)
    assert len(desk.submitted) == 2 and run.settled() == run.truth(desk)


@every
def test_attempts_are_counted_over_kills(
    provider: str, desk: Desk, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.fate = lambda custom_id, body: "expired"
    original = BatchJournal.submitted

    def dies_at_the_second(journal: BatchJournal, batch: Batch, name: str) -> None:
        original(journal, batch, name)
        if len(desk.batches) == 2:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(BatchJournal, "submitted", dies_at_the_second)
        with pytest.raises(Killed):
            Run(work, provider, batch_attempts=2).ask(request(1))
    run = Run(work, provider, batch_attempts=2)
    (error,) = run.ask(request(1))
    assert isinstance(error, UnavailableError) and "(2 batches)" in str(error)
    assert len(desk.batches) == 2 and run.settled() == 0


@every
def test_killed_before_the_post(provider: str, desk: Desk, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dies(*_: object) -> str:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(BatchControl, "post", dies)
        with pytest.raises(Killed):
            Run(work, provider).ask(request(1), request(2))
    run = Run(work, provider, batch_attempts=1)
    assert run.texts(1, 2) == answers(1, 2)
    assert len(desk.submitted) == 2 and run.settled() == run.truth(desk)


def test_a_batch_of_somebody_else_with_as_many_requests_is_known_as_such(
    desk: Desk, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(*_: object) -> str:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(BatchControl, "post", dies)
        with pytest.raises(Killed):
            Run(work, "anthropic").ask(request(1), request(2))
    other = work / "other"
    other.mkdir()
    assert Run(other, "anthropic").texts(8, 9) == answers(8, 9)
    desk.seconds = 3600
    stopped(Run(work / "third", "anthropic"), desk, 5, 6, 7)
    desk.seconds = 0
    run = Run(work, "anthropic", batch_attempts=1)
    assert run.texts(1, 2) == answers(1, 2)
    third = desk.batches.pop("anthropic_batch_2")
    assert (
        len(third.bodies) == 3
        and len(desk.batches) == 2
        and run.settled() == run.truth(desk) - Run(other, "anthropic").settled()
    )


def test_a_torn_line_and_a_strange_one(desk: Desk, work: Path) -> None:
    run = Run(work, "anthropic")
    stopped(run, desk, 1)
    with run.path.open("ab") as handle:
        handle.write(b'{"event": "submi')
    assert Run(work, "anthropic").texts(1) == answers(1)
    with run.path.open("ab") as handle:
        handle.write(b'{"event": "other"}\n')
    with pytest.raises(UsageError, match="line 5: not a line of a journal of batches"):
        Run(work, "anthropic").texts(1)


def test_one_process_at_a_time(work: Path) -> None:
    path = work / "x.batches.jsonl"
    with Batches(path), pytest.raises(UsageError, match="in use"):
        Batches(path)


@every
def test_a_batch_that_is_gone(provider: str, desk: Desk, work: Path) -> None:
    stopped(Run(work, provider, no_cache=True), desk, 1)  # its answer may have come, and would be in the cache
    desk.batches.clear()
    (error,) = Run(work, provider, no_cache=True).ask(request(1))
    assert isinstance(error, UsageError) and "404" in str(error)
    assert error.hint is not None and "asked, and paid, again" in error.hint


@every
def test_a_fallback_has_batches_too(provider: str, desk: Desk, work: Path) -> None:
    other = MODELS["openai" if provider == "anthropic" else "anthropic"]
    model = MODELS[provider].partition(":")[2]
    desk.fate = lambda custom_id, body: "expired" if body["model"] == model else "succeeded"
    run = Run(work, provider, batch_attempts=1)
    run.settings = run.settings.model_copy(update={"chat": run.settings.chat.model_copy(update={"fallback": other})})
    (reply,) = run.ask(request(1))
    assert isinstance(reply, ChatReply) and reply.model == other.partition(":")[2]
