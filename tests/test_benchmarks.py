"""The benchmarks run on files of the user's own, and their metrics agree with cases counted by hand."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO

from compressor_cli.core import baselines, metrics
from compressor_cli.core.tokens import token_counter

BENCHMARKS = REPO / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import answer_survival  # noqa: E402
import speed  # noqa: E402

COUNT = token_counter().count
FIRST = (
    "The bridge at Oakham was not finished until 1931, because the company had run out of money twice. "
    "Helena Marsh, an engineer from Leeds, directed the work and never saw the bridge in use."
)
SECOND = "The lake holds 1,274 million litres of water. None of it is pumped to the city of Durness in winter."
TURN = "Marta: I think we should not raise the price of the basic plan before February, and Owen agrees with that.\n"


@pytest.fixture
def xquad(work: Path) -> Path:
    """Two articles of one paragraph. `oakham twice` stands nowhere and must not count."""

    def article(context: str, *answers: str) -> dict[str, object]:
        questions = [{"id": a, "question": "?", "answers": [{"answer_start": 0, "text": a}]} for a in answers]
        return {"title": "", "paragraphs": [{"context": context, "qas": questions}]}

    rows = [article(FIRST, "1931", "Helena Marsh", "Oakham twice"), article(SECOND, "1,274 million litres", "Durness")]
    path = work / "xquad.json"
    path.write_text(json.dumps({"version": "1.1", "data": rows}), encoding="utf-8")
    return path


@pytest.fixture
def qmsum(work: Path) -> Path:
    path = work / "meetings.jsonl"
    queries = [{"query": "?", "answer": "Owen agrees that the price is not raised before February."}]
    path.write_text(json.dumps({"text": TURN * 12, "queries": queries}) + "\n", encoding="utf-8")
    return path


# --- metrics


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Cat,\nsat!", "cat sat"),
        ("an answer: a 'well-known' theory", "answer wellknown theory"),
        ("1,274 A.", "1274"),
        ("the", ""),
    ],
)
def test_normalised_as_squad_does(text: str, expected: str) -> None:
    assert metrics.normalise(text) == expected


@pytest.mark.parametrize(
    ("answer", "text", "survives"),
    [
        ("Helena Marsh", "by Helena Marsh, from Leeds", True),
        ("the bridge", "a Bridge.", True),
        ("Helena Marsh", "Helena directed Marsh", False),
        ("193", "in 1931", False),
        ("ridge", "bridge", False),
        ("the", "the bridge", False),
    ],
)
def test_an_answer_stands_whole_and_at_word_bounds(answer: str, text: str, survives: bool) -> None:
    assert metrics.stands_in(answer, metrics.normalise(text)) is survives


@pytest.mark.parametrize(
    ("output", "kept", "runs"),
    [
        ("a b c d e a b f", 8, 1),
        ("a b f", 3, 1),  # the second `a b`, not the first
        ("a c d b f", 5, 3),
        ("b a", 2, 2),
        ("x a y b", 2, 1),  # words from nowhere are passed over
        ("f a", 1, 1),  # nothing stands after f
        ("", 0, 0),
    ],
)
def test_kept_runs_are_counted_in_the_best_alignment(output: str, kept: int, runs: int) -> None:
    assert metrics.kept_runs("a b c d e a b f".split(), output.split()) == (kept, runs)


def test_negations_and_content_words() -> None:
    original = metrics.words("It isn’t so. No, we can't; not without Ada, none of us, not now.")
    assert metrics.negations_kept(original, metrics.words("isn't no, not none")) == (4, 7)
    assert metrics.content_words("The Price was raised", frozenset({"the", "price"})) == {"price"}
    assert metrics.words("Don’t pay 1,274 for a well-known—really!") == [
        "don't", "pay", "1,274", "for", "a", "well-known", "really",
    ]  # fmt: skip


def test_interval_is_paired_and_repeatable() -> None:
    same = metrics.paired_interval([3, 1, 2], [3, 1, 2], [4, 4, 4], resamples=50, seed=0)
    assert same == (0.0, 0.0)
    low, high = metrics.paired_interval([4, 2, 3], [1, 2, 0], [4, 4, 4], resamples=500, seed=1)
    assert (low, high) == metrics.paired_interval([4, 2, 3], [1, 2, 0], [4, 4, 4], resamples=500, seed=1)
    assert 0 <= low < 0.5 < high <= 0.75


def test_only_answers_that_stand_in_the_text_count(xquad: Path) -> None:
    odd, texts = answer_survival.read_xquad(xquad, "odd")
    assert texts == [FIRST, SECOND]
    assert [passage.questions for passage in odd] == [(("1931",), ("Helena Marsh",))]
    assert [p.text for p in answer_survival.read_xquad(xquad, "even")[0]] == [SECOND]
    assert answer_survival.answers_found(odd[0], "Finished 1931 by Helena") == (1, 2)


# --- baselines


SYSTEMS = answer_survival.baselines(COUNT, [FIRST, SECOND], seed=0)


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("text", [FIRST, TURN * 5])
def test_baselines_fill_the_budget_and_never_exceed_it(name: str, text: str) -> None:
    for budget in (1, 7, COUNT(text) // 2, COUNT(text) - 1):
        output = SYSTEMS[name](text, budget)
        assert COUNT(output) <= budget
        assert budget < 10 or COUNT(output) >= budget - 3
        matched, _ = metrics.kept_runs(metrics.words(text), metrics.words(output))
        assert matched == len(metrics.words(output))  # words of the text in its order, and no others
        assert output == SYSTEMS[name](text, budget)
    assert SYSTEMS[name](FIRST, COUNT(FIRST)) == FIRST


def test_what_each_baseline_keeps() -> None:
    text = "The rare ibex and the common goat met at the lake."
    assert baselines.truncation(COUNT)(text, 5).startswith("The rare")
    assert baselines.without_articles(COUNT)(text, COUNT(text) - 3) == "rare ibex and common goat met at lake."
    content = "rare ibex common goat met lake."
    assert baselines.without_stop_words(COUNT)(text, COUNT(content)) == content
    rare = baselines.self_information(COUNT, [text] + ["the and at common goat met lake rare"] * 80)
    assert "ibex" in rare(text, 3)


def test_a_system_over_its_budget_stops_the_run() -> None:
    with pytest.raises(AssertionError, match="wrote 3 tokens where the budget is 2"):
        answer_survival.measure("a b c", "a b c", (0, 0), budget=2, count=COUNT, seconds=0.0, system="x")


# --- the scripts


def run_script(name: str, *args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / name), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_answer_survival_prints_a_table_for_each_rate(xquad: Path, qmsum: Path, work: Path) -> None:
    out = work / "figures.json"
    rates = ("--rates", "0.7", "0.5", "--resamples", "20", "--articles", "all")
    done = run_script("answer_survival.py", "--xquad", xquad, "--qmsum", qmsum, *rates, "--json", out)
    assert done.returncode == 0, done.stderr
    for part in ("benchmarks/answer_survival.py --xquad", "sha256", "physical cores", "4 questions on 2 paragraphs"):
        assert part in done.stdout
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert [(t["set"], t["rate"]) for t in figures["tables"]] == [
        (name, rate) for name in ("xquad", "qmsum") for rate in (0.7, 0.5)
    ]
    for table in figures["tables"]:
        names = [row["system"] for row in table["systems"]]
        assert names == ["scc", *(["scc --protect none"] if table["set"] == "xquad" else []), *SYSTEMS]
        assert all(0 <= row["survival"] <= 1 and row["budget_used"] <= 1 for row in table["systems"])
    assert figures["tables"][2]["systems"][0]["peak_mb"] > figures["tables"][2]["systems"][0]["loaded_mb"] - 1 > 20


def test_answer_survival_wants_a_file_with_answers(xquad: Path) -> None:
    assert run_script("answer_survival.py").returncode == 2
    data = json.loads(xquad.read_text(encoding="utf-8"))
    xquad.write_text(json.dumps({"data": data["data"][:1]}), encoding="utf-8")
    done = run_script("answer_survival.py", "--xquad", xquad)
    assert done.returncode == 1
    assert "no answers to look for in the even articles" in done.stderr


@pytest.mark.slow
def test_speed_prints_medians_and_bars(work: Path) -> None:
    out = work / "speed.json"
    done = run_script("speed.py", "--repeats", "1", "--parts", "start", "cold", "batch", "--json", out)
    assert done.returncode == 0, done.stderr
    assert "threads for torch" in done.stdout
    measures = json.loads(out.read_text(encoding="utf-8"))["measures"]
    assert [m["unit"] for m in measures] == ["x", "s", "rows/s"]
    assert all(m["value"] > 0 for m in measures)
    assert [m["met"] in (True, False) for m in measures] == [True, True, False]


def test_speed_says_what_torch_is_missing_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(speed, "find_spec", lambda name: None if name == "torch" else importlib.util.find_spec("json"))
    assert list(speed.run_parts(["model"], speed.Context("a", 1, COUNT))) == []
    said = capsys.readouterr().out
    assert said == "not measured: model, for lack of torch: pip install 'compressor-cli[torch]'\n"


def test_texts_are_cut_to_size() -> None:
    context = speed.Context(speed.read_source(None), 1, COUNT)
    for tokens in (160, 1000, 5000):
        assert tokens - 10 <= COUNT(context.text(tokens)) <= tokens
    assert [len(times) for times in speed.in_turns([int, str], 2, [3, 1])] == [6, 2]


@pytest.mark.slow
def test_generate_prints_both_bars(work: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "generate.py"), "--rows", "70", "--rounds", "1", "--latency", "0.01"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line]
    assert [row[0] for row in rows[-2:]] == ["8", "64"]
    assert "at most 1.10 of least" in done.stdout and "at least 0.90 of bare" in done.stdout
