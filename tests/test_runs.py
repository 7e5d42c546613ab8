"""The run folder: opened once, gone on with, refused where it is another, whatever ended it."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor_cli.core.checkpoints import Position
from compressor_cli.core.runfiles import (
    MetricsLog,
    TinkerRun,
    is_alive,
    read_card,
    read_metrics,
    read_tinker_run,
    write_tinker_run,
)
from compressor_cli.core.runs import Run, RunSpec, open_run, require_space
from compressor_cli.core.stopping import Stop, stop_on_signals
from compressor_cli.errors import SccError, UsageError

Events = list[Mapping[str, Any]]


@pytest.fixture
def spec(work: Path) -> RunSpec:
    (work / "train.jsonl").write_text("{}\n")
    return RunSpec("torch", {"seed": 1, "lora": {"rank": 8}}, {"train": work / "train.jsonl"}, "a/model", steps=10)


def write(folder: Path) -> None:
    (folder / "state.bin").write_bytes(b"weights")


def train(run: Run, first: int, last: int, save_at: int = 0) -> None:
    for step in range(first, last + 1):
        run.record(step, 0, loss=1 / step, lr=1e-4, tokens=10, seconds=0.5)
        if step == save_at:
            run.save(Position(0, step, step), write)


def test_a_run_from_beginning_to_end(spec: RunSpec, work: Path) -> None:
    events: Events = []
    with open_run(work / "run", spec, on_event=events.append) as run:
        assert run.resumed is None and is_alive(work / "run")
        train(run, 1, 4, save_at=4)
        run.finish()
    card = json.loads((work / "run/run.json").read_text())
    assert (card["state"], card["steps_done"], card["steps_planned"]) == ("finished", 4, 10)
    assert card["settings"] == spec.settings and set(card["data_sha256"]) == {"train"}
    assert set(card["versions"]) == {"compressor_cli", "python"} and "git" in card
    assert card["sessions"][0]["ended"] and not is_alive(work / "run")
    rows, torn = read_metrics(work / "run/metrics.jsonl")
    assert not torn and [row["step"] for row in rows] == [1, 2, 3, 4]
    fields = ["step", "epoch", "loss", "val_loss", "lr", "tokens", "tokens_per_second", "seconds"]
    assert list(rows[0]) == fields
    assert (rows[3]["tokens"], rows[3]["seconds"], rows[3]["tokens_per_second"]) == (40, 2.0, 20.0)
    assert {"done": 4, "total": 10, "row": rows[3]} in events and {"saved": "step_00000004", "kept": 1} in events
    assert "finished" in (work / "run/train.log").read_text()
    with open_run(work / "run", spec) as again:
        assert again.finished
    assert read_card(work / "run") == card


def test_it_goes_on_from_the_last_checkpoint_and_no_step_stands_twice(spec: RunSpec, work: Path) -> None:
    with pytest.raises(RuntimeError), open_run(work / "run", spec) as run:
        train(run, 1, 5, save_at=3)
        raise RuntimeError("the cable")
    card = read_card(work / "run")
    assert card and (card["state"], card["error"], card["steps_done"]) == ("failed", "RuntimeError: the cable", 5)
    with (work / "run/metrics.jsonl").open("ab") as handle:
        handle.write(b'{"step": 6, "lo')
    events: Events = []
    with open_run(work / "run", replace(spec, save_every=5, keep_last=1), on_event=events.append) as run:
        assert run.resumed and run.resumed.step == 3 and run.due(5) and not run.due(4)
        assert [row["step"] for row in run.rows] == [1, 2, 3]
        train(run, 4, 6)
    told = [event.get("message", "") for event in events]
    assert "2 rows of metrics after step 3 are done again" in told and "going on after step 3" in told
    rows, _ = read_metrics(work / "run/metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6] and rows[-1]["tokens"] == 60
    card = read_card(work / "run")
    assert card and card["state"] == "stopped" and card["error"] is None
    assert [session["from_step"] for session in card["sessions"]] == [0, 3]


def test_what_was_skipped_is_told(spec: RunSpec, work: Path) -> None:
    with open_run(work / "run", spec) as run:
        train(run, 1, 2, save_at=2)
        train(run, 3, 4, save_at=4)
    (work / "run/checkpoints/step_00000004/state.bin").write_bytes(b"")
    events: Events = []
    with open_run(work / "run", spec, on_event=events.append) as run:
        assert run.resumed and run.resumed.step == 2
    assert any("step_00000004 is skipped" in event.get("message", "") for event in events)
    assert "step_00000004 is skipped" in (work / "run/train.log").read_text()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"settings": {"seed": 2, "lora": {"rank": 8}}}, "settings.seed was 1, is 2"),
        ({"settings": {"seed": 1, "lora": {"rank": 16}}}, "settings.lora.rank was 8, is 16"),
        ({"settings": {"seed": 1, "lora": {"rank": 8}, "new": 1}}, "settings.new was None, is 1"),
        ({"settings": {"seed": 1}}, "settings.lora.rank was 8, is None"),
        ({"model": "b"}, "model was 'a/model', is 'b'"),
        ({"backend": "local"}, "backend was 'torch', is 'local'"),
        ({"identity": {"base_sha256": {"w": "1"}}}, "base_sha256.w"),
    ],
)
def test_another_run_is_refused_by_name(change: dict[str, Any], told: str, spec: RunSpec, work: Path) -> None:
    with open_run(work / "run", spec) as run:
        train(run, 1, 2)
    before = (work / "run/run.json").read_bytes()
    with pytest.raises(UsageError) as caught, open_run(work / "run", replace(spec, **change)):
        pass
    assert told in str(caught.value)
    assert (work / "run/run.json").read_bytes() == before


def test_other_data_are_refused(spec: RunSpec, work: Path) -> None:
    with open_run(work / "run", spec) as run:
        run.finish()
    (work / "train.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(UsageError, match=r"data: the rows of train$"), open_run(work / "run", spec):
        pass


def test_of_another_backend_nothing_else_is_compared(spec: RunSpec, work: Path) -> None:
    with open_run(work / "run", spec) as run:
        run.finish()
    other = replace(spec, backend="other", settings={"depth": 3})
    with pytest.raises(UsageError, match=r"data: backend was '\w+', is 'other'$"), open_run(work / "run", other):
        pass


def test_folders_that_are_no_run_are_refused(spec: RunSpec, work: Path) -> None:
    (work / "other").mkdir()
    (work / "other/notes.txt").write_text("x")
    with pytest.raises(UsageError, match="is not empty and no run"), open_run(work / "other", spec):
        pass
    with pytest.raises(UsageError, match="is not a folder"), open_run(work / "train.jsonl", spec):
        pass
    for text in ("", "[]", '{"format": "x"}', '{"format": "scc-run-1"}', "[" * 100_000):
        (work / "other/run.json").write_text(text)
        with pytest.raises(UsageError, match=r"run\.json is not"), open_run(work / "other", spec):
            pass
    with open_run(work / "run", spec):
        pass
    with pytest.raises(UsageError, match="already holds a run"), open_run(work / "run", spec, resume=False):
        pass


def test_other_versions_are_told(spec: RunSpec, work: Path) -> None:
    spec = replace(spec, packages=("numpy", "not-installed"))
    with open_run(work / "run", spec):
        pass
    card = read_card(work / "run")
    assert card and "numpy" in card["versions"] and "not-installed" not in card["versions"]
    card["versions"]["numpy"] = "0.1"
    (work / "run/run.json").write_text(json.dumps(card))
    events: Events = []
    with open_run(work / "run", spec, on_event=events.append):
        pass
    assert any("other versions of numpy" in event.get("message", "") for event in events)


def test_resuming_from_an_earlier_checkpoint_sets_the_later_ones_aside(spec: RunSpec, work: Path) -> None:
    with open_run(work / "run", spec) as run:
        train(run, 1, 2, save_at=2)
        train(run, 3, 4, save_at=4)
    checkpoints = work / "run/checkpoints"
    with open_run(work / "run", spec, resume_from=checkpoints / "step_00000002") as run:
        assert run.resumed and run.resumed.step == 2 and [row["step"] for row in run.rows] == [1, 2]
    assert {path.name for path in checkpoints.iterdir()} == {"step_00000002", "step_00000004.later"}
    with open_run(work / "new", spec, resume_from=checkpoints / "step_00000002") as run:
        assert run.resumed and run.resumed.step == 2
    with (
        pytest.raises(UsageError, match=r"settings\.seed was 1, is 2"),
        open_run(work / "x", replace(spec, settings={"seed": 2}), resume_from=checkpoints / "step_00000002"),
    ):
        pass
    with (
        pytest.raises(UsageError, match=r"--resume-from .*: not a checkpoint folder") as refused,
        open_run(work / "y", spec, resume_from=checkpoints / "step_00000009"),
    ):
        pass
    assert refused.value.hint == f"for example {checkpoints / 'step_00000002'}"
    with pytest.raises(UsageError) as refused, open_run(work / "y", spec, resume_from=work / "run"):
        pass
    assert refused.value.hint == f"for example {checkpoints / 'step_00000002'}"
    assert not (work / "x").exists() and not (work / "y").exists()


def test_a_run_that_its_tracker_refuses_has_failed(spec: RunSpec, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*parts: object) -> None:
        raise UsageError("W&B: no key")

    monkeypatch.setattr("compressor_cli.core.runs.Tracker", refuse)
    with pytest.raises(UsageError, match="no key"), open_run(work / "run", replace(spec, wandb="p")):
        pass
    card = read_card(work / "run")
    assert card and (card["state"], card["error"]) == ("failed", "UsageError: W&B: no key")
    assert card["sessions"][-1]["ended"]


def test_one_process_at_a_time(spec: RunSpec, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compressor_cli.core.runfiles._PATIENCE", 0.05)
    with open_run(work / "run", spec) as run:
        with pytest.raises(UsageError, match="is being trained by another process"), open_run(work / "run", spec):
            pass
        train(run, 1, 1)
    with open_run(work / "run", spec):
        pass


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_ends_the_run(bad: float, spec: RunSpec, work: Path) -> None:
    with pytest.raises(SccError, match="at step 3"), open_run(work / "run", spec) as run:
        train(run, 1, 2, save_at=2)
        run.record(3, 0, loss=bad)
    with pytest.raises(SccError, match="the validation loss is"), open_run(work / "run", spec) as run:
        run.record(3, 0, val_loss=bad)
    card = read_card(work / "run")
    assert card and card["state"] == "failed" and card["steps_done"] == 2
    assert [path.name for path in (work / "run/checkpoints").iterdir()] == ["step_00000002"]


def test_steps_only_rise(spec: RunSpec, work: Path) -> None:
    with open_run(work / "run", spec) as run:
        run.record(2, 0, loss=1.0)
        with pytest.raises(ValueError, match="step 2 after step 2"):
            run.record(2, 0, loss=1.0)


@given(st.lists(st.integers(1, 50), unique=True, max_size=20).map(sorted), st.integers(0, 50), st.binary(max_size=12))
def test_metrics_hold_each_step_once_after_any_cut(steps: list[int], through: int, tail: bytes) -> None:
    path = Path("m.jsonl")
    path.unlink(missing_ok=True)
    log = MetricsLog(path, 0)
    for step in steps:
        log.append({"step": step})
    log.close()
    with path.open("ab") as handle:
        handle.write(tail.replace(b"\n", b""))
    again = MetricsLog(path, through)
    again.append({"step": 51})
    again.close()
    rows, torn = read_metrics(path)
    assert not torn and [row["step"] for row in rows] == [*(step for step in steps if step <= through), 51]


def test_a_line_that_is_no_row_is_named(work: Path) -> None:
    (work / "m.jsonl").write_text('{"step": 1}\n{"a": 1}\n{"step": 2}\n')
    with pytest.raises(SccError, match=r"m\.jsonl, line 2: a row has no step"):
        read_metrics(work / "m.jsonl")
    (work / "m.jsonl").write_text('{"step": 1, "loss": "low"}\n')
    with pytest.raises(SccError, match=r"m\.jsonl, line 1: loss is no number"):
        read_metrics(work / "m.jsonl")


def test_a_card_that_was_edited_badly_is_told(spec: RunSpec, work: Path) -> None:
    with open_run(work / "run", spec):
        pass
    card = read_card(work / "run")
    assert card
    for change in ({"sessions": None}, {"created": "today"}, {"sessions": [{"started": 1}]}, {"state": 1}):
        (work / "run/run.json").write_text(json.dumps({**card, **change}))
        with pytest.raises(UsageError, match="is not the card of a run"):
            read_card(work / "run")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_asks_to_save_and_leave(number: int, code: int, spec: RunSpec, work: Path) -> None:
    events: Events = []
    before = signal.getsignal(number)
    with (
        pytest.raises(SystemExit) as caught,
        open_run(work / "run", spec, on_event=events.append) as run,
        stop_on_signals() as stop,
    ):
        train(run, 1, 3)
        run.leave_if(stop)
        os.kill(os.getpid(), number)
        run.save(Position(0, 3, 3), write)
        run.leave_if(stop)
    assert caught.value.code == code and signal.getsignal(number) is before
    card = read_card(work / "run")
    assert card and card["state"] == "stopped"
    assert "stopped; the same command goes on after step 3" in [event.get("message") for event in events]


def test_a_second_signal_does_not_wait() -> None:
    with pytest.raises(KeyboardInterrupt), stop_on_signals():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(SystemExit), stop_on_signals():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)


def test_no_signals_outside_the_main_thread() -> None:
    found: list[Stop] = []

    def inside() -> None:
        with stop_on_signals() as stop:
            found.append(stop)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert not found[0].asked


TRAINING = """
import sys, time
from pathlib import Path
from compressor_cli.core.checkpoints import Position
from compressor_cli.core.runs import RunSpec, open_run
spec = RunSpec("torch", {}, {}, steps=10**9, save_every=5, keep_last=2)
def write(folder):
    (folder / "w.bin").write_bytes(b"x" * 100_000)
with open_run(Path("run"), spec) as run:
    step = run.resumed.step if run.resumed else 0
    print("ready", flush=True)
    while True:
        step += 1
        run.record(step, 0, loss=1.0, tokens=1, seconds=0.001)
        if run.due(step):
            run.save(Position(0, step, step), write)
            print(step, flush=True)
"""


def kill_runs(work: Path, times: int) -> None:
    last = 0
    for n in range(times):
        child = subprocess.Popen([sys.executable, "-c", TRAINING], stdout=subprocess.PIPE, text=True, cwd=work)
        assert child.stdout and child.stdout.readline() == "ready\n"
        time.sleep(0.02 + 0.03 * (n % 5))
        assert is_alive(work / "run")
        child.send_signal(signal.SIGKILL)
        told = child.communicate()[0].split()
        last = max([last, *map(int, told)])
        assert not is_alive(work / "run")
        with open_run(work / "run", RunSpec("torch", {}, {}, save_every=5, keep_last=2)) as run:
            done = run.resumed.step if run.resumed else 0
            assert done in (last, last + 5)
            assert [row["step"] for row in run.rows] == list(range(1, done + 1))
        last = done
    assert last > 0


def test_kill_9_loses_at_most_the_steps_since_the_last_save(work: Path) -> None:
    kill_runs(work, 5)


@pytest.mark.slow
def test_kill_9_of_runs_many_times(work: Path) -> None:
    kill_runs(work, 40)


def test_the_commit_of_the_project_is_noted(spec: RunSpec, work: Path) -> None:
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True, cwd=work)
    with open_run(work / "run", spec):
        pass
    card = read_card(work / "run")
    assert card and len(card["git"]["commit"]) == 40 and card["git"]["changed"] is False


def test_a_disk_too_small_is_told_before(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 3_000_000_000}))
    require_space(work / "not/yet", 700_000_000, 3)
    with pytest.raises(UsageError, match=r"3 checkpoints in .* need 4\.0 GB, and 3\.0 GB are free"):
        require_space(work / "not/yet", 1_000_000_000, 3)


def test_tinker_runs_are_read_back(work: Path) -> None:
    assert read_tinker_run(work) is None
    ours = TinkerRun("tinker", "Qwen/Qwen3-8B", 120, "run", "session", "tinker://run/weights/120", None)
    write_tinker_run(work, ours)
    assert read_tinker_run(work) == ours
    broken: list[Callable[[dict[str, Any]], object]] = [
        lambda value: value.update(steps_done="120"),
        lambda value: value.update(state_path=1),
        lambda value: value.update(other=1),
        lambda value: value.pop("model"),
    ]
    for change in broken:
        value = asdict(ours)
        change(value)
        (work / "tinker_run.json").write_text(json.dumps(value))
        with pytest.raises(UsageError, match="damaged"):
            read_tinker_run(work)
