"""Text in, receipt out: which engine a text gets, and what holds for all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from compressor_cli.core.domains import Domain
from compressor_cli.core.facts import check_facts
from compressor_cli.core.tokens import TokenCounter, token_counter
from compressor_cli.engines.chat import compress_chat
from compressor_cli.engines.chat_read import Kept, is_chat
from compressor_cli.engines.dispatch import ask_ahead, domain_of, treat, without_adapter
from compressor_cli.engines.expand import text_map
from compressor_cli.engines.guard import lost_as_told
from compressor_cli.engines.options import KEPT_TURNS, Options
from compressor_cli.engines.outcome import Outcome
from compressor_cli.errors import BudgetTooSmallError, UsageError
from compressor_cli.records import Block, FactReport, Receipt

_LOSSY = ("prose", "logs", "code", "adapter")
WITHIN = "already within the budget"
_TRIALS = 12  # of budgets that are said to be enough, each higher by twice as much


def compress(
    text: str,
    *,
    rate: float | None = Options.rate,
    max_tokens: int | None = Options.max_tokens,
    tokenizer: str = Options.tokenizer,
    engine: str = Options.engine,
    domain: str | None = Options.domain,
    model: str | Path | None = Options.model,
    level: str | None = Options.level,
    query: str | None = Options.query,
    protect: str | Collection[str] | None = Options.protect,
    protect_pattern: str | Collection[str] = Options.protect_pattern,
    allow_loss: bool = Options.allow_loss,
    omission_marker: bool = Options.omission_marker,
    keep_first: int = Options.keep_first,
    keep_last: int | None = Options.keep_last,
    stable_prefix: int = Options.stable_prefix,
    chat: bool = Options.chat,
    adapter: str | Path | None = Options.adapter,
    backend: str | None = Options.backend,
    base_url: str | None = Options.base_url,
    adaptive: bool = Options.adaptive,
    task: str | None = Options.task,
    filename: str | None = Options.filename,
    with_map: bool = False,
) -> Receipt:
    """Fewer tokens, the same meaning. Never more than `rate` x its tokens, nor `max_tokens`, nor the input.

    Raises UsageError for arguments that make no sense and BudgetTooSmallError where what must not be touched, or a
    protected fact, does not fit the budget. Same input, same result. The keywords are the flags of `scc compress`;
    `filename` helps to tell what the text is; `with_map` puts into the receipt what `expand` needs to give it back. The
    facts of a chat are those of its contents, at their places in the JSON.

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
        chat=chat, adapter=adapter, backend=backend, base_url=base_url, adaptive=adaptive, task=task,
        filename=filename,
    )  # fmt: skip
    began = time.perf_counter()
    if not isinstance(text, str):
        raise UsageError(f"text is needed, this is {type(text).__name__}")
    if not text.strip():
        raise UsageError("the input is empty")
    if not isinstance(with_map, bool):
        raise UsageError(f"with_map: True or False is needed, this is {with_map!r:.60}")
    receipt = _receipt(text, options, token_counter(tokenizer), began)
    if receipt.domain == "json" and is_chat(text):
        told = "this is a chat: with --chat its contents are compressed"
        receipt = replace(receipt, warnings=(*receipt.warnings, told))
    if options.level and not _has_code(receipt):
        receipt = replace(receipt, warnings=(*receipt.warnings, f"no code in it: --level {level} makes no difference"))
    return replace(receipt, map=text_map(text, receipt.compressed)) if with_map else receipt


def _has_code(receipt: Receipt) -> bool:
    """Or may have: what was within its budget was not looked at."""
    domains = (receipt.domain, *(block.domain for block in receipt.blocks))
    return "code" in domains or WITHIN in receipt.warnings


def _receipt(text: str, options: Options, counter: TokenCounter, began: float, *, part: bool = False) -> Receipt:
    """`part`: the text is a content of a chat, and what is said of patterns is said of all."""
    tokens_in = counter.count(text)
    budget = options.max_tokens
    if options.rate is not None:
        budget = math.floor(options.rate * tokens_in)
    found = domain_of(text, options)

    def within(most: int | None) -> Outcome:
        return _outcome(text, found, without_adapter(options), most, tokens_in, counter)

    try:
        outcome = _outcome(text, found, options, budget, tokens_in, counter)
    except BudgetTooSmallError as exc:
        raise (exc if part else exc.of(_enough(within, exc.tokens_needed, tokens_in), budget)) from None
    tokens_out = counter.count(outcome.compressed)
    if not part and not options.chat:
        outcome = replace(outcome, warnings=(*outcome.warnings, *_unmatched(options, [text])))
    if outcome.facts is None:
        facts = check_facts(text, outcome.compressed, patterns=options.patterns)
    else:
        facts = FactReport(outcome.facts)
    gone = sum(fact.status != "kept" and fact.kind in options.kinds for fact in facts.facts)
    if gone and outcome.engine == "code":
        told = f"{gone} protected facts" if gone > 1 else "1 protected fact"
        outcome = replace(outcome, warnings=(f"{told} stood in what is left out", *outcome.warnings))
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
        rate=float(options.rate) if options.rate is not None else round(min((aimed or tokens_in) / tokens_in, 1.0), 4),
        level=outcome.level,
        minified_tokens=None if outcome.minified is None else counter.count(outcome.minified),
        blocks=outcome.blocks,
        fidelity=facts.fidelity,
        fidelity_by_kind=facts.by_kind,
        facts=facts.facts,
        seconds=round(time.perf_counter() - began, 6),
        warnings=outcome.warnings,
    )


def _enough(within: Callable[[int | None], Outcome], needed: int, tokens_in: int) -> int:
    """A budget that is enough, since it was tried; from what an engine reckoned upwards."""
    for trial in range(_TRIALS):
        if needed >= tokens_in:
            break
        try:
            within(needed)
        except BudgetTooSmallError as exc:
            needed = max(exc.tokens_needed, needed + 2**trial)
        else:
            return needed
    return tokens_in


def _outcome(
    text: str, found: Domain, options: Options, budget: int | None, tokens_in: int, counter: TokenCounter
) -> Outcome:
    if options.chat:
        outcome = _chat(text, options, budget, counter)
    elif budget is not None and tokens_in <= budget:
        outcome = Outcome("none", text, (WITHIN,))
    else:
        outcome = treat(text, found, options, budget, counter)
    if outcome.engine in _LOSSY and lost_as_told(text, outcome.compressed, options):
        if budget is not None:
            raise BudgetTooSmallError(
                "what is protected needs {needed} tokens, the budget is {budget}", tokens_in, budget
            )
        return Outcome("none", text, (*outcome.warnings, "a protected fact would be lost: left as it is"))
    if outcome.compressed == text or counter.count(outcome.compressed) < tokens_in:
        return outcome
    warnings = (*outcome.warnings, "nothing to gain: left as it is")
    return Outcome("none", text, warnings, outcome.budget, minified=outcome.minified)


def _chat(text: str, options: Options, budget: int | None, counter: TokenCounter) -> Outcome:
    """Each content of the chat is a text of its own, under the same options but for what is the chat's."""
    turns = KEPT_TURNS if options.keep_last is None else options.keep_last
    kept = Kept(options.keep_first, turns, options.stable_prefix)
    inner = replace(
        options, chat=False, keep_first=0, keep_last=None, stable_prefix=0, rate=None, max_tokens=None, filename=None,
        task=options.task_of("chat"),
    )  # fmt: skip

    def compress_content(content: str, most: int | None) -> Receipt:
        return _receipt(content, replace(inner, max_tokens=most), counter, time.perf_counter(), part=True)

    def ahead(contents: Sequence[str]) -> None:
        if options.names_adapter:
            ask_ahead(contents, inner, counter)

    result = compress_chat(
        text,
        budget=budget,
        kept=kept,
        count=counter.count,
        compress_text=compress_content,
        ahead=ahead,
        patterns=options.patterns,
    )
    blocks = tuple(
        Block(None, None, one.domain, one.engine, one.why, one.tokens_in, one.tokens_out, one.path)
        for one in result.receipts
    )
    engine = "none" if result.text == text else "chat"
    warnings = (*result.warnings, *_unmatched(options, result.contents))
    return Outcome(engine, result.text, warnings, budget, blocks=blocks, facts=result.facts)


def _unmatched(options: Options, texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(
        f"--protect-pattern {pattern.pattern!r} matches nothing in the text"
        for pattern in options.patterns
        if not any(True for text in texts for _ in pattern.finditer(text))
    )
