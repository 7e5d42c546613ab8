"""`scc costs` adds up ledgers; an unknown price is never a zero."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Scc

from compressor_cli.core.prices import NANO
from compressor_cli.core.spend import Ledger
from compressor_cli.records import ChatReply, Usage

REPLY = ChatReply("Yes.", "gpt", "req_1", "end", Usage(1000, 50, cache_read=400), 0.1)


@pytest.fixture
def ledger(work: Path) -> Path:
    path = work / "runs" / "one" / "costs.jsonl"
    with Ledger(path) as ledger:
        for _ in range(3):
            ledger.settle(ledger.reserve_now(NANO, model="openai:gpt-4.1", command="generate"), NANO // 3, REPLY)
        ledger.release(ledger.reserve_now(NANO, model="openai:gpt-4.1", command="generate"))
        ledger.keep(ledger.reserve_now(2 * NANO, model="openai:gpt-4.1", command="generate"))
        ledger.settle(ledger.reserve_now(None, model="acme:[red]x", command="validate"), None, REPLY)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line.replace(b'"time": "20', b'"time": "19') for line in lines[:2]) + b"".join(lines[2:]))
    return path


def test_by_day_command_and_model(ledger: Path, scc: Scc) -> None:
    run = scc("costs", "runs", ledger, "--json")
    assert run.exit_code == 0
    told = json.loads(run.stdout)
    assert told["ledgers"] == [str(ledger)]  # once, though named twice
    old, new, other = told["rows"]
    assert old["day"].startswith("19") and new["day"].startswith("20")
    assert (old["requests"], new["requests"], other["requests"]) == (1, 3, 1)
    assert (old["usd_settled"], new["usd_settled"], other["usd_settled"]) == (0.333333333, 0.666666666, None)
    assert (new["usd_unsettled"], new["unsettled"], other["usd_unsettled"]) == (2.0, 1, None)
    assert (new["input_tokens"], new["cached_tokens"], new["output_tokens"]) == (2000, 800, 100)
    assert (other["model"], other["command"], other["unpriced"]) == ("acme:[red]x", "validate", 1)
    assert told["total"]["usd_settled"] == 0.999999999
    assert (told["total"]["requests"], told["total"]["unpriced"]) == (5, 1)


def test_as_a_table(ledger: Path, scc: Scc) -> None:
    run = scc("costs")
    assert run.exit_code == 0
    rows = [line.split() for line in run.stdout.splitlines() if line.strip()]
    assert rows[0][:3] == ["day", "command", "model"]
    assert rows[3][1:] == ["generate", "openai:gpt-4.1", "3", "2,000", "800", "100", "$0.666666666", "$2.0000"]
    assert rows[4][1:] == ["validate", "acme:[red]x", "1", "1,000", "400", "50", "unknown", "unknown"]
    assert rows[-1] == ["total", "5", "4,000", "1,600", "200", "$0.999999999", "+", "unknown", "$2.0000"]
    assert run.stderr == "note: no price is known for 1 requests; they are in no sum\n"


def test_a_torn_line_is_told_and_left_alone(ledger: Path, scc: Scc) -> None:
    ledger.write_bytes(ledger.read_bytes()[:-5])
    before = ledger.read_bytes()
    run = scc("costs", ledger, "--json")
    assert (run.exit_code, json.loads(run.stdout)["rows"][2]["unsettled"]) == (0, 1)
    assert "is cut off" in run.stderr
    assert ledger.read_bytes() == before


def test_an_empty_ledger(work: Path, scc: Scc) -> None:
    (work / "costs.jsonl").write_bytes(b"")
    told = json.loads(scc("costs", "--json").stdout)
    assert told["rows"] == [] and told["total"]["usd_settled"] == 0


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nothing.jsonl", "no such file: "),
        ("empty", "no costs.jsonl in empty"),
        ("pairs.jsonl", "pairs.jsonl, line 1: not an event of a ledger of scc"),
        ("binary", "binary, line 1: not UTF-8"),
    ],
)
def test_what_is_no_ledger(place: str, message: str, work: Path, scc: Scc) -> None:
    (work / "empty").mkdir()
    (work / "pairs.jsonl").write_text('{"messages": []}\n')
    (work / "binary").write_bytes(b"\xff\xfe\n")
    run = scc("costs", place)
    assert (run.exit_code, run.stdout) == (2, "")
    assert message in run.stderr
