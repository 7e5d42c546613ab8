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
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from compressor_cli.core.domains import detect_domain
from compressor_cli.engines.exactjson import DuplicateKeysError, Tree, dump, free_mark, parser, without_bom
from compressor_cli.errors import BudgetTooSmallError, UsageError
from compressor_cli.records import Receipt

Count = Callable[[str], int]
CompressText = Callable[[str, int | None], Receipt]

SHORT = 40  # tokens; shorter contents are left alone unless the budget needs them
_SQUEEZED = 0.1  # of the long contents, below which a budget needs the short ones
_HALF_LIFE = 8  # turns
_ROUNDS = 6  # of sharing out
_CALLS = 3  # of one content while sharing out; finding what it cannot do without takes two more
_NEAR = 0.95  # of a share or of the budget, at which a result is good enough
_USED_UP = 0.85  # of its share; a content that uses less has no use for more
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
        forms = _filled(budget, chat, contents, _within(budget, chat, contents, before, count), count)
    result = chat.render(forms)
    receipts = tuple(_receipt(a, b) for a, b in zip(contents, forms, strict=True) if not a.short or b is not a.whole)
    warnings = _warnings(receipts)
    if not any(not content.short for content in contents):
        warnings = (*warnings, f"no long content outside of system messages and the last turns ({keep_last})")
    if count(result) >= before:
        return ChatResult(text, chat.messages, 0, (), (*warnings, "nothing to gain: left as it is"))
    compressed = sum(form is not content.whole for content, form in zip(contents, forms, strict=True))
    return ChatResult(result, chat.messages, compressed, receipts, warnings)


def _receipt(content: _Content, form: _Form) -> ContentReceipt:
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

    def render(self, forms: Sequence[_Form]) -> str:
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


# --- a budget


@dataclass(frozen=True, eq=False)
class _Form:
    """A content as it may stand in the result; `tokens` of the text, `cost` of its JSON, where a line end is two signs.

    `most` tokens were allowed for it.
    """

    json: str
    tokens: int
    cost: int
    most: float
    receipt: Receipt | None = None


@dataclass(eq=False)
class _Content:
    """A text that may be compressed, and what was learnt about it. `ask` gives a form, or the tokens that it needs."""

    path: str
    domain: str
    weight: float
    whole: _Form
    ask: Callable[[int | None], _Form | int]
    forms: list[_Form] = field(default_factory=list)
    least: _Form | None = None
    ratio: float = 1.0  # cost of a token
    needed: int = 1
    cap: float = 0.0
    calls: int = 0

    @property
    def short(self) -> bool:
        return self.whole.tokens < SHORT

    @property
    def floor(self) -> float:
        """The smallest cost there can be, as far as is known."""
        return self.least.cost if self.least else min((self.needed + 0.5) * self.ratio, self.whole.cost)

    def by_default(self) -> _Form:
        form = self.whole if self.short else self.ask(None)
        return form if isinstance(form, _Form) and form.cost < self.whole.cost else self.whole

    def fit(self, share: float) -> _Form | None:
        """A form for a share of the budget, roughly; None where that is refused, and `floor` is higher now."""
        if share >= self.whole.cost:
            return self.whole
        most = max(int(share / self.ratio), 1)
        fitting = [form for form in self.forms if form.cost <= share]
        known = [form for form in fitting if form.cost >= _NEAR * share or form.most >= most]
        if not known and self.calls < _CALLS:
            self.calls += 1
            made = self.ask(most)
            if isinstance(made, _Form) and made.cost < self.whole.cost:
                self.forms.append(made)
                self.ratio = made.cost / max(made.tokens, 1)
                self.cap = made.cost if made.cost < _USED_UP * share else self.cap
                return made
            self.needed = made if isinstance(made, int) and made > most else self.whole.tokens
        return max(known or fitting, key=lambda form: form.cost, default=None)

    def smallest(self) -> _Form:
        """The least that this content can be, whatever was asked before: what a chat is said to need is then enough."""
        most = 1
        for _ in range(_CALLS):
            made = self.ask(most)
            if isinstance(made, _Form):
                self.least = made if made.cost < self.whole.cost else self.whole
                break
            if made <= most:
                break
            most = made
        self.least = self.least or self.whole
        self.forms.append(self.least)
        return self.least


def _content(place: _Place, newest: int, chat: _Chat, count: Count, compress_text: CompressText) -> _Content:
    def form(text: str, most: float, receipt: Receipt | None) -> _Form:
        json = dump(text, chat.mark)
        return _Form(json, count(text), max(count(json) - 1, 1), most, receipt)

    def ask(most: int | None) -> _Form | int:
        try:
            receipt = compress_text(place.text, most)
        except BudgetTooSmallError as exc:
            return exc.tokens_needed
        return form(receipt.compressed, most or 0, receipt)

    whole = form(place.text, 0, None)
    weight = 0.5 + 0.5 ** (1 + (place.age - newest) / _HALF_LIFE)
    ratio = whole.cost / max(whole.tokens, 1)
    return _Content(place.path, detect_domain(place.text).name, weight, whole, ask, ratio=ratio)


def _within(budget: int, chat: _Chat, contents: Sequence[_Content], before: int, count: Count) -> list[_Form]:
    """The long contents alone, all of them, or each as short as it can be."""
    whole = [content.whole for content in contents]
    stays = count(chat.render([replace(form, json='""') for form in whole]))
    room = budget - stays - sum(content.whole.cost for content in contents if content.short)
    long = [content for content in contents if not content.short]
    forms = None
    if room >= _SQUEEZED * sum(content.whole.cost for content in long):
        forms = _shared_out(budget, chat, contents, long, count)
    forms = forms or _shared_out(budget, chat, contents, contents, count)
    if forms:
        return forms
    smallest = [content.smallest() for content in contents]
    needed = min(count(chat.render(smallest)), count(chat.render(whole)), before)
    if needed > budget:
        raise BudgetTooSmallError(
            f"the chat takes at least {needed} tokens, the budget is {budget}",
            needed,
            hint=f"{stays} of them are what stays verbatim; a smaller --keep-last leaves less of that",
        )
    return _shared_out(budget, chat, contents, contents, count) or smallest


def _filled(budget: int, chat: _Chat, contents: Sequence[_Content], forms: list[_Form], count: Count) -> list[_Form]:
    """With what fits whole put back, the newest first; data stays short, since it lost nothing."""
    room = budget - count(chat.render(forms))
    filled = list(forms)
    for n, content in reversed(list(enumerate(contents))):
        made = forms[n].receipt
        extra = content.whole.cost - forms[n].cost + 1
        if made is not None and made.engine != "json" and extra <= room:
            filled[n] = content.whole
            room -= extra
    return filled if count(chat.render(filled)) <= budget else forms


def _shared_out(
    budget: int, chat: _Chat, contents: Sequence[_Content], some: Sequence[_Content], count: Count
) -> list[_Form] | None:
    """The fullest of a few attempts at fitting `some` of the contents, the others whole; None where none fits."""
    best: list[_Form] | None = None
    last: list[_Form] = []
    most = 0
    whole = [content.whole for content in contents]
    room = budget - count(chat.render(whole)) + sum(content.whole.cost for content in some)
    for _ in range(_ROUNDS):
        shares = _shares(some, room)
        if shares is None:
            break
        found = _fitted(some, shares)
        if found is None:  # floors are better known now
            continue
        forms = [found.get(content.path, content.whole) for content in contents]
        total = count(chat.render(forms))
        if most < total <= budget:
            best, most = forms, total
        if _NEAR * budget <= total <= budget or forms == last:
            break
        room, last = budget - total + sum(form.cost for form in found.values()), forms
    return best


def _fitted(contents: Sequence[_Content], shares: Sequence[float]) -> dict[str, _Form] | None:
    """By path; None where one was refused. What shrinks only so far goes first: prose pays for it, and takes longer."""
    found: dict[str, _Form] = {}
    pairs = list(zip(contents, shares, strict=True))
    for rigid in (True, False):
        fits = {c.path: c.fit(share) for c, share in pairs if (c.domain in ("code", "json")) == rigid}
        found |= {path: form for path, form in fits.items() if form is not None}
        if None in fits.values():
            return None
    return found


def _shares(contents: Sequence[_Content], room: float) -> list[float] | None:
    """The room by size and weight, none below its floor nor above its cap; None where it is less than the floors."""
    floors = [content.floor for content in contents]
    if sum(floors) > room:
        return None
    caps = [max(content.cap or content.whole.cost, floor) for content, floor in zip(contents, floors, strict=True)]
    if sum(caps) <= room:
        return caps
    wishes = [content.weight * content.whole.cost for content in contents]

    def at(level: float) -> list[float]:
        return [min(cap, max(floor, level * w)) for cap, floor, w in zip(caps, floors, wishes, strict=True)]

    low, high = 0.0, 1 / min((content.weight for content in contents), default=1.0)
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(at(middle)) <= room else (low, middle)
    return at(low)
