"""The rows that a run trains on: each is used, left out and counted, or refused with its line."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from compressor_cli.core.chat_tokenizer import ChatTokenizer
from compressor_cli.core.jsonl import parse_row, read_lines
from compressor_cli.core.rendering import Fault, RefusedRow, Rendered, Row, render, training_row
from compressor_cli.errors import UsageError
from compressor_cli.settings import Section
from compressor_cli.settings.training import Stage

TOO_LONG = "longer than --max-seq-length"


class RowFilter(Section):
    """Which rows a stage takes, by what `<split>.meta.jsonl` says of them; `share` of those, evenly over the file."""

    category: tuple[str, ...] | None = None
    domain: tuple[str, ...] | None = None
    stage: tuple[str, ...] | None = None
    share: float = Field(1.0, gt=0, le=1)

    @property
    def fields(self) -> dict[str, tuple[str, ...]]:
        return {name: wanted for name in ("category", "domain", "stage") if (wanted := getattr(self, name))}


@dataclass
class TrainRows:
    """`rendered` are tokens; `preferences` the rows of dpo as they stand: prompt, chosen, rejected.

    `left_out` counts rows by why. `system` and `prefix` are how most prompts begin.
    """

    rendered: list[Rendered] = field(default_factory=list)
    preferences: list[Row] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    trained: int = 0
    longest: int = 0
    systems: Counter[str] = field(default_factory=Counter)
    begins: str | None = None

    def __len__(self) -> int:
        return len(self.rendered) or len(self.preferences)

    @property
    def longest_tail(self) -> int:
        """Of the rows, from the first token that is trained on."""
        tails = (len(row.tokens) - row.trained[0][0] + 1 for row in self.rendered if row.trained)
        return max(tails, default=self.longest)

    def prompt(self) -> dict[str, str | None]:
        """How the model is asked later: the system text of most rows, and the line that all users begin with."""
        system, rows = self.systems.most_common(1)[0] if self.systems else ("", 0)
        begins = (self.begins or "")[: (self.begins or "").rfind("\n") + 1]
        return {"system": system if 2 * rows > len(self) else None, "prefix": begins or None}

    def saw(self, messages: Sequence[Mapping[str, Any]]) -> None:
        first = messages[0]
        system = first["content"] if first["role"] == "system" else ""
        if system in self.systems or len(self.systems) < 100:
            self.systems[system] += 1
        user = next((message["content"] for message in messages if message["role"] == "user"), "")
        self.begins = user if self.begins is None else _shared(self.begins, user)


def read_train_rows(
    path: Path,
    tokenizer: ChatTokenizer,
    *,
    stage: Stage,
    mask: str,
    max_seq_length: int,
    where: RowFilter | None = None,
    limit: int | None = None,
    skip_invalid: bool = False,
) -> TrainRows:
    """Raises UsageError for a row that cannot be trained on, unless `skip_invalid` leaves it out."""
    found = TrainRows()
    for number, line in _chosen(path, where or RowFilter(), found.left_out, limit):
        try:
            _take(found, _parsed(line), tokenizer, stage, mask, max_seq_length)
        except RefusedRow as exc:
            if not skip_invalid:
                raise UsageError(
                    f"{path}, line {number}: {exc}",
                    hint="scc data check names every such row; --skip-invalid trains without them",
                ) from None
            found.left_out[exc.fault.value] += 1
    return found


def _parsed(line: bytes) -> Row:
    try:
        return parse_row(line)
    except ValueError as exc:
        raise RefusedRow(Fault.MALFORMED, str(exc)) from None


def _chosen(path: Path, where: RowFilter, left_out: Counter[str], limit: int | None) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers. Of equal filters the same ones, whatever else the file holds after them."""
    taken = 0
    metas = _metas(path) if where.fields else None
    evenly = random.Random("share")
    for place, (number, line) in enumerate(read_lines(path)):
        if limit is not None and taken >= limit:
            return
        if metas is not None:
            if place >= len(metas):
                raise UsageError(
                    f"{path} has more rows than {_meta_path(path).name}: they belong together line for line"
                )
            if not all(str(metas[place].get(name)) in wanted for name, wanted in where.fields.items()):
                left_out["not of this stage"] += 1
                continue
        if where.share < 1 and evenly.random() >= where.share:
            left_out["not of this share"] += 1
            continue
        yield number, line
        taken += 1


def _metas(path: Path) -> list[Mapping[str, Any]]:
    meta = _meta_path(path)
    if not meta.is_file():
        raise UsageError(
            f"{meta} is missing: it says which rows are of a category, domain or stage", hint="scc data split writes it"
        )
    try:
        return [parse_row(line) for _, line in read_lines(meta)]
    except ValueError as exc:
        raise UsageError(f"{meta}: {exc}") from None


def _meta_path(path: Path) -> Path:
    return path.with_suffix(".meta.jsonl")


def _take(found: TrainRows, row: Row, tokenizer: ChatTokenizer, stage: Stage, mask: str, limit: int) -> None:
    if stage == "dpo":
        rendered = _preference(row, tokenizer)
    elif stage == "pretrain":
        rendered = [_text(row, tokenizer)]
    else:
        row = training_row(row)
        rendered = [_chat(row, tokenizer, mask)]
    length = max(len(one.tokens) for one in rendered)
    if length > limit and stage != "pretrain":  # a text is cut into pieces, none of it is lost
        found.left_out[TOO_LONG] += 1
        return
    if stage == "dpo":
        found.preferences.append(row)
        found.saw(row["prompt"])
    else:
        found.rendered.extend(_pieces(rendered[0], limit))
        if stage != "pretrain":
            found.saw(row["messages"])
    found.tokens += sum(len(one.tokens) for one in rendered)
    found.trained += sum(one.trained_tokens for one in rendered)
    found.longest = max(found.longest, min(length, limit))


def _chat(row: Row, tokenizer: ChatTokenizer, mask: str) -> Rendered:
    rendered = render(tokenizer, row, mask="all" if mask == "all" else "last")
    return Rendered(rendered.tokens, ((1, len(rendered.tokens)),)) if mask == "none" else rendered


def _preference(row: Row, tokenizer: ChatTokenizer) -> list[Rendered]:
    for name in ("prompt", "chosen", "rejected"):
        if not isinstance(row.get(name), list) or not row[name]:
            raise RefusedRow(Fault.MALFORMED, f"`{name}` is no list of messages; dpo needs prompt, chosen and rejected")
    prompt, chosen, rejected = (row[name] for name in ("prompt", "chosen", "rejected"))
    tools = {"tools": row["tools"]} if row.get("tools") else {}
    return [render(tokenizer, {"messages": [*prompt, *answer], **tools}) for answer in (chosen, rejected)]


def _text(row: Row, tokenizer: ChatTokenizer) -> Rendered:
    text = row.get("text")
    if not isinstance(text, str) or not text.strip():
        raise RefusedRow(Fault.MALFORMED, "pretraining needs `text`")
    if found := tokenizer.special.search(text):
        raise RefusedRow(Fault.SPECIAL_TOKEN, f"the text holds {found[0]!r}, which ends or begins a turn")
    tokens = [*tokenizer.tokens(text), tokenizer.hf.eos_token_id]
    return Rendered(tokens, ((1, len(tokens)),))


def _pieces(rendered: Rendered, limit: int) -> Sequence[Rendered]:
    """A long text in pieces; a row of one token teaches nothing."""
    if len(rendered.tokens) <= limit:
        return [rendered]
    cut = [rendered.tokens[at : at + limit] for at in range(0, len(rendered.tokens), limit)]
    return [Rendered(tokens, ((1, len(tokens)),)) for tokens in cut if len(tokens) > 1]


def _shared(left: str, right: str) -> str:
    """What both begin with."""
    length = next(
        (at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right))
    )
    return left[:length]
