"""Providers of language models on the loopback interface: as much of their interfaces as the real SDKs ask for.

    with serving() as server:
        server.answer = lambda request: "Yes."          what the model says
        server.latency = 0.05                           seconds before each answer
        server.script.append(Reply(429, "slow down"))   the next request gets this in place of an answer
        server.lost.append("POST /v1/messages")         the next such request is done, and its answer lost
    server.environment()                            what the SDKs read
        server.requests                                 what arrived

A provider is a prefix (`/anthropic`, `/openai`, `/google`, `/local`), a row of `PROVIDERS`; an endpoint is a row of
`ENDPOINTS`; those of batches are in provider_batches.py. As a process of its own (`provider_server.py LATENCY
[--compress]`) it prints its address and ends with its stdin; with `--compress` it answers `scc seed generate`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from typing import Any

from compressor_cli.core.tokens import token_counter

KEY = "sk-thisIsTheSecretOfTheTest"
Json = dict[str, Any]
ErrorForm = Callable[[int, str], Json]


@dataclass(frozen=True)
class Request:
    """`path` is without the provider's prefix; names of headers are in lower case; a `body` of JSON is read."""

    provider: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    """A `body` of text becomes an error in the form of the provider; one of bytes is sent as it is.

    With `cut`, the connection ends after that many bytes. `latency` is its own, in place of the server's.
    """

    status: int
    body: Json | str | bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    latency: float | None = None


class Refusal(Exception):
    """Raised by an endpoint for a request that its provider would not take."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ProviderServer:
    def __init__(self) -> None:
        self.port = 0
        self.requests: list[Request] = []
        self.script: deque[Reply] = deque()
        self.numbers = count(1)  # of answers
        self.answer: Callable[[Request], str] = lambda request: "An answer."
        self.latency = 0.0
        self.lost: deque[str] = deque()
        self.connections: set[Connection] = set()

    def environment(self) -> dict[str, str]:
        """Base URLs and keys for the SDKs."""
        url = f"http://127.0.0.1:{self.port}"
        return {
            "ANTHROPIC_BASE_URL": f"{url}/anthropic",
            "ANTHROPIC_API_KEY": KEY,
            "OPENAI_BASE_URL": f"{url}/openai/v1",
            "OPENAI_API_KEY": KEY,
            "GOOGLE_GEMINI_BASE_URL": f"{url}/google",
            "GEMINI_API_KEY": KEY,
            "SCC_CHAT__BASE_URL": f"{url}/local/v1",
        }

    def reply(self, request: Request) -> Reply:
        wanted = PROVIDERS[request.provider].auth
        if wanted is not None and request.headers.get(wanted[0]) != wanted[1]:
            raise Refusal(401, "invalid key")
        if self.script:
            return self.script.popleft()
        for provider, method, path, endpoint in ENDPOINTS:
            if (provider, method) == (request.provider, request.method) and re.fullmatch(path, request.path):
                reply = Reply(200, endpoint(self, request))
                if self.lost and f"{request.method} {request.path}" == self.lost[0]:
                    self.lost.popleft()
                    return Reply(200, b"", cut=0)
                return reply
        raise Refusal(404, f"no such endpoint: {request.method} {request.path}")

    async def serve(self, started: Callable[[], None], ended: asyncio.Event) -> None:
        listening = await asyncio.get_running_loop().create_server(
            lambda: Connection(self), "127.0.0.1", 0, backlog=512
        )
        self.port = listening.sockets[0].getsockname()[1]
        started()
        await ended.wait()
        listening.close()
        for connection in tuple(self.connections):
            connection.transport.abort()
        await listening.wait_closed()


@contextmanager
def serving() -> Iterator[ProviderServer]:
    server, loop, ended, started = ProviderServer(), asyncio.new_event_loop(), asyncio.Event(), threading.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(server.serve(started.set, ended),), daemon=True)
    thread.start()
    started.wait()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


class Connection(asyncio.Protocol):
    """HTTP/1.1 by hand: a server of the standard library is slower than the clients that it is to measure."""

    transport: asyncio.Transport

    def __init__(self, server: ProviderServer) -> None:
        self.server = server
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if len(body) < int(headers.get("content-length", 0)):
            return
        self.buffer = b""
        method, target, _ = first.split(" ")
        provider, _, path = target.lstrip("/").partition("/")
        parsed = json.loads(body) if body and "json" in headers.get("content-type", "") else body
        self._handle(Request(provider, method, f"/{path}", headers, parsed))

    def _handle(self, request: Request) -> None:
        self.server.requests.append(request)
        try:
            reply = self.server.reply(request)
        except Refusal as exc:
            reply = Reply(exc.status, str(exc))
        data = self._bytes(reply, PROVIDERS[request.provider])
        if latency := self.server.latency if reply.latency is None else reply.latency:
            asyncio.get_running_loop().call_later(latency, self._write, data, reply.cut)
        else:
            self._write(data, reply.cut)

    def _bytes(self, reply: Reply, provider: Provider) -> bytes:
        body = provider.error(reply.status, reply.body) if isinstance(reply.body, str) else reply.body
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        if provider.id_header:
            head[provider.id_header] = f"req_{next(self.server.numbers)}"
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**head, **reply.headers}.items())
        status = HTTPStatus(reply.status).phrase if reply.status in HTTPStatus._value2member_map_ else "Unknown"
        return f"HTTP/1.1 {reply.status} {status}\r\n{lines}\r\n".encode() + data

    def _write(self, data: bytes, cut: int | None) -> None:
        self.transport.write(data[:cut])
        if cut is not None:
            self.transport.close()


# --- Anthropic


def anthropic_message(server: ProviderServer, request: Request) -> Json:
    body = _checked(request, "model", "messages", "max_tokens")
    if "anthropic-version" not in request.headers:
        raise Refusal(400, "anthropic-version: header is required")
    if body["messages"][0]["role"] != "user":
        raise Refusal(400, "messages: first message must use the user role")
    text = server.answer(request)
    return {
        "id": f"msg_{next(server.numbers)}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": _tokens([body.get("system"), body["messages"]]), "output_tokens": _tokens(text)},
    }


_ANTHROPIC_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error",
                    404: "not_found_error", 429: "rate_limit_error", 529: "overloaded_error"}  # fmt: skip


def anthropic_error(status: int, message: str) -> Json:
    kind = _ANTHROPIC_TYPES.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


# --- OpenAI, and servers that speak as it does


def openai_completion(server: ProviderServer, request: Request) -> Json:
    body = _checked(request, "model", "messages")
    text = server.answer(request)
    tokens_in, tokens_out = _tokens(body["messages"]), _tokens(text)
    return {
        "id": f"chatcmpl-{next(server.numbers)}",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": body["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out
        },
    }  # fmt: skip


def openai_error(status: int, message: str) -> Json:
    kind = "invalid_request_error" if status < 429 else "requests" if status == 429 else "server_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


# --- Google


def google_content(server: ProviderServer, request: Request) -> Json:
    body = request.body
    if not isinstance(body, dict) or not body.get("contents"):
        raise Refusal(400, "contents is not specified")
    if any(content.get("role") not in ("user", "model") for content in body["contents"]):
        raise Refusal(400, "Please use a valid role: user, model.")
    text = server.answer(request)
    tokens_in = _tokens([[part for content in body["contents"] for part in content["parts"]]])
    tokens_in += _tokens((body.get("systemInstruction") or {}).get("parts"))
    return {
        "candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}],
        "usageMetadata": {
            "promptTokenCount": tokens_in,
            "candidatesTokenCount": _tokens(text),
            "totalTokenCount": tokens_in + _tokens(text),
        },
        "modelVersion": request.path.split("/")[-1].partition(":")[0],
        "responseId": f"response_{next(server.numbers)}",
    }


_GOOGLE_STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
                    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}  # fmt: skip


def google_error(status: int, message: str, *details: Json) -> Json:
    name = _GOOGLE_STATUSES.get(status, "UNKNOWN")
    return {"error": {"code": status, "message": message, "status": name, "details": list(details)}}


# --- all


def _checked(request: Request, *required: str) -> Json:
    body = request.body
    if not isinstance(body, dict):
        raise Refusal(400, "the body is no JSON object")
    for name in required:
        if not body.get(name):
            raise Refusal(400, f"{name}: field required")
    for message in body["messages"]:
        if not isinstance(message, dict) or not message.get("role") or "content" not in message:
            raise Refusal(400, "messages: a role and a content are required")
    return body


def compress_answer(request: Request) -> str:
    """A compression by hand of the source in a request: without small words, and as JSON where a schema is sent."""
    asked = json.dumps(request.body, ensure_ascii=False)
    source = re.search(r"<source>\\n(.*)\\n</source>", asked, re.DOTALL)
    text = json.loads(f'"{source[1]}"') if source else "Nothing."
    short = " ".join(word for word in text.split() if word.lower() not in _SMALL)
    return json.dumps({"compressed": short}) if "json_schema" in asked or "responseJsonSchema" in asked else short


_SMALL = frozenset("the a an of that which was were is are it in and to be been by they ones".split())


def _tokens(value: object) -> int:
    """Of all strings in a piece of JSON: near enough to what a provider counts."""
    if isinstance(value, str):
        return token_counter().count(value)
    if isinstance(value, dict):
        return _tokens(list(value.values()))
    return sum(map(_tokens, value)) if isinstance(value, list) else 0


@dataclass(frozen=True)
class Provider:
    """`id_header` names a request, `auth` is the header that must hold the key."""

    id_header: str | None
    error: ErrorForm
    auth: tuple[str, str] | None


Endpoint = Callable[[ProviderServer, Request], Json | bytes]
ENDPOINTS: list[tuple[str, str, str, Endpoint]] = [
    ("anthropic", "POST", "/v1/messages", anthropic_message),
    ("openai", "POST", "/v1/chat/completions", openai_completion),
    ("local", "POST", "/v1/chat/completions", openai_completion),
    ("google", "POST", "/v1(beta)?/models/[^/]+:generateContent", google_content),
]
PROVIDERS: dict[str, Provider] = {
    "anthropic": Provider("request-id", anthropic_error, ("authorization", f"Bearer {KEY}")),
    "openai": Provider("x-request-id", openai_error, ("authorization", f"Bearer {KEY}")),
    "google": Provider(None, google_error, ("x-goog-api-key", KEY)),
    "local": Provider(None, openai_error, None),
}


if __name__ == "__main__":
    with serving() as alone:
        alone.latency = float(sys.argv[1])
        if "--compress" in sys.argv:
            alone.answer = compress_answer
        print(json.dumps(alone.environment()), flush=True)
        sys.stdin.read()
