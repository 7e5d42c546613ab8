"""`scc bench compress`: real engines and baselines on a small folder and a small question set."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Scc

from compressor_cli.core.comparison import LEAST
from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.compress import compress
from compressor_cli.errors import SccError
from compressor_cli.records import Receipt
from compressor_cli.settings import BenchSettings
from compressor_cli.stages.bench import BenchSummary, Table, bench

ENGINE = "compressor_cli.engines.contenders.compress"  # where the systems find it
FILLER = (
    "The meeting was held in the large hall of the old town, as it usually is at that time of the year, and most of "
    "the people who had been invited came to it. There was a long and friendly talk about all kinds of things that "
    "people like to talk about when they meet, and it went on for rather a long while."
)
LATE = FILLER + " The levy is £{0} a year from 3 March 20{1}, and {2} must not pay it before 14 May 20{1}."
NAMES = ("Helena Marsh", "Owen Pryce", "Ada Bell", "Tom Archer", "Ines Duarte")
TEXTS = [LATE.format(1270 + n, 30 + n, name) for n, name in enumerate(NAMES)]
CODE = '''"""Adds."""

import os


class Missing(Exception):
    """Nothing there."""


def add(first, second):
    # both are numbers
    total = first + second  # "not" a string

    return total or os.linesep
'''
DATA = json.dumps([{"id": n, "name": f"item {n}", "price": 1.50, "sold": n % 2 == 0} for n in range(30)], indent=2)


@pytest.fixture
def folder(work: Path) -> Path:
    texts = work / "texts"
    (texts / "src").mkdir(parents=True)
    for n, text in enumerate(TEXTS):
        (texts / f"note{n}.txt").write_text(text, encoding="utf-8")
    (texts / "src" / "add.py").write_text(CODE)
    (texts / "items.json").write_text(DATA)
    return texts


@pytest.fixture
def questions(work: Path) -> Path:
    """Five passages of two questions each, one of which no text answers."""
    paragraphs = [
        {
            "context": text,
            "qas": [
                {"question": "Who must not pay?", "answers": [{"text": name}]},
                {"question": "How long was the talk?", "answers": [{"text": "all night"}]},
            ],
        }
        for text, name in zip(TEXTS, NAMES, strict=True)
    ]
    path = work / "questions.json"
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), encoding="utf-8")
    return path


def run(paths: list[Path], questions: Path | None = None, **options: Any) -> BenchSummary:
    output = options.pop("output", None)
    settings = BenchSettings(**{"rates": (0.5,), **options})
    return bench(settings, paths, questions, tokenizer="o200k_base", output=output)


def figures(table: Table, measure: str) -> dict[str, float | None]:
    return {standing.system: standing.figures[measure].value for standing in table.systems}


# --- what is measured


def test_a_folder_has_a_table_a_group(folder: Path) -> None:
    summary = run([folder])
    prose, code, data = summary.tables
    assert [(t.group, t.rate, t.texts) for t in summary.tables] == [
        ("prose", 0.5, 5),
        ("code", None, 1),
        ("json", None, 1),
    ]
    assert summary.texts == 7 and summary.failed == () and summary.left_out == {}
    assert summary.tokens == prose.tokens + code.tokens + data.tokens
    assert prose.tokens == sum(map(token_counter().count, TEXTS))

    parse, tree, saved = (figures(code, name) for name in ("parse", "tree", "saved"))
    for level in ("comments", "compact"):
        assert parse[f"scc --level {level}"] == tree[f"scc --level {level}"] == 1
    assert parse["comments by regex"] == 0  # the class lost its docstring, all that it had
    assert saved["scc --level compact"] >= saved["scc --level comments"] > 0.2  # type: ignore[operator]

    assert figures(data, "equal") == {"scc": 1, "minified": 1, "as it is": 1}
    assert figures(data, "shorter") == {"scc": 1, "minified": 1, "as it is": 0}
    saved = figures(data, "saved")
    assert saved["scc"] > saved["minified"] > saved["as it is"] == 0  # type: ignore[operator]


def test_facts_at_the_end_are_lost_by_truncation_and_kept_by_scc(folder: Path) -> None:
    table = run([folder / f"note{n}.txt" for n in range(5)]).tables[0]
    facts, used = figures(table, "facts"), figures(table, "used")
    assert facts["scc"] >= 0.95  # type: ignore[operator]
    assert facts["truncation"] < 0.4  # type: ignore[operator]
    assert all(0.8 < share <= 1 for share in used.values() if share is not None)
    standing = next(s for s in table.systems if s.system == "truncation").figures["facts"]
    assert standing.texts == 5 and standing.interval is not None
    assert 0.3 < standing.interval[0] <= standing.difference <= standing.interval[1]  # type: ignore[operator]
    assert table.systems[0].figures["facts"].interval is None  # no system differs from itself


def test_a_scrambled_engine_scores_worse(folder: Path, questions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scrambled(text: str, **options: Any) -> Receipt:
        receipt = compress(text, **options)
        words = receipt.compressed.split()
        random.Random(0).shuffle(words)
        return replace(receipt, compressed=" ".join(words[: len(words) // 2]))

    paths = [*sorted(folder.glob("*.txt")), folder / "src", folder / "items.json"]
    good = {table.group: table for table in run(paths, questions).tables}
    monkeypatch.setattr(ENGINE, scrambled)
    bad = {table.group: table for table in run(paths, questions).tables}
    for group, measures in {"questions": ("answers", "facts"), "prose": ("facts", "negation", "run")}.items():
        for measure in measures:
            before, after = figures(good[group], measure), figures(bad[group], measure)
            assert after["scc"] < 0.8 * before["scc"]  # type: ignore[operator]
            assert after["truncation"] == before["truncation"]
    assert figures(bad["code"], "parse")["scc --level comments"] == 0
    assert figures(bad["json"], "equal")["scc"] == 0


def test_a_system_over_its_budget_is_a_bug(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ENGINE, lambda text, **o: replace(compress(text, **o), compressed=text))
    with pytest.raises(AssertionError, match="tokens where the budget is"):
        run([folder / "note0.txt"])


def test_a_budget_that_cannot_be_met_is_told_and_compared_by_no_one(folder: Path, work: Path, scc: Scc) -> None:
    rows = "".join(f"| `--option-{n}` | what it does, number {n} |\n" for n in range(40))
    (folder / "table.md").write_text(f"# Options\n\n| option | meaning |\n|---|---|\n{rows}\nThat is all of them.\n")
    table = run([folder], rates=(0.3,)).tables[0]
    assert (table.given, table.texts) == (6, 5)
    refused = {unmet.system: unmet for unmet in table.unmet}
    assert set(refused) == {"scc", "scc --protect none"} and refused["scc"].texts == 1
    assert refused["scc"].value < figures(table, "facts")["scc"]  # type: ignore[operator]
    assert table == replace(run(sorted(folder.glob("*.txt")), rates=(0.3,)).tables[0], given=6, unmet=table.unmet)
    said = " ".join(scc("bench", "compress", folder, "--rates", "0.3").stdout.split())
    assert "5 of 6 texts" in said
    assert f"scc could not meet the budget of 1 text with {refused['scc'].tokens} tokens, in no row" in said


# --- question sets


def test_answers_survive_or_not(questions: Path) -> None:
    summary = run([], questions, rates=(0.7, 0.4), query=True)
    assert [(t.group, t.rate, t.questions) for t in summary.tables] == [("questions", 0.7, 5), ("questions", 0.4, 5)]
    assert summary.left_out == {"questions without an answer that stands in the text": 5}
    systems = [standing.system for standing in summary.tables[0].systems]
    assert systems[:3] == ["scc --query", "scc", "scc --protect none"]
    answers = figures(summary.tables[1], "answers")
    assert answers["truncation"] == 0 and answers["scc --query"] > 0.6  # type: ignore[operator]


def test_each_question_has_a_text_of_its_own(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def noted(text: str, **options: Any) -> Receipt:
        asked.append(options.get("query"))
        return compress(text, **options)

    monkeypatch.setattr(ENGINE, noted)
    rows = [{"question": f"Who is {name}?", "answers": [name, {"text": "levy"}]} for name in NAMES[:2]]
    text = " ".join(TEXTS[:2])
    (work / "set.jsonl").write_text(json.dumps({"text": text, "questions": rows}) + "\n")
    table = run([], work / "set.jsonl", query=True).tables[0]
    assert asked == ["Who is Helena Marsh?", "Who is Owen Pryce?", None, None]
    assert (table.texts, table.questions) == (1, 2)
    used = table.systems[0].figures["used"].value
    assert used is not None and 0.8 < used <= 1  # each of the two has the whole budget


# --- as a command


def test_the_tables_fit_a_terminal_and_say_what_was_run(folder: Path, questions: Path, scc: Scc) -> None:
    (folder / ".hidden").write_text("x")
    (folder / "photo.png").write_bytes(b"\x89PNG\0")
    (folder / "empty.txt").write_text(" \n")
    (folder / "large.txt").write_text("word " * 5000)
    (folder / "notes.py").write_text(TEXTS[0])
    named = (folder.name, "--questions", questions.name)  # short, however deep the folders of the test are
    done = scc("bench", "compress", *named, "--rates", "0.5", "--max-bytes", "20000")
    assert (done.exit_code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80, max(lines, key=len)
    said = " ".join(done.stdout.split())
    for part in (
        "sha256", "physical cores", "13 texts, ", "tokens of o200k_base; seed 0",
        "code by name, taken for prose by its text: 1 (texts/notes.py)",
        "left out: 1 binary or not UTF-8, 1 empty, 1 hidden, 1 over 20,000 bytes, 5 questions without an answer",
        "Questions on texts: 5 questions on 5 texts, ", "Prose and mixed text: 6 texts, ", ", at 50% of the tokens",
        "Code: 1 text, ", "JSON, JSONL and tables: 1 text, ", "[n<5]",
        f"n<{LEAST}: from so few texts there is no interval, and a difference says little",
    ):  # fmt: skip
        assert part in said
    table = lines[lines.index(next(line for line in lines if line.startswith("Prose"))) + 1 :]
    assert table[0].split() == "system facts difference [95 %] numbers negation names run".split()
    assert table[2].startswith("scc ") and "[" not in table[2]
    assert re.match(r"truncation .* \+\S+ \[-?[.\d]+, -?[.\d]+\]", table[4])
    assert "n<5" not in " ".join(table[: table.index("")])  # six texts


def test_a_budget_that_is_not_used_is_told(folder: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch) -> None:
    def sparing(text: str, **options: Any) -> Receipt:
        return compress(text, **{**options, "max_tokens": int(0.8 * options["max_tokens"]), "protect": "none"})

    notes = sorted(folder.glob("*.txt"))
    assert "of the budget" not in scc("bench", "compress", *notes, "--rates", "0.7").stdout
    monkeypatch.setattr(ENGINE, sparing)
    said = " ".join(scc("bench", "compress", *notes, "--rates", "0.7").stdout.split())
    told = re.search(
        r"of the budget was used, on average: scc (\d+)%, scc --protect none (\d+)%; the others all of it", said
    )
    assert told and {70 < int(share) <= 80 for share in told.groups()} == {True}


def test_json_and_rows_agree_and_a_seed_repeats_them(folder: Path, scc: Scc) -> None:
    def measured(*options: str) -> dict[str, Any]:
        done = scc("bench", "compress", folder, "--rates", "0.5", "--json", *options)
        assert done.exit_code == 0
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    first = measured("--output", "rows.jsonl")
    rows = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()]
    assert len(rows) == 5 * 5 + 4 + 3
    kept, whole = map(sum, zip(*(r["shares"]["facts"] for r in rows if r["system"] == "random words"), strict=True))
    prose = {row["system"]: row["figures"] for row in first["tables"][0]["systems"]}
    assert prose["random words"]["facts"]["value"] == kept / whole
    assert prose["truncation"]["facts"]["interval"][0] <= prose["truncation"]["facts"]["difference"]
    assert measured()["tables"] == first["tables"]
    other = {row["system"]: row["figures"] for row in measured("--seed", "1")["tables"][0]["systems"]}
    assert other["random words"]["facts"]["value"] != prose["random words"]["facts"]["value"]
    assert other["scc"] == prose["scc"]
    limited = measured("--limit", "2")
    assert [table["texts"] for table in limited["tables"]] == [2, 1, 1] and limited["left_out"] == {"beyond --limit": 3}


def test_a_text_that_fails_is_told_and_in_no_table(
    folder: Path, work: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(text: str, **options: Any) -> Receipt:
        if "Owen Pryce" in text:
            raise SccError("not this one")
        return compress(text, **options)

    monkeypatch.setattr(ENGINE, failing)
    (work / "set.jsonl").write_text(
        "".join(json.dumps({"text": text, "answers": [name]}) + "\n" for text, name in zip(TEXTS, NAMES, strict=True))
        + '{"text": 5}\nnot json\n'
    )
    done = scc("bench", "compress", folder, "--questions", "set.jsonl", "--rates", "0.5")
    assert done.exit_code == 3
    for part in ("note1.txt: not this one", "set.jsonl, line 6: no text", "line 7: not JSON", "4 texts failed"):
        assert part in done.stderr
    assert "Prose and mixed text: 4 texts" in done.stdout and "4 questions on 4 texts" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to measure"),
        (["gone"], "no such file or folder: gone"),
        (["void"], "nothing to measure: 1 empty"),
        (["texts", "--rates", "0.5,1.2"], "between 0 and 1"),
        (["texts", "--rates", "half"], "valid number"),
        (["texts", "--rates", ""], "valid number"),
        (["texts", "--limit", "0"], "limit"),
        (["texts", "--query"], "--query goes with --questions"),
        (["--questions", "gone.json"], "no such file: gone.json"),
        (["--questions", "void/empty.txt"], "has no questions"),
        (["--questions", "answers.jsonl", "--query"], "--query needs the text of each question"),
        (["texts", "--tokenizer", "no-such"], "unknown tokenizer"),
        (["texts", "--model", "gone"], "no such folder"),
        (["texts/note0.txt", "--output", "texts/note0.txt"], "is an input itself"),
        (["texts", "--output", "texts"], "is a directory"),
    ],
)
def test_wrong_calls(arguments: list[str], message: str, folder: Path, work: Path, scc: Scc) -> None:
    (work / "void").mkdir()
    (work / "void" / "empty.txt").write_text("")
    (work / "answers.jsonl").write_text(json.dumps({"text": TEXTS[0], "answers": ["Helena Marsh"]}))
    done = scc("bench", "compress", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr and done.stdout == ""
    assert (folder / "note0.txt").read_text() == TEXTS[0]


def test_an_interrupt_leaves_no_half_file(work: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    (work / "many").mkdir()
    for n in range(300):
        (work / "many" / f"{n}.txt").write_text(f"{n}. {LATE} {FILLER}")
    command = [sys.executable, "-m", "compressor_cli", "bench", "compress", "many", "--output", "rows.jsonl"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    processes.append(process)
    for _ in range(1200):  # until some texts are measured
        if any(part.stat().st_size for part in work.glob(".rows.jsonl.*")):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"interrupted\n")
    assert list(work.glob("*rows*")) == list(work.glob(".rows*")) == []


def test_a_table_that_gains_nothing_is_no_prose(work: Path) -> None:
    (work / "towns.csv").write_text("name;town\nAda;Brimley\nBob;Ely\n")
    (work / "one.csv").write_text("a,b\n1,x\n")
    (work / "note.md").write_text(FILLER)
    summary = bench(BenchSettings(), [work], tokenizer="o200k_base")
    assert {table.group: table.given for table in summary.tables} == {"prose": 1, "json": 1}
    assert summary.left_out == {"csv that scc leaves as it is": 1}
