"""The forms of training data that other programs read, made from pairs.

| form | a row |
|---|---|
| `chat` | `messages`, and `tools` where it calls any |
| `sharegpt` | `conversations` of `from` and `value`, also `function_call` and `observation`; `tools` is JSON |
| `alpaca` | `instruction`, `input`, `output`, with `system` and `history` where there are any |
| `preference` | `prompt`, `chosen` and `rejected`, each a list of messages |
| `text` | `text` |
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

from compressor_cli.core.chatrows import MalformedRow, chat_row
from compressor_cli.core.jsonl import content_key, parse_row, read_lines
from compressor_cli.errors import UsageError
from compressor_cli.records import Pair

Tools = Literal["openai", "hf"]
Row = dict[str, Any]


def read_pairs(path: Path, left_out: Counter[str], *, rejected: bool = False) -> Iterator[Pair]:
    """Raises UsageError, with the line, for a row without messages, or with malformed ones.

    Left out, and counted by why: what `scc seed generate` got no answer for, and what it rejected, unless `rejected`
    ones are wanted; then those that hold no answer.
    """
    for number, line in read_lines(path):
        try:
            row = parse_row(line)
            if "error" in row:
                left_out["failed when they were made"] += 1
                continue
            if row.get("status") == "rejected" and not (rejected and row.get("messages")):
                left_out["rejected when they were made"] += 1
                continue
            parts = chat_row(row)
            if parts.left_out:
                raise MalformedRow(f"messages have no place for {', '.join(sorted(parts.left_out))}")
        except ValueError as exc:
            raise UsageError(f"{path}, line {number}: {exc}") from None
        yield Pair(parts.chat["messages"], parts.chat.get("tools"), parts.rest)


def read_texts(path: Path) -> Iterator[Row]:
    """Rows of a corpus; raises UsageError, with the line, for one without text."""
    for number, line in read_lines(path):
        try:
            row = parse_row(line)
            if not isinstance(row.get("text"), str) or not row["text"].strip():
                raise ValueError("no `text`")
        except ValueError as exc:
            raise UsageError(f"{path}, line {number}: {exc}") from None
        yield row


def chat(pair: Pair, tools: Tools | None) -> Row:
    """`tools` says whether the arguments of calls are JSON text (OpenAI) or objects (templates of Hugging Face)."""
    messages = [_with_arguments(message, tools) if tools else dict(message) for message in pair.messages]
    return {"messages": messages} | ({"tools": list(pair.tools)} if pair.tools else {})


def sharegpt(pair: Pair) -> Row:
    turns: list[dict[str, str]] = []
    results: list[str] = []
    names = {"system": "system", "developer": "system", "user": "human", "assistant": "gpt"}
    for message in [*pair.messages, None]:
        if message is not None and message["role"] == "tool":
            results.append(message["content"])
            continue
        if results:
            value = results[0] if len(results) == 1 else json.dumps(results, ensure_ascii=False)
            turns.append({"from": "observation", "value": value})
            results = []
        if message is None:
            break
        if not message.get("tool_calls"):
            turns.append({"from": names[message["role"]], "value": message["content"]})
            continue
        if message["content"]:
            raise MalformedRow("sharegpt has no place for text beside a tool call")
        calls = [_call(call) for call in message["tool_calls"]]
        value = json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)
        turns.append({"from": "function_call", "value": value})
    tools = {"tools": json.dumps(pair.tools, ensure_ascii=False)} if pair.tools else {}
    return {"conversations": turns, **tools}


def alpaca(pair: Pair) -> Row:
    rest = list(pair.messages)
    system = rest.pop(0)["content"] if rest and rest[0]["role"] in ("system", "developer") else ""
    roles = [message["role"] for message in rest]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        raise MalformedRow("alpaca has a place for questions and answers in turn, and this row has others")
    if pair.tools or any(message.get("tool_calls") for message in rest):
        raise MalformedRow("alpaca has no place for tools")
    said = [message["content"] for message in rest]
    history = [list(turn) for turn in zip(said[:-2:2], said[1:-2:2], strict=True)]
    row: Row = {"instruction": said[-2], "input": "", "output": said[-1]}
    return row | ({"system": system} if system else {}) | ({"history": history} if history else {})


def preferences(accepted: Iterable[Pair], rejected: Iterable[Pair]) -> tuple[list[tuple[Row, Pair]], dict[str, int]]:
    """A row for each rejected answer to the prompt of an accepted one, with the accepted pair; and what had no partner.

    The same prompt is the same original, or, where that is not told, the same messages up to the answer.
    """
    by_prompt: dict[str, list[Pair]] = {}
    for pair in accepted:
        by_prompt.setdefault(_prompt_key(pair), []).append(pair)
    turns = {key: cycle(sorted(pairs, key=_order)) for key, pairs in by_prompt.items()}
    rows: list[tuple[Row, Pair]] = []
    used: set[int] = set()
    left_out = {"rejected without an accepted answer": 0, "rejected equal to the accepted answer": 0}
    for bad in sorted(rejected, key=_order):
        key = _prompt_key(bad)
        if key not in turns:
            left_out["rejected without an accepted answer"] += 1
            continue
        good = next(turns[key])
        chosen, worse = (chat(pair, None)["messages"][-1:] for pair in (good, bad))
        if chosen == worse:
            left_out["rejected equal to the accepted answer"] += 1
            continue
        used.add(id(good))
        meta = {**good.meta, "rejected": dict(bad.meta)}
        row = {"prompt": chat(good, None)["messages"][:-1], "chosen": chosen, "rejected": worse}
        rows.append((row, Pair(good.messages, None, meta)))
    left_out["accepted without a rejected answer"] = sum(map(len, by_prompt.values())) - len(used)
    return rows, {reason: count for reason, count in left_out.items() if count}


def prompt_of(messages: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """What comes before the last answer; raises MalformedRow where the last message is none."""
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise MalformedRow("the last message is no answer")
    return messages[:-1]


def _prompt_key(pair: Pair) -> str:
    prompt = prompt_of(pair.messages)
    return content_key(pair.meta.get("original") or list(prompt))


def _order(pair: Pair) -> str:
    return content_key(pair.as_row())


def _with_arguments(message: Mapping[str, Any], tools: Tools) -> Row:
    calls = message.get("tool_calls")
    if not calls:
        return dict(message)
    changed = []
    for call in calls:
        function = {**call.get("function", {}), "arguments": _call(call)["arguments"]}
        if tools == "openai":
            function["arguments"] = json.dumps(function["arguments"], ensure_ascii=False)
        changed.append({**call, "function": function})
    return {**message, "tool_calls": changed}


def _call(call: Mapping[str, Any]) -> Row:
    function = call.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise MalformedRow("a tool call without the name of a function")
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            raise MalformedRow("the arguments of a tool call are not JSON") from None
    if not isinstance(arguments, Mapping):
        raise MalformedRow("the arguments of a tool call are no object")
    return {"name": function["name"], "arguments": dict(arguments)}
