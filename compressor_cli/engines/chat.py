"""The messages of a chat, OpenAI's or Anthropic's: long contents are compressed each by itself, all else stays.

A turn is one answer of the model: it begins with a message in which the user says something, or with the answer to tool
results, and has the tool calls of that answer and their results. So the run of an agent has many turns although its
user spoke once, and the last of them have the newest results, which the agent is about to look at.

A budget is shared out by size and age: the newest contents get up to twice the rate of the oldest. What one of them
cannot do without it takes from the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from compressor_cli.core.domains import detect_domain
from compressor_cli.core.facts import check_facts
from compressor_cli.engines.chat_budget import SHORT, Content, Count, Form, filled_up, within
from compressor_cli.engines.chat_facts import placed
from compressor_cli.engines.chat_read import Chat, Kept, Place, read_chat
from compressor_cli.engines.exactjson import dump
from compressor_cli.errors import BudgetTooSmallError
from compressor_cli.records import FactStatus, Receipt

CompressText = Callable[[str, int | None], Receipt]

_HALF_LIFE = 8  # turns


@dataclass(frozen=True)
class ContentReceipt:
    """What became of one content; `path` is such as `messages[3].content[0].text`, `engine` none where it stayed."""

    path: str
    engine: str
    domain: str
    tokens_in: int
    tokens_out: int
    why: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChatResult:
    """`text` is the JSON, minified; `compressed` contents got shorter. The long ones that did not have receipts too.

    `facts` are those of all contents, at their places in the JSON that was given; `contents` are their texts.
    """

    text: str
    messages: int
    compressed: int
    receipts: tuple[ContentReceipt, ...]
    warnings: tuple[str, ...]
    contents: tuple[str, ...] = ()
    facts: tuple[FactStatus, ...] = ()


def compress_chat(
    text: str,
    *,
    budget: int | None,
    kept: Kept,
    count: Count,
    compress_text: CompressText,
    ahead: Callable[[Sequence[str]], None] = lambda contents: None,
    patterns: Sequence[re.Pattern[str]] = (),
) -> ChatResult:
    """`budget`, in tokens of the whole result, is hard.

    `compress_text(content, most)` compresses one content, at its own rate where `most` is None; before, `ahead` gets
    the long ones. `patterns` are facts too. Raises UsageError for what is no chat, with the place, and
    BudgetTooSmallError.
    """
    chat = read_chat(text, kept, count)
    if budget is None or count(text) > budget:
        ahead([place.text for place in chat.places if count(place.text) >= SHORT])
    result, made = _compressed(text, chat, budget, kept, count, compress_text)
    facts = [
        (place.number, made[place.path].facts if place.path in made else _untouched(place.text, patterns))
        for place in chat.contents
    ]
    return replace(
        result,
        contents=tuple(place.text for place in chat.contents),
        facts=tuple(sorted(placed(text, facts), key=lambda fact: (fact.start, fact.end))),
    )


def _untouched(text: str, patterns: Sequence[re.Pattern[str]]) -> tuple[FactStatus, ...]:
    return check_facts(text, text, patterns=patterns).facts


def _compressed(
    text: str, chat: Chat, budget: int | None, kept: Kept, count: Count, compress_text: CompressText
) -> tuple[ChatResult, dict[str, Receipt]]:
    """With the receipts, by path, of the contents that are not what they were."""
    before = count(text)
    if budget is not None and before <= budget:
        return ChatResult(text, chat.messages, 0, (), ("already within the budget",)), {}
    newest = min((place.age for place in chat.places), default=0)
    contents = [_content(place, newest, chat, count, compress_text) for place in chat.places]
    forms = [content.whole for content in contents]
    if budget is None:
        forms = [content.by_default() for content in contents]
    elif count(chat.render(forms)) > budget:
        forms = within(budget, chat.render, contents, before, count, kept.flags)
        forms = filled_up(budget, chat.render, contents, forms, count)
    result = chat.render(forms)
    receipts = tuple(_receipt(a, b) for a, b in zip(contents, forms, strict=True) if not a.short or b is not a.whole)
    warnings = _warnings(receipts)
    if not any(not content.short for content in contents):
        others = f" and of what {kept.flags} keeps" if kept.flags else ""
        warnings = (*warnings, f"no long content outside of system messages{others}")
    if count(result) >= before:
        return ChatResult(text, chat.messages, 0, (), (*warnings, "nothing to gain: left as it is")), {}
    made = {
        content.path: form.receipt for content, form in zip(contents, forms, strict=True) if form.receipt is not None
    }
    return ChatResult(result, chat.messages, len(made), receipts, warnings), made


def _receipt(content: Content, form: Form) -> ContentReceipt:
    made = form.receipt
    before, domain = content.whole.tokens, content.domain
    if made is None:
        return ContentReceipt(content.path, "none", domain.name, before, before, domain.why)
    by = dict.fromkeys(block.why for block in made.blocks) if made.engine == "adapter" else ()
    why = "; ".join(filter(None, by)) or made.why
    return ContentReceipt(content.path, made.engine, made.domain, before, form.tokens, why, made.warnings)


def _warnings(receipts: Sequence[ContentReceipt]) -> tuple[str, ...]:
    """Each said once, with the place where it was said first; equal but for numbers counts as equal."""
    said: dict[str, list[str]] = {}
    for receipt in receipts:
        for warning in receipt.warnings:
            said.setdefault(re.sub(r"\d+", "0", warning), []).append(f"{receipt.path}: {warning}")
    return tuple(first + (f" (and {len(others)} more like it)" if others else "") for first, *others in said.values())


def _content(place: Place, newest: int, chat: Chat, count: Count, compress_text: CompressText) -> Content:
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
    return Content(place.path, detect_domain(place.text), weight, whole, ask, ratio=ratio)
