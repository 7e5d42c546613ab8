"""`scc serve`: a model that stays in memory, behind HTTP. The answer is the receipt, as `--json` prints it."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from compressor_cli.core.stopping import Stop, stopped_by_signals
from compressor_cli.engines.adapter_batching import Batching
from compressor_cli.engines.adapter_model import close_model, ready_model
from compressor_cli.engines.compress import compress
from compressor_cli.engines.options import Options
from compressor_cli.errors import BudgetTooSmallError, GateError, SccError, UsageError
from compressor_cli.records import Receipt
from compressor_cli.settings import CompressSettings, ServeSettings
from compressor_cli.stages.serve.http import (
    HttpError,
    HttpReply,
    HttpRequest,
    HttpServer,
    Limits,
    error_reply,
    json_reply,
)
from compressor_cli.stages.serve.metrics import Metrics

# Of the keywords of `compress`. Which model and which tokenizer is the server's to say: they name its files.
FIELDS = (
    "rate", "max_tokens", "engine", "domain", "level", "query", "protect", "protect_pattern", "allow_loss",
    "omission_marker", "keep_first", "keep_last", "stable_prefix", "chat", "adaptive", "task", "filename",
)  # fmt: skip
PATHS = {"/compress": "POST", "/healthz": "GET", "/metrics": "GET"}
_POLL = 0.1
_WARM = "The committee met on Tuesday, 3 March, and did not approve the plan that was before it."


@dataclass(frozen=True)
class Served:
    """How it ended: the number of the signal, and how many requests were in work and not waited for."""

    signal: int
    dropped: int


def serve(
    settings: ServeSettings,
    defaults: CompressSettings,
    *,
    on_ready: Callable[[str, str], None],
    tell: Callable[[str], None],
) -> Served:
    """Until SIGINT or SIGTERM; what is in work then is answered. `on_ready` gets the address, and what compresses.

    Raises UsageError for an address that is not this machine's own without a token, and whatever keeps the engine from
    being ready.
    """
    token = _token(settings)
    engine, batching = _warm(defaults)
    ended = asyncio.run(_Service(settings, defaults, token, batching).run(lambda url: on_ready(url, engine), tell))
    if not ended.dropped:  # the model is still at what was dropped
        close_model()
    return ended


def _token(settings: ServeSettings) -> str | None:
    if settings.token is not None and settings.token_file is not None:
        raise UsageError("SCC_SERVE__TOKEN and --token-file exclude each other", hint="give one of them")
    token = settings.token.get_secret_value() if settings.token else None
    where = "SCC_SERVE__TOKEN"
    if settings.token_file is not None:
        where = f"--token-file {settings.token_file}"
        try:
            token = settings.token_file.read_text(encoding="utf-8").strip()
        except OSError as exc:
            raise UsageError(f"{where}: {exc.strerror}") from None
        except UnicodeDecodeError:
            raise UsageError(f"{where} is no text") from None
    if token is None:
        if not _is_loopback(settings.host):
            raise UsageError(
                f"--host {settings.host}: others can reach it, and a token is needed",
                hint="SCC_SERVE__TOKEN in the environment, or --token-file; clients send Authorization: Bearer TOKEN",
            )
        return None
    if not token or not token.isascii() or any(char.isspace() or not char.isprintable() for char in token):
        raise UsageError(f"{where}: a token is one word of ASCII characters")
    return token


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _warm(defaults: CompressSettings) -> tuple[str, Batching | None]:
    """What compresses, with all of it loaded."""
    options = Options(**defaults.given())
    engine, batching = "embedded", None
    if options.names_adapter:
        close_model()
        found = ready_model(options, Batching)
        if isinstance(found, str):
            engine = f"embedded; the adapter is not ready: {found}"
        elif isinstance(found.generator, Batching):
            engine, batching = f"adapter {found.name}", found.generator
    plain = defaults.overridden({"engine": "prose"}).given() | {"chat": False}
    compress(_WARM, **{name: plain[name] for name in ("tokenizer", "model", "engine") if name in plain})
    return engine, batching


class _Service:
    def __init__(
        self, settings: ServeSettings, defaults: CompressSettings, token: str | None, batching: Batching | None
    ) -> None:
        self._settings, self._defaults, self._token, self._batching = settings, defaults, token, batching
        self._metrics = Metrics(tuple(PATHS))
        self._in_work = 0
        self._pool = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="compress")

    async def run(self, on_ready: Callable[[str], None], tell: Callable[[str], None]) -> Served:
        limits = Limits(self._settings.timeout, self._settings.max_bytes)
        server = HttpServer(self._answer, limits, check=self._check, refused=self._refused)
        host, stop = self._settings.host, Stop()
        try:
            port = await server.start(host, self._settings.port)
        except OSError as exc:
            why = (
                os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror
            )  # asyncio says all of it again
            raise SccError(
                f"cannot listen on {host}:{self._settings.port}: {why}", hint="--port names another, 0 one that is free"
            ) from None
        dropped = 0
        with stopped_by_signals(stop, tell):
            on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
            try:
                while not stop.asked:
                    await asyncio.sleep(_POLL)
                dropped = await server.end(self._settings.grace)
            except asyncio.CancelledError:  # by the second signal
                if (task := asyncio.current_task()) is not None:
                    task.uncancel()
                dropped = await server.end(0)
        self._pool.shutdown(wait=not dropped, cancel_futures=True)
        assert isinstance(stop.reason, int)
        return Served(stop.reason, dropped)

    def _check(self, request: HttpRequest) -> None:
        """Before the body is read."""
        if (method := PATHS.get(request.path)) is None:
            raise HttpError(404, f"no such path; there are {', '.join(PATHS)}")
        if request.method != method:
            raise HttpError(405, f"{request.path} takes {method}", Allow=method)
        if request.path != "/healthz" and self._token is not None:
            given = request.headers.get("authorization", "")
            kind, _, token = given.partition(" ")
            right = hmac.compare_digest(token.strip().encode("utf-8", "replace"), self._token.encode())
            if kind.lower() != "bearer" or not right:
                raise HttpError(401, "a token is needed: Authorization: Bearer TOKEN", WWW_Authenticate="Bearer")
        if self._token is None and request.headers.get("origin"):
            raise HttpError(403, "pages of a browser are not served without a token")

    def _refused(self, reply: HttpReply) -> None:
        self._metrics.replied("other", reply.status)

    async def _answer(self, request: HttpRequest) -> HttpReply:
        if request.path == "/healthz":
            reply = json_reply(200, {"status": "ok"})
        elif request.path == "/metrics":
            reply = HttpReply(200, self._metrics.text(self._gauges()), "text/plain; version=0.0.4; charset=utf-8")
        else:
            reply = await self._compress(request.body)
        self._metrics.replied(request.path, reply.status)
        return reply

    def _gauges(self) -> dict[str, int]:
        counts = {"scc_requests_in_work": self._in_work}
        if self._batching is not None:
            counts |= {"scc_batches_total": self._batching.batches, "scc_prompts_total": self._batching.prompts}
        return counts

    async def _compress(self, body: bytes) -> HttpReply:
        if self._in_work >= self._settings.queue:
            return error_reply(503, f"{self._in_work} requests wait already", Retry_After="1")
        began = time.perf_counter()
        self._in_work += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._made, body)
        finally:
            self._in_work -= 1
            self._metrics.took(time.perf_counter() - began)

    def _made(self, body: bytes) -> HttpReply:
        try:
            receipt = compress_request(body, self._defaults)
        except BudgetTooSmallError as exc:
            return _failed(422, exc, tokens_needed=exc.tokens_needed)
        except GateError as exc:
            return _failed(422, exc)
        except UsageError as exc:
            return _failed(400, exc)
        except SccError as exc:
            return _failed(502, exc)
        self._metrics.compressed(receipt.tokens_in, receipt.tokens_out)
        return json_reply(200, receipt.as_dict())


def compress_request(body: bytes, defaults: CompressSettings) -> Receipt:
    """Raises UsageError for what is no request."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise UsageError("the body is not JSON") from None
    if not isinstance(asked, dict):
        raise UsageError('an object is needed: {"text": "..."}')
    text, with_map = asked.pop("text", None), asked.pop("map", False)
    if unknown := sorted(asked.keys() - set(FIELDS)):
        raise UsageError(f"no such field: {', '.join(unknown):.200}", hint=f"text, map, {', '.join(FIELDS)}")
    filename = asked.pop("filename", None)
    options = defaults.overridden(asked).given()
    if options.get("chat") and isinstance(text, dict | list):
        text = json.dumps(text, ensure_ascii=False)
    if not isinstance(text, str):
        raise UsageError("text: a string is needed")
    return compress(text, **options, filename=filename, with_map=with_map)


def _failed(status: int, exc: SccError, **more: Any) -> HttpReply:
    told = {"error": " ".join(str(exc).split()), **({"hint": exc.hint} if exc.hint else {}), **more}
    return json_reply(status, told)
