"""`scc compress --input`: every row ends compressed, failed or pending; a killed run loses only what was in flight."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import REPO, Run, Scc

from compressor_cli import compress

FIELDS = (
    "compressed engine domain why tokenizer exact tokens_in tokens_out ratio savings rate level minified_tokens "
    "blocks fidelity fidelity_by_kind facts seconds warnings map"
).split()
TEXT = "The ferry to Aldersey leaves from berth {} at 7:40 on working days, and it does not wait for anybody at all."
COMMAND = [sys.executable, "-m", "compressor_cli", "compress", "--input", "in.jsonl", "--output", "out.jsonl"]
BATCH = ("compress", "--input", "in.jsonl", "--output", "out.jsonl")

Row = dict[str, Any]


def write(path: Path, rows: Sequence[Row | str]) -> None:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def good(count: int) -> list[Row]:
    return [{"id": f"row-{n}", "text": TEXT.format(n)} for n in range(count)]


def summary(run: Run) -> Row:
    found: Row = json.loads(run.stdout)
    assert found["asked"] == found["compressed"] + found["failed"] + found["pending"]
    return found


def test_a_row_has_its_id_and_the_receipt(work: Path, scc: Scc) -> None:
    write(
        work / "in.jsonl", [{"id": "a", "text": TEXT.format(1)}, {"text": TEXT.format(2)}, {"id": 7, "text": "x = 1;"}]
    )
    run = scc(*BATCH, "--json")
    assert run.exit_code == 0
    rows = read(work / "out.jsonl")
    assert [row["id"] for row in rows] == ["a", 2, 7]
    for number, row in enumerate(rows[:2], start=1):
        assert list(row) == ["id", "key", *FIELDS]
        assert {**row, "seconds": 0} == {
            "id": row["id"], "key": row["key"], **compress(TEXT.format(number)).as_dict(), "seconds": 0
        }  # fmt: skip
    assert len({row["key"] for row in rows}) == 3
    found = summary(run)
    assert found["tokens_in"] == sum(row["tokens_in"] for row in rows)
    assert found["tokens_out"] == sum(row["tokens_out"] for row in rows)
    assert (found["asked"], found["compressed"], found["failed"], found["already_there"]) == (3, 3, 0, 0)
    assert re.fullmatch(
        r"out\.jsonl: 3 rows, 3 compressed, 0 failed, 0 pending \(0 were there\), \d+\.\d% fewer tokens\n", run.stderr
    )


def test_equal_rows_stay_two_rows(work: Path, scc: Scc) -> None:
    write(work / "in.jsonl", [{"id": "same", "text": TEXT.format(1)}] * 3 + [{"text": TEXT.format(1)}] * 2)
    assert scc(*BATCH).exit_code == 0
    rows = read(work / "out.jsonl")
    assert [row["id"] for row in rows] == ["same", "same", "same", 4, 5]
    assert len({row["key"] for row in rows}) == 5
    run = scc(*BATCH, "--resume", "--json")
    assert (run.exit_code, summary(run)["already_there"]) == (0, 5)
    assert read(work / "out.jsonl") == rows


def test_another_field(work: Path, scc: Scc) -> None:
    write(work / "in.jsonl", [{"id": 1, "body": TEXT.format(1), "text": 5}])
    assert scc(*BATCH, "--field", "body").exit_code == 0
    assert read(work / "out.jsonl")[0]["compressed"] == compress(TEXT.format(1)).compressed


BAD: list[tuple[str, str]] = [
    ("not json", "line 2: not JSON ("),
    ("[1, 2]", "line 2: a JSON object is needed, this is list"),
    ('{"id": "b"}', "line 2: no text in field 'text'"),
    ('{"id": "b", "text": null}', "line 2: no text in field 'text'"),
    ('{"id": "b", "text": ["a"]}', "line 2: 'text' is no string"),
    ('{"id": "b", "text": " "}', "the input is empty"),
]


@pytest.mark.parametrize(("line", "message"), BAD)
def test_a_bad_row_is_recorded_and_the_rest_is_done(line: str, message: str, work: Path, scc: Scc) -> None:
    first, last = good(2)
    write(work / "in.jsonl", [first, line, last])
    run = scc(*BATCH, "--json")
    assert run.exit_code == 3
    assert "error: 1 rows failed, 0 are pending\nhint: " in run.stderr
    assert (summary(run)["compressed"], summary(run)["failed"]) == (2, 1)
    rows = read(work / "out.jsonl")
    assert ["error" in row for row in rows] == [False, True, False]
    assert message in rows[1]["error"]
    assert list(rows[1]) == ["id", "key", "error"]
    assert rows[1]["id"] == ("b" if '"b"' in line else "line 2")


def test_a_row_that_is_not_utf_8(work: Path, scc: Scc) -> None:
    (work / "in.jsonl").write_bytes(b'{"text": "caf\xe9"}\n' + json.dumps({"text": TEXT}).encode() + b"\n")
    assert scc(*BATCH).exit_code == 3
    assert "line 1: not UTF-8" in read(work / "out.jsonl")[0]["error"]


def test_a_budget_that_a_row_cannot_meet_is_its_own_failure(work: Path, scc: Scc) -> None:
    code = "def f(x):\n    return x\n\n\nprint(f(1))\n"
    write(work / "in.jsonl", [{"id": "code", "text": code}, *good(1)])
    run = scc(*BATCH, "--rate", "0.5", "--json")
    assert run.exit_code == 3
    failed, done = read(work / "out.jsonl")
    assert "python takes " in failed["error"] and "the budget is" in failed["error"]
    assert done["tokens_out"] <= 0.5 * done["tokens_in"]


def test_a_lone_surrogate_passes_through(work: Path, scc: Scc) -> None:
    write(work / "in.jsonl", [r'{"id": "\ud800", "text": "The ferry \ud800 does not leave before noon on any day."}'])
    run = scc(*BATCH)
    assert (run.exit_code, len(read(work / "out.jsonl"))) == (0, 1)


def test_no_rows_are_no_failure(work: Path, scc: Scc) -> None:
    write(work / "in.jsonl", [])
    run = scc(*BATCH, "--json")
    assert (run.exit_code, summary(run)["asked"]) == (0, 0)


# --- resume


def test_limit_and_then_the_rest(work: Path, scc: Scc) -> None:
    write(work / "in.jsonl", good(5))
    run = scc(*BATCH, "--limit", "2", "--json")
    assert (run.exit_code, summary(run)["asked"], summary(run)["compressed"]) == (0, 2, 2)
    first = (work / "out.jsonl").read_bytes()
    run = scc(*BATCH, "--resume", "--json")
    found = summary(run)
    assert (run.exit_code, found["asked"], found["compressed"], found["already_there"]) == (0, 5, 5, 2)
    assert (work / "out.jsonl").read_bytes().startswith(first)
    rows = read(work / "out.jsonl")
    assert [row["id"] for row in rows] == [f"row-{n}" for n in range(5)]
    assert found["tokens_in"] == sum(row["tokens_in"] for row in rows[2:])


def test_what_is_there_is_not_written_over(work: Path, scc: Scc) -> None:
    write(work / "in.jsonl", good(1))
    assert scc(*BATCH).exit_code == 0
    before = (work / "out.jsonl").read_bytes()
    run = scc(*BATCH)
    assert (run.exit_code, run.stdout) == (2, "")
    assert "error: out.jsonl already holds rows\nhint: --resume" in run.stderr
    assert (work / "out.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--rate", "0.4"), "rate was 0.5, is 0.4"),
        (("--rate", "0.5", "--tokenizer", "qwen3"), "tokenizer was 'o200k_base', is 'qwen3'"),
        (("--rate", "0.5", "--engine", "prose"), "engine was 'auto', is 'prose'"),
        (("--rate", "0.5", "--domain", "prose"), "domain was None, is 'prose'"),
        (("--rate", "0.5", "--field", "body"), "field was 'text', is 'body'"),
        (("--max-tokens", "9"), "rate was 0.5, is None, max_tokens was None, is 9"),
    ],
)
def test_other_settings_are_refused_by_name(arguments: tuple[str, ...], told: str, work: Path, scc: Scc) -> None:
    write(work / "in.jsonl", good(1))
    assert scc(*BATCH, "--rate", "0.5").exit_code == 0
    before = (work / "out.jsonl").read_bytes()
    run = scc(*BATCH, "--resume", *arguments)
    assert run.exit_code == 2
    assert f"out.jsonl was begun under other settings: {told}\n" in run.stderr
    assert (work / "out.jsonl").read_bytes() == before


def test_failed_rows_are_tried_again_when_asked(work: Path, scc: Scc) -> None:
    write(work / "in.jsonl", [*good(2), {"id": "bad", "text": ""}])
    assert scc(*BATCH).exit_code == 3
    before = (work / "out.jsonl").read_bytes()
    run = scc(*BATCH, "--resume", "--json")
    assert (run.exit_code, summary(run)["already_there"], summary(run)["failed"]) == (3, 3, 1)
    assert (work / "out.jsonl").read_bytes() == before
    run = scc(*BATCH, "--resume", "--retry-errors", "--json")
    assert (run.exit_code, summary(run)["already_there"], summary(run)["failed"]) == (3, 2, 1)
    assert (work / "out.jsonl").read_bytes() == before  # it failed as before: no second row says so


def test_a_torn_row_is_cut_off_told_and_done_again(work: Path, scc: Scc) -> None:
    write(work / "in.jsonl", good(3))
    assert scc(*BATCH).exit_code == 0
    whole = read(work / "out.jsonl")
    os.truncate(work / "out.jsonl", (work / "out.jsonl").stat().st_size - 30)
    run = scc(*BATCH, "--resume", "--json")
    assert run.exit_code == 0
    assert re.search(r"out\.jsonl: a torn last row \(\d+ bytes\) was cut off; it is done again\n", run.stderr)
    assert summary(run)["repaired"] > 0
    again = read(work / "out.jsonl")
    assert [{**row, "seconds": 0} for row in again] == [{**row, "seconds": 0} for row in whole]


# --- what is refused


def test_an_output_that_is_none(work: Path, scc: Scc) -> None:
    write(work / "in.jsonl", good(1))
    (work / "folder").mkdir()
    (work / "link.jsonl").symlink_to("in.jsonl")
    before = (work / "in.jsonl").read_bytes()
    for output, told in (
        ("in.jsonl", "--output in.jsonl is the input itself"),
        ("link.jsonl", "--output link.jsonl is the input itself"),
        ("folder", "folder is not a regular file"),
    ):
        run = scc("compress", "--input", "in.jsonl", "--output", output)
        assert (run.exit_code, run.stdout) == (2, "")
        assert told in run.stderr
    assert (work / "in.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--tokenizer", "nope"), "unknown tokenizer 'nope'"),
        (("--model", "gone"), "--model gone: no such folder"),
        (("--model", "."), "holds no extractive model: model.onnx is missing"),
        (("--rate", "2"), "--rate 2.0 is outside (0, 1]"),
    ],
)
def test_what_is_wrong_for_all_rows_is_refused_before_the_first(
    arguments: tuple[str, ...], told: str, work: Path, scc: Scc
) -> None:
    write(work / "in.jsonl", good(2))
    run = scc(*BATCH, *arguments)
    assert (run.exit_code, run.stdout) == (2, "")
    assert told in run.stderr
    assert [path.name for path in work.iterdir()] == ["in.jsonl"]


def test_a_second_process_is_refused(work: Path, scc: Scc, processes: list[subprocess.Popen[bytes]]) -> None:
    write(work / "in.jsonl", good(20_000))
    process = subprocess.Popen(COMMAND, stderr=subprocess.DEVNULL)
    processes.append(process)
    wait_for_rows(work / "out.jsonl", process)
    run = scc(*BATCH, "--resume")
    assert run.exit_code == 2
    assert "out.jsonl is being written by another process" in run.stderr
    assert process.poll() is None


# --- killed


def wait_for_rows(path: Path, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while not (path.exists() and path.stat().st_size):
        assert process.poll() is None, "it ended before it wrote a row"
        assert time.monotonic() < until
        time.sleep(0.005)


# Rows of some size, at almost no cost for the model: what is tested is the writing.
CHILD = f"""
import sys
sys.path.insert(0, {str(REPO)!r})
from pathlib import Path
from compressor_cli.settings import CompressSettings
from compressor_cli.stages.compress import compress_file
compress_file(CompressSettings(), Path("in.jsonl"), Path("out.jsonl"), resume=True)
"""


def kill_and_resume(work: Path, scc: Scc, *, rounds: int, seed: int) -> int:
    """Kill a batch at random moments, then let it finish. Returns how many kills left a torn row."""
    moments = random.Random(seed)
    rows = [{"id": n, "text": json.dumps(["x" * moments.randrange(12_000)])} for n in range(600)]
    write(work / "in.jsonl", rows)
    out, torn, whole = work / "out.jsonl", 0, b""
    for _ in range(rounds):
        before = out.stat().st_size if out.exists() else 0
        with subprocess.Popen([sys.executable, "-c", CHILD]) as process:
            while process.poll() is None and (not out.exists() or out.stat().st_size <= before):
                time.sleep(0.001)
            time.sleep(moments.random() * 0.05)
            process.send_signal(signal.SIGKILL)
        content = out.read_bytes()
        assert content.startswith(whole), "a row that was whole is gone"
        whole = content[: content.rfind(b"\n") + 1]
        torn += not content.endswith(b"\n")
        if content.count(b"\n") == len(rows):
            break
    there = out.read_bytes().count(b"\n")
    run = scc(*BATCH, "--resume", "--json")
    assert run.exit_code == 0
    assert summary(run)["already_there"] == there
    assert (summary(run)["asked"], summary(run)["compressed"]) == (len(rows), len(rows))
    found = read(out)
    assert [row["id"] for row in found] == list(range(len(rows)))
    assert [row["compressed"] for row in found] == [row["text"] for row in rows]
    return torn


def test_killed_at_random_moments(work: Path, scc: Scc) -> None:
    kill_and_resume(work, scc, rounds=4, seed=1)


@pytest.mark.slow
def test_killed_at_random_moments_many_times(work: Path, scc: Scc) -> None:
    torn = 0
    for seed in range(3):
        folder = work / str(seed)
        folder.mkdir()
        os.chdir(folder)
        torn += kill_and_resume(folder, scc, rounds=25, seed=seed)
    print(f"{torn} kills left a torn row")


def test_rows_of_an_input_that_has_changed_are_told(work: Path, scc: Scc) -> None:
    write(work / "in.jsonl", good(3))
    assert scc(*BATCH).exit_code == 0
    write(work / "in.jsonl", good(3)[1:])
    run = scc(*BATCH, "--resume")
    assert run.exit_code == 0
    assert "1 rows belong to no row of in.jsonl as it is now; they stay" in run.stderr
