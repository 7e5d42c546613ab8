"""Chat rows as texts: a conversation is a transcript, cut between turns where it is too large.

A turn that is larger than a whole chunk may be is cut as prose is. What a turn says about tools is kept as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from compressor_cli.core.chatrows import chat_row
from compressor_cli.core.chunks import Chunk, Sizes, prose_chunks


def transcript(row: Mapping[str, Any]) -> list[str]:
    """One text a message, with who speaks. Raises MalformedRow."""
    return [_turn(message) for message in chat_row(row).chat["messages"]]


def conversation_chunks(turns: list[str], sizes: Sizes) -> Iterator[Chunk]:
    """`start` and `end` are messages."""
    first = 0
    while first < len(turns):
        last = first + 1
        while last < len(turns) and sizes.count("\n\n".join(turns[first : last + 1])) <= sizes.most:
            last += 1
        text = "\n\n".join(turns[first:last])
        tokens = sizes.count(text)
        if tokens > sizes.most:
            for chunk in prose_chunks(text, sizes):
                yield replace(chunk, start=first, end=last)
        else:
            yield Chunk(first, last, text, tokens, "chat", None, sizes.problem(tokens))
        first = last


def _turn(message: Mapping[str, Any]) -> str:
    calls = [json.dumps(call, ensure_ascii=False) for call in message.get("tool_calls", ())]
    return "\n".join((f"{message['role']}: {message['content']}".rstrip(), *(f"calls {call}" for call in calls)))
