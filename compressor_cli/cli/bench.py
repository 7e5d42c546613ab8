"""`scc bench`: what the engines do on texts of one's own, against simple ways to the same end."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from compressor_cli.cli.common import ConfigOption, JsonOption, ModelOption, TokenizerOption, print_json, say
from compressor_cli.errors import PartialError, UsageError

if TYPE_CHECKING:
    from compressor_cli.core.comparison import Figure, Standing, Unmet
    from compressor_cli.stages.bench import BenchSummary, Table

app = typer.Typer(no_args_is_help=True)


@app.callback()  # also keeps `compress` a command of its own name while it is the only one
def bench() -> None:
    """Measure savings with their quality, on texts of your own."""


@app.command("compress")
def compress_command(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="Files, or folders of UTF-8 text: prose, code, JSON.", show_default=False),
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option(
            "--questions", help="SQuAD JSON, or JSONL with text and questions or answers: do the answers survive?"
        ),
    ] = None,
    query: Annotated[
        bool | None, typer.Option("--query", help="With --questions: compress each text once for each question, too.")
    ] = None,
    rates: Annotated[
        str | None, typer.Option("--rates", help="Budgets for prose, as shares of the tokens; default 0.7,0.5,0.33.")
    ] = None,
    tokenizer: TokenizerOption = None,
    model: ModelOption = None,
    limit: Annotated[
        int | None, typer.Option("--limit", help="At most N texts of a kind, drawn by --seed; default all.")
    ] = None,
    max_bytes: Annotated[
        int | None, typer.Option("--max-bytes", help="Leave larger files out; default 200000.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of random words, intervals and --limit; default 0.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write a JSONL row a text, rate and system here.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare scc with truncation, random words, dropped stop words, minified JSON and comments stripped by regex.

    On prose all systems get the same budget, and what they keep is measured; on code and JSON what they save, with what
    is still intact. Differences to the first system of a table have paired 95 % intervals over the texts.
    """
    from compressor_cli.cli.progress import rows_progress
    from compressor_cli.core.tokens import DEFAULT_TOKENIZER
    from compressor_cli.settings import load_settings
    from compressor_cli.stages.bench import bench as run

    if not paths and questions is None:
        raise UsageError("nothing to measure", hint="name files or folders with text, or --questions FILE")
    if query and questions is None:
        raise UsageError("--query goes with --questions")
    given = {"max_bytes": max_bytes, "seed": seed, "limit": limit, "query": query}
    settings = load_settings(
        config,
        compress={"tokenizer": tokenizer, "model": model},
        bench={**given, "rates": rates.split(",") if rates is not None else None},
    )
    command = shlex.join(["scc", *sys.argv[1:]])
    with rows_progress("measuring") as on_event:
        summary = run(
            settings.bench,
            paths or [],
            questions,
            tokenizer=settings.compress.tokenizer or DEFAULT_TOKENIZER,
            model=settings.compress.model,
            output=output,
            command=command,
            on_event=on_event,
        )
    _report(summary, as_json)


def _report(summary: BenchSummary, as_json: bool) -> None:
    if as_json:
        print_json(summary.as_dict())
    else:
        typer.echo("\n".join(_lines(summary)))
    for name, error in summary.failed:
        say(f"failed: {name}: {error}")
    if summary.failed:
        raise PartialError(f"{_texts(len(summary.failed))} failed, in no table")


_WIDTH = 80  # of the narrowest terminals; the tables fit it, too
_ALL = 0.98  # of the budget: no text can use each last token
_FEW = "n<5"  # texts, as core/comparison.py has it
_LISTED = 5  # names; --json has them all

# Measures by group: their columns after the system, in order; `difference` is of the measure before it.
_COLUMNS = {
    "questions": ("answers", "difference", "facts", "negation", "run"),
    "prose": ("facts", "difference", "numbers", "negation", "names", "run"),
    "code": ("saved", "difference", "parse", "tree", "identifiers"),
    "json": ("saved", "difference", "equal", "shorter"),
}
_TITLES = {
    "questions": "Questions on texts",
    "prose": "Prose and mixed text",
    "code": "Code",
    "json": "JSON, JSONL and tables",
}
_LEGENDS = {
    "answers": "answers: questions whose answer still stands in the text, whole and at word bounds",
    "facts": "facts: numbers, negations, names, URLs and code that are kept, as scc check finds them; then some of "
    "these kinds",
    "run": "run: words in a row that are kept, on average",
    "saved": "saved: share of the tokens",
    "parse": "parse: files without a syntax error; tree: Python whose syntax tree is the same but for docstrings; "
    "outline leaves out the bodies, and is to be read, not run",
    "identifiers": "identifiers: kept, as scc check finds them",
    "equal": "equal: files whose data comes back with scc expand; shorter: files that lost tokens",
    "difference": "difference: first system minus this one, in the measure before it, with the paired 95 % interval",
}


def _lines(summary: BenchSummary) -> Iterator[str]:
    from compressor_cli.core.figures import heading_lines, table_lines
    from compressor_cli.stages.bench import told

    estimate = "" if summary.exact else ", an estimate: its tokenizer is not public"
    head = [*heading_lines(summary.heading)]
    head += [
        f"{_texts(summary.texts)}, {summary.tokens:,} tokens of {summary.tokenizer}{estimate}; seed {summary.seed}"
    ]
    if summary.left_out:
        head += [f"left out: {told(summary.left_out)}"]
    if summary.misread:
        shown = ", ".join(summary.misread[:_LISTED]) + (" ..." if len(summary.misread) > _LISTED else "")
        head += [f"code by name, taken for prose by its text: {len(summary.misread):,} ({shown})"]
    yield from _wrapped(head)
    for table in summary.tables:
        names = _COLUMNS[table.group]
        columns = ["system", *("difference [95 %]" if name == "difference" else name for name in names)]
        yield ""
        yield from _wrapped([_title(table)])
        yield from table_lines(columns, [_row(standing, names) for standing in table.systems])
        yield from _wrapped(_notes(table, names[0]))
    used = {name for table in summary.tables for name in _COLUMNS[table.group]}
    yield ""
    yield from _wrapped(text for name, text in _LEGENDS.items() if name in used)


def _wrapped(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield from wrap(line, _WIDTH, subsequent_indent="  ", break_long_words=False)


def _title(table: Table) -> str:
    asked = f"{table.questions:,} questions on " if table.questions else ""
    texts = _texts(table.given) if table.texts == table.given else f"{table.texts:,} of {_texts(table.given)}"
    rate = "" if table.rate is None else f", at {table.rate:.0%} of the tokens"
    return f"{_TITLES[table.group]}: {asked}{texts}, {table.tokens:,} tokens{rate}"


def _notes(table: Table, measure: str) -> Iterator[str]:
    """What the rows do not say by themselves."""
    for unmet in table.unmet:
        yield _refused(unmet, measure)
    compared = [standing.figures[measure] for standing in table.systems[1:]]
    if any(figure.difference is not None and figure.interval is None for figure in compared):
        yield f"{_FEW}: from so few texts there is no interval, and a difference says little"
    used = [(standing.system, figure.value) for standing in table.systems if (figure := standing.figures.get("used"))]
    under = [f"{system} {value:.0%}" for system, value in used if value is not None and value < _ALL]
    if under:
        rest = "" if len(under) == len(used) else "; the others all of it"
        yield f"of the budget was used, on average: {', '.join(under)}{rest}"


def _refused(unmet: Unmet, measure: str) -> str:
    refused = f"{_texts(unmet.texts)} with {unmet.tokens:,} tokens"
    told = f"{unmet.system} could not meet the budget of {refused}, in no row"
    value = "" if unmet.value is None else _short(f"{unmet.value:.3f}")
    return f"{told}; were nothing kept of them, its {measure} would be {value}" if value else told


def _texts(number: int) -> str:
    return "1 text" if number == 1 else f"{number:,} texts"


def _row(standing: Standing, names: tuple[str, ...]) -> list[str]:
    cells = [standing.system]
    for name, before in zip(names, ("", *names), strict=False):
        figure = standing.figures[before if name == "difference" else name]
        cells.append(_difference(figure) if name == "difference" else _value(figure, name))
    return cells


def _value(figure: Figure, name: str) -> str:
    if figure.value is None:
        return "-"
    return f"{figure.value:.1f}" if name == "run" else _short(f"{figure.value:.3f}")


def _difference(figure: Figure) -> str:
    if figure.difference is None:
        return ""
    interval = _FEW if figure.interval is None else ", ".join(_short(f"{end:.3f}") for end in figure.interval)
    return f"{_short(f'{figure.difference:+.3f}')} [{interval}]"


def _short(number: str) -> str:
    """Without the zero before the point."""
    return number.replace("0.", ".", 1) if number.lstrip("+-").startswith("0.") else number
