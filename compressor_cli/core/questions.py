"""Question sets: texts, and what is asked about them, with the answers that stand in the text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor_cli.core.jsonl import parse_row
from compressor_cli.core.metrics import normalise, stands_in
from compressor_cli.core.text_input import read_text
from compressor_cli.errors import UsageError


@dataclass(frozen=True)
class Question:
    """`answers` are the gold answers, of which one is enough; no `text` where the set gives answers alone."""

    text: str | None
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Passage:
    name: str
    text: str
    questions: tuple[Question, ...]


@dataclass(frozen=True)
class QuestionSet:
    """Passages with a question at least. `unanswerable` questions had no answer that stands in its text, and were left
    out; `failed` rows are no passages."""

    passages: tuple[Passage, ...]
    unanswerable: int
    failed: tuple[tuple[str, str], ...]  # name, error


def read_questions(path: Path) -> QuestionSet:
    """A SQuAD file ({"data": [{"paragraphs": [{"context", "qas": [...]}]}]}), or JSONL with rows {"text", "answers"},
    each answer a question of its own, or {"text", "questions": [{"question", "answers"}]}. Equal texts become one
    passage. Raises UsageError where no passage is left."""
    found: dict[str, list[Question]] = {}
    names: dict[str, str] = {}
    failed: list[tuple[str, str]] = []
    for name, value in _rows(read_text(path)):
        try:
            text, questions = _row(value)
        except ValueError as exc:
            failed.append((f"{path}, {name}", str(exc)))
            continue
        found.setdefault(text, []).extend(questions)
        names.setdefault(text, name)
    passages, unanswerable = [], 0
    for text, questions in found.items():
        standing = list(_standing(text, questions))
        unanswerable += len(questions) - len(standing)
        if standing:
            passages.append(Passage(names[text], text, tuple(standing)))
    if not passages:
        why = f": {failed[0][0]}: {failed[0][1]}" if failed else ", or no answer stands in its text"
        raise UsageError(
            f"{path} has no questions{why}", hint="SQuAD JSON, or JSONL with text and questions or answers"
        )
    return QuestionSet(tuple(passages), unanswerable, tuple(failed))


def _standing(text: str, questions: list[Question]) -> Iterator[Question]:
    full = normalise(text)
    for question in questions:
        answers = tuple(dict.fromkeys(answer for answer in question.answers if stands_in(answer, full)))
        if answers:
            yield Question(question.text, answers)


def _rows(content: str) -> Iterator[tuple[str, Any]]:
    """A place in the file, and what stands there: bytes of a JSONL row, or a passage of SQuAD."""
    try:
        whole = json.loads(content)
    except (ValueError, RecursionError):
        whole = None
    if isinstance(whole, dict) and isinstance(whole.get("data"), list):
        yield from _squad(whole["data"])
        return
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            yield f"line {number}", line.encode()


def _squad(articles: list[Any]) -> Iterator[tuple[str, Any]]:
    for a, article in enumerate(articles, start=1):
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        for p, paragraph in enumerate(paragraphs if isinstance(paragraphs, list) else [None], start=1):
            row = paragraph if isinstance(paragraph, dict) else {}
            yield f"article {a}, paragraph {p}", {"text": row.get("context"), "questions": row.get("qas")}


def _row(value: Any) -> tuple[str, list[Question]]:
    """Raises ValueError for what is no passage."""
    row = parse_row(value) if isinstance(value, bytes) else value
    text, asked, answers = row.get("text"), row.get("questions"), row.get("answers")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("no text")
    if isinstance(asked, list):
        return text, [_question(each) for each in asked]
    if isinstance(answers, list):
        return text, [Question(None, (_answer(answer),)) for answer in answers]
    raise ValueError("neither questions nor answers")


def _question(value: Any) -> Question:
    if not isinstance(value, dict) or not isinstance(value.get("answers"), list):
        raise ValueError("a question without a list of answers")
    text = value.get("question")
    known = isinstance(text, str) and text.strip()
    return Question(text if known else None, tuple(map(_answer, value["answers"])))


def _answer(value: Any) -> str:
    answer = value.get("text") if isinstance(value, dict) else value
    if not isinstance(answer, str):
        raise ValueError("an answer that is no text")
    return answer
