"""Runs of the torch backend on a tiny model, for its tests."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training_jobs import make_job

from compressor_cli.backends.torch import conduct
from compressor_cli.core.runfiles import read_metrics
from compressor_cli.core.training import Launch, RunReport, TrainJob
from compressor_cli.settings import TorchSettings

Row = dict[str, Any]
TEXTS = [f"Task {number}: the quick brown fox {number * 7} jumps over the lazy dog." for number in range(40)]


def answer(number: int) -> str:
    return f"fox {number * 7} > dog" + " again" * (number % 5)


def chat(number: int) -> Row:
    user, assistant = {"role": "user", "content": TEXTS[number]}, {"role": "assistant", "content": answer(number)}
    return {"messages": [user, assistant]}


def pair(number: int) -> Row:
    messages = chat(number)["messages"]
    return {
        "prompt": messages[:1],
        "chosen": messages[1:],
        "rejected": [{"role": "assistant", "content": TEXTS[number]}],
    }


def text(number: int) -> Row:
    return {"text": " ".join(TEXTS[number : number + 1 + number % 3])}


KINDS = {"sft": chat, "distill": chat, "dpo": pair, "pretrain": text}


def write_data(folder: Path, stage: str = "sft", rows: int = 22, valid: int = 5) -> Path:
    """22 rows: in steps of 8 the last step of an epoch has 6, in steps of 4 it has 2."""
    folder.mkdir(parents=True, exist_ok=True)
    row = KINDS[stage]
    for name, numbers in (("train", range(rows)), ("valid", range(rows, rows + valid))):
        lines = [json.dumps(row(number)) for number in numbers]
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder


def torch_job(folder: Path, data: Path, **settings: Any) -> TrainJob:
    """A step takes 4 rows unless told; `start` and `model_name` are of the job."""
    changes = {name: settings.pop(name) for name in ("start", "model") if name in settings}
    given = {"batch_size": 4, "steps": 8, "learning_rate": 5e-3, "save_every": 3, "warmup": 0.1, **settings}
    return make_job("torch", TorchSettings(model=str(folder), **given), folder, data, **changes)


def train(job: TrainJob, run: Path, **launch: Any) -> RunReport:
    return conduct(job, Launch(run, **launch))


def train_until(job: TrainJob, run: Path, step: int, number: int = signal.SIGINT) -> None:
    """A signal comes while `step` is recorded; raises SystemExit."""

    def tell(event: Mapping[str, Any]) -> None:
        if event.get("done") == step:
            os.kill(os.getpid(), number)

    train(job, run, on_event=tell)


def metrics(run: Path) -> list[Row]:
    return read_metrics(run / "metrics.jsonl")[0]


def told(run: Path) -> list[tuple[Any, ...]]:
    """What must be the same in a run that was stopped and in one that was not."""
    names = ("step", "epoch", "loss", "val_loss", "lr", "tokens")
    return [tuple(row[name] for name in names) for row in metrics(run)]


def weights(run: Path) -> dict[str, bytes]:
    """The safetensors of the result, by name."""
    return {path.name: path.read_bytes() for path in sorted((run / "adapter").glob("*.safetensors"))}
