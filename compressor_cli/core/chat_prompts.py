"""Prompts as tokens, and tokens as answers: the same for each library that generates in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor_cli.core.chat_tokenizer import ChatTokenizer
from compressor_cli.core.generation import Generated, Prompt
from compressor_cli.core.models import one_line

_ANSWER = "fine"  # stands in for one, where only what comes after it is wanted


@dataclass(frozen=True)
class Encoded:
    """The prompt at `place`. `max_tokens` are no more than the model has positions for."""

    place: int
    tokens: list[int]
    max_tokens: int


@dataclass(frozen=True)
class ChatPrompts:
    """`ends` are the tokens of which each ends an answer, `positions` how many tokens the model reads and writes."""

    tokenizer: ChatTokenizer
    ends: frozenset[int]
    positions: int | None

    def encode(self, prompts: Sequence[Prompt]) -> tuple[list[Encoded], list[tuple[int, Generated]]]:
        """Those that can be asked, and the errors in place of the others' answers."""
        asked, refused = [], []
        for place, prompt in enumerate(prompts):
            try:
                asked.append(self._encode(place, prompt))
            except Exception as exc:  # a template raises anything
                refused.append((place, Generated("", 0, 0, False, 0.0, error=one_line(exc))))
        return asked, refused

    def _encode(self, place: int, prompt: Prompt) -> Encoded:
        text = self.tokenizer.text([dict(one) for one in prompt.messages], None, prompt=True)
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise ValueError("the prompt has half of a surrogate pair in it, which is no character")
        tokens = self.tokenizer.tokens(text)
        room = prompt.max_tokens if self.positions is None else min(prompt.max_tokens, self.positions - len(tokens))
        if not tokens or prompt.max_tokens < 1:
            raise ValueError("there is nothing to answer" if not tokens else "max_tokens leaves no room for an answer")
        if room < 1:
            raise ValueError(f"the prompt has {len(tokens):,} tokens, and the model reads {self.positions:,}")
        return Encoded(place, tokens, room)

    def answer(self, asked: Encoded, tokens: Sequence[int], *, truncated: bool, seconds: float) -> Generated:
        """From the `tokens` before the one that ends it."""
        text = self.tokenizer.hf.decode(tokens, skip_special_tokens=True)
        if truncated:
            text = text.rstrip("\N{REPLACEMENT CHARACTER}")  # of a character that is not whole
        return Generated(text, len(asked.tokens), len(tokens), truncated, seconds, cost_usd=0.0)


def chat_prompts(tokenizer: ChatTokenizer) -> ChatPrompts:
    """Of a tokenizer whose folder is that of the model."""
    config = _read(tokenizer.folder / "config.json")
    ends = [tokenizer.hf.eos_token_id, *_end_of_turn(tokenizer)]
    for named in (config, _read(tokenizer.folder / "generation_config.json")):
        token = named.get("eos_token_id")
        ends += token if isinstance(token, list) else [token]
    return ChatPrompts(tokenizer, frozenset(end for end in ends if isinstance(end, int)), _positions(config))


def _end_of_turn(tokenizer: ChatTokenizer) -> list[int]:
    """What the template puts behind an answer. A base model that was trained on chats writes it, and its config may
    name another token only."""
    user = {"role": "user", "content": _ANSWER}
    try:
        text = tokenizer.text([user, {"role": "assistant", "content": _ANSWER}], None)
    except Exception:  # a template raises anything
        return []
    after = text.rpartition(_ANSWER)[2]
    found = tokenizer.special.match(after.lstrip())
    return [int(tokenizer.hf.convert_tokens_to_ids(found.group()))] if found and found.group() else []


def _positions(config: dict[str, Any]) -> int | None:
    """None where the config does not say, or says that they are stretched."""
    text = config.get("text_config") or config
    rope = text.get("rope_scaling") or text.get("rope_parameters") or {}
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        return None
    positions = text.get("max_position_embeddings") or text.get("n_positions")
    return positions if isinstance(positions, int) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}
