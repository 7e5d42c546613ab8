"""As much of HTTP/1.1 as a small service needs, over asyncio: deadlines for a whole request, limits, a clean end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, parse_headers
from io import BytesIO
from typing import Any

_HEAD = 16_384  # bytes of a request line and headers
_CONNECTIONS = 512
JSON = "application/json"


@dataclass(frozen=True)
class HttpRequest:
    """`path` is without the query. `last`: nothing else comes on this connection."""

    method: str
    path: str
    headers: HTTPMessage
    body: bytes
    last: bool = False


@dataclass(frozen=True)
class HttpReply:
    status: int
    body: bytes
    kind: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


class HttpError(Exception):
    """Answers a request that goes no further."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.reply = error_reply(status, message, **headers)


def json_reply(status: int, value: Any, **headers: str) -> HttpReply:
    # Lone surrogates get the escapes that JSON has for them.
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
    return HttpReply(status, body, headers=headers)


def error_reply(status: int, message: str, **headers: str) -> HttpReply:
    return json_reply(status, {"error": message}, **headers)


@dataclass(frozen=True)
class Limits:
    """A request must be there `timeout` seconds after its beginning; a connection without one is closed after as many.
    `max_bytes` are those of a body."""

    timeout: float
    max_bytes: int


Answer = Callable[[HttpRequest], Awaitable[HttpReply]]
Refuse = Callable[[HttpReply], None]


class HttpServer:
    """`check` raises HttpError for a head alone, before a body is read. `refused` hears of replies that `answer` did
    not make."""

    def __init__(
        self, answer: Answer, limits: Limits, *, check: Callable[[HttpRequest], None], refused: Refuse
    ) -> None:
        self._answer, self._limits, self._check, self._refused = answer, limits, check, refused
        self._server: asyncio.Server | None = None
        self._busy: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.Task[None]] = set()
        self._ending = False

    async def start(self, host: str, port: int) -> int:
        """The port that it listens on."""
        self._server = await asyncio.start_server(self._connected, host, port, limit=_HEAD)
        return int(self._server.sockets[0].getsockname()[1])

    async def end(self, grace: float) -> int:
        """What is in work gets `grace` seconds. How many requests were dropped."""
        self._ending = True
        assert self._server is not None
        self._server.close()
        for task in tuple(self._idle):
            task.cancel()
        if self._busy:
            await asyncio.wait(tuple(self._busy), timeout=grace)
        dropped = tuple(self._busy)
        for task in dropped:
            task.cancel()
        await asyncio.gather(*self._busy, *self._idle, return_exceptions=True)
        return len(dropped)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._idle.add(task)
        try:
            if len(self._idle) + len(self._busy) <= _CONNECTIONS:
                while not self._ending and await self._one(task, reader, writer):
                    pass
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            pass  # nobody is there to be told
        finally:
            self._idle.discard(task)
            self._busy.discard(task)
            writer.close()

    async def _one(self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection goes on."""
        goes_on = False
        try:
            if not (first := await self._first_byte(reader)):
                return False
            async with asyncio.timeout(self._limits.timeout):
                request = await self._read(first, reader, writer)
            if request is None:
                return False
            self._idle.discard(task)
            self._busy.add(task)
            reply = await self._answer(request)
            goes_on = not (self._ending or request.last)
        except HttpError as exc:
            reply = exc.reply
            self._refused(reply)
        except TimeoutError:
            reply = error_reply(408, f"the request did not arrive within {self._limits.timeout:g} seconds")
            self._refused(reply)
        except Exception as exc:  # a bug: whoever runs the server sees its traceback
            told = {"message": "a request failed", "exception": exc}
            asyncio.get_running_loop().call_exception_handler(told)
            reply = error_reply(500, "this is a bug of scc; its traceback stands in the log of the server")
            self._refused(reply)
        async with asyncio.timeout(self._limits.timeout):
            writer.write(_head(reply, goes_on) + reply.body)
            await writer.drain()
        self._busy.discard(task)
        self._idle.add(task)
        if not goes_on:
            await self._drop_rest(reader, writer)
        return goes_on

    async def _drop_rest(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection that is closed with unread bytes is reset, and its reply lost."""
        with suppress(OSError):
            writer.write_eof()
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(1):
                while await reader.read(1 << 16):
                    pass

    async def _first_byte(self, reader: asyncio.StreamReader) -> bytes:
        """Nothing where the other side has no more to say."""
        try:
            async with asyncio.timeout(self._limits.timeout):
                return await reader.read(1)
        except TimeoutError:
            return b""

    async def _read(
        self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> HttpRequest | None:
        """None where the request is cut off."""
        try:
            head = first + await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        except asyncio.LimitOverrunError:
            raise HttpError(431, f"more than {_HEAD} bytes of headers") from None
        line, _, rest = head.partition(b"\r\n")
        words = line.split()
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            raise HttpError(400, "this is no HTTP/1.1 request")
        try:
            headers = parse_headers(BytesIO(rest))
            method, path = words[0].decode("ascii"), words[1].decode("ascii").partition("?")[0]
        except (HTTPException, UnicodeDecodeError):
            raise HttpError(400, "the headers cannot be read") from None
        told = headers.get("connection", "keep-alive" if words[2] != b"HTTP/1.0" else "close")
        request = HttpRequest(method, path, headers, b"", told.lower() == "close")
        self._check(request)
        length = self._length(headers)
        if length and headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            body = await reader.readexactly(length)
        except asyncio.IncompleteReadError:
            return None
        return replace(request, body=body)

    def _length(self, headers: HTTPMessage) -> int:
        if headers.get("transfer-encoding"):
            raise HttpError(411, "a Content-Length is needed, and no Transfer-Encoding")
        told = headers.get_all("content-length", ["0"])
        if len(told) > 1 or not (told[0].isascii() and told[0].isdigit()) or len(told[0]) > 18:
            raise HttpError(400, "the Content-Length is no number")
        if int(told[0]) > self._limits.max_bytes:
            raise HttpError(413, f"the body is larger than {self._limits.max_bytes} bytes")
        return int(told[0])


def _head(reply: HttpReply, goes_on: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}",
        f"Content-Type: {reply.kind}",
        f"Content-Length: {len(reply.body)}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in reply.headers.items()),
        *([] if goes_on else ["Connection: close"]),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii")
