"""Jobs of training on a few short rows, for the tests of every backend."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from conftest import REPO

from compressor_cli.backends import BACKENDS
from compressor_cli.core.chat_tokenizer import load_chat_tokenizer
from compressor_cli.core.pace import Pace, plan_steps
from compressor_cli.core.train_rows import read_train_rows
from compressor_cli.core.training import Launch, TrainJob, TrainSettings
from compressor_cli.errors import SccError
from compressor_cli.settings import CloudSettings, LocalSettings, TorchSettings

SAMPLES = REPO / "configs" / "samples"
_PROMPT = "Shorten the text; keep every number."


def sample_texts() -> list[str]:
    """Of every message, for a tokenizer that makes few tokens of them."""
    lines = (SAMPLES / "train.jsonl").read_text(encoding="utf-8").splitlines()
    return [message["content"] for line in lines for message in json.loads(line)["messages"] if message["content"]]


def short_rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Of some fifty tokens each, and learnable."""
    return [
        {
            "messages": [
                {"role": "system", "content": _PROMPT},
                {"role": "user", "content": f"The pump number {at} runs for {at * 7 + 1} hours in building {at % 3}."},
                {"role": "assistant", "content": f"pump {at}: {at * 7 + 1} h, building {at % 3}"},
            ]
        }
        for at in range(start, start + count)
    ]


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def make_data(folder: Path, *, train: int = 12, valid: int = 3) -> dict[str, Path]:
    data = {"train": write_rows(folder / "train.jsonl", short_rows(train))}
    if valid:
        data["valid"] = write_rows(folder / "valid.jsonl", short_rows(valid, start=train))
    return data


def make_job(backend: str, settings: TrainSettings, folder: Path, data: Mapping[str, Path], **changes: Any) -> TrainJob:
    """`folder` holds the tokenizer; the model is that of the settings."""
    tokenizer = load_chat_tokenizer(str(folder))
    rows = {
        split: read_train_rows(
            data[split], tokenizer, stage=settings.stage, mask=settings.mask, max_seq_length=settings.max_seq_length
        )
        for split in data
    }
    empty = replace(rows["train"], rendered=[], preferences=[], tokens=0, trained=0, longest=0)
    train = rows["train"]
    steps = plan_steps(
        len(train),
        settings.rows_per_step,
        epochs=settings.epochs,
        steps=settings.steps,
        iterations=getattr(settings, "iterations", None),
        accumulation=getattr(settings, "gradient_accumulation", 1),
    )
    job = TrainJob(
        backend=backend,
        settings=settings,
        model=settings.model,
        folder=folder,
        data=data,
        train=train,
        valid=rows.get("valid", empty),
        pace=Pace(len(train), settings.rows_per_step, steps, settings.seed),
    )
    return replace(job, **changes)


def main(backend: str, folder: str, data: str, run: str, settings: str) -> int:
    """`scc train` without its command line, for tests that kill it: `settings` is JSON."""
    sections = {"local": LocalSettings, "tinker": CloudSettings, "torch": TorchSettings}
    rows = {split: path for split in ("train", "valid") if (path := Path(data) / f"{split}.jsonl").is_file()}
    try:
        job = make_job(backend, sections[backend](**json.loads(settings)), Path(folder), rows)
        conduct = importlib.import_module(BACKENDS[backend].module).conduct
        conduct(job, Launch(Path(run), on_event=lambda event: print(event.get("message", ""), flush=True)))
    except SccError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
