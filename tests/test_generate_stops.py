"""A run that is stopped, in good order or not: no row lost, none twice, and never more spent than the cap."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from generating import MODELS, corpus, rows_of, server
from provider_server import ProviderServer, Reply, Request, compress_answer

from compressor_cli.core.spend import read_events

__all__ = ["server"]  # a fixture
Processes = list[subprocess.Popen[bytes]]
COMMAND = ["seed", "generate", "--recipe", "compression", "--input", "corpus.jsonl", "--output", "pairs.jsonl"]


def start(processes: Processes, *args: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "compressor_cli", *COMMAND, "--model", MODELS["openai"], *args]
    processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    return processes[-1]


def until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr.decode()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_once_waits_for_what_is_on_its_way(
    number: signal.Signals, code: int, server: ProviderServer, work: Path, processes: Processes
) -> None:
    corpus(work, 30)
    server.latency = 1.0
    run = start(processes, "--concurrency", "4", "--json")
    until(lambda: len(server.requests) >= 4)
    run.send_signal(number)
    stdout, stderr = (part.decode() for part in run.communicate(timeout=60))
    assert run.returncode == code
    assert "stopping: waiting for the answers" in stderr and "--resume goes on from here" in stderr
    assert len(server.requests) == len(rows_of()) == 4  # paid for, and kept
    total = json.loads(stdout)["total"]
    assert (total["accepted"], total["pending"], total["asked"]) == (4, 26, 30)


def test_twice_drops_them(server: ProviderServer, work: Path, processes: Processes) -> None:
    corpus(work, 30)
    server.latency = 60
    run = start(processes, "--concurrency", "4")
    until(lambda: len(server.requests) >= 4)
    run.send_signal(signal.SIGINT)
    time.sleep(0.5)
    run.send_signal(signal.SIGINT)
    code, stderr = ended(run)
    assert code == 130 and "dropped: answers on their way may still be charged" in stderr
    assert rows_of() == [] and "Traceback" not in stderr
    events, _ = read_events(Path("costs.jsonl"))
    assert [event["event"] for event in events] == ["reserve"] * 4  # which counts as spent


def test_a_signal_while_a_quota_stops_the_run_drops_what_is_slow(
    server: ProviderServer, work: Path, processes: Processes
) -> None:
    corpus(work, 30)
    quota = {"error": {"message": "no credit", "type": "insufficient_quota", "code": "insufficient_quota"}}

    def answer(request: Request) -> str:
        """The first is slow, and the one after it, which may arrive in the same moment, is refused at once."""
        if server.latency == 0:
            server.latency = 60.0
            server.script.append(Reply(429, quota, latency=0.0))
        return compress_answer(request)

    server.answer = answer
    run = start(processes, "--concurrency", "2")
    until(lambda: server.latency > 0 and not server.script)
    time.sleep(1)
    run.send_signal(signal.SIGINT)
    time.sleep(0.5)
    run.send_signal(signal.SIGINT)
    code, stderr = ended(run)
    assert code == 3 and "no credit" in stderr and "dropped" in stderr


def test_a_second_run_on_the_same_output_is_refused(server: ProviderServer, work: Path, processes: Processes) -> None:
    corpus(work, 30)
    server.latency = 5.0
    first = start(processes)
    until(lambda: len(server.requests) >= 4)
    code, stderr = ended(start(processes, "--resume"))
    assert code == 2 and "is being written by another process" in stderr
    first.kill()


def killed_until_done(server: ProviderServer, processes: Processes, rows: int, kills: int, seed: int) -> None:
    """Killed at random moments, again and again; then it goes on to its end."""
    chance = random.Random(seed)
    server.latency = 0.02
    for _ in range(kills):
        run = start(processes, "--resume", "--concurrency", "4", "--budget-usd", "2")
        begun = len(server.requests)
        until(lambda: len(server.requests) > begun or run.poll() is not None)  # noqa: B023
        time.sleep(chance.uniform(0, 0.25))
        run.kill()
        run.wait()
        check(rows)
    run = start(processes, "--resume", "--budget-usd", "20")
    code, stderr = ended(run)
    assert code == 0, stderr
    check(rows)
    assert sum(row["status"] == "accepted" for row in rows_of()) == rows


def check(rows: int) -> None:
    """At most the last line is torn, and what a row cost stands settled in the ledger."""
    lines = Path("pairs.jsonl").read_bytes().split(b"\n")[:-1] if Path("pairs.jsonl").exists() else []
    found = [json.loads(line) for line in lines]
    keys = [row["key"] for row in found]
    assert len(keys) == len(set(keys)) <= rows and all(row["status"] == "accepted" for row in found)
    events, _ = read_events(Path("costs.jsonl"))
    reserved = {event["id"]: event["usd"] for event in events if event["event"] == "reserve"}
    settled = {event["id"]: event["usd"] for event in events if event["event"] == "settle"}
    spent = sum(settled.get(name, usd) for name, usd in reserved.items())
    assert spent <= 2
    paid = sum(row["cost_usd"] for row in found)
    assert paid <= sum(settled.values()) + 1e-9


def test_killed_a_few_times(server: ProviderServer, work: Path, processes: Processes) -> None:
    corpus(work, 90)
    server.answer = compress_answer
    killed_until_done(server, processes, 90, kills=3, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_many_times(seed: int, server: ProviderServer, work: Path, processes: Processes) -> None:
    corpus(work, 400)
    killed_until_done(server, processes, 400, kills=8, seed=seed)


def test_a_signal_of_the_terminal_reaches_every_process_and_disturbs_none(
    server: ProviderServer, work: Path, processes: Processes
) -> None:
    corpus(work, 400)
    server.latency = 0.05
    command = [sys.executable, "-m", "compressor_cli", *COMMAND, "--model", MODELS["openai"], "--concurrency", "4"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    processes.append(run)
    until(lambda: len(server.requests) >= 30)  # checked by workers now, or about to be
    os.killpg(run.pid, signal.SIGINT)
    code, stderr = ended(run)
    assert code == 130 and "Traceback" not in stderr and "worker process" not in stderr
    assert len(rows_of()) == len(server.requests) < 400
