"""What bears on a question gets the budget; a question that matches nothing changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor_cli import compress as compress_protected
from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.layout import Document, parse
from compressor_cli.engines.query import Bearing, aim, asked_for, find_bearing, kind_of
from compressor_cli.engines.scorer import Scores
from compressor_cli.engines.worth import Worth, weigh
from compressor_cli.errors import UsageError

compress = partial(compress_protected, protect="none")  # where the budget goes, with nothing that must stay

MINUTES = """# Minutes of the harbour board

The board met on 3 March 2021 in Lowestoft. Helena Marsh chaired the meeting and Owen Pratt kept the minutes.

## Dredging

The contractor, Boskalis, asked for a further 2.4 million euros because the rock was harder than the survey had said. \
The board did not approve the sum. A new survey will be made by the University of Hull in May.

## Cranes

Two of the five cranes failed inspection. They were built in 1974 by Stothert & Pitt. Repairs take six weeks and cost \
310,000 euros. The harbour master proposed to sell one crane to the museum in Bristol.
"""
CALL = """Marta: The price stays as it is until spring.
Owen: I agree with that.
Marta: We ship the beta to Durness first.
Owen: Nobody tested it on the old boards.
"""
NO_MATCH = "the query shares no word with the text: compressed as without it"


def bearing_on(document: Document, query: str) -> Bearing:
    bearing = find_bearing(document, query)
    assert bearing is not None
    return bearing


def share_of(text: str, query: str) -> dict[str, float]:
    """By the first words of each sentence, its BM25 over that of the best."""
    document = parse(text)
    share = bearing_on(document, query).share
    spans = [span for line in document.lines for span in line.sentences]
    return {" ".join(unit.core for unit in document.units[a:b][:2]): round(float(share[a]), 3) for a, b in spans}


def even(document: Document) -> Worth:
    """A model that finds every unit as good as the next."""
    chances = np.full(len(document.units), 0.1, dtype=np.float32)
    return weigh(document, Scores(chances, chances, chances), token_counter().count)


def start_by_core(text: str, query: str) -> dict[str, float]:
    document = parse(text)
    start = aim(even(document), bearing_on(document, query)).problem.start
    return {unit.core: float(start[i]) for i, unit in enumerate(document.units)}


# --- sentences


def test_the_sentence_that_shares_words_with_the_question_counts_most() -> None:
    share = share_of(MINUTES, "Which museums did the harbour master propose?")  # plural and past are the same words
    assert max(share, key=share.__getitem__) == "The harbour"
    assert share["The harbour"] == 1
    assert 0 < share["Helena Marsh"] < share["Minutes of"] < 0.7  # below the heading, and the heading itself


def test_rare_words_tell_more_than_common_ones() -> None:
    text = "The board met in Hull. The board met in Leeds. The board met again. Leeds was far."
    share = share_of(text, "board in Hull")
    assert share["The board"] < share_of(text, "Leeds")["Leeds was"] == 1
    document = parse(text)
    hull = bearing_on(document, "board in Hull").share
    assert hull[0] == 1 > 3 * hull[5] > 0


def test_a_heading_and_a_speaker_count_for_what_stands_below_them() -> None:
    share = share_of(MINUTES, "dredging")
    assert share["Dredging"] == 1
    assert 0 < share["The contractor"] < 1
    assert share["A new"] > 0
    assert share["Two of"] == share["Helena Marsh"] == 0
    spoken = share_of(CALL, "What did Marta say?")
    assert spoken["The price"] > 0 < spoken["We ship"]
    assert spoken["I agree"] == spoken["Nobody tested"] == 0


def test_what_stands_near_the_words_of_the_question_is_likelier() -> None:
    start = start_by_core("grey stones lie near alpha or beta while many other small things rest far away", "beta")
    assert start["alpha"] > start["near"] > start["grey"]
    assert start["while"] > start["rest"] > start["away"]
    assert start["beta"] < start["or"]  # a word of the question is seldom its answer


# --- kinds


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("Who built the cranes?", "name"),
        ("By whom were they built?", "name"),
        ("Where is the museum?", "name"),
        ("In which city is the museum?", "name"),
        ("When were the cranes built?", "date"),
        ("In what year were the cranes built?", "date"),
        ("How many cranes failed?", "number"),
        ("What total cost was named?", "number"),
        ("How are cranes repaired?", "word"),
        ("Why did two cranes fail?", "word"),
        ("What failed inspection?", "word"),
        ("cranes, repairs", None),
        ("", None),
    ],
)
def test_what_a_question_asks_for(query: str, kind: str | None) -> None:
    assert asked_for(query) == kind


@pytest.mark.parametrize(
    ("core", "kind"),
    [("1974", "date"), ("1990s", "date"), ("1914–18", "date"), ("May", "date"), ("2.4", "number"), ("six", "number"),
     ("£30m", "number"), ("31,000", "number"), ("Boskalis", "name"), ("rock", "word"), ("", "word")],
)  # fmt: skip
def test_kinds_of_units(core: str, kind: str) -> None:
    assert kind_of(core) == kind


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("Who came to the mill?", "Ottilie"),
        ("How many came to the mill?", "seven"),
        ("When was the mill sold?", "1931"),
    ],
)
def test_an_answer_of_the_kind_that_is_asked_for_is_likelier(query: str, wanted: str) -> None:
    start = start_by_core("To the mill came Ottilie with seven others in 1931 and bought bread there.", query)
    assert start[wanted] == max(start.values()) > 3 * start["others"]


# --- what becomes of a text


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("Who built the cranes?", "Stothert & Pitt"),
        ("How much did the contractor ask for?", "2.4 million euros"),
        ("Was the sum approved?", "board did not approve"),
        ("Which museum may get a crane?", "Bristol"),
        ("Who kept the minutes?", "Owen Pratt"),
    ],
)
def test_the_answer_is_kept_where_little_else_is(query: str, answer: str) -> None:
    receipt = compress(MINUTES, rate=0.2, query=query)
    assert answer in receipt.compressed.replace("the ", "")
    assert receipt.tokens_out <= 0.2 * receipt.tokens_in
    assert receipt.warnings == ()


def test_the_heading_above_the_answer_stays_and_others_go() -> None:
    kept = compress(MINUTES, rate=0.33, query="What do the repairs of the cranes cost?").compressed
    assert "## Cranes" in kept
    assert "310,000 euros" in kept
    assert "## Dredging" not in kept


@pytest.mark.parametrize("query", ["zebra", "起重机是谁造的?", "Who was it?", "?!", "🚢", "\ud800", "\x00"])
@pytest.mark.parametrize("budget", [{"rate": 0.33}, {"max_tokens": 9}, {}])
def test_a_question_that_matches_nothing_changes_nothing_and_says_so(query: str, budget: dict[str, float]) -> None:
    plain = compress(MINUTES, **budget)  # type: ignore[arg-type]
    asked = compress(MINUTES, query=query, **budget)  # type: ignore[arg-type]
    assert asked.compressed == plain.compressed
    assert asked.warnings == (*plain.warnings, NO_MATCH)


def test_without_spaces_pairs_of_characters_are_words() -> None:
    document = parse("Tokyo (東京都) is the capital. Osaka lies in the west.")
    bearing = bearing_on(document, "東京はどこですか")
    assert bearing.asked.nonzero()[0].tolist() == [1]
    assert find_bearing(document, "京都府") is None or bearing_on(document, "京都府").share[0] == 1


@pytest.mark.parametrize("query", ["", " \n"])
def test_an_empty_question_is_refused(query: str) -> None:
    with pytest.raises(UsageError, match="--query is empty"):
        compress(MINUTES, query=query)


def test_nothing_to_ask_about() -> None:
    assert find_bearing(parse("```\nfence\n```"), "fence") is None
    assert find_bearing(parse("... ---"), "fence") is None


# --- what always holds

WORDS = st.sampled_from("board cranes Helena 1974 not approve 2.4 the Hull ## - survey: May. 東京 euros, who".split())
TEXTS = st.lists(st.lists(WORDS, min_size=1, max_size=30).map(" ".join), min_size=1, max_size=6).map("\n\n".join)


@settings(max_examples=40)
@given(text=TEXTS, query=st.lists(WORDS, min_size=1, max_size=6).map(" ".join))
def test_aiming_moves_worth_and_makes_none(text: str, query: str) -> None:
    document = parse(text)
    bearing = find_bearing(document, query)
    if bearing is None:
        return
    before = even(document)
    after = aim(before, bearing)
    members = [i for sentence in before.problem.sentences for i in sentence]
    assert after.problem.start[members].sum() <= before.problem.start[members].sum() * 1.001
    assert ((after.problem.start >= 0) & (after.problem.start <= 1)).all()
    assert np.isfinite(after.problem.bonus).all()
    assert (bearing.share <= 1).all() and (bearing.share >= 0).all()
    assert (after.groups, after.negated) == (before.groups, before.negated)
    assert (after.problem.cost == before.problem.cost).all()


@settings(max_examples=25)
@given(text=TEXTS, query=st.text(min_size=1, max_size=30) | WORDS, rate=st.floats(0.2, 0.9))
def test_the_budget_holds_and_the_same_comes_out_twice(text: str, query: str, rate: float) -> None:
    if not query.strip() or not text.strip():
        return
    text = f"{text}\n\n{MINUTES}"  # long enough for any rate
    receipt = compress(text, rate=rate, query=query, engine="prose")
    assert receipt.tokens_out <= rate * receipt.tokens_in
    assert compress(text, rate=rate, query=query, engine="prose").compressed == receipt.compressed


@pytest.mark.parametrize("query", ["What did the board approve?", "approve the sum", "Helena and the museum"])
def test_no_question_parts_a_negation_from_what_it_negates(query: str) -> None:
    for percent in range(5, 95, 6):
        kept = compress(MINUTES, rate=percent / 100, query=query).compressed
        assert kept.count("approve") == kept.count("did not approve")


def test_the_order_of_sets_does_not_show() -> None:
    code = (
        "import sys; from compressor_cli import compress; text = sys.stdin.read();"
        "print(compress(text, rate=0.4, query='cost of crane repairs, survey sum and museum').compressed)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            input=MINUTES,
            text=True,
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(outputs) == 1
