"""The embedded engine as a teacher, and the processes that check answers."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from compressor_cli import __version__
from compressor_cli.core.seeds import CLOSE, COMPRESSION, OPEN
from compressor_cli.core.workers import Workers
from compressor_cli.engines.teacher import EmbeddedTeacher
from compressor_cli.errors import BadRequestError, SccError, UsageError
from compressor_cli.records import ChatMessage, ChatReply, ChatRequest

TEXT = "The committee, which had been meeting every week since January, finally decided to wait for the report. " * 5


def ask(content: str, schema: Any = COMPRESSION) -> ChatReply:
    return asyncio.run(EmbeddedTeacher().ask(ChatRequest((ChatMessage("user", content),), schema=schema)))


def test_it_compresses_what_stands_between_the_marks() -> None:
    reply = ask(f"{OPEN}{TEXT}{CLOSE}")
    compressed = json.loads(reply.text)["compressed"]
    assert 0 < len(compressed) < len(TEXT) and "committee" in compressed
    assert (reply.model, reply.cost_usd, reply.cached, reply.stop) == (f"embedded-{__version__}", 0.0, False, "end")
    assert reply.usage.input_tokens > reply.usage.output_tokens > 0
    assert ask(f"{OPEN}{TEXT}{CLOSE}", schema=None).text == compressed


def test_it_does_nothing_else() -> None:
    with pytest.raises(UsageError, match="compresses texts and does nothing else") as caught:
        ask("Write a poem.")
    assert caught.value.hint == "name another --model"
    with pytest.raises(UsageError):
        ask(f"{OPEN}{TEXT}{CLOSE}", schema={"type": "object", "properties": {"messages": {}, "tools": {}}})
    with pytest.raises(BadRequestError):
        ask(f"{OPEN} {CLOSE}")


# --- worker processes


def square(number: int) -> tuple[int, int]:
    """With who did it."""
    if number < 0:
        os._exit(1)
    return number * number, os.getpid()


async def squares(workers: Workers[[int], tuple[int, int]], numbers: range) -> list[tuple[int, int]]:
    return list(await asyncio.gather(*(workers.run(number) for number in numbers)))


def test_a_small_run_starts_no_process() -> None:
    before = multiprocessing.active_children()
    with Workers(square, 64) as workers:
        assert multiprocessing.active_children() == before
        found = asyncio.run(squares(workers, range(64)))
    assert found == [(n * n, os.getpid()) for n in range(64)]


async def until_ready(workers: Workers[[int], tuple[int, int]]) -> None:
    for _ in range(600):
        if (await workers.run(3))[1] != os.getpid():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("no worker process came up in half a minute")


def test_a_large_run_goes_to_others_once_they_are_up() -> None:
    async def run() -> list[tuple[int, int]]:
        await until_ready(workers)
        return await squares(workers, range(500))

    with Workers(square, 65) as workers:
        found = asyncio.run(run())
    assert [one for one, _ in found] == [n * n for n in range(500)]
    assert os.getpid() not in {pid for _, pid in found}
    for pid in {pid for _, pid in found}:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_worker_that_dies_is_an_error_of_one_line() -> None:
    async def run() -> None:
        await until_ready(workers)
        await asyncio.gather(*(workers.run(-1) for _ in range(40)))

    with Workers(square, 1000) as workers, pytest.raises(SccError, match="a worker process ended"):
        asyncio.run(run())


def test_workers_end_with_a_parent_that_is_killed(work: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    code = (
        "import asyncio, test_teacher as t\n"
        "async def run():\n"
        "    await t.until_ready(workers)\n"
        "    print(*{pid for _, pid in await t.squares(workers, range(200))}, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "with t.Workers(t.square, 1000) as workers:\n"
        "    asyncio.run(run())\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{os.environ['PYTHONPATH']}{os.pathsep}{Path(__file__).parent}"}
    processes.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment))
    stdout = processes[0].stdout
    assert stdout is not None
    pids = [int(pid) for pid in stdout.readline().split()]
    assert pids and all(_runs(pid) for pid in pids)
    processes[0].send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(map(_runs, pids)):
        assert time.monotonic() < deadline, "a worker outlives its parent"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """A zombie, whose parent has not asked for it, has ended."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return state != "" and not state.startswith("Z")
