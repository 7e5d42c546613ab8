"""The tasks that show whether a compressed text means the same: what a model is asked of both texts, and of a judge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from compressor_cli.errors import ChatError
from compressor_cli.records import ChatMessage, ChatReply, ChatRequest

TASKS = ("qa", "reasoning", "code")
QUESTIONS = 4
UNKNOWN = "UNKNOWN"
_LONGEST = {"qa": 1024, "reasoning": 1024, "code": 8192, "questions": 1024, "judge": 1024}  # tokens
_TOP_SCORE = 4


class Unanswered(ChatError):
    """A reply that is not what was asked for."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """`score` 0 to 1; None where the judge abstained."""

    score: float | None
    differences: tuple[str, ...]


def tasks_of(domain: str, tasks: Sequence[str]) -> tuple[str, ...]:
    """Code is written out again; all else is asked about, and reasoned from."""
    fitting = ("code",) if domain == "code" else ("qa", "reasoning")
    return tuple(task for task in tasks if task in fitting)


def questions_request(original: str) -> ChatRequest:
    schema = _object(questions={"type": "array", "items": {"type": "string"}})
    return _request("questions", f"Write {QUESTIONS} questions.\n\n{_text(original)}", schema)


def read_questions(reply: ChatReply) -> tuple[str, ...]:
    found = _parsed(reply).get("questions")
    if not isinstance(found, list) or not found or not all(isinstance(one, str) and one.strip() for one in found):
        raise Unanswered("no questions in the answer", request_id=reply.request_id)
    return tuple(found)


def task_request(task: str, text: str, *, questions: Sequence[str] = (), language: str | None = None) -> ChatRequest:
    if task == "qa":
        asked = "\n".join(f"{n}. {question}" for n, question in enumerate(questions, start=1))
        schema = _object(answers={"type": "array", "items": {"type": "string"}})
        return _request(task, f"{_text(text)}\n\n{asked}\n\nOne answer for each, in this order.", schema)
    named = f"Language: {language or 'that of the text'}\n\n" if task == "code" else ""
    return _request(task, named + _text(text), None)


def read_answers(task: str, reply: ChatReply, questions: Sequence[str]) -> tuple[str, ...]:
    """One for each question, or one in all; UNKNOWN where the model abstains."""
    if reply.stop == "refusal":
        return (UNKNOWN,) * max(len(questions) if task == "qa" else 1, 1)
    if reply.stop == "length":
        raise Unanswered("the answer was cut by the limit of tokens", request_id=reply.request_id)
    if task != "qa":
        return (reply.text.strip() or UNKNOWN,)
    answers = _parsed(reply).get("answers")
    if not isinstance(answers, list) or len(answers) != len(questions):
        raise Unanswered(f"not one answer for each of {len(questions)} questions", request_id=reply.request_id)
    return tuple(str(answer).strip() or UNKNOWN for answer in answers)


def abstains(answer: str) -> bool:
    return answer.strip().strip(".`*\"'").upper() == UNKNOWN


def judge_request(task: str, about: str, first: str, second: str) -> ChatRequest:
    schema = _object(
        differences={"type": "array", "items": {"type": "string"}},
        score={"type": "integer", "enum": list(range(_TOP_SCORE + 1))},
        abstain={"type": "boolean"},
    )
    parts = [f"Task: {task}", about, f"<first>\n{first}\n</first>", f"<second>\n{second}\n</second>"]
    return _request("judge", "\n\n".join(part for part in parts if part), schema)


def read_judgement(reply: ChatReply) -> Judgement:
    if reply.stop == "refusal":
        return Judgement(None, ())
    found = _parsed(reply)
    score, differences = found.get("score"), found.get("differences")
    if found.get("abstain") is True:
        return Judgement(None, ())
    if not isinstance(score, int) or not 0 <= score <= _TOP_SCORE:
        raise Unanswered("no score in the judgement", request_id=reply.request_id)
    told = tuple(map(str, differences)) if isinstance(differences, list) else ()
    return Judgement(score / _TOP_SCORE, told)


def _request(prompt: str, content: str, schema: dict[str, Any] | None) -> ChatRequest:
    system = (files("compressor_cli") / "prompts" / f"validate_{prompt}.md").read_text(encoding="utf-8")
    return ChatRequest((ChatMessage("user", content),), system, _LONGEST[prompt], schema=schema, schema_name=prompt)


def _text(text: str) -> str:
    return f"<text>\n{text}\n</text>"


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _parsed(reply: ChatReply) -> dict[str, Any]:
    try:
        found = json.loads(reply.text)
    except ValueError as exc:
        raise Unanswered(f"the answer is not JSON: {exc}", request_id=reply.request_id) from None
    if not isinstance(found, dict):
        raise Unanswered("the answer is no JSON object", request_id=reply.request_id)
    return found
