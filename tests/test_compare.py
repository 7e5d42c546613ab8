"""`scc compare`: paired differences, tests, refusals, and two compressors on new text."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run
from evaluating import Row, rows_of, text, write_rows
from hypothesis import given
from hypothesis import strategies as st
from provider_server import ProviderServer, compress_answer, serving

from compressor_cli.core.paired import aspects, contrasts, corrected, read_eval, scipy_stats, shared_rows, unpaired
from compressor_cli.errors import MissingExtraError, UsageError

pytest.importorskip("scipy")
Scc = Callable[..., Run]


def measured(number: int, **more: Any) -> Row:
    row = {
        "key": f"k{number}", "id": f"r{number}", "line": number, "domain": "prose", "input": text(number),
        "reference": "", "output": f"Out {number}.", "raw": "", "tokenizer": "o200k_base", "metric": "words",
        "tokens_in": 100, "tokens_out": 50, "ratio": 0.5, "fidelity": 0.9, "facts": 5, "lost": [], "similarity": 0.5,
        "seconds": 0.1, "truncated": False, "repaired": False, "cost_usd": 0.0,
    }  # fmt: skip
    return {**row, **more}


def pair(work: Path, ours: list[Row], theirs: list[Row]) -> tuple[Path, Path]:
    return write_rows(work / "a.jsonl", ours), write_rows(work / "b.jsonl", theirs)


def compared(scc: Scc, *words: Any) -> Any:
    done = scc("compare", *words, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def by_aspect(told: Any) -> dict[str, Any]:
    return {one["aspect"]: one for one in told["contrasts"]}


def test_a_difference_is_told_with_its_interval_and_test(work: Path, scc: Scc) -> None:
    draw = random.Random(0)
    fidelity = [draw.uniform(0.6, 0.9) for _ in range(60)]
    ours = [measured(n, fidelity=value, ratio=0.5) for n, value in enumerate(fidelity)]
    theirs = [measured(n, fidelity=value + draw.uniform(0.0, 0.08), ratio=0.5) for n, value in enumerate(fidelity)]
    draw.shuffle(theirs)
    told = compared(scc, *pair(work, ours, theirs))
    assert told["names"] == ["a", "b"] and told["rows"] == 60 and told["alone"] == {"a": 0, "b": 0}
    found = by_aspect(told)
    gain = found["fidelity"]
    assert 0.03 < gain["low"] < gain["difference"] < gain["high"] < gain["low"] + 0.02
    assert gain["test"] == "Wilcoxon signed-rank" and gain["p"] < 1e-6 and gain["verdict"] == "better"
    assert (gain["wins"], gain["ties"], gain["losses"]) == (60, 0, 0)
    same = found["ratio"]
    assert (same["difference"], same["p"], same["verdict"]) == (0, 1, "no clear difference")
    assert (same["wins"], same["ties"], same["losses"]) == (0, 60, 0)


def test_the_tests_are_those_of_scipy(work: Path, scc: Scc) -> None:
    stats = scipy_stats()
    draw = random.Random(1)
    ours = [measured(n, ratio=round(draw.uniform(0.3, 0.7), 4), truncated=n < 3) for n in range(40)]
    theirs = [measured(n, ratio=round(draw.uniform(0.3, 0.65), 4), truncated=n % 4 == 0) for n in range(40)]
    found = by_aspect(compared(scc, *pair(work, ours, theirs)))
    differences = [b["ratio"] - a["ratio"] for a, b in zip(ours, theirs, strict=True)]
    assert found["ratio"]["p"] == pytest.approx(stats.wilcoxon(differences).pvalue, abs=1e-6)
    assert found["ratio"]["wins"] == sum(difference < 0 for difference in differences), "less is better"
    worse = sum(b["truncated"] > a["truncated"] for a, b in zip(ours, theirs, strict=True))
    better = sum(b["truncated"] < a["truncated"] for a, b in zip(ours, theirs, strict=True))
    cut = found["truncated"]
    assert cut["p"] == pytest.approx(stats.binomtest(worse, worse + better, 0.5).pvalue, abs=1e-6)
    assert (cut["wins"], cut["losses"]) == (better, worse) and cut["test"] == "McNemar, exact"


def test_rows_without_facts_say_nothing_of_fidelity(work: Path, scc: Scc) -> None:
    ours = [measured(n, facts=n % 2, fidelity=1.0) for n in range(10)]
    assert by_aspect(compared(scc, *pair(work, ours, ours)))["fidelity"]["rows"] == 5


def test_several_comparisons_are_corrected_for(work: Path, scc: Scc) -> None:
    draw = random.Random(2)
    evals = [
        write_rows(work / f"{name}.jsonl", [measured(n, ratio=draw.uniform(0.4, 0.6)) for n in range(30)])
        for name in ("a", "b", "c", "d")
    ]
    told = compared(scc, *evals)
    assert {one["other"] for one in told["contrasts"]} == {"b", "c", "d"}
    raw = sorted(one["p"] for one in told["contrasts"])
    smallest = min(told["contrasts"], key=lambda one: one["p"])
    assert smallest["adjusted"] == pytest.approx(min(1, raw[0] * len(raw)), abs=1e-4)
    assert all(one["adjusted"] >= one["p"] for one in told["contrasts"])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm(values: list[float]) -> None:
    rows = [(measured(0), measured(0))]
    one = contrasts(["a", "b"], rows, threshold=0.8, seed=0)[0]
    found = corrected([type(one)(**{**vars(one), "p": p}) for p in values])
    ranked = sorted(found, key=lambda each: each.p)
    assert all(low.adjusted <= high.adjusted + 1e-6 for low, high in pairwise(ranked))
    assert all(each.p - 1e-6 <= each.adjusted <= 1 for each in found)


def test_chance_alone_is_seldom_called_a_difference() -> None:
    """Of 200 comparisons of the same compressor with itself, about 5 in 100 may be, by any one test without Holm."""
    draw = np.random.default_rng(0)
    seldom, within = 0, 0
    for seed in range(200):
        rows = [
            (measured(n, ratio=float(one)), measured(n, ratio=float(two)))
            for n, (one, two) in enumerate(draw.normal(0.5, 0.1, (40, 2)))
        ]
        found = contrasts(["a", "b"], rows, threshold=0.8, seed=seed)[0]
        assert found.low is not None and found.high is not None
        seldom += found.p < 0.05
        within += found.low <= 0 <= found.high
    assert seldom <= 20 and within >= 180


def test_the_rows_that_differ_most_come_first(work: Path, scc: Scc) -> None:
    ours = [measured(n) for n in range(10)]
    theirs = [measured(n, fidelity=0.9 - n / 100, ratio=0.5 + n / 100) for n in range(10)]
    told = compared(scc, *pair(work, ours, theirs))
    assert [each["b"]["id"] for each in told["differing"]] == ["r9", "r8", "r7", "r6", "r5"]
    table = scc("compare", work / "a.jsonl", work / "b.jsonl")
    assert "rows that differ most:" in table.stdout and "0/1/9" in table.stdout


def test_rows_that_do_not_differ_are_not_shown(work: Path, scc: Scc) -> None:
    ours = [measured(n) for n in range(6)]
    a, b = pair(work, ours, [*ours[:5], measured(5, ratio=0.4)])
    assert [each["b"]["id"] for each in compared(scc, a, b)["differing"]] == ["r5"]
    write_rows(b, ours)
    assert "differ most" not in scc("compare", a, b).stdout
    assert scc("compare", a, b, "--html", "same.html").exit_code == 0


@pytest.mark.parametrize("names", [("x/a.jsonl", "y/a.jsonl"), ("x/a.jsonl", "x/a.json")])
def test_evals_of_one_name_stay_two(names: tuple[str, str], work: Path, scc: Scc) -> None:
    for name in names:
        write_rows(work / name, [measured(0)])
    assert len(set(compared(scc, *names)["names"])) == 2


def test_what_one_of_them_has_alone_is_left_out_and_told(work: Path, scc: Scc) -> None:
    ours = [measured(n) for n in range(8)]
    theirs = [measured(n) for n in range(2, 9)] + [{"key": "k9", "id": "r1", "error": "no"}]
    done = scc("compare", *pair(work, ours, theirs))
    assert done.exit_code == 0
    assert "note: 2 rows of a are not in every eval" in done.stderr and "note: 1 rows of b" in done.stderr
    assert "6 rows, paired" in done.stdout


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ([measured(n) for n in range(20, 25)], "they share no row"),
        ([measured(0, input="Another text.")], "has another input"),
        ([measured(0, tokenizer="cl100k_base")], "tokens are counted by cl100k_base and o200k_base"),
        ([measured(0, metric="all-MiniLM-L6-v2")], "similarity is by"),
        ([{"key": "k", "id": "r0", "text": "x"}], "not written by scc eval"),
        ([{"key": "k", "id": "r0", "error": "x"}], "no row that was measured"),
        ([measured(0), {"id": "r1"}], "row 2 has no key and id"),
        ([measured(0, ratio="x")], "the ratio of row r0 is not as it writes it"),
        ([measured(0, fidelity=None)], "the fidelity of row r0"),
        ([measured(0, lost=[{"text": "x"}])], "the lost of row r0"),
        ([{name: value for name, value in measured(0).items() if name != "tokenizer"}], "the tokenizer of row r0"),
        ([measured(0), measured(1), measured(0, key="k9", input=text(1))], "b.jsonl has two rows r0"),
    ],
)
def test_what_cannot_be_compared_is_refused(theirs: list[Row], told: str, work: Path, scc: Scc) -> None:
    done = scc("compare", *pair(work, [measured(0), measured(1)], theirs))
    assert done.exit_code == 2 and told in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a.jsonl"], "two evals are needed"),
        (["a.jsonl", "a.jsonl"], "named twice"),
        (["a.jsonl", "nowhere.jsonl"], "no such file"),
        (["a.jsonl", "b.jsonl", "--html", "b.jsonl"], "is one of the evals"),
        (["a.jsonl", "b.jsonl", "--limit", "3"], "--limit: only with --live"),
        (["--live", "embedded", "--input", "a.jsonl", "--output", "o.jsonl"], "two compressors"),
        (["--live", "embedded", "runs/none", "--input", "a.jsonl", "--output", "o.jsonl"], "is no compressor"),
        (["--live", "embedded", "embedded", "--input", "a.jsonl", "--output", "o.jsonl"], "named twice"),
        (["--live", "embedded", "openai:x", "--output", "o.jsonl"], "--live needs --input"),
        (["--live", "embedded", "openai:x", "--input", "a.jsonl"], "--live needs --output"),
        (["--live", "embedded", "openai:x", "--input", "a.jsonl", "--output", "o.txt"], "ends with .jsonl"),
    ],
)
def test_wrong_words_are_refused(words: list[str], told: str, work: Path, scc: Scc) -> None:
    pair(work, [measured(0, text="x")], [measured(0)])
    done = scc("compare", *words)
    assert done.exit_code == 2 and told in done.stderr


def test_without_scipy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, work: Path, scc: Scc) -> None:
    monkeypatch.setattr("compressor_cli.core.paired.find_spec", lambda name: None)
    done = scc("compare", *pair(work, [measured(0)], [measured(0)]))
    assert done.exit_code == 2 and "scipy" in done.stderr and "compressor-cli[eval]" in done.stderr
    with pytest.raises(MissingExtraError):
        contrasts(["a", "b"], [(measured(0), measured(0, ratio=0.4))], threshold=0.8, seed=0)


def test_evals_of_one_data_are_compared(samples: Path, work: Path, scc: Scc) -> None:
    base = ["eval", "--backend", "embedded", "--embeddings", "none", "--data", samples / "test.jsonl"]
    for name in ("a", "b"):
        assert scc(*base, "--output", f"eval/{name}.jsonl").exit_code == 0
    told = compared(scc, "eval/a.jsonl", "eval/b.jsonl")
    assert told["rows"] == 10
    assert all(one["difference"] == 0 for one in told["contrasts"] if one["aspect"] != "seconds")
    assert set(by_aspect(told)) == {aspect.name for aspect in aspects(0.8)} - {"equivalence"}


# --- live


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with serving() as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        running.answer = compress_answer
        yield running


def texts(path: Path, first: int, last: int) -> Path:
    return write_rows(path, [{"id": f"t{n}", "text": text(n)} for n in range(first, last)])


def test_each_row_goes_to_one_of_two_and_stays_there(work: Path, scc: Scc, server: ProviderServer) -> None:
    pytest.importorskip("openai")
    words = ["compare", "--live", "embedded", "openai:gpt-4.1", "--output", "live.jsonl", "--seed", "3", "--json"]
    done = scc(*words, "--input", texts(work / "in.jsonl", 0, 20))
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["arms"] == {"embedded": 10, "openai:gpt-4.1": 10} and told["measured"] == 20
    assert len(server.requests) == 10
    rows = rows_of(Path("live.jsonl"))
    assert Counter(row["arm"] for row in rows) == told["arms"]
    dealt = json.loads(Path("live.assignment.json").read_text())["rows"]
    assert dealt == {row["key"]: row["arm"] for row in rows}
    found = by_aspect(told)
    assert found["ratio"]["wins"] is None and found["ratio"]["test"] == "Mann-Whitney U"
    assert found["passed"]["test"] == "Fisher, exact" and "similarity" not in found
    # New rows among the old ones, and another seed: the old ones keep their compressor, the new ones are even.
    more = scc(*words[:-3], "--seed", "4", "--json", "--input", texts(work / "in.jsonl", 0, 30), "--resume")
    assert json.loads(more.stdout)["arms"] == {"embedded": 15, "openai:gpt-4.1": 15}
    again = json.loads(Path("live.assignment.json").read_text())["rows"]
    assert {key: again[key] for key in dealt} == dealt and len(again) == 30
    assert len(rows_of(Path("live.jsonl"))) == 30 and len(server.requests) == 15
    refused = scc("compare", "--live", "embedded", "openai:gpt-5", "--output", "x.jsonl", "--input", "in.jsonl",
                  "--assignment", "live.assignment.json")  # fmt: skip
    assert refused.exit_code == 2 and "is an assignment of embedded and openai:gpt-4.1" in refused.stderr


def test_the_lot_follows_the_seed(work: Path, scc: Scc, server: ProviderServer) -> None:
    def dealt(seed: int, name: str) -> Any:
        scc("compare", "--live", "embedded", "openai:gpt-4.1", "--output", f"{name}.jsonl", "--seed", seed,
            "--input", texts(work / "in.jsonl", 0, 12))  # fmt: skip
        return json.loads(Path(f"{name}.assignment.json").read_text())["rows"]

    assert dealt(1, "a") == dealt(1, "b") != dealt(2, "c")


def test_rows_of_another_text_are_told(work: Path, scc: Scc, server: ProviderServer) -> None:
    words = ["compare", "--live", "embedded", "openai:gpt-4.1", "--input", "in.jsonl", "--output", "o.jsonl"]
    texts(work / "in.jsonl", 0, 6)
    scc(*words)
    texts(work / "in.jsonl", 2, 8)
    done = scc(*words, "--resume")
    assert done.exit_code == 0 and "6 rows: 6 measured" in done.stdout
    assert "o.jsonl: 2 rows belong to no row of in.jsonl as it is now" in done.stderr


def test_an_assignment_of_others_leaves_nothing_behind(work: Path, scc: Scc) -> None:
    (work / "in.assignment.json").write_text('{"arms": ["embedded", "runs/old"], "rows": {}}')
    texts(work / "in.jsonl", 0, 4)
    done = scc("compare", "--live", "embedded", "openai:gpt-4.1", "--input", "in.jsonl", "--output", "new.jsonl",
               "--assignment", "in.assignment.json")  # fmt: skip
    assert done.exit_code == 2 and "is an assignment of embedded and runs/old" in done.stderr
    assert not Path("new.jsonl").exists() and not Path("new.jsonl.settings.json").exists()


def test_another_model_is_told_in_few_words(work: Path, scc: Scc, server: ProviderServer) -> None:
    texts(work / "in.jsonl", 0, 4)
    words = ["compare", "--live", "embedded", "--input", "in.jsonl", "--output", "o.jsonl"]
    assert scc(*words, "openai:gpt-4.1").exit_code == 0
    Path("o.assignment.json").unlink()
    done = scc(*words, "openai:gpt-5", "--resume")
    assert done.exit_code == 2 and "arms was ['embedded', 'openai:gpt-4.1']" in done.stderr


def test_a_text_is_taken_in_paragraphs(work: Path, scc: Scc, server: ProviderServer) -> None:
    (work / "in.txt").write_text("\n\n".join(text(n) for n in range(4)))
    done = scc("compare", "--live", "embedded", "openai:gpt-4.1", "--input", "in.txt", "--output", "o.jsonl")
    assert done.exit_code == 0 and "4 rows: 4 measured" in done.stdout
    assert sorted(row["input"] for row in rows_of(Path("o.jsonl"))) == sorted(text(n) for n in range(4))


def test_rows_that_fail_exit_3_and_are_tried_again(work: Path, scc: Scc, server: ProviderServer) -> None:
    write_rows(work / "in.jsonl", [{"text": text(n)} for n in range(5)] + [{"words": "x"}])
    words = ["compare", "--live", "embedded", "openai:gpt-4.1", "--input", "in.jsonl", "--output", "o.jsonl"]
    done = scc(*words)
    assert done.exit_code == 3 and "1 failed" in done.stdout
    assert scc(*words).exit_code == 2
    write_rows(work / "in.jsonl", [{"text": text(n)} for n in range(5)])
    assert scc(*words, "--resume", "--retry-errors").exit_code == 0


def test_unpaired_tests_are_those_of_scipy() -> None:
    stats = scipy_stats()
    draw = random.Random(5)
    ours = [measured(n, ratio=draw.uniform(0.3, 0.6), truncated=n < 2) for n in range(20)]
    theirs = [measured(n, ratio=draw.uniform(0.4, 0.7), truncated=n < 9) for n in range(25)]
    found = {one.aspect: one for one in unpaired("a", "b", ours, theirs, threshold=0.8, seed=0)}
    ratio = found["ratio"]
    values = [[row["ratio"] for row in rows] for rows in (ours, theirs)]
    assert ratio.p == pytest.approx(stats.mannwhitneyu(*values).pvalue, abs=1e-6) and ratio.rows == 45
    assert ratio.low is not None and ratio.high is not None and ratio.low < ratio.difference < ratio.high
    assert found["truncated"].p == pytest.approx(stats.fisher_exact([[2, 18], [9, 16]]).pvalue, abs=1e-6)


def test_a_file_is_read_as_its_last_rows(work: Path) -> None:
    path = write_rows(work / "a.jsonl", [{"key": "k0", "id": "r0", "error": "x"}, measured(0), measured(1)])
    assert set(read_eval(path)) == {"r0", "r1"}
    with pytest.raises(UsageError, match="share no row"):
        shared_rows({"a": read_eval(path), "b": {}})
