"""One verdict: the same tasks on both texts by each model, answers compared by metric and judge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from statistics import fmean
from typing import Any

from compressor_cli.chat import Chat
from compressor_cli.core.equivalence import (
    Judgement,
    abstains,
    judge_request,
    questions_request,
    read_answers,
    read_judgement,
    read_questions,
    task_request,
    tasks_of,
)
from compressor_cli.core.facts import check_facts
from compressor_cli.core.similarity import Similarity
from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.code_shape import shape
from compressor_cli.errors import ChatError, QuotaError
from compressor_cli.records import ChatReply, ChatRequest
from compressor_cli.settings import ValidationSettings
from compressor_cli.stages.validate.pairs import Pair


class Court:
    """Without `chats`, fidelity and the likeness of both texts decide."""

    def __init__(
        self, settings: ValidationSettings, chats: Mapping[str, Chat], judge: Chat | None, similarity: Similarity
    ) -> None:
        self.settings, self.chats, self.judge, self.similarity = settings, chats, judge, similarity

    async def aclose(self) -> None:
        for chat in {id(chat): chat for chat in (*self.chats.values(), self.judge) if chat}.values():
            await chat.aclose()

    async def verdict(self, pair: Pair) -> dict[str, Any]:
        began = time.perf_counter()
        free, reasons = self._free(pair)
        replies: list[ChatReply] = []
        models: dict[str, Any] = {}
        if not reasons and self.chats:
            models = await self._ask_all(pair, replies)
        scores = [found["score"] for found in models.values() if found["score"] is not None]
        minimum = min(scores, default=None)
        if not self.chats and not reasons:
            minimum = round((free["fidelity"] + self.similarity.sense(pair.original, pair.compressed)) / 2, 4)
        if not reasons and minimum is None:
            reasons.append("abstained: no model could do the tasks on the original")
        elif minimum is not None and minimum < self.settings.threshold:
            low = [name for name, found in models.items() if (found["score"] or 0) < self.settings.threshold]
            reasons.append(
                f"score {minimum}, at least {self.settings.threshold}" + (f": {', '.join(low)}" if low else "")
            )
        costs = [reply.cost_usd for reply in replies]
        return {
            **free,
            "models": models,
            "minimum": minimum,
            "passed": not reasons,
            "reasons": reasons,
            "cost_usd": None if None in costs else sum(cost for cost in costs if cost is not None),
            "cached": sum(reply.cached for reply in replies),
            "requests": len(replies),
            "seconds": round(time.perf_counter() - began, 3),
        }

    def _free(self, pair: Pair) -> tuple[dict[str, Any], list[str]]:
        """What needs no model, and why the pair needs none any more."""
        count = token_counter().count
        before, after = count(pair.original), count(pair.compressed)
        report = check_facts(pair.original, pair.compressed)
        ratio, floor = round(after / max(before, 1), 4), self.settings.min_fidelity
        lost = [fact.text for fact in report.facts if fact.status != "kept"]
        told = {"tokens_original": before, "tokens_compressed": after, "ratio": ratio, "fidelity": report.fidelity}
        reasons = []
        if after >= before:
            reasons.append(f"larger: {after} tokens, the original has {before}")
        if floor is not None and report.fidelity < floor:
            reasons.append(f"fidelity {report.fidelity}, at least {floor}")
        return {**told, "lost": lost[:10]}, reasons

    async def _ask_all(self, pair: Pair, replies: list[ChatReply]) -> dict[str, Any]:
        tasks = tasks_of(pair.domain, self.settings.tasks)
        questions: tuple[str, ...] = ()
        if "qa" in tasks:
            first = next(iter(self.chats.values()))
            questions = read_questions(await _ask(first, questions_request(pair.original), replies))
        found = await _together([self._model(chat, pair, tasks, questions, replies) for chat in self.chats.values()])
        return dict(zip(self.chats, found, strict=True))

    async def _model(
        self, chat: Chat, pair: Pair, tasks: Sequence[str], questions: Sequence[str], replies: list[ChatReply]
    ) -> dict[str, Any]:
        done = await _together([self._task(chat, pair, task, questions, replies) for task in tasks])
        scores = [one["score"] for one in done if one["score"] is not None]
        return {"score": round(fmean(scores), 4) if scores else None, "tasks": dict(zip(tasks, done, strict=True))}

    async def _task(
        self, chat: Chat, pair: Pair, task: str, questions: Sequence[str], replies: list[ChatReply]
    ) -> dict[str, Any]:
        requests = [
            task_request(task, text, questions=questions, language=pair.language)
            for text in (pair.original, pair.compressed)
        ]
        both = await _together([_ask(chat, request, replies) for request in requests])
        before, after = (read_answers(task, reply, questions) for reply in both)
        metric = await asyncio.to_thread(self._metric, task, before, after, pair.language)
        row: dict[str, Any] = {"metric": metric, "score": metric, "abstained": metric is None, "model": both[0].model}
        if self.judge is not None and metric is not None:
            row |= await self._judged(task, "\n".join(questions) if task == "qa" else "", before, after, replies)
        return row

    def _metric(self, task: str, before: Sequence[str], after: Sequence[str], language: str | None) -> float | None:
        """Of an answer that the original does not give nothing can be said; one that only it gives is lost."""
        scores = []
        for one, other in zip(before, after, strict=True):
            if abstains(one):
                continue
            if abstains(other):
                scores.append(0.0)
            elif task == "code":
                scores.append(self.similarity.code(one, other, lambda text: shape(text, language)))
            else:
                scores.append(self.similarity.prose(one, other))
        return round(fmean(scores), 4) if scores else None

    async def _judged(
        self, task: str, about: str, before: Sequence[str], after: Sequence[str], replies: list[ChatReply]
    ) -> dict[str, Any]:
        """In both orders. Where the judge abstains, the metric stands."""
        assert self.judge is not None
        one, other = "\n".join(before), "\n".join(after)
        requests = [judge_request(task, about, one, other), judge_request(task, about, other, one)]
        found = await _together([self._judgement(request, replies) for request in requests])
        scores = [judgement.score for judgement in found]
        row: dict[str, Any] = {"judge": scores, "differences": list(found[0].differences)}
        if None not in scores:
            threshold = self.settings.threshold
            row["flipped"] = (scores[0] >= threshold) != (scores[1] >= threshold)
        known = [score for score in scores if score is not None]
        return row | ({"score": round(fmean(known), 4)} if known else {})

    async def _judgement(self, request: ChatRequest, replies: list[ChatReply]) -> Judgement:
        assert self.judge is not None
        return read_judgement(await _ask(self.judge, request, replies))


async def _ask(chat: Chat, request: ChatRequest, replies: list[ChatReply]) -> ChatReply:
    reply = await chat.ask(request)
    replies.append(reply)
    return reply


async def _together(work: Sequence[Awaitable[Any]]) -> list[Any]:
    """All are finished, for all are paid; then what stops the run is raised before what fails the row."""
    done = await asyncio.gather(*work, return_exceptions=True)
    failed = [one for one in done if isinstance(one, BaseException)]
    if failed:
        raise next((one for one in failed if not isinstance(one, ChatError) or isinstance(one, QuotaError)), failed[0])
    return list(done)
