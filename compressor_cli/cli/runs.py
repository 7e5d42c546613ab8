"""`scc runs`: what was trained, how far it came, and its curves."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compressor_cli.cli.common import JsonOption, print_json, say

if TYPE_CHECKING:
    from compressor_cli.core.runlist import RunInfo

app = typer.Typer(no_args_is_help=True)

_COLUMNS = ("name", "backend", "model", "state", "steps", "loss", "best val_loss", "started (UTC)", "duration")


@app.callback()
def runs() -> None:
    """List training runs, show one in full, plot their losses."""


@app.command("list")
def list_command(
    folder: Annotated[Path, typer.Argument(help="Where to look, at any depth.")] = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """A table of the runs below a folder, the newest last."""
    from compressor_cli.core.runlist import find_runs

    found, notes = find_runs(folder)
    if as_json:
        print_json([run.as_dict() for run in found])
    elif found:
        _print_table(found)
    else:
        say(f"no runs in {folder}")
    for note in notes:
        say(f"note: {note}")


@app.command("show")
def show_command(
    run: Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)], as_json: JsonOption = False
) -> None:
    """Settings, data, versions, sessions and checkpoints of one run; each checkpoint is read and verified."""
    from compressor_cli.core.runlist import describe

    found = describe(run)
    if as_json:
        print_json(found)
        return
    card = found.pop("run")
    checkpoints = found.pop("checkpoints")
    for name, value in found.items():
        _print_part(name, "-" if value is None else value)
    for name in ("command", "error", "settings", "data", "data_sha256", "versions", "git", "sessions"):
        if card.get(name):
            _print_part(name, card[name])
    for checkpoint in checkpoints:
        state = "valid" if checkpoint["valid"] else f"not valid: {checkpoint['problem']}"
        typer.echo(f"{checkpoint['name']}: {checkpoint['bytes']:,} bytes, {state}")


@app.command("plot")
def plot_command(
    paths: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.", show_default=False)],
    png: Annotated[Path | None, typer.Option("--png", help="Write a picture to this file.", show_default=False)] = None,
    page: Annotated[
        Path | None,
        typer.Option("--html", help="Write a page to this file that loads nothing.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Loss and validation loss by step, several runs in one picture: in the terminal, or to the files named."""
    from compressor_cli.core.curves import terminal_chart, write_html, write_png
    from compressor_cli.core.runlist import curves

    found = curves(paths)
    if png:
        write_png(found, png)
    if page:
        write_html(found, page, "Loss of " + ", ".join(curve.name for curve in found if not curve.dashed))
    written = [str(path) for path in (png, page) if path]
    if as_json:
        print_json({"curves": [{"name": curve.name, "points": curve.points} for curve in found], "written": written})
    elif written:
        typer.echo("\n".join(written))
    else:
        _print_chart(terminal_chart(found, width=_width()))


def _print_chart(chart: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    for line in chart.splitlines():
        typer.echo(_plain(line).encode(encoding, "replace").decode(encoding))


def _width() -> int:
    from rich.console import Console

    return Console().width


def _print_table(found: Sequence[RunInfo]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD)
    for name in _COLUMNS:
        table.add_column(name, justify="right" if name in ("steps", "loss", "best val_loss", "duration") else "left")
    for run in found:
        table.add_row(*(Text(_plain(cell)) for cell in _cells(run)))
    console = Console()
    if not console.is_terminal:  # a pipe has no width to break cells at
        console.width = Console(width=10_000).measure(table).maximum
    console.print(table)


def _cells(run: RunInfo) -> tuple[str, ...]:
    planned = "" if run.steps_planned is None else f"/{run.steps_planned:,}"
    losses = ("-" if value is None else f"{value:.4f}" for value in (run.loss, run.best_val_loss))
    started = run.started[:16].replace("T", " ")
    minutes, seconds = divmod(round(run.seconds), 60)
    duration = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    return (run.name, run.backend, run.model or "-", run.state, f"{run.steps:,}{planned}", *losses, started, duration)


def _print_part(name: str, value: Any) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _print_part(f"{name}.{key}", inner)
    elif isinstance(value, list):
        for n, inner in enumerate(value, start=1):
            _print_part(f"{name}.{n}", inner)
    else:
        typer.echo(_plain(f"{name}: {value}"))


def _plain(text: str) -> str:
    """A name from a file must not steer the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
