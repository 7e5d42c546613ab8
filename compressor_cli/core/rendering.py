"""A chat row as tokens, and which of them are trained: the one rendering, for every backend.

The tokens are those of the model's own chat template over the whole row. An answer is trained from where the prompt
before it ends, and that prompt, rendered alone as it is when the model is asked, must be how the row's tokens begin.
Where it is not, programs that mask by length (mlx-lm) and by comparison (TRL) train on different tokens, and the model
learns from a context that it will never see: such a row is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from compressor_cli.core.chat_content import dropped, empty_answer, spelled_out
from compressor_cli.core.chat_tokenizer import ChatTokenizer
from compressor_cli.core.chatrows import MalformedRow, chat_row
from compressor_cli.core.exports import chat
from compressor_cli.records import Pair

Mask = Literal["last", "all"]
Row = dict[str, Any]


class Fault(StrEnum):
    """Why a row is refused."""

    MALFORMED = "malformed"
    EMPTY_ANSWER = "empty answer"
    SPECIAL_TOKEN = "special token in content"
    UNTRAINED = "no trained token"
    REFUSED_BY_TEMPLATE = "refused by the template"
    DROPPED_BY_TEMPLATE = "dropped by the template"
    TOO_LONG = "too long"
    MASKED_DIFFERENTLY = "masked differently"


class RefusedRow(ValueError):
    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault


@dataclass(frozen=True)
class Rendered:
    """`trained` are the spans of tokens, from and up to, that the loss is on; each token counts the same."""

    tokens: list[int]
    trained: tuple[tuple[int, int], ...]

    @property
    def weights(self) -> list[int]:
        weights = [0] * len(self.tokens)
        for start, end in self.trained:
            weights[start:end] = [1] * (end - start)
        return weights

    def shifted(self) -> tuple[list[int], list[int], list[int]]:
        """Inputs, and the token and weight that follow each: the form of Tinker."""
        return self.tokens[:-1], self.tokens[1:], self.weights[1:]

    @property
    def trained_tokens(self) -> int:
        return sum(end - start for start, end in self.trained)


def training_row(row: Mapping[str, Any]) -> Row:
    """`messages` and `tools` as templates need them, with arguments of calls as objects. Raises RefusedRow."""
    try:
        parts = chat_row(row)
        if parts.left_out:
            raise MalformedRow(f"messages have no place for {', '.join(sorted(parts.left_out))}")
        return chat(Pair(parts.chat["messages"], parts.chat.get("tools"), {}), "hf")
    except MalformedRow as exc:
        raise RefusedRow(Fault.MALFORMED, str(exc)) from None


def render(tokenizer: ChatTokenizer, row: Mapping[str, Any], *, mask: Mask = "last") -> Rendered:
    """`mask` says which answers are trained: the last message only, or each. Raises RefusedRow."""
    ready = training_row(row)
    messages: list[Row] = ready["messages"]
    tools: list[Row] | None = ready.get("tools")
    if (empty := empty_answer(messages)) is not None:
        raise RefusedRow(Fault.EMPTY_ANSWER, f"messages[{empty}] is an answer without text or tool call")
    if found := spelled_out(tokenizer.special, messages, tools):
        raise RefusedRow(Fault.SPECIAL_TOKEN, f"{found[0]} holds {found[1]!r}, which ends or begins a turn")
    answers = _answers(messages, mask)
    text = _text(tokenizer, messages, tools)
    if lost := dropped(text, messages, tools, answers):
        raise RefusedRow(Fault.DROPPED_BY_TEMPLATE, f"{lost} is not in what the template makes of the row")
    tokens = tokenizer.tokens(text)
    spans = _spans(tokenizer, messages, tools, answers, text, tokens)
    return Rendered(tokens, tuple(spans))


def _answers(messages: Sequence[Row], mask: Mask) -> list[int]:
    answers = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    if mask == "last" and messages[-1]["role"] != "assistant":
        raise RefusedRow(Fault.UNTRAINED, f"the last message is from the {messages[-1]['role']}, and is no answer")
    if not answers:
        raise RefusedRow(Fault.UNTRAINED, "no message is an answer")
    trained = answers[-1:] if mask == "last" else answers
    if trained[0] == 0:
        raise RefusedRow(Fault.REFUSED_BY_TEMPLATE, "messages[0] is an answer, and nothing comes before it")
    return trained


def _spans(
    tokenizer: ChatTokenizer,
    messages: list[Row],
    tools: list[Row] | None,
    answers: Sequence[int],
    text: str,
    tokens: list[int],
) -> Iterator[tuple[int, int]]:
    for place in answers:
        prompt = tokenizer.tokens(_text(tokenizer, messages[:place], tools, prompt=True))
        _begins(tokenizer, tokens, prompt, f"the prompt before messages[{place}]")
        end = len(tokens)
        if place + 1 < len(messages):
            upto = tokenizer.tokens(_text(tokenizer, messages[: place + 1], tools))
            _begins(tokenizer, tokens, upto, f"the row up to messages[{place}]")
            end = len(upto)
        if end == len(prompt):
            raise RefusedRow(Fault.UNTRAINED, f"the template writes nothing for messages[{place}]")
        yield len(prompt), end


def _begins(tokenizer: ChatTokenizer, tokens: list[int], part: list[int], name: str) -> None:
    if tokens[: len(part)] == part:
        return
    place = first_difference(tokens, part)
    row, alone = (tokenizer.hf.decode(ids[place : place + 4]) for ids in (tokens, part))
    detail = f"{name} differs from the whole row from token {place} on: {alone!r} alone, {row!r} in the row"
    raise RefusedRow(Fault.MASKED_DIFFERENTLY, detail)


def first_difference(left: Sequence[int], right: Sequence[int]) -> int:
    """The first place where two lists differ; the length of the shorter where it begins the longer."""
    pairs = zip(left, right, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))


def _text(tokenizer: ChatTokenizer, messages: list[Row], tools: list[Row] | None, *, prompt: bool = False) -> str:
    try:
        text = tokenizer.text(messages, tools, prompt=prompt)
        text.encode()
    except UnicodeEncodeError:
        raise RefusedRow(Fault.MALFORMED, "a lone surrogate, which no tokenizer takes") from None
    except Exception as exc:  # a template is a program of its own, and raises what it likes
        told = " ".join(str(exc).split()) or type(exc).__name__
        raise RefusedRow(Fault.REFUSED_BY_TEMPLATE, told[:300]) from None
    return text
