"""What a chat row is: exactly `messages`, and `tools` where it calls any.

A message is `role` and `content`, both text, and may carry `tool_calls`, `tool_call_id` and `name`. An assistant that
only calls tools may come without content; it gets "", so that whoever reads the files finds text in every message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ROLES = ("system", "user", "assistant", "tool", "developer")
MESSAGE_KEYS = ("role", "content", "tool_calls", "tool_call_id", "name")


class MalformedRow(ValueError):
    """`reason` is the kind of fault, to count by; the message also says where in the row it is."""

    def __init__(self, reason: str, detail: str | None = None) -> None:
        super().__init__(detail or reason)
        self.reason = reason


@dataclass(frozen=True)
class ChatRow:
    """`chat` is what is written; `rest` the other columns; `left_out` the message keys that have no place in either."""

    chat: dict[str, Any]
    rest: dict[str, Any] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()


def chat_row(row: Mapping[str, Any]) -> ChatRow:
    """Raises MalformedRow. A key whose value is null counts as absent."""
    if row.get("messages") is None:
        raise MalformedRow("no `messages`", f"no `messages`; its keys are {_listed(row)}")
    messages = _decoded(row["messages"], "messages")
    if not isinstance(messages, list):
        raise MalformedRow("`messages` is not a list", f"`messages` is {_kind(messages)}, not a list")
    if not messages:
        raise MalformedRow("`messages` is empty")
    left_out: set[str] = set()
    chat: dict[str, Any] = {
        "messages": [_message(f"messages[{n}]", message, left_out) for n, message in enumerate(messages)]
    }
    tools = _decoded(row.get("tools"), "tools")
    if tools is not None and tools != []:
        if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
            raise MalformedRow("`tools` is not a list of objects")
        chat["tools"] = tools
    rest = {key: value for key, value in row.items() if key not in ("messages", "tools") and value is not None}
    return ChatRow(chat, rest, frozenset(left_out))


def _message(place: str, message: Any, left_out: set[str]) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise MalformedRow("a message is not an object", f"{place} is {_kind(message)}, not an object")
    present = {key: value for key, value in message.items() if value is not None}
    role = present.get("role")
    if role is None:
        raise MalformedRow("no `role`", f"{place} has no `role`; its keys are {_listed(message)}")
    if role not in ROLES:
        raise MalformedRow("unknown role", f"{place}.role is {_shown(role)}; known roles: {', '.join(ROLES)}")
    calls = present.get("tool_calls")
    if calls == []:
        del present["tool_calls"]
    elif calls is not None and not (isinstance(calls, list) and all(isinstance(call, dict) for call in calls)):
        raise MalformedRow("`tool_calls` is not a list of objects", f"{place}.tool_calls is not a list of objects")
    if "content" not in present:
        if role != "assistant" or not calls:
            raise MalformedRow("no `content`", f"{place} has no `content`")
        present["content"] = ""
    for key in ("content", "tool_call_id", "name"):
        if not isinstance(present.get(key, ""), str):
            raise MalformedRow(f"`{key}` is not text", f"{place}.{key} is {_kind(present[key])}, not text")
    left_out.update(str(key) for key in present if key not in MESSAGE_KEYS)
    return {key: present[key] for key in MESSAGE_KEYS if key in present}


def _decoded(value: Any, key: str) -> Any:
    """CSV and parquet often hold the lists as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        reason = f"`{key}` is text, and not JSON"
        raise MalformedRow(reason, f"{reason}: {_shown(value)}") from None


def _kind(value: Any) -> str:
    names = {"NoneType": "null", "dict": "an object", "list": "a list", "str": "text", "bool": "a boolean"}
    return names.get(type(value).__name__, "a number" if isinstance(value, int | float) else type(value).__name__)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _listed(row: Mapping[str, Any]) -> str:
    return ", ".join(sorted(str(key) for key in row)[:12]) or "none"
