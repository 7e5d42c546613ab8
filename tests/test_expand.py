"""`scc compress --map` and `scc expand`: the exact input back."""

from __future__ import annotations

import json
import tracemalloc
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


ROWS = [{"id": n, "name": f"quay {n}", "price": 1.50, "tags": ["a", None]} for n in range(12)]


@pytest.mark.parametrize(
    ("text", "begin"),
    [
        (json.dumps(ROWS, indent=2), "# table\n"),
        ("".join(json.dumps(row) + "\n" for row in ROWS), "# jsonl table\n"),
        (json.dumps({"quays": [{"id": n} for n in range(9)], "open": True}, indent=2), ""),
    ],
)
def test_a_damaged_form_says_so(text: str, begin: str, scc: Scc) -> None:
    form = scc("compress", stdin=text).stdout
    assert form.startswith(begin)
    assert scc("expand", stdin=form).exit_code == 0
    run = scc("expand", stdin=form[: len(form) * 2 // 3])
    assert (run.exit_code, run.stdout) == (2, "")
    assert ("begins as a lossless form, but the rest cannot be read" in run.stderr) is form.startswith("# ")


@pytest.mark.parametrize(
    "table",
    [
        {"$columns": ["k" * 50_000], "$rows": [[1]] * 50_000},
        {"$columns": [{"k": "x" * 50_000}], "$rows": [[]] * 50_000},
        {"$columns": [{f"k{n}": 1} for n in range(20_000)], "$rows": [[]] * 50_000},
        {"$columns": ["a"], "$rows": [[{"$columns": ["k" * 9000], "$rows": [[1]] * 9000}]] * 20},
        {"$columns": [{"a": [["k" * 50_000]]}], "$rows": [[[[1]] * 50_000]]},
    ],
    ids=["name", "constant", "columns", "tables in a table", "arrays"],
)
def test_a_short_text_does_not_become_gigabytes(table: object) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match="too large"):
            expand("# table\n" + json.dumps(table, separators=(",", ":")))
        assert tracemalloc.get_traced_memory()[1] < 500e6
    finally:
        tracemalloc.stop()


def test_a_map_that_claims_gigabytes_is_damaged(work: Path, scc: Scc) -> None:
    scc("compress", "--map", "a.map", "-o", "a.txt", stdin=TEXT)
    whole = (work / "a.map").read_bytes()
    for n in range(0, len(whole), 7):
        (work / "cut.map").write_bytes(whole[:n])
        assert scc("expand", "--map", "cut.map", "a.txt").exit_code == 2
    (work / "huge.map").write_bytes(whole[:38] + b"\xff" * 4 + whole[42:])
    run = scc("expand", "--map", "huge.map", "a.txt")
    assert (run.exit_code, run.stdout) == (2, "") and "it claims 4,294,967,295 bytes" in run.stderr


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


@pytest.mark.parametrize("given", [5, None, b"text"])
def test_what_is_no_text_is_refused(given: object) -> None:
    with pytest.raises(UsageError, match="text or a receipt is needed"):
        expand(given)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="bytes are needed"):
        expand("text", map=5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["\ud800 and so on the bridge was closed to all. " * 3, "# \ud800\nimport os\n", "a,b\n\ud800,2\n3,4\n"]
)
def test_half_a_character_comes_back(text: str) -> None:
    assert expand(compress(text, with_map=True)) == text
