"""`adapter/` of a finished run: the adapter as PEFT loads it where the server gives it out, and where it is kept."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compressor_cli.backends.tinker.connection import Connection
from compressor_cli.core.files import write_json
from compressor_cli.core.runs import Run
from compressor_cli.core.tensors import non_finite_tensor
from compressor_cli.errors import SccError

REFERENCE = "tinker.json"
_LARGEST = 64 << 30  # bytes of all files
_MOST_FILES = 1000
_KEPT = 24 * 3600  # seconds that the server keeps the copy that is fetched
_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*\.(safetensors|json|md|txt|jinja)", re.ASCII)  # what cannot run code


def fill_adapter(run: Run, connection: Connection, client: Any, name: str, reference: Mapping[str, Any]) -> None:
    """A server that gives no adapter out keeps it, and the run is none the less finished; that is told."""
    staged = run.folder / f".{run.adapter.name}"
    shutil.rmtree(staged, ignore_errors=True)  # what a killed run left
    staged.mkdir()
    try:
        download(staged, _urls(connection, client, name))
    except SccError as exc:
        shutil.rmtree(staged)
        staged.mkdir()
        run.tell(f"the adapter stays at the server, as {reference['sampler_path']}: {exc}")
    write_json(staged / REFERENCE, dict(reference))
    shutil.rmtree(run.adapter, ignore_errors=True)  # of a run that was cut off here
    staged.rename(run.adapter)


def _urls(connection: Connection, client: Any, name: str) -> dict[str, str]:
    saved = connection.wait(client.save_weights_external(name, ttl_seconds=_KEPT), "the adapter")
    listing = connection.rest().get_external_weights_urls(saved.path)
    found: dict[str, str] = connection.wait(listing, "addresses of files").urls
    return found


def download(folder: Path, urls: Mapping[str, str]) -> None:
    """Raises SccError for files of names or sizes that no adapter has."""
    if not urls or len(urls) > _MOST_FILES:
        raise SccError(f"the server lists {len(urls)} files of it")
    for name in urls:
        if not _NAME.fullmatch(name) or name == REFERENCE:
            raise SccError(f"the server lists a file {name[:100]!r}, which no adapter has")
    left = _LARGEST
    for name, url in sorted(urls.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        left -= _fetch(url, path, left)
        if path.suffix == ".safetensors" and (tensor := non_finite_tensor(path)):
            raise SccError(f"{name}: {tensor} is not finite")


def _fetch(url: str, path: Path, limit: int) -> int:
    """Bytes that were written. The address is signed: no key goes with it, and it is not told."""
    import httpx

    size = 0
    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=60) as answer, path.open("wb") as file:
            if answer.status_code != 200:
                raise SccError(f"{path.name}: the server answers {answer.status_code}")
            for block in answer.iter_bytes(1 << 20):
                size += len(block)
                if size > limit:
                    raise SccError(f"{path.name}: more than an adapter has")
                file.write(block)
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise SccError(f"{path.name} could not be fetched: {type(exc).__name__}") from None
    except OSError as exc:
        raise SccError(f"{path.name} could not be written: {exc.strerror}") from None
    return size
