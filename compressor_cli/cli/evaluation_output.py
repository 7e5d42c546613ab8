"""What `scc eval` prints: figures by domain with their intervals, the best and the worst rows, and speeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from compressor_cli.cli.common import say
from compressor_cli.cli.spending import cost_cell

if TYPE_CHECKING:
    from compressor_cli.core.evaluation import Figure
    from compressor_cli.core.jsonl import Row
    from compressor_cli.stages.evaluate import EvalSummary
    from compressor_cli.stages.evaluate.estimate import EvalEstimate
    from compressor_cli.stages.evaluate.speed import SpeedReport

_SHOWN = 60  # characters of a sample
_REASONS = 3


def print_summary(summary: EvalSummary) -> None:
    from compressor_cli.core.figures import table_lines

    there = f" ({summary.already_there:,} were there)" if summary.already_there else ""
    typer.echo(
        f"{summary.output}: {summary.asked:,} rows: {summary.measured:,} measured, {summary.failed:,} failed, "
        f"{summary.pending:,} pending{there}"
    )
    _tell_errors(summary)
    if not summary.measured:
        return
    about = "" if summary.exact else " (estimated)"
    typer.echo(f"tokens of {summary.settings['tokenizer']}{about}; similarity: {summary.settings['metric']}\n")
    for line in table_lines(["", *map(_printable, summary.groups)], list(_lines(summary))):
        typer.echo(line)
    for title, rows in (("best", summary.best), ("worst", summary.worst)):
        if rows:
            typer.echo(f"\n{title}:")
            for row in rows:
                typer.echo(_sample(row))
    say(f"{summary.folder / 'report.html'}: every row, side by side")


def _tell_errors(summary: EvalSummary) -> None:
    told = list(summary.errors.items())
    for reason, count in told[:_REASONS]:
        say(f"failed: {f'{count:,} times ' if count > 1 else ''}{_printable(reason)}")
    if rest := sum(count for _, count in told[_REASONS:]):
        say(f"failed: {rest:,} rows for other reasons: their `error` says which")


def _lines(summary: EvalSummary) -> Iterator[Sequence[str]]:
    from compressor_cli.core.evaluation import measures

    groups = summary.groups.values()
    yield ["rows", *(str(figures["ratio"].rows) for figures in groups)]
    for measure in measures(summary.threshold):
        cells = [_cell(figures[measure.name]) for figures in groups]
        if any(cells):
            yield [measure.title, *cells]
    costs = [figures["cost_usd"].value for figures in groups]
    yield ["cost, USD", *("unknown" if cost is None else f"{cost:.4f}" for cost in costs)]


def _cell(figure: Figure) -> str:
    from compressor_cli.core.evaluation import shown

    if figure.value is None:
        return ""
    interval = "" if figure.low is None or figure.high is None else f" [{shown(figure.low)}, {shown(figure.high)}]"
    return f"{shown(figure.value)}{interval}"


def _sample(row: Row) -> str:
    from compressor_cli.core.evaluation import shown

    text = _printable(" ".join(row["output"].split()))
    begins = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    return f"  {_printable(row['id'])}  ratio {shown(row['ratio'])}, fidelity {shown(row['fidelity'])}: {begins}"


def _printable(text: str) -> str:
    """What a model or a dataset says commands no terminal, and is one line."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def print_estimate(found: EvalEstimate) -> None:
    there = f" ({found.there:,} are there)" if found.there else ""
    say(
        f"{found.rows:,} rows to ask{there}: {found.input_tokens:,} tokens of prompts, at most "
        f"{found.output_tokens:,} of answers, at most {cost_cell(found.usd)}"
    )
    if found.judge_requests:
        say(f"judges: at most {found.judge_requests:,} requests, about {cost_cell(found.judge_usd)}")
    say("nothing was sent")


def print_speed(report: SpeedReport) -> None:
    from compressor_cli.core.figures import table_lines

    target = f"{report.target_seconds * 1000:.0f} ms"
    columns = ("tokens in", "out", "median, ms", "p95, ms", target, "at once", "tokens/s", "inputs/s")
    rows = [
        (
            f"{one.tokens_in:,}",
            f"{one.tokens_out:,.0f}",
            f"{one.p50 * 1000:,.0f}",
            f"{one.p95 * 1000:,.0f}",
            "met" if one.within_target else "missed",
            str(one.batch_size),
            f"{one.tokens_per_second:,.0f}",
            f"{one.inputs_per_second:,.2f}",
        )
        for one in report.lengths
    ]
    typer.echo(f"{report.model} on {report.machine}\n")
    for line in table_lines(columns, rows):
        typer.echo(line)
