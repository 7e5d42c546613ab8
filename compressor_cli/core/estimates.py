"""What a run would ask for and cost, from a sample of its requests. Nothing is sent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from compressor_cli.core.prices import NANO, Price
from compressor_cli.core.recipes import Recipe
from compressor_cli.core.seeds import Seed
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


@dataclass(frozen=True)
class Waiting:
    """The seeds of a job that are not `there`, and how many accepted rows are `wanted`; None: all of them are."""

    name: str
    seeds: Sequence[Seed]
    there: int
    wanted: int | None

    @property
    def rows(self) -> Range:
        """What would be asked for without a limit."""
        every = len(self.seeds)
        if self.wanted is None:
            return Range(every, every)
        return Range(min(every, self.wanted), min(every, math.ceil(self.wanted / _YIELD)))


def shares(jobs: Sequence[Waiting], limit: int | None) -> list[Range]:
    """The rows of each job where all of them together are at most `limit`: in proportion, as a run takes them up."""
    every = [job.rows for job in jobs]
    if limit is None:
        return every
    low, high = (_shared([getattr(rows, end) for rows in every], limit) for end in ("low", "high"))
    return [Range(*ends) for ends in zip(low, high, strict=True)]


def _shared(counts: Sequence[float], limit: int) -> list[float]:
    """By largest remainder."""
    if sum(counts) <= limit:
        return list(counts)
    exact = [count * limit / sum(counts) for count in counts]
    whole = [math.floor(share) for share in exact]
    order = sorted(range(len(counts)), key=lambda n: whole[n] - exact[n])
    return [share + (n in order[: limit - sum(whole)]) for n, share in enumerate(whole)]


def estimate(
    recipe: Recipe,
    job: Waiting,
    rows: Range,
    *,
    price: Price | None,
    is_cached: Callable[[ChatRequest], bool],
    batch: bool = False,
) -> JobEstimate:
    cached = sum(is_cached(seed.request) for seed in job.seeds[: int(rows.high)])
    given, answered = _tokens_of(recipe, job.seeds[:: max(len(job.seeds) // _SAMPLE, 1)][:_SAMPLE])
    paid = Range(max(rows.low - cached, 0), max(rows.high - cached, 0))
    usd = None if price is None else Range(*(_usd(price, given, answered, paid, high, batch) for high in (False, True)))
    return JobEstimate(
        name=job.name,
        rows=rows,
        there=job.there,
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
    margin = 1.96 * stdev(counts) / math.sqrt(len(counts)) if len(counts) > 1 else 0.0
    given = Range(max(mean - margin, 0), (mean + margin) * _TOKENIZER_SPREAD)
    if recipe.kind == "conversation":
        low, high = map(float, _CONVERSATION)
    else:
        source = fmean(count(seed.row.text) for seed in sample if seed.row)
        low, high = _COMPRESSION[0] * source, _COMPRESSION[1] * source * _TOKENIZER_SPREAD
    return given, Range(min(low, recipe.max_tokens), min(high, recipe.max_tokens))


def _usd(price: Price, given: Range, answered: Range, rows: Range, high: bool, batch: bool) -> float:
    one, other, times = (given.high, answered.high, rows.high) if high else (given.low, answered.low, rows.low)
    return price.cost(Usage(round(one), round(other)), batch=batch) * times / NANO
