"""What the layers around an SDK cost: rows a second with 64 requests out, of a bare SDK and of `open_chat`.

    python benchmarks/chat_overhead.py [--provider openai] [--rows 640] [--latency 0.05]

The server is a process of its own on the loopback interface. Both take turns, round after round, so that what else the
machine does falls on both; the ratio is of the medians. With the cache, each row is looked up and stored. CPU is that
of the client, by row.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

from reporting import print_table

from compressor_cli.chat.clients import open_chat, service_of
from compressor_cli.chat.google import GoogleChat
from compressor_cli.records import ChatMessage, ChatReply, ChatRequest
from compressor_cli.settings import ChatSettings

ROOT = Path(__file__).resolve().parents[1]
MODELS = {"anthropic": "anthropic:claude-test", "openai": "openai:gpt-test", "google": "google:gemini-test"}
TEXT = "The committee met on 25 September and did not agree on the price of the basic plan. " * 20
AT_ONCE = 64
ROUNDS = 9

Send = Callable[[str], Awaitable[Any]]
Close = Callable[[], Awaitable[Any]]


def bare(provider: str) -> tuple[Send, Close]:
    """As its documentation has it, but without retries."""
    model = MODELS[provider].partition(":")[2]
    if provider == "anthropic":
        import anthropic

        claude = anthropic.AsyncAnthropic(max_retries=0)
        return lambda text: claude.messages.create(model=model, max_tokens=4096, messages=[_user(text)]), claude.close
    if provider == "openai":
        import openai

        gpt = openai.AsyncOpenAI(max_retries=0)
        create = gpt.chat.completions.create
        return lambda text: create(model=model, max_completion_tokens=4096, messages=[_user(text)]), gpt.close
    # With the connections of ours: the SDK keeps 20 of them, and opens a new one for each of the other 44.
    gemini = GoogleChat(service_of(MODELS["google"], ChatSettings()), print)
    generate = gemini._client.aio.models.generate_content
    return lambda text: generate(model=model, contents=text, config={"max_output_tokens": 4096}), gemini.aclose


def _user(text: str) -> Any:
    return {"role": "user", "content": text}


def wrapped(provider: str, cache: Path | None) -> tuple[Send, Close]:
    settings = ChatSettings(concurrency=AT_ONCE, no_cache=cache is None, cache_dir=cache or Path())
    chat = open_chat(MODELS[provider], settings, print)

    def send(text: str) -> Awaitable[ChatReply]:
        return chat.ask(ChatRequest((ChatMessage("user", text),)))

    return send, chat.aclose


async def speed(send: Send, rows: int, first: int) -> tuple[float, float]:
    """(rows a second, CPU milliseconds a row); each row is a text of its own, or the cache would answer."""
    numbers = iter(range(first, first + rows))

    async def worker() -> None:
        for number in numbers:
            await send(f"{number}: {TEXT}")

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return rows / (time.perf_counter() - started), (time.process_time() - cpu) / rows * 1000


async def measure(provider: str, rows: int) -> dict[str, list[tuple[float, float]]]:
    with tempfile.TemporaryDirectory() as folder:
        ways = {
            "bare SDK": bare(provider),
            "open_chat, no cache": wrapped(provider, None),
            "open_chat, cache": wrapped(provider, Path(folder)),
        }
        speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for n in range(ROUNDS + 1):
            for name, (send, _) in ways.items():
                found = await speed(send, rows, n * rows)
                if n:  # the first round opens connections
                    speeds[name].append(found)
        for _, close in ways.values():
            await close()
    return speeds


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--provider", choices=MODELS, default="openai")
    parser.add_argument("--rows", type=int, default=640, help="of a round")
    parser.add_argument("--latency", type=float, default=0.05, help="seconds before each answer of the server")
    args = parser.parse_args(arguments)
    server = [sys.executable, str(ROOT / "tests" / "provider_server.py"), str(args.latency)]
    with subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        os.environ.update(json.loads(process.stdout.readline()))
        speeds = asyncio.run(measure(args.provider, args.rows))
        process.terminate()
    medians = {name: [median(values) for values in zip(*found, strict=True)] for name, found in speeds.items()}
    base = medians["bare SDK"][0]
    rows = [[name, f"{rate:.0f}", f"{rate / base:.3f}", f"{cpu:.2f}"] for name, (rate, cpu) in medians.items()]
    title = f"{args.provider}, {AT_ONCE} at once, {args.latency:g} s"
    print_table(title, ("way", "rows/s", "of bare", "CPU ms/row"), rows)


if __name__ == "__main__":
    main(sys.argv[1:])
