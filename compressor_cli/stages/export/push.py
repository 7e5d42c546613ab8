"""Upload to the Hugging Face hub, after the folder is complete: what fails here fails alone."""

from __future__ import annotations

import importlib
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from compressor_cli.core.huberrors import told
from compressor_cli.core.models import one_line
from compressor_cli.errors import MissingExtraError, MissingKeyError, SccError, UsageError
from compressor_cli.settings import key_variables


def require_push(repo: str, token: str | None) -> str:
    """The token to use. Raises UsageError before anything is made where nothing could be pushed."""
    if find_spec("huggingface_hub") is None:
        raise MissingExtraError("huggingface_hub", "data")
    import huggingface_hub
    from huggingface_hub import errors

    utils: Any = importlib.import_module("huggingface_hub.utils")  # its names are not exported to type checkers
    try:
        utils.validate_repo_id(repo)
    except errors.HFValidationError as exc:
        raise UsageError(
            f"--push {repo}: {' '.join(str(exc).split())}", hint="for example --push me/compressor"
        ) from None
    found = token or huggingface_hub.get_token()
    if found is None:
        raise MissingKeyError("the Hugging Face hub", key_variables("huggingface"))
    return found


def push(folder: Path, repo: str, token: str, *, public: bool, bars: bool) -> str:
    """The address of the pages. Raises SccError; the folder stays as it is."""
    import huggingface_hub

    if not bars:
        utils: Any = importlib.import_module("huggingface_hub.utils")
        utils.disable_progress_bars()
    try:
        api = huggingface_hub.HfApi(token=token)
        address = api.create_repo(repo, exist_ok=True, private=not public)
        api.upload_folder(repo_id=address.repo_id, folder_path=folder, commit_message="Export by scc")
    except Exception as exc:
        retry = f"the folder is complete; again: hf upload {shlex.join([repo, str(folder)])}"
        raise SccError(f"--push {repo}: {_why(exc, repo, token)}", hint=retry) from None
    return str(address)


def _why(exc: Exception, repo: str, token: str) -> str:
    """The library for storage calls it a lost connection when a server refuses."""
    if isinstance(exc, ConnectionError) and "HTTP status" in str(exc):
        return one_line(exc).replace(token, "***")
    return str(told(exc, repo, token)).removeprefix(f"dataset {repo!r}").removeprefix(":").strip()
