"""The systems that `scc bench` compares, engines and baselines in one form. The first is held against the rest.

Prose meets a budget. Code and JSON have none: there each does all that it can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from compressor_cli.core import baselines
from compressor_cli.core.baselines import Count
from compressor_cli.core.metrics import Share
from compressor_cli.core.questions import Question
from compressor_cli.engines.compress import compress
from compressor_cli.engines.quality import code_shares, data_shares, minified, prose_shares
from compressor_cli.records import Receipt


@dataclass(frozen=True)
class Text:
    """`language` is that of code."""

    name: str
    text: str
    tokens: int
    language: str = ""
    questions: tuple[Question, ...] = ()


# What a system makes of a text under a budget: one result, or one for each question. Raises BudgetTooSmallError.
System = Callable[[Text, int | None], list[str]]
Quality = Callable[[Text, str], Mapping[str, Share]]


def contenders(
    group: str, *, tokenizer: str, model: str | Path | None, query: bool, count: Count, seed: int
) -> tuple[dict[str, System], Quality]:
    """For texts of a group, "questions", "prose", "code" or "json": the systems, and what their results have kept."""
    engine = partial(compress, tokenizer=tokenizer, model=model)
    if group == "code":
        return _for_code(engine), lambda text, output: code_shares(text.text, output, text.language)
    if group == "json":
        return _for_data(engine), lambda text, output: data_shares(text.text, output)
    systems = {
        "scc": _engine(engine, allow_loss=True),
        "scc --protect none": _engine(engine, allow_loss=True, protect="none"),
        "truncation": _baseline(baselines.truncation(count)),
        "random words": _baseline(baselines.random_words(count, seed)),
        "stop words dropped": _baseline(baselines.without_stop_words(count)),
    }
    if query and group == "questions":
        systems = {"scc --query": _by_question(engine), **systems}
    return systems, lambda text, output: prose_shares(text.text, output)


def _for_code(engine: Callable[..., Receipt]) -> dict[str, System]:
    return {
        "scc --level comments": _engine(engine, level="comments"),
        "scc --level compact": _engine(engine, level="compact"),
        "scc --level outline": _engine(engine, level="outline"),
        "comments by regex": lambda text, _: [baselines.without_comments(text.text, text.language)],
    }


def _for_data(engine: Callable[..., Receipt]) -> dict[str, System]:
    return {
        "scc": _engine(engine),
        "minified": lambda text, _: [minified(text.text)],
        "as it is": lambda text, _: [text.text],
    }


def _engine(engine: Callable[..., Receipt], **options: object) -> System:
    return lambda text, budget: [engine(text.text, max_tokens=budget, **options).compressed]


def _by_question(engine: Callable[..., Receipt]) -> System:
    def system(text: Text, budget: int | None) -> list[str]:
        asked = [question.text for question in text.questions]
        return [engine(text.text, max_tokens=budget, query=query, allow_loss=True).compressed for query in asked]

    return system


def _baseline(system: baselines.System) -> System:
    return lambda text, budget: [system(text.text, budget or 0)]
