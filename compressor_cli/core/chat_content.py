"""What is in the messages of a chat row that training would take wrongly, or that a template leaves out in silence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_THINK = re.compile(r"</?think>")


def empty_answer(messages: Sequence[Mapping[str, Any]]) -> int | None:
    """The first answer with neither text, thoughts aside, nor a call."""
    for place, message in enumerate(messages):
        if message["role"] == "assistant" and not message.get("tool_calls") and not _parts(message)[-1].strip():
            return place
    return None


def spelled_out(
    special: re.Pattern[str], messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None
) -> tuple[str, str] | None:
    """Where the text of a control token stands, and the token: a tokenizer takes it for a real one."""
    places: Iterator[tuple[str, str]] = (
        (f"messages[{place}].{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for place, message in enumerate(messages)
        for key, value in message.items()
    )
    for name, text in [*places, *([("tools", json.dumps(tools, ensure_ascii=False))] if tools else [])]:
        if found := special.search(text):
            return name, found[0]
    return None


def dropped(
    text: str, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None, trained: Sequence[int]
) -> str | None:
    """What of the row the rendered text lacks. Thoughts may be missing from an answer that is not trained."""
    for place, message in enumerate(messages):
        parts = _parts(message) if message["role"] == "assistant" else [message["content"]]
        for part in parts if place in trained else parts[-1:]:
            if not _stands(part.strip(), text):
                return f"the text of messages[{place}], from the {message['role']},"
        for call in message.get("tool_calls", ()):
            if not _stands(call["function"]["name"], text):
                return f"the call of {call['function']['name']!r} in messages[{place}]"
    for tool in tools or ():
        name = tool.get("function", tool).get("name")
        if isinstance(name, str) and not _stands(name, text):
            return f"the tool {name!r}"
    return None


def _parts(message: Mapping[str, Any]) -> list[str]:
    """Thoughts, and what is said after them."""
    return _THINK.split(message["content"])


def _stands(part: str, text: str) -> bool:
    """As it is, or as the JSON that some templates write."""
    return part in text or any(json.dumps(part, ensure_ascii=ascii)[1:-1] in text for ascii in (False, True))
