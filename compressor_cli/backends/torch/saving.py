"""Checkpoints, the result, and the plain state dict of `legacy_pth`. Imports torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from compressor_cli.backends.torch.models import ADAPTER_CONFIG, plain_state
from compressor_cli.core.checkpoints import Checkpoint
from compressor_cli.core.files import atomic_writer, write_json
from compressor_cli.core.runfiles import ADAPTER
from compressor_cli.core.runs import Run
from compressor_cli.core.training import TrainJob
from compressor_cli.errors import UsageError

# A pickle that a resume never reads, and a page of text with folders of this machine.
_NOT_KEPT = ("training_args.bin", "README.md")


def keep(run: Run, job: TrainJob, step: int, written: Path, base: str) -> None:
    """What the Trainer wrote becomes a checkpoint of the run."""

    def write(folder: Path) -> None:
        for path in written.iterdir():
            path.rename(folder / path.name)
        _tidy(folder, base)

    run.save(job.pace.position(step), write)
    shutil.rmtree(written)


def _tidy(folder: Path, base: str) -> None:
    for name in _NOT_KEPT:
        for path in folder.rglob(name):
            path.unlink()
    for path in folder.rglob(ADAPTER_CONFIG):
        config = json.loads(path.read_text(encoding="utf-8"))
        modules = sorted(config["target_modules"])  # a set, in any order
        write_json(path, {**config, "base_model_name_or_path": base, "target_modules": modules})


def require_whole(found: Checkpoint, processes: int) -> None:
    """The Trainer goes on without files that are missing, to other weights. Raises UsageError."""
    random = [f"rng_state_{rank}.pth" for rank in range(processes)] if processes > 1 else ["rng_state.pth"]
    for name in ("trainer_state.json", "optimizer.pt", "scheduler.pt", *random):
        if name not in found.files:
            raise UsageError(f"{found.path} has no {name}: it was saved by another backend, or another version")


def save_result(folder: Path, trainer: Any, base: str) -> None:
    """The adapter of the run in `folder`, or its model: whole or absent."""
    model, tokenizer = trainer.model, trainer.processing_class
    staged, result = folder / f".{ADAPTER}", folder / ADAPTER
    shutil.rmtree(staged, ignore_errors=True)
    if isinstance(model, PeftModel):
        model.save_pretrained(str(staged), selected_adapters=["default"], save_embedding_layers=False)
    else:
        model.save_pretrained(str(staged))
        tokenizer.save_pretrained(str(staged))
    _tidy(staged, base)
    shutil.rmtree(result, ignore_errors=True)
    staged.rename(result)


def save_plain(run: Run, model: Any, stage: str) -> None:
    hidden = model.config.get_text_config().hidden_size
    with atomic_writer(run.folder / "out" / f"{stage}_{hidden}.pth") as handle:
        torch.save(plain_state(model), handle)
