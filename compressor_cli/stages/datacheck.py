"""`scc data check`: each row rendered as training will render it; every row ends accepted or refused."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from compressor_cli.core.chat_tokenizer import ChatTokenizer
from compressor_cli.core.figures import percentile
from compressor_cli.core.jsonl import parse_row, read_lines
from compressor_cli.core.render_peers import Peer, open_peers
from compressor_cli.core.rendering import Fault, RefusedRow, Rendered, Row, render, training_row
from compressor_cli.errors import UsageError
from compressor_cli.settings import DataCheckSettings

SPLITS = ("train", "valid", "test")
BOUNDS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
_TOGETHER = 256  # rows that are compared at once
_LONGEST = 5

OnEvent = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class RefusedLine:
    file: str
    line: int
    kind: str
    detail: str


@dataclass(frozen=True)
class Length:
    tokens: int
    file: str
    line: int


@dataclass
class Part:
    """`tokens` and `trained` are those of each accepted row. rows = accepted + refused."""

    refused: int = 0
    tokens: list[int] = field(default_factory=list)
    trained: int = 0

    def as_dict(self) -> dict[str, Any]:
        ordered = sorted(self.tokens) or [0]
        total = sum(self.tokens)
        return {
            "rows": len(self.tokens) + self.refused,
            "refused": self.refused,
            "tokens": total,
            "trained": self.trained,
            "share": round(self.trained / total, 4) if total else 0.0,
            "p50": percentile(ordered, 50),
            "p95": percentile(ordered, 95),
            "max": ordered[-1],
        }


@dataclass
class CheckedData:
    """`compared` has the version of each library, `skipped` why others are not, `ignored` the files that training does
    not read. `lengths` and `longest` are of all rows that the template renders, refused ones too."""

    settings: DataCheckSettings
    compared: dict[str, str]
    skipped: dict[str, str]
    ignored: list[str]
    splits: dict[str, Part] = field(default_factory=dict)
    refused: list[RefusedLine] = field(default_factory=list)
    lengths: Counter[int] = field(default_factory=Counter)
    longest: list[Length] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(len(part.tokens) + part.refused for part in self.splits.values())

    def by_kind(self) -> dict[str, int]:
        return dict(Counter(row.kind for row in self.refused).most_common())

    def as_dict(self) -> dict[str, Any]:
        total = Part()
        for part in self.splits.values():
            total.refused += part.refused
            total.tokens += part.tokens
            total.trained += part.trained
        names = [*(f"<={bound}" for bound in BOUNDS), f">{BOUNDS[-1]}"]
        return {
            **self.settings.model_dump(),
            "compared": self.compared,
            "skipped": self.skipped,
            "ignored": self.ignored,
            "total": total.as_dict(),
            "splits": {name: part.as_dict() for name, part in self.splits.items()},
            "by_kind": self.by_kind(),
            "histogram": {name: self.lengths[place] for place, name in enumerate(names)},
            "longest": [asdict(row) for row in self.longest],
            "refused": [asdict(row) for row in self.refused],
        }

    def measure(self, path: Path, line: int, tokens: int) -> None:
        self.lengths[bisect_left(BOUNDS, tokens)] += 1
        self.longest = heapq.nlargest(
            _LONGEST, [*self.longest, Length(tokens, path.name, line)], key=lambda row: row.tokens
        )

    def refuse(self, path: Path, line: int, kind: Fault, detail: str) -> None:
        self.splits[path.stem].refused += 1
        self.refused.append(RefusedLine(path.name, line, kind.value, detail))

    def accept(self, path: Path, rendered: Rendered) -> None:
        part = self.splits[path.stem]
        part.tokens.append(len(rendered.tokens))
        part.trained += rendered.trained_tokens


def data_files(place: Path) -> list[Path]:
    """Raises UsageError for a folder without the files of a split."""
    if not place.is_dir():
        return [place]
    found = [path for path in (place / f"{name}.jsonl" for name in SPLITS) if path.is_file()]
    if not found:
        raise UsageError(f"{place} has no train.jsonl, valid.jsonl or test.jsonl", hint="scc data split writes them")
    return found


def check_data(
    place: Path,
    tokenizer: ChatTokenizer,
    settings: DataCheckSettings,
    *,
    limit: int | None = None,
    on_event: OnEvent = lambda event: None,
) -> CheckedData:
    """`limit` is of the rows of each file. Raises UsageError for files that hold no rows."""
    files = data_files(place)
    peers, skipped = open_peers(tokenizer)
    found = CheckedData(settings, {peer.name: peer.version for peer in peers}, skipped, _ignored(place, files))
    for path in files:
        found.splits[path.stem] = Part()
        for lines in _chunks(islice(read_lines(path), limit)):
            _check(found, path, lines, tokenizer, peers)
            on_event({"done": found.rows})
    if not found.rows:
        raise UsageError(f"no rows in {place}")
    found.refused.sort(key=lambda row: ([path.name for path in files].index(row.file), row.line))
    return found


def _ignored(place: Path, files: list[Path]) -> list[str]:
    others = set(place.glob("*.jsonl")) - set(files) if place.is_dir() else set()
    return sorted(path.name for path in others if not path.name.endswith(".meta.jsonl"))


def _chunks(lines: Iterable[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    remaining = iter(lines)
    while chunk := list(islice(remaining, _TOGETHER)):
        yield chunk


def _check(
    found: CheckedData, path: Path, lines: list[tuple[int, bytes]], tokenizer: ChatTokenizer, peers: list[Peer]
) -> None:
    ready: list[tuple[int, Row, Rendered]] = []
    for number, line in lines:
        try:
            row = training_row(_parsed(line))
            rendered = render(tokenizer, row, mask=found.settings.mask)
        except RefusedRow as exc:
            found.refuse(path, number, exc.fault, str(exc))
            continue
        found.measure(path, number, len(rendered.tokens))
        if told := _too_long(rendered, found.settings.max_seq_length):
            found.refuse(path, number, Fault.TOO_LONG, told)
        else:
            ready.append((number, row, rendered))
    rows = [(row, rendered) for _, row, rendered in ready]
    told_by = [peer.differences(tokenizer, rows) for peer in peers if rows]
    for place, (number, _, rendered) in enumerate(ready):
        differing = [difference for told in told_by if (difference := told[place])]
        if differing:
            found.refuse(path, number, Fault.MASKED_DIFFERENTLY, "; ".join(differing))
        else:
            found.accept(path, rendered)


def _parsed(line: bytes) -> Row:
    try:
        return parse_row(line)
    except ValueError as exc:
        raise RefusedRow(Fault.MALFORMED, str(exc)) from None


def _too_long(rendered: Rendered, limit: int) -> str | None:
    length = len(rendered.tokens)
    if length <= limit:
        return None
    left = sum(max(min(end, limit) - start, 0) for start, end in rendered.trained)
    return f"{length:,} tokens; cut at {limit:,}, {left:,} of {rendered.trained_tokens:,} trained tokens are left"
