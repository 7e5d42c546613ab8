"""`answer_survival.py --query`: each question by itself, against sentences in the order of their BM25."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO

from compressor_cli.core.baselines import bm25
from compressor_cli.core.tokens import token_counter

BENCHMARKS = REPO / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import answer_survival  # noqa: E402

COUNT = token_counter().count
LAKE = (
    "Dr. Marsh of the U.S. Navy drew the plans in 1931. The lake holds 1,274 million litres of water. "
    "In winter the dam is opened by Helena Pryce. Nobody lives on the island."
)
CALL = (
    "Marta: The price stays as it is.\nOwen: I agree. Who opens the dam?\n"
    "Marta: Helena Pryce opened the dams last year."
)


@pytest.fixture
def xquad(work: Path) -> Path:
    """One paragraph in each of two articles."""

    def article(*asked: tuple[str, str]) -> dict[str, object]:
        rows = [{"id": q, "question": q, "answers": [{"answer_start": 0, "text": a}]} for q, a in asked]
        return {"title": "", "paragraphs": [{"context": LAKE, "qas": rows}]}

    opened, holds = (
        ("Who opens the dam?", "Helena Pryce"),
        ("How much water does the lake hold?", "1,274 million litres"),
    )
    path = work / "xquad.json"
    path.write_text(json.dumps({"data": [article(opened), article(opened, holds)]}), encoding="utf-8")
    return path


@pytest.fixture
def qmsum(work: Path) -> Path:
    queries = [{"query": "Who opens the dam?", "answer": "Helena Pryce opened the dams last year."}]
    path = work / "meetings.jsonl"
    path.write_text(2 * (json.dumps({"text": CALL, "queries": queries}) + "\n"), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("Who opened the dams?", "In winter the dam is opened by Helena Pryce."),
        ("what litre of waters is held", "The lake holds 1,274 million litres of water."),
        ("Where did Marsh draw?", "Dr. Marsh of the U.S. Navy drew the plans in 1931."),
        ("of the in", "Dr. Marsh of the U.S. Navy drew the plans in 1931."),  # no term: the first sentence
    ],
)
def test_the_best_sentence_comes_first(query: str, first: str) -> None:
    assert bm25(COUNT, query)(LAKE, COUNT(first)) == first


def test_of_the_last_sentence_the_beginning_is_kept() -> None:
    best = "In winter the dam is opened by Helena Pryce."
    kept = bm25(COUNT, "Who opens the dam on the lake?")(LAKE, COUNT(best) + 6)
    assert kept.startswith("The lake holds ") and kept.endswith(best)  # in the order of the text
    without = bm25(COUNT, "Who opens the dam on the lake?", articles=False)(LAKE, COUNT(best))
    assert "the" not in without.lower().split()
    assert "dam is opened by Helena Pryce." in without
    assert bm25(COUNT, "dam", articles=False)(LAKE, COUNT(LAKE)) == LAKE


def test_lines_are_whole() -> None:
    last = CALL.splitlines()[-1]
    assert bm25(COUNT, "opened dam last year", lines=True)(CALL, COUNT(last)) == last


@pytest.mark.parametrize("options", [{}, {"lines": True}, {"articles": False}])
@pytest.mark.parametrize("text", [LAKE, CALL])
def test_the_budget_is_filled_and_holds(text: str, options: dict[str, bool]) -> None:
    system = bm25(COUNT, "Who opens the dam?", **options)
    for budget in range(1, COUNT(text) + 1, 3):
        assert budget - 5 <= COUNT(system(text, budget)) <= budget


def test_wordings_go_with_their_answers(xquad: Path, qmsum: Path) -> None:
    (passage,) = answer_survival.read_xquad(xquad, "even")[0]
    assert passage.wordings == ("Who opens the dam?", "How much water does the lake hold?")
    assert passage.questions == (("Helena Pryce",), ("1,274 million litres",))
    assert answer_survival.read_qmsum(qmsum)[0].wordings == ("Who opens the dam?",)


def test_a_table_for_each_set_and_rate(xquad: Path, qmsum: Path, work: Path) -> None:
    out = work / "figures.json"
    command = [sys.executable, str(BENCHMARKS / "answer_survival.py"), "--query", "--resamples", "20"]
    command += ["--xquad", str(xquad), "--qmsum", str(qmsum), "--rates", "0.4", "0.2", "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "even articles: 2 questions on 1 paragraphs, each by itself, 40% of o200k_base tokens" in done.stdout
    assert "even meetings: 1 queries on 1 meetings" in done.stdout
    tables = json.loads(out.read_text(encoding="utf-8"))["tables"]
    assert [(table["set"], table["rate"]) for table in tables] == [
        (name, rate) for name in ("xquad --query", "qmsum --query") for rate in (0.4, 0.2)
    ]
    names = [[row["system"] for row in table["systems"]] for table in tables]
    ours = ["scc --query --protect none", "scc --query, facts protected", "scc --protect none"]
    assert names[0] == [*ours, "BM25 sentences", "BM25 sentences, articles last", "truncation"]
    assert names[2] == [*ours, "BM25 turns", "BM25 sentences", "truncation"]
    assert tables[0]["systems"][0]["survival"] == 1
    for table in tables:
        for row in table["systems"]:
            assert 0 <= row["question_words"] <= 1 and row["budget_used"] <= 1
            assert ("interval" in row) == (row["system"] != ours[0])


def test_a_set_without_questions_is_told(work: Path, qmsum: Path) -> None:
    one = work / "one.jsonl"
    one.write_text(qmsum.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    command = [sys.executable, str(BENCHMARKS / "answer_survival.py"), "--query", "--qmsum", str(one)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "no queries in the even meetings" in done.stderr
