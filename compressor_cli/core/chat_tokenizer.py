"""The tokenizer of a model, with its chat template: from a folder, or from the hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor_cli.core.models import model_folder, one_line
from compressor_cli.errors import MissingExtraError, UsageError

# One of these is there wherever transformers finds a tokenizer.
_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


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
    folder = model_folder(name, token=token, weights=False)
    if not any((folder / name).is_file() for name in _FILES):
        raise UsageError(f"--model {name}: no tokenizer that can be read: there is no tokenizer.json")
    try:
        hf = transformers.AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except Exception as exc:  # from a broken file the libraries raise anything
        raise UsageError(f"--model {name}: no tokenizer that can be read: {one_line(exc)}") from None
    if not hf.chat_template:
        raise UsageError(f"--model {name}: its tokenizer has no chat template", hint="name an instruct or chat model")
    special = sorted((str(t) for t in hf.added_tokens_decoder.values() if t.special), key=len, reverse=True)
    return ChatTokenizer(name, folder, hf, re.compile("|".join(map(re.escape, special)) or r"(?!)"))
