"""A text of which the ends stay byte for byte: what is between is compressed, and the whole is read again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from compressor_cli.core.domains import Domain
from compressor_cli.core.facts import check_facts, find_facts
from compressor_cli.core.tokens import TokenCounter
from compressor_cli.engines.layout import parse
from compressor_cli.engines.options import Options
from compressor_cli.engines.outcome import Outcome
from compressor_cli.engines.pins import split_pinned
from compressor_cli.errors import BudgetTooSmallError, UsageError
from compressor_cli.records import FactStatus

_JOINS = 4  # corrections of a budget for the tokens that form where pinned parts meet the rest
_BESIDE = "; {} of them stay verbatim"

Compress = Callable[[str, int | None], Outcome]
Parts = tuple[str, str, str]


def around_pins(
    text: str, found: Domain, options: Options, budget: int | None, counter: TokenCounter, compress: Compress
) -> Outcome:
    """Facts of the whole text are not cut in two, and where one is lost for what stands beside it now, whole lines
    stay, then everything."""
    if found.name == "json":
        verb = "does" if len(options.pins) == 1 else "do"
        raise UsageError(f"{' and '.join(options.pins)} {verb} not go with JSON", hint="JSON is kept whole anyway")
    for parts in _splits(text, found, options, counter.count):
        if not parts[1]:
            break
        outcome, excused = _joined(parts, options, budget, counter, compress)
        if found.name == "code" or options.allow_loss:
            return outcome
        if excused.issuperset(_spans(_lost(text, outcome.compressed, options))):
            return outcome
    return all_stays(text, budget, counter.count)


def split_for(text: str, found: Domain, options: Options, count: Callable[[str], int]) -> Parts:
    return next(_splits(text, found, options, count))


def all_stays(text: str, budget: int | None, count: Callable[[str], int]) -> Outcome:
    if budget is not None:
        raise BudgetTooSmallError(
            "what stays verbatim takes {needed} tokens, the budget is {budget}", count(text), budget
        )
    return Outcome("none", text, ("all of it stays verbatim",))


def _splits(text: str, found: Domain, options: Options, count: Callable[[str], int]) -> Iterator[Parts]:
    """The second, which only prose has, ends at line ends."""
    by_lines = found.name == "code"
    spans: list[tuple[int, int]] = []
    rows: list[tuple[int, int]] = []
    if not by_lines:
        lines = parse(text).lines
        stops = [*(line.offsets[0] for line in lines[1:]), len(text)]
        rows = [(line.offsets[0], stop) for line, stop in zip(lines, stops, strict=True)]
        spans = [row for row, line in zip(rows, lines, strict=True) if line.fixed is not None]
        spans += [(fact.start, fact.end) for fact in find_facts(text) if fact.kind in options.kinds]
        spans += [match.span() for pattern in options.patterns for match in pattern.finditer(text)]
    for uncut in (spans, [*spans, *rows])[: 1 if by_lines else 2]:
        yield split_pinned(
            text,
            keep_first=options.keep_first,
            keep_last=options.keep_last or 0,
            stable_prefix=options.stable_prefix,
            by_lines=by_lines,
            count=count,
            uncut=uncut,
        )


def _joined(
    parts: Parts, options: Options, budget: int | None, counter: TokenCounter, compress: Compress
) -> tuple[Outcome, set[tuple[int, int]]]:
    """The whole, and where facts stand that were given up between the ends for reasons of their own."""
    head, middle, tail = parts
    fixed = counter.count(head) + counter.count(tail)
    besides = fixed  # tokens that the middle cannot have: those of the pins, and what forms where they meet it
    for _ in range(_JOINS):
        room = None if budget is None else budget - besides
        if room is not None and room < 0:
            break
        try:
            inner = compress(middle, room)
        except BudgetTooSmallError as exc:
            template = exc.template + _BESIDE.format(fixed)
            raise BudgetTooSmallError(template, exc.tokens_needed + besides, budget, hint=exc.hint) from None
        lead, trail = _breaks(head, inner, tail)
        whole = head + lead + inner.compressed + trail + tail
        over = 0 if budget is None else counter.count(whole) - budget
        if over <= 0:
            shift = len(head)
            blocks = tuple(replace(b, start=(b.start or 0) + shift, end=(b.end or 0) + shift) for b in inner.blocks)
            aimed = None if inner.budget is None else inner.budget + fixed
            excused = {(a + shift, b + shift) for a, b in _spans(_lost(middle, inner.compressed, options))}
            return replace(inner, compressed=whole, blocks=blocks, budget=aimed), excused
        besides += over
    template = f"{{needed}} tokens are needed, the budget is {{budget}}{_BESIDE.format(fixed)}"
    raise BudgetTooSmallError(template, max(besides, (budget or 0) + 1), budget)


def _breaks(head: str, inner: Outcome, tail: str) -> tuple[str, str]:
    """What keeps lines apart where those next to the ends are gone."""
    lead = "" if "\n" in head[len(head.rstrip()) :] or not head else inner.breaks[0]
    trail = "" if "\n" in tail[: len(tail) - len(tail.lstrip())] or not tail else inner.breaks[1]
    return lead, trail if inner.compressed else ""


def _lost(text: str, compressed: str, options: Options) -> list[FactStatus]:
    report = check_facts(text, compressed, patterns=options.patterns)
    protected = (*options.kinds, "pattern")
    return [fact for fact in report.facts if fact.status != "kept" and fact.kind in protected]


def _spans(facts: list[FactStatus]) -> set[tuple[int, int]]:
    return {(fact.start, fact.end) for fact in facts}
