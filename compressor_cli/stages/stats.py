"""`scc data stats`: how many rows and tokens data has, by split, domain and category."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from compressor_cli.core.figures import percentile
from compressor_cli.core.jsonl import parse_row, read_lines
from compressor_cli.core.tokens import TokenCounter
from compressor_cli.errors import UsageError

BOUNDS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
_MARKS = {"role", "from", "type", "id", "tool_call_id"}  # fields whose text is no content


@dataclass
class Part:
    """`tokens` are those of each row; `before` and `after` those of originals and compressed texts, where told."""

    tokens: list[int] = field(default_factory=list)
    before: int = 0
    after: int = 0

    def as_dict(self) -> dict[str, Any]:
        ordered = sorted(self.tokens)
        bins = [0] * (len(BOUNDS) + 1)
        for count in ordered:
            bins[bisect_left(BOUNDS, count)] += 1
        return {
            "rows": len(ordered),
            "tokens": sum(ordered),
            "mean": round(sum(ordered) / len(ordered), 1),
            "p50": percentile(ordered, 50),
            "p95": percentile(ordered, 95),
            "max": ordered[-1],
            "ratio": round(self.after / self.before, 4) if self.before else None,
            "histogram": dict(zip([*(f"<={bound}" for bound in BOUNDS), f">{BOUNDS[-1]}"], bins, strict=True)),
        }


def statistics(paths: Sequence[Path], counter: TokenCounter) -> dict[str, Any]:
    """Of JSONL files of any training form, and of those in folders. Tokens are of the contents, without a template.

    `ratio` is that of `compressed` to `original`, or of the last answer to what the user said before it. What a row is
    of comes from the row itself, or from its line in `<name>.meta.jsonl`. Raises UsageError for what is no data.
    """
    total = Part()
    by: dict[str, dict[str, Part]] = {"split": {}, "domain": {}, "category": {}}
    for path in dict.fromkeys(path for place in paths for path in _files(place)):
        for row, meta in _rows(path):
            tokens = sum(counter.count(text) for text in _texts(row))
            pair = _pair(row, meta)
            sizes = [counter.count(text) for text in pair] if pair else [0, 0]
            known = {"split": path.stem, "domain": meta.get("domain"), "category": meta.get("category")}
            parts = [by[kind].setdefault(str(value), Part()) for kind, value in known.items() if value is not None]
            for part in (total, *parts):
                part.tokens.append(tokens)
                part.before += sizes[0]
                part.after += sizes[1]
    if not total.tokens:
        raise UsageError(f"no rows in {', '.join(map(str, paths))}")
    groups = {kind: {name: part.as_dict() for name, part in sorted(parts.items())} for kind, parts in by.items()}
    return {"tokenizer": counter.name, "exact": counter.exact, "total": total.as_dict(), "by": groups}


def _files(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        yield place
        return
    found = sorted(path for path in place.glob("*.jsonl") if not path.name.endswith(".meta.jsonl"))
    if not found:
        raise UsageError(f"no JSONL files in {place}")
    yield from found


def _rows(path: Path) -> Iterator[tuple[dict[str, Any], Mapping[str, Any]]]:
    beside = path.with_suffix(".meta.jsonl")
    metas = read_lines(beside) if beside.is_file() else ()
    for line, meta in zip_longest(read_lines(path), metas):
        if line is None or (meta is None and metas):
            raise UsageError(f"{path} and {beside.name} have different numbers of lines")
        try:
            row = parse_row(line[1])
        except ValueError as exc:
            raise UsageError(f"{path}, line {line[0]}: {exc}") from None
        try:
            yield row, row | parse_row(meta[1]) if meta else row
        except ValueError as exc:
            raise UsageError(f"{beside}, line {meta[0]}: {exc}") from None


def _texts(row: Mapping[str, Any]) -> Iterator[str]:
    """The contents of a row of whatever training form; in a row with more columns, of those columns only."""
    forms = ("messages", "conversations", "prompt", "chosen", "rejected", "instruction", "input", "output", "text")
    parts = [row[name] for name in (*forms, "system", "history") if name in row]
    yield from _strings(parts or list(row.values()))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)
    elif isinstance(value, dict):
        for name, part in value.items():
            if name == "arguments" and isinstance(part, dict):
                yield json.dumps(part, ensure_ascii=False)
            elif name not in _MARKS:
                yield from _strings(part)


def _pair(row: Mapping[str, Any], meta: Mapping[str, Any]) -> tuple[str, str] | None:
    if isinstance(meta.get("original"), str) and isinstance(meta.get("compressed"), str):
        return meta["original"], meta["compressed"]
    said = row.get("messages")
    last = said[-2:] if isinstance(said, list) else []
    if [isinstance(one, dict) and one.get("role") for one in last] != ["user", "assistant"]:
        return None
    before, after = (one.get("content") for one in last)
    return (before, after) if isinstance(before, str) and isinstance(after, str) else None
