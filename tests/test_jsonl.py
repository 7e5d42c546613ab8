"""The resumable journal: what is cut, killed, locked or begun otherwise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor_cli.core.jsonl import Journal, content_key, dump_row, parse_row, read_rows
from compressor_cli.errors import SccError, UsageError

SETTINGS = {"rate": 0.5, "engine": "auto"}

anything = st.text(st.characters())  # lone surrogates too: JSON can carry them
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=6,
)


@given(row=st.dictionaries(anything, values, max_size=4))
def test_a_row_is_one_line_and_comes_back(row: dict[str, Any]) -> None:
    line = dump_row(row)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert parse_row(line) == row


@given(texts=st.lists(anything, min_size=1, max_size=6), data=st.data())
def test_a_journal_cut_at_any_byte_loses_the_torn_row_only(
    texts: list[str], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "out.jsonl"
    rows = [{"key": content_key(index, text), "text": text} for index, text in enumerate(texts)]
    with Journal(path, SETTINGS) as journal:
        for row in rows:
            journal.append(row)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    os.truncate(path, cut)
    complete = whole[:cut].count(b"\n")

    with Journal(path, SETTINGS, resume=True) as journal:
        assert list(journal.rows) == [row["key"] for row in rows[:complete]]
        assert journal.repaired == cut - (whole[:cut].rfind(b"\n") + 1)
        for row in rows:
            if not journal.has(row["key"]):
                journal.append(row)
    assert path.read_bytes() == whole


WRITER = """
import sys
from pathlib import Path
from compressor_cli.core.jsonl import Journal, content_key

path, count, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
with Journal(path, {"size": size}, resume=True) as journal:
    print("open", flush=True)
    for index in range(count):
        key = content_key("row", index)
        if not journal.has(key):
            journal.append({"key": key, "index": index, "text": "x" * size})
"""


def kill_and_resume(path: Path, rounds: int) -> int:
    """Kill a writer again and again while it writes; then let it finish. Returns how many kills tore a row."""
    count, size, torn = 400, 300_000, 0
    command = [sys.executable, "-c", WRITER, str(path), str(count), str(size)]
    for attempt in range(rounds):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout and process.stdout.readline() == b"open\n"
            time.sleep(0.002 + 0.004 * attempt)
            process.send_signal(signal.SIGKILL)
        content = path.read_bytes()
        torn += bool(content) and not content.endswith(b"\n")
    subprocess.run(command, check=True, capture_output=True)
    assert [row["index"] for row in read_rows(path)] == list(range(count))
    return torn


def test_killed_in_the_middle_of_writing(work: Path) -> None:
    kill_and_resume(work / "out.jsonl", rounds=6)


@pytest.mark.slow
def test_killed_again_and_again(work: Path) -> None:
    torn = sum(kill_and_resume(work / f"{attempt}.jsonl", rounds=10) for attempt in range(10))
    print(f"{torn} of 100 kills left a torn row")


def test_a_second_process_is_refused_until_the_first_is_dead(
    work: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    path = work / "out.jsonl"
    holder = (
        "from compressor_cli.core.jsonl import *; "
        f"journal = Journal(Path({str(path)!r}), {{}}); print(1, flush=True); input()"
    )
    process = subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    processes.append(process)
    assert process.stdout and process.stdout.readline()
    with pytest.raises(UsageError, match="is being written by another process"):
        Journal(path, {}, resume=True)
    process.kill()
    process.wait()
    Journal(path, {}, resume=True).close()


def test_a_journal_in_use_is_refused_in_one_process_too(work: Path) -> None:
    with (
        Journal(work / "out.jsonl", {}) as journal,
        pytest.raises(UsageError, match="another process"),
    ):
        Journal(journal.path, {}, resume=True)
    Journal(work / "out.jsonl", {}).close()


def test_a_non_empty_output_needs_resume(work: Path) -> None:
    path = work / "out.jsonl"
    with Journal(path, SETTINGS) as journal:
        journal.append({"key": "a"})
    before = path.read_bytes()
    with pytest.raises(UsageError, match="already holds rows") as caught:
        Journal(path, SETTINGS)
    assert caught.value.hint and "--resume" in caught.value.hint
    assert path.read_bytes() == before


def test_other_settings_are_refused_by_name_and_nothing_is_touched(work: Path) -> None:
    path = work / "out.jsonl"
    with Journal(path, SETTINGS) as journal:
        journal.append({"key": "a"})
    path.write_bytes(path.read_bytes() + b'{"key": "to')
    before = path.read_bytes()
    with pytest.raises(UsageError) as caught:
        Journal(path, {"rate": 0.3, "engine": "auto", "model": "m"}, resume=True)
    assert "rate was 0.5, is 0.3" in str(caught.value)
    assert "model was None, is 'm'" in str(caught.value)
    assert "engine" not in str(caught.value)
    assert path.read_bytes() == before


def test_the_last_row_of_a_key_counts(work: Path) -> None:
    path = work / "out.jsonl"
    with Journal(path, {}) as journal:
        journal.append({"key": "a", "error": "timeout"})
        journal.append({"key": "b", "error": "timeout"})
        assert journal.failed == 2
        assert journal.has("a")
        assert not journal.has("a", retry_errors=True)
        journal.append({"key": "a", "text": "done"})
    with Journal(path, {}, resume=True) as journal:
        assert journal.failed == 1
        assert journal.has("a", retry_errors=True)
        assert not journal.has("b", retry_errors=True)
        assert not journal.has("c")


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        (b'{"text": "mine"}\n', None, "was not written by scc"),
        (b'{"text": "mine"}\n', b"{}\n", "a row has no key"),
        (b'{"key": "a"}\n', b"{", "not JSON"),
        (b'{"key": "a"}\n', b"[]", "a JSON object is needed"),
    ],
)
def test_a_file_of_someone_else_is_refused(work: Path, content: bytes, settings: bytes | None, message: str) -> None:
    path = work / "out.jsonl"
    path.write_bytes(content)
    if settings is not None:
        path.with_name("out.jsonl.settings.json").write_bytes(settings)
    with pytest.raises(UsageError, match=message):
        Journal(path, {}, resume=True)
    assert path.read_bytes() == content


def test_damage_in_the_middle_names_the_line(work: Path) -> None:
    path = work / "out.jsonl"
    Journal(path, {}).close()
    path.write_bytes(b'{"key": "a"}\n{"key": \n{"key": "c"}\n')
    with pytest.raises(SccError, match="line 2: not JSON"):
        Journal(path, {}, resume=True)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_an_output_that_is_no_file_is_refused(work: Path, make: Any) -> None:
    make(work / "out.jsonl")
    with pytest.raises(UsageError, match="is not a regular file"):
        Journal(work / "out.jsonl", {})


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_half_way_leaves_no_half_row(
    work: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    real, calls = os.write, 0

    def short_write(fd: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise error
        return real(fd, data[:5])

    path = work / "out.jsonl"
    with Journal(path, {}) as journal:
        journal.append({"key": "a"})
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", short_write)
            with pytest.raises(type(error)):
                journal.append({"key": "b"})
        assert not journal.has("b")
        journal.append({"key": "c"})
    assert [row["key"] for row in read_rows(path)] == ["a", "c"]


def test_a_row_without_a_key_is_not_written(work: Path) -> None:
    with Journal(work / "out.jsonl", {}) as journal:
        with pytest.raises(KeyError):
            journal.append({"text": "x"})
        assert journal.path.read_bytes() == b""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b"[1]", "a JSON object is needed, this is list"),
        (b"null", "this is NoneType"),
        (b'{"a": "\xff"}', r"not UTF-8 \(byte 7\)"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": NaN}', "the number NaN"),
        (b'{"a": -Infinity}', "the number -Infinity"),
        (b'{"a": 1e999}', "the number 1e999"),
        (b'{"a": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"1" * 5000 + b"}", "4300 digits"),
    ],
)
def test_bad_rows_are_told(line: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_row(line)


def test_a_byte_order_mark_is_passed_over(work: Path) -> None:
    (work / "in.jsonl").write_bytes(b'\xef\xbb\xbf{"a": 1}\n\n  \n{"a": 2}')
    assert [row["a"] for row in read_rows(work / "in.jsonl")] == [1, 2]


@pytest.mark.parametrize(("make", "message"), [(None, "no such file"), (Path.mkdir, "is a directory")])
def test_reading_what_is_not_there(work: Path, make: Any, message: str) -> None:
    if make:
        make(work / "in.jsonl")
    with pytest.raises(UsageError, match=message):
        list(read_rows(work / "in.jsonl"))


def test_keys_are_the_same_for_ever() -> None:
    # A change here would make every journal written before start again from nothing.
    assert content_key("id", 0, {"rate": 0.5, "b": [1, None]}) == "9d9bc82d531b202c148903561c26de2b"
    assert content_key({"a": 1, "b": 2}) == content_key({"b": 2, "a": 1})
    code = "from compressor_cli.core.jsonl import content_key; print(content_key('é\\ud800', {'b': 1, 'a': 2}))"
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert told == {f"{content_key('é' + chr(0xD800), {'a': 2, 'b': 1})}\n".encode()}
