"""The application behind `scc serve`, and uvicorn around it. Imported late: the extra `serve` has its packages."""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from compressor_cli.core.stopping import Stop, stopped_by_signals
from compressor_cli.engines.adapter_batching import Batching
from compressor_cli.errors import BudgetTooSmallError, GateError, SccError, UsageError
from compressor_cli.records import Receipt
from compressor_cli.settings import ServeSettings

_CONNECTIONS = 512
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_PATHS = ("/compress", "/healthz", "/metrics")


class _Server(uvicorn.Server):
    """Signals are not its own: `stop` ends it."""

    def __init__(self, config: uvicorn.Config, stop: Stop) -> None:
        super().__init__(config)
        self._stop = stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._stop.asked


class _Protocol(H11Protocol):
    """Uvicorn's deadline for a next request is one for the first too, for all headers, and for what nobody reads."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._close_at(self.loop.time() + self.timeout_keep_alive)

    def data_received(self, data: bytes) -> None:
        timer = self.timeout_keep_alive_task
        super().data_received(data)
        waits = self.cycle is None or self.cycle.response_complete
        if waits and timer is not None and self.timeout_keep_alive_task is None:
            self._close_at(timer.when())

    def _close_at(self, when: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_at(when, self.timeout_keep_alive_handler)


class Service:
    """An ASGI application. `answer` makes a receipt of a body."""

    def __init__(
        self, settings: ServeSettings, token: str | None, answer: Callable[[bytes], Receipt], batching: Batching | None
    ) -> None:
        self._settings, self._token, self._answer = settings, token, answer
        self.dropped = self._in_work = 0
        self._pool = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="compress")
        self._app = Starlette(
            routes=[
                Route("/compress", self._compress, methods=["POST"]),
                Route("/healthz", self._healthz),
                Route("/metrics", self._metrics),
            ],
            exception_handlers={
                HTTPException: _refused, SccError: _failed, ClientDisconnect: _cut_off, Exception: _broken,
            },
        )  # fmt: skip
        self._registry = registry = CollectorRegistry()
        self._requests = Counter("scc_requests", "Requests by path and status.", ["path", "status"], registry=registry)
        self._errors = Counter("scc_errors", "Requests that were refused or failed.", registry=registry)
        self._tokens_in = Counter("scc_tokens_in", "Tokens of texts that were compressed.", registry=registry)
        self._tokens_out = Counter("scc_tokens_out", "Tokens of what they became.", registry=registry)
        self._seconds = Histogram(
            "scc_request_seconds", "Seconds from a request to its answer.", registry=registry, buckets=_BUCKETS
        )
        gauge = Gauge("scc_requests_in_work", "Compressions that wait or are in work.", registry=registry)
        gauge.set_function(lambda: self._in_work)
        if batching is not None:
            registry.register(_Batches(batching))

    async def run(self, listening: socket.socket, on_ready: Callable[[], None], tell: Callable[[str], None]) -> int:
        """The number of the signal that ended it."""
        config = uvicorn.Config(
            self, http=_Protocol, ws="none", lifespan="off", workers=1, limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=self._settings.timeout,  # type: ignore[arg-type] # asyncio takes parts of seconds
            timeout_graceful_shutdown=self._settings.grace,  # type: ignore[arg-type]
            log_config=None, log_level="critical", access_log=False, server_header=False,
        )  # fmt: skip
        stop = Stop()
        server = _Server(config, stop)
        with stopped_by_signals(stop, tell), suppress(asyncio.CancelledError):  # by the second signal
            on_ready()
            await server.serve([listening])
        left = tuple(server.server_state.tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self._pool.shutdown(wait=not self.dropped, cancel_futures=True)
        assert isinstance(stop.reason, int)
        return stop.reason

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = scope["path"] if scope["path"] in _PATHS else "other"
                self._requests.labels(path, message["status"]).inc()
                self._errors.inc(message["status"] >= 400)
            await send(message)

        await (self._refusal(scope) or self._app)(scope, receive, counted)

    def _refusal(self, scope: Scope) -> Response | None:
        """Before the body is read."""
        headers = Headers(scope=scope)
        if self._token is None:
            if headers.get("origin"):
                return _error(403, "pages of a browser are not served without a token")
        elif scope["path"] != "/healthz":
            kind, _, token = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._token.encode()):
                told = "a token is needed: Authorization: Bearer TOKEN"
                return _error(401, told, {"WWW-Authenticate": "Bearer"})
        return None

    async def _healthz(self, request: Request) -> Response:
        return _reply(200, {"status": "ok"})

    async def _metrics(self, request: Request) -> Response:
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    async def _compress(self, request: Request) -> Response:
        try:
            body = await self._body(request)
            if self._in_work >= self._settings.queue:
                raise HTTPException(503, f"{self._in_work} requests wait already", {"Retry-After": "1"})
            self._in_work += 1
            try:
                with self._seconds.time():
                    receipt = await asyncio.get_running_loop().run_in_executor(self._pool, self._answer, body)
            finally:
                self._in_work -= 1
        except asyncio.CancelledError:
            self.dropped += 1
            raise HTTPException(503, "the server ends", {"Connection": "close"}) from None
        self._tokens_in.inc(receipt.tokens_in)
        self._tokens_out.inc(receipt.tokens_out)
        return _reply(200, receipt.as_dict())

    async def _body(self, request: Request) -> bytes:
        limit, timeout, body = self._settings.max_bytes, self._settings.timeout, bytearray()
        too_large = HTTPException(413, f"the body is larger than {limit} bytes")
        if int(request.headers.get("content-length", "0")) > limit:
            raise too_large
        try:
            async with asyncio.timeout(timeout):
                async for part in request.stream():
                    body += part
                    if len(body) > limit:
                        raise too_large
        except TimeoutError:
            told = f"the request did not arrive within {timeout:g} seconds"
            raise HTTPException(408, told, {"Connection": "close"}) from None
        return bytes(body)


class _Batches:
    def __init__(self, batching: Batching) -> None:
        self._batching = batching

    def collect(self) -> Iterator[CounterMetricFamily]:
        told = "Batches that went to the model of the adapter."
        yield CounterMetricFamily("scc_batches", told, self._batching.batches)
        yield CounterMetricFamily("scc_prompts", "Prompts in them.", self._batching.prompts)


async def _refused(request: Request, exc: Any) -> Response:
    return _error(exc.status_code, exc.detail, exc.headers)


async def _failed(request: Request, exc: Any) -> Response:
    status = 422 if isinstance(exc, GateError) else 400 if isinstance(exc, UsageError) else 502
    told = {"error": " ".join(str(exc).split()), **({"hint": exc.hint} if exc.hint else {})}
    if isinstance(exc, BudgetTooSmallError):
        told["tokens_needed"] = exc.tokens_needed
    return _reply(status, told)


async def _cut_off(request: Request, exc: Any) -> Response:
    return _error(400, "the request was cut off")


async def _broken(request: Request, exc: Any) -> Response:
    """A bug: whoever runs the server sees its traceback."""
    asyncio.get_running_loop().call_exception_handler({"message": "a request failed", "exception": exc})
    return _error(500, "this is a bug of scc; its traceback stands in the log of the server")


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return _reply(status, {"error": message}, headers)


def _reply(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    # Lone surrogates get the escapes that JSON has for them, which JSONResponse does not know.
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
    return Response(body, status, headers, "application/json")
