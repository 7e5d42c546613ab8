"""What a choice does to a protected fact is mended where it happened; the rest of the budget is still used."""

from __future__ import annotations

import random

import pytest

from compressor_cli import check_facts, compress
from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.choose import Chooser
from compressor_cli.engines.guard import Guard
from compressor_cli.engines.layout import Document, parse
from compressor_cli.engines.repair import Keeper
from compressor_cli.engines.scorer import load_scorer
from compressor_cli.records import FactStatus

count = token_counter().count

TEXT = "\n".join(
    f"{who}: The crew of the {thing} went to the {place} and painted the old {part} in a bright colour."
    for who in ("Ada", "Ben", "Cleo", "Dan", "Eve")
    for thing, place, part in (("tug", "quay", "mast"), ("ferry", "dock", "funnel"), ("barge", "lock", "deck"))
)
FACT = "tug"


class FarAway(Guard):
    """Reads the first fact as changed wherever one of `words` is kept; counts how often it is asked."""

    def __init__(self, text: str, document: Document, words: tuple[str, ...]) -> None:
        super().__init__(text, document, ("numbers",))
        self.place = text.index(FACT)
        for i, unit in enumerate(document.units):
            if unit.start == self.place:
                self.units[i] = True
                self._spans[unit.start, unit.end] = [(i, i + 1)]
        self.words = words
        self.asked = 0

    def lost(self, compressed: str) -> list[FactStatus]:
        self.asked += 1
        if not any(word in compressed for word in self.words):
            return []
        return [FactStatus("numbers", "number", FACT, self.place, self.place + len(FACT), "changed", None)]


@pytest.mark.parametrize("words", [("Ben: crew ferry", "ferry dock"), ("funnel",), ("mast", "funnel", "lock")])
@pytest.mark.parametrize("rate", [0.4, 0.6])
def test_what_spoils_a_fact_from_far_away_is_found_and_the_budget_used(words: tuple[str, ...], rate: float) -> None:
    document = parse(TEXT)
    guard = FarAway(TEXT, document, words)
    chooser = Chooser(document, load_scorer(), count)
    keeper = Keeper(chooser, guard)
    budget = int(rate * count(TEXT))
    rendered = chooser.rendered(keeper.choose(budget))
    assert guard.lost(rendered) == []
    assert 0.9 * budget <= count(rendered) <= budget
    assert guard.asked < 100


SAID = (
    "No , it still has three , and the other one only has two .",
    "So this one voted for one , and two voted for three .",
    "We shouldn't have done that quickly , you know .",
    "Not the pretty one , the one with two legs .",
    "They developed it quickly and it was pretty good , I think .",
    "That is one of the things that we have to do .",
    "No no no , what you have to do is cross the bridge .",
    "Maybe we can think of more things , cross , climb , rob .",
    "I don't think that two of them are the same thing .",
    "It is the same as the three that we had before .",
    "Nobody tested it on the old boards , I think , or on the new ones .",
    "Well , yeah , uh , I mean , they should be tested on all of the boards .",
)


@pytest.mark.parametrize("seed", [1, 8, 18, 28])
def test_facts_need_little_more_than_their_own_words(seed: int) -> None:
    """Behind `No no no` the next kept word reads as denied: what lies between is put back, not all around it."""
    drawn = random.Random(seed)
    turns = [drawn.choices(SAID, k=drawn.randint(1, 3)) for _ in range(30)]
    text = "\n".join(f"{drawn.choice(['Ada', 'Ben', 'Cleo'])}: {' '.join(turn)}" for turn in turns)
    budget = int(0.7 * count(text))
    receipt = compress(text, max_tokens=budget, domain="prose", protect="numbers,negation")
    assert 0.97 * budget <= receipt.tokens_out <= budget
    report = check_facts(text, receipt.compressed, kinds=["numbers", "negation"])
    assert [fact.text for fact in report.facts if fact.status != "kept"] == []
