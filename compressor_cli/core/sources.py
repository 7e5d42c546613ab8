"""Rows of a dataset, wherever it lies: on the Hugging Face hub, in a local folder, in one file.

`datasets` finds the splits and reads the files, but JSON is taken from it as lines of text and parsed here. Its own
JSON loader guesses one type for each key: it fills in absent keys, and where a later row does not fit, it hands over
all rows of that block with their text quoted once more (seen with 5.2.0). Besides, errors can be told with their line,
and a bad line can be skipped. Local files are streamed always: the cache of `datasets` knows them by their time only.
"""

from __future__ import annotations

import glob
import importlib.util
import json
import logging
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compressor_cli.core.chatrows import MalformedRow
from compressor_cli.core.files import sha256_file
from compressor_cli.core.huberrors import told
from compressor_cli.core.jsonl import content_key, parse_row, read_lines
from compressor_cli.errors import MissingExtraError, SccError, UsageError

LOADERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".jsonl": ("json", {}),
    ".ndjson": ("json", {}),
    ".json": ("json", {}),
    ".parquet": ("parquet", {}),
    ".csv": ("csv", {}),
    ".tsv": ("csv", {"sep": "\t"}),
}
PACKINGS = (".gz", ".bz2", ".xz", ".zst", ".zip")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")

# (where the row stands, if that is known; the row, or what is wrong with it)
PlacedRow = tuple[str, "dict[str, Any] | MalformedRow"]


@dataclass(frozen=True)
class Source:
    """`revision` is the commit on the hub. `fingerprint` changes whenever the rows may have."""

    name: str
    revision: str | None
    fingerprint: str
    files: dict[str, tuple[str, ...]]
    _loader: str
    _load: dict[str, Any] = field(repr=False)
    _json_field: str | None = None

    @property
    def splits(self) -> list[str]:
        return list(self.files)

    @property
    def local_files(self) -> list[Path]:
        return [Path(file) for files in self.files.values() for file in files if "://" not in file]

    def rows(self, split: str) -> Generator[PlacedRow, None, None]:
        """Rows in order; a row that cannot be read as an object is yielded as MalformedRow, so that one can go on."""
        if self._loader != "json":
            for row in self._read(split=split, **self._load):
                yield "", {key: _pruned(value) for key, value in row.items()}
            return
        for file in self.files[split]:
            lines = self._read(
                path="text",
                data_files={"train": [_literal(file)]},
                split="train",
                encoding="utf-8-sig",
                chunksize=1 << 20,
                streaming=self._load["streaming"],
                token=self._load["token"],
            )
            yield from _json_rows(Path(file).name, (line["text"] for line in lines), self._json_field)

    def _read(self, **load: Any) -> Iterator[dict[str, Any]]:
        """Only what `datasets` raises is converted here: an exception of the consumer does not pass through."""
        import datasets

        try:
            yield from datasets.load_dataset(**load)
        except UnicodeDecodeError:
            raise SccError(_where_not_utf8(load)) from None
        except Exception as exc:
            raise told(exc, self.name, load.get("token")) from None


@contextmanager
def opened(dataset: str, *, revision: str | None, token: str | None, streaming: bool) -> Iterator[Source]:
    """Find the dataset and its splits, without reading a row. Raises SccError for whatever `datasets` raises.

    While it is open, `datasets` and `huggingface_hub` neither print nor count downloads, and give up after few retries.
    """
    if importlib.util.find_spec("datasets") is None:
        raise MissingExtraError("datasets", "data")
    load = _what_to_load(dataset, revision)
    with _quiet():
        import datasets
        import huggingface_hub

        try:
            commit = None
            if "revision" in load:
                # One request that is not retried: what is unknown or out of reach is told at once.
                info = huggingface_hub.HfApi(token=token).dataset_info(dataset, revision=revision, timeout=20)
                load["revision"] = commit = info.sha
            builder = datasets.load_dataset_builder(**load, token=token)
        except Exception as exc:
            raise told(exc, dataset, token, revision) from None
        yield _source(dataset, commit, builder, {**load, "token": token, "streaming": streaming or commit is None})


def _what_to_load(dataset: str, revision: str | None) -> dict[str, Any]:
    """Arguments of load_dataset. A folder or file that exists goes before a dataset of that name on the hub."""
    if not dataset.strip():
        raise UsageError("--dataset is empty")
    path = Path(dataset).expanduser()
    if not path.exists():
        suffixes = {*LOADERS, *PACKINGS}
        if not HUB_NAME.fullmatch(dataset) or path.suffix.lower() in suffixes:
            raise UsageError(f"no such file or folder: {dataset}")
        return {"path": dataset, "revision": revision}
    if revision is not None:
        raise UsageError(f"--revision is for a dataset on the hub; {dataset} is a local path")
    if path.is_dir():
        if glob.has_magic(str(path.resolve())):
            raise UsageError(f"{dataset}: `datasets` reads *, ? and [ in a folder's path as a pattern; rename it")
        return {"path": str(path.resolve())}
    suffix = next((s.lower() for s in reversed(path.suffixes) if s.lower() not in PACKINGS), "")
    if suffix not in LOADERS:
        raise UsageError(f"{dataset}: not a JSONL, JSON, parquet, CSV or TSV file")
    loader, options = LOADERS[suffix]
    return {"path": loader, "data_files": {"train": [_literal(str(path.resolve()))]}, **options}


def _source(dataset: str, commit: str | None, builder: Any, load: dict[str, Any]) -> Source:
    loader = type(builder).__module__.rsplit(".", 1)[-1]
    if loader == "cache":
        raise SccError(f"dataset {dataset!r}: the hub did not give its files, only an older copy is in the cache")
    files = {
        str(split): tuple(name for name in names if not _written_beside(name))
        for split, names in builder.config.data_files.items()
    }
    files = {split: names for split, names in files.items() if names}
    if commit is not None:
        fingerprint = content_key(dataset, commit, files)
    else:
        hashes = {split: [sha256_file(Path(name)) for name in names] for split, names in files.items()}
        fingerprint = content_key(loader, hashes)
    json_field = getattr(builder.config, "field", None) if loader == "json" else None
    return Source(dataset, commit, fingerprint, files, loader, load, json_field)


def _written_beside(file: str) -> bool:
    """What a pull writes next to the chat files; a folder of such can be pulled again."""
    return Path(file).name == "manifest.json" or file.endswith(".meta.jsonl")


def _literal(file: str) -> str:
    """`datasets` reads a path as a pattern."""
    return file if "://" in file else glob.escape(file)


def _json_rows(name: str, lines: Iterable[str], json_field: str | None) -> Iterator[PlacedRow]:
    numbered = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
    first = next(numbered, None)
    if first is None:
        return
    if json_field is not None or first[1].lstrip().startswith("["):
        text = "\n".join([first[1], *(line for _, line in numbered)])
        for row in _json_list(name, text, json_field):
            if isinstance(row, dict):
                yield name, row
            else:
                yield name, MalformedRow("the row is not an object")
        return
    yield f"{name}, line {first[0]}", _parsed(first[1])
    for number, line in numbered:
        yield f"{name}, line {number}", _parsed(line)


def _json_list(name: str, text: str, json_field: str | None) -> list[Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise SccError(f"{name}: not JSON ({exc})") from None
    if json_field is not None:
        value = value.get(json_field) if isinstance(value, dict) else None
    if not isinstance(value, list):
        raise SccError(f"{name}: a list of rows is needed" + (f" in {json_field!r}" if json_field else ""))
    return value


def _parsed(line: str) -> dict[str, Any] | MalformedRow:
    try:
        return parse_row(line.encode())
    except ValueError as exc:
        return MalformedRow("the line is not a JSON object", str(exc))


def _pruned(value: Any) -> Any:
    """Without keys that are null: a typed column gives every object the keys of all the others."""
    if isinstance(value, dict):
        return {key: _pruned(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_pruned(inner) for inner in value]
    return value


def _where_not_utf8(load: dict[str, Any]) -> str:
    files = [file for names in load.get("data_files", {}).values() for file in names]
    for file in files:
        path = Path(re.sub(r"\[([*?[])\]", r"\1", file))
        if path.is_file():
            for number, line in read_lines(path):
                try:
                    line.decode()
                except UnicodeDecodeError as exc:
                    return f"{path.name}, line {number}: not UTF-8 (byte {exc.start})"
    return f"{', '.join(Path(file).name for file in files) or load['path']}: not UTF-8"


@contextmanager
def _quiet() -> Iterator[None]:
    import datasets

    hub: Any = importlib.import_module("huggingface_hub.utils")

    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    bars = [
        library
        for library, disabled in (
            (datasets, datasets.are_progress_bars_disabled()),
            (hub, hub.are_progress_bars_disabled()),
        )
        if not disabled
    ]
    settings = {
        "HF_UPDATE_DOWNLOAD_COUNTS": False,  # else a request to a third host for every pull
        "STREAMING_READ_MAX_RETRIES": 3,  # of five seconds each; 20 by default
        "STREAMING_OPEN_MAX_RETRIES": 3,
    }
    before = {name: getattr(datasets.config, name) for name in settings if hasattr(datasets.config, name)}
    try:
        for name in before:
            setattr(datasets.config, name, settings[name])
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        for library in bars:
            library.disable_progress_bars()
        yield
    finally:
        for name, value in before.items():
            setattr(datasets.config, name, value)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for library in bars:
            library.enable_progress_bars()
