"""Providers of language models on the loopback interface: as much of their interfaces as the real SDKs ask for.

    with serving() as server:
        server.answer = lambda request: "Yes."          what the model says
        server.script.append(Reply(429, "slow down"))   the next request gets this in place of an answer
        server.environment()                            what the SDKs read
        server.requests                                 what arrived

A provider is a prefix (`/anthropic`, `/openai`), a row of `PROVIDERS`; an endpoint is a row of `ENDPOINTS`.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

from compressor_cli.core.tokens import token_counter

KEY = "sk-thisIsTheSecretOfTheTest"
Json = dict[str, Any]
ErrorForm = Callable[[int, str], Json]


@dataclass(frozen=True)
class Request:
    """`path` is without the provider's prefix; names of headers are in lower case."""

    provider: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    """A `body` of text becomes an error in the form of the provider."""

    status: int
    body: Json | str
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """Raised by an endpoint for a request that its provider would not take."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ProviderServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[Request] = []
        self.script: deque[Reply] = deque()
        self.numbers = count(1)  # of answers
        self.answer: Callable[[Request], str] = lambda request: "An answer."

    def environment(self) -> dict[str, str]:
        """Base URLs and keys for the SDKs."""
        url = f"http://127.0.0.1:{self.server_port}"
        return {
            "ANTHROPIC_BASE_URL": f"{url}/anthropic",
            "ANTHROPIC_API_KEY": KEY,
            "OPENAI_BASE_URL": f"{url}/openai/v1",
            "OPENAI_API_KEY": KEY,
        }

    def reply(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            raise Refusal(401, "invalid key")
        if self.script:
            return self.script.popleft()
        for provider, method, path, endpoint in ENDPOINTS:
            if (provider, method) == (request.provider, request.method) and re.fullmatch(path, request.path):
                return Reply(200, endpoint(self, request))
        raise Refusal(404, f"no such endpoint: {request.method} {request.path}")


@contextmanager
def serving() -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Handler(BaseHTTPRequestHandler):
    server: ProviderServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together, or each answer waits for an acknowledgement

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        provider, _, path = self.path.lstrip("/").partition("/")
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(provider, self.command, f"/{path}", headers, json.loads(body) if body else None)
        self.server.requests.append(request)
        try:
            reply = self.server.reply(request)
        except Refusal as exc:
            reply = Reply(exc.status, str(exc))
        self._send(reply, *PROVIDERS[provider])

    do_GET = do_POST = _handle

    def _send(self, reply: Reply, id_header: str, error: ErrorForm) -> None:
        body = error(reply.status, reply.body) if isinstance(reply.body, str) else reply.body
        data = json.dumps(body).encode()
        self.send_response(reply.status)
        head = {id_header: f"req_{next(self.server.numbers)}", "Content-Type": "application/json", **reply.headers}
        for name, value in head.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


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


_ANTHROPIC_TYPES = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error",
                    429: "rate_limit_error", 529: "overloaded_error"}  # fmt: skip


def anthropic_error(status: int, message: str) -> Json:
    kind = _ANTHROPIC_TYPES.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


# --- OpenAI


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


# --- both


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


def _tokens(value: object) -> int:
    """Of all strings in a piece of JSON: near enough to what a provider counts."""
    if isinstance(value, str):
        return token_counter().count(value)
    if isinstance(value, dict):
        return _tokens(list(value.values()))
    return sum(map(_tokens, value)) if isinstance(value, list) else 0


Endpoint = Callable[[ProviderServer, Request], Json]
ENDPOINTS: tuple[tuple[str, str, str, Endpoint], ...] = (
    ("anthropic", "POST", "/v1/messages", anthropic_message),
    ("openai", "POST", "/v1/chat/completions", openai_completion),
)
# By prefix: the header that names a request, and the form of errors.
PROVIDERS: dict[str, tuple[str, ErrorForm]] = {
    "anthropic": ("request-id", anthropic_error),
    "openai": ("x-request-id", openai_error),
}
