"""Which engine a text gets."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import PurePath
from typing import TYPE_CHECKING

from compressor_cli.core.domains import Domain, detect_domain
from compressor_cli.core.log_lines import are_events
from compressor_cli.core.tokens import TokenCounter
from compressor_cli.engines.around import all_stays, around_pins, split_for
from compressor_cli.engines.code import LANGUAGES, LEVELS, CodeResult, compress_code, language_of
from compressor_cli.engines.code_languages import by_extension
from compressor_cli.engines.comments import spared_comments
from compressor_cli.engines.guard import lost_as_told
from compressor_cli.engines.logs import Folded
from compressor_cli.engines.options import DEFAULT_RATE, TASK_RATES, Options
from compressor_cli.engines.outcome import Outcome
from compressor_cli.engines.readings import readings
from compressor_cli.engines.scorer import model_folder
from compressor_cli.engines.structured import compress_structured, source_of
from compressor_cli.errors import BudgetTooSmallError, UsageError
from compressor_cli.records import Block

if TYPE_CHECKING:
    from compressor_cli.engines.adapter import Writing
    from compressor_cli.engines.adapter_model import Model

# Endings of forms in which a word lost is a fault.
_FORMS = {
    "csv": "csv", "tsv": "tsv", "yaml": "yaml", "yml": "yaml", "xml": "xml", "svg": "xml", "html": "html",
    "htm": "html", "toml": "toml", "ini": "ini", "cfg": "ini", "diff": "diff", "patch": "diff", "tex": "latex",
}  # fmt: skip
_TABLES = ("csv", "tsv")  # what `domains` takes for code, and the engine for structured data reads


def domain_of(text: str, options: Options) -> Domain:
    if options.chat:
        return Domain("chat", None, "as --chat says")
    if options.domain:
        return replace(_as_given(text, options.domain), why=f"as --domain {options.domain} says")
    if options.engine not in ("auto", "adapter"):
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
    parsed = found.name == "code" and found.language not in _TABLES  # pins and all, as one program
    if not options.pins or parsed:
        return _by_engine(text, found, options, budget, counter, pinned=False)
    return around_pins(
        text,
        found,
        options,
        budget,
        counter,
        lambda part, room: _by_engine(part, found, options, room, counter, pinned=True),
    )


def _by_engine(
    text: str, found: Domain, options: Options, budget: int | None, counter: TokenCounter, *, pinned: bool
) -> Outcome:
    task = options.task_of(found.name)
    share = _share(task)
    if found.name in ("prose", "mixed"):
        written = _written if options.names_adapter else _prose
        return _for_task(written(text, options, budget, counter, pinned, share), task)
    if found.name == "json" or found.language in _TABLES:
        outcome = _structured(text, found, options, budget, counter)
    else:
        outcome = _for_task(_code(text, found, options, budget, counter, share if task else None), task)
    if options.query:
        outcome = replace(outcome, warnings=(*outcome.warnings, f"the query makes no difference to {found.name}"))
    if options.engine == "adapter":
        told = f"{found.name} has an engine of its own, and the adapter was not asked; --domain prose asks it"
        outcome = replace(outcome, warnings=(*outcome.warnings, told))
    return outcome


def _for_task(outcome: Outcome, task: str | None) -> Outcome:
    if task is None:
        return outcome
    return replace(outcome, warnings=(*outcome.warnings, f"task {task}: the aim is {TASK_RATES[task]:g} of the tokens"))


def without_adapter(options: Options) -> Options:
    """The same of the embedded engine: `model` had named the base of the adapter."""
    if not options.names_adapter:
        return options
    return replace(options, engine="auto", adapter=None, backend=None, base_url=None, model=None)


def _written(
    text: str, options: Options, budget: int | None, counter: TokenCounter, pinned: bool, share: float
) -> Outcome:
    """By the adapter, as far as it is ready and its results hold; by the embedded engine else."""
    from compressor_cli.engines.adapter_model import ready_model

    model = ready_model(options)
    if isinstance(model, str):
        outcome = _prose(text, without_adapter(options), budget, counter, pinned, share)
        return replace(outcome, warnings=(f"the adapter is not ready: {model}", *outcome.warnings))
    return _writing(text, options, budget, counter, pinned, share, model).outcome()


def _writing(
    text: str, options: Options, budget: int | None, counter: TokenCounter, pinned: bool, share: float, model: Model
) -> Writing:
    from compressor_cli.engines.adapter import Writing

    plain = without_adapter(options)

    def embedded(part: str, most: int | None) -> Outcome:
        return _prose(part, plain, most, counter, pinned, share)

    aim = share if options.is_adaptive else None
    return Writing(text, options, budget, counter.count, model=model, embedded=embedded, aim=aim)


def ask_ahead(texts: Sequence[str], options: Options, counter: TokenCounter) -> None:
    """Has the adapter answer for all of these texts at once; each is treated as ever then, and finds its answers."""
    from compressor_cli.engines.adapter import ask_together
    from compressor_cli.engines.adapter_model import ready_model

    model = ready_model(options)
    if isinstance(model, str):
        return
    prose = [(text, found) for text in texts if (found := domain_of(text, options)).name in ("prose", "mixed")]
    shares = [_share(options.task_of(found.name)) for _, found in prose]
    ask_together(
        [
            _writing(text, options, None, counter, False, share, model)
            for (text, _), share in zip(prose, shares, strict=True)
        ],
        model,
    )


def _share(task: str | None) -> float:
    return TASK_RATES[task] if task else DEFAULT_RATE


def _structured(text: str, found: Domain, options: Options, budget: int | None, counter: TokenCounter) -> Outcome:
    if source_of(text) is None:
        if found.name == "json":
            raise UsageError("the input is neither JSON nor JSONL nor CSV", hint=f"leave {_told(options)} json out")
        return _left_alone(text, found, options, budget, counter.count)
    result = compress_structured(text, count=counter.count)
    needed = counter.count(result.text)
    if budget is not None and needed > budget:
        raise BudgetTooSmallError(
            f"{result.source.upper()} is kept whole and takes {{needed}} tokens, the budget is {{budget}}",
            needed,
            budget,
            hint=_as_prose(options),
        )
    engine = "none" if result.text == text else "json"
    return Outcome(engine, result.text, result.warnings, budget, minified=result.minified)


def _code(
    text: str, found: Domain, options: Options, budget: int | None, counter: TokenCounter, aim: float | None
) -> Outcome:
    """With an `aim` alone the levels are climbed as with a budget, and the last one is taken however long it is."""
    language, count = found.language, counter.count
    if language is None or (language in LANGUAGES and not options.filename):
        language = language_of(text, None)  # by parsing: better than by the looks of some lines
    if language not in LANGUAGES:
        return _left_alone(text, found, options, budget, count)
    head, middle, tail = split_for(text, found, options, counter.count) if options.pins else ("", text, "")
    if not middle:
        return all_stays(text, budget, counter.count)
    pinned = len(head), len(tail) if options.keep_last else 0
    if budget is None and (aim is None or options.level):
        result = _code_within(text, language, options, options.level or "comments", pinned)
        return _code_outcome(text, result, None)
    top = options.level or ("outline" if options.allow_loss else "compact")
    smallest = count(text)
    most = budget if budget is not None else int((aim or 1) * smallest)
    for level in LEVELS[: LEVELS.index(top) + 1]:
        result = _code_within(text, language, options, level, pinned)
        size = count(result.text)
        if size <= most or (budget is None and level == top):
            return _code_outcome(text, result, most)
        smallest = min(smallest, size)
    bare = count(compress_code(text, language=language, level=top, pinned=pinned).text)
    hints = [] if top == "outline" else ["--level outline leaves bodies out"]
    if options.level is None:
        hints = [f"{hint}, as --allow-loss does" for hint in hints] + [_as_prose(options)]
    kept = ""
    if bare < smallest:
        kept = " with the comments that state protected facts"
        hints.insert(0, f"--level {top} leaves all comments out: {bare} tokens")
    message = f"{language} takes {{needed}} tokens at the level {top}{kept}, the budget is {{budget}}"
    raise BudgetTooSmallError(message, smallest, budget, hint="; ".join(hints) or None)


def _code_within(text: str, language: str, options: Options, level: str, pinned: tuple[int, int]) -> CodeResult:
    """What was told to be protected stays: comments that hold it, and where it stands elsewhere, the highest level that
    leaves it standing."""
    keep = spared_comments(text, options)
    for attempt in reversed(LEVELS[: LEVELS.index(level) + 1]):
        result = compress_code(text, language=language, level=attempt, keep=keep, pinned=pinned)
        if not lost_as_told(text, result.text, options):
            break
    if attempt != level:
        result = replace(result, warnings=(*result.warnings, f"{level} would lose protected facts: {attempt} instead"))
    return result


def _code_outcome(text: str, result: CodeResult, budget: int | None) -> Outcome:
    notes = [*result.warnings]
    if result.comments:
        what = "1 comment is" if result.comments == 1 else f"{result.comments} comments and docstrings are"
        notes.append(f"{what} left out")
    if result.lines_left_out:
        notes.append(f"{result.lines_left_out} lines of bodies are left out")
    elif result.level == "outline":
        notes.append("no bodies to leave out")
    engine = "none" if result.text == text else "code"
    return Outcome(engine, result.text, tuple(notes), budget, level=result.level)


def _left_alone(text: str, found: Domain, options: Options, budget: int | None, count: Callable[[str], int]) -> Outcome:
    name = found.language or found.name
    if budget is not None:
        message = f"{name} stays as it is and takes {{needed}} tokens, the budget is {{budget}}"
        raise BudgetTooSmallError(message, count(text), budget, hint=_as_prose(options))
    return Outcome("none", text, (f"{name} is left as it is; {_as_prose(options)}",))


def _told(options: Options) -> str:
    """The flag that says what the text is, or would."""
    return "--domain" if options.domain else "--engine"


def _as_prose(options: Options) -> str:
    return f"{_told(options)} prose treats it as prose"


def _prose(
    text: str, options: Options, budget: int | None, counter: TokenCounter, pinned: bool, rate: float
) -> Outcome:
    """The first reading that fits the budget, of those that lose the least; without one `rate` is the aim."""
    from compressor_cli.engines.prose import compress_prose
    from compressor_cli.engines.scorer import EMBEDDED, load_scorer

    aim = budget if budget is not None else int(rate * counter.count(text))
    refused: list[BudgetTooSmallError] = []
    for read in readings(text, options, budget):
        folded, notes = read.folded, (read.folded.note,) if read.folded.note else ()
        size = counter.count(folded.text)
        if notes and size <= aim:
            return Outcome("logs", folded.text, notes, aim, breaks=("", folded.ending))
        if read.options is None:
            continue
        scorer = load_scorer(model_folder(options.model) if options.model is not None else EMBEDDED)
        share = min(aim / size, 1.0) if notes else rate
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
        breaks = result.breaks[0], result.breaks[1] or folded.ending
        return Outcome(engine, result.compressed, notes, result.budget, blocks=blocks, breaks=breaks)
    raise min(refused, key=lambda exc: exc.tokens_needed)


def _in_the_input(blocks: tuple[Block, ...], folded: Folded, text: str) -> tuple[Block, ...]:
    """Lines that were folded away had moved what stands behind them."""
    sources = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
    begins = [0, *accumulate(len(row.text) + 1 for row in folded.rows)]

    def place(at: int) -> int:
        n = bisect_right(begins, at) - 1
        return sources[folded.rows[n].at] + at - begins[n]

    return tuple(replace(b, start=place(b.start or 0), end=place((b.end or 1) - 1) + 1) for b in blocks)
