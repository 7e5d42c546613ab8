"""What the tests of `scc eval` and `scc compare` share: rows of a dataset, rows of an eval, and a scripted model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from compressor_cli.core.generation import Generated, Prompt, Sampling

Row = dict[str, Any]
SYSTEM, PREFIX = "Rewrite the text as densely as you can.", "Compress:\n"


def text(number: int) -> str:
    return (
        f"The pump number {number} was not to be opened above {number + 2} bar before the council of the town of "
        f"Vessmark had agreed to it, which was on the {number % 27 + 1} March 2020, and it was checked each Monday."
    )


def short(number: int) -> str:
    return f"Pump {number}: not opened >{number + 2} bar before Vessmark council agreed, {number % 27 + 1} March 2020"


def chat_row(number: int) -> Row:
    messages = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": PREFIX + text(number)},
        {"role": "assistant", "content": short(number)},
    ]
    return {"messages": messages}


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def dataset(path: Path, count: int) -> Path:
    return write_rows(path, [chat_row(number) for number in range(count)])


def rows_of(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Scripted:
    """Says what `answer` makes of the prompt and its place, in reversed order, as servers may."""

    name = "scripted"

    def __init__(self, answer: Callable[[int, Prompt], Generated]) -> None:
        self.answer = answer
        self.prompts: list[Prompt] = []
        self.sampling: Sampling | None = None
        self.closed = False

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Generated]]:
        self.prompts, self.sampling = list(prompts), sampling
        for place in reversed(range(len(prompts))):
            yield place, self.answer(place, prompts[place])

    def close(self) -> None:
        self.closed = True


def opens(monkeypatch: pytest.MonkeyPatch, opening: Callable[..., Any]) -> None:
    """`opening` in place of what opens a model, which then needs no weights."""
    monkeypatch.setattr("compressor_cli.engines.generators.open_generator", opening)
    monkeypatch.setattr("compressor_cli.engines.generators.fetch_weights", lambda *_: None)


def said(words: str, **more: Any) -> Generated:
    return Generated(words, 60, 20, more.pop("truncated", False), more.pop("seconds", 0.05), cost_usd=0.0, **more)
