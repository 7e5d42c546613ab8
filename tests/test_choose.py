"""Rows of figures are chosen from without the model, which says nothing of them and would take as long as for prose."""

from __future__ import annotations

import numpy as np

from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.choose import Chooser
from compressor_cli.engines.layout import parse
from compressor_cli.engines.scorer import Scorer, Scores, load_scorer

ROWS = "\n".join(" ".join(f"{13 * row + column}.{column}" for column in range(12)) for row in range(20))
BEFORE = "The harbour master wrote down the depths on 3 March 2020, at 7.50 and at 9.20, for 12 quays."
AFTER = "None of them was deeper than 14 metres."


class Asked(Scorer):
    """The embedded model, and what it was asked."""

    def __init__(self) -> None:
        self.units: list[str] = []

    def score(self, sentences: object) -> Scores:
        assert isinstance(sentences, list)
        self.units += [unit for sentence in sentences for unit in sentence]
        return load_scorer().score(sentences)


def test_the_model_is_asked_about_sentences_and_not_about_rows_of_figures() -> None:
    document = parse(f"{BEFORE}\n\n{ROWS}\n\n{AFTER}\n")
    asked = Asked()
    start = Chooser(document, asked, token_counter().count).problem.start
    assert asked.units == [*BEFORE.split(), *AFTER.split()]
    alone = Chooser(parse(f"{BEFORE}\n\n{AFTER}\n"), load_scorer(), token_counter().count).problem.start
    ends = len(BEFORE.split()), len(AFTER.split())
    np.testing.assert_allclose(np.concatenate([start[: ends[0]], start[-ends[1] :]]), alone, rtol=1e-3)


def test_a_text_of_nothing_but_rows_meets_its_budget() -> None:
    document, asked, count = parse(ROWS), Asked(), token_counter().count
    chooser = Chooser(document, asked, count)
    budget = count(ROWS) // 2
    keep = chooser.choose(budget, np.zeros(len(document.units), dtype=bool))
    assert asked.units == []
    assert 0.97 * budget <= chooser.size(keep) <= budget
