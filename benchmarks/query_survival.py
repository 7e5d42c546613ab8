"""The part of answer_survival.py in which each question compresses its text by itself: `--query`.

Every system gets the same budget. Differences are paired, and drawn by paragraph or by meeting: the questions on a text
share it. `question words` is the share of a question's content words, of those in the text, that are kept with the
answer and tell what it is about.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from answer_survival import (
    BARE,
    Meeting,
    Outcome,
    Passage,
    answer_words_found,
    answers_found,
    budget_of,
    measure,
    read_qmsum,
    read_xquad,
    scc,
    summarise,
)
from reporting import print_table

from compressor_cli.core import metrics
from compressor_cli.core.baselines import Count, System, bm25, truncation

OURS = "scc --query --protect none"
Systems = Mapping[str, Callable[[str], System]]  # by name, what a question makes of it


@dataclass(frozen=True)
class Question:
    """`found`: how many of how many answers (of a meeting: of their content words) are in an output."""

    text: str
    wording: str
    found: Callable[[str], tuple[int, int]]


@dataclass(frozen=True)
class Answered:
    """A question's outcome, and how many of how many of its own words were kept."""

    outcome: Outcome
    words_kept: int
    words: int


def xquad_part(args: argparse.Namespace, count: Count) -> list[dict[str, Any]]:
    passages, _ = read_xquad(args.xquad, args.articles)
    texts = [_of_passage(passage) for passage in passages if passage.questions]
    if not texts:
        raise SystemExit(f"error: {args.xquad}: no answers to look for in the {args.articles} articles")
    systems: Systems = {
        **_scc(args),
        "BM25 sentences": lambda query: bm25(count, query),
        "BM25 sentences, articles last": lambda query: bm25(count, query, articles=False),
        "truncation": lambda _: truncation(count),
    }
    title = f"{args.xquad.name}, {args.articles} articles: {sum(map(len, texts))} questions on {len(texts)} paragraphs"
    return _tables("xquad --query", title, systems, texts, args, count)


def qmsum_part(args: argparse.Namespace, count: Count) -> list[dict[str, Any]]:
    """`--articles` chooses meetings too."""
    meetings = read_qmsum(args.qmsum)
    if args.articles != "all":
        meetings = meetings[args.articles == "even" :: 2]
    texts = [_of_meeting(meeting) for meeting in meetings if meeting.wordings]
    if not texts:
        raise SystemExit(f"error: {args.qmsum}: no queries in the {args.articles} meetings")
    systems: Systems = {
        **_scc(args),
        "BM25 turns": lambda query: bm25(count, query, lines=True),
        "BM25 sentences": lambda query: bm25(count, query),
        "truncation": lambda _: truncation(count),
    }
    title = f"{args.qmsum.name}, {args.articles} meetings: {sum(map(len, texts))} queries on {len(texts)} meetings"
    return _tables("qmsum --query", title, systems, texts, args, count)


def _of_passage(passage: Passage) -> list[Question]:
    each = zip(passage.questions, passage.wordings, strict=True)
    ones = [Passage(passage.text, (golds,), (wording,)) for golds, wording in each]
    return [Question(one.text, one.wordings[0], partial(answers_found, one)) for one in ones]


def _of_meeting(meeting: Meeting) -> list[Question]:
    each = zip(meeting.answers, meeting.wordings, strict=True)
    ones = [Meeting(meeting.text, (answer,), (wording,)) for answer, wording in each]
    return [Question(one.text, one.wordings[0], partial(answer_words_found, one)) for one in ones]


def _scc(args: argparse.Namespace) -> Systems:
    plain = scc(args.tokenizer, args.model, protect="none")
    plain("The model is loaded before the clock runs, and the vocabulary with it.", 8)
    return {
        OURS: partial(scc, args.tokenizer, args.model, protect="none"),
        "scc --query, facts protected": partial(scc, args.tokenizer, args.model),
        BARE: lambda _: plain,
    }


def _tables(
    name: str,
    title: str,
    systems: Systems,
    texts: Sequence[Sequence[Question]],
    args: argparse.Namespace,
    count: Count,
) -> list[dict[str, Any]]:
    tables = []
    for rate in args.rates:
        runs = {
            system: [[_answered(system, asked, one, rate, count) for one in text] for text in texts]
            for system, asked in systems.items()
        }
        rows = [_row(system, runs, args) for system in systems]
        _print(f"{title}, each by itself, {rate:.0%} of {args.tokenizer} tokens", rows)
        tables.append({"set": name, "rate": rate, "questions": sum(map(len, texts)), "systems": rows})
    return tables


def _answered(name: str, asked: Callable[[str], System], question: Question, rate: float, count: Count) -> Answered:
    text = question.text
    budget = budget_of(text, rate, count)
    began = time.perf_counter()
    output = asked(question.wording)(text, budget)
    seconds = time.perf_counter() - began
    hits = question.found(output)
    outcome = measure(text, output, hits, budget=budget, count=count, seconds=seconds, system=name)
    own = metrics.content_words(question.wording, frozenset(metrics.words(text)))
    return Answered(outcome, len(own.intersection(metrics.words(output))), len(own))


def _row(system: str, runs: Mapping[str, list[list[Answered]]], args: argparse.Namespace) -> dict[str, Any]:
    answered = [one for text in runs[system] for one in text]
    row: dict[str, Any] = {"system": system, **asdict(summarise([one.outcome for one in answered]))}
    row["question_words"] = sum(one.words_kept for one in answered) / max(sum(one.words for one in answered), 1)
    if system != OURS:
        ours, theirs = ([sum(one.outcome.found for one in text) for text in runs[name]] for name in (OURS, system))
        asked = [sum(one.outcome.asked for one in text) for text in runs[system]]
        row["difference"] = (sum(ours) - sum(theirs)) / max(sum(asked), 1)
        row["interval"] = metrics.paired_interval(ours, theirs, asked, resamples=args.resamples, seed=args.seed)
    return row


def _print(title: str, rows: Sequence[dict[str, Any]]) -> None:
    columns = ("system", "survival", f"{OURS} - system [95 %]", "question words", "mean run", "budget used")
    lines = []
    for row in rows:
        low, high = row.get("interval", (0.0, 0.0))
        difference = f"{row['difference']:+.3f} [{low:+.3f}, {high:+.3f}]" if "interval" in row else ""
        rest = f"{row['question_words']:.3f}", f"{row['mean_run']:.2f}", f"{row['budget_used']:.1%}"
        lines.append((row["system"], f"{row['survival']:.3f}", difference, *rest, f"{row['seconds_per_1000']:.4f}"))
    print_table(title, (*columns, "s / 1,000 tokens"), lines)
