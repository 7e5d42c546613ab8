"""A function in a process of its own: results, errors and signals pass, and neither side outlives the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import REPO

from compressor_cli.core.child import ChildError, run_in_child
from compressor_cli.core.stopping import stop_on_signals
from compressor_cli.errors import MissingExtraError, SccError

OnEvent = Callable[[dict[str, Any]], None]
HERE = "test_child"


def add(a: int, b: int, on_event: OnEvent) -> dict[str, Any]:
    print("a library that prints")
    on_event({"message": f"{a} and {b}"})
    return {"sum": a + b, "pid": os.getpid(), "path": Path("x")}


def raise_it(error: str, on_event: OnEvent) -> None:
    if error == "extra":
        raise MissingExtraError("mlx", "local")
    if error == "exit":
        raise SystemExit(143)
    if error == "interrupt":
        raise KeyboardInterrupt
    raise ZeroDivisionError("by naught")


def make_it(folder: str, on_event: OnEvent) -> None:
    Path(folder).mkdir()


def die(number: int, saved: bool, on_event: OnEvent) -> None:
    if saved:
        on_event({"saved": "step_00000020"})
    os.kill(os.getpid(), number)
    time.sleep(60)


def leave_silently(on_event: OnEvent) -> None:
    os._exit(7)


def loop(folder: Path, on_event: OnEvent) -> None:
    """As a training loop: a signal is asked for, and answered after the step."""
    with stop_on_signals() as stop:
        (folder / "child").write_text(str(os.getpid()))
        for step in range(600):
            time.sleep(0.05)
            on_event({"done": step})
            if stop.asked:
                (folder / "saved").write_text(str(stop.reason))
                raise SystemExit(128 + int(str(stop.reason)))


def stubborn(folder: Path, on_event: OnEvent) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    (folder / "child").write_text(str(os.getpid()))
    time.sleep(60)


def test_arguments_events_and_the_result_pass(capfd: pytest.CaptureFixture[str]) -> None:
    events: list[Any] = []
    result = run_in_child(f"{HERE}:add", (2, 3), events.append)
    assert (result["sum"], result["path"]) == (5, Path("x"))
    assert result["pid"] != os.getpid()
    assert events == [{"message": "2 and 3"}]
    captured = capfd.readouterr()
    assert captured.out == "" and captured.err == "a library that prints\n"  # stdout is for the result of the parent


def test_errors_pass_with_class_message_and_hint() -> None:
    with pytest.raises(MissingExtraError, match="needs the package 'mlx'") as caught:
        run_in_child(f"{HERE}:raise_it", ("extra",), lambda event: None)
    assert caught.value.hint and "compressor-cli[local]" in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("error", "code"), [("exit", 143), ("interrupt", 130)])
def test_a_child_that_leaves_makes_its_parent_leave(error: str, code: int) -> None:
    with pytest.raises(SystemExit) as caught:
        run_in_child(f"{HERE}:raise_it", (error,), lambda event: None)
    assert caught.value.code == code


def test_what_the_system_refuses_passes_as_it_is(work: Path) -> None:
    with pytest.raises(FileNotFoundError) as refused:
        run_in_child(f"{HERE}:make_it", (str(work / "none/x"),), lambda event: None)
    assert refused.value.filename == str(work / "none/x")


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ChildError, match=r"(?s)Traceback.*raise_it.*ZeroDivisionError: by naught"):
        run_in_child(f"{HERE}:raise_it", ("bug",), lambda event: None)


@pytest.mark.parametrize(
    ("number", "saved", "told"),
    [
        (signal.SIGKILL, True, "was ended by SIGKILL; the last checkpoint is step_00000020"),
        (signal.SIGSEGV, False, "was ended by SIGSEGV$"),
    ],
)
def test_a_child_that_is_killed_is_told(number: int, saved: bool, told: str) -> None:
    with pytest.raises(SccError, match=told) as caught:
        run_in_child(f"{HERE}:die", (number, saved), lambda event: None)
    assert caught.value.hint and "the same command goes on" in caught.value.hint


def test_a_child_that_ends_without_a_word_is_told() -> None:
    with pytest.raises(SccError, match=r"exit code 7"):
        run_in_child(f"{HERE}:leave_silently", (), lambda event: None)


def test_where_an_event_cannot_be_shown_the_child_ends_in_good_order(work: Path) -> None:
    def full(event: Any) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        run_in_child(f"{HERE}:loop", (work,), full)
    assert (work / "saved").read_text() == str(int(signal.SIGTERM))


PARENT = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from compressor_cli.core.child import run_in_child
run_in_child("test_child:{target}", (Path("."),), lambda event: None)
"""


def parent(work: Path, processes: list[subprocess.Popen[bytes]], target: str = "loop") -> subprocess.Popen[bytes]:
    """A script without a main guard, whose child has begun."""
    (work / "script.py").write_text(textwrap.dedent(PARENT).format(tests=str(REPO / "tests"), target=target))
    process = subprocess.Popen([sys.executable, "script.py"], stderr=subprocess.PIPE, start_new_session=True)
    processes.append(process)
    wait_for(lambda: bool((work / "child").exists() and (work / "child").read_text()))
    return process


def wait_for(what: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"  # nobody waits for an orphan


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("group", [False, True], ids=["kill", "terminal"])
def test_a_signal_reaches_the_child_once(
    number: int, code: int, group: bool, work: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    process = parent(work, processes)
    (os.killpg if group else os.kill)(process.pid, number)  # a terminal signals all of its foreground
    assert process.wait(20) == code
    assert (work / "saved").read_text() == str(int(number))
    assert process.stderr is not None and process.stderr.read() == b""


def test_the_child_does_not_outlive_a_parent_that_is_killed(
    work: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    process = parent(work, processes)
    process.kill()
    child = int((work / "child").read_text())
    wait_for(lambda: gone(child), 5)
    assert (work / "saved").read_text() == str(int(signal.SIGTERM))


def test_a_child_that_does_not_listen_is_killed_by_the_third(
    work: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    process = parent(work, processes, "stubborn")
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert process.wait(20) == 130
    assert gone(int((work / "child").read_text()))
