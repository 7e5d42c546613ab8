"""The messages of a chat: which texts they hold, which of them may be compressed, and how the JSON is written again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from compressor_cli.engines.chat_budget import Count, Form
from compressor_cli.engines.exactjson import DuplicateKeysError, Tree, dump, free_mark, parser, without_bom
from compressor_cli.errors import UsageError

_TEXT_BLOCKS = ("text", "input_text", "output_text")
_SPACE = re.compile(r"[ \t\r\n\ufeff]*")


@dataclass(frozen=True)
class Kept:
    """What stays verbatim besides system messages: turns at both ends, and messages that hold `prefix` tokens."""

    first: int = 0
    last: int = 0
    prefix: int = 0

    @property
    def flags(self) -> str:
        given = ("--keep-first", self.first), ("--keep-last", self.last), ("--stable-prefix", self.prefix)
        return " and ".join(f"{flag} {n}" for flag, n in given if n)


@dataclass(frozen=True)
class Place:
    """`text` stands in `holder[key]`, and is the JSON's string of that `number`; `age` in turns, 0 for the newest that
    may be compressed."""

    holder: dict[str, Tree]
    key: str
    path: str
    text: str
    number: int = 0
    age: int = 0


@dataclass(frozen=True)
class Chat:
    """The JSON with the texts of `places` taken out: they stand between `pieces`. `contents` are all that there are."""

    messages: int
    contents: list[Place]
    places: list[Place]
    pieces: list[str]
    mark: str

    def render(self, forms: Sequence[Form]) -> str:
        return "".join([self.pieces[0], *(f.json + piece for f, piece in zip(forms, self.pieces[1:], strict=True))])


def is_chat(text: str) -> bool:
    """Whether it is {"messages": [...]} with a role in each; the JSON of a list may be anything."""
    if '"messages"' not in text or '"role"' not in text:
        return False
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return False
    messages = tree.get("messages") if isinstance(tree, dict) else None
    return isinstance(messages, list) and all(isinstance(each, dict) and "role" in each for each in messages)


def read_chat(text: str, kept: Kept, count: Count) -> Chat:
    mark = free_mark(text)
    if mark is None:
        raise UsageError("the chat uses all the characters for private use that are needed to mark its numbers")
    try:
        tree = parser(mark)(without_bom(text))
        messages, where = _messages(tree, mark)
        numbers = _numbered(tree, mark)
        spoken = [_Spoken(s.turn, [replace(p, number=numbers[id(p.holder), p.key]) for p in s.places])
                  for s in _spoken(messages, where, mark)]  # fmt: skip
        covered = _covered(spoken, kept.prefix, count)
        places = list(_places(spoken, covered, kept))
        for place in places:
            place.holder[place.key] = mark + mark  # written out as the mark alone, without quotes
        pieces = dump(tree, mark).split(mark)
    except DuplicateKeysError as exc:
        raise UsageError(f"the chat is ambiguous: {exc}") from None
    except RecursionError:
        raise UsageError("the chat is nested too deeply") from None
    except ValueError as exc:
        raise UsageError(f"the chat is no JSON: {exc}") from None
    pieces[-1] += "\n" if text.endswith("\n") else ""
    if covered:
        at, behind = message_end(text, where, covered), message_end(pieces[0], where, covered)
        pieces[0] = text[:at] + pieces[0][behind:]
    contents = [place for one in spoken for place in one.places]
    return Chat(len(messages), contents, places, pieces, mark)


def _numbered(tree: Tree, mark: str) -> dict[tuple[int, str | int], int]:
    """By holder and key: how many strings, keys among them, stand before this one in the JSON."""
    numbers: dict[tuple[int, str | int], int] = {}
    number = 0
    waiting: list[tuple[Tree, str | int, Tree]] = [((), 0, tree)]
    while waiting:
        holder, key, value = waiting.pop()
        number += isinstance(key, str)
        if isinstance(value, dict):
            waiting += [(value, name, part) for name, part in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [(value, n, value[n]) for n in reversed(range(len(value)))]
        elif _is_text(value, mark):
            numbers[id(holder), key] = number
            number += 1
    return numbers


def _messages(tree: Tree, mark: str) -> tuple[list[Tree], str]:
    """The messages and the key they stand under; `input` is that of OpenAI's Responses."""
    hint = 'a list of messages is needed, or {"messages": [...]}'
    found, where = tree, ""
    if isinstance(tree, dict):
        where = "input" if "messages" not in tree and isinstance(tree.get("input"), list) else "messages"
        if where not in tree:
            raise UsageError("the chat has no messages", hint=hint)
        found = tree[where]
    if not isinstance(found, list):
        raise UsageError(
            f"{where or 'the chat'}: a list of messages is needed, this is {_kind(found, mark)}", hint=hint
        )
    if not found:
        raise UsageError("the chat has no messages", hint=hint)
    return found, where


@dataclass(frozen=True)
class _Spoken:
    """The texts of one message; `turn` is None for those of the system."""

    turn: int | None
    places: list[Place]


def _places(spoken: Sequence[_Spoken], covered: int, kept: Kept) -> Iterator[Place]:
    """The texts that may be compressed, in the order of the JSON."""
    turns = [one.turn for one in spoken if one.turn is not None]
    newest = max(turns, default=0) - kept.last
    for one in spoken[covered:]:
        if one.turn is not None and (not kept.first or kept.first < one.turn) and one.turn <= newest:
            for place in sorted(one.places, key=lambda place: place.number):
                yield replace(place, age=newest - one.turn)


def _covered(spoken: Sequence[_Spoken], prefix: int, count: Count) -> int:
    """How many messages hold the first `prefix` tokens. Calls, which a provider counts, are not: then more stays."""
    tokens = 0
    for n, one in enumerate(spoken):
        if tokens >= prefix:
            return n
        tokens += sum(count(place.text) for place in one.places)
    return len(spoken) if prefix else 0


def _spoken(messages: Sequence[Tree], where: str, mark: str) -> Iterator[_Spoken]:
    """All messages are checked, those that stay too."""
    turn = 0
    previous = ""
    for n, message in enumerate(messages):
        path = f"{where}[{n}]"
        who = _who(message, path, mark, typed=where != "messages")
        here = [place for place in _in_message(message, path, mark) if place.text.strip()]
        if who == "system":
            yield _Spoken(None, here)
            continue
        if who == "user" or (who == "model" and previous == "tools"):
            turn += 1
        previous = who
        yield _Spoken(turn, here)


def _who(message: Tree, path: str, mark: str, *, typed: bool) -> str:
    """Who speaks: system, user, model or tools. `typed`: an item of another type than `message` needs no role."""
    if not isinstance(message, dict):
        raise UsageError(f"{path}: a message is an object, this is {_kind(message, mark)}")
    role, kind = message.get("role"), message.get("type")
    if typed and role is None and _is_text(kind, mark) and kind != "message":
        return "tools" if kind.endswith("_call_output") else "model"
    if not _is_text(role, mark) or not role:
        raise UsageError(f"{path}.role: a message needs one, this is {_kind(role, mark)}")
    content = message.get("content")
    if role in ("system", "developer"):
        return "system"
    if role in ("tool", "function") or (role == "user" and _is_results(content)):
        return "tools"
    return "model" if role in ("assistant", "model") else "user"


def _is_results(content: Tree) -> bool:
    """Anthropic's tool results come in messages of the user."""
    if not isinstance(content, list):
        return False
    return bool(content) and all(isinstance(part, dict) and part.get("type") == "tool_result" for part in content)


def _in_message(message: dict[str, Tree], path: str, mark: str) -> Iterator[Place]:
    if not _is_cited(message):
        yield from _in_content(message, "content", f"{path}.content", mark)
    if isinstance(message.get("output"), str | list):  # of an item such as function_call_output
        yield from _in_content(message, "output", f"{path}.output", mark)


def _in_content(holder: dict[str, Tree], key: str, path: str, mark: str) -> Iterator[Place]:
    value = holder.get(key)
    if _is_text(value, mark):
        yield Place(holder, key, path, value)
    elif isinstance(value, list):
        for n, block in enumerate(value):
            yield from _in_block(block, f"{path}[{n}]", mark)
    elif value is not None:
        raise UsageError(f"{path}: text, a list of blocks or null is needed, this is {_kind(value, mark)}")


def _in_block(block: Tree, path: str, mark: str) -> Iterator[Place]:
    """Thinking is signed, calls are acts, images are data, and what is unknown may be any of these: all of it stays."""
    if not isinstance(block, dict):
        raise UsageError(f"{path}: a block is an object, this is {_kind(block, mark)}")
    kind, source = block.get("type"), block.get("source")
    if kind in _TEXT_BLOCKS:
        text = block.get("text")
        if not _is_text(text, mark):
            raise UsageError(f"{path}.text: text is needed, this is {_kind(text, mark)}")
        if not _is_cited(block):
            yield Place(block, "text", f"{path}.text", text)
    elif kind == "tool_result":
        yield from _in_content(block, "content", f"{path}.content", mark)
    elif kind == "document" and isinstance(source, dict) and not _is_cited(block):
        data = source.get("data")
        if source.get("type") == "text" and _is_text(data, mark):
            yield Place(source, "data", f"{path}.source.data", data)


def _is_cited(block: dict[str, Tree]) -> bool:
    """Offsets point into its text, or will: citations, annotations."""
    return bool(block.get("annotations")) or block.get("citations") not in (None, [], {}, {"enabled": False})


def _is_text(value: Tree, mark: str) -> TypeGuard[str]:
    return isinstance(value, str) and not value.startswith(mark)


def _kind(value: Tree, mark: str) -> str:
    if isinstance(value, str):
        return ("text" if value else "empty") if _is_text(value, mark) else "a number"
    return {type(None): "missing", dict: "an object", list: "a list", bool: "a boolean"}[type(value)]


def message_end(text: str, key: str, number: int) -> int:
    """Where the message of that number, from 1, ends in a JSON that holds the list under `key`, or is the list."""
    decode = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode  # a number may have any length
    at = _next(text, 0) + 1
    name = None
    while key and name != key:
        name, at = decode(text, _next(text, at))
        at = _next(text, _next(text, at) + 1)
        if name != key:
            _, at = decode(text, at)
        at = _next(text, at) + 1
    for n in range(number):
        _, at = decode(text, _next(text, at + (n > 0)))
        end, at = at, _next(text, at)
    return end


def _next(text: str, at: int) -> int:
    """The next character that is no white space."""
    found = _SPACE.match(text, at)
    return found.end() if found else at
