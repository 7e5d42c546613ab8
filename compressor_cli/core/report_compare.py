"""The page of a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from compressor_cli.core.evaluation import shown
from compressor_cli.core.jsonl import Row
from compressor_cli.core.paired import apart
from compressor_cli.core.report import lost_marked
from compressor_cli.core.report_page import Cell, Column, Segment, TableRow, page, table

MOST = "differs most"
HEADS = ("", "verdict", "mean", "difference", "rows", "w / t / l", "p", "Holm")


def compare_report(comparison: Mapping[str, Any], rows: Sequence[Sequence[Row]]) -> bytes:
    """`comparison` as its JSON has it."""
    names = comparison["names"]
    told = f"{comparison['rows']:,} shared rows, paired; {names[0]} is what the others are held to"
    parts = [f'<p class="dim">{escape(told)}</p>']
    for other in names[1:]:
        found = [one for one in comparison["contrasts"] if one["other"] == other]
        parts += [f"<h2>{escape(other)} against {escape(names[0])}</h2>", contrast_table(found)]
    most = {next(iter(each.values()))["id"] for each in comparison["differing"]}
    columns = [
        Column("row"),
        Column("apart"),
        *(Column(f"ratio, {name}", True) for name in names),
        *(Column(f"fidelity, {name}", True) for name in names),
        Column("domain", True),
    ]
    lines = [_row(names, together, most) for together in sorted(rows, key=apart, reverse=True)]
    return page(f"Compare {', '.join(names)}", parts, columns, lines)


def contrast_table(found: Sequence[Mapping[str, Any]]) -> str:
    return table(HEADS, [list(_cells(one)) for one in found])


def _cells(one: Mapping[str, Any]) -> Iterator[str]:
    yield escape(one["title"])
    yield escape(one["verdict"])
    yield f"{shown(one['value_first'])} → {shown(one['value_other'])}"
    interval = "" if one["low"] is None else f" <small>[{one['low']:+.3f}, {one['high']:+.3f}]</small>"
    yield f"{one['difference']:+.3f}{interval}"
    yield str(one["rows"])
    yield "" if one["wins"] is None else f"{one['wins']} / {one['ties']} / {one['losses']}"
    yield f"{one['p']:.4f}"
    yield f"{one['adjusted']:.4f}"


def _row(names: Sequence[str], together: Sequence[Row], most: set[str]) -> TableRow:
    first, spread = together[0], apart(together)
    cells: list[Cell] = [(first["id"], first["id"]), (spread, f"{spread:.3f}")]
    for field in ("ratio", "fidelity"):
        cells += [(row[field], f"{row[field]:.3f}") for row in together]
    cells.append((first["domain"], first["domain"]))
    texts: list[tuple[str, Sequence[Segment]]] = [("Input", [(first["input"], "", "")])]
    for name, row in zip(names, together, strict=True):
        texts.append((f"{name}: {row['tokens_out']} tokens", [(row["output"], "", "")]))
        if row["lost"]:
            texts.append((f"Lost by {name}", lost_marked(row)))
    tags = [MOST] if first["id"] in most else []
    return TableRow(cells, first["domain"], tags, [], texts)
