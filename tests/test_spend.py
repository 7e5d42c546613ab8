"""Prices are exact, bounds are bounds, and no number of tasks, processes or kills passes the cap."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor_cli.chat.metered import Metered
from compressor_cli.core.jsonl import dump_row
from compressor_cli.core.prices import NANO, Price, Prices, load_prices, nano
from compressor_cli.core.spend import Ledger, read_events
from compressor_cli.core.tokens import token_counter
from compressor_cli.errors import (
    BadRequestError,
    ChatError,
    MissingKeyError,
    QuotaError,
    RateLimitedError,
    SccError,
    SpendCapError,
    UnavailableError,
    UsageError,
)
from compressor_cli.records import ChatMessage, ChatReply, ChatRequest, Usage
from compressor_cli.settings import load_settings


def request(text: str = "Say yes.", max_tokens: int = 100, **others: object) -> ChatRequest:
    return ChatRequest((ChatMessage("user", text),), max_tokens=max_tokens, **others)  # type: ignore[arg-type]


def reply(input_tokens: int = 20, output_tokens: int = 5) -> ChatReply:
    return ChatReply("Yes.", "m-2026", "req_1", "end", Usage(input_tokens, output_tokens), 0.1)


def price(name: str, own: Path | None = None) -> Price:
    found = load_prices(own).find(name)
    assert found is not None
    return found


def peak(path: Path) -> int:
    """The highest that settled and unsettled together ever were, by the file alone."""
    events, torn = read_events(path)
    assert torn == 0
    unsettled: dict[str, int] = {}
    settled = highest = 0
    for event in events:
        if event["event"] == "reserve":
            assert event["id"] not in unsettled
            unsettled[event["id"]] = round((event["usd"] or 0) * NANO)
        else:
            del unsettled[event["id"]]
            settled += round((event.get("usd") or 0) * NANO)
        highest = max(highest, settled + sum(unsettled.values()))
    return highest


# --- prices


def test_a_price_is_exact_to_the_billionth() -> None:
    sonnet = price("anthropic:claude-sonnet-4-6")
    assert sonnet.cost(Usage(1_000_000, 1_000_000)) == 18 * NANO
    assert sonnet.cost(Usage(1000, 10, cache_read=600, cache_write=300)) == nano(
        Decimal("0.0003") + Decimal("0.00018") + Decimal("0.001125") + Decimal("0.00015")
    )
    assert sonnet.cost(Usage(1_000_000, 1_000_000), batch=True) == 9 * NANO
    assert price("openai:gpt-5-nano").cost(Usage(1, 0, cache_read=1)) == 5
    assert price("google:gemini-2.5-flash").cost(Usage(7, 0, cache_read=7), batch=True) == 105
    assert price("anthropic:claude-haiku-5-5").cost(Usage(3, 0, cache_read=3), batch=True) == 15


@pytest.mark.parametrize("name", ["local:qwen3", "local:http://x/y", "embedded", "embedded:prose"])
def test_what_runs_here_costs_nothing(name: str) -> None:
    assert price(name).cost(Usage(10**9, 10**9)) == 0
    assert price(name).bound(request()) == 0


def test_a_dated_name_has_the_price_of_its_model_and_another_model_has_not() -> None:
    prices = load_prices()
    assert prices.find("anthropic:claude-opus-4-5-20251101") == prices.find("anthropic:claude-opus-4-5")
    assert (
        prices.find("openai:gpt-4o-2024-05-13")
        != prices.find("openai:gpt-4o-2024-08-06")
        == prices.find("openai:gpt-4o")
    )
    for name in ("openai:gpt-4o-audio", "openai:gpt-5.4-pro", "anthropic:claude-opus-4-50", "gpt-4o", "embeddedx"):
        assert prices.find(name) is None, name


def test_long_input_and_a_day_change_the_rates() -> None:
    gemini = price("google:gemini-2.5-pro")
    assert gemini.cost(Usage(200_000, 0)) == nano(Decimal("0.25"))
    assert gemini.cost(Usage(200_001, 1000)) == nano(Decimal("0.5000025") + Decimal("0.015"))
    flash = price("google:gemini-3.8-flash")
    assert flash.at(date(2026, 12, 31)).cost(Usage(1_000_000, 0)) == nano(0.75)
    assert flash.at(date(2027, 1, 1)).cost(Usage(1_000_000, 0)) == nano(1.5)


def test_every_shipped_price_is_sane() -> None:
    for _, models in load_prices()._lists:
        for name, found in models:
            rates = [one for one in (found.rates, found.long, found.then and found.then.rates) if one]
            for one in rates:
                assert one.cache_read <= one.input <= one.output or name.startswith(("embedded", "local:")), name
                assert one.input <= 100 * NANO and one.output <= 500 * NANO, name
            assert found.as_of <= date(2026, 11, 21)


def test_a_list_of_ones_own_comes_first(work: Path) -> None:
    own = work / "prices.yaml"
    own.write_text(
        "as_of: 2026-11-01\nmodels:\n  'openai:gpt-4*': {input: 1, output: 2}\n  acme:x: {input: 3, output: 4}\n"
    )
    assert price("openai:gpt-4o", own).cost(Usage(1_000_000, 0)) == NANO
    assert price("openai:gpt-4o", own).cost(Usage(1_000_000, 0), batch=True) == NANO  # none was given
    assert price("openai:gpt-4o", own).as_of == date(2026, 11, 1)
    assert price("acme:x", own).cost(Usage(0, 1_000_000)) == 4 * NANO
    assert price("openai:gpt-5", own) == price("openai:gpt-5")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"\xff", "not UTF-8"),
        (b"models: [", "not YAML"),
        (b"", "top: Input should be a valid dictionary"),
        (b"models: {}", "as_of: Field required"),
        (b"as_of: 2026-01-01\nmodels: {a: {input: 1}}", "models.a.output: Field required"),
        (b"as_of: 2026-01-01\nmodels: {a: {input: -1, output: 1}}", "models.a.input: Input should be greater"),
        (b"as_of: 2026-01-01\nmodels: {a: {input: 1, output: 1, cached: 1}}", "models.a.cached: Extra inputs"),
        (b"as_of: 2026-01-01\nmodels: {a: {input: 1, output: 1, until: 2026-01-02}}", "`until` and `then` go together"),
    ],
)
def test_a_wrong_list_is_a_usage_error(content: bytes | None, message: str, work: Path) -> None:
    if content is not None:
        (work / "p.yaml").write_bytes(content)
    with pytest.raises(UsageError, match=r"p\.yaml: ") as caught:
        load_prices(work / "p.yaml")
    assert message in str(caught.value)


@settings(max_examples=40)
@given(
    texts=st.lists(st.text(max_size=300), min_size=1, max_size=4),
    system=st.none() | st.text(max_size=100),
    max_tokens=st.integers(1, 5000),
    output_share=st.floats(0, 1),
    cached=st.floats(0, 1),
    name=st.sampled_from(["anthropic:claude-haiku-5-5", "openai:gpt-5.4", "google:gemini-2.5-pro"]),
    batch=st.booleans(),
)
def test_no_answer_costs_more_than_its_bound(
    texts: list[str], system: str | None, max_tokens: int, output_share: float, cached: float, name: str, batch: bool
) -> None:
    asked = ChatRequest(tuple(ChatMessage("user", text) for text in texts), system, max_tokens)
    tokens = sum(token_counter().count(text) for text in [*texts, system or ""]) + 4 * len(texts) + 3
    read = int(tokens * cached)
    usage = Usage(tokens, int(max_tokens * output_share), cache_read=read, cache_write=tokens - read)
    assert price(name).cost(usage, batch=batch) <= price(name).bound(asked, batch=batch)


def test_a_bound_takes_the_long_rates_where_they_could_apply() -> None:
    gemini = price("google:gemini-2.5-pro")
    assert gemini.bound(request("x" * 210_000, 1000)) >= gemini.cost(Usage(210_000, 1000))


# --- ledger


def test_events_and_sums(work: Path) -> None:
    with Ledger(work / "runs" / "costs.jsonl", budget=10 * NANO) as ledger:
        first = ledger.reserve_now(4 * NANO, model="acme:x", command="generate")
        second = ledger.reserve_now(5 * NANO, model="acme:x", command="generate")
        third = ledger.reserve_now(NANO, model="acme:x", command="generate")
        ledger.settle(first, 1_500_000_001, reply())
        ledger.release(second)
        ledger.keep(third)
        ledger.settle(first, 9 * NANO, reply())  # it is settled already
        ledger.release(second)
        assert (ledger.settled, ledger.unsettled) == (1_500_000_001, NANO)
    events, _ = read_events(work / "runs" / "costs.jsonl")
    assert [event["event"] for event in events] == ["reserve"] * 3 + ["settle", "release"]
    assert events[3]["usd"] == 1.500000001 and events[3]["request_id"] == "req_1" and events[3]["model"] == "m-2026"
    assert events[3]["usage"] == {"input_tokens": 20, "output_tokens": 5, "cache_read": 0, "cache_write": 0}
    with Ledger(work / "runs" / "costs.jsonl", budget=10 * NANO) as again:
        assert (again.settled, again.unsettled) == (1_500_000_001, NANO)
        with pytest.raises(SpendCapError, match=r"could cost \$7\.5000, and \$2\.500000001 of the \$10\.0000"):
            again.reserve_now(7_500_000_000, model="acme:x", command="validate")
        again.reserve_now(7_499_999_999, model="acme:x", command="validate")
        again.reserve_now(0, model="embedded", command="validate")


def test_amounts_come_back_from_the_file_to_the_billionth(work: Path) -> None:
    rng = random.Random(0)
    amounts = [rng.randrange(10 ** rng.randrange(1, 15)) for _ in range(2000)]
    with Ledger(work / "l") as ledger:
        for amount in amounts:
            ledger.reserve_now(amount, model="m", command="c")
    with Ledger(work / "l") as again:
        assert again.unsettled == sum(amounts)


def test_a_smaller_budget_than_what_is_spent_sends_nothing_more(work: Path) -> None:
    with Ledger(work / "l") as ledger:
        ledger.settle(ledger.reserve_now(NANO, model="m", command="c"), NANO, reply())
    with Ledger(work / "l", budget=NANO // 2) as again, pytest.raises(SpendCapError):
        again.reserve_now(1, model="m", command="c")


def test_a_torn_last_line_is_cut_off_and_told(work: Path) -> None:
    with Ledger(work / "l") as ledger:
        kept = ledger.reserve_now(NANO, model="m", command="c")
        ledger.settle(kept, 1, reply())
    whole = (work / "l").read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole)):
        (work / "l").write_bytes(whole[:cut])
        told: list[object] = []
        with Ledger(work / "l", on_event=told.append) as again:
            assert (again.settled, again.unsettled) == (0, NANO)
            again.settle(kept, 1, reply())
        assert len(told) == (cut > first)
        assert (work / "l").read_bytes() == whole


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        b"hello\n",
        b'{"messages": []}\n',
        b'{"messages": []}',
        b'{"event": "reserve", "id": 1}\n',
        b'{"event": "release", "id": "x"}\n{"event": [], "id": "x"}\n',
        b'{"event": "settle", "id": "x", "usd": "1", "usage": {}}\n',
        b'{"event": "settle", "id": "x", "usd": -1, "usage": {}}\n',
        b'{"event": "settle", "id": "x", "usd": 1, "usage": {"input_tokens": "1"}}\n',
        b'{"event": "settle", "id": "x", "usd": 1}\n',
    ],
)
def test_a_foreign_file_is_refused_and_stays_as_it_is(content: bytes, work: Path) -> None:
    (work / "l").write_bytes(content)
    with pytest.raises(UsageError):
        Ledger(work / "l")
    assert (work / "l").read_bytes() == content
    with pytest.raises(UsageError, match="not a regular file"):
        Ledger(work)


def test_a_shortened_ledger_stops_the_run(work: Path) -> None:
    with Ledger(work / "l") as ledger:
        ledger.reserve_now(NANO, model="m", command="c")
        (work / "l").write_bytes(b"")
        with pytest.raises(SccError, match="shortened"):
            ledger.reserve_now(NANO, model="m", command="c")


def test_more_than_was_reserved_is_recorded_and_told(work: Path) -> None:
    told: list[object] = []
    with Ledger(work / "l", budget=10, on_event=told.append) as ledger:
        ledger.settle(ledger.reserve_now(5, model="m", command="c"), 12, reply())
        assert ledger.settled == 12
    assert len(told) == 1 and "$0.000000012, more than the $0.000000005" in str(told)


def test_a_reservation_waits_for_room_that_its_own_process_may_make(work: Path) -> None:
    async def run() -> None:
        with Ledger(work / "l", budget=10) as ledger:
            first = await ledger.reserve(8, model="m", command="c")
            second = asyncio.create_task(ledger.reserve(5, model="m", command="c"))
            await asyncio.sleep(0.01)
            assert not second.done()
            with pytest.raises(SpendCapError):  # not even if the first were free
                await ledger.reserve(11, model="m", command="c")
            ledger.settle(first, 5, reply())
            kept = await asyncio.wait_for(second, 1)
            third = asyncio.create_task(ledger.reserve(1, model="m", command="c"))
            await asyncio.sleep(0.01)
            ledger.keep(kept)  # nothing is awaited any more
            with pytest.raises(SpendCapError):
                await asyncio.wait_for(third, 1)

    asyncio.run(run())


@settings(max_examples=40)
@given(
    budget=st.integers(0, 400),
    costs=st.lists(st.tuples(st.integers(0, 60), st.floats(0, 1), st.sampled_from(["settle", "release", "keep"]))),
    seed=st.integers(0, 99),
)
def test_the_cap_holds_for_any_tasks_and_costs(
    budget: int, costs: list[tuple[int, float, str]], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "l"
    rng = random.Random(seed)
    refused: list[int] = []

    async def task(ledger: Ledger, most: int, share: float, outcome: str) -> None:
        try:
            reservation = await ledger.reserve(most, model="m", command="c")
        except SpendCapError:
            refused.append(most)
            return
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)
        if outcome == "settle":
            ledger.settle(reservation, int(most * share), reply())
        elif outcome == "release":
            ledger.release(reservation)
        else:
            ledger.keep(reservation)

    async def run() -> Ledger:
        with Ledger(path, budget=budget) as ledger:
            await asyncio.wait_for(asyncio.gather(*(task(ledger, *cost) for cost in costs)), 20)
        return ledger

    ledger = asyncio.run(run())
    assert peak(path) <= budget
    # Nobody was refused who would fit now that everything is known.
    assert all(most > budget - ledger.settled - ledger.unsettled for most in refused)


SPENDER = """
import random, sys, time
from compressor_cli.core.spend import Ledger
from compressor_cli.errors import SpendCapError
from compressor_cli.records import ChatReply, Usage
from pathlib import Path

rng, done = random.Random(sys.argv[2]), ChatReply("", "m", None, "end", Usage(1, 1), 0.0)
with Ledger(Path(sys.argv[1]), budget=3_000_000) as ledger:
    try:
        while True:
            most = rng.randrange(1, 3000)
            open_ones = [ledger.reserve_now(most, model="m", command="c") for _ in range(rng.randrange(1, 4))]
            for name in open_ones:
                ledger.settle(name, rng.randrange(most + 1), done)
    except SpendCapError:
        pass
"""


def test_the_cap_holds_across_processes_that_are_killed(work: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    rng = random.Random(7)
    for round_ in range(4):
        pair = [
            subprocess.Popen([sys.executable, "-c", SPENDER, "l", f"{round_}.{n}"], stderr=subprocess.PIPE)
            for n in range(2)
        ]
        processes += pair
        while not (work / "l").exists() or (work / "l").stat().st_size < 60_000 * (round_ + 1):
            if pair[0].poll() is not None and pair[1].poll() is not None:
                break
            time.sleep(0.001)
        time.sleep(rng.random() * 0.01)
        if round_ < 3:
            pair[0].kill()
            pair[1].kill()
        for process in pair:
            _, stderr = process.communicate(timeout=60)
            assert b"Traceback" not in stderr, stderr.decode()
    assert 2_900_000 < peak(work / "l") <= 3_000_000
    with Ledger(work / "l", budget=3_000_000) as ledger:
        assert ledger.settled + ledger.unsettled <= 3_000_000


def test_reserving_and_settling_cost_little_more_than_writing_the_lines(work: Path) -> None:
    """About 2.5 times what forming and appending the two lines takes, in all 20 microseconds."""
    done = reply()
    with Ledger(work / "l", budget=10**15) as ledger, (work / "bare").open("ab", buffering=0) as bare:

        def reserve_and_settle() -> None:
            ledger.settle(ledger.reserve_now(9, model="m", command="c"), 9, done)

        def write() -> None:
            for event in events:
                bare.write(dump_row(event))

        reserve_and_settle()
        events, _ = read_events(work / "l")
        ours, theirs = zip(*((_seconds(reserve_and_settle), _seconds(write)) for _ in range(40)), strict=True)
    assert min(ours) < 6 * min(theirs) and min(ours) < 100 * 100e-6


def _seconds(step: Callable[[], object]) -> float:
    """Of processor time: the test may share its cores."""
    start = time.thread_time()
    for _ in range(100):
        step()
    return time.thread_time() - start


# --- metered


class Scripted:
    """A chat that answers, or raises, what it is given."""

    def __init__(self, outcome: ChatReply | BaseException, name: str = "openai:gpt-4.1") -> None:
        self.name = name
        self.outcome = outcome
        self.closed = False

    async def ask(self, request: ChatRequest) -> ChatReply:
        await asyncio.sleep(0)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome

    async def aclose(self) -> None:
        self.closed = True


def ask(chat: Scripted, ledger: Ledger, prices: Prices | None = None, **options: bool) -> ChatReply:
    metered = Metered(chat, ledger, prices or load_prices(), command="generate", **options)
    assert metered.name == chat.name
    return asyncio.run(metered.ask(request()))


def test_an_answer_is_settled_at_its_price(work: Path) -> None:
    with Ledger(work / "l", budget=NANO) as ledger:
        assert ask(Scripted(reply()), ledger).cost_usd == 0.00008
        assert (ledger.settled, ledger.unsettled) == (80_000, 0)
    first, second = read_events(work / "l")[0]
    assert (first["model"], first["command"]) == ("openai:gpt-4.1", "generate")
    assert first["usd"] == 0.000976  # 8 bytes and 80 tokens of overhead at $2 a million, 100 tokens at $8
    assert second["usd"] == 0.00008


@pytest.mark.parametrize(
    ("error", "charged"),
    [
        (RateLimitedError("slow down"), False),
        (BadRequestError("too long"), False),
        (QuotaError("no money"), False),
        (MissingKeyError("openai", "OPENAI_API_KEY"), False),
        (UnavailableError("refused"), False),
        (UnavailableError("cut off", maybe_charged=True), True),
        (ChatError("what?"), True),
        (asyncio.CancelledError(), True),
        (ZeroDivisionError(), True),
    ],
)
def test_an_error_is_spent_where_it_may_have_been_charged(error: BaseException, charged: bool, work: Path) -> None:
    with Ledger(work / "l", budget=NANO) as ledger:
        with pytest.raises(type(error)):
            ask(Scripted(error), ledger)
        assert (ledger.unsettled > 0) == charged
        assert ledger.settled == 0


def test_an_answer_without_usage_costs_its_bound(work: Path) -> None:
    with Ledger(work / "l", budget=NANO) as ledger:
        answer = ask(Scripted(reply(0, 0)), ledger)
        assert answer.cost_usd == ledger.settled / NANO > 0


def test_the_cap_is_met_before_anything_is_sent(work: Path) -> None:
    chat = Scripted(reply())
    with Ledger(work / "l", budget=1000) as ledger, pytest.raises(SpendCapError) as caught:
        ask(chat, ledger)
    assert caught.value.exit_code == 4
    assert (work / "l").read_bytes() == b""


def test_many_at_once_stay_below_the_cap(work: Path) -> None:
    rng = random.Random(3)
    outcomes: list[ChatReply | BaseException] = [
        reply(), reply(60, 100), RateLimitedError("429"), UnavailableError("cut off", maybe_charged=True)
    ]  # fmt: skip

    async def run() -> list[ChatReply | BaseException]:
        with Ledger(work / "l", budget=20_000_000) as ledger:
            clients = [Scripted(rng.choice(outcomes)) for _ in range(200)]
            chats = [Metered(client, ledger, prices, command="generate") for client in clients]
            return await asyncio.gather(*(chat.ask(request()) for chat in chats), return_exceptions=True)

    prices = load_prices()
    done = asyncio.run(run())
    assert {type(one) for one in done} == {ChatReply, RateLimitedError, UnavailableError, SpendCapError}
    assert peak(work / "l") <= 20_000_000


def test_an_unknown_price_is_unknown_and_refused_under_a_cap(work: Path) -> None:
    chat = Scripted(reply(), name="acme:x")
    with Ledger(work / "l") as ledger:
        assert ask(chat, ledger).cost_usd is None
    with Ledger(work / "l", budget=NANO) as ledger:
        with pytest.raises(UsageError, match="no price is known for acme:x") as caught:
            ask(chat, ledger)
        assert caught.value.hint and "--allow-unpriced" in caught.value.hint and "--prices" in caught.value.hint
        assert ask(chat, ledger, allow_unpriced=True).cost_usd is None
    assert [event["usd"] for event in read_events(work / "l")[0]] == [None] * 4


def test_closing_reaches_the_client(work: Path) -> None:
    chat = Scripted(reply())
    with Ledger(work / "l") as ledger:
        asyncio.run(Metered(chat, ledger, load_prices(), command="generate").aclose())
    assert chat.closed


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCC_SPEND__BUDGET_USD", "2.10")
    spend = load_settings(spend={"allow_unpriced": True}).spend
    assert spend.budget_usd == Decimal("2.10") and nano(spend.budget_usd) == 2_100_000_000
    assert (spend.prices, spend.allow_unpriced, spend.ledger) == (None, True, None)
    monkeypatch.setenv("SCC_SPEND__BUDGET_USD", "-1")
    with pytest.raises(UsageError, match="greater than or equal to 0"):
        load_settings()


def test_a_ledger_is_plain_json(work: Path) -> None:
    with Ledger(work / "l") as ledger:
        ledger.reserve_now(15, model="m\ud800", command="c")
    assert json.loads((work / "l").read_bytes())["usd"] == 1.5e-08
    assert os.stat(work / "l").st_size < 200
