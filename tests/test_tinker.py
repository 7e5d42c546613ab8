"""`scc train --backend tinker`: the real SDK against a double of its server."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPO
from tinker_double import KEY, MODEL, VOCABULARY, Reply, State, TinkerServer, serving_tinker
from tiny_model import make_tokenizer
from training_jobs import make_data, make_job, sample_texts

from compressor_cli.backends.tinker import conduct
from compressor_cli.core.pace import learning_rate
from compressor_cli.core.runfiles import read_metrics, read_tinker_run
from compressor_cli.core.training import Launch, RunReport
from compressor_cli.errors import SccError, UsageError
from compressor_cli.settings import CloudSettings

SETTINGS: dict[str, Any] = {
    "model": MODEL, "steps": 10, "rank": 4, "learning_rate": 0.05, "save_every": 4, "warmup": 0.2, "seed": 3
}  # fmt: skip
Events = list[Mapping[str, Any]]
Train = Callable[..., RunReport]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"), sample_texts(), vocabulary=1000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[TinkerServer]:
    with serving_tinker() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def train(tokenizer: Path, tmp_path: Path) -> Train:
    """`train("run", on_event=..., steps=4)`: a run below the folder of the test, with changes of its settings."""

    def run(
        name: str = "run",
        *,
        on_event: Callable[[Mapping[str, Any]], None] = lambda event: None,
        valid: int = 3,
        start: str | None = None,
        **changes: Any,
    ) -> RunReport:
        data = make_data(tmp_path / f"data{valid}", valid=valid)
        job = make_job("tinker", CloudSettings(**SETTINGS | changes), tokenizer, data)
        job = job if start is None else make_job(
            "tinker", CloudSettings(**SETTINGS | changes), tokenizer, data, start=tmp_path / start
        )  # fmt: skip
        return conduct(job, Launch(tmp_path / name, on_event=on_event))

    return run


def at_step(number: int, act: Callable[[], None]) -> Callable[[Mapping[str, Any]], None]:
    def on_event(event: Mapping[str, Any]) -> None:
        if event.get("row", {}).get("step") == number:
            act()

    return on_event


def same(one: State, other: State) -> bool:
    """Weights and optimizer alike, to the last bit."""
    pairs = [(one.weights[name], other.weights[name]) for name in one.weights]
    pairs += [pair for name in one.moments for pair in zip(one.moments[name], other.moments[name], strict=True)]
    return one.steps == other.steps and all(np.array_equal(left, right) for left, right in pairs)


def losses(folder: Path) -> list[tuple[Any, ...]]:
    return [(row["step"], row["loss"], row["val_loss"], row["lr"], row["tokens"]) for row in read_metrics(folder)[0]]


def test_a_run_learns_and_says_where_it_is_kept(server: TinkerServer, train: Train, tmp_path: Path) -> None:
    events: Events = []
    report = train(on_event=events.append)
    rows = read_metrics(report.run / "metrics.jsonl")[0]
    assert [row["step"] for row in rows] == list(range(1, 11))
    assert rows[0]["loss"] == pytest.approx(math.log(VOCABULARY), rel=1e-6)  # it knows nothing yet
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.5
    assert [row["step"] for row in rows if row["val_loss"] is not None] == [4, 8, 10]
    told = read_tinker_run(report.run)
    assert told is not None and told.steps_done == 10 and told.model == MODEL
    assert told.state_path in server.states and told.sampler_path in server.states
    assert same(server.states[told.state_path], server.last_state())
    assert {path.name for path in report.adapter.iterdir()} == {
        "adapter_model.safetensors", "adapter_config.json", "tinker.json"
    }  # fmt: skip
    assert json.loads((report.adapter / "tinker.json").read_text())["sampler_path"] == told.sampler_path
    assert json.loads((report.run / "run.json").read_text())["state"] == "finished"
    assert server.finished == ["success"] and server.count("telemetry") == 0


def test_a_step_is_the_gradient_of_the_mean_over_its_trained_tokens(server: TinkerServer, train: Train) -> None:
    train(steps=4, warmup=0.5, weight_decay=0.1, max_grad_norm=0.7)
    assert len(server.received) == 4
    for rows in server.received:
        trained = [row.weights[row.weights > 0] for row in rows]
        count = sum(map(len, trained))
        assert 0 < count < sum(len(row.weights) for row in rows)
        assert all(np.allclose(weights, 1 / count) for weights in trained)
    wanted = [learning_rate(step, 4, 0.05, 0.5, "linear") for step in range(4)]
    assert [adam["learning_rate"] for adam in server.adams] == wanted == [0.025, 0.05, 0.05, 0.025]
    assert {(adam["weight_decay"], adam["grad_clip_norm"]) for adam in server.adams} == {(0.1, 0.7)}


def test_the_next_step_is_submitted_before_one_is_awaited_and_no_more(server: TinkerServer, train: Train) -> None:
    server.latency = 0.03
    train(valid=0, steps=8, save_every=8)
    under_way, most = 0, 0
    for what in server.events[: server.events.index(("in", "save_weights"))]:
        under_way += {("in", "optim_step"): 1, ("out", "optim_step"): -1}.get(what, 0)
        most = max(most, under_way)
    assert (most, under_way) == (2, 0)  # and nothing is under way when a state is saved
    first = server.events.index(("out", "forward_backward"))
    assert server.events[:first].count(("in", "forward_backward")) == 2


def test_a_checkpoint_names_the_state_of_its_step(server: TinkerServer, train: Train) -> None:
    report = train(steps=6, save_every=2, keep_last=2)
    found = sorted((report.run / "checkpoints").iterdir())
    assert [path.name for path in found] == ["step_00000004", "step_00000006"]
    for path in found:
        state = server.states[json.loads((path / "tinker.json").read_text())["state_path"]]
        assert state.steps == int(path.name.removeprefix("step_"))


def test_validation_is_the_mean_of_the_weights_after_the_step(server: TinkerServer, train: Train) -> None:
    report = train(steps=2, valid=70, eval_every=1, save_every=2)  # more rows than one request takes
    rows = read_metrics(report.run / "metrics.jsonl")[0]
    assert rows[0]["val_loss"] < rows[0]["loss"] and rows[1]["val_loss"] < rows[0]["val_loss"]
    assert sum(adam is not None for adam in server.adams) == 2
    assert server.count("forward_backward") == 2 + 2 * 3


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
    make_data(folder / "data3")
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


def test_nan_stops_and_keeps_the_last_good_checkpoint(server: TinkerServer, train: Train, tmp_path: Path) -> None:
    def poison() -> None:
        server.last_state().weights["second"][:] = np.nan

    with pytest.raises(SccError, match="the loss is nan at step"):
        train(on_event=at_step(5, poison))
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step_00000004"]
    assert len(server.states) == 1


def test_weights_that_are_nan_are_not_saved(server: TinkerServer, train: Train, tmp_path: Path) -> None:
    """The loss of step 4 is still good, and the weights after it are not."""

    def poison() -> None:
        server.last_state().weights["second"][:] = np.nan

    with pytest.raises(SccError, match="the loss of the weights to be saved is nan at step 4"):
        train(valid=0, on_event=at_step(4, poison))
    assert not (tmp_path / "run" / "checkpoints").exists() and not server.states


def test_a_run_can_start_from_another_with_a_new_optimizer(server: TinkerServer, train: Train, tmp_path: Path) -> None:
    train("first", steps=6)
    train("second", start="first", steps=3, learning_rate=1e-9)
    before, after = (run.state for run in list(server.runs.values())[-2:])
    assert (before.steps, after.steps) == (6, 3)
    assert np.allclose(before.weights["second"], after.weights["second"], atol=1e-7)
    with pytest.raises(UsageError, match="has rank 4"):
        train("third", start="first", rank=2)
    server.models["test/other"] = 100
    with pytest.raises(UsageError, match="trained test/tiny, not test/other"):
        train("fourth", start="first", model="test/other")
    with pytest.raises(UsageError, match="is no run of the backend tinker"):
        train("fifth", start="data3")
    assert not (tmp_path / "fourth").exists()


def test_a_finished_run_asks_nobody(server: TinkerServer, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    train(steps=2)
    asked = len(server.events)
    monkeypatch.delenv("TINKER_API_KEY")
    told: Events = []
    assert train(steps=2, on_event=told.append).steps == 2
    assert told == [{"message": "this run is complete already"}] and len(server.events) == asked


def test_a_server_that_gives_no_adapter_out_keeps_it(server: TinkerServer, train: Train) -> None:
    server.always["external_weights_urls"] = Reply(404, {"detail": "Not Found"})
    told: Events = []
    report = train(steps=2, on_event=told.append)
    kept = [event["message"] for event in told if "the adapter stays at the server" in event.get("message", "")]
    assert len(kept) == 1 and "Not Found" in kept[0]
    assert [path.name for path in report.adapter.iterdir()] == ["tinker.json"]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"../../evil.json": b"{}"}, "a file '../../evil.json', which no adapter has"),
        ({"/tmp/evil.json": b"{}"}, "which no adapter has"),
        ({"adapter_model.bin": b"pickle"}, "a file 'adapter_model.bin'"),
        ({"adapter_model.safetensors": b"no"}, "not a safetensors file"),
        ({}, "0 files"),
    ],
)
def test_files_that_no_adapter_has_are_left_there(
    server: TinkerServer, train: Train, tmp_path: Path, files: dict[str, bytes], why: str
) -> None:
    server.files = files
    told: Events = []
    report = train(steps=1, valid=0, on_event=told.append)
    assert any(why in event.get("message", "") for event in told)
    assert [path.name for path in report.adapter.iterdir()] == ["tinker.json"]
    assert not list(tmp_path.rglob("evil.json"))


def test_the_key_is_written_nowhere(server: TinkerServer, train: Train) -> None:
    told: Events = []
    report = train(steps=2, on_event=told.append)
    assert KEY not in str(told)
    for path in report.run.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
