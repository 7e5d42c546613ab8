"""Progress on stderr: Rich at a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
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
    """For the events of a training backend: plan, resumed, step, epoch."""
    with rows_progress("training") as show:

        def on_event(event: Mapping[str, Any]) -> None:
            kind = event["event"]
            if kind == "step":
                show({"done": event["step"], "total": event["total"]})
            elif kind == "plan":
                show({"message": ", ".join(f"{name} {value}" for name, value in asdict(event["plan"]).items())})
            elif kind == "resumed":
                show({"message": f"going on after epoch {event['epoch']}"})
            elif kind == "done_before":
                show({"message": "this run is complete already"})
            elif kind == "epoch":
                fields = {key: value for key, value in event["history"][-1].items() if key not in ("step", "tokens")}
                show({"message": "  ".join(f"{key} {value}" for key, value in fields.items())})

        yield on_event
