"""One verdict: the same tasks on both texts by each model, answers compared by metric and judge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, TypeVar

from compressor_cli.chat import Chat
from compressor_cli.core.equivalence import (
    Compared,
    Unanswered,
    abstains,
    compare,
    judge_requests,
    questions_request,
    read_answers,
    read_judgement,
    read_questions,
    task_request,
    tasks_of,
)
from compressor_cli.core.paircheck import PairCheck, Reason, check_pair
from compressor_cli.core.recipes import Checks
from compressor_cli.core.secrets import mask
from compressor_cli.core.similarity import Similarity
from compressor_cli.engines.code_languages import LANGUAGES
from compressor_cli.engines.code_names import definitions
from compressor_cli.engines.code_shape import shape
from compressor_cli.errors import ChatError, QuotaError
from compressor_cli.records import ChatReply, ChatRequest
from compressor_cli.settings import ValidationSettings

JUDGE = "judge"
_LOCAL = ("fidelity", "similarity")  # the scores of a pair that no model is asked about
TRIES = 2  # for an answer of the form that was asked for
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pair:
    """`key` hashes what is judged. `teachers` are the model that was asked, and the one that answered."""

    key: str
    id: str
    domain: str
    language: str | None
    original: str
    compressed: str
    teachers: tuple[str, ...]
    row: Mapping[str, Any]


@dataclass
class Case:
    """A pair, and what was answered on the way to its verdict: by a model under its name, or by the JUDGE."""

    pair: Pair
    tries: int = TRIES
    replies: list[tuple[str, ChatReply]] = field(default_factory=list)

    def bill(self, role: str | None = None) -> dict[str, Any]:
        """Of one role or of all. `seconds` is what the answers took; of cached ones, the first time."""
        replies = [reply for who, reply in self.replies if role in (None, who)]
        costs = [reply.cost_usd for reply in replies]
        return {
            "requests": len(replies),
            "cached": sum(reply.cached for reply in replies),
            "cost_usd": None if None in costs else round(sum(cost or 0 for cost in costs), 9),
            "seconds": round(sum(reply.seconds for reply in replies), 3),
        }


def free_check(pair: Pair, settings: ValidationSettings, *, sends: bool) -> PairCheck:
    """What needs no model. A pair with a secret fails where it would be sent to one."""
    language = pair.language
    names = definitions(pair.original, language) if pair.domain == "code" and language in LANGUAGES else ()
    checks = Checks(min_fidelity=settings.min_fidelity)
    found = check_pair(pair.original, pair.compressed, domain=pair.domain, checks=checks, prompt="", names=names)
    kinds = {kind for text in (pair.original, pair.compressed) for _, _, kind in mask(text).spans} if sends else ()
    return replace(found, reasons=(*found.reasons, *(Reason("secret", kind) for kind in sorted(kinds))))


class Court:
    """Without `chats`, the lower one of the fidelity and of the similarity of both texts is the score."""

    def __init__(
        self, settings: ValidationSettings, chats: Mapping[str, Chat], judge: Chat | None, similarity: Similarity
    ) -> None:
        self.settings, self.chats, self.judge, self.similarity = settings, chats, judge, similarity

    async def aclose(self) -> None:
        for chat in {id(chat): chat for chat in (*self.chats.values(), self.judge) if chat}.values():
            await chat.aclose()

    async def verdict(self, case: Case) -> dict[str, Any]:
        began, pair = time.perf_counter(), case.pair
        found = await asyncio.to_thread(free_check, pair, self.settings, sends=bool(self.chats))
        free = found.as_dict()
        reasons: list[dict[str, str]] = free.pop("reasons")
        models: dict[str, Any] = {}
        minimum: float | None = None
        if not reasons and self.chats:
            models = await self.ask_models(case)
            minimum = min((one["score"] for one in models.values() if one["score"] is not None), default=None)
        elif not reasons:
            free["similarity"] = round(await asyncio.to_thread(self.similarity.held, pair.original, pair.compressed), 4)
            minimum = min(found.fidelity, free["similarity"])
        if not reasons:
            scores = {name: one["score"] for name, one in models.items()}
            reasons = self._score_reasons(minimum, scores or {name: free.get(name) for name in _LOCAL})
        return {
            **free,
            "metric": self.similarity.name,
            "models": models,
            **({JUDGE: {"model": self.judge.name, **case.bill(JUDGE)}} if models and self.judge else {}),
            "minimum": minimum,
            "passed": not reasons,
            "reasons": reasons,
            **case.bill(),
            "wall_seconds": round(time.perf_counter() - began, 3),
        }

    def _score_reasons(self, minimum: float | None, scores: Mapping[str, float | None]) -> list[dict[str, str]]:
        threshold = self.settings.threshold
        if minimum is None:
            return [{"reason": "abstained", "detail": "no model could do the tasks on the original"}]
        low = [f"{name} {score}" for name, score in scores.items() if score is not None and score < threshold]
        return [{"reason": "score", "detail": f"{', '.join(low)}; at least {threshold}"}] if low else []

    async def ask_models(self, case: Case) -> dict[str, Any]:
        """By model; the first one writes the questions, all answer them."""
        pair = case.pair
        tasks = tasks_of(pair.domain, self.settings.tasks)
        questions: tuple[str, ...] = ()
        if "qa" in tasks:
            first = next(iter(self.chats.values()))
            questions = await _ask(first, questions_request(pair.original), read_questions, case)
        found = await _together([self._model(chat, tasks, questions, case) for chat in self.chats.values()])
        return {name: {**one, **case.bill(name)} for name, one in zip(self.chats, found, strict=True)}

    async def _model(self, chat: Chat, tasks: Sequence[str], questions: Sequence[str], case: Case) -> dict[str, Any]:
        done = await _together([self._task(chat, task, questions, case) for task in tasks])
        scores = [one["score"] for one in done if one["score"] is not None]
        return {"score": round(fmean(scores), 4) if scores else None, "tasks": dict(zip(tasks, done, strict=True))}

    async def _task(self, chat: Chat, task: str, questions: Sequence[str], case: Case) -> dict[str, Any]:
        """Of what cannot be answered from the original nothing can be said; what only it answers is lost."""
        pair = case.pair
        before, after = await _together(
            [
                _ask(
                    chat,
                    task_request(task, text, questions=questions, language=pair.language),
                    lambda reply: read_answers(task, reply, questions),
                    case,
                )
                for text in (pair.original, pair.compressed)
            ]
        )
        compared = compare(task, questions, before, after)
        if compared is None:
            return {"score": None, "similarity": None, "abstained": True}
        likeness = await asyncio.to_thread(self._likeness, compared, pair.language)
        row = {"score": likeness, "similarity": likeness, "abstained": False}
        return row | await self._judged(judge_requests(compared) if self.judge else [], case)

    def _likeness(self, compared: Compared, language: str | None) -> float:
        scores = []
        for one, other in zip(compared.before, compared.after, strict=True):
            if abstains(other):
                scores.append(0.0)
            elif compared.task == "code":
                scores.append(self.similarity.code(one, other, lambda text: shape(text, language)))
            else:
                scores.append(self.similarity.prose(one, other))
        return round(fmean(scores), 4)

    async def _judged(self, requests: Sequence[ChatRequest], case: Case) -> dict[str, Any]:
        """The mean of both orders is the score. Where the judge abstains in both, the metric stands."""
        if self.judge is None or not requests:
            return {}
        found = await _together([_ask(self.judge, request, read_judgement, case, JUDGE) for request in requests])
        scores = [judgement.score for judgement in found]
        known = [score for score in scores if score is not None]
        told = dict.fromkeys(difference for judgement in found for difference in judgement.differences)
        row: dict[str, Any] = {"judge": scores, "differences": list(told)}
        if len(known) == len(scores):
            row["flipped"] = len({score >= self.settings.threshold for score in known}) > 1
        return row | ({"score": round(fmean(known), 4)} if known else {})


async def _ask(
    chat: Chat, request: ChatRequest, read: Callable[[ChatReply], T], case: Case, role: str | None = None
) -> T:
    """An answer of another form is asked for anew, as a further sample: the cache would give the same again."""
    for sample in range(case.tries):
        reply = await chat.ask(replace(request, sample=sample))
        case.replies.append((role or chat.name, reply))
        try:
            return read(reply)
        except Unanswered as exc:
            failure = exc
    raise failure


async def _together(work: Sequence[Awaitable[Any]]) -> list[Any]:
    """All are finished, for all are paid; then what stops the run is raised before what fails the row."""
    done = await asyncio.gather(*work, return_exceptions=True)
    failed = [one for one in done if isinstance(one, BaseException)]
    if failed:
        raise next((one for one in failed if not isinstance(one, ChatError) or isinstance(one, QuotaError)), failed[0])
    return list(done)
