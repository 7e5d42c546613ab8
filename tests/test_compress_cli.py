"""`scc compress`: what goes in and out, and every way to call it wrongly."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Scc

from compressor_cli import compress
from compressor_cli.core.tokens import token_counter

TEXT = (
    "The lighthouse on Skarrow was lit on 9 October 1871, and it has not been dark for a single night since then. "
    "Its keeper, Ines Mallory, climbs the 204 steps twice a day. She says that she would never exchange the place for "
    "a house in the town, because of the quiet."
)
CODE = "def add(a, b):\n    return a + b\n\n\nprint(add(1, 2))\n"
COMMAND = [sys.executable, "-m", "compressor_cli", "compress"]


@pytest.fixture
def note(work: Path) -> Path:
    path = work / "note.md"
    path.write_text(TEXT)
    return path


# --- in and out


def test_stdout_is_the_compressed_text_and_nothing_else(note: Path, scc_process: Scc) -> None:
    expected = compress(TEXT).compressed.encode()
    for run in (
        scc_process("compress", stdin=TEXT),
        scc_process("compress", "-", stdin=TEXT),
        scc_process("compress", note),
    ):
        assert (run.exit_code, run.raw, run.stderr) == (0, expected, "")


def test_the_end_of_the_input_is_the_end_of_the_output(scc: Scc) -> None:
    assert scc("compress", stdin=TEXT + "\n").stdout.endswith(".\n")
    assert not scc("compress", stdin=TEXT).stdout.endswith("\n")


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_bytes_are_utf_8_both_ways(ends: str, scc: Scc) -> None:
    text = f"Ünal paid 5 € — “gladly”, it is said.{ends}{ends}```{ends}naïve   東京{ends}```{ends}"
    run = scc("compress", stdin=b"\xef\xbb\xbf" + text.encode())
    assert run.exit_code == 0
    assert run.raw.endswith(f"```{ends}naïve   東京{ends}```{ends}".encode())


def test_budgets(scc: Scc) -> None:
    count = token_counter().count
    total = count(TEXT)
    assert count(scc("compress", "--rate", "0.4", stdin=TEXT).stdout) <= 0.4 * total
    assert 8 <= count(scc("compress", "--max-tokens", "10", "--allow-loss", stdin=TEXT).stdout) <= 10
    assert scc("compress", "--rate", "1", stdin=TEXT).stdout == TEXT


def test_stats_are_a_line_on_stderr_when_asked(scc: Scc) -> None:
    receipt = compress(TEXT)
    run = scc("compress", "--stats", stdin=TEXT)
    assert run.stdout == receipt.compressed
    told = f"prose: {receipt.tokens_in} -> {receipt.tokens_out} tokens, {receipt.savings:.1%} saved, "
    assert run.stderr.startswith(told)
    assert run.stderr.endswith(" ms\n")
    assert run.stderr.count("\n") == 1
    estimated = scc("compress", "--stats", "--tokenizer", "claude-sonnet-4-5", stdin=TEXT)
    assert "tokens (estimated), " in estimated.stderr


def test_at_a_terminal_the_line_is_the_default(note: Path) -> None:
    for option, lines in ((None, 1), ("--no-stats", 0)):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [*COMMAND, str(note), *([option] if option else [])], stdout=subprocess.PIPE, stderr=theirs
        )
        stdout, _ = process.communicate(timeout=60)
        os.write(theirs, b"end")  # a terminal without anything to read would block
        os.close(theirs)
        seen = os.read(ours, 10_000).decode().removesuffix("end")
        os.close(ours)
        assert (process.returncode, stdout) == (0, compress(TEXT).compressed.encode())
        assert seen.count("\n") == lines
        assert seen.startswith("prose: ") == bool(lines)


def test_warnings_are_notes_on_stderr(scc: Scc) -> None:
    run = scc("compress", "--no-stats", stdin=CODE)
    assert (run.exit_code, run.stdout) == (0, CODE)
    assert run.stderr == "note: nothing to gain: left as it is\n"


def test_json_is_one_object_with_the_receipt(scc: Scc) -> None:
    run = scc("compress", "--json", "--rate", "0.5", stdin=TEXT)
    assert (run.exit_code, run.stderr) == (0, "")
    assert run.stdout.count("\n") == 1
    found = json.loads(run.stdout)
    assert list(found) == (
        "compressed engine domain why tokenizer exact tokens_in tokens_out ratio savings rate level minified_tokens "
        "blocks fidelity fidelity_by_kind facts seconds warnings map".split()
    )
    expected = compress(TEXT, rate=0.5).as_dict()
    assert {**found, "seconds": 0} == {**expected, "seconds": 0}
    assert found["seconds"] > 0


def test_output_is_a_file(work: Path, note: Path, scc: Scc) -> None:
    expected = compress(TEXT).compressed
    run = scc("compress", note, "--output", "new/out.md")
    assert (run.exit_code, run.stdout, run.stderr) == (0, "", "")
    assert (work / "new" / "out.md").read_text() == expected
    run = scc("compress", note, "-o", "out.md", "--json")
    assert json.loads(run.stdout)["compressed"] == (work / "out.md").read_text() == expected


def test_a_failure_leaves_the_output_as_it_was(work: Path, scc: Scc) -> None:
    (work / "out.md").write_text("before")
    assert scc("compress", "--max-tokens", "3", "-o", "out.md", stdin=CODE).exit_code == 100
    assert (work / "out.md").read_text() == "before"


# --- several files


def test_several_files_keep_their_names(work: Path, note: Path, scc: Scc) -> None:
    (work / "code.py").write_text(CODE)
    run = scc("compress", note, "code.py", "--output-dir", "out", "--stats", "--json")
    assert run.exit_code == 0
    assert (work / "out" / "note.md").read_text() == compress(TEXT).compressed
    assert (work / "out" / "code.py").read_text() == CODE
    assert f"{note}: prose: " in run.stderr
    assert "note: code.py: nothing to gain: left as it is" in run.stderr
    rows = json.loads(run.stdout)["files"]
    assert [(row["file"], row["output"], row["engine"]) for row in rows] == [
        (str(note), "out/note.md", "prose"),
        ("code.py", "out/code.py", "none"),
    ]


def test_one_file_that_fails_does_not_stop_the_others(work: Path, note: Path, scc: Scc) -> None:
    (work / "empty.md").touch()
    (work / "binary.md").write_bytes(b"a\0b")
    run = scc("compress", "gone.md", "empty.md", "binary.md", note, "--output-dir", "out", "--json")
    assert run.exit_code == 3
    assert [path.name for path in (work / "out").iterdir()] == ["note.md"]
    assert "error: no such file: gone.md\n" in run.stderr
    assert "error: empty.md: the input is empty\n" in run.stderr
    assert "error: binary.md: binary data" in run.stderr
    assert "error: 3 of 4 files failed\n" in run.stderr
    failed = [row for row in json.loads(run.stdout)["files"] if "error" in row]
    assert [row["file"] for row in failed] == ["gone.md", "empty.md", "binary.md"]


# --- settings


def test_a_setting_comes_from_flag_environment_file_and_default(
    work: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rate(*arguments: str) -> float:
        run = scc("compress", "--json", *arguments, stdin=TEXT)
        assert run.exit_code == 0, run.stderr
        return float(json.loads(run.stdout)["rate"])

    (work / "c.yaml").write_text("compress:\n  rate: 0.6\n")
    assert rate() == pytest.approx(0.5, abs=0.02)
    assert rate("--config", "c.yaml") == 0.6
    monkeypatch.setenv("SCC_COMPRESS__RATE", "0.7")
    assert rate("--config", "c.yaml") == 0.7
    assert rate("--config", "c.yaml", "--rate", "0.8") == 0.8


def test_a_budget_flag_takes_the_place_of_the_other_kind(work: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch) -> None:
    (work / "c.yaml").write_text("compress:\n  rate: 0.9\n")
    run = scc("compress", "--json", "--config", "c.yaml", "--max-tokens", "32", stdin=TEXT)
    assert run.exit_code == 0
    assert json.loads(run.stdout)["tokens_out"] <= 32
    (work / "c.yaml").write_text("compress:\n  max_tokens: 5\n")
    run = scc("compress", "--json", "--config", "c.yaml", "--rate", "0.5", stdin=TEXT)
    assert json.loads(run.stdout)["tokens_out"] > 5
    monkeypatch.setenv("SCC_COMPRESS__RATE", "0.5")
    run = scc("compress", "--config", "c.yaml", stdin=TEXT)
    assert (run.exit_code, run.stdout) == (2, "")
    assert "--rate and --max-tokens exclude each other" in run.stderr


# --- what is refused

_USAGE = [
    (("--rate", "0"), "--rate 0.0 is outside (0, 1]"),
    (("--rate", "1.5"), "--rate 1.5 is outside (0, 1]"),
    (("--rate", "-0.5"), "--rate -0.5 is outside (0, 1]"),
    (("--rate", "nan"), "--rate nan is outside (0, 1]"),
    (("--max-tokens", "0"), "--max-tokens 0: at least 1 is needed"),
    (("--rate", "0.5", "--max-tokens", "9"), "--rate and --max-tokens exclude each other"),
    (("--tokenizer", "nope"), "unknown tokenizer 'nope'"),
    (("--engine", "magic"), "unknown engine 'magic'"),
    (("--domain", "poem"), "unknown domain 'poem'"),
    (("--engine", "prose", "--domain", "json"), "--engine prose does not fit --domain json"),
    (("--model", "gone"), "--model gone: no such folder"),
    (("--model", "folder"), "folder holds no extractive model: model.onnx is missing"),
    (("--config", "gone.yaml"), "--config gone.yaml: No such file or directory"),
    (("gone.md",), "no such file: gone.md"),
    (("folder",), "folder is a directory; a text file is needed"),
    (("note.md", "note.md"), "several files need --output-dir"),
    (("note.md", "-o", "note.md"), "--output note.md is the input itself"),
    (("note.md", "-o", "folder"), "--output folder is a directory"),
    (("note.md", "--output-dir", "."), "--output-dir . would overwrite its input note.md"),
    (("note.md", "--output-dir", "c.yaml"), "--output-dir c.yaml is not a directory"),
    (("note.md", "folder/note.md", "--output-dir", "out"), "--output-dir: each FILE needs a name of its own"),
    (("-", "--output-dir", "out"), "--output-dir: each FILE needs a name of its own"),
    (("--output-dir", "out"), "--output-dir takes FILEs and no --output"),
    (("note.md", "--output-dir", "out", "-o", "x"), "--output-dir takes FILEs and no --output"),
    (("note.md", "--resume"), "--resume goes with --input"),
    (("note.md", "--limit", "3"), "--limit goes with --input"),
    (("note.md", "--output-dir", "out", "--resume"), "--resume goes with --input"),
    (("--input", "rows.jsonl"), "--input takes --output OUT.jsonl"),
    (("--input", "rows.jsonl", "-o", "out.jsonl", "note.md"), "--input takes --output OUT.jsonl"),
    (("--input", "gone.jsonl", "-o", "out.jsonl"), "no such file: gone.jsonl"),
    (("--nonsense",), "No such option"),
    (("--rate", "half"), "Invalid value"),
]


@pytest.mark.parametrize(("arguments", "message"), _USAGE, ids=lambda value: " ".join(value)[:40])
def test_wrong_usage_exits_2_with_one_line(
    arguments: tuple[str, ...], message: str, work: Path, note: Path, scc: Scc
) -> None:
    (work / "folder").mkdir()
    (work / "c.yaml").write_text("compress:\n  rate: 0.9\n")
    (work / "rows.jsonl").write_text('{"text": "One row."}\n')
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    run = scc("compress", *arguments, stdin=TEXT)
    assert (run.exit_code, run.stdout) == (2, "")
    assert message in run.stderr
    if "error: " in run.stderr:
        assert [line for line in run.stderr.splitlines() if not line.startswith("hint: ")] == [
            run.stderr.splitlines()[0]
        ]
    assert {path: path.read_bytes() for path in work.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "stdin: the input is empty"),
        (b" \n\t\n", "stdin: the input is empty"),
        (b"ab\0cd", "stdin: binary data (a NUL byte at offset 2); UTF-8 text is needed"),
        (b"caf\xe9 au lait", "stdin: not UTF-8: byte 0xe9 at offset 3"),
        ("ab".encode("utf-16"), "stdin: UTF-16, and UTF-8 is needed"),
    ],
)
def test_input_that_is_no_text_exits_2(data: bytes, message: str, work: Path, scc: Scc) -> None:
    run = scc("compress", stdin=data)
    assert (run.exit_code, run.stdout) == (2, "")
    assert f"error: {message}\n" in run.stderr
    (work / "in.md").write_bytes(data)
    run = scc("compress", "in.md")
    assert (run.exit_code, run.stdout) == (2, "")
    assert f"error: {message.replace('stdin', 'in.md')}\n" in run.stderr


def test_a_broken_model_is_one_line(work: Path, scc: Scc) -> None:
    (work / "run" / "model").mkdir(parents=True)
    for name in ("model.onnx", "tokenizer.json", "model.json"):
        (work / "run" / "model" / name).write_text("{}")
    run = scc("compress", "--model", "run", stdin=TEXT)
    assert (run.exit_code, run.stdout) == (2, "")
    assert re.match(r"error: \S+/run/model is not an extractive model: ", run.stderr)
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (CODE, "python takes 18 tokens at the level compact, the budget is 4"),
        ('{"a": [1, 2, 3, 4]}', "JSON is kept whole and takes 11 tokens, the budget is 4"),
        ("a: 1\nb:\n  - c\n  - d\ne: f\n", "yaml stays as it is and takes {total} tokens, the budget is 4"),
        (f"Look:\n\n```\n{CODE}```", "what must stay as it is takes "),
    ],
)
def test_a_budget_that_cannot_be_met_exits_100(text: str, told: str, scc: Scc) -> None:
    run = scc("compress", "--max-tokens", "4", stdin=text)
    assert (run.exit_code, run.stdout) == (100, "")
    assert told.format(total=token_counter().count(text)) in run.stderr


# --- signals and pipes


def test_a_closed_pipe_is_141_without_noise(work: Path, note: Path) -> None:
    note.write_text("\n\n".join([TEXT] * 400))
    command = [*COMMAND, "--rate", "1", str(note)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    process.stdout.close()
    stderr = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert stderr == b"note: already within the budget\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it(number: int, code: int, work: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    rows = "".join(json.dumps({"id": n, "text": TEXT}) + "\n" for n in range(20_000))
    (work / "in.jsonl").write_text(rows)
    process = subprocess.Popen([*COMMAND, "--input", "in.jsonl", "-o", "out.jsonl"], stderr=subprocess.PIPE)
    processes.append(process)
    out = work / "out.jsonl"
    until = time.monotonic() + 60
    while not (out.exists() and out.stat().st_size):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert stderr.splitlines()[-1] in (b"interrupted", b"terminated")
    written = out.read_bytes()
    assert written.endswith(b"\n") or not written  # the only row, if it was not yet known to be whole


def test_a_dash_as_output_is_stdout_and_no_file(work: Path, scc: Scc) -> None:
    run = scc("compress", "-o", "-", stdin="The plan of the harbour office was approved on 4 March by the council.")
    assert run.exit_code == 0 and run.stdout
    run = scc("compress", "--input", "in.jsonl", "-o", "-")
    assert run.exit_code == 2 and "a batch is resumable" in run.stderr
    assert not (work / "-").exists()


def test_field_without_a_batch_is_refused(scc: Scc) -> None:
    run = scc("compress", "--field", "text", stdin="Some text.")
    assert run.exit_code == 2 and "--field goes with --input" in run.stderr


def test_an_estimate_is_told(scc: Scc) -> None:
    text = "The plan of the harbour office was approved on 4 March by the council of the town."
    run = scc("compress", "--tokenizer", "claude-sonnet-4-5", stdin=text)
    assert run.exit_code == 0
    assert "the tokenizer of claude-sonnet-4-5 is not public; tokens are an estimate" in run.stderr


@pytest.mark.parametrize("flag", ["--map", "--receipt"])
def test_a_dash_is_no_file_for_a_map_or_a_receipt(flag: str, work: Path, scc: Scc) -> None:
    run = scc("compress", flag, "-", stdin=TEXT)
    assert (run.exit_code, run.stdout) == (2, "") and f"{flag} -" in run.stderr
    assert not (work / "-").exists()


def test_a_chat_without_the_flag_is_told(scc: Scc) -> None:
    chat = json.dumps({"messages": [{"role": "user", "content": TEXT}, {"role": "user", "content": "And so on?"}]})
    assert "with --chat its contents are compressed" in scc("compress", stdin=chat).stderr
    assert "--chat" not in scc("compress", "--chat", stdin=chat).stderr
    assert "--chat" not in scc("compress", stdin='{"messages": [1, 2], "role": 3}').stderr
