"""The backend tinker against a real server, where TINKER_SERVER_PYTHON names an interpreter that has one."""

from __future__ import annotations

import json
import os
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
from generation_models import answers, prompts, wordy
from tinker_server import real_server
from training_jobs import make_job, sample_texts, write_rows

from compressor_cli.backends.tinker import check, conduct, open_generator
from compressor_cli.core.adapters_peft import copy_peft
from compressor_cli.core.generation import ModelSource, Sampling
from compressor_cli.core.runfiles import read_metrics
from compressor_cli.core.tensors import load_tensors
from compressor_cli.core.training import Launch, RunReport
from compressor_cli.errors import UsageError
from compressor_cli.settings import CloudSettings

PYTHON = os.environ.get("TINKER_SERVER_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="make test-tinker sets TINKER_SERVER_PYTHON")

SETTINGS: dict[str, Any] = {"steps": 10, "rank": 4, "learning_rate": 0.01, "save_every": 4, "seed": 1}
Served = tuple[str, Path]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The server's address, and the folder of its model."""
    from tiny_model import make_model

    folder = tmp_path_factory.mktemp("tinker")
    model = make_model(folder / "model", sample_texts())
    with real_server(PYTHON, folder / "server", model) as url:
        yield url, model


@pytest.fixture(scope="module")
def whole(served: Served, tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    """A run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as environment:
        reach(environment, served)
        return train(served, folder)


@pytest.fixture(autouse=True)
def environment(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    reach(monkeypatch, served)


def reach(environment: pytest.MonkeyPatch, served: Served) -> None:
    environment.setenv("TINKER_BASE_URL", served[0])
    environment.setenv("TINKER_API_KEY", "tml-none")


def train(
    served: Served, folder: Path, on_event: Callable[[Mapping[str, Any]], None] = lambda event: None, **changes: Any
) -> RunReport:
    settings = CloudSettings(**SETTINGS | {"model": str(served[1])} | changes)
    return conduct(
        make_job("tinker", settings, served[1], write_rows(folder / "data", train=12, valid=3)),
        Launch(folder / "run", on_event=on_event),
    )


def assert_same(one: Path, other: Path) -> None:
    left, right = (load_tensors(run / "adapter" / "adapter_model.safetensors") for run in (one, other))
    assert left.keys() == right.keys() and left
    assert any(array.any() for array in left.values())
    assert max(float(np.abs(left[name] - right[name]).max()) for name in left) <= 1e-6
    rows, others = (read_metrics(run / "metrics.jsonl")[0] for run in (one, other))
    assert [row["step"] for row in rows] == [row["step"] for row in others]
    assert np.allclose([row["loss"] for row in rows], [row["loss"] for row in others], atol=1e-6)


def test_check_and_a_model_that_is_not_there(served: Served, tmp_path: Path) -> None:
    assert [model.name for model in check().models] == [str(served[1])]
    with pytest.raises(UsageError, match="is not there"):
        train(served, tmp_path, model="Qwen/Qwen3-8B")


def test_it_learns_and_gives_out_an_adapter(whole: RunReport) -> None:
    rows = read_metrics(whole.run / "metrics.jsonl")[0]
    assert [row["step"] for row in rows] == list(range(1, 11))
    assert rows[-1]["loss"] < rows[0]["loss"] / 2
    assert rows[-1]["val_loss"] < rows[3]["val_loss"]
    assert json.loads((whole.adapter / "adapter_config.json").read_text())["peft_type"] == "LORA"


@pytest.mark.parametrize("trained", [False, True])
def test_its_answers_are_those_of_transformers_and_peft(
    served: Served, whole: RunReport, tmp_path: Path, trained: bool
) -> None:
    from compressor_cli.backends.torch import open_generator as open_torch

    asked, base = prompts(wordy(5), 12), str(served[1])
    copy_peft(whole.adapter, tmp_path, base)  # with the modules named, which the server leaves out
    there = answers(open_torch(ModelSource(base, tmp_path if trained else None, batch_size=3)), asked)
    generator = open_generator(ModelSource(base, whole.run if trained else None, batch_size=3))
    found = answers(generator, asked)
    assert [one.error for one in found] == [None] * 5
    assert [(one.text, one.truncated) for one in found] == [(one.text, one.truncated) for one in there]
    drawn = [[one.text for one in answers(generator, asked, Sampling(1.5, 0.9, seed))] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    generator.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_and_resumed(served: Served, whole: RunReport, tmp_path: Path, number: signal.Signals) -> None:
    def stop(event: Mapping[str, Any]) -> None:
        if event.get("row", {}).get("step") == 5:
            signal.raise_signal(number)

    with pytest.raises(SystemExit) as left:
        train(served, tmp_path, stop)
    assert left.value.code == 128 + number
    assert_same(train(served, tmp_path).run, whole.run)


@pytest.mark.parametrize("step", [2, 6])
def test_killed_and_resumed(
    served: Served, whole: RunReport, tmp_path: Path, step: int, processes: list[subprocess.Popen[bytes]]
) -> None:
    data = write_rows(tmp_path / "data", train=12, valid=3)
    settings = json.dumps(SETTINGS | {"model": str(served[1])})
    command = [sys.executable, REPO / "tests" / "training_jobs.py", "tinker", served[1], data, tmp_path / "run"]
    child = subprocess.Popen([*map(str, command), settings])
    processes.append(child)
    while len(read_metrics(tmp_path / "run" / "metrics.jsonl")[0]) < step:
        assert child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.wait()
    assert_same(train(served, tmp_path).run, whole.run)
