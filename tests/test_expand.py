"""`scc compress --map` and `scc expand`: the exact input back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Scc

from compressor_cli import compress, expand
from compressor_cli.errors import UsageError

TEXT = (
    "The council of Brimley met on Tuesday, 3 March, and did not approve the plan for the old bridge by the mill.\r\n"
)


@pytest.mark.parametrize(
    "data", [TEXT.encode(), b"\xef\xbb\xbf" + TEXT.encode() * 9, b"def f():\n    # x\n    return 1\n"]
)
def test_the_exact_bytes_come_back(data: bytes, work: Path, scc: Scc) -> None:
    (work / "in.txt").write_bytes(data)
    assert scc("compress", "in.txt", "--map", "out.map", "-o", "out.txt").exit_code == 0
    assert (work / "out.txt").read_bytes() != data
    assert scc("expand", "out.txt", "--map", "out.map").raw == data
    piped = scc("expand", "--map", "out.map", "-o", "back.txt", stdin=(work / "out.txt").read_bytes())
    assert (piped.exit_code, piped.stdout) == (0, "")
    assert (work / "back.txt").read_bytes() == data


def test_a_map_of_another_text_is_refused(work: Path, scc: Scc) -> None:
    scc("compress", "--map", "a.map", "-o", "a.txt", stdin=TEXT)
    run = scc("expand", "--map", "a.map", stdin=(work / "a.txt").read_text() + "!")
    assert run.exit_code == 2
    assert run.stderr.startswith("error: ")
    assert "hint: " in run.stderr
    assert run.stdout == ""


def test_a_lossless_form_needs_no_map(scc: Scc) -> None:
    rows = [{"id": n, "name": f"quay {n}", "price": 1.50} for n in range(12)]
    table = scc("compress", stdin=json.dumps(rows, indent=2)).stdout
    back = scc("expand", stdin=table)
    assert back.exit_code == 0
    assert json.loads(back.stdout) == rows


def test_other_texts_need_one(scc: Scc) -> None:
    run = scc("expand", stdin="The council met.")
    assert run.exit_code == 2
    assert "no lossless form" in run.stderr and "--map" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.txt"], "no such file: gone.txt"),
        (["--map", "gone.map"], "no such file: gone.map"),
        (["--map", "-"], "cannot both be stdin"),
        (["--output", "."], "is a directory"),
    ],
)
def test_wrong_calls(arguments: list[str], message: str, scc: Scc) -> None:
    run = scc("expand", *arguments, stdin=TEXT)
    assert run.exit_code == 2
    assert message in run.stderr


def test_one_text_one_map(work: Path, scc: Scc) -> None:
    (work / "a.txt").write_text(TEXT)
    for flags in (["--output-dir", "out"], ["--input", "a.txt", "--output", "o.jsonl"]):
        run = scc("compress", *(["a.txt"] if "--output-dir" in flags else []), *flags, "--map", "m")
        assert run.exit_code == 2
        assert "--map and --receipt go with one text" in run.stderr
    assert scc("compress", "a.txt", "--map", "a.txt").exit_code == 2
    assert scc("compress", "a.txt", "--map", "m", "-o", "m").exit_code == 2


def test_from_python() -> None:
    receipt = compress(TEXT, rate=0.6, with_map=True)
    assert expand(receipt) == TEXT
    assert expand(receipt.compressed, receipt.map) == TEXT
    assert isinstance(receipt.as_dict()["map"], str)
    json.dumps(receipt.as_dict())
    with pytest.raises(UsageError):
        expand(compress(TEXT, rate=0.6))
    surrogate = "a lone \ud800 in the council of Brimley on the old bridge by the mill"
    assert expand(compress(surrogate, with_map=True)) == surrogate


def test_the_receipt_file(work: Path, scc: Scc) -> None:
    assert scc("compress", "--receipt", "r.json", "-o", "o.txt", stdin=TEXT).exit_code == 0
    found = json.loads((work / "r.json").read_text())
    assert found["compressed"] == (work / "o.txt").read_bytes().decode()
    assert {fact["status"] for fact in found["facts"]} <= {"kept", "changed", "lost"}
