"""The tasks that show whether a compressed text means the same: what a model is asked of both texts, and of a judge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from compressor_cli.core.decoding import inside, without_thoughts
from compressor_cli.errors import ChatError
from compressor_cli.records import ChatMessage, ChatReply, ChatRequest

TASKS = ("qa", "reasoning", "code")
QUESTIONS = 4
UNKNOWN = "UNKNOWN"
# In tokens. What a model thinks before it answers is counted among them by OpenAI and Google.
_LONGEST, _LONGEST_CODE = 4096, 8192
# What the scores of prompts/validate_judge.md are worth. A threshold of 0.8 lies between 2 (a fact is missing) and 3.
_WORTH = (0.0, 0.25, 0.5, 0.85, 1.0)


class Unanswered(ChatError):
    """A reply that is not what was asked for. Another one may be."""


class CutShort(ChatError):
    """A reply that the limit of tokens ended; another one would be too."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """`score` 0 to 1; None where the judge abstains."""

    score: float | None
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """The answers from both texts, and the questions that they answer."""

    task: str
    about: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def tasks_of(domain: str, tasks: Sequence[str]) -> tuple[str, ...]:
    """Code is written out again; all else is asked about, and reasoned from."""
    fitting = ("code",) if domain == "code" else ("qa", "reasoning")
    return tuple(task for task in tasks if task in fitting)


def questions_request(original: str) -> ChatRequest:
    schema = _object(questions={"type": "array", "items": {"type": "string"}})
    return _request("questions", f"Write {QUESTIONS} questions.\n\n{_text(original)}", schema)


def read_questions(reply: ChatReply) -> tuple[str, ...]:
    """Raises Unanswered, or CutShort, as all who read replies here."""
    found = _parsed(reply).get("questions")
    if not isinstance(found, list) or not found or not all(isinstance(one, str) and one.strip() for one in found):
        raise Unanswered("no questions in the answer", request_id=reply.request_id)
    return tuple(found)


def task_request(task: str, text: str, *, questions: Sequence[str] = (), language: str | None = None) -> ChatRequest:
    if task == "qa":
        schema = _object(answers={"type": "array", "items": {"type": "string"}})
        return _request(task, f"{_text(text)}\n\n{_numbered(questions)}\n\nOne answer for each, in this order.", schema)
    named = f"Language: {language or 'that of the text'}\n\n" if task == "code" else ""
    return _request(task, named + _text(text), None)


def read_answers(task: str, reply: ChatReply, questions: Sequence[str]) -> tuple[str, ...]:
    """One for each question, or one in all; UNKNOWN where the model abstains."""
    if reply.stop == "refusal":
        return (UNKNOWN,) * (len(questions) if task == "qa" else 1)
    if task != "qa":
        return (_whole(reply).strip() or UNKNOWN,)
    answers = _parsed(reply).get("answers")
    if not isinstance(answers, list) or len(answers) != len(questions):
        raise Unanswered(f"not one answer for each of {len(questions)} questions", request_id=reply.request_id)
    return tuple(str(answer).strip() or UNKNOWN for answer in answers)


def abstains(answer: str) -> bool:
    return answer.strip().strip(".`*\"'").upper() == UNKNOWN


def compare(task: str, questions: Sequence[str], before: Sequence[str], after: Sequence[str]) -> Compared | None:
    """Of what cannot be answered from the original nothing can be said; None where that is all."""
    kept = [n for n, answer in enumerate(before) if not abstains(answer)]
    if not kept:
        return None
    about = _numbered([questions[n] for n in kept]) if task == "qa" else ""
    return Compared(task, about, tuple(before[n] for n in kept), tuple(after[n] for n in kept))


def judge_requests(compared: Compared) -> list[ChatRequest]:
    """In both orders; none where the answers are the same, or there is nothing to compare with."""
    if compared.before == compared.after or all(map(abstains, compared.after)):
        return []
    schema = _object(
        differences={"type": "array", "items": {"type": "string"}},
        score={"type": "integer", "enum": list(range(len(_WORTH)))},
        abstain={"type": "boolean"},
    )
    answers = [_numbered(one) if compared.task == "qa" else one[0] for one in (compared.before, compared.after)]
    return [
        _request(
            "judge", "\n\n".join(part for part in (f"Task: {compared.task}", compared.about, *texts) if part), schema
        )
        for one, other in (answers, answers[::-1])
        for texts in [(f"<first>\n{one}\n</first>", f"<second>\n{other}\n</second>")]
    ]


def read_judgement(reply: ChatReply) -> Judgement:
    if reply.stop == "refusal":
        return Judgement(None, ())
    found = _parsed(reply)
    score, differences = found.get("score"), found.get("differences")
    if found.get("abstain") is True:
        return Judgement(None, ())
    if not isinstance(score, int) or isinstance(score, bool) or not 0 <= score < len(_WORTH):
        raise Unanswered("no score in the judgement", request_id=reply.request_id)
    told = tuple(map(str, differences)) if isinstance(differences, list) else ()
    return Judgement(_WORTH[score], told)


def _request(prompt: str, content: str, schema: dict[str, Any] | None) -> ChatRequest:
    system = (files("compressor_cli") / "prompts" / f"validate_{prompt}.md").read_text(encoding="utf-8")
    longest = _LONGEST_CODE if prompt == "code" else _LONGEST
    return ChatRequest((ChatMessage("user", content),), system, longest, schema=schema, schema_name=prompt)


def _numbered(texts: Sequence[str]) -> str:
    return "\n".join(f"{n}. {text}" for n, text in enumerate(texts, start=1))


def _text(text: str) -> str:
    return f"<text>\n{text}\n</text>"


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _whole(reply: ChatReply) -> str:
    """Without what a model thought aloud before it."""
    if reply.stop == "length":
        raise CutShort("the answer was cut by the limit of tokens", request_id=reply.request_id)
    return without_thoughts(reply.text)


def _parsed(reply: ChatReply) -> dict[str, Any]:
    """Servers that take no schema often fence what they write."""
    try:
        found = json.loads(inside(_whole(reply)))
    except (ValueError, RecursionError) as exc:
        raise Unanswered(f"the answer is not JSON: {exc}", request_id=reply.request_id) from None
    if not isinstance(found, dict):
        raise Unanswered("the answer is no JSON object", request_id=reply.request_id)
    return found
