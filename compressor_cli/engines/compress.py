"""Text in, receipt out: which engine a text gets, and what holds for all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from compressor_cli.core.facts import check_facts
from compressor_cli.core.tokens import DEFAULT_TOKENIZER, TokenCounter, token_counter
from compressor_cli.engines.chat import compress_chat
from compressor_cli.engines.dispatch import Outcome, domain_of, treat
from compressor_cli.engines.expand import text_map
from compressor_cli.engines.options import KEPT_TURNS, PROTECTED, Options
from compressor_cli.errors import UsageError
from compressor_cli.records import Block, Receipt


def compress(
    text: str,
    *,
    rate: float | None = None,
    max_tokens: int | None = None,
    tokenizer: str = DEFAULT_TOKENIZER,
    engine: str = "auto",
    domain: str | None = None,
    model: str | Path | None = None,
    level: str | None = None,
    query: str | None = None,
    protect: str | Collection[str] = PROTECTED,
    protect_pattern: Collection[str] = (),
    allow_loss: bool = False,
    omission_marker: bool = False,
    keep_first: int = 0,
    keep_last: int | None = None,
    stable_prefix: int = 0,
    chat: bool = False,
    filename: str | None = None,
    with_map: bool = False,
) -> Receipt:
    """Fewer tokens, the same meaning. Never more than `rate` x its tokens, nor `max_tokens`, nor the input.

    Raises UsageError for arguments that make no sense and BudgetTooSmallError where what must not be touched, or a
    protected fact, does not fit the budget. Same input, same result. The keywords are the flags of `scc compress`;
    `filename` helps to tell what the text is; `with_map` puts into the receipt what `expand` needs to give it back.

    >>> receipt = compress("The committee met on Tuesday, 3 March, and did not approve the plan.", rate=0.7)
    >>> receipt.tokens_out <= 0.7 * receipt.tokens_in
    True
    >>> receipt.fidelity_by_kind["negation"]
    1.0
    """
    options = Options(
        rate=rate, max_tokens=max_tokens, tokenizer=tokenizer, engine=engine, domain=domain, model=model, level=level,
        query=query, protect=protect, protect_pattern=protect_pattern, allow_loss=allow_loss,
        omission_marker=omission_marker, keep_first=keep_first, keep_last=keep_last, stable_prefix=stable_prefix,
        chat=chat, filename=filename,
    )  # fmt: skip
    began = time.perf_counter()
    if not isinstance(text, str):
        raise UsageError(f"text is needed, this is {type(text).__name__}")
    if not text.strip():
        raise UsageError("the input is empty")
    receipt = _receipt(text, options, token_counter(tokenizer), began)
    return replace(receipt, map=text_map(text, receipt.compressed)) if with_map else receipt


def _receipt(text: str, options: Options, counter: TokenCounter, began: float) -> Receipt:
    tokens_in = counter.count(text)
    budget = options.max_tokens
    if options.rate is not None:
        budget = math.floor(options.rate * tokens_in)
    found = domain_of(text, options)
    if options.chat:
        outcome = _chat(text, options, budget, counter)
    elif budget is not None and tokens_in <= budget:
        outcome = Outcome("none", text, ("already within the budget",))
    else:
        outcome = treat(text, found, options, budget, counter)
    tokens_out = counter.count(outcome.compressed)
    if tokens_out >= tokens_in and outcome.compressed != text:
        warnings = (*outcome.warnings, "nothing to gain: left as it is")
        outcome, tokens_out = Outcome("none", text, warnings, outcome.budget, minified=outcome.minified), tokens_in
    facts = check_facts(text, outcome.compressed, patterns=options.patterns)
    aimed = outcome.budget if budget is None else budget
    return Receipt(
        compressed=outcome.compressed,
        engine=outcome.engine,
        domain=found.name,
        why=found.why,
        tokenizer=counter.name,
        exact=counter.exact,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        ratio=round(tokens_out / tokens_in, 4),
        savings=round(1 - tokens_out / tokens_in, 4),
        rate=options.rate if options.rate is not None else round(min((aimed or tokens_in) / tokens_in, 1.0), 4),
        level=outcome.level,
        minified_tokens=None if outcome.minified is None else counter.count(outcome.minified),
        blocks=outcome.blocks,
        fidelity=facts.fidelity,
        fidelity_by_kind=facts.by_kind,
        facts=facts.facts,
        seconds=round(time.perf_counter() - began, 6),
        warnings=outcome.warnings,
    )


def _chat(text: str, options: Options, budget: int | None, counter: TokenCounter) -> Outcome:
    """Each content of the chat is a text of its own, under the same options but for what is the chat's."""
    turns = KEPT_TURNS if options.keep_last is None else options.keep_last
    inner = replace(options, chat=False, keep_last=None, rate=None, max_tokens=None, filename=None)

    def compress_content(content: str, most: int | None) -> Receipt:
        return _receipt(content, replace(inner, max_tokens=most), counter, time.perf_counter())

    result = compress_chat(text, budget=budget, keep_last=turns, count=counter.count, compress_text=compress_content)
    blocks = tuple(
        Block(None, None, one.domain, one.engine, "; ".join(one.warnings), one.tokens_in, one.tokens_out, one.path)
        for one in result.receipts
    )
    engine = "none" if result.text == text else "chat"
    return Outcome(engine, result.text, result.warnings, budget, blocks=blocks)
