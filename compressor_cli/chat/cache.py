"""Answers kept on this machine: the same request is paid for once.

What diskcache stores are bytes of JSON in SQLite. It would read rows of other kinds too, by pickle or from files that
they name: such a row was planted, and is refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from compressor_cli.chat import Chat, Note, once
from compressor_cli.records import ChatReply, ChatRequest, Usage

FORMAT = 1
_FLUSH_AFTER = 0.2  # seconds; one transaction for many rows costs a fifth of one for each
_FLUSH_AT = 64  # rows
_BUSY = 1.0  # seconds that a store waits for another process; the event loop waits with it


class ReplyCache:
    """Never in the way: one that cannot be read or written is told of, once, and does without."""

    def __init__(self, folder: Path, megabytes: int, note: Note) -> None:
        self.folder = folder
        self._note = once(note)
        self._waiting: dict[str, bytes] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._store: Any = None
        self._store = self._guarded(lambda: _open(self.folder, megabytes << 20))

    def find(self, key: str) -> ChatReply | None:
        if self._store is None:
            return None
        stored = self._waiting.get(key) or self._guarded(lambda: self._store.get(key))
        if stored is None:
            return None
        try:
            plain = json.loads(stored)
            reply = ChatReply(**plain | {"usage": Usage(**plain["usage"])})
        except (ValueError, KeyError, TypeError):
            self._note(f"an answer in the response cache {self.folder} cannot be read: asked anew")
            return None
        return replace(reply, cached=True, cost_usd=0.0)

    def keep(self, key: str, reply: ChatReply) -> None:
        """Complete answers only; on disk within a moment."""
        if self._store is None or reply.stop != "end":
            return
        plain = {name: getattr(reply, name) for name in ChatReply.__slots__}  # asdict takes ten times as long
        plain["usage"] = {name: getattr(reply.usage, name) for name in Usage.__slots__}
        self._waiting[key] = json.dumps(plain).encode()
        if len(self._waiting) >= _FLUSH_AT:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_AFTER, self.flush)

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, {}
        if waiting and self._store is not None:
            self._guarded(lambda: self._write(waiting))

    def close(self) -> None:
        """What is over the size goes only here, the oldest first: within a transaction nothing gets smaller."""
        import diskcache

        self.flush()
        if self._store is not None:
            with suppress(diskcache.Timeout):
                self._guarded(self._store.cull)
        if self._store is not None:
            self._guarded(self._store.close)

    def _write(self, rows: dict[str, bytes]) -> None:
        import diskcache

        try:
            with self._store.transact():
                for key, stored in rows.items():
                    self._store.set(key, stored)
        except diskcache.Timeout:
            self._note(f"the response cache {self.folder} is busy: {len(rows)} answers were not kept")

    def _guarded(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except (sqlite3.Error, OSError, ValueError) as exc:
            broken, self._store = self._store, None
            self._note(f"the response cache {self.folder} cannot be used ({exc}): going on without it")
            if broken is not None:
                with suppress(sqlite3.Error, OSError):
                    broken.close()
            return None


class CachedChat:
    def __init__(self, chat: Chat, cache: ReplyCache, base_url: str | None) -> None:
        self.name = chat.name
        self._chat, self._cache, self._base_url = chat, cache, base_url

    async def ask(self, request: ChatRequest) -> ChatReply:
        key = cache_key(self.name, self._base_url, request)
        if (kept := self._cache.find(key)) is not None:
            return kept
        reply = await self._chat.ask(request)
        self._cache.keep(key, reply)
        return reply

    async def aclose(self) -> None:
        try:
            await self._chat.aclose()
        finally:
            self._cache.close()


def cache_key(name: str, base_url: str | None, request: ChatRequest) -> str:
    """Of all that changes an answer. A schema's order does: models write fields as they come in it."""
    asked = {field.name: getattr(request, field.name) for field in fields(request)}
    if asked["top_p"] is None:  # as keys were before there was one
        del asked["top_p"]
    asked["messages"] = [[message.role, message.content] for message in request.messages]
    asked["schema"] = None if request.schema is None else dict(request.schema)
    return hashlib.sha256(json.dumps([FORMAT, name, base_url, asked]).encode()).hexdigest()


def _open(folder: Path, limit: int) -> Any:
    import diskcache

    class PlainDisk(diskcache.Disk):  # type: ignore[misc]  # untyped
        def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
            if mode != diskcache.core.MODE_RAW or not isinstance(value, bytes):
                raise ValueError("it holds a row that scc did not write")
            return value

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # prompts can be private
    return diskcache.Cache(
        str(folder),
        timeout=_BUSY,
        disk=PlainDisk,
        disk_min_file_size=1 << 40,  # rows only, no files beside them
        size_limit=limit,
        cull_limit=0,
    )
