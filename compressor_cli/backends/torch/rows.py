"""Rows as TRL's collators take them, and which of them each process takes at each step. Nothing is tokenised here
that was rendered before, and no row is cut or dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from compressor_cli.backends.torch.packing import packs
from compressor_cli.core.chat_tokenizer import ChatTokenizer
from compressor_cli.core.pace import Pace
from compressor_cli.core.rendering import RefusedRow, Rendered, Row, render
from compressor_cli.errors import UsageError
from compressor_cli.settings import TorchSettings

IGNORED = -100  # the label of a token that the loss is not on


@dataclass(frozen=True)
class Rows:
    """`columns` are those of TRL, a value a row, and last one more row that teaches nothing: it fills the place of a
    process that a step has no row for.

    `items` is how many things the loss of each row is a mean over (trained tokens, or 1 a pair), `tokens` all of them.
    """

    columns: dict[str, list[Any]]
    items: list[int]
    tokens: list[int]

    def __len__(self) -> int:
        return len(self.items)

    def row(self, place: int) -> dict[str, Any]:
        return {name: values[place] for name, values in self.columns.items()}


def rendered_rows(rows: Sequence[Rendered], settings: TorchSettings) -> Rows:
    """`labels` are the trained tokens; a packed sequence has the lengths of its rows, which do not see each other."""
    groups = [[rows[place] for place in places] for places in packs(rows, settings)]
    columns: dict[str, list[Any]] = {
        "input_ids": [[token for row in group for token in row.tokens] for group in groups] + [[0, 0]],
        "labels": [[label for row in group for label in _labels(row)] for group in groups] + [[IGNORED, IGNORED]],
    }
    if settings.packing:
        columns["seq_lengths"] = [[len(row.tokens) for row in group] for group in groups] + [[2]]
    return Rows(
        columns,
        items=[sum(label != IGNORED for label in labels) for labels in columns["labels"][:-1]],
        tokens=[len(tokens) for tokens in columns["input_ids"][:-1]],
    )


def _labels(row: Rendered) -> list[int]:
    """Nothing comes before the first token that could foretell it."""
    labels = [token if weight else IGNORED for token, weight in zip(row.tokens, row.weights, strict=True)]
    return [IGNORED, *labels[1:]]


def preference_rows(rows: Sequence[Row], tokenizer: ChatTokenizer) -> Rows:
    """Rendered as everywhere here: TRL's own preparation is not used. Raises UsageError for a row that is no pair."""
    columns: dict[str, list[Any]] = {"prompt_ids": [], "chosen_ids": [], "rejected_ids": []}
    for number, row in enumerate(rows, 1):
        prompt, chosen, rejected = _pair(row, tokenizer, number)
        columns["prompt_ids"].append(prompt)
        columns["chosen_ids"].append(chosen)
        columns["rejected_ids"].append(rejected)
    triples = list(zip(*columns.values(), strict=True))
    columns["prompt_ids"].append([0, 0])
    columns["chosen_ids"].append([])
    columns["rejected_ids"].append([])
    return Rows(
        columns,
        items=[1] * len(rows),
        tokens=[2 * len(prompt) + len(chosen) + len(rejected) for prompt, chosen, rejected in triples],
    )


def _pair(row: Row, tokenizer: ChatTokenizer, number: int) -> tuple[list[int], list[int], list[int]]:
    tools = {"tools": row["tools"]} if row.get("tools") else {}
    cut = []
    for name in ("chosen", "rejected"):
        if len(row[name]) != 1:
            raise UsageError(
                f"preference row {number}: `{name}` has {len(row[name])} messages; dpo compares two answers"
            )
        try:
            rendered = render(tokenizer, {"messages": [*row["prompt"], *row[name]], **tools})
        except RefusedRow as exc:
            raise UsageError(f"preference row {number}: {exc}") from None
        start = rendered.trained[-1][0]
        cut.append((rendered.tokens[:start], rendered.tokens[start:]))
    (prompt, chosen), (other, rejected) = cut
    if prompt != other:
        raise UsageError(f"preference row {number}: the template renders its prompt in two ways")
    return prompt, chosen, rejected


@dataclass(frozen=True)
class Shares:
    """Batches of places of rows, for one of `processes`: each step has `accumulation` of them for every process.

    A batch sampler of torch. Where a step has too few rows, the last place of all, of the row that fills, is taken.
    """

    pace: Pace
    batch_size: int
    accumulation: int
    rank: int
    processes: int

    def __len__(self) -> int:
        return self.pace.steps * self.accumulation

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.pace.steps):
            rows = self.pace.rows_of(step)
            for at in range(0, self.accumulation * self.batch_size, self.batch_size):
                yield list(rows[at : at + self.batch_size][self.rank :: self.processes]) or [self.pace.rows]
