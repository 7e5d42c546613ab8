"""Progress on stderr: Rich at a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
    """For the events of a run: besides steps and messages, each `row` of metrics becomes a line."""
    with rows_progress("training") as show:

        def on_event(event: Mapping[str, Any]) -> None:
            show(event)
            if "row" in event:
                fields = {key: value for key, value in event["row"].items() if value is not None and key != "tokens"}
                show({"message": "  ".join(f"{key} {value}" for key, value in fields.items())})

        yield on_event
