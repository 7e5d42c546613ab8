"""`--batch` of the commands: real processes, interrupted and killed, against a loopback provider."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Scc
from provider_batches import Desk, desk_of
from provider_server import ProviderServer, Reply, Request, serving

from compressor_cli.core.prices import NANO, load_prices
from compressor_cli.core.spend import read_events
from compressor_cli.records import Usage

MODELS = {"anthropic": "anthropic:claude-haiku-4-5", "openai": "openai:gpt-4.1"}
every = pytest.mark.parametrize("provider", MODELS)
QUICK = {
    "SCC_CHAT__BATCH_WAIT": "0.1",
    "SCC_CHAT__BATCH_POLL": "0.05",
    "SCC_CHAT__BATCH_POLL_MOST": "0.1",
    "SCC_CHAT__BATCH_GRACE": "0.3",
}
RECIPE = """
name: plain
kind: compression
model: {model}
max_tokens: 100
output: text
prompts: {{prose: compress_prose}}
checks: {{max_ratio: 0.95}}
"""


def source(n: int) -> str:
    return f"The quay number {n} is where the ships of company {n} have been lying for all of the {n} long years."


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with serving() as running:
        for name, value in (running.environment() | QUICK).items():
            monkeypatch.setenv(name, value)
        running.answer = lambda request: compressed(request)
        yield running


def compressed(request: Request) -> str:
    number = request.body["messages"][-1]["content"].split("number ")[1].split()[0]
    return f"Quay {number}: ships of company {number}, {number} years."


@pytest.fixture
def desk(server: ProviderServer) -> Desk:
    return desk_of(server)


def prepare(work: Path, provider: str, count: int) -> list[str]:
    """The words of a command that generates `count` rows."""
    (work / "recipe.yaml").write_text(RECIPE.format(model=MODELS[provider]))
    rows = [{"id": str(n), "text": source(n), "domain": "prose", "source": f"s{n}"} for n in range(count)]
    (work / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["seed", "generate", "--recipe", "recipe.yaml", "--input", "corpus.jsonl", "--output", "out.jsonl",
            "--batch", "--resume"]  # fmt: skip


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def truth(provider: str, usages: list[Usage]) -> int:
    price = load_prices().find(MODELS[provider])
    assert price is not None
    return sum(price.cost(usage, batch=True) for usage in usages)


def ledger(path: Path, budget: float) -> int:
    """What is settled; nothing is reserved any more, and the budget was never passed."""
    events, _ = read_events(path)
    unsettled: dict[str, int] = {}
    settled = 0
    for event in events:
        usd = round((event.get("usd") or 0) * NANO)
        if event["event"] == "reserve":
            unsettled[event["id"]] = usd
        else:
            del unsettled[event["id"]]
            settled += usd if event["event"] == "settle" else 0
        assert settled + sum(unsettled.values()) <= round(budget * NANO)
    assert not unsettled
    return settled


@every
def test_generate(provider: str, server: ProviderServer, desk: Desk, work: Path, scc: Scc) -> None:
    words = prepare(work, provider, 12)
    desk.seconds = 0.2
    done = scc(*words, "--budget-usd", "1")
    assert done.exit_code == 0, done.stderr
    rows = rows_of(work / "out.jsonl")
    assert sorted(row["id"].split("/")[1] for row in rows) == sorted(map(str, range(12)))
    assert {row["status"] for row in rows} == {"accepted"} and len(desk.batches) == 1
    assert ledger(work / "costs.jsonl", 1) == truth(provider, desk.charged)
    assert round(sum(row["cost_usd"] for row in rows) * NANO) == truth(provider, desk.charged)
    assert "with 12 requests is submitted" in done.stderr
    assert scc(*words).exit_code == 0 and len(desk.batches) == 1


@every
def test_targets_are_reached_by_further_batches(
    provider: str, server: ProviderServer, desk: Desk, work: Path, scc: Scc
) -> None:
    words = prepare(work, provider, 30)
    (work / "recipe.yaml").write_text(
        RECIPE.format(model=MODELS[provider]).replace("prompts: {prose: compress_prose}", "")
        + "categories: {quays: {prompt: compress_prose, target: 8}}\n"
    )
    bad = {"0", "3", "5"}
    server.answer = lambda request: (
        "Sorry, no." * 50 if (text := compressed(request)).split()[1].rstrip(":") in bad else text
    )
    done = scc(*words)
    assert done.exit_code == 0, done.stderr
    rows = rows_of(work / "out.jsonl")
    assert sum(row["status"] == "accepted" for row in rows) == 8
    assert [len(batch.bodies) for batch in desk.batches.values()] == [8, 3]


def test_dry_run_tells_the_price_of_batches(server: ProviderServer, work: Path, scc: Scc) -> None:
    words = prepare(work, "openai", 12)
    plain, batch = (
        json.loads(scc(*chosen, "--dry-run", "--json").stdout)["categories"][0]["usd"]
        for chosen in ([word for word in words if word != "--batch"], words)
    )
    assert batch["high"] == pytest.approx(plain["high"] / 2, rel=0.01) and batch["low"] > 0
    assert not server.requests and not (work / "out.jsonl.batches.jsonl").exists()


def test_who_has_no_batches(server: ProviderServer, work: Path, scc: Scc) -> None:
    words = prepare(work, "openai", 2)
    for model in ("google:gemini-2.5-pro", "local:tiny", "embedded"):
        assert scc(*words, "--model", model, "--dry-run").exit_code == 2
        done = scc(*words, "--model", model)
        assert done.exit_code == 2 and "--batch is for anthropic:MODEL and openai:MODEL" in done.stderr
    assert not server.requests and not (work / "out.jsonl.batches.jsonl").exists()


def test_concurrency_says_nothing_with_batches(server: ProviderServer, work: Path, scc: Scc) -> None:
    done = scc(*prepare(work, "openai", 2), "--concurrency", "4")
    assert done.exit_code == 2 and "--concurrency says nothing with --batch" in done.stderr


@every
def test_a_failed_row_is_recorded_and_asked_again(
    provider: str, server: ProviderServer, desk: Desk, work: Path, scc: Scc
) -> None:
    words = prepare(work, provider, 5)
    desk.fate = lambda custom_id, body: "400" if "number 3 " in json.dumps(body) else "succeeded"
    done = scc(*words)
    assert done.exit_code == 3 and "1 rows failed" in done.stderr
    (failed,) = [row for row in rows_of(work / "out.jsonl") if "error" in row]
    assert failed["request_id"] == "req_b"
    desk.fate = lambda custom_id, body: "succeeded"
    assert scc(*words, "--retry-errors").exit_code == 0
    assert len(desk.submitted) == 6


def start(words: list[str], processes: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "compressor_cli", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    processes.append(process)
    return process


@every
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_waiting_at_once(
    provider: str,
    number: int,
    server: ProviderServer,
    desk: Desk,
    work: Path,
    scc: Scc,
    processes: list[subprocess.Popen[bytes]],
) -> None:
    words = prepare(work, provider, 6)
    desk.seconds = 3600
    process = start(words, processes)
    journal = work / "out.jsonl.batches.jsonl"
    while not (journal.exists() and b'"submitted"' in journal.read_bytes()):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    began = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 128 + number and time.monotonic() - began < 5
    assert b"goes on at the provider; the same command with --resume takes it up" in err
    assert not rows_of(work / "out.jsonl")
    refused = scc(*[word for word in words if word != "--batch"])
    assert refused.exit_code == 2 and "--batch takes them up" in refused.stderr
    for batch in desk.batches.values():
        batch.ends = 0.0
    assert scc(*words).exit_code == 0
    assert len(desk.batches) == 1 and len(rows_of(work / "out.jsonl")) == 6
    assert ledger(work / "costs.jsonl", 1) == truth(provider, desk.charged)


def test_validate_in_batches(server: ProviderServer, desk: Desk, work: Path, scc: Scc) -> None:
    pairs = [
        {"id": str(n), "original": source(n), "compressed": f"Quay {n}: company {n}, {n} years.", "domain": "prose"}
        for n in range(4)
    ]
    (work / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    server.answer = lambda request: json.dumps({"questions": ["Who?"], "answers": ["They."], "answer": "They."})
    done = scc("validate", "pairs.jsonl", "--models", ",".join(MODELS.values()), "--tasks", "reasoning", "--batch",
               "--min-fidelity", "0")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert len(rows_of(work / "verdicts.jsonl")) == 4
    assert {batch.provider: len(batch.bodies) for batch in desk.batches.values()} == {"anthropic": 8, "openai": 8}
    charged = [
        truth(provider, [usage for batch in desk.batches.values() if batch.provider == provider
                         for usage in batch.usage.values()]) for provider in MODELS
    ]  # fmt: skip
    assert ledger(work / "costs.jsonl", 1) == sum(charged)
    assert scc("validate", "pairs.jsonl", "--offline", "--batch").exit_code == 2


def test_a_control_request_that_fails_for_good(server: ProviderServer, desk: Desk, work: Path, scc: Scc) -> None:
    words = prepare(work, "anthropic", 3)
    server.script.append(Reply(401, "no"))
    done = scc(*words)
    assert done.exit_code == 2 and "ANTHROPIC_API_KEY" in (done.stderr)
    assert scc(*words).exit_code == 0 and len(desk.submitted) == 3


# --- kill -9


def kill_until_done(
    provider: str,
    kills: int,
    seed: int,
    server: ProviderServer,
    work: Path,
    processes: list[subprocess.Popen[bytes]],
) -> int:
    """Runs are killed at random moments after they began to work; then the last one goes to its end."""
    chance, desk = random.Random(seed), desk_of(server)
    count, budget = 40, 0.05
    words = [*prepare(work, provider, count), "--budget-usd", str(budget)]
    if seed // 2 % 2 == 0:  # then it is the batches alone that nothing is lost by
        words.append("--no-cache")
    expired: set[str] = set()

    def fate(custom_id: str, body: Any) -> str:
        text = json.dumps(body)
        number = text.split("quay number ")[1].split()[0]
        if int(number) % 10 == 7 and number not in expired:
            expired.add(number)
            return "expired"
        return "succeeded"

    desk.fate = fate
    done = 0
    for _ in range(kills):
        desk.seconds, server.latency = chance.choice([0.0, 0.2, 0.6]), chance.choice([0.0, 0.1, 0.3])
        process = start(words, processes)
        while process.poll() is None and not (work / "costs.jsonl").exists():
            time.sleep(0.005)
        deadline = time.monotonic() + chance.uniform(0.0, 2.5)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            done += 1
        process.communicate()
    desk.seconds = server.latency = 0.0
    for batch in desk.batches.values():
        batch.ends = 0.0
    last = subprocess.run([sys.executable, "-m", "compressor_cli", *words], capture_output=True, env=os.environ)
    assert last.returncode == 0, last.stderr.decode()
    rows = rows_of(work / "out.jsonl")
    assert len(rows) == len({row["key"] for row in rows}) == count
    assert all(row["status"] == "accepted" for row in rows)
    texts = [text for batch in desk.batches.values() for name, body in batch.bodies.items()
             if name in batch.usage for text in [json.dumps(body)]]  # fmt: skip
    assert len(texts) == len(set(texts)) == count, "none was paid for twice"
    assert len(desk.submitted) == count + len(expired) and len(expired) == 4
    assert ledger(work / "costs.jsonl", budget) == truth(provider, desk.charged)
    return done


@every
def test_killed_at_random_moments(
    provider: str, server: ProviderServer, desk: Desk, work: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    kill_until_done(provider, 3, 1, server, work, processes)


@pytest.mark.slow
def test_killed_fifty_times(
    monkeypatch: pytest.MonkeyPatch, work: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    done = round_ = 0
    while done < 50:
        folder = work / str(round_)
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("SCC_CHAT__CACHE_DIR", str(folder / "cache"))
        with serving() as server:
            for name, value in (server.environment() | QUICK).items():
                monkeypatch.setenv(name, value)
            server.answer = compressed
            provider = list(MODELS)[round_ % 2]
            done += kill_until_done(provider, 5, round_, server, folder, processes)
        round_ += 1
        assert round_ < 40, "the runs end before they are killed"
