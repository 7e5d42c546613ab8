"""`scc serve`: a model that stays in memory, behind HTTP. The answer is the receipt, as `--json` prints it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address

from compressor_cli.engines.adapter_batching import Batching
from compressor_cli.engines.adapter_model import close_model, ready_model
from compressor_cli.engines.compress import compress
from compressor_cli.engines.options import Options
from compressor_cli.errors import MissingExtraError, SccError, UsageError
from compressor_cli.records import Receipt
from compressor_cli.settings import CompressSettings, ServeSettings

# Of the keywords of `compress`. Which model and which tokenizer is the server's to say: they name its files.
FIELDS = (
    "rate", "max_tokens", "engine", "domain", "level", "query", "protect", "protect_pattern", "allow_loss",
    "omission_marker", "keep_first", "keep_last", "stable_prefix", "chat", "adaptive", "task", "filename",
)  # fmt: skip
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

    Raises UsageError for an address that is not this machine's own without a token, MissingExtraError, and whatever
    keeps the engine from being ready.
    """
    token = _token(settings)
    try:
        from compressor_cli.stages.serve.app import Service
    except ModuleNotFoundError as exc:
        raise MissingExtraError(exc.name or "starlette", "serve") from None
    engine, batching = _warm(defaults)
    service = Service(settings, token, partial(compress_request, defaults=defaults), batching)
    with _listening(settings.host, settings.port) as listening:
        host, port = f"[{settings.host}]" if ":" in settings.host else settings.host, listening.getsockname()[1]
        number = asyncio.run(service.run(listening, lambda: on_ready(f"http://{host}:{port}", engine), tell))
    if not service.dropped:  # the model is still at what was dropped
        close_model()
    return Served(number, service.dropped)


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


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family)
    except OSError as exc:
        why = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror  # without the address
        raise SccError(
            f"cannot listen on {host}:{port}: {why}", hint="--port names another, 0 one that is free"
        ) from None


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
