"""`scc data split`: pairs become train, valid and test files, no source in two of them.

Rows of one document stay together, and so do rows with the same prompt. Each file has, line for line, a `.meta.jsonl`
with what else is known of its rows. All are staged and moved into place together, the manifest last.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from compressor_cli import __version__
from compressor_cli.core.chatrows import MalformedRow
from compressor_cli.core.exports import alpaca, chat, preferences, prompt_of, read_pairs, read_texts, sharegpt
from compressor_cli.core.files import atomic_writer, sha256_file, write_json
from compressor_cli.core.groups import Group, group, share_out
from compressor_cli.core.jsonl import content_key, dump_row
from compressor_cli.core.staging import MANIFEST, Stage, read_manifest, staging
from compressor_cli.errors import UsageError
from compressor_cli.records import Pair
from compressor_cli.settings import SplitSettings

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Item:
    """A row as it is written, what is written beside it, and what it must not be parted from."""

    row: Mapping[str, Any]
    meta: Mapping[str, Any]
    ties: tuple[str, ...]
    stratum: str


@dataclass(frozen=True)
class SplitSummary:
    """In `manifest`, `files` have rows and sources, `strata` the rows by split, and `left_out` counts rows by why."""

    output: Path
    manifest: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return {"output": str(self.output), "manifest": str(self.output / MANIFEST), **self.manifest}


def split(
    source: Path, output: Path, settings: SplitSettings, *, rejected: Path | None = None, force: bool = False
) -> SplitSummary:
    """Raises UsageError for ratios, rows and formats that do not fit, and for files that only `force` may replace."""
    ratios = _ratios(settings.ratios)
    if (settings.format == "preference") != (rejected is not None):
        raise UsageError("--format preference and --rejected go together", hint="--rejected rejected.jsonl")
    if settings.tools is not None and settings.format != "chat":
        raise UsageError("--tools goes with --format chat")
    items, left_out = _items(source, rejected, settings)
    if not items:
        raise UsageError(f"{source} gives no row to write", hint="; ".join(left_out) or None)
    groups = group([item.ties for item in items], [item.stratum for item in items])
    shared = share_out(groups, ratios, settings.seed)
    inputs = [path for path in (source, rejected) if path is not None]
    with staging(output) as stage:
        _refuse_to_replace(output, inputs, force)
        manifest = _manifest(inputs, settings, groups, left_out)
        for name, members in shared.items():
            rows = [items[row] for one in members for row in one.rows]
            _write(stage, name, rows, len(members), settings.seed, manifest)
        write_json(stage.folder / MANIFEST, manifest)
        stage.commit()
    return SplitSummary(output, manifest)


def _ratios(ratios: Sequence[float]) -> dict[str, Fraction]:
    told = f"--ratios {' '.join(map(str, ratios))}"
    if not all(0 <= ratio <= 1 for ratio in ratios):
        raise UsageError(f"{told}: each is between 0 and 1")
    exact = [Fraction(str(ratio)) for ratio in ratios]
    if sum(exact) != 1:
        raise UsageError(f"{told}: their sum is {float(sum(exact)):g}, and 1 is needed")
    return dict(zip(SPLITS, exact, strict=True))


def _items(source: Path, rejected: Path | None, settings: SplitSettings) -> tuple[list[Item], dict[str, int]]:
    if settings.format == "text":
        texts = [
            ({"text": row["text"]}, {name: row[name] for name in row if name != "text"}) for row in read_texts(source)
        ]
        return [_item(row, meta, [row["text"]], settings) for row, meta in texts], {}
    left_out = Counter[str]()
    pairs = list(read_pairs(source, left_out))
    try:
        if rejected is not None:
            rows, unused = preferences(pairs, read_pairs(rejected, left_out, rejected=True))
            items = [_item(row, pair.meta, pair.messages[:-1], settings) for row, pair in rows]
            return items, {**left_out, **unused}
    except MalformedRow as exc:
        raise UsageError(f"{source} or {rejected}: {exc}") from None
    items = []
    for number, pair in enumerate(pairs, start=1):
        try:
            prompt = prompt_of(pair.messages)
            items.append(_item(_formatted(pair, settings), pair.meta, prompt, settings))
        except MalformedRow as exc:
            raise UsageError(f"{source}, row {number}: {exc}", hint=_HINTS.get(settings.format)) from None
    return items, dict(left_out)


_HINTS = {"alpaca": "--format sharegpt takes tools and other turns", "sharegpt": "--format chat takes every row"}


def _formatted(pair: Pair, settings: SplitSettings) -> dict[str, Any]:
    if settings.format == "chat":
        return chat(pair, settings.tools)
    return sharegpt(pair) if settings.format == "sharegpt" else alpaca(pair)


def _item(row: dict[str, Any], meta: Mapping[str, Any], prompt: Sequence[Any], settings: SplitSettings) -> Item:
    same_prompt = "prompt " + content_key(meta.get("original") or list(prompt))
    stratum = meta.get("category") or meta.get("domain") or "none"
    return Item(row, meta, (*_documents(meta, settings.group_by), same_prompt), str(stratum))


def _documents(meta: Mapping[str, Any], group_by: str | None) -> Iterable[str]:
    """By default the document; in a JSONL file each line is one. A text of no known document is one by itself."""
    if group_by is not None:
        if meta.get(group_by) is None:
            raise UsageError(f"--group-by {group_by}: a row has no such field; it has {', '.join(meta) or 'none'}")
        return [f"{group_by} {meta[group_by]}"]
    source, line = meta.get("source"), meta.get("line")
    if source is not None:
        return [f"source {source}" + (f" {line}" if line is not None and str(source).endswith(".jsonl") else "")]
    return [f"source_id {meta['source_id']}"] if meta.get("source_id") is not None else []


def _refuse_to_replace(output: Path, inputs: Sequence[Path], force: bool) -> None:
    names = [name for split in SPLITS for name in (f"{split}.jsonl", f"{split}.meta.jsonl")]
    for path in inputs:
        if any((output / name).exists() and (output / name).samefile(path) for name in names):
            raise UsageError(f"{path} is read by this split; name another --output")
    if force:
        return
    hint = "--force replaces the files in that folder; or name another --output"
    before = read_manifest(output, "ratios")
    written = before["files"] if before else {}
    for name in [*names, *([] if before else [MANIFEST])]:
        path = output / name
        if path.exists() and (name not in written or sha256_file(path) != written[name]["sha256"]):
            raise UsageError(f"{path} was edited, or no split wrote it", hint=hint)


def _manifest(
    inputs: Sequence[Path], settings: SplitSettings, groups: Sequence[Group], left_out: Mapping[str, int]
) -> dict[str, Any]:
    return {
        "inputs": {str(path): sha256_file(path) for path in inputs},
        "format": settings.format,
        "tools": settings.tools,
        "ratios": dict(zip(SPLITS, settings.ratios, strict=True)),
        "seed": settings.seed,
        "group_by": settings.group_by,
        "sources": len(groups),
        "files": {},
        "strata": {},
        "left_out": dict(left_out),
        "versions": {"compressor_cli": __version__, "python": platform.python_version()},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _write(stage: Stage, name: str, items: list[Item], sources: int, seed: int, manifest: dict[str, Any]) -> None:
    """In an order that the seed and the rows give."""
    lines = sorted(
        ((dump_row(item.row), dump_row(item.meta)) for item in items),
        key=lambda line: content_key(seed, *map(repr, line)),
    )
    for index, ending in enumerate((".jsonl", ".meta.jsonl")):
        path = stage.folder / f"{name}{ending}"
        with atomic_writer(path) as handle:
            handle.writelines(line[index] for line in lines)
        manifest["files"][path.name] = {
            "split": name, "rows": len(lines), "sources": sources, "sha256": sha256_file(path)
        }  # fmt: skip
    for stratum, count in sorted(Counter(item.stratum for item in items).items()):
        manifest["strata"].setdefault(stratum, {})[name] = count
