"""Several processes under torchrun, and real kills of one: the same run, the same weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import REPO
from tiny_model import make_model
from torch_runs import TEXTS, metrics, told, torch_job, train, weights, write_data

from compressor_cli.backends.torch.conducting import refuse_uneven
from compressor_cli.core.checkpoints import checkpoint_name, list_checkpoints
from compressor_cli.core.stopping import stop_on_signals
from compressor_cli.errors import UsageError
from compressor_cli.settings import TorchSettings

torch = pytest.importorskip("torch")
for package in ("transformers", "trl", "peft", "accelerate"):
    pytest.importorskip(package)

WORKER = str(REPO / "tests/torch_worker.py")
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
Worker = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny") / "model", TEXTS)


@pytest.fixture
def worker(model: Path, work: Path, processes: list[subprocess.Popen[bytes]]) -> Worker:
    def start(run: str, *torchrun: str, data: str = "data", **settings: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, *torchrun, WORKER, str(model), str(work / data), str(work / run)]
        process = subprocess.Popen(
            [*command, json.dumps(settings)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{REPO}:{REPO / 'tests'}"},
        )
        processes.append(process)
        return process

    return start


def ended(process: subprocess.Popen[bytes], timeout: float = 150) -> tuple[str, str]:
    """A torchrun that is killed outright would leave its processes behind."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.terminate()
        out, err = process.communicate(timeout=60)
        raise AssertionError(f"it did not end: {err.decode()}") from None
    return out.decode(), err.decode()


def finished(process: subprocess.Popen[bytes]) -> list[str]:
    """The lines that it printed."""
    out, err = ended(process)
    assert process.returncode == 0, err
    return out.splitlines()


def until(process: subprocess.Popen[bytes], step: int) -> None:
    assert process.stdout
    for line in process.stdout:
        if json.loads(line).get("done") == step:
            return
    raise AssertionError(process.stderr and process.stderr.read())


@pytest.mark.slow
def test_kill_9_loses_only_the_steps_since_the_last_save(model: Path, work: Path, worker: Worker) -> None:
    write_data(work / "data")
    given = {"dropout": 0.1, "steps": 200, "learning_rate": 1e-3, "save_every": 3}
    process = worker("run", **given)
    until(process, 8)
    process.kill()
    process.communicate()
    assert list_checkpoints(work / "run/checkpoints")[-1][0].name >= checkpoint_name(6)
    # What is left is gone on with under the settings of the run, up to a step that a whole run can be compared at.
    process = worker("run", **given)
    until(process, 13)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 143
    process = worker("whole", **given)
    until(process, 15)
    process.kill()
    process.communicate()
    assert told(work / "run")[:13] == told(work / "whole")[:13]
    last = list_checkpoints(work / "run/checkpoints")[-1][0].name
    assert last >= checkpoint_name(13)
    for name in ("adapter_model.safetensors",):
        one, two = (work / run / "checkpoints" / checkpoint_name(12) / name for run in ("run", "whole"))
        assert one.read_bytes() == two.read_bytes()


def test_a_batch_that_cannot_be_shared_evenly_is_refused() -> None:
    from compressor_cli.backends.torch.world import World

    with pytest.raises(UsageError, match="batch_size 4 cannot be shared evenly by 3 processes") as refused:
        refuse_uneven(TorchSettings(), World(0, 3, torch.device("cpu")))
    assert refused.value.hint and refused.value.hint.endswith("set it to 6")


def test_a_second_signal_is_not_impatience_where_torchrun_sends_its_own() -> None:
    from compressor_cli.backends.torch.world import World, patient

    with stop_on_signals() as stop:
        with patient(World(0, 2, torch.device("cpu")), stop):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason == signal.SIGINT
        with pytest.raises(KeyboardInterrupt), patient(World(0, 1, torch.device("cpu")), stop):
            os.kill(os.getpid(), signal.SIGINT)


STAGES: dict[str, dict[str, Any]] = {
    "sft": {"gradient_accumulation": 2},
    "pretrain": {"stage": "pretrain", "packing": True, "max_seq_length": 64},
    "dpo": {"stage": "dpo", "gradient_accumulation": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_take_the_same_steps_as_one(stage: str, model: Path, work: Path, worker: Worker) -> None:
    """The last step of an epoch has fewer rows: 6 in parts of 4 and 2, or an odd number."""
    data = write_data(work / "data", stage, rows=21)
    given = {"steps": 7, "learning_rate": 1e-3, **STAGES[stage]}
    lines = finished(worker("two", *TORCHRUN, **given))
    assert [json.loads(line)["done"] for line in lines if "done" in line] == list(range(1, 8))
    assert sum("finished" in line for line in lines) == 2
    train(torch_job(model, data, **given), work / "one")
    for name in ("loss", "val_loss", "lr"):
        one, two = ([row[name] for row in metrics(work / run)] for run in ("one", "two"))
        assert one == pytest.approx(two, abs=2e-5)
    with pytest.raises(UsageError, match="processes was 2, is 1"):
        train(torch_job(model, data, **given), work / "two")


@pytest.mark.slow
def test_two_processes_stop_and_resume_exactly(model: Path, work: Path, worker: Worker) -> None:
    write_data(work / "data")
    given = {"dropout": 0.1, "gradient_accumulation": 2, "steps": 40, "learning_rate": 1e-3, "save_every": 30}
    finished(worker("whole", *TORCHRUN, **given))
    process = worker("run", *TORCHRUN, **given)
    until(process, 5)
    process.send_signal(signal.SIGTERM)  # to torchrun, which hands it on
    ended(process)
    assert process.returncode != 0
    saved = list_checkpoints(work / "run/checkpoints")[-1][0].name
    assert checkpoint_name(5) <= saved < checkpoint_name(30)
    lines = finished(worker("run", *TORCHRUN, **given))
    assert json.loads(lines[0])["message"] == f"going on after step {int(saved[5:])}"
    assert told(work / "run") == told(work / "whole")
    assert weights(work / "run") == weights(work / "whole")


@pytest.mark.slow
def test_one_process_of_two_that_is_killed_ends_both(model: Path, work: Path, worker: Worker) -> None:
    import psutil  # type: ignore[import-untyped]

    write_data(work / "data")
    process = worker("run", *TORCHRUN, steps=400, save_every=3)
    until(process, 4)
    for child in psutil.Process(process.pid).children():
        if child.environ().get("RANK") == "0":
            child.kill()
    _, err = ended(process)
    assert process.returncode != 0 and "RuntimeError" not in err
    assert list_checkpoints(work / "run/checkpoints")[-1][0].name >= checkpoint_name(3)


@pytest.mark.slow
def test_what_one_process_refuses_ends_all_and_is_told_once(model: Path, work: Path, worker: Worker) -> None:
    write_data(work / "data")
    for settings, line in (
        ({"batch_size": 3}, "error: batch_size 3 cannot be shared evenly by 2 processes"),
        ({"target_modules": ["nothing"]}, "error: target_modules"),
    ):
        process = worker("run", *TORCHRUN, **settings)
        _, err = ended(process)
        assert process.returncode != 0
        assert err.count("error: ") == 1 and line in err
        assert not (work / "run").exists()
    process = worker("run", *TORCHRUN, learning_rate=1e30, fine_tune_type="full", max_grad_norm=None)
    _, err = ended(process)
    assert err.count("error: the ") == 1 and "the loss is nan at step" in err
