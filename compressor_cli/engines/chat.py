"""The messages of a chat, OpenAI's or Anthropic's: long contents are compressed each by itself, all else stays.

A turn is one answer of the model: it begins with a message in which the user says something, or with the answer to tool
results, and has the tool calls of that answer and their results. So the run of an agent has many turns although its
user spoke once, and the last of them have the newest results, which the agent is about to look at.

A budget is shared out by size and age: the newest contents get up to twice the rate of the oldest. What one of them
cannot do without it takes from the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from compressor_cli.core.domains import detect_domain
from compressor_cli.engines.chat_budget import Content, Count, Form, filled_up, within
from compressor_cli.engines.exactjson import DuplicateKeysError, Tree, dump, free_mark, parser, without_bom
from compressor_cli.errors import BudgetTooSmallError, UsageError
from compressor_cli.records import Receipt

CompressText = Callable[[str, int | None], Receipt]

_HALF_LIFE = 8  # turns
_TEXT_BLOCKS = ("text", "input_text", "output_text")


@dataclass(frozen=True)
class ContentReceipt:
    """What became of one content; `path` is such as `messages[3].content[0].text`, `engine` none where it stayed."""

    path: str
    engine: str
    domain: str
    tokens_in: int
    tokens_out: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChatResult:
    """`text` is the JSON, minified; `compressed` contents got shorter. The long ones that did not have receipts too."""

    text: str
    messages: int
    compressed: int
    receipts: tuple[ContentReceipt, ...]
    warnings: tuple[str, ...]


def compress_chat(
    text: str, *, budget: int | None, keep_last: int, count: Count, compress_text: CompressText
) -> ChatResult:
    """`budget`, in tokens of the whole result, is hard. The last `keep_last` turns and system messages stay verbatim.

    `compress_text(content, most)` compresses one content, at its own rate where `most` is None. Raises UsageError for
    what is no chat, with the place, and BudgetTooSmallError.
    """
    if keep_last < 0:
        raise UsageError(f"--keep-last {keep_last}: at least 0 is needed")
    chat = _read(text, keep_last)
    before = count(text)
    if budget is not None and before <= budget:
        return ChatResult(text, chat.messages, 0, (), ("already within the budget",))
    newest = min((place.age for place in chat.places), default=0)
    contents = [_content(place, newest, chat, count, compress_text) for place in chat.places]
    forms = [content.whole for content in contents]
    if budget is None:
        forms = [content.by_default() for content in contents]
    elif count(chat.render(forms)) > budget:
        forms = filled_up(budget, chat.render, contents, within(budget, chat.render, contents, before, count), count)
    result = chat.render(forms)
    receipts = tuple(_receipt(a, b) for a, b in zip(contents, forms, strict=True) if not a.short or b is not a.whole)
    warnings = _warnings(receipts)
    if not any(not content.short for content in contents):
        warnings = (*warnings, f"no long content outside of system messages and the last turns ({keep_last})")
    if count(result) >= before:
        return ChatResult(text, chat.messages, 0, (), (*warnings, "nothing to gain: left as it is"))
    compressed = sum(form is not content.whole for content, form in zip(contents, forms, strict=True))
    return ChatResult(result, chat.messages, compressed, receipts, warnings)


def _receipt(content: Content, form: Form) -> ContentReceipt:
    made = form.receipt
    if made is None:
        return ContentReceipt(content.path, "none", content.domain, content.whole.tokens, content.whole.tokens)
    return ContentReceipt(content.path, made.engine, made.domain, content.whole.tokens, form.tokens, made.warnings)


def _warnings(receipts: Sequence[ContentReceipt]) -> tuple[str, ...]:
    """Each said once, with the place where it was said first; equal but for numbers counts as equal."""
    said: dict[str, list[str]] = {}
    for receipt in receipts:
        for warning in receipt.warnings:
            said.setdefault(re.sub(r"\d+", "0", warning), []).append(f"{receipt.path}: {warning}")
    return tuple(first + (f" (and {len(others)} more like it)" if others else "") for first, *others in said.values())


# --- reading and writing


@dataclass(frozen=True)
class _Place:
    """`text` stands in `holder[key]` and may be compressed; `age` in turns, 0 for the newest that may."""

    holder: dict[str, Tree]
    key: str
    path: str
    text: str
    age: int = 0


@dataclass(frozen=True)
class _Chat:
    """The JSON with the texts of `places` taken out: they stand between `pieces`."""

    messages: int
    places: list[_Place]
    pieces: list[str]
    mark: str

    def render(self, forms: Sequence[Form]) -> str:
        return "".join([self.pieces[0], *(f.json + piece for f, piece in zip(forms, self.pieces[1:], strict=True))])


def _read(text: str, keep_last: int) -> _Chat:
    mark = free_mark(text)
    if mark is None:
        raise UsageError("the chat uses all the characters for private use that are needed to mark its numbers")
    try:
        tree = parser(mark)(without_bom(text))
        messages, where = _messages(tree, mark)
        places = list(_places(messages, where, keep_last, mark))
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
    return _Chat(len(messages), places, pieces, mark)


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


def _places(messages: Sequence[Tree], where: str, keep_last: int, mark: str) -> Iterator[_Place]:
    """The texts that may be compressed. All messages are checked, those that stay too."""
    found: list[tuple[int, _Place]] = []
    turn = 0
    previous = ""
    for n, message in enumerate(messages):
        path = f"{where}[{n}]"
        who = _who(message, path, mark, typed=where != "messages")
        here = list(_in_message(message, path, mark))
        if who == "system":
            continue
        if who == "user" or (who == "model" and previous == "tools"):
            turn += 1
        previous = who
        found += [(turn, place) for place in here if place.text.strip()]
    newest = turn - keep_last
    for number, place in found:
        if number <= newest:
            yield replace(place, age=newest - number)


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


def _in_message(message: dict[str, Tree], path: str, mark: str) -> Iterator[_Place]:
    if not _is_cited(message):
        yield from _in_content(message, "content", f"{path}.content", mark)
    if isinstance(message.get("output"), str | list):  # of an item such as function_call_output
        yield from _in_content(message, "output", f"{path}.output", mark)


def _in_content(holder: dict[str, Tree], key: str, path: str, mark: str) -> Iterator[_Place]:
    value = holder.get(key)
    if _is_text(value, mark):
        yield _Place(holder, key, path, value)
    elif isinstance(value, list):
        for n, block in enumerate(value):
            yield from _in_block(block, f"{path}[{n}]", mark)
    elif value is not None:
        raise UsageError(f"{path}: text, a list of blocks or null is needed, this is {_kind(value, mark)}")


def _in_block(block: Tree, path: str, mark: str) -> Iterator[_Place]:
    """Thinking is signed, calls are acts, images are data, and what is unknown may be any of these: all of it stays."""
    if not isinstance(block, dict):
        raise UsageError(f"{path}: a block is an object, this is {_kind(block, mark)}")
    kind, source = block.get("type"), block.get("source")
    if kind in _TEXT_BLOCKS:
        text = block.get("text")
        if not _is_text(text, mark):
            raise UsageError(f"{path}.text: text is needed, this is {_kind(text, mark)}")
        if not _is_cited(block):
            yield _Place(block, "text", f"{path}.text", text)
    elif kind == "tool_result":
        yield from _in_content(block, "content", f"{path}.content", mark)
    elif kind == "document" and isinstance(source, dict) and not _is_cited(block):
        data = source.get("data")
        if source.get("type") == "text" and _is_text(data, mark):
            yield _Place(source, "data", f"{path}.source.data", data)


def _is_cited(block: dict[str, Tree]) -> bool:
    """Offsets point into its text, or will: citations, annotations."""
    return bool(block.get("annotations")) or block.get("citations") not in (None, [], {}, {"enabled": False})


def _is_text(value: Tree, mark: str) -> TypeGuard[str]:
    return isinstance(value, str) and not value.startswith(mark)


def _kind(value: Tree, mark: str) -> str:
    if isinstance(value, str):
        return ("text" if value else "empty") if _is_text(value, mark) else "a number"
    return {type(None): "missing", dict: "an object", list: "a list", bool: "a boolean"}[type(value)]


def _content(place: _Place, newest: int, chat: _Chat, count: Count, compress_text: CompressText) -> Content:
    def form(text: str, most: float, receipt: Receipt | None) -> Form:
        json = dump(text, chat.mark)
        return Form(json, count(text), max(count(json) - 1, 1), most, receipt)

    def ask(most: int | None) -> Form | int:
        try:
            receipt = compress_text(place.text, most)
        except BudgetTooSmallError as exc:
            return exc.tokens_needed
        return form(receipt.compressed, most or 0, receipt)

    whole = form(place.text, 0, None)
    weight = 0.5 + 0.5 ** (1 + (place.age - newest) / _HALF_LIFE)
    ratio = whole.cost / max(whole.tokens, 1)
    return Content(place.path, detect_domain(place.text).name, weight, whole, ask, ratio=ratio)
