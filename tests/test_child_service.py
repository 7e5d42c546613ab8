"""A function in a process of its own that is asked many times: its answers are streams that can be left off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import REPO
from test_child import gone, wait_for

from compressor_cli.core.child import ChildError
from compressor_cli.core.child_service import ChildService
from compressor_cli.errors import MissingExtraError, SccError, UsageError

HERE = "test_child_service"


def counter(base: int) -> Callable[..., Iterator[Any]]:
    """Answers `what` for many steps, or at once."""
    if base < 0:
        raise MissingExtraError("mlx", "local")
    print("a library that prints")

    def answer(what: str, steps: int = 3) -> Iterator[Any]:
        if what == "refuse":
            raise UsageError("no such thing", hint="another")
        if what == "bug":
            raise FileNotFoundError("a file of its own")
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        yield os.getpid()
        for step in range(steps):
            yield base + step
            while what == "wait":
                time.sleep(0.01)
                yield None

    return answer


@pytest.fixture
def service() -> Iterator[ChildService]:
    opened = open_service()
    yield opened
    opened.close()


def open_service(base: int = 10) -> ChildService:
    return ChildService(f"{HERE}:counter", (base,), purpose="counts", hint="count less")


def test_one_child_answers_each_request(service: ChildService, capfd: pytest.CaptureFixture[str]) -> None:
    pid, *counted = service.ask("count")
    assert counted == [10, 11, 12] and pid != os.getpid()
    assert list(service.ask("count", 1)) == [pid, 10]
    assert capfd.readouterr().out == ""


def test_an_answer_that_is_left_off_does_not_get_into_the_next_one(service: ChildService) -> None:
    for how in ("count", "wait"):
        left = service.ask(how, 10_000)
        pid = next(left)
        assert next(left) == 10
        left.close()
        assert list(service.ask("count", 2)) == [pid, 10, 11]


def test_the_next_request_ends_the_one_before(service: ChildService) -> None:
    left = service.ask("wait")
    pid = next(left)
    assert list(service.ask("count", 1)) == [pid, 10]
    with pytest.raises(AssertionError, match="another request came"):
        next(left)
    assert list(service.ask("count", 1)) == [pid, 10]


def test_what_is_refused_leaves_the_service_as_it_was(service: ChildService) -> None:
    with pytest.raises(UsageError, match="no such thing") as caught:
        list(service.ask("refuse"))
    assert caught.value.hint == "another"
    assert list(service.ask("count", 1))[1:] == [10]


def test_what_cannot_be_made_is_told_at_once() -> None:
    with pytest.raises(MissingExtraError, match="needs the package 'mlx'"):
        open_service(-1)


def test_a_bug_keeps_its_traceback(service: ChildService) -> None:
    with pytest.raises(ChildError, match=r"(?s)Traceback.*FileNotFoundError: a file of its own"):
        list(service.ask("bug"))


def test_a_child_that_is_killed_is_told_each_time(service: ChildService) -> None:
    for what in ("die", "count"):
        with pytest.raises(SccError, match=r"^the process that counts was ended by SIGKILL$") as caught:
            list(service.ask(what))
        assert caught.value.hint == "count less"


def test_closing_ends_the_child_in_the_middle_of_an_answer() -> None:
    service = open_service()
    pid = next(service.ask("wait"))
    service.close()
    assert gone(pid)


PARENT = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_child_service import open_service
service = open_service()
Path("child").write_text(str(next(service.ask("wait"))))
time.sleep(60)
"""


def test_the_child_does_not_outlive_a_parent_that_is_killed(
    work: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    (work / "script.py").write_text(textwrap.dedent(PARENT).format(tests=str(REPO / "tests")))
    process = subprocess.Popen([sys.executable, "script.py"], start_new_session=True)
    processes.append(process)
    wait_for(lambda: bool((work / "child").exists() and (work / "child").read_text()))
    process.kill()
    wait_for(lambda: gone(int((work / "child").read_text())), 5)
