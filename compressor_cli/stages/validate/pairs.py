"""The pairs of a file that are to be judged, and labels of people for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor_cli.core.jsonl import read_rows
from compressor_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Pair:
    key: str
    id: str
    domain: str
    language: str | None
    original: str
    compressed: str
    teacher: str | None
    row: Mapping[str, Any]


def read_pairs(path: Path) -> tuple[list[Pair], list[Mapping[str, Any]]]:
    """Those to be judged, and the rows that were rejected when they were made."""
    last: dict[str, Mapping[str, Any]] = {}
    for number, made in enumerate(read_rows(path), start=1):
        last[str(made.get("key") or made.get("id") or number)] = made
    pairs: list[Pair] = []
    refused: list[Mapping[str, Any]] = []
    for key, row in last.items():
        if "error" in row:
            continue
        if row.get("status") == "rejected":
            refused.append(row)
            continue
        original, compressed = row.get("original"), row.get("compressed")
        if not isinstance(original, str) or not isinstance(compressed, str):
            raise UsageError(
                f"{path}: the row {row.get('id', key)} has no `original` and `compressed` text",
                hint="conversations have nothing to compare: they go to `scc data split` as they are",
            )
        domain, language = str(row.get("domain") or "prose"), row.get("language")
        row_id = str(row.get("id", key))
        pairs.append(Pair(key, row_id, domain, language, original, compressed, row.get("teacher"), row))
    if not pairs:
        raise UsageError(f"{path} holds no accepted pair")
    return pairs, refused


def read_gold(path: Path, pairs: Sequence[Pair]) -> dict[str, bool]:
    """Labels by the key of the pair."""
    keys = {name: pair.key for pair in pairs for name in (pair.id, pair.key)}
    labels = {}
    for number, row in enumerate(read_rows(path), start=1):
        name, label = row.get("key", row.get("id")), row.get("equivalent")
        if not isinstance(label, bool) or name is None:
            raise UsageError(f"{path}, row {number}: `id` and `equivalent` (true or false) are needed")
        if str(name) in keys:
            labels[keys[str(name)]] = label
    if not labels:
        raise UsageError(f"{path}: no label is of a pair that is judged", hint="`id` or `key` must be that of the pair")
    return labels
