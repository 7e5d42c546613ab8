"""Conversations as teachers write them: valid tool calls pass, and whatever else comes is a reason, never a crash."""

from __future__ import annotations

import json
import socket
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor_cli.core.recipes import Plan, Shape, load_plan
from compressor_cli.core.seeds import SourceRow
from compressor_cli.core.toolcalls import SCHEMA, Unfit, check_shape, read_conversation
from compressor_cli.engines.acceptance import Judge

Json = dict[str, Any]
PARAMETERS: Json = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "lines": {"type": "integer", "minimum": 1}},
    "required": ["path"],
    "additionalProperties": False,
}


def said(role: str, content: str = "", calls: tuple[Json, ...] = (), answers: str = "") -> Json:
    return {"role": role, "content": content, "tool_calls": list(calls), "tool_call_id": answers}


def call(number: int, **arguments: Any) -> Json:
    return {"id": f"c{number}", "name": "read_file", "arguments": json.dumps(arguments or {"path": "a.py"})}


def conversation() -> Json:
    return {
        "tools": [{"name": "read_file", "description": "Reads a file.", "parameters": json.dumps(PARAMETERS)}],
        "messages": [
            said("system", "You help."),
            said("user", "What is in a.py and b.py?"),
            said("assistant", "", (call(1, path="a.py"), call(2, path="b.py", lines=3))),
            said("tool", "x = 1", answers="c1"),
            said("tool", "", answers="c2"),
            said("assistant", "a.py sets x; b.py is empty."),
        ],
    }


def unfit(chat: Json) -> str:
    with pytest.raises(Unfit) as caught:
        read_conversation(chat)
    return f"{caught.value.reason}: {caught.value}"


def test_calls_become_objects() -> None:
    row = read_conversation(conversation())
    assert row["messages"][2]["tool_calls"][1] == {
        "id": "c2", "type": "function", "function": {"name": "read_file", "arguments": {"path": "b.py", "lines": 3}}
    }  # fmt: skip
    assert row["messages"][3] == {"role": "tool", "content": "x = 1", "tool_call_id": "c1"}
    assert row["messages"][5].keys() == {"role", "content"}
    assert row["tools"][0]["function"]["parameters"] == PARAMETERS
    plain = read_conversation({"tools": [], "messages": [said("user", "Hm?"), said("assistant", "Yes.")]})
    assert plain.keys() == {"messages"}


def test_the_schema_is_one_that_strict_output_takes() -> None:
    def objects(schema: Json) -> list[Json]:
        below = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
        return ([schema] if schema["type"] == "object" else []) + [one for part in below for one in objects(part)]

    for one in objects(SCHEMA):
        assert one["additionalProperties"] is False and one["required"] == list(one["properties"])


MESSAGES = "messages"


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (["tools"], None, "schema: tools is no list"),
        (["messages"], "x", "schema: messages is no list"),
        (["messages"], [], "turns: the last message"),
        (["tools", 0], 5, "schema: tools[0]"),
        (["tools", 0, "name"], ["a"], "schema: tools[0]"),
        (["tools", 0, "name"], "read file", "tools: tools[0]: 'read file' is no name"),
        (["tools", 0, "parameters"], "{", "schema: tools[0].parameters: not JSON"),
        (["tools", 0, "parameters"], "[]", "schema: tools[0].parameters: a JSON object"),
        (["tools", 0, "parameters"], '{"type": "string"}', "tools: tools[0].parameters: a schema of type object"),
        (
            ["tools", 0, "parameters"],
            '{"type": "object", "required": 3}',
            "tools: tools[0].parameters: 3 is not of type",
        ),
        (["tools", 0, "parameters"], '{"type": "object", "patternProperties": {"(a+)+$": {}}}', "tools: "),
        (["tools", 0, "parameters"], '{"type": "object", "$ref": "#"}', "tools: "),
        (["tools", 0, "parameters"], '{"type": "object", "$ref": "http://127.0.0.1:9/x"}', "tools: "),
        (["messages", 1, "role"], "human", "schema: messages[1]: a known role"),
        (["messages", 1, "content"], 5, "schema: messages[1]: content"),
        (["messages", 1, "content"], " ", "turns: messages[1] is empty"),
        (["messages", 1, "tool_calls"], [call(9)], "calls: messages[1]: only an assistant"),
        (["messages", 1, "role"], "assistant", "turns: the user does not begin"),
        (["messages", 0, "role"], "user", "turns: one role speaks twice"),
        (["messages", 1, "role"], "system", "turns: a system message"),
        (["messages", 5, "role"], "user", "turns: the last message is not"),
        (["messages", 5, "tool_calls"], [call(9)], "turns: the last message still calls"),
        (["messages", 2, "tool_calls", 0, "id"], 1, "schema: messages[2].tool_calls[0]"),
        (["messages", 2, "tool_calls", 0, "id"], "c2", "calls: messages[2]: the id c2"),
        (["messages", 2, "tool_calls", 0, "name"], "write_file", "calls: messages[2] calls write_file"),
        (["messages", 2, "tool_calls", 0, "arguments"], '{"path": 1e999}', "schema: messages[2].tool_calls[0].arg"),
        (["messages", 2, "tool_calls", 0, "arguments"], '{"path": NaN}', "schema: messages[2].tool_calls[0].arg"),
        (["messages", 2, "tool_calls", 0, "arguments"], "[" * 100_000, "schema: messages[2].tool_calls[0].arg"),
        (["messages", 2, "tool_calls", 0, "arguments"], "{}", "arguments: messages[2] calls read_file"),
        (["messages", 2, "tool_calls", 1, "arguments"], '{"path": "b", "lines": 0}', "arguments: messages[2]"),
        (["messages", 2, "tool_calls", 1, "arguments"], '{"path": "b", "all": true}', "arguments: messages[2]"),
        (["messages", 3, "tool_call_id"], "c2", "calls: messages[3] answers no call"),
        (["messages", 4, "tool_call_id"], None, "schema: messages[4]: a tool_call_id"),
        (["messages", 4, "role"], "assistant", "turns: messages[4] is empty"),
    ],
)
def test_each_fault_has_its_reason(path: list[Any], value: Any, reason: str) -> None:
    chat = conversation()
    at: Any = chat
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    assert unfit(chat).startswith(reason)


def test_calls_without_an_answer() -> None:
    chat = conversation()
    del chat["messages"][4]
    assert unfit(chat).startswith("calls: messages[4]: calls before it")
    chat = conversation()
    chat["tools"] *= 2
    assert unfit(chat).startswith("tools: two tools")


def test_a_schema_of_a_model_fetches_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/schema.json"
        chat = conversation()
        chat["tools"][0]["parameters"] = json.dumps({"type": "object", "properties": {"path": {"$ref": address}}})
        assert unfit(chat).startswith("tools: messages[2]: the schema of read_file cannot be applied")
        with pytest.raises(TimeoutError):
            listening.accept()


def test_a_pattern_of_a_model_keeps_nobody_busy() -> None:
    def with_pattern(pattern: str, path: str) -> Json:
        chat = conversation()
        schema = {"type": "object", "properties": {"path": {"type": "string", "pattern": pattern}}}
        chat["tools"][0]["parameters"] = json.dumps(schema)
        chat["messages"][2]["tool_calls"][0]["arguments"] = json.dumps({"path": path})
        return chat

    assert read_conversation(with_pattern(r"^[a-z]+\.py$", "a.py"))
    started = time.perf_counter()
    assert unfit(with_pattern("(a+)+$", "a" * 60 + "!")).startswith("arguments: ")
    assert time.perf_counter() - started < 2
    assert unfit(with_pattern("(?<=a)b", "ab")).startswith("tools: the pattern")


@pytest.mark.parametrize(
    ("shape", "wrong"),
    [
        (Shape(min_calls=2, max_calls=2, min_parallel=2, min_users=1), ""),
        (Shape(min_calls=3), "2 tool calls, at least 3"),
        (Shape(max_calls=1), "2 tool calls, at most 1"),
        (Shape(min_parallel=3), "no message makes 3 calls"),
        (Shape(min_users=2), "1 messages of the user, at least 2"),
    ],
)
def test_shapes(shape: Shape, wrong: str) -> None:
    found = check_shape(read_conversation(conversation())["messages"], shape)
    assert (found[0] if found else "").startswith(wrong) and bool(found) == bool(wrong)


def test_a_short_conversation() -> None:
    said_once = [{"role": "user", "content": "Hm?"}]
    assert check_shape(said_once, Shape(), min_messages=2) == ["1 messages, at least 2 are needed"]


# --- the judge


@pytest.fixture(scope="module")
def skills() -> Plan:
    return load_plan("agentic-skills")


def judged(plan: Plan, text: str, job: str, stop: str = "end") -> Json:
    row = SourceRow(
        "1", "The bridge at Oakham was not finished until 1931, for want of money.", "prose", None, "a", 1, None
    )
    return Judge(plan)(job, row, text, stop).found


def test_a_conversation_is_judged(skills: Plan) -> None:
    chat = conversation()
    assert judged(skills, json.dumps(chat), "tool_use/parallel")["status"] == "accepted"
    wrong = judged(skills, json.dumps(chat), "tool_use/single")
    assert [reason["reason"] for reason in wrong["reasons"]] == ["shape"] and wrong["messages"]
    copied = deepcopy(chat)
    copied["messages"][0]["content"] = "You write one training conversation for a small language model that works."
    found = judged(skills, json.dumps(copied), "tool_use/parallel")
    assert [reason["reason"] for reason in found["reasons"]] == ["prompt"]
    for stop, reason in (("length", "cut"), ("refusal", "refused")):
        assert judged(skills, json.dumps(chat), "tool_use/parallel", stop)["reasons"][0]["reason"] == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "schema"),
        ("I can't help with that.", "refused"),
        ('{"compressed": 5}', "schema"),
        ("[1]", "schema"),
        ('{"compressed": "Bridge', "schema"),
        ("[" * 200_000, "schema"),
        ('{"compressed": ""}', "empty"),
    ],
)
def test_malformed_answers(text: str, reason: str) -> None:
    assert judged(load_plan("compression"), text, "prose")["reasons"][0]["reason"] == reason


def test_json_in_a_fence_is_read() -> None:
    answer = '```json\n{"compressed": "Oakham bridge not finished until 1931, want of money."}\n```'
    assert judged(load_plan("compression"), answer, "prose")["status"] == "accepted"


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["user", "tool", "{}", "c1", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "name", "id", "type", "arguments", "properties", "content"]), inner)
    ),
    max_leaves=6,
)


@given(st.data())
@settings(max_examples=150)
def test_no_answer_is_a_crash(data: st.DataObject) -> None:
    """Anything in any place of a valid conversation is a judgement that can be written as JSON."""
    chat = conversation()
    for _ in range(data.draw(st.integers(1, 3))):
        at: Any = chat
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if isinstance(at[key], dict | list) and data.draw(st.booleans()):
                at = at[key]
                continue
            at[key] = data.draw(values | values.map(json.dumps))
            break
    found = judged(PLAN, json.dumps(chat), "tool_use/parallel")
    assert found["status"] in ("accepted", "rejected") and (found["status"] == "accepted") == (not found["reasons"])
    json.dumps(found, allow_nan=False)


PLAN = load_plan(Path(__file__).parents[1] / "configs" / "recipes" / "agentic-skills.yaml")
COMPRESS = load_plan(Path(__file__).parents[1] / "configs" / "recipes" / "compression.yaml")


@given(st.text(), st.text())
@settings(max_examples=100)
def test_no_text_is_a_crash(original: str, compressed: str) -> None:
    row = SourceRow("1", original or "a", "prose", None, "a", 1, None)
    found = Judge(COMPRESS)("prose", row, json.dumps({"compressed": compressed + "\ud800"}), "end").found
    assert found["status"] in ("accepted", "rejected")
