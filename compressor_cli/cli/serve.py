"""`scc serve`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from compressor_cli.cli.common import (
    AdapterOption,
    BackendOption,
    ConfigOption,
    EngineModelOption,
    ServerOption,
    TokenizerOption,
    say,
)


def serve(
    port: Annotated[int | None, typer.Option(help="0 takes one that is free.", show_default="8765")] = None,
    host: Annotated[
        str | None,
        typer.Option(help="Where others can reach it, a token is needed.", show_default="127.0.0.1"),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            help="File with the token of clients; or SCC_SERVE__TOKEN in the environment.",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        str | None, typer.Option("--engine", help="auto or adapter; a request may name another.", show_default="auto")
    ] = None,
    adapter: AdapterOption = None,
    backend: BackendOption = None,
    model: EngineModelOption = None,
    base_url: ServerOption = None,
    tokenizer: TokenizerOption = None,
    config: ConfigOption = None,
) -> None:
    """Keep a model in memory and compress over HTTP.

    POST /compress takes {"text": ...} with rate, max_tokens, protect, query and so on, named as in Python, and answers
    with the receipt, as --json prints it. GET /healthz, GET /metrics (Prometheus). Settings of compress are its
    defaults. SIGINT and SIGTERM end it once all requests are answered, with exit code 130 or 143.
    """
    from compressor_cli.settings import load_settings
    from compressor_cli.stages.serve import serve as run

    given = {"port": port, "host": host, "token_file": token_file}
    named = {
        "engine": engine, "adapter": adapter, "backend": backend, "model": model, "base_url": base_url,
        "tokenizer": tokenizer,
    }  # fmt: skip
    settings = load_settings(config, serve=given, compress=named)

    def ready(url: str, engine: str) -> None:
        say(f"{url}: {engine}")

    ended = run(settings.serve, settings.compress.overridden(named), on_ready=ready, tell=say)
    if ended.dropped:
        say(f"{ended.dropped} requests were dropped")
        sys.stderr.flush()
        os._exit(128 + ended.signal)  # Python would wait for threads that are still at them
    raise typer.Exit(128 + ended.signal)
