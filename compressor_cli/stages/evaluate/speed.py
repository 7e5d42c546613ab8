"""`scc eval --benchmark`: how long a model takes over inputs of 100 to 4,000 tokens, alone and in batches."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compressor_cli.core.curves import Curve, write_html, write_png
from compressor_cli.core.decoding import build_user_message, compute_generation_budget
from compressor_cli.core.evaluation import TARGET_SECONDS
from compressor_cli.core.evaluation_rows import EvalRow
from compressor_cli.core.generation import Generated, Generator, Prompt, Sampling
from compressor_cli.core.tokens import token_counter
from compressor_cli.errors import SccError, UsageError
from compressor_cli.settings import EvalSettings

LENGTHS = (100, 250, 500, 1000, 2000, 4000)
ROUNDS = 5
OnEvent = Callable[[Mapping[str, Any]], None]


class _NotAnsweredError(SccError):
    pass


@dataclass(frozen=True)
class Speed:
    """At one length of input: seconds of a single answer, median and 95th percentile of `rounds`; and how much goes
    through with `batch_size` inputs at once, in tokens written and in inputs, by the second."""

    tokens_in: int
    tokens_out: float
    rounds: int
    p50: float
    p95: float
    within_target: bool
    batch_size: int
    tokens_per_second: float
    inputs_per_second: float


@dataclass(frozen=True)
class SpeedReport:
    model: str
    target_seconds: float
    machine: str
    lengths: Sequence[Speed]

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "lengths": [asdict(one) for one in self.lengths]}


def benchmark(
    settings: EvalSettings,
    rows: Sequence[EvalRow],
    generator: Generator,
    *,
    machine: str,
    on_event: OnEvent = lambda event: None,
) -> SpeedReport:
    """Inputs are made of those of `rows`, one after the other; each is asked once, so that no cache can help.

    A length that the model does not take ends it. Raises SccError where it takes none.
    """
    texts = _texts(settings, rows)
    found: list[Speed] = []
    for n, length in enumerate(LENGTHS):
        on_event({"done": n, "total": len(LENGTHS)})
        budget = compute_generation_budget(length, most=settings.max_tokens)
        prompts = [
            Prompt(_messages(text, rows), budget)
            for text in (texts(length) for _ in range(1 + ROUNDS + settings.batch_size))
        ]
        try:
            found.append(_speed(settings, generator, length, prompts))
        except _NotAnsweredError as exc:
            if not found:
                raise
            on_event({"message": f"inputs of {length:,} tokens and more are left out: {exc}"})
            break
    on_event({"done": len(LENGTHS), "total": len(LENGTHS)})
    return SpeedReport(generator.name, TARGET_SECONDS, machine, tuple(found))


def _speed(settings: EvalSettings, generator: Generator, length: int, prompts: Sequence[Prompt]) -> Speed:
    sampling = Sampling(settings.temperature, settings.top_p, settings.seed)
    _answers(generator, prompts[:1], sampling)  # the first one loads and compiles
    alone = [_answers(generator, [prompt], sampling)[0] for prompt in prompts[1 : 1 + ROUNDS]]
    began = time.perf_counter()
    together = _answers(generator, prompts[1 + ROUNDS :], sampling)
    passed = time.perf_counter() - began
    p50, p95 = (float(value) for value in np.percentile([answer.seconds for answer in alone], (50, 95)))
    return Speed(
        tokens_in=length,
        tokens_out=round(sum(answer.tokens_out for answer in alone) / ROUNDS, 1),
        rounds=ROUNDS,
        p50=round(p50, 6),
        p95=round(p95, 6),
        within_target=p95 <= TARGET_SECONDS,
        batch_size=settings.batch_size,
        tokens_per_second=round(sum(answer.tokens_out for answer in together) / passed, 2),
        inputs_per_second=round(len(together) / passed, 3),
    )


def _texts(settings: EvalSettings, rows: Sequence[EvalRow]) -> Callable[[int], str]:
    """Texts of exactly as many tokens as whole words make, at most; other words each time."""
    words = [word for row in rows if row.error is None for word in row.input.split()]
    if not words:
        raise UsageError("no text in the rows to make inputs of")
    count = token_counter(settings.tokenizer).count
    draw = random.Random(settings.seed)

    def text(length: int) -> str:
        start = draw.randrange(len(words))
        taken = [words[(start + n) % len(words)] for n in range(length)]
        low, high = 1, len(taken)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if count(" ".join(taken[:middle])) <= length else (low, middle - 1)
        return " ".join(taken[:low])

    return text


def _messages(text: str, rows: Sequence[EvalRow]) -> tuple[Mapping[str, Any], ...]:
    """As the first row is asked, with another text."""
    first = next(row for row in rows if row.error is None)
    *before, user = first.messages
    prefix = user["content"].removesuffix(first.input)
    return (*before, {"role": "user", "content": build_user_message(text, prefix)})


def _answers(generator: Generator, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generated]:
    found = [answer for _, answer in generator.generate(prompts, sampling)]
    for answer in found:
        if answer.error is not None:
            raise _NotAnsweredError(f"{generator.name}: {answer.error}")
    return found


def write_chart(report: SpeedReport, path: Path) -> None:
    """Milliseconds by length, with the target; a picture or a page, by the name of the file."""
    curves = list(_curves(report))
    if path.suffix == ".png":
        write_png(curves, path, across="tokens of the input")
    else:
        write_html(curves, path, f"Latency of {report.model}, ms", across="tokens of the input")


def _curves(report: SpeedReport) -> Iterator[Curve]:
    for name, field in (("median", "p50"), ("95th percentile", "p95")):
        points = tuple((float(one.tokens_in), getattr(one, field) * 1000) for one in report.lengths)
        yield Curve(f"{name}, ms", points)
    ends = (report.lengths[0].tokens_in, report.lengths[-1].tokens_in)
    target = report.target_seconds * 1000
    yield Curve(f"target, {target:.0f} ms", tuple((float(end), target) for end in ends))
