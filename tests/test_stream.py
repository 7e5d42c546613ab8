"""`scc compress --stream`: windows that depend on the text alone, output before the input ends, clean ends."""

from __future__ import annotations

import codecs
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import REPO, Scc
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor_cli.core.text_input import decode_text
from compressor_cli.core.tokens import token_counter
from compressor_cli.errors import BudgetTooSmallError, UsageError
from compressor_cli.records import Receipt
from compressor_cli.settings import CompressSettings
from compressor_cli.stages.stream import compress_stream

sys.path.insert(0, str(REPO / "benchmarks"))

import stream

COMMAND = [sys.executable, "-m", "compressor_cli", "compress", "--stream"]
count = token_counter().count


def reader(data: bytes, sizes: list[int]) -> Callable[[int], bytes]:
    """Gives `data` in pieces of these sizes, over and over."""

    def pieces() -> Iterator[bytes]:
        at = n = 0
        while at < len(data):
            size = sizes[n % len(sizes)]
            yield data[at : at + size]
            at, n = at + size, n + 1
        while True:
            yield b""

    source = pieces()
    return lambda most: next(source)


def run(data: bytes, sizes: list[int], **options: object) -> tuple[list[Receipt], str]:
    receipts: list[Receipt] = []
    texts: list[str] = []

    def write(receipt: Receipt, text: str) -> None:
        receipts.append(receipt)
        texts.append(text)

    summary = compress_stream(CompressSettings(**options), reader(data, sizes), write)
    assert texts == [receipt.compressed for receipt in receipts]
    assert summary.tokens_out == sum(receipt.tokens_out for receipt in receipts)
    assert summary.windows == len(receipts)
    assert summary.tokens_in == sum(receipt.tokens_in for receipt in receipts)
    return receipts, "".join(texts)


@pytest.fixture
def long(samples: Path) -> str:
    return "\n\n".join((samples / name).read_text() for name in ("notes.md", "transcript.txt")) + "\n"


@given(sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=5))
@settings(max_examples=3)
def test_how_it_arrives_makes_no_difference(sizes: list[int], long: str) -> None:
    data = ("Ünal: " + long).encode()
    receipts, text = run(data, sizes, rate=0.6, protect="none")
    assert text == run(data, [1 << 20], rate=0.6, protect="none")[1]
    assert len(receipts) > 3


def test_the_rate_holds_window_by_window(long: str) -> None:
    receipts, text = run(long.encode(), [4096], rate=0.5, protect="none")
    assert len(receipts) > 3
    for receipt in receipts:
        assert receipt.tokens_out <= 0.5 * receipt.tokens_in
    assert count(text) <= 0.5 * count(long) + len(receipts)


def test_nothing_is_lost_between_windows(long: str) -> None:
    receipts, text = run(long.encode(), [777], rate=1.0)
    assert text == long
    assert sum(receipt.tokens_in for receipt in receipts) >= count(long)


def test_line_ends_stay_as_they_were(long: str) -> None:
    text = run(long.replace("\n", "\r\n").encode(), [4096], rate=0.6, protect="none")[1]
    assert "\r\n\r\n" in text
    assert text.count("\n") == text.count("\r\n")


def test_words_do_not_run_together_where_no_line_ends(long: str) -> None:
    one_line = " ".join(re.sub(r"[|`#>*-]", " ", long * 6).split())
    receipts, _ = run(one_line.encode(), [4096], rate=0.5, protect="none")
    assert len(receipts) > 2
    assert all(receipt.compressed[-1] == " " for receipt in receipts[:-1])
    assert all(receipt.tokens_out == count(receipt.compressed) <= 0.5 * receipt.tokens_in for receipt in receipts)


def test_blank_lines_alone_are_no_window(long: str) -> None:
    text = "\n" * 3000 + long
    assert run(text.encode(), [4096], rate=1.0)[1] == text


LONG_JSON = "```json\n" + json.dumps([{"id": n, "name": f"item {n}"} for n in range(900)], indent=1) + "\n```\n"
LONG_TABLE = "| id | name |\n|----|------|\n" + "".join(f"| {n} | item number {n} |\n" for n in range(1200))


@pytest.mark.parametrize("block", [LONG_JSON, LONG_TABLE, LONG_TABLE.replace("\n", "\r\n")])
@pytest.mark.parametrize("before", [20, 300])
def test_no_window_ends_within_a_fence_or_a_table(block: str, before: int, long: str) -> None:
    assert len(block) > 25_000
    words = "Some words that stand before it.\n" * before
    receipts, text = run(f"{words}\n{block}\n{long}".encode(), [4096], protect="none")
    assert len(receipts) > 3
    if block == LONG_JSON:
        (inner,) = re.findall(r"^```json\n(.*?)^```", text, re.M | re.S)
        assert json.loads(inner) == [{"id": n, "name": f"item {n}"} for n in range(900)]
    else:
        assert re.findall(r"^\|\s*(\d+)\s*\|\s*item number \1\s*\|", text, re.M) == list(map(str, range(1200)))


def test_a_block_without_an_end_is_refused() -> None:
    with pytest.raises(UsageError, match="a fence or table of more than"):
        run(b"Words.\n\n```text\n" + b"line\n" * 300_000, [1 << 16])


def test_windows_that_cannot_meet_the_rate_go_together(long: str) -> None:
    dense = "It costs £48,000, weighs 7.5 t, takes 12 days from 3 March 2020 and reaches 20 km/h at 4 m.\n\n" * 14
    receipts, text = run((dense + long).encode(), [4096], rate=0.8)
    assert all(receipt.tokens_out <= 0.8 * receipt.tokens_in for receipt in receipts)
    assert "£48,000" in text
    with pytest.raises(BudgetTooSmallError, match="protected facts"):
        run(dense.encode(), [4096], rate=0.2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the input is empty"),
        (b" \n\n", "the input is empty"),
        ("Grüße, ".encode("latin1") * 9, "stdin: not UTF-8: byte 0xfc at offset 2"),
        (codecs.BOM_UTF8 + "Grüße, ".encode("latin1") * 9, "stdin: not UTF-8: byte 0xfc at offset 5"),
        ("Grü".encode()[:-1], "stdin: not UTF-8: byte 0xc3 at offset 2"),
        (b"a\0b", "NUL byte at offset 1"),
        ("hello".encode("utf-16"), "UTF-16"),
        (b'{"a": 1}\n{"a": 2}\n', "JSON and tables"),
        (b'{\n  "a": [' + b"1, " * 3000 + b"1]}", "JSON and tables"),
    ],
)
def test_what_cannot_be_streamed(data: bytes, message: str) -> None:
    for size in (1, 7, 1 << 16):
        with pytest.raises(UsageError, match=message):
            run(data, [size])


def test_errors_are_those_of_a_whole_text_and_name_the_input() -> None:
    for data in (b"a\0b", b"\xff\xfe", b"abc\xff", b"\xef\xbb\xbfabc\xe4\xb8"):
        with pytest.raises(UsageError) as whole:
            decode_text(data, "in.md")
        with pytest.raises(UsageError) as streamed:
            compress_stream(CompressSettings(), reader(data, [1]), lambda receipt, text: None, name="in.md")
        assert (str(streamed.value), streamed.value.hint) == (str(whole.value), whole.value.hint)
        assert str(whole.value).startswith("in.md: ")


def test_a_byte_order_mark_is_taken_off(long: str) -> None:
    assert run(codecs.BOM_UTF8 + long.encode(), [1, 1, 5000], rate=1.0)[1] == long


@pytest.mark.parametrize(
    "options", [{"max_tokens": 9}, {"keep_first": 1}, {"keep_last": 1}, {"stable_prefix": 3}, {"chat": True}]
)
def test_what_needs_the_whole_text(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="does not go with --stream"):
        run(b"some text", [9], **options)


def test_the_first_output_comes_before_the_input_ends(long: str) -> None:
    process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout
    process.stdin.write(long.encode())
    process.stdin.flush()
    first = os.read(process.stdout.fileno(), 10_000)
    assert b"Harbourlight" in first
    process.stdin.close()
    rest = process.stdout.read()
    assert process.wait(30) == 0
    process.stdout.close()
    assert first + rest == run(long.encode(), [999])[1].encode()


def test_an_interruption_leaves_what_was_written(long: str) -> None:
    process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(long.encode())
    process.stdin.flush()
    first = os.read(process.stdout.fileno(), 10_000)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=30)
    told = errors.decode()
    assert process.returncode == 130
    assert told.strip().splitlines()[-1] == "interrupted"
    assert "Traceback" not in told
    assert run(long.encode(), [999])[1].encode().startswith(first + rest)


def test_a_reader_that_goes_away_ends_it_quietly(long: str) -> None:
    process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin and process.stdout and process.stderr
    process.stdout.close()
    process.stdin.write(long.encode())
    process.stdin.close()
    with process.stderr as stderr:
        told = stderr.read().decode()
    assert process.wait(60) == 141
    assert "Traceback" not in told and "error" not in told


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error(long: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(COMMAND, input=long.encode(), stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    assert "error: No space left on device" in done.stderr.decode()


def test_the_command(work: Path, long: str, scc: Scc) -> None:
    (work / "in.md").write_text(long)
    expected = run(long.encode(), [5000], rate=0.6, protect="none")[1]
    done = scc("compress", "--stream", "--rate", "0.6", "--protect", "none", "--output", "out.md", "--stats", "in.md")
    assert (done.exit_code, done.stdout) == (0, "")
    assert (work / "out.md").read_text() == expected
    assert " windows: " in done.stderr
    as_json = scc("compress", "--stream", "--rate", "0.6", "--protect", "none", "--json", "in.md")
    assert len(as_json.stdout.splitlines()) > 3
    for flags in (["--map", "m"], ["--receipt", "r"], ["--output-dir", "d"], ["--max-tokens", "5"]):
        refused = scc("compress", "--stream", *flags, "in.md")
        assert refused.exit_code == 2 and (flags[0] in refused.stderr or flags[0] == "--output-dir")


CODE = b"def size(path):\n    # how large a file is\n    return path.stat().st_size\n\n\n"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("make", "flags"),
    [(lambda: stream.prose(1_000_000), ["--protect", "none"]), (lambda: CODE * 250_000, ["--domain", "code"])],
    ids=["prose", "code"],
)
def test_memory_stays_flat_and_output_begins_at_once(make: Callable[[], bytes], flags: list[str]) -> None:
    """A megabyte of prose takes half a minute or more, so that twenty are for `benchmarks/stream.py`."""
    data = make()
    outcome = stream.measure(data, flags)
    assert outcome.exit_code == 0
    assert 0.3 * len(data) < outcome.written < 0.8 * len(data)
    assert outcome.first_at <= 1 << 18  # a pipe holds 65,536 bytes, and as many are read at once
    assert outcome.marks[-1] < min(400, 1.1 * outcome.marks[2])
