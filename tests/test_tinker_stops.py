"""Runs of the backend tinker that are stopped, killed or torn, and go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REPO
from tinker_double import TinkerServer
from tinker_fixtures import SETTINGS, Events, Train, at_step, losses, same, server, tokenizer, train
from training_jobs import write_rows

from compressor_cli.errors import SccError

__all__ = ["server", "tokenizer", "train"]  # fixtures


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_same_command_ends_with_the_same_weights(
    server: TinkerServer, train: Train, tmp_path: Path, number: signal.Signals
) -> None:
    whole = train("whole")
    expected = server.last_state()
    with pytest.raises(SystemExit) as left:
        train("cut", on_event=at_step(6, lambda: signal.raise_signal(number)))
    assert left.value.code == 128 + number
    assert server.finished[-1] == "interrupted"
    # The step that was under way as well is paid for: it is waited for, recorded and saved.
    assert [path.name for path in sorted((tmp_path / "cut" / "checkpoints").iterdir())][-1] == "step_00000007"
    train("cut")
    assert server.last_state() is not expected and same(server.last_state(), expected)
    assert losses(tmp_path / "cut" / "metrics.jsonl") == losses(whole.run / "metrics.jsonl")


def test_a_second_signal_leaves_at_once(server: TinkerServer, train: Train) -> None:
    def twice() -> None:
        server.latency = 30
        signal.raise_signal(signal.SIGINT)
        signal.setitimer(signal.ITIMER_REAL, 0.5)

    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            train(on_event=at_step(3, twice))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        server.latency = 0
    assert time.monotonic() - began < 10


Kill = tuple[str, int]


def killed_at(
    server: TinkerServer, tokenizer: Path, folder: Path, kill: Kill, processes: list[subprocess.Popen[bytes]]
) -> None:
    """A run in a process of its own, killed as soon as the server has seen the given number of such requests."""
    write_rows(folder / "data3", train=12, valid=3)
    command = [sys.executable, REPO / "tests" / "training_jobs.py", "tinker", tokenizer, folder / "data3"]
    child = subprocess.Popen([*map(str, command), str(folder / "cut"), json.dumps(SETTINGS)])
    processes.append(child)
    before = server.count(kill[0])
    while server.count(kill[0]) - before < kill[1]:
        assert child.poll() is None
        time.sleep(0.005)
    child.kill()
    child.wait()


def resumed_equals_whole(server: TinkerServer, train: Train, tmp_path: Path) -> None:
    train("cut")
    resumed = server.last_state()
    train("whole")
    assert same(resumed, server.last_state())
    assert losses(tmp_path / "cut" / "metrics.jsonl") == losses(tmp_path / "whole" / "metrics.jsonl")


@pytest.mark.parametrize("kill", [("optim_step", 7), ("save_weights", 2)], ids=["in a step", "in a save"])
def test_killed_in(
    server: TinkerServer,
    tokenizer: Path,
    train: Train,
    tmp_path: Path,
    kill: Kill,
    processes: list[subprocess.Popen[bytes]],
) -> None:
    server.latency = 0.05
    killed_at(server, tokenizer, tmp_path, kill, processes)
    server.latency = 0
    resumed_equals_whole(server, train, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 9, 10])
def test_killed_anywhere(
    server: TinkerServer,
    tokenizer: Path,
    train: Train,
    tmp_path: Path,
    count: int,
    processes: list[subprocess.Popen[bytes]],
) -> None:
    server.latency = 0.02
    killed_at(server, tokenizer, tmp_path, ("optim_step", count), processes)
    time.sleep(0.01 * count)
    server.latency = 0
    resumed_equals_whole(server, train, tmp_path)


@pytest.mark.parametrize("harm", ["cut short", "empty", "gone", "stranger"])
def test_a_torn_checkpoint_is_passed_over_and_told(
    server: TinkerServer, train: Train, tmp_path: Path, harm: str
) -> None:
    train("cut", on_event=lambda event: None)
    expected = server.last_state()
    card = tmp_path / "cut" / "run.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"state": "stopped"}))
    newest = tmp_path / "cut" / "checkpoints" / "step_00000010"
    reference = newest / "tinker.json"
    if harm == "cut short":
        reference.write_bytes(reference.read_bytes()[:-9])
    elif harm == "empty":
        reference.write_bytes(b"")
    elif harm == "gone":
        reference.unlink()
    else:
        (newest / "optimizer.pkl").write_bytes(b"")
    told: Events = []
    train("cut", on_event=told.append)
    messages = [event["message"] for event in told if "message" in event]
    assert any("step_00000010 is skipped" in message for message in messages)
    assert "going on after step 8" in messages
    assert same(server.last_state(), expected)


def test_a_state_that_the_server_has_lost_is_told(server: TinkerServer, train: Train) -> None:
    with pytest.raises(SystemExit):
        train(on_event=at_step(5, lambda: signal.raise_signal(signal.SIGINT)))
    server.states.clear()
    with pytest.raises(SccError, match=r"no checkpoint tinker://session-1:train:0/weights/scc-00000006-") as refused:
        train()
    assert "\n" not in str(refused.value)
