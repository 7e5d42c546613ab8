"""The tokenizer of a model, with its chat template: from a folder, or from the hub."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor_cli.errors import MissingExtraError, SccError, UsageError

# What tokenizers are made of; also the patterns that mlx-lm takes. Never weights.
_FILES = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")
_INDEXES = ("*.safetensors.index.json", "*.bin.index.json")


@dataclass(frozen=True)
class ChatTokenizer:
    """`hf` is the tokenizer of transformers, loaded from `folder`; `special` matches its control tokens in a text."""

    name: str
    folder: Path
    hf: Any
    special: re.Pattern[str]

    def text(self, messages: list[Any], tools: list[Any] | None, *, prompt: bool = False) -> str:
        """`prompt` adds what comes before an answer. Raises whatever the template does."""
        rendered = self.hf.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=prompt)
        assert isinstance(rendered, str)
        return rendered

    def tokens(self, text: str) -> list[int]:
        """Control tokens in `text` count as such; none is added."""
        return list(self.hf(text, add_special_tokens=False)["input_ids"])


def load_chat_tokenizer(name: str, *, token: str | None = None) -> ChatTokenizer:
    """`name` is a folder, or a model of the hub, read with `token`. No code from either is run.

    Raises UsageError for what has no tokenizer or no chat template, SccError where the hub does not give it.
    """
    try:
        import transformers
    except ModuleNotFoundError:
        raise MissingExtraError("transformers", "local") from None
    transformers.logging.set_verbosity_error()  # it warns of rows that are longer than the model reads
    folder = Path(name) if Path(name).is_dir() else _from_hub(name, token)
    try:
        hf = transformers.AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except Exception as exc:  # from a broken file the libraries raise anything
        raise UsageError(f"--model {name}: no tokenizer that can be read: {_one_line(exc)}") from None
    if not hf.chat_template:
        raise UsageError(f"--model {name}: its tokenizer has no chat template", hint="name an instruct or chat model")
    special = sorted((str(t) for t in hf.added_tokens_decoder.values() if t.special), key=len, reverse=True)
    return ChatTokenizer(name, folder, hf, re.compile("|".join(map(re.escape, special)) or r"(?!)"))


def _from_hub(name: str, token: str | None) -> Path:
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or name.startswith("."):
        raise UsageError(f"--model {name}: no such folder")
    import huggingface_hub
    from huggingface_hub import errors

    try:
        with _without_bars():
            return Path(
                huggingface_hub.snapshot_download(
                    name, allow_patterns=list(_FILES), ignore_patterns=list(_INDEXES), token=token
                )
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
        raise UsageError(f"--model {name}: {_one_line(exc)}") from None
    except errors.HfHubHTTPError as exc:
        raise SccError(f"model {name!r}: {_one_line(exc)}") from None
    except (OSError, errors.CachedRepoTreeNotFoundError, errors.RevisionResolutionError):
        raise SccError(
            f"model {name!r} is neither a folder nor in the cache, and the hub cannot be reached",
            hint="check the network and HF_HUB_OFFLINE, or name a local folder",
        ) from None


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


def _one_line(exc: Exception) -> str:
    text = " ".join(str(exc).split()) or type(exc).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."
