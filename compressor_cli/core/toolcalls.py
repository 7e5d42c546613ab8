"""A conversation as a teacher writes it, and as a chat row: tool calls checked against the schemas of their tools.

Teachers give schemas and arguments as JSON text, because structured output admits no free objects. A chat row holds
them as objects, the form that templates of Hugging Face models read; `core.exports` writes OpenAI's.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from pydantic_core import SchemaError, SchemaValidator

from compressor_cli.core.jsonl import parse_row
from compressor_cli.core.recipes import Shape
from compressor_cli.errors import MissingExtraError

_TEXT = {"type": "string"}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # of a tool: what providers admit


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_CALL = _object(id=_TEXT, name=_TEXT, arguments=_TEXT)
SCHEMA = _object(
    tools={"type": "array", "items": _object(name=_TEXT, description=_TEXT, parameters=_TEXT)},
    messages={
        "type": "array",
        "items": _object(
            role={"type": "string", "enum": ["system", "user", "assistant", "tool"]},
            content=_TEXT,
            tool_calls={"type": "array", "items": _CALL},
            tool_call_id=_TEXT,
        ),
    },
)


class Unfit(ValueError):
    """`reason` to count by; the message says where."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def read_conversation(answer: Mapping[str, Any]) -> dict[str, Any]:
    """`messages`, and `tools` where there are any. Raises Unfit for what is no well-formed conversation."""
    tools = [_tool(n, tool) for n, tool in enumerate(_list(answer, "tools"))]
    messages = [_message(n, message) for n, message in enumerate(_list(answer, "messages"))]
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    if len(schemas) < len(tools):
        raise Unfit("tools", "two tools have the same name")
    _check_turns(messages)
    _check_calls(messages, schemas)
    return {"messages": messages, **({"tools": tools} if tools else {})}


def check_shape(messages: Sequence[Mapping[str, Any]], shape: Shape, *, min_messages: int = 0) -> list[str]:
    """What the conversation has too few or too many of."""
    batches = [len(message.get("tool_calls", ())) for message in messages]
    users = sum(message["role"] == "user" for message in messages)
    found = []
    if len(messages) < min_messages:
        found.append(f"{len(messages)} messages, at least {min_messages} are needed")
    if sum(batches) < shape.min_calls:
        found.append(f"{sum(batches)} tool calls, at least {shape.min_calls} are needed")
    if shape.max_calls is not None and sum(batches) > shape.max_calls:
        found.append(f"{sum(batches)} tool calls, at most {shape.max_calls} were asked for")
    if max(batches, default=0) < shape.min_parallel:
        found.append(f"no message makes {shape.min_parallel} calls at once")
    if users < shape.min_users:
        found.append(f"{users} messages of the user, at least {shape.min_users} are needed")
    return found


def _list(answer: Mapping[str, Any], key: str) -> list[Any]:
    value = answer.get(key)
    if not isinstance(value, list):
        raise Unfit("schema", f"{key} is no list")
    return value


def _tool(n: int, tool: Any) -> dict[str, Any]:
    place = f"tools[{n}]"
    if not isinstance(tool, dict) or not all(isinstance(tool.get(key), str) for key in ("name", "description")):
        raise Unfit("schema", f"{place}: name and description are needed")
    if not _NAME.fullmatch(tool["name"]):
        raise Unfit("tools", f"{place}: {tool['name'][:80]!r} is no name of a tool")
    parameters = _json_object(tool.get("parameters"), f"{place}.parameters")
    if parameters.get("type") != "object":
        raise Unfit("tools", f"{place}.parameters: a schema of type object is needed")
    if '"patternProperties"' in json.dumps(parameters):
        raise Unfit("tools", f"{place}.parameters: patternProperties are not supported")
    try:
        _validator().check_schema(parameters)
    except _jsonschema().SchemaError as exc:
        raise Unfit("tools", f"{place}.parameters: {exc.message[:200]}") from None
    except RecursionError:
        raise Unfit("tools", f"{place}.parameters: nested too deeply") from None
    function = {"name": tool["name"], "description": tool["description"], "parameters": parameters}
    return {"type": "function", "function": function}


def _message(n: int, message: Any) -> dict[str, Any]:
    place = f"messages[{n}]"
    if not isinstance(message, dict) or message.get("role") not in ("system", "user", "assistant", "tool"):
        raise Unfit("schema", f"{place}: a known role is needed")
    role, content, calls = message["role"], message.get("content") or "", message.get("tool_calls") or []
    if not isinstance(content, str) or not isinstance(calls, list):
        raise Unfit("schema", f"{place}: content is text, and tool_calls a list")
    if calls and role != "assistant":
        raise Unfit("calls", f"{place}: only an assistant calls tools")
    if not content.strip() and not calls and role != "tool":
        raise Unfit("turns", f"{place} is empty")
    row: dict[str, Any] = {"role": role, "content": content}
    if calls:
        row["tool_calls"] = [_call(f"{place}.tool_calls[{k}]", call) for k, call in enumerate(calls)]
    if role == "tool":
        if not isinstance(message.get("tool_call_id"), str):
            raise Unfit("schema", f"{place}: a tool_call_id is needed")
        row["tool_call_id"] = message["tool_call_id"]
    return row


def _call(place: str, call: Any) -> dict[str, Any]:
    if not isinstance(call, dict) or not all(call.get(key) and isinstance(call[key], str) for key in ("id", "name")):
        raise Unfit("schema", f"{place}: id and name are needed")
    arguments = _json_object(call.get("arguments"), f"{place}.arguments")
    return {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": arguments}}


def _json_object(text: Any, place: str) -> dict[str, Any]:
    try:
        return parse_row((text if isinstance(text, str) else json.dumps(text)).encode())
    except (ValueError, RecursionError) as exc:
        raise Unfit("schema", f"{place}: {exc}") from None


def _check_turns(messages: Sequence[Mapping[str, Any]]) -> None:
    roles = [message["role"] for message in messages]
    if not roles or roles[-1] != "assistant":
        raise Unfit("turns", "the last message is not the assistant's")
    if messages[-1].get("tool_calls"):
        raise Unfit("turns", "the last message still calls tools")
    spoken = roles[1:] if roles[0] == "system" else roles
    if "system" in spoken:
        raise Unfit("turns", "a system message stands behind others")
    if spoken[0] != "user":
        raise Unfit("turns", "the user does not begin")
    if any(first == second != "tool" for first, second in pairwise(spoken)):
        raise Unfit("turns", "one role speaks twice in a row")


def _check_calls(messages: Sequence[Mapping[str, Any]], schemas: Mapping[str, Any]) -> None:
    """Every call is valid, and answered at once, in order."""
    waiting: list[str] = []
    seen: Counter[str] = Counter()
    for n, message in enumerate(messages):
        if message["role"] == "tool":
            if not waiting or message["tool_call_id"] != waiting.pop(0):
                raise Unfit("calls", f"messages[{n}] answers no call that is open, or not in order")
            continue
        if waiting:
            raise Unfit("calls", f"messages[{n}]: calls before it have no answer")
        for call in message.get("tool_calls", ()):
            _check_call(f"messages[{n}]", call, schemas)
            seen[call["id"]] += 1
            if seen[call["id"]] > 1:
                raise Unfit("calls", f"messages[{n}]: the id {call['id']} stands twice")
            waiting.append(call["id"])


def _check_call(place: str, call: Mapping[str, Any], schemas: Mapping[str, Any]) -> None:
    name, arguments = call["function"]["name"], call["function"]["arguments"]
    if name not in schemas:
        raise Unfit("calls", f"{place} calls {name[:80]}, which is no tool")
    import referencing.exceptions

    try:
        # An empty registry: a schema that a model wrote must not have anything fetched.
        validator = _validator()(schemas[name], registry=referencing.Registry())
        wrong = next(validator.iter_errors(arguments), None)
    except (referencing.exceptions.Unresolvable, RecursionError) as exc:
        raise Unfit("tools", f"{place}: the schema of {name} cannot be applied: {str(exc)[:200]}") from None
    if wrong is not None:
        raise Unfit("arguments", f"{place} calls {name} with wrong arguments: {wrong.message[:200]}")


@lru_cache(maxsize=1)
def _validator() -> Any:
    jsonschema = _jsonschema()
    return jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": _pattern})


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    """By an engine of linear time: one that a model wrote could keep Python's busy for ever."""
    if not isinstance(instance, str):
        return
    try:
        matches = SchemaValidator({"type": "str", "pattern": pattern, "regex_engine": "rust-regex"})
    except SchemaError:
        raise Unfit("tools", f"the pattern {pattern[:80]!r} is not supported") from None
    if not matches.isinstance_python(instance):
        yield _jsonschema().ValidationError(f"{instance[:80]!r} does not match {pattern[:80]!r}")


def need_jsonschema() -> None:
    """Raises MissingExtraError, before anything is paid for."""
    _jsonschema()


def _jsonschema() -> Any:
    try:
        import jsonschema
    except ModuleNotFoundError:
        raise MissingExtraError("jsonschema", "providers") from None
    return jsonschema
