"""`scc check`: the facts of a pair, and of a file of pairs, with a gate."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Scc

ORIGINAL = (
    "The council of Brimley met on 3 March 2020. It must not spend more than £48,000. See https://brimley.example/plan."
)
FAITHFUL = "Brimley council met 2020-03-03. Must not spend more than £48k. https://brimley.example/plan"
WRONG = "Brimley council met 3 March 2020. May spend £84,000."


@pytest.fixture
def pair(work: Path) -> Path:
    (work / "a.txt").write_text(ORIGINAL)
    (work / "b.txt").write_text(FAITHFUL)
    (work / "c.txt").write_text(WRONG)
    return work


def test_a_faithful_pair(pair: Path, scc: Scc) -> None:
    run = scc("check", "a.txt", "b.txt", "--min-fidelity", "1")
    assert (run.exit_code, run.stderr) == (0, "")
    assert run.stdout.splitlines()[-1].split() == ["fidelity", "1.000"]


def test_what_changed_and_what_is_lost(pair: Path, scc: Scc) -> None:
    run = scc("check", "a.txt", "c.txt", "--min-fidelity", "0.9")
    assert run.exit_code == 100
    assert "£48,000" in run.stderr and "£84,000" in run.stderr
    assert "lost: urls 'https://brimley.example/plan'" in run.stderr
    assert "error: fidelity 0." in run.stderr and "is below --min-fidelity 0.9" in run.stderr


def test_json_and_stdin(pair: Path, scc: Scc) -> None:
    report = json.loads(scc("check", "a.txt", "-", "--json", stdin=WRONG).stdout)
    assert 0 < report["fidelity"] < 1
    for fact in report["facts"]:
        assert ORIGINAL[fact["start"] : fact["end"]] == fact["text"]
    only = json.loads(scc("check", "a.txt", "c.txt", "--json", "--kinds", "urls").stdout)
    assert [fact["kind"] for fact in only["facts"]] == ["urls"]
    patterned = json.loads(scc("check", "a.txt", "c.txt", "--json", "--protect-pattern", "spend more").stdout)
    assert [fact["status"] for fact in patterned["facts"] if fact["kind"] == "pattern"] == ["lost"]


def test_a_file_of_pairs(work: Path, scc: Scc) -> None:
    rows = [
        {"id": "good", "original": ORIGINAL, "compressed": FAITHFUL},
        {"id": "bad", "original": ORIGINAL, "compressed": WRONG},
        {"messages": [{"role": "user", "content": ORIGINAL}, {"role": "assistant", "content": FAITHFUL}]},
    ]
    (work / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = scc("check", "--input", "pairs.jsonl", "--output", "report.jsonl", "--min-fidelity", "0.99")
    assert run.exit_code == 100
    assert (
        "3 rows, 3 checked, 0 failed" in run.stdout and "(row bad)" in run.stdout and "1 rows below 0.99" in run.stdout
    )
    reports = [json.loads(line) for line in (work / "report.jsonl").read_text().splitlines()]
    assert [row["id"] for row in reports] == ["good", "bad", 3]
    assert [row["fidelity"] == 1 for row in reports] == [True, False, True]
    assert scc("check", "--input", "pairs.jsonl", "--limit", "1", "--min-fidelity", "1").exit_code == 0
    summary = json.loads(scc("check", "--input", "pairs.jsonl", "--json").stdout)
    assert (summary["asked"], summary["checked"], summary["worst"]) == (3, 3, "bad")


def test_rows_that_are_no_pairs_are_told(work: Path, scc: Scc) -> None:
    (work / "pairs.jsonl").write_text(
        '{"original": "a", "compressed": 3}\nnot json\n{"messages": [{"role": "user"}]}\n{}\n'
    )
    run = scc("check", "--input", "pairs.jsonl", "--output", "report.jsonl")
    assert run.exit_code == 3
    assert "4 of 4 rows could not be checked" in run.stderr
    errors = [json.loads(line)["error"] for line in (work / "report.jsonl").read_text().splitlines()]
    assert errors[0] == "line 1: no text in field 'compressed'"
    assert errors[3] == "line 4: no text in field 'original' and 'compressed'"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "ORIGINAL and COMPRESSED are needed"),
        (["a.txt"], "ORIGINAL and COMPRESSED are needed"),
        (["-", "-"], "only one of the two can be stdin"),
        (["a.txt", "gone.txt"], "no such file: gone.txt"),
        (["a.txt", "b.txt", "--limit", "3"], "go with --input"),
        (["a.txt", "b.txt", "--kinds", "colours"], "no such kind"),
        (["a.txt", "--input", "p.jsonl"], "--input takes no ORIGINAL"),
        (["--input", "gone.jsonl"], "no such file"),
        (["a.txt", "b.txt", "--min-fidelity", "2"], "min-fidelity"),
    ],
)
def test_wrong_calls(arguments: list[str], message: str, pair: Path, scc: Scc) -> None:
    run = scc("check", *arguments, stdin="")
    assert run.exit_code == 2
    assert message in run.stderr


def test_a_gate_that_is_not_met_comes_before_rows_that_are_no_pairs(work: Path, scc: Scc) -> None:
    pairs = json.dumps({"original": ORIGINAL, "compressed": WRONG}) + "\nno json\n"
    (work / "pairs.jsonl").write_text(pairs)
    run = scc("check", "--input", "pairs.jsonl", "--min-fidelity", "0.9", "--output", "report.jsonl")
    assert run.exit_code == 100
    assert "is below --min-fidelity 0.9; 1 of 2 rows could not be checked" in run.stderr
    assert json.loads((work / "report.jsonl").read_text().splitlines()[1])["id"] == "line 2"
    assert scc("check", "--input", "pairs.jsonl").exit_code == 3


@pytest.mark.parametrize(("rows", "code"), [("", 0), ("no json\n", 3)])
def test_no_row_has_no_fidelity(rows: str, code: int, work: Path, scc: Scc) -> None:
    (work / "pairs.jsonl").write_text(rows)
    run = scc("check", "--input", "pairs.jsonl")
    assert run.exit_code == code and "fidelity -" in run.stdout
    gate = scc("check", "--input", "pairs.jsonl", "--min-fidelity", "0.5")
    assert gate.exit_code == 100 and "no row was checked" in gate.stderr
