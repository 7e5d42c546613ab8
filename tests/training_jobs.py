"""Jobs for the backends of `scc train`, made by hand: short rows, and the rows of a folder as tokens."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from conftest import REPO

from compressor_cli.backends import BACKENDS
from compressor_cli.core.chat_tokenizer import load_chat_tokenizer
from compressor_cli.core.models import model_identity
from compressor_cli.core.pace import Pace, plan_steps
from compressor_cli.core.train_rows import TrainRows, read_train_rows
from compressor_cli.core.training import Launch, TrainJob, TrainSettings
from compressor_cli.errors import SccError
from compressor_cli.settings import CloudSettings, LocalSettings, TorchSettings

_THINGS = ("parser", "cache", "index", "queue", "worker", "server", "client", "token")
_DOINGS = ("reads", "writes", "drops", "keeps", "sends", "counts", "sorts")


def texts(count: int = 40) -> list[tuple[str, str]]:
    """A wordy sentence and its short form, all different, of several lengths."""
    pairs = []
    for number in range(count):
        thing, doing = _THINGS[number % len(_THINGS)], _DOINGS[number % len(_DOINGS)]
        often = " again and" * (number % 5)
        pairs.append(
            (f"Please note that the {thing} number {number}{often} always {doing} it.", f"{thing} {number}: {doing}")
        )
    return pairs


def write_rows(folder: Path, train: int = 20, valid: int = 5) -> Path:
    """`train.jsonl` and `valid.jsonl` of short chat rows. Returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        json.dumps({"messages": [{"role": "user", "content": wordy}, {"role": "assistant", "content": short}]})
        for wordy, short in texts(train + valid)
    ]
    (folder / "train.jsonl").write_text("\n".join(rows[:train]) + "\n")
    if valid:
        (folder / "valid.jsonl").write_text("\n".join(rows[train:]) + "\n")
    return folder


def sample_texts() -> list[str]:
    """Of every message of the samples, for a tokenizer that makes few tokens of them."""
    lines = (REPO / "configs/samples/train.jsonl").read_text(encoding="utf-8").splitlines()
    return [message["content"] for line in lines for message in json.loads(line)["messages"] if message["content"]]


def make_job(backend: str, settings: TrainSettings, folder: Path, data: Path, **changes: Any) -> TrainJob:
    """`folder` is that of the model, `data` one with train.jsonl; `changes` are other values for the job's fields."""
    tokenizer = load_chat_tokenizer(str(folder))
    files = {name: data / f"{name}.jsonl" for name in ("train", "valid") if (data / f"{name}.jsonl").is_file()}
    rows = {
        name: read_train_rows(
            path,
            tokenizer,
            stage=settings.stage,
            mask=settings.mask,
            max_seq_length=settings.max_seq_length,
            limit=settings.limit,
        )
        for name, path in files.items()
    }
    steps = plan_steps(
        len(rows["train"]),
        settings.rows_per_step,
        epochs=settings.epochs,
        steps=settings.steps,
        iterations=getattr(settings, "iterations", None),
        accumulation=getattr(settings, "gradient_accumulation", 1),
    )
    job = TrainJob(
        backend=backend,
        settings=settings,
        model=settings.model if backend == "tinker" else str(folder),
        folder=folder,
        data=files,
        train=rows["train"],
        valid=rows.get("valid", TrainRows()),
        pace=Pace(len(rows["train"]), settings.rows_per_step, steps, settings.seed),
        identity=model_identity(folder),
    )
    return replace(job, **changes)


def main(backend: str, folder: str, data: str, run: str, settings: str) -> int:
    """`scc train` without its command line, for tests that kill it: `settings` is JSON."""
    sections = {"local": LocalSettings, "tinker": CloudSettings, "torch": TorchSettings}
    try:
        job = make_job(backend, sections[backend](**json.loads(settings)), Path(folder), Path(data))
        conduct = importlib.import_module(BACKENDS[backend].module).conduct
        conduct(job, Launch(Path(run), on_event=lambda event: print(event.get("message", ""), flush=True)))
    except SccError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
