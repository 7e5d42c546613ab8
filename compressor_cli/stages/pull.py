"""A dataset becomes chat files: one JSONL file a split, and a manifest that describes them.

Other columns of the source stand in `<target>.meta.jsonl`, line for line. All files are written into `.pull/` inside
the output folder and moved into place together, the manifest last; a move that was cut off the next pull finishes.
"""

from __future__ import annotations

import json
import platform
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compressor_cli import __version__
from compressor_cli.core.chatrows import MalformedRow, chat_row
from compressor_cli.core.files import atomic_writer, sha256_file, write_json
from compressor_cli.core.jsonl import dump_row
from compressor_cli.core.sources import Source, opened
from compressor_cli.core.staging import MANIFEST, read_manifest, staging
from compressor_cli.errors import PartialError, SccError, UsageError
from compressor_cli.settings import PullSettings

DEFAULT_TARGETS = {
    "train": "train",
    "validation": "valid",
    "valid": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
}
PROGRESS_EVERY = 500
MANIFEST_KEYS = ("dataset", "revision", "fingerprint", "split", "skipped", "left_out")


OnEvent = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class PullSummary:
    """`unchanged`: the files were there already, and nothing was written."""

    output: Path
    unchanged: bool
    manifest: dict[str, Any]

    @property
    def rows(self) -> dict[str, int]:
        """Rows by the name of the chat file."""
        return {name: file["rows"] for name, file in self.manifest["files"].items() if not _is_meta(name)}

    @property
    def skipped(self) -> int:
        return sum(sum(reasons.values()) for reasons in self.manifest["skipped"].values())

    def as_dict(self) -> dict[str, Any]:
        files = {name: {"path": str(self.output / name), **file} for name, file in self.manifest["files"].items()}
        told = {key: self.manifest[key] for key in ("dataset", "revision", "fingerprint", "split")}
        return {
            **told,
            "output": str(self.output),
            "manifest": str(self.output / MANIFEST),
            "unchanged": self.unchanged,
            "files": files,
            "skipped": self.manifest["skipped"],
            "left_out": self.manifest["left_out"],
        }


def materialize_hf_chat_dataset(
    dataset_name: str, output_dir: str | Path, *, split_map: Mapping[str, str] | None = None, force: bool = True
) -> dict[str, int]:
    """Pull a dataset into `output_dir`; rows by file name. `split_map` names a target for each split of the source.

    Raises SccError as `pull` does. The token of huggingface_hub is used, where there is one.
    """
    settings = PullSettings(
        dataset=dataset_name, output=Path(output_dir), split=None if split_map is None else dict(split_map)
    )
    return pull(settings, force=force).rows


def pull(
    settings: PullSettings,
    *,
    force: bool = False,
    token: str | None = None,
    on_event: OnEvent = lambda event: None,
) -> PullSummary:
    """Raises SccError for a malformed row (unless settings.skip_invalid) and whatever keeps the source from being read,
    UsageError for a wrong split map and for files that only `force` may replace; the output folder is then as it was.
    """
    _check_map(settings.split or {})
    source_of_rows = opened(settings.dataset, revision=settings.revision, token=token, streaming=settings.streaming)
    with ExitStack() as stack:
        stage = stack.enter_context(staging(settings.output))
        if stage.finished_earlier:
            told = f"a pull into {settings.output} that was cut off while moving its files was finished"
            on_event({"message": told})
        source = stack.enter_context(source_of_rows)
        split_map = _split_map(source, settings.split, on_event)
        targets = [f"{target}.jsonl" for target in split_map.values()]
        _refuse_own_source(source, settings.output, targets)
        before = read_manifest(settings.output, *MANIFEST_KEYS)
        if not force:
            if before and _is_there(before, settings, source, split_map):
                return PullSummary(settings.output, True, before)
            _refuse_to_replace(settings.output, before, targets)
        if before and before["dataset"] != settings.dataset:
            on_event({"message": f"the earlier pull of {before['dataset']} is replaced"})
        manifest = _manifest(source, split_map)
        read = 0
        for split, target in split_map.items():
            read += _write_split(source, split, stage.folder / target, manifest, settings.skip_invalid, on_event, read)
        if not force:  # once more: the files may have been edited meanwhile, and the names of all are known now
            _refuse_to_replace(settings.output, before, list(manifest["files"]))
        write_json(stage.folder / MANIFEST, manifest)
        stage.commit()
        return PullSummary(settings.output, False, manifest)


def pulled_from(folder: Path) -> str | None:
    """The dataset that a pull left in this folder."""
    manifest = read_manifest(folder, *MANIFEST_KEYS)
    return str(manifest["dataset"]) if manifest else None


def parse_split_words(words: Sequence[str] | None) -> dict[str, str] | None:
    """`["validation=valid"]` becomes `{"validation": "valid"}`."""
    if not words:
        return None
    split_map: dict[str, str] = {}
    for word in words:
        source, equals, target = word.partition("=")
        if not (source and equals and target):
            raise UsageError(f"--split {word}: SOURCE=TARGET is needed, as in --split validation=valid")
        if source in split_map:
            raise UsageError(f"--split {word}: the split {source!r} is named twice")
        split_map[source] = target
    return split_map


def require_complete(summary: PullSummary) -> None:
    """Raises PartialError where rows were skipped."""
    if summary.skipped:
        told = "; ".join(
            f"{split}: " + ", ".join(f"{count} x {reason}" for reason, count in reasons.items())
            for split, reasons in summary.manifest["skipped"].items()
        )
        raise PartialError(f"{summary.skipped} malformed rows were skipped ({told})")


def _check_map(split_map: Mapping[str, str]) -> None:
    taken: dict[str, str] = {}
    for source, target in split_map.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", target):
            raise UsageError(f"--split {source}={target}: the target is a plain name of letters, digits, - and _")
        # Two names that differ in case only are one file on many disks.
        other = taken.setdefault(target.casefold(), source)
        if other != source:
            raise UsageError(f"--split: {other!r} and {source!r} would both become {target}.jsonl")


def _split_map(source: Source, asked: Mapping[str, str] | None, on_event: OnEvent) -> dict[str, str]:
    exist = ", ".join(source.splits) or "none"
    if asked:
        unknown = [split for split in asked if split not in source.files]
        if unknown:
            raise UsageError(f"{source.name} has no split {unknown[0]!r}; it has: {exist}")
        return dict(asked)
    split_map = {split: DEFAULT_TARGETS[split] for split in source.splits if split in DEFAULT_TARGETS}
    hint = "say which become which file: --split SOURCE=TARGET"
    if not split_map:
        raise UsageError(f"{source.name} has none of the splits train, validation, test; it has: {exist}", hint=hint)
    if len(set(split_map.values())) < len(split_map):
        raise UsageError(f"{source.name} has several splits for one file; it has: {exist}", hint=hint)
    others = [split for split in source.splits if split not in split_map]
    if others:
        on_event({"message": f"splits left out: {', '.join(others)} (--split SOURCE=TARGET takes them)"})
    return split_map


def _refuse_own_source(source: Source, output: Path, targets: Sequence[str]) -> None:
    for file in source.local_files:
        for name in targets:
            target = output / name
            if target.exists() and file.exists() and target.samefile(file):
                raise UsageError(f"{target} is read by this pull; name another --output")


def _is_there(before: Mapping[str, Any], settings: PullSettings, source: Source, split_map: Mapping[str, str]) -> bool:
    same = (
        before["dataset"] == settings.dataset
        and before["fingerprint"] == source.fingerprint
        and before["split"] == dict(split_map)
        and (settings.skip_invalid or not before["skipped"])
    )
    return same and all(
        (path := settings.output / name).is_file() and sha256_file(path) == file["sha256"]
        for name, file in before["files"].items()
    )


def _refuse_to_replace(output: Path, before: Mapping[str, Any] | None, names: Sequence[str]) -> None:
    """Raises UsageError where a file was not left there by a pull, was edited since, or would be left over."""
    hint = "--force replaces the files in that folder; or name another --output"
    if before is None:
        foreign = [name for name in (*names, MANIFEST) if (output / name).exists()]
        if foreign:
            raise UsageError(f"{output / foreign[0]} is there already, and no pull wrote it", hint=hint)
        return
    for name in names:
        if name not in before["files"] and (output / name).exists():
            raise UsageError(f"{output / name} is there already, and no pull wrote it", hint=hint)
    for name, file in before["files"].items():
        path = output / name
        if path.exists() and (not path.is_file() or sha256_file(path) != file["sha256"]):
            raise UsageError(f"{path} was edited since it was pulled", hint=hint)
    over = [name for name in before["files"] if not _is_meta(name) and name not in names]
    if over:
        raise UsageError(
            f"{', '.join(over)} in {output}, from the earlier pull of {before['dataset']}, would be removed", hint=hint
        )


def _manifest(source: Source, split_map: Mapping[str, str]) -> dict[str, Any]:
    import datasets

    return {
        "dataset": source.name,
        "revision": source.revision,
        "fingerprint": source.fingerprint,
        "split": dict(split_map),
        "files": {},
        "skipped": {},
        "left_out": {},
        "versions": {
            "compressor_cli": __version__,
            "datasets": datasets.__version__,
            "python": platform.python_version(),
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _write_split(
    source: Source,
    split: str,
    target: Path,
    manifest: dict[str, Any],
    skip_invalid: bool,
    on_event: OnEvent,
    read_before: int,
) -> int:
    """Writes `<target>.jsonl`, `<target>.meta.jsonl` where a row has other columns, and their manifest entries.

    The rows read; `read_before` are those of other splits, and events count both.
    """
    chat_path, meta_path = target.with_suffix(".jsonl"), target.with_suffix(".meta.jsonl")
    skipped: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    written, with_rest, read = 0, 0, 0
    with (
        closing(source.rows(split)) as rows,
        atomic_writer(chat_path) as chat_file,
        atomic_writer(meta_path) as meta_file,
    ):
        for index, (place, row) in enumerate(rows):
            read = index + 1
            if index % PROGRESS_EVERY == 0:
                on_event({"done": read_before + index, "total": None})
            try:
                line, rest, unplaced = _lines(row)
            except MalformedRow as exc:
                if not skip_invalid:
                    where = f"split {split!r}, row {index} (the first is 0{f'; {place}' if place else ''})"
                    raise SccError(f"{where}: {exc}", hint="--skip-invalid goes on without such rows") from None
                skipped[exc.reason] += 1
                continue
            chat_file.write(line)
            meta_file.write(rest)
            written += 1
            with_rest += rest != b"{}\n"
            left_out.update(unplaced)
    on_event({"done": read_before + read, "total": None})
    if not written:
        reasons = f": {', '.join(skipped)}" if skipped else ""
        raise SccError(f"split {split!r} has no row to write; {read} were read{reasons}")
    names = [chat_path, meta_path] if with_rest else [chat_path]
    for path in names:
        manifest["files"][path.name] = {"split": split, "rows": written, "sha256": sha256_file(path)}
    if not with_rest:
        meta_path.unlink()
    if skipped:
        manifest["skipped"][split] = dict(skipped)
    if left_out:
        manifest["left_out"][split] = dict(left_out)
        told = ", ".join(f"{key} ({count} rows)" for key, count in left_out.items())
        on_event({"message": f"split {split!r}: left out, since the files have no place for it: {told}"})
    return read


def _lines(row: dict[str, Any] | MalformedRow) -> tuple[bytes, bytes, set[str]]:
    """The line of the chat file, that of the meta file, and what could be put in neither."""
    if isinstance(row, MalformedRow):
        raise row
    parts = chat_row(row)
    try:
        line = dump_row(parts.chat)
    except (TypeError, ValueError) as exc:
        raise MalformedRow("a value that JSON does not have", f"a value that JSON does not have ({exc})") from None
    unplaced = {f"messages[].{key}" for key in parts.left_out}
    rest = {key: value.isoformat() if hasattr(value, "isoformat") else value for key, value in parts.rest.items()}
    try:
        return line, dump_row(rest), unplaced
    except (TypeError, ValueError):
        unplaced |= {key for key, value in rest.items() if not _has_json(value)}
    return line, dump_row({key: value for key, value in rest.items() if key not in unplaced}), unplaced


def _has_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
        return True
    except (TypeError, ValueError):
        return False


def _is_meta(name: str) -> bool:
    return name.endswith(".meta.jsonl")
