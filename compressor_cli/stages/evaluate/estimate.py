"""`scc eval --dry-run`: what would be asked, and what it costs at most. Nothing is sent; no key is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from compressor_cli.core.decoding import compute_generation_budget
from compressor_cli.core.evaluation_rows import EvalRow
from compressor_cli.core.jsonl import read_rows
from compressor_cli.core.prices import NANO, Prices, load_prices
from compressor_cli.core.tokens import token_counter
from compressor_cli.records import Usage
from compressor_cli.settings import EvalSettings, SpendSettings

# Of one request to a judge: its instructions with what it is told beside the texts, and its answer, in tokens.
_TOLD, _ANSWER = 700, 320
_CODE_TASKS, _PROSE_TASKS = 1, 2


@dataclass(frozen=True)
class EvalEstimate:
    """`there` are done. Tokens are those of `tokenizer`; answers have at most `output_tokens`. `usd` is the most that
    answers cost, `judge_usd` about what judges do; None where a price is not known."""

    rows: int
    there: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    judge_requests: int
    judge_usd: float | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def estimate_eval(
    settings: EvalSettings, spend: SpendSettings, rows: Sequence[EvalRow], target: Path | None, paid: str | None
) -> EvalEstimate:
    """`paid` is the model of a provider, where one is asked."""
    last = {row.get("key"): row for row in read_rows(target)} if target and target.exists() else {}
    waiting = [row for row in rows if row.error is None and row.key not in last]
    count, prices = token_counter(settings.tokenizer).count, load_prices(spend.prices)
    asked = sum(count(str(message.get("content") or "")) for row in waiting for message in row.messages)
    sizes = [count(row.input) for row in waiting]
    answered = sum(compute_generation_budget(size, most=settings.max_tokens) for size in sizes)
    requests, dollars = _judging(settings, waiting, sizes, prices)
    return EvalEstimate(
        rows=len(waiting),
        there=sum(row.key in last for row in rows),
        input_tokens=asked,
        output_tokens=answered,
        usd=_cost(prices, paid, asked, answered) if paid else 0.0,
        judge_requests=requests,
        judge_usd=dollars,
    )


def _judging(
    settings: EvalSettings, rows: Sequence[EvalRow], sizes: Sequence[int], prices: Prices
) -> tuple[int, float | None]:
    """Each judge does each task on both texts, the first writes the questions and compares in both orders."""
    requests, costs = 0, []
    for place, judge in enumerate(settings.judge):
        number = tokens = 0
        for row, size in zip(rows, sizes, strict=True):
            tasks = _CODE_TASKS if row.domain == "code" else _PROSE_TASKS
            mine = 2 * tasks + (0 if place else int(row.domain != "code") + 2 * tasks * len(settings.judge))
            number += mine
            tokens += mine * size
        requests += number
        costs.append(_cost(prices, judge, tokens + number * _TOLD, number * _ANSWER))
    known = [cost for cost in costs if cost is not None]
    return requests, sum(known) if len(known) == len(costs) else None


def _cost(prices: Prices, name: str, tokens_in: int, tokens_out: int) -> float | None:
    price = prices.find(name)
    return None if price is None else price.at(date.today()).cost(Usage(tokens_in, tokens_out)) / NANO
