"""The response cache: what makes two requests the same, what is kept, and that it is never in the way."""

from __future__ import annotations

import asyncio
import pickle
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from compressor_cli.chat.cache import CachedChat, ReplyCache, cache_key
from compressor_cli.chat.clients import open_cache
from compressor_cli.errors import BadRequestError
from compressor_cli.records import ChatMessage, ChatReply, ChatRequest, Usage
from compressor_cli.settings import ChatSettings, load_settings

REQUEST = ChatRequest((ChatMessage("user", "Hello."),))
ANSWER = ChatReply("Guten Tag – \ud83d.", "m-1", "req_1", "end", Usage(10, 2, 3, 4), 0.5, cost_usd=0.25)
CACHED = replace(ANSWER, cached=True, cost_usd=0.0)
KEY = cache_key("a:m", None, REQUEST)


class Counting:
    name = "a:m"

    def __init__(self, reply: ChatReply = ANSWER) -> None:
        self.reply, self.asked, self.closed = reply, 0, False

    async def ask(self, request: ChatRequest) -> ChatReply:
        self.asked += 1
        return self.reply

    async def aclose(self) -> None:
        self.closed = True


def asked(chat: Counting, *requests: ChatRequest, folder: Path = Path("cache"), url: str | None = None) -> list[Any]:
    notes: list[str] = []

    async def go() -> list[ChatReply]:
        cached = CachedChat(chat, ReplyCache(folder, 64, notes.append), url)
        try:
            return [await cached.ask(request) for request in requests]
        finally:
            await cached.aclose()

    return [*asyncio.run(go()), *notes]


def test_the_same_request_is_answered_once() -> None:
    chat = Counting()
    assert asked(chat, REQUEST, REQUEST) == [ANSWER, CACHED]
    assert asked(chat, REQUEST) == [CACHED]  # another process would find it too
    assert chat.asked == 1 and chat.closed


OTHERS: dict[str, Any] = {
    "messages": (ChatMessage("assistant", "Hello."),),
    "system": "",
    "max_tokens": 1,
    "temperature": 0.0,
    "seed": 0,
    "top_p": 0.5,
    "schema": {},
    "schema_name": "other",
    "sample": 1,
}


def test_every_field_makes_another_request() -> None:
    assert set(OTHERS) == {field.name for field in fields(ChatRequest)}
    requests = [replace(REQUEST, **{name: value}) for name, value in OTHERS.items()]
    two = {"type": "object", "properties": {"a": {}, "b": {}}}
    turned = {"type": "object", "properties": {"b": {}, "a": {}}}
    requests += [replace(REQUEST, schema=two), replace(REQUEST, schema=turned)]  # in the order of which models write
    keys = {cache_key("a:m", None, request) for request in (REQUEST, *requests)}
    keys |= {cache_key("a:n", None, REQUEST), cache_key("a:m", "http://localhost", REQUEST)}
    assert len(keys) == len(requests) + 3
    assert cache_key("a:m", None, replace(REQUEST, schema=MappingProxyType(two))) in keys


def test_a_key_stays_the_same_over_processes() -> None:
    """By the hash of a process it would not: a cache would never hit."""
    code = (
        "from compressor_cli.chat.cache import cache_key; from compressor_cli.records import *;"
        "print(cache_key('a:m', None, ChatRequest((ChatMessage('user', 'Hello.'),))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == KEY


@pytest.mark.parametrize("stop", ["length", "refusal", "other"])
def test_only_complete_answers_are_kept(stop: Any) -> None:
    chat = Counting(replace(ANSWER, stop=stop))
    assert [reply.stop for reply in asked(chat, REQUEST, REQUEST)] == [stop, stop]
    assert chat.asked == 2


def test_a_failure_is_not_kept() -> None:
    class Failing(Counting):
        async def ask(self, request: ChatRequest) -> ChatReply:
            await super().ask(request)
            raise BadRequestError("no")

    chat = Failing()
    for _ in range(2):
        with pytest.raises(BadRequestError):
            asked(chat, REQUEST)
    assert chat.asked == 2


def test_large_answers_are_rows_too() -> None:
    chat = Counting(replace(ANSWER, text="x" * 300_000))
    asked(chat, REQUEST)
    assert asked(chat, REQUEST)[0].cached
    assert {path.name.partition("-")[0] for path in Path("cache").iterdir()} == {"cache.db"}


def test_no_other_user_can_read_it() -> None:
    asked(Counting(), REQUEST, folder=Path("deep/cache"))
    assert Path("deep/cache").stat().st_mode & 0o077 == 0


def test_answers_are_on_disk_soon() -> None:
    async def go() -> ChatReply | None:
        first = ReplyCache(Path("cache"), 64, print)
        first.keep(KEY, ANSWER)
        assert first.find(KEY) == CACHED
        second = ReplyCache(Path("cache"), 64, print)
        for _ in range(100):
            await asyncio.sleep(0.05)
            if (found := second.find(KEY)) is not None:
                break
        first.close()
        second.close()
        return found

    assert asyncio.run(go()) == CACHED


def damage_bytes(folder: Path) -> None:
    path = folder / "cache.db"
    data = path.read_bytes()
    path.write_bytes(data[:100] + b"\xff" * (len(data) - 100))


def damage_no_database(folder: Path) -> None:
    (folder / "cache.db").write_text("this is no database, and was not made by anything that makes one " * 99)


def damage_a_folder_in_its_place(folder: Path) -> None:
    (folder / "cache.db").unlink()
    (folder / "cache.db").mkdir()


def damage_tables(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        connection.execute("DROP TABLE Cache")
        connection.execute("CREATE TABLE Cache (other)")


class Planted:
    """What a pickle of someone else's could do."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return (Path.touch, (Path("owned"),))  # type: ignore[return-value]


def damage_pickle(folder: Path) -> None:
    _change(folder, "mode = 4, value = ?", pickle.dumps(Planted()))


def damage_file_name(folder: Path) -> None:
    _change(folder, "mode = 2, value = NULL, filename = ?", "../../secret")


def _change(folder: Path, values: str, parameter: object) -> None:
    with closing(sqlite3.connect(folder / "cache.db")) as connection, connection:
        assert connection.execute(f"UPDATE Cache SET {values}", (parameter,)).rowcount == 1


DAMAGES = [damage_bytes, damage_no_database, damage_a_folder_in_its_place, damage_tables, damage_pickle,
           damage_file_name]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_broken_cache_is_told_and_gone_without(damage: Callable[[Path], None]) -> None:
    chat = Counting()
    asked(chat, REQUEST)
    for side in Path("cache").glob("cache.db-*"):
        side.unlink()
    damage(Path("cache"))
    *replies, note = asked(chat, REQUEST, REQUEST)
    assert replies == [ANSWER, ANSWER] and chat.asked == 3
    assert note.startswith("the response cache cache cannot be used (") and note.endswith("going on without it")
    assert not Path("owned").exists()


@pytest.mark.parametrize("value", [b"{", b"[]", b"{}", b'{"text": "x"}', b'{"usage": 5}', b"\xff", 5, "text"])
def test_an_answer_that_cannot_be_read_is_asked_anew(value: Any) -> None:
    chat = Counting()
    asked(chat, REQUEST)
    _change(Path("cache"), "value = ?", value)
    first, note = asked(chat, REQUEST)
    assert first == ANSWER and "cannot be" in note
    if isinstance(value, bytes):
        assert asked(chat, REQUEST) == [CACHED]


def test_a_folder_that_cannot_be_made(work: Path) -> None:
    (work / "file").write_text("")
    *replies, note = asked(Counting(), REQUEST, folder=work / "file" / "cache")
    assert replies == [ANSWER] and "cannot be used" in note


def test_a_busy_cache_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compressor_cli.chat.cache._BUSY", 0.01)
    asked(Counting(), REQUEST)
    other = replace(REQUEST, sample=1)
    notes: list[str] = []

    async def go() -> None:
        cached = CachedChat(Counting(), ReplyCache(Path("cache"), 64, notes.append), None)
        with closing(sqlite3.connect("cache/cache.db", isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            assert await cached.ask(REQUEST) == CACHED  # who reads does not wait for who writes
            assert await cached.ask(other) == ANSWER
            await cached.aclose()
            connection.execute("ROLLBACK")

    asyncio.run(go())
    assert notes == ["the response cache cache is busy: 1 answers were not kept"]


def test_the_oldest_answers_leave_a_full_cache() -> None:
    chat = Counting(replace(ANSWER, text="x" * 30_000))
    requests = [replace(REQUEST, sample=sample) for sample in range(100)]

    def answered(some: list[ChatRequest]) -> int:
        async def go() -> list[ChatReply]:
            cached = CachedChat(chat, ReplyCache(Path("cache"), 1, print), None)
            replies = [await cached.ask(request) for request in some]
            await cached.aclose()
            return replies

        return sum(reply.cached for reply in asyncio.run(go()))

    assert answered(requests) == 0
    assert sum(path.stat().st_size for path in Path("cache").iterdir()) <= 1 << 20
    assert answered(requests[-20:]) == 20
    assert answered(requests[:20]) == 0


def test_a_hit_and_a_store_cost_well_under_a_millisecond() -> None:
    keys = [cache_key("a:m", None, replace(REQUEST, sample=sample)) for sample in range(640)]
    reply = replace(ANSWER, text="x" * 2000)

    async def go() -> tuple[float, float]:
        cache = ReplyCache(Path("cache"), 64, print)
        started = time.process_time()
        for key in keys:
            cache.keep(key, reply)
        cache.flush()
        stored = time.process_time()
        assert all(cache.find(key) for key in keys)
        found = time.process_time()
        cache.close()
        return stored - started, found - stored

    store, hit = asyncio.run(go())
    assert store / len(keys) < 1e-3 and hit / len(keys) < 1e-3


def test_where_it_is(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert load_settings().chat.cache_folder == Path.home() / ".cache" / "scc" / "chat"
    monkeypatch.setenv("XDG_CACHE_HOME", str(work / "xdg"))
    assert load_settings().chat.cache_folder == work / "xdg" / "scc" / "chat"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert load_settings().chat.cache_folder == Path.home() / "Library" / "Caches" / "scc" / "chat"
    monkeypatch.setenv("SCC_CHAT__CACHE_DIR", "~/own")
    cache = open_cache(load_settings().chat, print)
    assert cache is not None and cache.folder == Path.home() / "own"
    cache.close()
    assert (Path.home() / "own" / "cache.db").is_file()


def test_no_cache() -> None:
    assert open_cache(ChatSettings(no_cache=True), print) is None
