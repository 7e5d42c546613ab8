"""`scc costs`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compressor_cli.cli.common import JsonOption, print_json, say

if TYPE_CHECKING:
    from compressor_cli.core.costs import Costs, Spent

_COLUMNS = ("requests", "input", "cached", "output", "USD settled", "USD unsettled")


def costs(
    places: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[LEDGER|FOLDER]...",
            help="Ledgers, and folders to look for costs.jsonl in; absent: this folder.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What was spent, by day (UTC), command and model.

    Settled is what was charged; unsettled are requests without a known outcome, at the most that they can have cost.
    """
    from compressor_cli.core.costs import collect

    found = collect(places or [Path()])
    for path in found.torn:
        say(f"note: the last line of {path} is cut off; it counts as not written")
    if as_json:
        print_json(found.as_dict())
    else:
        _print(found)
    if unpriced := found.total.unpriced:
        say(f"note: no price is known for {unpriced:,} requests; they are in no sum")


def _print(found: Costs) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_footer=True)
    total = _cells(found.total)
    for name, footer in zip(("day", "command", "model"), ("total", "", ""), strict=True):
        table.add_column(name, footer=footer, overflow="fold")
    for name, footer in zip(_COLUMNS, total, strict=True):
        table.add_column(name, footer=footer, justify="right", no_wrap=True)
    for names, spent in found.rows.items():
        table.add_row(*(Text(name) for name in names), *_cells(spent))
    console = Console()
    if not console.is_terminal:  # a pipe has no width to break cells at
        console.width = Console(width=10_000).measure(table).maximum
    console.print(table)


def _cells(spent: Spent) -> list[str]:
    from compressor_cli.core.spend import told

    known = spent.unpriced < spent.requests or not spent.requests
    mark = " + unknown" if spent.unpriced else ""
    settled = f"${told(spent.settled_nano)}{mark}" if known else "unknown"
    unsettled = ("-" if not spent.unsettled else f"${told(spent.unsettled_nano)}") if known else "unknown"
    counts = (spent.requests, spent.input_tokens, spent.cached_tokens, spent.output_tokens)
    return [*(f"{count:,}" for count in counts), settled, unsettled]
