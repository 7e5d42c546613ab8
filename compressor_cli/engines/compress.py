"""Text in, receipt out: which engine a text gets, and what holds for all of them."""

from __future__ import annotations

import math
import time
from pathlib import Path

from compressor_cli.core.domains import DOMAINS, detect_domain
from compressor_cli.core.tokens import DEFAULT_TOKENIZER, TokenCounter, token_counter
from compressor_cli.errors import BudgetTooSmallError, UsageError
from compressor_cli.records import Receipt

DEFAULT_RATE = 0.5
ENGINES = ("auto", "prose")


def compress(
    text: str,
    *,
    rate: float | None = None,
    max_tokens: int | None = None,
    tokenizer: str = DEFAULT_TOKENIZER,
    engine: str = "auto",
    domain: str | None = None,
    model: str | Path | None = None,
) -> Receipt:
    """Fewer tokens, the same meaning. Never more than `rate` x its tokens, nor `max_tokens`, nor the input.

    Raises UsageError for arguments that make no sense and BudgetTooSmallError where what must not be touched is
    larger than the budget. Same input, same result.

    >>> receipt = compress("The committee met on Tuesday, 3 March, and did not approve the plan.", rate=0.7)
    >>> receipt.tokens_out <= 0.7 * receipt.tokens_in
    True
    """
    began = time.perf_counter()
    check_arguments(rate=rate, max_tokens=max_tokens, engine=engine, domain=domain)
    if not isinstance(text, str):
        raise UsageError(f"text is needed, this is {type(text).__name__}")
    if not text.strip():
        raise UsageError("the input is empty")
    counter = token_counter(tokenizer)
    tokens_in = counter.count(text)
    budget = max_tokens if max_tokens is not None else math.floor(rate * tokens_in) if rate is not None else None
    found = domain or detect_domain(text).name
    warnings: tuple[str, ...]
    if budget is not None and tokens_in <= budget:
        used, compressed, warnings = "none", text, ("already within the budget",)
    elif engine == "auto" and found in ("code", "json"):
        used, compressed, warnings = _left_alone(text, found, tokens_in, budget)
    else:
        used, compressed, warnings, budget = _prose(text, budget, counter, engine, model)
    tokens_out = counter.count(compressed)
    if budget is None:
        budget = tokens_in
    if tokens_out >= tokens_in and compressed != text:
        used, compressed, tokens_out, warnings = "none", text, tokens_in, (*warnings, "nothing to gain: left as it is")
    return Receipt(
        compressed=compressed,
        engine=used,
        domain=found,
        tokenizer=counter.name,
        exact=counter.exact,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        ratio=round(tokens_out / tokens_in, 4),
        savings=round(1 - tokens_out / tokens_in, 4),
        rate=rate if rate is not None else round(min(budget / tokens_in, 1.0), 4),
        seconds=round(time.perf_counter() - began, 6),
        warnings=warnings,
    )


def check_arguments(*, rate: float | None, max_tokens: int | None, engine: str, domain: str | None) -> None:
    """Raises UsageError, so that a command can refuse before it reads its input."""
    if rate is not None and max_tokens is not None:
        raise UsageError("--rate and --max-tokens exclude each other", hint="give one of them")
    if rate is not None and not 0 < rate <= 1:
        raise UsageError(f"--rate {rate} is outside (0, 1]", hint="0.5 keeps at most half of the tokens")
    if max_tokens is not None and max_tokens < 1:
        raise UsageError(f"--max-tokens {max_tokens}: at least 1 is needed")
    if engine not in ENGINES:
        raise UsageError(f"unknown engine {engine!r}", hint=f"one of {', '.join(ENGINES)}")
    if domain is not None and domain not in DOMAINS:
        raise UsageError(f"unknown domain {domain!r}", hint=f"one of {', '.join(DOMAINS)}")
    if engine == "prose" and domain in ("code", "json"):
        raise UsageError(f"--engine prose does not fit --domain {domain}", hint="leave one of them out")


def _left_alone(text: str, found: str, tokens_in: int, budget: int | None) -> tuple[str, str, tuple[str, ...]]:
    name = {"code": "code", "json": "JSON"}[found]
    if budget is not None:
        raise BudgetTooSmallError(
            f"{name} stays as it is and takes {tokens_in} tokens, the budget is {budget}",
            tokens_in,
            hint="--engine prose treats it as prose",
        )
    return "none", text, (f"{name} is left as it is; --engine prose treats it as prose",)


def _prose(
    text: str, budget: int | None, counter: TokenCounter, engine: str, model: str | Path | None
) -> tuple[str, str, tuple[str, ...], int]:
    from compressor_cli.engines.prose import compress_prose
    from compressor_cli.engines.scorer import EMBEDDED, load_scorer

    scorer = load_scorer(model_folder(model) if model is not None else EMBEDDED)
    result = compress_prose(
        text, share=DEFAULT_RATE, budget=budget, count=counter.count, scorer=scorer, any_language=engine == "prose"
    )
    if result.compressed == text:
        return "none", text, result.warnings or ("nothing to gain: left as it is",), result.budget
    return "prose", result.compressed, result.warnings, result.budget


def model_folder(model: str | Path) -> Path:
    """A folder with a model, or a run that trained one."""
    folder = Path(model)
    if not folder.exists():
        raise UsageError(f"--model {folder}: no such folder", hint="a run of: scc train --backend extractive")
    inside = folder / "model"
    return inside if inside.is_dir() else folder
