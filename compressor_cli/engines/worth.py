"""What each unit of a document is worth, and which of them go together.

The chances of the model become a `Problem` for `select`. Articles and lone dashes stand outside of it. Groups
(`engines.groups`) are kept or dropped as one.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from compressor_cli.engines.groups import ARTICLES, find_groups
from compressor_cli.engines.layout import Document, Unit
from compressor_cli.engines.scorer import Scores
from compressor_cli.engines.select import Bools, Floats, Problem

# Chosen on XQuAD's odd articles; what each does is in docs/experiments.md.
_KEEP_WORTH = 0.05  # of a unit that a writer would surely keep, in answers
_RUN_COST = 0.03
_SENTENCE_COST = 0.05  # on top, for the first run of a sentence
_GO_ON_BIAS = 0.5  # added to the logit of going on: answers are kept a little longer than they are marked
_CAPITAL_WORTH = 0.02
_NEGATION_WORTH = 1.0  # more than any token costs: a negation stays while anything does
_HEADING_WORTH = 0.15  # a token
# A token of a line of a log, by the first of these words in it.
_LEVEL_WORTH = {
    "error": 0.1,
    "fatal": 0.1,
    "critical": 0.1,
    "panic": 0.1,
    "severe": 0.1,
    "exception": 0.1,
    "warn": 0.05,
}
_LEVEL = re.compile(rf"(?i)\b({'|'.join(_LEVEL_WORTH)})")


@dataclass(frozen=True)
class Worth:
    """Of a group (start, stop) the first unit stands for all of it in `problem`."""

    problem: Problem
    article: Bools
    dash: Bools
    groups: tuple[tuple[int, int], ...]
    begins: Bools  # the first unit of each sentence
    negated: tuple[tuple[int, int, tuple[int, ...]], ...]  # sentences with the first units of their negations


def weigh(document: Document, scores: Scores, count: Callable[[str], int]) -> Worth:
    units = document.units
    costs = unit_costs(units, count)
    begins = np.zeros(len(units), dtype=bool)
    begins[[a for line in document.lines for a, _ in line.sentences]] = True
    # A capital within a sentence is a name: valve A, The Hague.
    article = np.array(
        [_is_article(unit) and (begins[i] or unit.core.islower()) for i, unit in enumerate(units)], dtype=bool
    )
    dash = np.array([not any(map(_says_something, unit.core)) for unit in units], dtype=bool)
    start, go_on = _through_articles(scores, article)
    bonus = (_KEEP_WORTH * scores.keep).astype(np.float32)
    bonus[[i for i, unit in enumerate(units) if unit.core[:1].isupper()]] += _CAPITAL_WORTH
    headings, negations, bound = find_groups(document)
    groups = [*headings, *negations, *bound]
    optional = article | dash
    price = costs.copy()
    for first, stop in groups:
        optional[first + 1 : stop], optional[first] = True, False
        price[first] = costs[first:stop].sum()
        start[first] = 1 - np.prod(1 - start[first:stop])
        go_on[first] = go_on[stop - 1]
        bonus[first] = bonus[first:stop].sum()
    bonus[[first for first, _ in negations]] += _NEGATION_WORTH
    sentences: list[list[int]] = []
    overhead: list[float] = []
    for line in document.lines:
        mark = 1.0 + (count(line.prefix) if line.prefix else 0)
        if line.whole and line.stop > line.start:
            bonus[line.start] += _HEADING_WORTH * (price[line.start] + 1.0 + mark)
        if line.event and line.stop > line.start and (level := _LEVEL.search(line.prefix + line.raw[0])):
            bonus[line.start] += _LEVEL_WORTH[level[1].lower()] * (price[line.start] + 1.0 + mark)
        for a, b in line.sentences:
            members = [i for i in range(a, b) if not optional[i]]
            if members:
                sentences.append(members)
                overhead.append(1.0 + mark / len(line.sentences))
    costs_of_sentences = np.array(overhead, dtype=np.float32)
    problem = Problem(start, go_on, bonus, price, sentences, costs_of_sentences, _RUN_COST, _SENTENCE_COST)
    return Worth(problem, article, dash, tuple(groups), begins, _negated(document, [a for a, _ in negations]))


def protected_free(problem: Problem, must: Bools) -> Problem:
    """`must` costs nothing and is worth a negation each: any price keeps it, and the runs beside it gain by it."""
    if not must.any():
        return problem
    touched = np.array([any(must[i] for i in sentence) for sentence in problem.sentences], dtype=bool)
    return replace(
        problem,
        bonus=problem.bonus + np.float32(_NEGATION_WORTH) * must.astype(np.float32),
        cost=np.where(must, np.float32(0), problem.cost),
        overhead=np.where(touched, np.float32(0), problem.overhead),
    )


def _negated(document: Document, firsts: list[int]) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
    sentences = [span for line in document.lines for span in line.sentences]
    inside = [tuple(firsts[bisect_left(firsts, a) : bisect_left(firsts, b)]) for a, b in sentences]
    return tuple((a, b, found) for (a, b), found in zip(sentences, inside, strict=True) if found)


def unit_costs(units: Sequence[Unit], count: Callable[[str], int]) -> Floats:
    """Tokens of each unit with the space before it, at least 1."""
    known: dict[str, int] = {}
    costs = np.empty(len(units), dtype=np.float32)
    for i, unit in enumerate(units):
        text = unit.text
        if text not in known:
            known[text] = max(count(" " + text), 1)
        costs[i] = known[text]
    return costs


def _through_articles(scores: Scores, article: Bools) -> tuple[Floats, Floats]:
    """An answer that starts at an article starts at the next word, and one that reaches it goes through it."""
    odds = scores.go_on / np.maximum(1 - scores.go_on, 1e-6) * np.exp(_GO_ON_BIAS)
    go_on = (odds / (1 + odds)).astype(np.float32)
    start = scores.start.copy()
    for i in np.flatnonzero(article).tolist():
        if i + 1 < len(start):
            start[i + 1] = 1 - (1 - start[i + 1]) * (1 - start[i] * go_on[i])
        if i:
            go_on[i - 1] *= go_on[i]
    return start, go_on


def _says_something(char: str) -> bool:
    return char.isalnum() or char >= "\U0001f000"  # an emoji can be a whole answer


def _is_article(unit: Unit) -> bool:
    return not unit.tail and not unit.lead and unit.core.lower() in ARTICLES
