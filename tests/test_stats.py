"""`scc data stats`: exact counts, and what rows are of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Scc

from compressor_cli.core.tokens import token_counter


def test_counts_are_those_of_the_contents(work: Path, scc: Scc) -> None:
    rows = [
        {"messages": [{"role": "user", "content": "one two three"}, {"role": "assistant", "content": "one"}]},
        {"messages": [{"role": "user", "content": "a b c d"}, {"role": "assistant", "content": "a b"}]},
    ]
    metas = [
        {"id": "1", "domain": "prose", "category": "x"},
        {"id": "2", "domain": "code", "original": "a b c d e f g h", "compressed": "a b"},
    ]
    (work / "data").mkdir()
    (work / "data/train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (work / "data/train.meta.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metas))
    (work / "data/test.jsonl").write_text(json.dumps({"text": "alone", "domain": "prose"}) + "\n")
    told = json.loads(scc("data", "stats", "data", "data/test.jsonl", "--json").stdout)
    count = token_counter().count
    first, second = count("one two three") + count("one"), count("a b c d") + count("a b")
    assert told["total"]["rows"] == 3
    assert told["by"]["split"]["train"]["tokens"] == first + second
    assert told["by"]["domain"]["prose"]["tokens"] == first + count("alone")
    assert told["by"]["category"] == {"x": told["by"]["category"]["x"]}
    assert told["by"]["domain"]["code"]["ratio"] == count("a b") / count("a b c d e f g h")
    assert told["by"]["category"]["x"]["ratio"] == round(count("one") / count("one two three"), 4)
    assert told["by"]["split"]["test"]["ratio"] is None
    assert told["total"]["histogram"]["<=64"] == 3 and sum(told["total"]["histogram"].values()) == 3


def test_percentiles_are_by_nearest_rank(work: Path, scc: Scc) -> None:
    texts = ["a", "a b c d e f"]
    (work / "rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    found = json.loads(scc("data", "stats", "rows.jsonl", "--json").stdout)["total"]
    assert (found["p50"], found["p95"]) == tuple(map(token_counter().count, texts))


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"conversations": [{"from": "human", "value": "one"}, {"from": "gpt", "value": "two"}]}, ["one", "two"]),
        ({"instruction": "one", "input": "", "output": "two", "id": "not counted"}, ["one", "two"]),
        ({"prompt": [{"role": "user", "content": "one"}], "chosen": "two", "rejected": "six"}, ["one", "two", "six"]),
        (
            {"messages": [{"role": "assistant", "content": "", "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}]}]},
            ["add", '{"a": 1}'],
        ),
    ],
)  # fmt: skip
def test_every_form_is_counted(row: object, text: list[str], work: Path, scc: Scc) -> None:
    (work / "rows.jsonl").write_text(json.dumps(row) + "\n")
    told = json.loads(scc("data", "stats", "rows.jsonl", "--json").stdout)
    assert told["total"]["tokens"] == sum(map(token_counter().count, text))


def test_as_a_table(samples: Path, scc: Scc) -> None:
    run = scc("data", "stats", samples)
    assert run.exit_code == 0
    lines = run.stdout.splitlines()
    assert lines[0].split() == ["split", "rows", "tokens", "mean", "p50", "p95", "max", "ratio"]
    assert [line.split()[1] for line in lines[2:5]] == ["10", "80", "10"]
    assert any(line.endswith("#" * 40) for line in lines)
    assert lines[-1].split()[1] == "tokens" and lines[-1].split()[2] != "0"  # no empty bins at the end
    assert "estimate" in scc("data", "stats", samples, "--tokenizer", "claude-x").stderr


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("none.jsonl", "no such file"),
        ("folder", "no JSONL files in folder"),
        ("bad.jsonl", "bad.jsonl, line 2: not JSON"),
        ("empty.jsonl", "no rows in empty.jsonl"),
        ("uneven.jsonl", "uneven.jsonl and uneven.meta.jsonl have different numbers of lines"),
    ],
)
def test_what_is_no_data(place: str, message: str, work: Path, scc: Scc) -> None:
    (work / "folder").mkdir()
    (work / "bad.jsonl").write_text('{"text": "a"}\nb\n')
    (work / "empty.jsonl").write_text("")
    (work / "uneven.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    (work / "uneven.meta.jsonl").write_text("{}\n")
    run = scc("data", "stats", place)
    assert (run.exit_code, run.stdout) == (2, "")
    assert message in run.stderr
