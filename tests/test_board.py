"""TensorBoard: events from metrics without torch, and the program on a port of its own."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from compressor_cli.core import board
from compressor_cli.core.board import BoardWriter, board_server, free_port
from compressor_cli.core.runs import RunSpec, open_run
from compressor_cli.errors import MissingExtraError, SccError, UsageError
from compressor_cli.settings import load_board

needs_writer = pytest.mark.skipif(find_spec("tensorboardX") is None, reason="tensorboardX is not installed")
needs_board = pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
STARTED = "2026-01-02T03:04:05.000+00:00"


def row(step: int, **more: float | None) -> dict[str, Any]:
    return {"step": step, "epoch": 0, "loss": 1 / step, "val_loss": None, "seconds": 2.0 * step, **more}


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Scalars by tag, as TensorBoard itself reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    return {tag: [(event.step, round(event.value, 4)) for event in accumulator.Scalars(tag)] for tag in tags}


@needs_writer
@needs_board
def test_events_are_the_rows_and_are_made_again(work: Path) -> None:
    writer = BoardWriter(work / "b", [row(1), row(2, val_loss=3.0)], STARTED, pytest.fail)
    writer.write(row(4))
    writer.close()
    assert events(work / "b")["loss/train"] == [(1, 1.0), (2, 0.5), (4, 0.25)]
    assert events(work / "b")["loss/valid"] == [(2, 3.0)]
    (work / "b" / "mine.txt").write_text("x")
    BoardWriter(work / "b", [row(1)], STARTED, pytest.fail).close()
    assert events(work / "b") == {"loss/train": [(1, 1.0)], "epoch": [(1, 0.0)]}
    assert (work / "b" / "mine.txt").exists()


@needs_writer
@needs_board
def test_a_run_has_events_of_what_its_metrics_have(work: Path) -> None:
    spec = RunSpec("torch", {}, {}, steps=3)
    for _ in range(2):  # the first one has no checkpoint: its rows are done again
        with open_run(work / "run", spec) as run:
            for step in (1, 2, 3):
                run.record(step, 0, loss=1 / step, auc=0.5)
    assert events(work / "run/tensorboard")["loss/train"] == [(1, 1.0), (2, 0.5), (3, 0.3333)]
    assert "auc" in events(work / "run/tensorboard")


@needs_writer
def test_no_torch_is_needed(work: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; from compressor_cli.core.board import BoardWriter\n"
        f"BoardWriter(Path('b'), [{row(1)!r}], '{STARTED}', print).close()"
    )
    paths = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=work, env={**os.environ, "PYTHONPATH": paths})
    assert [path.name.startswith("events.out.tfevents") for path in (work / "b").iterdir()] == [True]


@needs_writer
@pytest.mark.parametrize("rows", [1, 500])
def test_a_full_disk_ends_the_events_by_one_line(rows: int, work: Path) -> None:
    code = (
        "from pathlib import Path; from compressor_cli.core.board import BoardWriter\n"
        f"writer = BoardWriter(Path('b'), [], '{STARTED}', print)\n"
        f"for step in range({rows}): writer.write({row(1)!r})\n"
        "writer.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50)),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"no more TensorBoard events: File too large\n", b"")


def test_without_tensorboardx_the_run_says_so(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "find_spec", lambda name: None)
    told: list[Any] = []
    with open_run(work / "run", RunSpec("torch", {}, {}), on_event=told.append) as run:
        run.record(1, 0, loss=1.0)
    assert any("tensorboardX is not installed" in event.get("message", "") for event in told)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_the_next_free_port(taken: int) -> None:
    assert free_port("127.0.0.1", taken) > taken
    with pytest.raises(UsageError, match="cannot listen on no host at all, port 6006"):
        free_port("no host at all", 6006)


@needs_board
def test_the_board_is_served_from_the_next_port_and_ends_with_the_run(work: Path, taken: int) -> None:
    told: list[str] = []
    with board_server(work / "b", "127.0.0.1", taken, told.append):
        address = told[0].removeprefix("TensorBoard: ")
        port = int(address.rstrip("/").rpartition(":")[2])
        assert address.startswith("http://127.0.0.1:") and port > taken
        with urllib.request.urlopen(address + "data/environment", timeout=30) as answer:
            assert answer.status == 200
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()


@needs_board
def test_the_board_ends_when_the_run_is_killed(work: Path, taken: int) -> None:
    code = (
        "import time; from pathlib import Path; from compressor_cli.core.board import board_server\n"
        f"with board_server(Path('b'), '127.0.0.1', {taken}, lambda text: print(text, flush=True)): time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=work)
    assert child.stdout
    port = int(child.stdout.readline().strip().rstrip("/").rpartition(":")[2])
    child.send_signal(signal.SIGKILL)
    child.communicate()
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return
        time.sleep(0.1)
    pytest.fail("the board outlived its run")


def test_a_board_that_does_not_start_says_why(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "find_spec", lambda name: object())
    monkeypatch.setattr(board, "_SERVE", "raise SystemExit('the reason')")
    with (
        pytest.raises(SccError, match="did not start: the reason"),
        board_server(work / "b", "127.0.0.1", 6006, lambda text: None),
    ):
        pass
    monkeypatch.setattr(board, "find_spec", lambda name: None)
    with (
        pytest.raises(MissingExtraError, match="'tensorboard'"),
        board_server(work / "b", "127.0.0.1", 6006, lambda text: None),
    ):
        pass


def test_the_environment_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (load_board().auto, load_board().host, load_board().port) == (False, "127.0.0.1", 6006)
    for name, value in (("TB_AUTO", "1"), ("TB_HOST", "0.0.0.0"), ("TB_PORT", "7000")):
        monkeypatch.setenv(name, value)
    assert (load_board().auto, load_board().host, load_board().port) == (True, "0.0.0.0", 7000)
    monkeypatch.setenv("TB_PORT", "many")
    with pytest.raises(UsageError, match="TB_PORT"):
        load_board()
