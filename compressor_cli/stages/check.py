"""`scc check --input PAIRS.jsonl`: the facts of each pair; every row ends checked or failed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from compressor_cli.core.facts import check_facts
from compressor_cli.core.files import atomic_writer
from compressor_cli.core.jsonl import dump_row, parse_row, read_lines
from compressor_cli.errors import UsageError


@dataclass(frozen=True)
class CheckSummary:
    """asked = checked + failed. `fidelity` is over the facts of all rows, None where none was checked;
    `lowest` is that of the row `worst`."""

    asked: int
    checked: int
    failed: int
    facts: int
    fidelity: float | None
    by_kind: dict[str, float]
    lowest: float
    worst: Any
    below: int


def check_pairs(
    source: Path,
    target: Path | None,
    *,
    original: str,
    compressed: str,
    kinds: Sequence[str],
    patterns: Sequence[re.Pattern[str]] = (),
    min_fidelity: float | None = None,
    limit: int | None = None,
) -> CheckSummary:
    """Each row has its texts in the fields `original` and `compressed`, or is a chat row: the last answer, and what the
    user said before it. `target` gets a report a row. `below` counts rows of a fidelity below `min_fidelity`."""
    if target is not None and target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"--output {target} is the input itself", hint="name another output")
    tally = _Tally(min_fidelity)
    with atomic_writer(target) if target is not None else nullcontext() as handle:
        for number, line in islice(read_lines(source), limit):
            row = _checked(number, line, original, compressed, kinds, patterns)
            tally.add(row)
            if handle is not None:
                handle.write(dump_row(row))
    return tally.summary()


class _Tally:
    def __init__(self, min_fidelity: float | None) -> None:
        self.least = min_fidelity
        self.asked = self.failed = self.below = 0
        self.lowest, self.worst = 1.0, None
        self.kept: Counter[str] = Counter()
        self.all: Counter[str] = Counter()

    def add(self, row: dict[str, Any]) -> None:
        self.asked += 1
        if "error" in row:
            self.failed += 1
            return
        for fact in row["facts"]:
            self.all[fact["kind"]] += 1
            self.kept[fact["kind"]] += fact["status"] == "kept"
        self.below += self.least is not None and row["fidelity"] < self.least
        if row["fidelity"] < self.lowest:
            self.lowest, self.worst = row["fidelity"], row["id"]

    def _fidelity(self) -> float | None:
        if self.asked == self.failed:
            return None
        return round(self.kept.total() / self.all.total(), 4) if self.all else 1.0

    def summary(self) -> CheckSummary:
        return CheckSummary(
            asked=self.asked,
            checked=self.asked - self.failed,
            failed=self.failed,
            facts=self.all.total(),
            fidelity=self._fidelity(),
            by_kind={kind: round(self.kept[kind] / self.all[kind], 4) for kind in sorted(self.all)},
            lowest=self.lowest,
            worst=self.worst,
            below=self.below,
        )


def _checked(
    number: int, line: bytes, original: str, compressed: str, kinds: Sequence[str], patterns: Sequence[re.Pattern[str]]
) -> dict[str, Any]:
    row_id: Any = f"line {number}"  # no id of another row
    try:
        row = parse_row(line)
        row_id = row.get("id", number)
        before, after = _pair(row, original, compressed)
    except ValueError as exc:
        return {"id": row_id, "error": f"line {number}: {exc}"}
    try:
        report = check_facts(before, after, kinds=kinds, patterns=patterns)
    except UsageError as exc:  # a pattern that takes too long on this text
        return {"id": row_id, "error": f"line {number}: {exc}"}
    return {"id": row_id, **report.as_dict()}


def _pair(row: dict[str, Any], original: str, compressed: str) -> tuple[str, str]:
    """Raises ValueError where the row has no pair of texts."""
    if original in row or compressed in row or "messages" not in row:
        missing = [name for name in (original, compressed) if not isinstance(row.get(name), str)]
        if missing:
            raise ValueError(f"no text in field {' and '.join(map(repr, missing))}")
        return row[original], row[compressed]
    said = list(_said(row["messages"]))
    answers = [n for n, (role, _) in enumerate(said) if role == "assistant" and n and said[n - 1][0] == "user"]
    if not answers:
        raise ValueError("'messages' has no answer to a user")
    return said[answers[-1] - 1][1], said[answers[-1]][1]


def _said(messages: Any) -> Iterator[tuple[str, str]]:
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and isinstance(message.get("content"), str):
            yield str(message.get("role")), message["content"]
