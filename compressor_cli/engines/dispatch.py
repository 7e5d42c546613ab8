"""Which engine a text gets, and what the engine made of it in one form for all."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import PurePath

from compressor_cli.core.domains import Domain, detect_domain
from compressor_cli.core.facts import check_facts
from compressor_cli.core.log_lines import are_events
from compressor_cli.core.tokens import TokenCounter
from compressor_cli.engines.code import LANGUAGES, LEVELS, CodeResult, compress_code, language_of
from compressor_cli.engines.code_languages import by_extension
from compressor_cli.engines.logs import MARK, Folded, fold_logs
from compressor_cli.engines.options import Options
from compressor_cli.engines.pins import split_pinned
from compressor_cli.engines.scorer import model_folder
from compressor_cli.engines.structured import compress_structured, source_of
from compressor_cli.errors import BudgetTooSmallError, UsageError
from compressor_cli.records import Block

DEFAULT_RATE = 0.5
_JOINS = 4  # corrections of a budget for the tokens that form where pinned parts meet the rest
# Endings of forms in which a word lost is a fault.
_FORMS = {
    "csv": "csv", "tsv": "tsv", "yaml": "yaml", "yml": "yaml", "xml": "xml", "svg": "xml", "html": "html",
    "htm": "html", "toml": "toml", "ini": "ini", "cfg": "ini", "diff": "diff", "patch": "diff", "tex": "latex",
}  # fmt: skip
_TABLES = ("csv", "tsv")  # what `domains` takes for code, and the engine for structured data reads
_AS_PROSE = "--engine prose treats it as prose"


@dataclass(frozen=True)
class Outcome:
    """What an engine made of a text. `budget` is the one it aimed at, in tokens."""

    engine: str
    compressed: str
    warnings: tuple[str, ...] = ()
    budget: int | None = None
    level: str | None = None
    minified: str | None = None
    blocks: tuple[Block, ...] = ()


def domain_of(text: str, options: Options) -> Domain:
    if options.chat:
        return Domain("chat", None, "as --chat says")
    if options.domain:
        return replace(_as_given(text, options.domain), why=f"as --domain {options.domain} says")
    if options.engine != "auto":
        return replace(_as_given(text, options.engine), why=f"as --engine {options.engine} says")
    named = _named(options.filename) if options.filename else None
    if named:
        return Domain("code", named, "as its name says")
    source = source_of(text) if "\n" in text.strip() else None
    if source in _TABLES:
        return Domain("code", source, f"it reads as {source.upper()}, with as many cells in every row")
    return detect_domain(text)


def _named(filename: str) -> str | None:
    """The language, or the form that has no engine, by the end of the name."""
    ending = PurePath(filename).suffix[1:].lower()
    return _FORMS.get(ending) or by_extension(filename)


def _as_given(text: str, name: str) -> Domain:
    return Domain(name, language_of(text, None) if name == "code" else None)  # type: ignore[arg-type]


def treat(text: str, found: Domain, options: Options, budget: int | None, counter: TokenCounter) -> Outcome:
    """Raises BudgetTooSmallError where `budget` cannot be met, UsageError for a text that is not what it should be."""
    if not (options.keep_first or options.keep_last or options.stable_prefix):
        return _by_engine(text, found, options, budget, counter, pinned=False)
    return _around_pins(text, found, options, budget, counter)


def _by_engine(
    text: str, found: Domain, options: Options, budget: int | None, counter: TokenCounter, *, pinned: bool
) -> Outcome:
    if found.name in ("prose", "mixed"):
        return _prose(text, options, budget, counter, pinned)
    if found.name == "json" or found.language in _TABLES:
        outcome = _structured(text, found, budget, counter)
    else:
        outcome = _code(text, found, options, budget, counter.count)
    if options.query:
        outcome = replace(outcome, warnings=(*outcome.warnings, f"the query makes no difference to {found.name}"))
    return outcome


def _around_pins(text: str, found: Domain, options: Options, budget: int | None, counter: TokenCounter) -> Outcome:
    if found.name == "json":
        raise UsageError("--keep-first, --keep-last and --stable-prefix do not go with JSON", hint="leave them out")
    head, middle, tail = split_pinned(
        text,
        keep_first=options.keep_first,
        keep_last=options.keep_last or 0,
        stable_prefix=options.stable_prefix,
        by_lines=found.name == "code",
        count=counter.count,
    )
    fixed = counter.count(head) + counter.count(tail)
    if not middle:
        if budget is not None:
            raise BudgetTooSmallError(f"what stays verbatim takes {fixed} tokens, the budget is {budget}", fixed)
        return Outcome("none", text, ("all of it stays verbatim",))
    room = None if budget is None else budget - fixed
    for _ in range(_JOINS):
        if room is not None and room < 1:
            break
        try:
            inner = _by_engine(middle, found, options, room, counter, pinned=True)
        except BudgetTooSmallError as exc:
            needed = (
                exc.tokens_needed + fixed + (budget - fixed - room if budget is not None and room is not None else 0)
            )
            message = f"{exc}, besides {fixed} tokens that stay verbatim"
            raise BudgetTooSmallError(message, needed, hint=exc.hint) from None
        whole = head + inner.compressed + tail
        over = 0 if budget is None else counter.count(whole) - budget
        if over <= 0:
            shift = len(head)
            blocks = tuple(replace(b, start=(b.start or 0) + shift, end=(b.end or 0) + shift) for b in inner.blocks)
            aimed = None if inner.budget is None else inner.budget + fixed
            return replace(inner, compressed=whole, blocks=blocks, budget=aimed)
        room = (room or 0) - over
    raise BudgetTooSmallError(f"what stays verbatim takes {fixed} tokens, the budget is {budget}", fixed + 1)


def _structured(text: str, found: Domain, budget: int | None, counter: TokenCounter) -> Outcome:
    if source_of(text) is None:
        if found.name == "json":
            raise UsageError("the input is neither JSON nor JSONL nor CSV", hint="leave --domain json out")
        return _left_alone(text, found, budget, counter.count)
    result = compress_structured(text, count=counter.count)
    needed = counter.count(result.text)
    if budget is not None and needed > budget:
        raise BudgetTooSmallError(
            f"{result.source.upper()} is kept whole and takes {needed} tokens, the budget is {budget}",
            needed,
            hint=_AS_PROSE,
        )
    engine = "none" if result.text == text else "json"
    return Outcome(engine, result.text, result.warnings, budget, minified=result.minified, level=None)


def _code(text: str, found: Domain, options: Options, budget: int | None, count: Callable[[str], int]) -> Outcome:
    language = found.language
    if language is None or (language in LANGUAGES and not options.filename):
        language = language_of(text, None)  # by parsing: better than by the looks of some lines
    if language not in LANGUAGES:
        return _left_alone(text, found, budget, count)
    if budget is None:
        result = _code_within(text, language, options, options.level or "comments")
        return _code_outcome(text, result, options, None)
    top = options.level or ("outline" if options.allow_loss else "compact")
    smallest = count(text)
    for level in LEVELS[: LEVELS.index(top) + 1]:
        result = _code_within(text, language, options, level)
        size = count(result.text)
        if size <= budget:
            return _code_outcome(text, result, options, budget)
        smallest = min(smallest, size)
    hint = f"{_AS_PROSE}" if top == "outline" else f"--level outline or --allow-loss leaves bodies out; {_AS_PROSE}"
    raise BudgetTooSmallError(
        f"{language} takes {smallest} tokens at --level {top}, the budget is {budget}", smallest, hint=hint
    )


def _code_within(text: str, language: str, options: Options, level: str) -> CodeResult:
    """What --protect-pattern names stays, be it in a comment: the last level that leaves it standing.

    A level that nobody asked for leaves the comments that state a protected fact.
    """
    guarded = () if options.allow_loss else options.patterns
    chosen = options.level is not None or options.rate is not None or options.max_tokens is not None
    result = compress_code(text, language=language, level=level, keep=None if chosen else _states(options))
    if guarded:
        levels = LEVELS[: LEVELS.index(level)]
        for lower in reversed(levels):
            if check_facts(text, result.text, kinds=(), patterns=guarded).fidelity == 1.0:
                break
            result = compress_code(text, language=language, level=lower)
    return result


def _states(options: Options) -> Callable[[str], bool] | None:
    from compressor_cli.core.facts import find_facts

    kinds = tuple(kind for kind in options.kinds if kind != "code")
    return (lambda comment: bool(find_facts(comment, kinds))) if kinds else None


def _code_outcome(text: str, result: CodeResult, options: Options, budget: int | None) -> Outcome:
    notes = [*result.warnings, *_lost_in_comments(text, result, options)]
    if result.comments:
        what = "1 comment is" if result.comments == 1 else f"{result.comments} comments and docstrings are"
        notes.append(f"{what} left out")
    if result.lines_left_out:
        notes.append(f"{result.lines_left_out} lines of bodies are left out")
    engine = "none" if result.text == text else "code"
    return Outcome(engine, result.text, tuple(notes), budget, level=result.level)


def _lost_in_comments(text: str, result: CodeResult, options: Options) -> tuple[str, ...]:
    """What a level that was asked for took with the comments; the receipt lists it."""
    gone = [f for f in check_facts(text, result.text).facts if f.status != "kept" and f.kind in options.kinds]
    return (f"{len(gone)} protected facts stood in what is left out",) if gone else ()


def _left_alone(text: str, found: Domain, budget: int | None, count: Callable[[str], int]) -> Outcome:
    name = found.language or found.name
    if budget is not None:
        tokens = count(text)
        raise BudgetTooSmallError(
            f"{name} stays as it is and takes {tokens} tokens, the budget is {budget}", tokens, hint=_AS_PROSE
        )
    return Outcome("none", text, (f"{name} is left as it is; {_AS_PROSE}",))


def _prose(text: str, options: Options, budget: int | None, counter: TokenCounter, pinned: bool) -> Outcome:
    """The first reading that fits the budget, of those that lose the least."""
    from compressor_cli.engines.prose import compress_prose
    from compressor_cli.engines.scorer import EMBEDDED, load_scorer

    aim = budget if budget is not None else int(DEFAULT_RATE * counter.count(text))
    refused: list[BudgetTooSmallError] = []
    for read in _readings(text, options, budget):
        folded, notes = read.folded, (read.folded.note,) if read.folded.note else ()
        size = counter.count(folded.text)
        if notes and size <= aim:
            return Outcome("logs", folded.text, notes, aim)
        if read.options is None:
            continue
        scorer = load_scorer(model_folder(options.model) if options.model is not None else EMBEDDED)
        share = min(aim / size, 1.0) if notes else DEFAULT_RATE
        try:
            result = compress_prose(
                folded.text, read.options, share=share, budget=budget, count=counter.count, scorer=scorer,
                pinned=pinned, events=folded.events if read.whole_events else (),
            )  # fmt: skip
        except BudgetTooSmallError as exc:
            refused.append(exc)
            continue
        gone = folded.left_out(result.compressed) if read.whole_events else ""
        notes = (*notes, *filter(None, [gone]), *result.warnings)
        if result.compressed == text:
            return Outcome("none", text, notes or ("nothing to gain: left as it is",), result.budget)
        blocks = _in_the_input(result.blocks, folded, text) if folded.lines else result.blocks
        engine = "logs" if read.whole_events and are_events(text.split("\n")) else "prose"
        return Outcome(engine, result.compressed, notes, result.budget, blocks=blocks)
    raise min(refused, key=lambda exc: exc.tokens_needed)


@dataclass(frozen=True)
class _Reading:
    """A text with its logs folded one way, and the options under which the rest is found; None: nothing else goes."""

    folded: Folded
    options: Options | None
    whole_events: bool = False


def _readings(text: str, options: Options, budget: int | None) -> tuple[_Reading, ...]:
    """Times that are protected go where the default rate or the budget cannot be met with all of them, and before
    anything goes that only --allow-loss gives up. --engine prose takes words out of log lines; their marks stay."""
    listed = fold_logs(text, times=True)
    if not listed.rows:
        return (_Reading(listed, options),)
    short = fold_logs(text, times=False)
    whole = options.engine != "prose"
    if not whole:
        options = replace(options, protect_pattern=(*options.protect_pattern, f"(?m){MARK.pattern}"))
    strict = replace(options, allow_loss=False)
    if "numbers" not in options.kinds:
        return _Reading(listed, None), _Reading(short, options, whole)
    if budget is None:
        return _Reading(listed, None), _Reading(short, None), _Reading(listed, strict, whole)
    shorter = [_Reading(short, strict, whole)] if short.text != listed.text else []
    return _Reading(listed, strict, whole), *shorter, *([_Reading(short, options, whole)] if options.allow_loss else [])


def _in_the_input(blocks: tuple[Block, ...], folded: Folded, text: str) -> tuple[Block, ...]:
    """Lines that were folded away had moved what stands behind them."""
    sources = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
    begins = [0, *accumulate(len(row.text) + 1 for row in folded.rows)]

    def place(at: int) -> int:
        n = bisect_right(begins, at) - 1
        return sources[folded.rows[n].at] + at - begins[n]

    return tuple(replace(b, start=place(b.start or 0), end=place((b.end or 1) - 1) + 1) for b in blocks)
