"""Which batches are at a provider, on disk: a JSONL file of events beside the output.

`intent` names the requests of a batch by their keys, before anything of it is reserved; `submitting` says how many of
them go in, the first ones, before they are sent; `submitted` has the provider's id; `ended` says that nothing of it is
wanted any more. Each line is flushed to the disk before the next step is taken.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compressor_cli.core.jsonl import append_row, parse_row
from compressor_cli.errors import UsageError

SUFFIX = ".batches.jsonl"
_TEXTS = {"intent": ("model", "time"), "submitting": (), "submitted": ("id",), "ended": ()}


@dataclass
class Batch:
    """`token` is ours and `id` the provider's. `count` of `keys`, the first ones, are in it; None: nothing was sent."""

    token: str
    model: str
    url: str | None
    time: datetime
    keys: Sequence[str]
    count: int | None = None
    id: str | None = None
    ended: bool = False

    def custom_id(self, number: int) -> str:
        """Of a request in the batch, and of its reservation in the ledger."""
        return f"{self.token}-{number}"

    def number(self, custom_id: str) -> int | None:
        token, _, number = custom_id.rpartition("-")
        return int(number) if token == self.token and number.isdecimal() else None


def batches_path(output: Path) -> Path:
    return output.with_name(output.name + SUFFIX)


class BatchJournal:
    """For one process at a time. Raises UsageError for a file in use, or of another form."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.batches: dict[str, Batch] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except (PermissionError, IsADirectoryError) as exc:
            raise UsageError(f"{path} cannot be written: {exc.strerror}") from None
        try:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"{path} is in use by another process") from None
            whole = read_whole(path)
            for number, line in enumerate(whole.splitlines(), start=1):
                self._apply(line, number)
            os.ftruncate(self._fd, len(whole))  # a torn last line: whoever wrote it did nothing after it
        except BaseException:
            os.close(self._fd)
            raise

    def open_batches(self, model: str, url: str | None) -> list[Batch]:
        """In the order of their beginning."""
        return [one for one in self.batches.values() if not one.ended and (one.model, one.url) == (model, url)]

    def ids(self) -> set[str]:
        return {batch.id for batch in self.batches.values() if batch.id}

    def intend(self, model: str, url: str | None, keys: Sequence[str]) -> Batch:
        batch = Batch(secrets.token_hex(8), model, url, datetime.now(UTC), keys)
        time = batch.time.isoformat()
        self._append("intent", batch, model=model, url=url, time=time, keys=list(keys))
        self.batches[batch.token] = batch
        return batch

    def submitting(self, batch: Batch, count: int) -> None:
        self._append("submitting", batch, count=count)
        batch.count = count

    def submitted(self, batch: Batch, name: str) -> None:
        self._append("submitted", batch, id=name)
        batch.id = name

    def end(self, batch: Batch) -> None:
        if not batch.ended:
            self._append("ended", batch)
            batch.ended = True

    def close(self) -> None:
        os.close(self._fd)

    def _append(self, event: str, batch: Batch, **values: Any) -> None:
        append_row(self._fd, self.path, {"event": event, "token": batch.token, **values}, flush=True)

    def _apply(self, line: bytes, number: int) -> None:
        try:
            apply_event(self.batches, parse_row(line))
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{self.path}, line {number}: not a line of a journal of batches") from None


def apply_event(batches: dict[str, Batch], event: Mapping[str, Any]) -> None:
    kind, token = event["event"], event["token"]
    if not all(isinstance(event[name], str) for name in ("token", *_TEXTS[kind])):
        raise ValueError("a text is needed")
    if kind == "intent":
        time = datetime.fromisoformat(event["time"])
        batches[token] = Batch(token, event["model"], event["url"], time, event["keys"])
    elif kind == "submitting":
        batches[token].count = int(event["count"])
    elif kind == "submitted":
        batches[token].id = event["id"]
    else:
        batches[token].ended = True


def read_whole(path: Path) -> bytes:
    """Without a torn last line."""
    data = path.read_bytes()
    return data[: data.rfind(b"\n") + 1]
