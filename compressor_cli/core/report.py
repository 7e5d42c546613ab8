"""`report.html` of an eval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from compressor_cli.core.evaluation import TARGET_SECONDS, measures, shown
from compressor_cli.core.jsonl import Row
from compressor_cli.core.report_charts import histogram, scatter
from compressor_cli.core.report_page import Cell, Column, Segment, TableRow, marked, page, table

BEST, WORST, FAILED, LOST, TRUNCATED, LARGER = "best five", "worst five", "failed", "facts lost", "truncated", "larger"


def eval_report(summary: Mapping[str, Any], rows: Sequence[Row]) -> bytes:
    """`summary` as its JSON has it; `rows` are those of the output."""
    done = [row for row in rows if "error" not in row]
    settings = summary["settings"]
    named = [settings.get(name) for name in ("backend", "model", "adapter")]
    told = " · ".join(str(part) for part in named if part)
    counts = f"{summary['measured']:,} rows measured, {summary['failed']:,} failed, {summary['pending']:,} pending"
    parts = [
        f'<p class="dim">{escape(told)}</p><p>{counts}; tokens of {escape(settings["tokenizer"])}</p>',
        "<h2>Figures, with 95 % intervals</h2>",
        _figures(summary),
        "<h2>Distributions</h2>",
        f'<div class="charts">{_charts(done)}</div>' if done else "<p>No row was measured.</p>",
    ]
    judged = any("equivalence" in row for row in done)
    labels = ("row", "ratio", "fidelity", *(("equivalence",) if judged else ()), "similarity", "tokens", "ms", "domain")
    phone = {"row", "ratio", "fidelity"}
    marks = {
        **{row["id"]: BEST for row in summary["best"]},
        **{row["id"]: WORST for row in summary["worst"]},
    }
    columns = [Column(label, label not in phone) for label in labels]
    return page(f"Eval {Path(summary['output']).stem}", parts, columns, [_row(row, judged, marks) for row in rows])


def _figures(summary: Mapping[str, Any]) -> str:
    """A line a measure, a column a domain."""
    groups = summary["groups"]
    lines = [["rows", *(str(figures["ratio"]["rows"]) for figures in groups.values())]]
    for measure in measures(summary["threshold"]):
        cells = [cell(figures[measure.name]) for figures in groups.values()]
        if any(cells):
            lines.append([escape(measure.title), *cells])
    costs = [figures["cost_usd"]["value"] for figures in groups.values()]
    lines.append(["cost, USD", *("unknown" if cost is None else f"{cost:.4f}" for cost in costs)])
    return table(["", *map(escape, groups)], lines)


def cell(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return ""
    if figure["low"] is None or figure["high"] is None:
        return shown(figure["value"])
    return f"{shown(figure['value'])} <small>[{shown(figure['low'])}, {shown(figure['high'])}]</small>"


def _charts(done: Sequence[Row]) -> str:
    ratios = [row["ratio"] for row in done]
    faithful = [row for row in done if row["facts"]]
    milliseconds = sorted(row["seconds"] * 1000 for row in done)
    most = max(2 * TARGET_SECONDS * 1000, milliseconds[int(0.95 * (len(milliseconds) - 1))])
    charts = [histogram("Ratio: tokens of the output by those of the input", ratios, 0, max(1.0, *ratios))]
    if faithful:
        points = [(row["ratio"], row["fidelity"], row["id"]) for row in faithful]
        charts.append(histogram("Fidelity: share of facts kept", [row["fidelity"] for row in faithful], 0, 1))
        charts.append(scatter("Ratio against fidelity", points, ("ratio", "fidelity")))
    return "".join([*charts, histogram("Latency of a row (the last bar has all beyond)", milliseconds, 0, most, " ms")])


def _row(row: Row, judged: bool, marks: Mapping[str, str]) -> TableRow:
    cells: list[Cell] = [(row["line"], row["id"])]
    if "error" in row:
        cells += [(None, "failed"), *[(None, "")] * (4 + judged), (row["domain"], row["domain"])]
        return TableRow(cells, row["domain"], [FAILED], [row["error"]], [("Input", [(row["input"], "", "")])])
    names = ("ratio", "fidelity", *(("equivalence",) if judged else ()), "similarity")
    cells += [_score(row.get(name)) for name in names]
    cells += [
        (row["tokens_in"], f"{row['tokens_in']} → {row['tokens_out']}"),
        (row["seconds"], f"{row['seconds'] * 1000:.0f}"),
        (row["domain"], row["domain"]),
    ]
    flags = {LOST: row["lost"], TRUNCATED: row["truncated"], LARGER: row["tokens_out"] > row["tokens_in"]}
    tags = [name for name, holds in flags.items() if holds]
    notes = [f"{len(row['lost'])} facts lost or changed"] if row["lost"] else []
    notes += ["ran into the budget: the output is cut"] if row["truncated"] else []
    return TableRow(cells, row["domain"], [*tags, *filter(None, [marks.get(row["id"])])], notes, _texts(row))


def _score(value: float | None) -> Cell:
    return value, "" if value is None else f"{value:.3f}"


def _texts(row: Row) -> list[tuple[str, list[Segment]]]:
    raw = [("As the model wrote it", [(row["raw"], "", "")])] if row["repaired"] else []
    return [
        ("Input, lost facts marked", lost_marked(row)),
        ("Output", [(row["output"], "", "")]),
        ("Reference", [(row["reference"], "", "")]),
        *raw,
    ]  # fmt: skip


def lost_marked(row: Row) -> list[Segment]:
    spans = [
        (fact["start"], fact["end"], fact["status"], f"{fact['kind']} {fact['status']}" + _instead(fact))
        for fact in row["lost"]
    ]
    return marked(row["input"], spans)


def _instead(fact: Mapping[str, Any]) -> str:
    return f": there is {fact['found']!r}" if fact.get("found") else ""
