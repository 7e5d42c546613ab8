"""`scc compress --input IN.jsonl --output OUT.jsonl`: every row ends compressed or failed; a resume does the rest."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from compressor_cli import __version__
from compressor_cli.core.files import sha256_file
from compressor_cli.core.jsonl import Journal, content_key, parse_row, read_lines
from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.adapter_batching import Batching
from compressor_cli.engines.adapter_model import backend_of, ready_model
from compressor_cli.engines.compress import compress
from compressor_cli.engines.dispatch import without_adapter
from compressor_cli.engines.options import Options
from compressor_cli.engines.scorer import EMBEDDED, load_scorer, model_folder
from compressor_cli.errors import SccError, UsageError
from compressor_cli.settings import CompressSettings

_AT_ONCE = 8  # rows whose pieces an adapter gets together


@dataclass(frozen=True)
class BatchSummary:
    """The ledger of a batch: asked = compressed + failed + pending. `repaired` bytes of a torn row were cut off."""

    output: Path
    asked: int
    compressed: int
    failed: int
    pending: int
    already_there: int
    repaired: int
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True)
class _Task:
    key: str
    id: Any
    text: str | None
    error: str | None


def compress_file(
    settings: CompressSettings,
    source: Path,
    target: Path,
    *,
    field: str = "text",
    resume: bool = False,
    retry_errors: bool = False,
    limit: int | None = None,
    on_event: Callable[[Mapping[str, Any]], None] = lambda event: None,
) -> BatchSummary:
    """Compress `field` of each row of `source` into a row of `target`, in order, appended as it is done.

    With `settings.chat` the field holds a list of messages, or their JSON.
    """
    given = settings.given()
    options = Options(**given)
    if source.exists() and target.exists() and source.samefile(target):
        raise UsageError(f"--output {target} is the input itself", hint="name another output")
    token_counter(options.tokenizer)  # what is wrong for every row is refused before the first
    made_by = _made_by(options, field)
    tasks = list(islice(_read_tasks(source, field, options.chat), limit))
    counts: Counter[str] = Counter()
    with Journal(target, made_by, resume=resume) as journal:
        if journal.repaired:
            on_event({"message": f"{target}: a torn last row ({journal.repaired} bytes) was cut off; it is done again"})
        waiting = [task for task in tasks if not journal.has(task.key, retry_errors=retry_errors)]
        counts["already_there"] = len(tasks) - len(waiting)
        at_once = _AT_ONCE if options.names_adapter else 1
        for done, (task, row) in enumerate(_compressed(waiting, given, at_once), counts["already_there"]):
            on_event({"done": done, "total": len(tasks)})
            if "error" in row and journal.has(task.key):  # it failed as it had failed before
                continue
            counts["tokens_in"] += row.get("tokens_in", 0)
            counts["tokens_out"] += row.get("tokens_out", 0)
            journal.append(row)
        on_event({"done": len(tasks), "total": len(tasks)})
        strangers = len(journal.rows.keys() - {task.key for task in tasks}) if limit is None else 0
        if strangers:
            on_event({"message": f"{target}: {strangers} rows belong to no row of {source} as it is now; they stay"})
        failed = sum(journal.rows.get(task.key, False) for task in tasks)
        there = sum(task.key in journal.rows for task in tasks)
        return BatchSummary(
            output=target,
            asked=len(tasks),
            compressed=there - failed,
            failed=failed,
            pending=len(tasks) - there,
            already_there=counts["already_there"],
            repaired=journal.repaired,
            tokens_in=counts["tokens_in"],
            tokens_out=counts["tokens_out"],
        )


def _made_by(options: Options, field: str) -> dict[str, Any]:
    """Whatever changes a row. Raises where the model of the settings cannot be opened."""
    plain = without_adapter(options)
    folder = model_folder(plain.model) if plain.model else EMBEDDED
    load_scorer(folder)
    made_by = {name: value for name, value in asdict(options).items() if name != "filename"}
    made_by |= {"field": field, "model_sha256": sha256_file(folder / "model.onnx"), "version": __version__}
    if options.names_adapter:
        ready = ready_model(options, Batching)
        _, found = backend_of(options)
        made_by |= {"adapter_sha256": found.identity() if found else {}, "ready": not isinstance(ready, str)}
    return made_by


def _compressed(
    tasks: Sequence[_Task], options: Mapping[str, Any], at_once: int
) -> Iterator[tuple[_Task, dict[str, Any]]]:
    """In order. Some `at_once`, for a model that takes their pieces together."""
    if at_once == 1:
        yield from ((task, _compress_row(task, options)) for task in tasks)
        return
    pool = ThreadPoolExecutor(at_once)
    try:
        under_way: deque[Future[dict[str, Any]]] = deque()
        coming = iter(tasks)
        for task in tasks:
            under_way.extend(
                pool.submit(_compress_row, one, options) for one in islice(coming, at_once - len(under_way))
            )
            yield task, under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _compress_row(task: _Task, options: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"id": task.id, "key": task.key}
    if task.text is None:
        return {**row, "error": task.error}
    try:
        return {**row, **compress(task.text, **options).as_dict()}
    except SccError as exc:
        return {**row, "error": str(exc)}


def _read_tasks(source: Path, field: str, chat: bool) -> Iterator[_Task]:
    """Equal rows stay two rows: the key has the id, or the line number, and how often it came before."""
    seen: Counter[str] = Counter()
    for number, line in read_lines(source):
        text: str | None = None
        error: str | None = None
        row_id: Any = f"line {number}"  # no id of another row
        try:
            row = parse_row(line)
            row_id = row.get("id", number)
            value = row.get(field)
            if isinstance(value, str):
                text = value
            elif chat and isinstance(value, list | dict):
                text = json.dumps(value, ensure_ascii=False)
            else:
                error = (
                    f"line {number}: no text in field {field!r}"
                    if value is None
                    else f"line {number}: {field!r} is no string"
                )
        except ValueError as exc:
            error = f"line {number}: {exc}"
        named = content_key(row_id)
        seen[named] += 1
        yield _Task(content_key(row_id, seen[named], text, error), row_id, text, error)
