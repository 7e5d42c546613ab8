"""What a run would ask for and cost, from a sample of its requests. Nothing is sent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from statistics import fmean, stdev
from typing import Any

from compressor_cli.core.prices import NANO, Price
from compressor_cli.core.recipes import Job, Recipe
from compressor_cli.core.seeds import Seed, SourceRow, seeds
from compressor_cli.core.tokens import token_counter
from compressor_cli.records import ChatRequest, Usage

_SAMPLE = 100  # requests of a job whose tokens are counted
_TOKENIZER_SPREAD = 1.35  # how far other tokenizers are above o200k_base, which counts here
# Tokens of an answer: by tokens of the source for a compression, in all for a conversation.
_COMPRESSION, _CONVERSATION = (0.3, 0.9), (600, 3500)
_YIELD = 0.6  # the least of the asked rows that is expected to be accepted


@dataclass(frozen=True)
class Range:
    low: float
    high: float


@dataclass(frozen=True)
class JobEstimate:
    """`rows` would be asked for; `cached` of them are in the response cache and cost nothing. `usd` None: unknown."""

    name: str
    rows: Range
    there: int
    cached: int
    input_tokens: Range
    output_tokens: Range
    usd: Range | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def estimate(
    recipe: Recipe,
    job: Job,
    corpus: Sequence[SourceRow],
    model: str,
    *,
    price: Price | None,
    accepted: int,
    is_there: Callable[[str], bool],
    is_cached: Callable[[ChatRequest], bool],
    limit: int | None = None,
    batch: bool = False,
) -> JobEstimate:
    """`accepted` rows of the job stand in the output already, `is_there` tells of each key whether it does."""
    every = [seed for seed in islice(seeds(recipe, job, corpus, model), limit)]
    waiting = [seed for seed in every if not is_there(seed.key)]
    there = len(every) - len(waiting)
    wanted = len(waiting) if job.target is None else max(job.target - accepted, 0)
    least = min(len(waiting), wanted)
    most = least if job.target is None else min(len(waiting), math.ceil(wanted / _YIELD))
    cached = sum(is_cached(seed.request) for seed in waiting[:most])
    sample = waiting[:: max(len(waiting) // _SAMPLE, 1)][:_SAMPLE]
    given, answered = _tokens_of(recipe, sample)
    paid = Range(max(least - cached, 0), max(most - cached, 0))
    usd = None if price is None else Range(*(_usd(price, given, answered, paid, high, batch) for high in (False, True)))
    return JobEstimate(
        name=job.name,
        rows=Range(least, most),
        there=there,
        cached=cached,
        input_tokens=Range(round(given.low * paid.low), round(given.high * paid.high)),
        output_tokens=Range(round(answered.low * paid.low), round(answered.high * paid.high)),
        usd=usd,
    )


def _tokens_of(recipe: Recipe, sample: Sequence[Seed]) -> tuple[Range, Range]:
    """Of one request and of one answer."""
    if not sample:
        return Range(0, 0), Range(0, 0)
    count = token_counter().count
    counts = [count((seed.request.system or "") + seed.request.messages[0].content) for seed in sample]
    mean = fmean(counts)
    margin = 1.96 * stdev(counts) / math.sqrt(len(counts)) if len(counts) > 1 else mean / 2
    given = Range(max(mean - margin, 0), (mean + margin) * _TOKENIZER_SPREAD)
    if recipe.kind == "conversation":
        return given, Range(_CONVERSATION[0], min(_CONVERSATION[1], recipe.max_tokens))
    source = fmean(count(seed.row.text) for seed in sample if seed.row)
    return given, Range(_COMPRESSION[0] * source, _COMPRESSION[1] * source * _TOKENIZER_SPREAD)


def _usd(price: Price, given: Range, answered: Range, rows: Range, high: bool, batch: bool) -> float:
    one, other, times = (given.high, answered.high, rows.high) if high else (given.low, answered.low, rows.low)
    return price.cost(Usage(round(one), round(other)), batch=batch) * times / NANO
