"""`scc train --backend tinker`: the real SDK against a double of its server."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tinker_double import KEY, MODEL, Reply, TinkerServer
from tinker_factors import VOCABULARY
from tinker_fixtures import Events, Train, at_step, same, server, tokenizer, train

from compressor_cli.core.pace import learning_rate
from compressor_cli.core.runfiles import read_metrics, read_tinker_run
from compressor_cli.core.tensors import load_tensors
from compressor_cli.errors import SccError, UsageError

__all__ = ["server", "tokenizer", "train"]  # fixtures


def test_a_run_learns_and_says_where_it_is_kept(server: TinkerServer, train: Train, tmp_path: Path) -> None:
    events: Events = []
    report = train(on_event=events.append)
    rows = read_metrics(report.run / "metrics.jsonl")[0]
    assert [row["step"] for row in rows] == list(range(1, 11))
    assert rows[0]["loss"] == pytest.approx(math.log(VOCABULARY), rel=1e-6)  # it knows nothing yet
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.3
    assert [row["step"] for row in rows if row["val_loss"] is not None] == [4, 8, 10]
    told = read_tinker_run(report.run)
    assert told is not None and told.steps_done == 10 and told.model == MODEL
    assert told.state_path in server.states and told.sampler_path in server.states
    assert same(server.states[told.state_path], server.last_state())
    assert {path.name for path in report.adapter.iterdir()} == {
        "adapter_model.safetensors", "adapter_config.json", "tinker.json"
    }  # fmt: skip
    weights = load_tensors(report.adapter / "adapter_model.safetensors")
    assert all(np.array_equal(weights[name], array) for name, array in server.last_state().weights.items())
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


def test_states_of_pruned_checkpoints_are_removed_from_the_server(server: TinkerServer, train: Train) -> None:
    report = train(steps=8, save_every=2, keep_last=2)
    named = {json.loads(path.read_text())["state_path"] for path in report.run.glob("checkpoints/step_*/tinker.json")}
    kept = {path for path in server.states if "/weights/" in path}
    assert len(named) == 2 and kept == named and server.count("delete") == 2


def test_a_server_that_removes_nothing_hinders_nothing(server: TinkerServer, train: Train) -> None:
    server.always["delete"] = Reply(405, {"detail": "Method Not Allowed"})
    report = train(steps=6, save_every=2, keep_last=1)
    assert "stays at the server: " in (report.run / "train.log").read_text()
    assert len([path for path in server.states if "/weights/" in path]) == 3


def test_validation_is_the_mean_of_the_weights_after_the_step(server: TinkerServer, train: Train) -> None:
    report = train(steps=2, valid=70, eval_every=1, save_every=2)  # more rows than one request takes
    rows = read_metrics(report.run / "metrics.jsonl")[0]
    assert rows[0]["val_loss"] < rows[0]["loss"] and rows[1]["val_loss"] < rows[0]["val_loss"]
    assert sum(adam is not None for adam in server.adams) == 2
    assert server.count("forward_backward") == 2 + 2 * 3


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


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda results: results[:-1], "the server gave 3 results for 4 rows"),
        (lambda results: [result[1:] for result in results], r"the server gave \d+ log probabilities for \d+ tokens"),
        (lambda results: [result * np.nan for result in results], "the loss is nan at step 1"),
        (lambda results: [result - np.inf for result in results], "the loss is inf at step 1"),
    ],
)
def test_results_that_are_none(
    server: TinkerServer, train: Train, spoil: Callable[[list[Any]], list[Any]], why: str
) -> None:
    server.spoil = spoil
    with pytest.raises(SccError, match=why):
        train()


def test_what_stands_beside_the_trained_tokens_does_not_count(server: TinkerServer, train: Train) -> None:
    """A prompt can hold what a model gives no probability at all."""

    def spoil(results: list[Any]) -> list[Any]:
        for result in results:
            result[0] = -np.inf
        return results

    server.spoil = spoil
    assert train(steps=2).metrics["loss"] < 10


def test_a_run_that_was_cut_off_before_its_adapter(server: TinkerServer, train: Train) -> None:
    server.always["save_weights_for_sampler"] = Reply(400, {"detail": "not now"})
    with pytest.raises(SccError, match="not now"):
        train()
    server.always.clear()
    steps = len(server.adams)
    report = train()
    told = read_tinker_run(report.run)
    assert len(server.adams) == steps and (report.adapter / "adapter_config.json").is_file()
    assert told is not None and told.sampler_path in server.states and told.state_path in server.states


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
