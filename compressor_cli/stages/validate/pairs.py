"""The pairs of a file that are to be judged, and labels of people for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor_cli.core.domains import detect_domain
from compressor_cli.core.jsonl import content_key, read_rows
from compressor_cli.engines.court import Pair
from compressor_cli.errors import UsageError


@dataclass(frozen=True)
class Pairs:
    """`refused` were rejected when they were made, `failed` counts those that were never made."""

    judged: list[Pair]
    refused: list[Mapping[str, Any]]
    failed: int


def read_pairs(path: Path) -> Pairs:
    """Of a file of scc the last row of a key counts. Rows without a key are each a pair, equal ones too.

    Raises UsageError for a row without two texts, and for a file without a pair to judge.
    """
    last: dict[str, Mapping[str, Any]] = {}
    for number, made in enumerate(read_rows(path), start=1):
        last[str(made["key"]) if "key" in made else f"row {number}"] = made
    judged: list[Pair] = []
    refused: list[Mapping[str, Any]] = []
    for name, row in last.items():
        if row.get("status") == "rejected":
            refused.append(row)
        elif "error" not in row:
            judged.append(_pair(path, name, row))
    if not judged:
        raise UsageError(f"{path} holds no accepted pair")
    return Pairs(judged, refused, len(last) - len(judged) - len(refused))


def _pair(path: Path, name: str, row: Mapping[str, Any]) -> Pair:
    original, compressed = row.get("original"), row.get("compressed")
    row_id = str(row.get("id", name))
    if not isinstance(original, str) or not isinstance(compressed, str):
        raise UsageError(
            f"{path}: {row_id} has no `original` and `compressed` text",
            hint="conversations have nothing to compare: they go to `scc data split` as they are",
        )
    domain, language = row.get("domain"), row.get("language")
    if domain is None:
        found = detect_domain(original)
        domain, language = found.name, language or found.language
    teachers = tuple(str(row[field]) for field in ("teacher", "model") if row.get(field))
    key = content_key(name, original, compressed, domain, language)
    return Pair(key, row_id, str(domain), language, original, compressed, teachers, row)


def read_gold(path: Path, pairs: Sequence[Pair]) -> tuple[dict[str, bool], int]:
    """Labels by the key of the pair, and how many are of no pair here.

    Raises UsageError where labels are missing, of one kind only, or of an `id` that several pairs have.
    """
    keys: dict[str, set[str]] = {}
    for pair in pairs:
        for known in {pair.id, str(pair.row.get("key", pair.id))}:
            keys.setdefault(known, set()).add(pair.key)
    labels: dict[str, bool] = {}
    strangers = 0
    for number, row in enumerate(read_rows(path), start=1):
        name, label = row.get("key", row.get("id")), row.get("equivalent")
        if not isinstance(label, bool) or name is None:
            raise UsageError(f"{path}, row {number}: `id` and `equivalent` (true or false) are needed")
        found = keys.get(str(name), set())
        if len(found) > 1:
            raise UsageError(f"{path}, row {number}: {len(found)} pairs have the id {name}", hint="name the pair's key")
        strangers += not found
        labels |= dict.fromkeys(found, label)
    if not labels:
        raise UsageError(f"{path}: no label is of a pair that is judged", hint="`id` or `key` must be that of the pair")
    if len(set(labels.values())) < 2:
        raise UsageError(f"{path}: all labels are the same; a threshold lies between pairs of both kinds")
    return labels, strangers
