"""The ledger of a run: what its requests cost, and a cap that they cannot pass, from however many processes.

A JSONL file of events. `reserve` stands there before a request is sent, with the most that it can cost; `settle` says
what it did cost; `release`, that it was not charged. A reservation that is never settled, for its process was killed
or its answer was lost, counts as spent. Amounts are integers of 1e-9 USD; in the file they are dollars.

Every step reads what others appended, decides and appends under one lock on the file, so that settled and unsettled
together are at most the budget at any moment. Nothing is flushed to the disk at each step: what a process wrote
survives its own end, though not a power cut.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from compressor_cli.core.jsonl import append_row, parse_row
from compressor_cli.core.prices import NANO
from compressor_cli.errors import SccError, SpendCapError, UsageError
from compressor_cli.records import ChatReply, Usage

LEDGER = "costs.jsonl"
_TEXTS = {"reserve": ("id", "model", "command", "time"), "settle": ("id",), "release": ("id",)}
_START = b'{"event": "'  # of each line

OnEvent = Callable[[Mapping[str, Any]], None]


class Ledger:
    """For the tasks of one event loop; other processes open the same file.

    `budget` is over the whole file; None is no cap. `settled` and `unsettled` are in 1e-9 USD.
    """

    def __init__(self, path: Path, *, budget: int | None = None, on_event: OnEvent = lambda event: None) -> None:
        self.path = path
        self.budget = budget
        self.settled = self.unsettled = 0
        self._on_event = on_event
        self._open: dict[str, int] = {}  # reservations of all processes
        self._own: set[str] = set()  # those of this one whose outcome is awaited
        self._waiting: list[asyncio.Future[None]] = []
        self._offset = self._line = self._number = 0
        self._name = secrets.token_hex(4)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is not a regular file; a ledger needs one")
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except PermissionError:
            raise UsageError(f"{path} cannot be written: permission denied") from None
        try:
            with self._locked():
                pass
        except BaseException:
            os.close(self._fd)
            raise

    def reserve_now(self, usd: int | None, *, model: str, command: str, name: str | None = None) -> str:
        """The id of a reservation: `name`, which nothing else may have, or one of its own. None is an unknown cost,
        which no cap can hold.

        Raises SpendCapError where it does not fit beside what is settled and reserved now.
        """
        with self._locked():
            if usd and self.budget is not None and usd > self.budget - self.settled - self.unsettled:
                raise self._cap_error(usd)
            self._number += 1
            reservation = name or f"{self._name}-{self._number}"
            time = datetime.now(UTC).isoformat(timespec="seconds")
            told_as = {"usd": _dollars(usd), "model": model, "command": command, "time": time}
            self._append({"event": "reserve", "id": reservation, **told_as})
            self._own.add(reservation)
        return reservation

    async def reserve(self, usd: int | None, *, model: str, command: str) -> str:
        """Waits while reservations of this process are outstanding that may turn out lower and so make room.

        Raises SpendCapError where there would be no room even if none of them were charged.
        """
        while True:
            try:
                return self.reserve_now(usd, model=model, command=command)
            except SpendCapError:
                own = sum(self._open[name] for name in self._own)
                if usd is None or self.budget is None or usd > self.budget - self.settled - self.unsettled + own:
                    raise
            change = asyncio.get_running_loop().create_future()
            self._waiting.append(change)
            await change

    def settle(self, reservation: str, usd: int | None, reply: ChatReply) -> None:
        """Any process may settle any reservation; one that was settled or released before stays as it is."""
        with self._locked():
            reserved = self._open.get(reservation)
            if reserved is not None:
                usage = {name: getattr(reply.usage, name) for name in Usage.__slots__}
                known = {"usage": usage, "model": reply.model, "request_id": reply.request_id}
                self._append({"event": "settle", "id": reservation, "usd": _dollars(usd), **known})
        self._changed()
        if reserved is not None and usd is not None and usd > reserved:
            over = f"${told(usd)}, more than the ${told(reserved)} that were reserved for it"
            self._on_event({"message": f"a request to {reply.model} cost {over}: its price or its bound is wrong"})

    def release(self, reservation: str) -> None:
        """It was not charged."""
        with self._locked():
            if reservation in self._open:
                self._append({"event": "release", "id": reservation})
        self._changed()

    def keep(self, reservation: str) -> None:
        """Its outcome will not be known: it stays counted as spent, and nobody waits for it."""
        self._own.discard(reservation)
        self._changed()

    def close(self) -> None:
        os.fsync(self._fd)
        os.close(self._fd)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            self._catch_up()
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _catch_up(self) -> None:
        size = os.fstat(self._fd).st_size
        if size == self._offset:
            return
        if size < self._offset:
            raise SccError(f"{self.path} was shortened by something else; what is spent is not known any more")
        whole, torn = _whole(_read(self._fd, self._offset, size))
        for number, line in enumerate(whole.splitlines(), start=self._line + 1):
            try:
                self._apply(parse_event(line))
            except ValueError as exc:
                raise UsageError(f"{self.path}, line {number}: {exc}", hint="name another ledger") from None
            self._line = number
        self._offset += len(whole)
        if torn:  # who wrote it is gone, for the lock is ours
            if not (torn.startswith(_START) or _START.startswith(torn)):
                raise UsageError(f"{self.path} is no ledger of scc", hint="name another ledger")
            os.ftruncate(self._fd, self._offset)
            self._on_event({"message": f"{self.path}: a torn last line of {len(torn)} bytes was removed"})

    def _append(self, event: dict[str, Any]) -> None:
        self._offset += append_row(self._fd, self.path, event)
        self._line += 1
        self._apply(event)

    def _apply(self, event: Mapping[str, Any]) -> None:
        name = event["id"]
        if event["event"] == "reserve":
            self._open[name] = parsed(event["usd"])
            self.unsettled += self._open[name]
            return
        reserved = self._open.pop(name, None)
        self._own.discard(name)
        if reserved is not None:
            self.unsettled -= reserved
            self.settled += parsed(event["usd"]) if event["event"] == "settle" else 0

    def _changed(self) -> None:
        for change in self._waiting:
            if not change.done():
                change.set_result(None)
        self._waiting.clear()

    def _cap_error(self, usd: int) -> SpendCapError:
        assert self.budget is not None
        unsettled = f", ${told(self.unsettled)} of it reserved or without a known outcome" if self.unsettled else ""
        return SpendCapError(
            f"the next request could cost ${told(usd)}, and ${told(self.settled + self.unsettled)} of the "
            f"${told(self.budget)} of --budget-usd are spent{unsettled} ({self.path})",
            hint="a larger --budget-usd with --resume goes on from here",
        )


def parse_event(line: bytes) -> dict[str, Any]:
    """Raises ValueError for what is no line of a ledger."""
    event = parse_row(line)
    kind = event.get("event")
    texts = _TEXTS.get(kind) if isinstance(kind, str) else None
    if texts is None or not all(isinstance(event.get(name), str) for name in texts):
        raise ValueError("not an event of a ledger of scc")
    if kind != "release" and not (event.get("usd", "") is None or _is_number(event.get("usd"))):
        raise ValueError("`usd` is no amount")
    if kind == "settle" and not (
        isinstance(event.get("usage"), dict) and all(map(_is_number, event["usage"].values()))
    ):
        raise ValueError("`usage` is no table of token counts")
    return event


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def read_events(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The events of a ledger that others may be writing, and the bytes of a torn last line.

    Raises UsageError for a file that is missing, cannot be read, or is no ledger.
    """
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}") from None
    except PermissionError:
        raise UsageError(f"{path} cannot be read: permission denied") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        whole, torn = _whole(_read(fd, 0, os.fstat(fd).st_size))
    finally:
        os.close(fd)
    events = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            events.append(parse_event(line))
        except ValueError as exc:
            raise UsageError(f"{path}, line {number}: {exc}") from None
    return events, len(torn)


def parsed(usd: float | None) -> int:
    """Exact for amounts below a million dollars; an unknown amount counts as nothing, and is told apart elsewhere."""
    return round(usd * NANO) if usd else 0


def told(amount: int) -> str:
    """Dollars, with the places that they have and four at least."""
    whole, _, places = f"{Decimal(amount) / NANO:.9f}".partition(".")
    return f"{whole}.{places.rstrip('0').ljust(4, '0')}"


def _dollars(amount: int | None) -> float | None:
    return None if amount is None else amount / NANO


def _whole(data: bytes) -> tuple[bytes, bytes]:
    end = data.rfind(b"\n") + 1
    return data[:end], data[end:]


def _read(fd: int, start: int, end: int) -> bytes:
    parts = []
    while start < end and (part := os.pread(fd, min(end - start, 1 << 24), start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)
