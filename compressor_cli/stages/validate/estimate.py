"""`scc validate --dry-run`: what would be asked and cost, and what is cached. Nothing is sent; no key is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from compressor_cli.chat import Note
from compressor_cli.chat.cache import cache_key
from compressor_cli.chat.clients import open_cache, service_of
from compressor_cli.core.equivalence import (
    QUESTIONS,
    Unanswered,
    compare,
    judge_requests,
    questions_request,
    read_answers,
    read_judgement,
    read_questions,
    task_request,
    tasks_of,
)
from compressor_cli.core.estimates import Range
from compressor_cli.core.jsonl import read_rows
from compressor_cli.core.prices import NANO, Price, load_prices
from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.court import Pair, free_check
from compressor_cli.records import ChatReply, ChatRequest, Usage
from compressor_cli.settings import ChatSettings, SpendSettings, ValidationSettings
from compressor_cli.stages.validate import check_tasks
from compressor_cli.stages.validate.pairs import read_pairs

_TOKENIZER_SPREAD = 1.35  # how far other tokenizers are above o200k_base, which counts here
# Tokens of an answer; of code, by those of the original. What a model thinks first is not among them: none can tell.
_ANSWERS = {"questions": (50, 160), "qa": (20, 120), "reasoning": (80, 320), "judge": (20, 200)}
_CODE = (0.5, 1.5)
# What stands in for answers that are not there yet, in requests that hold them.
_QUESTION = "Which value does the text give for it, and under which condition does that hold?"
_STAND_INS = {"qa": (_QUESTION,) * QUESTIONS, "reasoning": ("\n".join((_QUESTION,) * 10),)}
T = TypeVar("T")


@dataclass
class ModelEstimate:
    """`requests`, at most; the `cached` of them cost nothing, tokens and dollars are of the others. None: unknown."""

    name: str
    requests: int
    cached: int
    input_tokens: Range
    output_tokens: Range
    usd: Range | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ValidateEstimate:
    """`there` have a verdict already, `refused` fail the free checks and come to no model; `pairs` are the others."""

    pairs: int
    there: int
    refused: int
    models: tuple[ModelEstimate, ...]

    @property
    def usd(self) -> Range | None:
        known = [one.usd for one in self.models if one.usd]
        if len(known) < len(self.models):
            return None
        return Range(sum(usd.low for usd in known), sum(usd.high for usd in known))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"usd": asdict(self.usd) if self.usd else None}


def estimate_validation(
    settings: ValidationSettings,
    models: Sequence[str],
    judge: str | None,
    pairs_file: Path,
    target: Path,
    chat: ChatSettings,
    spend: SpendSettings,
    *,
    limit: int | None,
    batch: bool = False,
    note: Note,
) -> ValidateEstimate:
    pairs = read_pairs(pairs_file)
    check_tasks(settings, pairs.judged)
    there = {row["key"] for row in read_rows(target) if "error" not in row} if target.exists() else set()
    asked = pairs.judged[:limit]
    waiting = [pair for pair in asked if pair.key not in there]
    passing = [pair for pair in waiting if not free_check(pair, settings, sends=True).reasons]
    cache, prices = open_cache(chat, note), load_prices(spend.prices)
    try:
        meters = {}
        for name in dict.fromkeys((*models, *([judge] if judge else []))):
            url, price = service_of(name, chat, needs_key=False).url, prices.find(name)

            def find(request: ChatRequest, name: str = name, url: str | None = url) -> ChatReply | None:
                return cache.find(cache_key(name, url, request)) if cache else None

            meters[name] = _Meter(name, find, price.at(date.today()) if price else None, batch)
        for pair in passing:
            _walk(pair, settings, [meters[name] for name in models], meters[judge] if judge else None)
    finally:
        if cache is not None:
            cache.close()
    refused = len(waiting) - len(passing)
    return ValidateEstimate(
        len(passing), len(asked) - len(waiting), refused, tuple(meter.estimate() for meter in meters.values())
    )


class _Meter:
    """One model: what it would be sent. `ask` gives the cached answer, where there is one."""

    def __init__(
        self, name: str, find: Callable[[ChatRequest], ChatReply | None], price: Price | None, batch: bool
    ) -> None:
        self.name, self.price, self.batch = name, price, batch
        self._find = find
        self.requests = self.cached = 0
        self._low, self._high = [0, 0, 0], [0, 0, 0]  # tokens in, tokens out, 1e-9 USD

    def ask(
        self,
        request: ChatRequest,
        answer: tuple[float, float],
        read: Callable[[ChatReply], T],
        *,
        certain: bool = True,
    ) -> T | None:
        """One that is not `certain` costs nothing at the low end."""
        self.requests += 1
        if (reply := self._find(request)) is not None:
            self.cached += 1
            try:
                return read(reply)
            except Unanswered:  # it is asked for anew
                self.requests += 1
        given = token_counter().count((request.system or "") + request.messages[0].content)
        bounds: list[tuple[list[int], float, float]] = [(self._high, given * _TOKENIZER_SPREAD, answer[1])]
        if certain:
            bounds.append((self._low, given, answer[0]))
        for total, tokens_in, tokens_out in bounds:
            usage = Usage(round(tokens_in), round(min(tokens_out, request.max_tokens)))
            cost = self.price.cost(usage, batch=self.batch) if self.price else 0
            for n, amount in enumerate((usage.input_tokens, usage.output_tokens, cost)):
                total[n] += amount
        return None

    def estimate(self) -> ModelEstimate:
        tokens_in, tokens_out, nanos = (Range(*both) for both in zip(self._low, self._high, strict=True))
        usd = Range(nanos.low / NANO, nanos.high / NANO) if self.price else None
        return ModelEstimate(self.name, self.requests, self.cached, tokens_in, tokens_out, usd)


def _walk(pair: Pair, settings: ValidationSettings, models: Sequence[_Meter], judge: _Meter | None) -> None:
    """The requests of a pair, as far as they can be known: one that holds an answer needs that to be in the cache."""
    tasks = tasks_of(pair.domain, settings.tasks)
    questions: tuple[str, ...] | None = None
    if "qa" in tasks:
        questions = models[0].ask(questions_request(pair.original), _ANSWERS["questions"], read_questions)
    size = token_counter().count(pair.original)
    for model in models:
        for task in tasks:
            asked = (questions or _STAND_INS["qa"]) if task == "qa" else ()
            length = (size * _CODE[0], size * _CODE[1]) if task == "code" else _ANSWERS[task]

            def read(reply: ChatReply, task: str = task, asked: Sequence[str] = asked) -> tuple[str, ...]:
                return read_answers(task, reply, asked)

            answers = [
                model.ask(task_request(task, text, questions=asked, language=pair.language), length, read)
                for text in (pair.original, pair.compressed)
            ]
            if judge is not None:
                stand_in = _STAND_INS.get(task, (pair.original,))
                before, after = answers[0] or stand_in, answers[1] or tuple(f"{text}." for text in stand_in)
                compared = compare(task, asked, before, after)
                for request in judge_requests(compared) if compared else ():
                    # Answers that turn out to be the same are not judged.
                    judge.ask(request, _ANSWERS["judge"], read_judgement, certain=None not in answers)
