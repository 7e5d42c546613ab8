"""Models: a folder, or a name on the hub, fetched through huggingface_hub into its own cache."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from compressor_cli.core.files import sha256_file
from compressor_cli.errors import SccError, UsageError

# What tokenizers are made of; also the patterns that mlx-lm takes.
_TOKENIZER = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")
_INDEXES = ("*.safetensors.index.json", "*.bin.index.json")
_WEIGHTS = ("*.safetensors",)  # never a pickle
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def model_folder(
    name: str, *, token: str | None = None, weights: bool = True, bars: bool = False, flag: str = "--model"
) -> Path:
    """`bars` shows the progress of the hub's library on stderr. No code of the model's is run.

    Raises UsageError for what is neither a folder nor a name, SccError where the hub does not give it.
    """
    if Path(name).is_dir():
        return Path(name)
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or name.startswith("."):
        raise UsageError(f"{flag} {name}: no such folder")
    import huggingface_hub
    from huggingface_hub import errors

    patterns = [*_TOKENIZER, *(_WEIGHTS if weights else ())]
    try:
        with nullcontext() if bars else _without_bars():
            ignored = None if weights else list(_INDEXES)
            return Path(
                huggingface_hub.snapshot_download(name, allow_patterns=patterns, ignore_patterns=ignored, token=token)
            )
    except errors.GatedRepoError:
        place = f"{huggingface_hub.constants.ENDPOINT}/{name}"
        raise SccError(f"model {name!r} is gated", hint=f"accept its terms at {place}, then set HF_TOKEN") from None
    except errors.RepositoryNotFoundError:
        raise SccError(
            f"model {name!r} is no folder, and not on the hub, or private there",
            hint="check the name; a private model needs HF_TOKEN",
        ) from None
    except errors.HFValidationError as exc:
        raise UsageError(f"{flag} {name}: {one_line(exc)}") from None
    except errors.HfHubHTTPError as exc:
        raise SccError(f"model {name!r}: {one_line(exc)}") from None
    except (OSError, errors.CachedRepoTreeNotFoundError, errors.RevisionResolutionError):
        raise SccError(
            f"model {name!r} is neither a folder nor in the cache, and the hub cannot be reached",
            hint="check the network and HF_HUB_OFFLINE, or name a local folder",
        ) from None


def require_model(folder: Path, name: str) -> None:
    """Raises UsageError for a folder without configuration or weights; the libraries have many words for that."""
    if not (folder / "config.json").is_file():
        raise UsageError(f"--model {name}: no model: config.json is missing")
    if any(path for pattern in _WEIGHTS for path in folder.glob(pattern)):
        return
    pickled = next((path.name for pattern in _PICKLES for path in folder.glob(pattern)), None)
    why = f"; {pickled} is not read, since a pickle can run code" if pickled else ""
    raise UsageError(f"--model {name}: no weights: there is no .safetensors file{why}")


def model_identity(folder: Path) -> dict[str, Any]:
    """What tells two models of one name apart: the hub's revision, or the hashes of files in a folder of one's own."""
    if folder.parent.name == "snapshots":
        return {"model_revision": folder.name}
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("config.json"), *folder.glob("tokenizer.json")])
    return {"model_sha256": {path.name: sha256_file(path) for path in files}}


@contextmanager
def _without_bars() -> Iterator[None]:
    utils: Any = importlib.import_module("huggingface_hub.utils")  # its names are not exported to type checkers
    before = utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            utils.enable_progress_bars()


def one_line(exc: Exception) -> str:
    text = " ".join(str(exc).split()) or type(exc).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."
