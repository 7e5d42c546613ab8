"""Repeated log lines fold into one; what a reader could be misled by does not."""

from __future__ import annotations

import re
import time

import pytest
from conftest import REPO
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor_cli.engines.logs import fold_lines, fold_logs, is_log_line, log_blocks, looks_like_logs

# Each with two stamps for `{}`, and what the mark says of the second.
STAMPS = {
    "iso": ("{}Z WARN disk is full", "2026-11-21T10:00:01", "2026-11-21T10:45:12", "10:45:12"),
    "iso, fractions, zone": ("{}+01:00 disk is full", "2026-11-21T10:00:01.123", "2026-11-21T10:45:12.9", "10:45:12.9"),
    "another day": ("{}Z disk is full", "2026-11-21T10:00:01", "2026-11-22T10:45:12", "2026-11-22T10:45:12"),
    "python": ("{} - root - INFO - up", "2026-11-21 08:52:56,123", "2026-11-21 08:53:00,004", "08:53:00,004"),
    "level first": ("[INFO] {} server is up", "2026-11-21 08:52:56", "2026-11-21 08:53:00", "08:53:00"),
    "thread first": ("[main] {} server is up", "08:52:56.100", "08:53:00.200", "08:53:00.200"),
    "env_logger": ("[{}Z WARN  app::disk] full", "2026-11-21T10:00:01", "2026-11-21T10:45:12", "10:45:12"),
    "syslog": ("{} host app[12]: link is down", "Nov 21 08:52:56", "Nov 21 09:00:00", "09:00:00"),
    "syslog, priority": ("<34>1 {}Z host app - link is down", "2026-11-21T10:00:01", "2026-11-21T10:00:02", "10:00:02"),
    "clock": ("[{}] nginx: worker is up", "12:00:01", "12:30:00", "12:30:00"),
    "apache": ('1.2.3.4 - - [{} +0000] "GET / HTTP/1.1"', "21/Nov/2026:08:52:56", "21/Nov/2026:09:00:00", "09:00:00"),
    "apache errors": ("[{} 2026] [core:error] no file", "Sat Nov 21 08:52:56.1", "Sat Nov 21 09:00:00.2", "09:00:00.2"),
    "nginx errors": ("{} [error] 12#12: no file", "2026/11/21 08:52:56", "2026/11/21 09:00:00", "09:00:00"),
    "tomcat": ("{} INFO [main] server is up", "21-Nov-2026 08:52:56.123", "21-Nov-2026 09:00:00.001", "09:00:00.001"),
    "klog": ("W{}    12 disk.go:12] full", "1121 08:52:56.000000", "1121 09:00:00.000001", "09:00:00.000001"),
    "compose": ("web_1  | {}Z disk is full", "2026-11-21T10:00:01", "2026-11-21T10:45:12", "10:45:12"),
    "pod": ("[pod/api-1/app] {}Z disk is full", "2026-11-21T10:00:01", "2026-11-21T10:45:12", "10:45:12"),
    "logfmt": ('time="{}Z" level=warn msg="disk is full"', "2026-11-21T10:00:01", "2026-11-21T10:45:12", "10:45:12"),
    "epoch": ("[{}] SERVICE ALERT: disk is full", "1795000000", "1795000060", "1795000060"),
    "epoch, fractions": ("{} WARN disk is full", "1795000000.123", "1795000060.5000", "1795000060.5000"),
    "kernel": ("[{}] usb 1-1: link is down", "   12.345678", "  120.000001", "120.000001"),
    "colours": ("\x1b[2m{}Z\x1b[0m \x1b[33m WARN\x1b[0m up", "2026-11-21T10:00:01", "2026-11-21T10:45:12", "10:45:12"),
}  # fmt: skip


@pytest.mark.parametrize("name", STAMPS)
def test_lines_equal_but_for_the_stamp_are_one(name: str) -> None:
    form, first, last, shown = STAMPS[name]
    lines = [form.format(first)] * 3 + [form.format(last)]
    assert all(map(is_log_line, lines))
    assert looks_like_logs(lines)
    assert fold_lines(lines) == [(f"{form.format(first)} (x4, last {shown})", 4)]


def test_a_container_writes_its_stamp_before_that_of_the_program() -> None:
    lines = [f"2026-11-21T10:00:0{n}.5Z stdout F 2026-11-21 10:00:0{n},123 INFO the server is up" for n in range(3)]
    assert fold_lines(lines) == [(f"{lines[0]} (x3, last 10:00:02.5)", 3)]


@pytest.mark.parametrize(
    "line",
    [
        "", "10:00:01", "12:30 lunch with Bo", "4155550123 call back", "1795000042 active",
        "00:00:01,000 --> 00:00:04,000", "12:34:56:78:9a:bc is its address", "2026-11-21 the day of the launch",
        "In 2026-11-21 10:00:01 it was", "| 2026-11-21 10:00:01 | up |", "2026-11-21 10:00:00,21,5",
        "2026-11-21T10:00:00 21.5", "[12:00:01] Ann: I do not know", "2026-11-21 12:00:01 <bo> nor do I",
        "print('2026-11-21 10:00:01')", "Warning: it is hot", "ERRORS are human",
    ],
)  # fmt: skip
def test_these_are_no_log_lines(line: str) -> None:
    assert not is_log_line(line)
    assert not looks_like_logs([line] * 10)
    assert fold_logs("\n".join([line] * 10)).lines == 0


SERVICE = """\
2026-11-21T10:00:01Z INFO  service started, pid 4121
2026-11-21T10:00:05Z WARN  disk /dev/sda1 is full
2026-11-21T10:01:05Z WARN  disk /dev/sda1 is full
2026-11-21T10:02:00Z ERROR request 17 failed
Traceback (most recent call last):
  File "app.py", line 12, in handle
    return store[key]
KeyError: 'a'
2026-11-21T10:02:05Z WARN  disk /dev/sda1 is full
2026-11-21T10:02:06Z ERROR request 17 failed
Traceback (most recent call last):
  File "app.py", line 12, in handle
    return store[key]
KeyError: 'a'
2026-11-21T10:03:00Z ERROR request 18 failed
waiting for the database
waiting for the database
waiting for the database

2026-11-22T00:00:05Z WARN  disk /dev/sda1 is full
2026-11-22T00:00:06Z INFO  service stopped
"""


def test_a_log_reads_as_it_happened() -> None:
    folded = fold_logs(SERVICE)
    assert (
        folded.text
        == """\
2026-11-21T10:00:01Z INFO  service started, pid 4121
2026-11-21T10:00:05Z WARN  disk /dev/sda1 is full (x4, last 2026-11-22T00:00:05, interleaved)
2026-11-21T10:02:00Z ERROR request 17 failed (x2, 5 lines, last 10:02:06, interleaved)
Traceback (most recent call last):
  File "app.py", line 12, in handle
    return store[key]
KeyError: 'a'
2026-11-21T10:03:00Z ERROR request 18 failed
waiting for the database (x3)

2026-11-22T00:00:06Z INFO  service stopped
"""
    )
    assert (folded.lines, folded.groups) == (10, 3)


@pytest.mark.parametrize(
    "line",
    ["app[1{}]: link is down, waiting", "app: link is down, waiting {} s", "app: {}0:00:00 link is down, waiting"],
)
def test_lines_that_differ_in_more_than_the_stamp_stay(line: str) -> None:
    text = "\n".join(f"Nov 21 08:52:0{n} host {line.format(n)}" for n in range(9))
    assert fold_logs(text).text == text


def test_a_zone_is_no_part_of_the_stamp() -> None:
    lines = [f"2026-11-21 10:00:0{n} {zone} points for the team" for n in range(2) for zone in ("+0100", "+0200")]
    assert [line for line, _ in fold_lines(lines)] == [f"{line} (x2, last 10:00:01, interleaved)" for line in lines[:2]]


def test_without_a_stamp_place_is_all_there_is() -> None:
    lines = "WARN the link is down|WARN the link is down|INFO the link is up now|WARN the link is down".split("|")
    assert fold_logs("\n".join(lines)).text == "WARN the link is down (x2)\n" + "\n".join(lines[2:])


def test_a_group_without_stamps_folds_as_one() -> None:
    trace = ["Traceback (most recent call last):", '  File "x.py", line 1, in f', "    g()", "ValueError: no"]
    log = ["ERROR it began here", *trace * 40, "INFO it ended here", "INFO good bye"]
    folded = fold_lines(log)
    assert [line for line, _ in folded] == [log[0], f"{trace[0]} (x40, 4 lines)", *trace[1:], *log[-2:]]
    assert [count for _, count in folded] == [1, 40, 40, 40, 40, 1, 1]
    assert fold_logs("\n".join(log)).lines == 4 * 39


def test_what_is_no_shorter_stays() -> None:
    text = "\n".join(["10:00:01 up ab"] * 2 + ["  a"] * 2 + ["INFO good bye to you", "INFO end"])
    assert fold_logs(text).text == text


def test_line_ends_stay() -> None:
    text = "".join(f"2026-11-21T10:00:0{n}Z WARN disk /dev/sda1 is full\r\n" for n in range(4))
    assert fold_logs(text).text == "2026-11-21T10:00:00Z WARN disk /dev/sda1 is full (x4, last 10:00:03)\r\n"


def test_logs_in_a_text_fold_each_for_itself() -> None:
    before, after = (
        "\n".join(f"2026-11-21T1{hour}:00:0{n}Z WARN disk /dev/sda1 is full" for n in range(4)) for hour in (0, 1)
    )
    text = f"Before the repair it said:\n\n{before}\n\nThen Bo came. Then Bo came.\n\nAfter it:\n\n{after}\n"
    assert list(log_blocks(text.split("\n"))) == [(2, 6), (11, 15)]
    folded = fold_logs(text).text
    assert "10:00:00Z WARN disk /dev/sda1 is full (x4, last 10:00:03)\n\nThen Bo came. Then Bo came.\n" in folded
    assert folded.endswith("11:00:00Z WARN disk /dev/sda1 is full (x4, last 11:00:03)\n")


POEM = "Row, row, row your boat\nRow, row, row your boat\nRow, row, row your boat\nGently down the stream.\n" * 20
CHAT = "".join(f"[12:00:0{n}] Ann: I do not know what you mean by that\n" for n in range(9))
READINGS = "".join(f"2026-11-21 10:00:0{n} 21.500000000000000000000000\n" for n in range(9))


@pytest.mark.parametrize("text", [POEM, CHAT, READINGS, "", "\n\n\n", "}\n" * 99, "0, 0, 0, 0, 0, 0, 0, 0,\n" * 99])
def test_what_is_no_log_stays(text: str) -> None:
    assert fold_logs(text).text is text


def test_prose_and_code_stay() -> None:
    for path in [*REPO.glob("*.md"), *REPO.glob("docs/*.md"), *REPO.glob("compressor_cli/**/*.py")]:
        text = path.read_text(encoding="utf-8")
        assert fold_logs(text).text is text, path


# --- any log

MARK = re.compile(r" \(x\d+[^()]*\)$")
_CLOCK = "2026-11-{:02d}T10:00:{:02d}Z "
stamps = st.builds(_CLOCK.format, st.integers(1, 3), st.integers(0, 59))
messages = st.sampled_from(
    [
        "WARN disk is full",
        "INFO job 1 done",
        "INFO job 2 done",
        "up",
        "it said (twice)",
        "it said (x2)",
        "no (x3, 2 lines)",
    ]
)
loose = st.sampled_from(["", "  File one", "  File two", "Error: no", "waiting for the database", "waiting (x2)", " "])
logs = st.lists(st.one_of(st.builds("{}{}".format, stamps, messages), loose), max_size=40)
repeated = st.lists(st.tuples(st.lists(loose, min_size=1, max_size=4), st.integers(1, 5)), max_size=6).map(
    lambda groups: ["2026-11-01T10:00:01Z WARN it began", *(line for group, n in groups for line in group * n)]
)


def first_said(lines: list[str]) -> list[str]:
    """Lines without marks and stamps, in the order of their first occurrence."""
    return list(dict.fromkeys(MARK.sub("", line).removeprefix(stamp_of(line)) for line in lines))


def stamp_of(line: str) -> str:
    return line[:21] if line.startswith("2026-11-") else ""


@settings(max_examples=400)
@given(lines=st.one_of(logs, repeated))
def test_of_any_log_each_line_is_counted_and_each_message_stays(lines: list[str]) -> None:
    folded = fold_lines(lines)
    assert sum(count for _, count in folded) == len(lines)
    result = [line for line, _ in folded]
    assert first_said(result) == first_said(lines)
    assert len("\n".join(result)) <= len("\n".join(lines))
    assert all(line in lines or count > 1 for line, count in folded)
    assert [line for line, _ in fold_lines(result)] == result


@settings(max_examples=200)
@given(lines=logs)
def test_a_count_is_that_of_the_log(lines: list[str]) -> None:
    """Stamped lines alone, so that each message is an entry."""
    stamped = [line for line in lines if stamp_of(line) and not MARK.search(line)]
    said = [line[21:] for line in stamped]
    for line, count in fold_lines(stamped):
        message = MARK.sub("", line)[21:]
        if count > 1:
            last = max(i for i, other in enumerate(said) if other == message)
            assert count == said.count(message)
            assert f"(x{count}" in line
            assert stamped[last][11:19] in line
            assert ("interleaved" in line) == (last - said.index(message) >= count)


parts = st.lists(st.one_of(logs, st.lists(st.text())), max_size=4)


@settings(max_examples=200)
@given(text=st.one_of(st.text(), parts.map(lambda parts: "\n".join(line for part in parts for line in part))))
def test_any_text_folds_once(text: str) -> None:
    folded = fold_logs(text)
    assert len(folded.text) <= len(text)
    assert (folded.text == text) == (folded.lines == 0)
    assert folded.text.count("\n") + folded.lines == text.count("\n")
    assert fold_logs(folded.text).text == folded.text


@pytest.mark.parametrize(
    "unit",
    [
        "2026-11-21T10:00:01Z WARN disk is full, please come\n", "  a\n  b\n  a\n  a\n  b\n", "\n", "[a]" + " " * 90,
        "a" * 60 + " " * 20 + "\n", "a" * 199 + " ", "(x2, last ", "2026-11-21T10:00:01Z it (x2, 999 lines)\n",
    ],
)  # fmt: skip
def test_time_grows_with_the_text(unit: str) -> None:
    head = "2026-11-21T10:00:01Z WARN up\n" * 5
    began = time.perf_counter()
    fold_logs(head + unit * (1_000_000 // len(unit)))
    assert time.perf_counter() - began < 8  # 0.1 to 1.5 s alone; what is quadratic takes minutes
