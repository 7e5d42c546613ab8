"""Patterns of a user: nothing they can do hangs, passes in silence, or matches nothing without a word."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from conftest import Scc

from compressor_cli import compress
from compressor_cli.engines import patterns
from compressor_cli.engines.options import Options
from compressor_cli.errors import UsageError

SLOW = "(a+)+$"
TEXT = "The old bridge by the mill was closed to lorries by the council, " + "a" * 40 + "b, and it stays so."


def test_a_pattern_that_takes_for_ever_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "_SECONDS", 0.5)
    began = time.perf_counter()
    with pytest.raises(UsageError, match=r"--protect-pattern '\(a\+\)\+\$' takes too long on this text") as caught:
        compress(TEXT, protect_pattern=[SLOW])
    assert time.perf_counter() - began < 20
    assert caught.value.hint


def test_it_is_refused_for_a_chat_and_for_a_pair_too(monkeypatch: pytest.MonkeyPatch, work: Path, scc: Scc) -> None:
    monkeypatch.setattr(patterns, "_SECONDS", 0.5)
    chat = json.dumps([{"role": "user", "content": TEXT}])
    with pytest.raises(UsageError, match="takes too long"):
        compress(chat, chat=True, protect_pattern=[SLOW])
    (work / "a.txt").write_text(TEXT)
    run = scc("check", "a.txt", "a.txt", "--protect-pattern", SLOW)
    assert (run.exit_code, run.stdout) == (2, "")
    assert "takes too long" in run.stderr


@pytest.mark.parametrize("pattern", ["x*", "a|", "", "(?=old)", r"\b", "$"])
def test_what_matches_empty_text_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="matches where nothing stands"):
        compress(TEXT, protect_pattern=[pattern])


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "a{99999999999999}", "\\"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="--protect-pattern "):
        Options(protect_pattern=pattern)


def test_one_pattern_needs_no_list() -> None:
    one, listed = (compress(TEXT, rate=0.5, protect="none", protect_pattern=given) for given in ("mill", ["mill"]))
    assert one.compressed == listed.compressed
    assert "mill" in one.compressed


@pytest.mark.parametrize("text", [TEXT, "x = 1  # one\n" * 9, '{"a": [1, 2, 3], "b": "none"}', "short"])
def test_a_pattern_that_matches_nothing_is_told(text: str) -> None:
    receipt = compress(text, protect_pattern=["zebra", "[a-z]"])
    assert [told for told in receipt.warnings if "matches nothing" in told] == [
        "--protect-pattern 'zebra' matches nothing in the text"
    ]


def test_of_a_chat_it_is_told_once_and_of_all_of_it() -> None:
    chat = json.dumps([{"role": "user", "content": TEXT}, {"role": "user", "content": "Which mill?\nThat one."}] * 3)
    receipt = compress(chat, chat=True, protect_pattern=["zebra", r"mill\?\nThat", "council"])
    assert [told for told in receipt.warnings if "matches nothing" in told] == [
        "--protect-pattern 'zebra' matches nothing in the text"
    ]


def test_a_row_has_the_warning(work: Path, scc: Scc) -> None:
    (work / "in.jsonl").write_text(json.dumps({"text": TEXT}) + "\n")
    run = scc("compress", "--input", "in.jsonl", "-o", "out.jsonl", "--protect-pattern", "zebra")
    assert run.exit_code == 0
    row = json.loads((work / "out.jsonl").read_text())
    assert "--protect-pattern 'zebra' matches nothing in the text" in row["warnings"]


def test_check_tells_it_too(work: Path, scc: Scc) -> None:
    (work / "a.txt").write_text(TEXT)
    run = scc("check", "a.txt", "a.txt", "--protect-pattern", "zebra")
    assert run.exit_code == 0
    assert "note: what --protect-pattern names is not in the original\n" in run.stderr
    assert "note" not in scc("check", "a.txt", "a.txt", "--protect-pattern", "mill").stderr


def test_any_characters_reach_the_child() -> None:
    text = "caf\u00e9 \ud800 \u6771\u4eac \0 end" + "."
    found = patterns.UserPattern("\u00e9|\ud800|\u6771+|\0").finditer(text)
    assert [match.group() for match in found] == ["\u00e9", "\ud800", "\u6771", "\0"]
