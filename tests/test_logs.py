"""Repeated log lines fold into one; what a reader could be misled by does not."""

from __future__ import annotations

import re

import pytest
from conftest import REPO
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor_cli import Receipt, compress, expand
from compressor_cli.core.log_lines import event_spans, is_log_line, log_blocks, looks_like_logs
from compressor_cli.engines import logs as engine
from compressor_cli.engines.logs import Folded
from compressor_cli.errors import BudgetTooSmallError


def fold_logs(text: str) -> Folded:
    return engine.fold_logs(text, times=False)


def fold_lines(lines: list[str], *, times: bool = False) -> list[tuple[str, int]]:
    return [(row.text, row.count) for row in engine.fold_lines(lines, times=times)]


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
    assert fold_lines(lines) == [(f"{lines[0]} (x3, last 2026-11-21T10:00:02.5 2026-11-21 10:00:02,123)", 3)]


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
    assert folded.lines == 10
    assert [row.text for row in folded.rows] == folded.text.split("\n")
    source = SERVICE.split("\n")
    assert all(row.text.startswith(source[row.at]) for row in folded.rows)
    assert folded.note == "17 repeated lines are folded into 7; 2 time stamps between the first and the last left out"


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
    listed = [line for line, _ in fold_lines(lines, times=True)]
    assert all(time in "\n".join(listed) for time in {stamp_of(line)[11:19] for line in lines})
    assert [line for line, _ in fold_lines(listed, times=True)] == listed


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
def test_a_hostile_log_is_folded(unit: str) -> None:
    text = "2026-11-21T10:00:01Z WARN up\n" * 5 + unit * (1_000_000 // len(unit))
    folded = fold_logs(text)  # what is quadratic would take minutes
    assert folded.text.count("\n") + folded.lines == text.count("\n")


# --- in compress

DISK = "".join(f"2026-11-21 10:{n:02d}:05 WARN the disk of the node is full\n" for n in range(20))
WORK = "".join(
    f"2026-11-21 11:{n:02d}:20 {level} the request of user {n} {what}\n"
    for n, (level, what) in enumerate([("INFO", "was answered in time"), ("ERROR", "was not answered by anybody")] * 6)
)


def lost(receipt: Receipt) -> list[str]:
    return [fact.text for fact in receipt.facts if fact.status != "kept"]


@pytest.mark.parametrize(
    "options", [{}, {"rate": 0.9}, {"rate": 0.6, "protect": "none"}, {"rate": 0.9, "allow_loss": True}]
)
def test_where_there_is_room_every_time_stays(options: dict[str, object]) -> None:
    receipt = compress(DISK, **options)  # type: ignore[arg-type]
    assert receipt.engine == "logs"
    assert receipt.domain == "mixed"
    assert receipt.compressed.startswith(
        "2026-11-21 10:00:05 WARN the disk of the node is full (x20, at 10:01:05, 10:02:05"
    )
    assert receipt.compressed.endswith(", last 10:19:05)\n")
    assert lost(receipt) == []
    assert receipt.warnings == ("20 repeated lines are folded into 1",)


def test_times_between_the_first_and_the_last_go_when_the_budget_asks_and_are_told() -> None:
    receipt = compress(DISK, max_tokens=60)
    assert receipt.compressed == "2026-11-21 10:00:05 WARN the disk of the node is full (x20, last 10:19:05)\n"
    assert receipt.warnings == (
        "20 repeated lines are folded into 1; 18 time stamps between the first and the last left out",
    )
    assert lost(receipt) == [f"10:{n:02d}:05" for n in range(1, 19)]


def test_a_budget_that_the_text_meets_folds_nothing() -> None:
    assert compress(DISK, max_tokens=10_000).compressed == DISK
    assert compress(DISK, rate=1.0).compressed == DISK


def test_the_tokens_needed_suffice() -> None:
    with pytest.raises(BudgetTooSmallError) as refused:
        compress(DISK + WORK, max_tokens=40)
    needed = refused.value.tokens_needed
    assert compress(DISK + WORK, max_tokens=needed).tokens_out <= needed


@pytest.mark.parametrize("options", [{"allow_loss": True}, {"protect": "none"}, {"protect": "negation"}])
@pytest.mark.parametrize("rate", [0.05, 0.1, 0.2, 0.3])
def test_a_log_line_stays_whole_or_goes(rate: float, options: dict[str, object]) -> None:
    text = DISK + WORK
    try:
        receipt = compress(text, rate=rate, with_map=True, **options)  # type: ignore[arg-type]
    except BudgetTooSmallError:
        assert options == {"protect": "negation"}
        return
    lines = receipt.compressed.splitlines()
    marked = [line for line in lines if MARK.search(line)]
    assert {MARK.sub("", line) for line in lines} <= set(text.splitlines())
    assert marked == ["2026-11-21 10:00:05 WARN the disk of the node is full (x20, last 10:19:05)"] * len(marked)
    assert receipt.tokens_out <= rate * receipt.tokens_in
    assert receipt.engine == "logs"
    gone = 13 - len(lines)
    assert any(f"{gone} log line" in warning for warning in receipt.warnings) == (gone > 0)
    assert expand(receipt) == text


@pytest.mark.parametrize("options", [{}, {"allow_loss": True}, {"protect": "none"}])
def test_a_log_that_folds_into_one_line_is_still_a_log(options: dict[str, object]) -> None:
    with pytest.raises(BudgetTooSmallError) as refused:
        compress(DISK, max_tokens=12, **options)  # type: ignore[arg-type]
    receipt = compress(DISK, max_tokens=refused.value.tokens_needed, **options)  # type: ignore[arg-type]
    assert receipt.compressed == "2026-11-21 10:00:05 WARN the disk of the node is full (x20, last 10:19:05)\n"


def test_log_lines_are_not_cut_under_protection_either() -> None:
    assert compress(WORK).compressed == WORK
    with pytest.raises(BudgetTooSmallError):
        compress(WORK, rate=0.8)
    around = "The town council met on a rainy evening and talked for a long time about the old mill and its wheel. " * 5
    receipt = compress(f"{around}\n\n{WORK}", rate=0.8)
    assert receipt.compressed.endswith(WORK)
    assert compress(WORK, rate=0.9, engine="prose", protect="none").compressed != WORK


def test_what_is_said_again_in_a_recording_keeps_its_mark_or_goes() -> None:
    said = [f"[00:00:{n:02d}] and then we went on to talk about the {n} bridges of the old town" for n in range(9)]
    text = "\n".join(line for n, line in enumerate(said) for line in (line, f"[00:01:{n:02d}] thank you so much"))
    lines = compress(text, rate=0.3, protect="none").compressed.splitlines()
    assert [line for line in lines if "thank" in line or "(x" in line] in (
        [],
        ["[00:01:00] thank you so much (x9, last 00:01:08, interleaved)"],
    )


def test_the_default_rate_does_not_stretch_for_times_without_end() -> None:
    log = "".join(f"2026-11-{1 + n:02d} 10:00:05 INFO node up\n" for n in range(28))
    receipt = compress(log)
    assert receipt.compressed == "2026-11-01 10:00:05 INFO node up (x28, last 2026-11-28 10:00:05)\n"
    assert "26 time stamps" in receipt.warnings[0]


def test_a_trace_goes_with_its_line() -> None:
    trace = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\nValueError: no'
    log = "".join(f"2026-11-21 10:00:0{n} ERROR request {n} failed\n{trace}\n" for n in range(5))
    assert list(event_spans(log.split("\n")[:-1])) == [(at, at + 5) for at in range(0, 25, 5)]
    result = compress(log, rate=0.7, protect="none").compressed
    assert result.count("Traceback") == result.count(trace) == result.count(" ERROR ")


@pytest.mark.parametrize("options", [{"allow_loss": True}, {"protect": "none"}])
def test_what_is_said_in_a_recording_is_no_event(options: dict[str, object]) -> None:
    text = "".join(
        f"[00:00:{n:02d}] and then we went on to talk about the {n} bridges of the old town\n" for n in range(9)
    )
    assert list(event_spans(text.split("\n"))) == []
    assert compress(text, rate=0.5, **options).engine == "prose"  # type: ignore[arg-type]


def test_blocks_are_placed_in_the_input() -> None:
    fence = "```python\nx  =  [1,\n      2]\n\n\n\ny = 2\n```"
    logged = "```log\n" + DISK + "```"
    text = f"It said this:\n\n{DISK}\n{fence}\n\nThen this:\n\n{logged}\n"
    receipt = compress(text, max_tokens=90)
    assert [text[block.start : block.end] for block in receipt.blocks] == [fence, logged]


def test_marks_of_crlf_logs_are_protected() -> None:
    text = (DISK + WORK).replace("\n", "\r\n")
    receipt = compress(text, rate=0.5)
    assert ", last 10:19:05" in receipt.compressed
    assert "\n" not in receipt.compressed.replace("\r\n", "")


def test_of_a_log_errors_stay_before_what_went_well() -> None:
    levels = ["INFO", "WARN", "INFO", "ERROR", "INFO", "INFO"] * 5
    log = "".join(f"2026-11-21T10:{n:02d}:05Z {level} worker {n} wrote block {n}\n" for n, level in enumerate(levels))
    kept = compress(log, rate=0.25, protect="none").compressed
    assert kept.count("ERROR") == 5
    assert kept.count("INFO") < kept.count("WARN")


STAMPED = "\n".join(
    f"2024-05-01 10:{n // 60:02}:{n % 60:02} ERROR could not reach the db at host 4, giving up for now"
    for n in range(0, 900, 7)
)


@pytest.mark.parametrize("asked", [{}, {"rate": 0.1}, {"rate": 0.05}, {"max_tokens": 300}])
def test_a_stamp_that_a_pattern_names_stays(asked: dict[str, float]) -> None:
    receipt = compress(STAMPED, protect_pattern="10:03:30", **asked)  # type: ignore[arg-type]
    assert "10:03:30" in receipt.compressed
    dated = compress(STAMPED, protect_pattern="2024-05-01 10:03:30", **asked)  # type: ignore[arg-type]
    assert "2024-05-01 10:03:30" in dated.compressed
    assert dated.tokens_out < 0.5 * dated.tokens_in


@pytest.mark.parametrize("protect", ["all", "numbers"])
def test_times_that_were_told_to_survive_do(protect: str) -> None:
    for asked in ({}, {"rate": 0.3}, {"max_tokens": 60}):
        try:
            receipt = compress(STAMPED, protect=protect, **asked)
        except BudgetTooSmallError as exc:
            receipt = compress(STAMPED, protect=protect, max_tokens=exc.tokens_needed)
            assert receipt.tokens_out < receipt.tokens_in
        assert [f.text for f in receipt.facts if f.status != "kept" and f.kind == "numbers"] == []


def test_times_go_by_default_and_with_loss_allowed() -> None:
    for asked in ({}, {"protect": "all", "allow_loss": True}):
        assert compress(STAMPED, max_tokens=80, **asked).tokens_out <= 80  # type: ignore[arg-type]


def test_of_log_lines_it_is_no_line_that_fits() -> None:
    lines = "\n".join(f"2024-05-01 10:00:0{n} INFO the {word} came in" for n, word in enumerate("abcdef"))
    with pytest.raises(BudgetTooSmallError, match="no line fits"):
        compress(lines, max_tokens=2, protect="none")
