"""Progress on stderr: Rich at a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from compressor_cli.cli.common import say

OnEvent = Callable[[Mapping[str, Any]], None]


@contextmanager
def rows_progress(description: str) -> Iterator[OnEvent]:
    """For events with `done` and `total` rows; a `message` is printed above the bar."""
    if not sys.stderr.isatty():
        yield lambda event: say(event["message"]) if "message" in event else None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=None)

        def on_event(event: Mapping[str, Any]) -> None:
            if "message" in event:
                bar.console.print(event["message"], markup=False, highlight=False)
            if "done" in event:
                bar.update(task, completed=event["done"], total=event.get("total"))

        yield on_event


@contextmanager
def training_progress() -> Iterator[OnEvent]:
    """For the events of a run: at a terminal two lines that move, elsewhere about fifty lines of metrics a run."""
    if not sys.stderr.isatty():
        yield _plain_training
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.text import Text

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, TextColumn("left"), console=console, speed_estimate_period=_SPEED_OVER)
    task = bar.add_task("training", total=None)
    state: dict[str, Any] = {"kept": 0, "losses": [], "val": None, "speed": None}

    def lines() -> Group:
        return Group(bar, Text(_metrics(state, console.width), no_wrap=True, overflow="crop"))

    live = Live(get_renderable=lines, console=console)

    def on_event(event: Mapping[str, Any]) -> None:
        if "message" in event:
            console.print(event["message"], markup=False, highlight=False)
        elif not live.is_started:  # before the first step a model may be fetched, whose bars are the hub library's
            live.start()
        if "stage" in event:
            state.update(kept=0, losses=[], val=None, speed=None)
            bar.reset(task, description=event["stage"])
        if "saved" in event:
            state["kept"] = event["kept"]
        if "row" in event:
            _remember(state, event["row"])
        if "done" in event:
            bar.update(task, completed=event["done"], total=event.get("total"))

    console.print("reading rows and model", highlight=False)
    try:
        yield on_event
    finally:
        live.stop()


_SPEED_OVER = 3600.0  # seconds that the time left is estimated from: one step may take a minute
_BARS = "▁▂▃▄▅▆▇█"
_SHOWN = 16  # means of the loss in the little chart


def _remember(state: dict[str, Any], row: Mapping[str, Any]) -> None:
    if row.get("loss") is not None:
        state["losses"].append(row["loss"])
    state["val"] = row["val_loss"] if row.get("val_loss") is not None else state["val"]
    state["speed"] = row.get("tokens_per_second") or state["speed"]


def _metrics(state: Mapping[str, Any], width: int) -> str:
    losses: list[float] = state["losses"]
    if not losses:
        return ""
    parts = [f"val {state['val']:.3f}"] if state["val"] is not None else []
    parts += [f"{state['speed']:,.0f} tok/s"] if state["speed"] else []
    parts += [f"{state['kept']} saved"] if state["kept"] else []
    loss, others = f"loss {losses[-1]:.3f} ", "".join(f"  {part}" for part in parts)
    return loss + _trend(losses, max(4, width - len(loss + others))) + others


def _trend(losses: Sequence[float], room: int = _SHOWN) -> str:
    """The loss of the run so far, from left to right, as bars of its mean over equal parts."""
    count = min(_SHOWN, room, len(losses))
    edges = [round(part * len(losses) / count) for part in range(count + 1)]
    means = [sum(losses[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    span = (high - low) or 1.0
    return "".join(_BARS[round((mean - low) / span * (len(_BARS) - 1))] for mean in means)


def _plain_training(event: Mapping[str, Any]) -> None:
    for name in ("message", "stage"):
        if name in event:
            say(event[name])
    if "row" in event and _is_told(event):
        row = event["row"]
        told = {key: value for key, value in row.items() if value is not None and key != "tokens"}
        say("  ".join(f"{key} {_short(value)}" for key, value in told.items()))


def _is_told(event: Mapping[str, Any]) -> bool:
    done, total, row = event["done"], event.get("total"), event["row"]
    every = max(1, (total or 0) // 50)
    return done == 1 or done == total or done % every == 0 or row.get("val_loss") is not None


def _short(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.5g}"
