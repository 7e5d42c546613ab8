"""An adapter that Tinker keeps, fetched by its path."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compressor_cli.backends.tinker.access import access_to, ask_health
from compressor_cli.backends.tinker.adapter import download
from compressor_cli.backends.tinker.connection import Connection, connected
from compressor_cli.backends.tinker.failures import AGAIN
from compressor_cli.backends.tinker.session import open_service
from compressor_cli.core.stopping import Stop
from compressor_cli.errors import SccError, UsageError

_PATH = re.compile(r"tinker://[^/\s]+/(weights|sampler_weights|external_weights)/[A-Za-z0-9_-]+")
_KEPT = 24 * 3600  # seconds that the server keeps a copy that is made to be fetched


def fetch_adapter(
    path: str, folder: Path, base_url: str | None = None, tell: Callable[[str], None] = lambda message: None
) -> str | None:
    """The files of the adapter, into `folder`. Returns the name of its base model, where the server says it.

    Raises UsageError for what is no path of weights that can be given out, SccError where the server does not.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise UsageError(f"{path} is no path of weights at Tinker", hint="tinker://RUN/weights/NAME is one")
    if match[1] == "sampler_weights":
        raise UsageError(
            f"{path} is for sampling only, and the server does not give it out",
            hint="state_path in tinker_run.json of the run is the path to export",
        )
    access = access_to(base_url)
    ask_health(access)
    try:
        with connected(access, tell, strict=True) as connection:
            base = None
            if match[1] == "weights":
                path, base = _given_out(connection, path)
            listing = connection.wait(connection.rest().get_external_weights_urls(path), "addresses of files")
            download(folder, listing.urls)
            return base or _said(folder) or _base_of(connection, path)
    except SccError as exc:
        if exc.hint:
            exc.hint = exc.hint.replace(AGAIN, "try again")  # here nothing goes on
        raise


def _given_out(connection: Connection, state: str) -> tuple[str, str | None]:
    """The path of a copy in the form that can be fetched, and the model."""
    with open_service(connection, Stop()) as service:
        pending = connection.call(lambda: service.create_training_client_from_state(state), "the server to load it")
        client = connection.wait(pending, "the model")
        name = f"export-{secrets.token_hex(4)}"  # a name that was used before would be refused
        saved = connection.wait(client.save_weights_external(name, ttl_seconds=_KEPT), "the adapter")
        return saved.path, client.get_info().model_data.model_name


def _said(folder: Path) -> str | None:
    try:
        said = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return said if isinstance(said, str) and said else None


def _base_of(connection: Connection, path: str) -> str | None:
    """Of the run that the weights came from; not every server can tell."""
    try:
        run: Any = connection.wait(connection.rest().get_training_run_by_tinker_path(path), "the run")
    except SccError:
        return None
    return str(run.base_model) if run.base_model else None
