"""A page that stands alone: figures, charts, a searchable table of rows. Nothing is loaded, everything is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

Segment = tuple[str, str, str]  # a text, its class ("" for plain), and what is told of it
Cell = tuple[Any, str]  # what it is sorted by, None last; what it shows


@dataclass(frozen=True)
class Column:
    """`spare` ones are left out on a phone."""

    label: str
    spare: bool = False


@dataclass(frozen=True)
class TableRow:
    """`texts` stand side by side when the row is opened, each a title and its segments. `group` and `tags` filter."""

    cells: Sequence[Cell]
    group: str
    tags: Sequence[str]
    notes: Sequence[str]
    texts: Sequence[tuple[str, Sequence[Segment]]]

    def as_data(self) -> dict[str, Any]:
        said = [text for _, segments in self.texts for text in ("".join(part for part, _, _ in segments),)]
        shown = [text for _, text in self.cells]
        return {
            "cells": self.cells,
            "group": self.group,
            "tags": self.tags,
            "notes": self.notes,
            "texts": self.texts,
            "search": "\n".join([*shown, *said]).lower(),
        }


def page(title: str, parts: Iterable[str], columns: Sequence[Column], rows: Sequence[TableRow]) -> bytes:
    """`parts` are HTML. Characters that UTF-8 has no form for are shown by their number."""
    heads = "".join(
        f"<th class='{'spare' if column.spare else ''}'><button>{escape(column.label)}</button></th>"
        for column in columns
    )
    groups = sorted({row.group for row in rows} | {tag for row in rows for tag in row.tags})
    options = "".join(f"<option>{escape(name)}</option>" for name in groups)
    data = {"columns": [{"spare": column.spare} for column in columns], "rows": [row.as_data() for row in rows]}
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
script-src 'unsafe-inline'; img-src data:"><link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>
{_asset("page.css")}</style></head><body>
<h1>{escape(title)}</h1>
{chr(10).join(parts)}
<h2>Rows</h2>
<div class="tools"><input id="search" type="search" placeholder="Search texts and ids" aria-label="Search">
<select id="group" aria-label="Filter"><option value="">all</option>{options}</select></div>
<p class="dim" id="count"></p>
<div class="wide"><table id="table"><thead><tr>{heads}</tr></thead><tbody></tbody></table></div>
<button class="more" id="more" hidden>Show more</button>
<noscript><p>The table of rows needs JavaScript.</p></noscript>
<script type="application/json" id="rows">{_embedded(data)}</script>
<script>
{_asset("page.js")}</script></body></html>
"""
    return text.encode("utf-8", "backslashreplace")


def _asset(name: str) -> str:
    return (files("compressor_cli") / "assets" / "report" / name).read_text(encoding="utf-8")


def _embedded(data: Any) -> str:
    """JSON that can end no element."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c").replace("&", "\\u0026")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already."""
    head = "".join(f"<th>{column}</th>" for column in columns)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{lines}</tbody></table></div>'


def marked(text: str, spans: Iterable[tuple[int, int, str, str]]) -> list[Segment]:
    """`spans` are start, end, class and what is told, in characters; of those that overlap the first counts."""
    segments: list[Segment] = []
    at = 0
    for start, end, kind, told in sorted(spans):
        if start < at:
            continue
        segments += [(text[at:start], "", ""), (text[start:end], kind, told)]
        at = end
    return [segment for segment in (*segments, (text[at:], "", "")) if segment[0]]
