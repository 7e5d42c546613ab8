"""Counting, and `scc tokens`; also how any command reads its text."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Scc
from hypothesis import given
from hypothesis import strategies as st

from compressor_cli.core.text_input import decode_text, read_text
from compressor_cli.core.tokens import VOCABULARIES, token_counter
from compressor_cli.engines.options import Options
from compressor_cli.errors import UsageError

# o200k_base: "Hello", ",", " world", "!"
HELLO, HELLO_TOKENS = "Hello, world!", 4


# --- counting


@pytest.mark.parametrize("name", VOCABULARIES)
def test_every_vocabulary_counts(name: str) -> None:
    counter = token_counter(name)
    assert counter.exact
    assert counter.count("") == 0
    assert 2 <= counter.count(HELLO) <= len(HELLO)


@pytest.mark.parametrize(
    ("name", "same_as"),
    [
        ("gpt-4o", "o200k_base"),
        ("GPT-4o-mini", "o200k_base"),
        ("openai:gpt-4o", "o200k_base"),
        ("ft:gpt-4o:team::abc", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("Qwen/Qwen3-8B", "qwen3"),
        ("qwen3:8b", "qwen3"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen3"),
        ("meta-llama/Llama-3.1-8B", "llama3"),
        ("deepseek-ai/DeepSeek-R1", "deepseek_v3"),
        ("google/gemma-3-4b-it", "gemma3"),
        ("microsoft/phi-4", "phi4"),
    ],
)
def test_model_names(name: str, same_as: str) -> None:
    text = "Straße 東京 l'été naïve\n\n    def f(x): return 12345 != 678\n" * 3
    counter = token_counter(name)
    assert counter.exact
    assert counter.name == name
    assert counter.count(text) == token_counter(same_as).count(text)


@pytest.mark.parametrize(
    "name",
    ["claude-opus-4-5", "anthropic/claude-sonnet-4:beta", "anthropic.claude-3-sonnet-v1:0", "gemini-3-pro"],
)
def test_secret_tokenizers_are_estimates(name: str) -> None:
    assert not token_counter(name).exact


@pytest.mark.parametrize(
    "name",
    # A relative with another vocabulary: an exact count would be a wrong one.
    ["nope", "", "qwen3.5-8b", "deepseek-r1-distill-llama-8b", "microsoft/phi-4-mini", "mistral-large-2407"],
)
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="unknown tokenizer") as caught:
        token_counter(name)
    assert caught.value.hint and "o200k_base" in caught.value.hint


@pytest.mark.parametrize("name", ["o200k_base", "qwen3", "cl100k_base"])
def test_special_tokens_in_a_text_are_text(name: str) -> None:
    assert token_counter(name).count("<|endoftext|>") > 1


def test_known_counts() -> None:
    # What tiktoken counts for the same strings.
    count = token_counter("o200k_base").count
    assert [count(text) for text in (HELLO, "<|endoftext|>", " ", "a" * 80, "\n\n")] == [4, 7, 1, 10, 1]


@given(text=st.text(st.characters()))
def test_any_string_has_a_count(text: str) -> None:
    assert 0 <= token_counter("o200k_base").count(text) <= 4 * len(text)


def tokenizer_file(folder: Path) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.enable_truncation(2)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def test_a_tokenizer_file_counts_all_of_a_text(work: Path) -> None:
    path = tokenizer_file(work)
    for name in (str(path), str(work)):
        counter = token_counter(name)
        assert counter.exact
        assert counter.count("a b a b a") == 5
        assert counter.count("a <|end|> b") == 5
        assert counter.count("a \ud800") == 2


def test_a_tokenizer_file_that_is_none(work: Path) -> None:
    with pytest.raises(UsageError, match=r"no such tokenizer file: gone\.json"):
        token_counter("gone.json")
    (work / "bad.json").write_text("{}")
    with pytest.raises(UsageError, match=r"bad\.json is not a tokenizer\.json"):
        token_counter("bad.json")


# --- reading


def test_text_is_read_as_it_is(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (work / "a").write_bytes("\ufeffé\r\nb\n".encode())
    assert read_text(Path("a")) == "é\r\nb\n"
    for name in (None, Path("-")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\ufeffé\r\n".encode())))
        assert read_text(name) == "é\r\n"


@given(data=st.binary(max_size=40))
def test_bytes_are_text_or_an_error(data: bytes) -> None:
    try:
        text = decode_text(data, "x")
    except UsageError as exc:
        assert str(exc).startswith("x: ")
    else:
        assert text.encode() == data.removeprefix(b"\xef\xbb\xbf")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"caf\xe9", "in: not UTF-8: byte 0xe9 at offset 3"),
        (b"\xef\xbb\xbfcaf\xe9", "in: not UTF-8: byte 0xe9 at offset 6"),
        (b"ab\x00c\xff", "in: binary data (a NUL byte at offset 2); UTF-8 text is needed"),
        ("ab".encode("utf-16"), "in: UTF-16, and UTF-8 is needed"),
        (b"\xed\xa0\x80", "in: not UTF-8: byte 0xed at offset 0"),
        (None, "no such file: in"),
        ("directory", "in is a directory; a text file is needed"),
    ],
)
def test_what_is_no_text_is_refused(
    content: bytes | str | None, message: str, work: Path, scc: Scc, tmp_path: Path
) -> None:
    if content == "directory":
        (work / "in").mkdir()
    elif isinstance(content, bytes):
        (work / "in").write_bytes(content)
        piped = scc("tokens", stdin=content)
        assert (piped.exit_code, piped.stdout) == (2, "")
        assert message.replace("in: ", "stdin: ") in piped.stderr
    run = scc("tokens", "in")
    assert (run.exit_code, run.stdout) == (2, "")
    assert f"error: {message}\n" in run.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_refused(work: Path, scc: Scc) -> None:
    (work / "in").touch(mode=0o000)
    run = scc("tokens", "in")
    assert run.exit_code == 2
    assert "in cannot be read: Permission denied" in run.stderr


def test_a_closed_stdin() -> None:
    command = [sys.executable, "-m", "compressor_cli", "tokens"]
    done = subprocess.run(["sh", "-c", '"$@" <&-', "sh", *command], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: stdin is closed; name a file\n" in done.stderr


# --- the command


def test_stdin_gives_one_number(scc: Scc) -> None:
    for arguments in ((), ("-",)):
        run = scc("tokens", *arguments, stdin=HELLO)
        assert (run.exit_code, run.stderr) == (0, "")
        assert run.stdout.split()[0] == str(HELLO_TOKENS)
    assert scc("tokens", stdin=HELLO).stdout == "4\n"
    assert scc("tokens", stdin="").stdout == "0\n"


def test_files_stand_one_a_line_with_their_total(work: Path, scc: Scc) -> None:
    (work / "a.txt").write_text(HELLO)
    (work / "b c.txt").write_text(HELLO * 3)
    assert scc("tokens", "a.txt").stdout == "4  a.txt\n"
    assert scc("tokens", "a.txt", "b c.txt", "-", stdin="x").stdout == (
        " 4  a.txt\n12  b c.txt\n 1  stdin\n17  total\n"
    )


def test_json_is_one_object(work: Path, scc: Scc) -> None:
    (work / "a.txt").write_text(HELLO)
    run = scc("tokens", "a.txt", "-", "--json", stdin=HELLO)
    assert json.loads(run.stdout) == {
        "tokenizer": "o200k_base",
        "exact": True,
        "files": [{"file": "a.txt", "tokens": 4}, {"file": "stdin", "tokens": 4}],
        "total": 8,
    }
    assert run.stdout.count("\n") == 1


def test_an_estimate_says_so(scc: Scc) -> None:
    run = scc("tokens", "--tokenizer", "claude-opus-4-5", stdin=HELLO)
    assert run.exit_code == 0
    assert run.stdout == "4\n"
    assert "estimate" in run.stderr
    run = scc("tokens", "--tokenizer", "claude-opus-4-5", "--json", stdin=HELLO)
    assert json.loads(run.stdout)["exact"] is False


def test_an_unknown_tokenizer_is_a_usage_error(scc: Scc) -> None:
    run = scc("tokens", "--tokenizer", "nope", stdin=HELLO)
    assert (run.exit_code, run.stdout) == (2, "")
    assert "error: unknown tokenizer 'nope'\nhint: one of " in run.stderr


def test_nothing_is_printed_when_one_file_fails(work: Path, scc: Scc) -> None:
    (work / "a.txt").write_text(HELLO)
    run = scc("tokens", "a.txt", "gone.txt")
    assert (run.exit_code, run.stdout, run.stderr) == (2, "", "error: no such file: gone.txt\n")


def test_a_file_name_of_any_bytes(work: Path, scc_process: Scc) -> None:
    name = os.fsdecode(b"a\xff.txt")
    (work / name).write_text(HELLO)
    run = scc_process("tokens", name)
    assert (run.exit_code, run.raw, run.stderr) == (0, b"4  a\xff.txt\n", "")
    assert json.loads(scc_process("tokens", name, "--json").stdout)["files"][0]["file"] == name


def test_the_default_tokenizer_is_the_setting(scc: Scc, monkeypatch: pytest.MonkeyPatch) -> None:
    default = Options().tokenizer
    assert f"default {default}" in " ".join(scc("tokens", "--help").stdout.replace("│", " ").split())
    monkeypatch.setenv("SCC_COMPRESS__TOKENIZER", "mistral_v1")
    assert json.loads(scc("tokens", "--json", stdin="x").stdout)["tokenizer"] == "mistral_v1"
