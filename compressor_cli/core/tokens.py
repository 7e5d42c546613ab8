"""Exact token counts without a network.

`splintr` carries the vocabularies. A tokenizer is named directly (`o200k_base`), by a model (`gpt-4o`,
`Qwen/Qwen3-8B`), or by the path of a `tokenizer.json`. Models whose tokenizer is not public (Claude, Gemini) are
counted with `o200k_base`, and marked as an estimate.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from compressor_cli.errors import UsageError

DEFAULT_TOKENIZER = "o200k_base"

VOCABULARIES = (
    "cl100k_base", "o200k_base", "o200k_harmony", "llama2", "llama3", "qwen3", "deepseek_v3", "mistral_v1",
    "mistral_v2", "mistral_v3", "gemma3", "glm4", "kimi_k2", "olmo2", "phi4",
)  # fmt: skip

# Model families whose tokenizer splintr carries; matched in order against the last part of `org/name`. What has
# another vocabulary must not match: a later generation (Qwen3.5), a distillation (DeepSeek-R1-Distill-Llama).
_FAMILIES = (
    (r"qwen[-_]?(2|2\.5|3)(?![\d.])", "qwen3"),
    (r"(meta-)?llama-?3", "llama3"),
    (r"(meta-)?llama-?2", "llama2"),
    (r"deepseek-(v3|r1)(?!-distill)", "deepseek_v3"),
    (r"mistral-(nemo|large-3|small-3)|pixtral|ministral", "mistral_v3"),
    (r"gemma-?3", "gemma3"),
    (r"gpt-oss", "o200k_harmony"),
    (r"phi-?4(?!-mini|-multimodal)", "phi4"),
    (r"glm-?4", "glm4"),
    (r"olmo-?2", "olmo2"),
    (r"kimi-k2", "kimi_k2"),
)
_ESTIMATED = re.compile(r"(anthropic\.)?(claude|gemini)")
_LOADING = Lock()


@dataclass(frozen=True)
class TokenCounter:
    """`count(text)` tokens of plain text: a special token spelled out in it counts as its characters."""

    name: str
    exact: bool
    count: Callable[[str], int]


def warm_up(name: str | None) -> None:
    """Begin to load a vocabulary beside other work: its automata take a tenth of a second, outside the GIL."""
    vocabulary = name or DEFAULT_TOKENIZER
    if vocabulary in VOCABULARIES:
        Thread(target=lambda: _vocabulary(vocabulary).encode_batch(["Dana Whitfield: Good"]), daemon=True).start()


@lru_cache(maxsize=16)
def token_counter(name: str = DEFAULT_TOKENIZER) -> TokenCounter:
    """Raises UsageError for a name that no vocabulary here stands for."""
    if name.endswith(".json") or (name and Path(name, "tokenizer.json").is_file()):
        return _from_file(name)
    vocabulary, exact = _resolve(name)
    tokenizer = _vocabulary(vocabulary)
    return TokenCounter(name, exact, _counting(lambda text: len(tokenizer.encode_ordinary(text))))


@lru_cache(maxsize=16)
def _load(vocabulary: str) -> Any:
    import splintr

    return splintr.Tokenizer.from_pretrained(vocabulary)


def _vocabulary(name: str) -> Any:
    with _LOADING:  # not twice at once
        return _load(name)


def _counting(measure: Callable[[str], int]) -> Callable[[str], int]:
    def count(text: str) -> int:
        if not text.isascii():  # a lone surrogate has no UTF-8 form
            text = text.encode("utf-8", "replace").decode()
        return measure(text)

    return count


def _from_file(name: str) -> TokenCounter:
    path = Path(name)
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
        raise UsageError(f"no such tokenizer file: {path}")
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as exc:  # the library raises a bare Exception for a file it cannot read
        raise UsageError(f"{path} is not a tokenizer.json: {exc}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # meaning: one that is spelled out in the text is plain text
    return TokenCounter(name, True, _counting(lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)))


def _resolve(name: str) -> tuple[str, bool]:
    if name in VOCABULARIES:
        return name, True
    last = name.rsplit("/", 1)[-1].lower()
    # `org/name`, `provider:name`, `name:tag` and `ft:name:org::id` are all in use.
    for model in (last, *last.split(":")):
        for pattern, vocabulary in _FAMILIES:
            if re.match(pattern, model):
                return vocabulary, True
        if _ESTIMATED.match(model):
            return DEFAULT_TOKENIZER, False
        if (encoding := _openai_encoding(model)) in VOCABULARIES:
            return encoding, True
    raise UsageError(
        f"unknown tokenizer {name!r}",
        hint=f"one of {', '.join(VOCABULARIES)}; a model name such as gpt-4o or Qwen/Qwen3-8B; "
        "or the path of a tokenizer.json",
    )


def _openai_encoding(model: str) -> str:
    import tiktoken

    try:
        return tiktoken.encoding_name_for_model(model)
    except KeyError:
        return ""
