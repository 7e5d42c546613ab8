"""`scc seed generate` against a loopback server, beside a bare SDK loop and beside the least time that is possible.

    python benchmarks/generate.py [--rows 10000] [--latency 0.05] [--rounds 3] [--provider openai] [--no-cache]

With 8 requests at once the least time is rows x latency / 8, with 64 an SDK in a bare loop sets the pace; both take
turns with generate, round after round, and the medians are of the ratios within a round. The server and the checks of
rows run in processes of their own. CPU is processor time by row, start-up included: of the client's process, of the
checks and of the bare loop; it says more than seconds do where the machine has other work. Each answer is a
compression whose facts are checked, and each row has to be accepted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

from reporting import physical_cores, print_table

from compressor_cli.core.prices import load_prices
from compressor_cli.core.recipes import load_plan
from compressor_cli.core.seeds import SourceRow, seeds
from compressor_cli.core.spend import Ledger
from compressor_cli.engines.teacher import open_teacher
from compressor_cli.records import ChatRequest
from compressor_cli.settings import ChatSettings, Settings
from compressor_cli.stages.generate import generate

ROOT = Path(__file__).resolve().parents[1]
MODELS = {"anthropic": "anthropic:claude-test", "openai": "openai:gpt-test"}
MODES = {8: 1.10, 64: 0.9}  # the bars: of the least time at most, of the bare loop's rows a second at least


def text(number: int) -> str:
    """About 100 tokens, with facts of every kind that are to survive; no two are near-duplicates."""
    words = " ".join(f"item{number * 7919 % 10007 * k}" for k in range(1, 6))
    return (
        f"Report {number}: the committee that was appointed in Durness met on 25 September 2024 and it did not agree "
        f"on the price of the basic plan, that was ${number % 90 + 10}.50 before. Helena Marsh said that she "
        f"would not sign unless the {number % 7 + 3} conditions that are listed at https://example.org/{number} were "
        f"met; the goods that are in question are {words}, and they are the ones that were ordered by the city."
    )


def source(number: int) -> SourceRow:
    return SourceRow(str(number), text(number), "prose", None, f"{number}.md", None, None)


def ended_children() -> float:
    """CPU seconds; the server is not among them before it ends."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def speed(provider: str, rows: int, concurrency: int, folder: Path, *, cache: bool) -> tuple[float, float, float]:
    """(seconds, CPU milliseconds a row, those of the checks) of generate."""
    plan = load_plan("compression")
    corpus = [source(n) for n in range(rows)]
    chat_settings = ChatSettings(concurrency=concurrency, no_cache=not cache, cache_dir=folder / "cache")
    target = folder / "pairs.jsonl"
    started, cpu, checks = time.perf_counter(), time.process_time(), ended_children()
    with Ledger(folder / "costs.jsonl") as ledger:
        chat = open_teacher(
            MODELS[provider], Settings(chat=chat_settings), ledger, load_prices(), command="generate", note=print,
            limiters={},
        )  # fmt: skip
        summary = generate(plan, corpus, chat, target, concurrency=concurrency)
    seconds, cpu, checks = time.perf_counter() - started, time.process_time() - cpu, ended_children() - checks
    accepted = sum(job.accepted for job in summary.jobs)
    if accepted != rows or summary.stopped:
        raise SystemExit(f"{accepted} of {rows} rows were accepted: {[job.reasons for job in summary.jobs]}")
    return seconds, cpu / rows * 1000, checks / rows * 1000


def bare_speed(provider: str, rows: int, concurrency: int) -> tuple[float, float]:
    """The same requests by the SDK alone."""
    plan = load_plan("compression")
    corpus = [source(n) for n in range(rows)]
    model = MODELS[provider].partition(":")[2]

    async def run() -> None:
        send, close = _anthropic(model) if provider == "anthropic" else _openai(model)
        requests = (seed.request for seed in seeds(plan.recipe, plan.jobs[0], corpus, MODELS[provider]))

        async def worker() -> None:
            for request in requests:
                await send(request)

        await asyncio.gather(*(worker() for _ in range(concurrency)))
        await close()

    started, cpu = time.perf_counter(), time.process_time()
    asyncio.run(run())
    return time.perf_counter() - started, (time.process_time() - cpu) / rows * 1000


Send = Callable[[ChatRequest], Awaitable[Any]]
Close = Callable[[], Awaitable[Any]]


def _openai(model: str) -> tuple[Send, Close]:
    import openai

    gpt = openai.AsyncOpenAI(max_retries=0)

    def send(request: ChatRequest) -> Awaitable[Any]:
        schema = {"name": request.schema_name, "schema": request.schema, "strict": True}
        form: Any = {"type": "json_schema", "json_schema": schema}
        return gpt.chat.completions.create(
            model=model,
            max_completion_tokens=request.max_tokens,
            messages=[_message("system", request.system), _message("user", request.messages[0].content)],
            response_format=form,
        )

    return send, gpt.close


def _anthropic(model: str) -> tuple[Send, Close]:
    import anthropic

    claude = anthropic.AsyncAnthropic(max_retries=0)

    def send(request: ChatRequest) -> Awaitable[Any]:
        return claude.messages.create(
            model=model,
            max_tokens=request.max_tokens,
            system=request.system or "",
            messages=[_message("user", request.messages[0].content)],
            output_config={"format": {"type": "json_schema", "schema": dict(request.schema or {})}},
        )

    return send, claude.close


def _message(role: str, content: str | None) -> Any:
    return {"role": role, "content": content}


def measure(provider: str, rows: int, latency: float, concurrency: int, rounds: int, *, cache: bool) -> list[str]:
    found: list[tuple[float, ...]] = []
    for _ in range(rounds):
        base, base_cpu = bare_speed(provider, rows, concurrency)
        with tempfile.TemporaryDirectory() as folder:
            taken, *cpu = speed(provider, rows, concurrency, Path(folder), cache=cache)
        found.append((rows / taken, taken / (rows * latency / concurrency), base / taken, *cpu, base_cpu))
    rate, least, of_bare, *by_part = (median(values) for values in zip(*found, strict=True))
    bar = f"at most {MODES[8]:.2f} of least" if concurrency == 8 else f"at least {MODES[64]:.2f} of bare"
    holds = least <= MODES[8] if concurrency == 8 else of_bare >= MODES[64]
    figures = [f"{rate:.0f}", f"{least:.3f}", f"{of_bare:.3f}", *(f"{cpu:.2f}" for cpu in by_part)]
    return [str(concurrency), *figures, bar, "yes" if holds else "no"]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--provider", choices=MODELS, default="openai")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds before each answer of the server")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, choices=MODES, help="one of the two; both if absent")
    parser.add_argument("--no-cache", action="store_true", help="without the response cache, as --no-cache of scc")
    args = parser.parse_args(arguments)
    server = [sys.executable, str(ROOT / "tests" / "provider_server.py"), str(args.latency), "--compress"]
    with subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        os.environ.update(json.loads(process.stdout.readline()))
        modes: list[int] = [args.concurrency] if args.concurrency else list(MODES)
        table: list[list[Any]] = [
            measure(args.provider, args.rows, args.latency, at_once, args.rounds, cache=not args.no_cache)
            for at_once in modes
        ]
        process.terminate()
    machine = f"{physical_cores()} physical cores, load {os.getloadavg()[0]:.1f}"
    title = f"{args.provider}, {args.rows:,} rows, {args.latency:g} s, medians of {args.rounds}; {machine}"
    print_table(
        title,
        ("at once", "rows/s", "time of least", "rows/s of bare", "CPU ms/row", "of checks", "of bare", "bar", "holds"),
        table,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
