"""Which weights at Tinker a ModelSource means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from compressor_cli.core.adapters import find_adapter
from compressor_cli.core.generation import ModelSource
from compressor_cli.core.runfiles import ADAPTER, read_tinker_run
from compressor_cli.errors import UsageError

_PATH = re.compile(r"tinker:/{1,2}([^/\s]+/(?:weights|sampler_weights)/[A-Za-z0-9_.-]+)")  # a Path has one slash


@dataclass(frozen=True)
class Sampled:
    """A `path` of weights or a base `model`: never both, which servers refuse. `tokenizer` is where that is read, if
    not from the base. `name` is for people."""

    name: str
    path: str | None = None
    model: str | None = None
    tokenizer: str | None = None


def find_sampled(source: ModelSource) -> Sampled:
    """Raises UsageError for what Tinker does not keep."""
    if source.adapter is None:
        if not source.model:
            raise UsageError("--model or --adapter is needed")
        if source.model.startswith("tinker:"):
            return _of_path(source.model, "--model")
        return Sampled(f"tinker:{source.model}", model=source.model)
    if source.adapter.parts[:1] == ("tinker:",):
        return _of_path(str(source.adapter), "--adapter", source.model)
    return _of_run(source.adapter, source.model)


def _of_path(given: str, flag: str, tokenizer: str | None = None) -> Sampled:
    match = _PATH.fullmatch(given)
    if match is None:
        raise UsageError(f"{flag} {given} is no path of weights to sample from", hint="sampler_path in tinker_run.json")
    path = f"tinker://{match[1]}"
    return Sampled(path, path, tokenizer=tokenizer)


def _of_run(adapter: Path, tokenizer: str | None) -> Sampled:
    folder = find_adapter(adapter).path
    run = read_tinker_run(folder) or (read_tinker_run(folder.parent) if folder.name == ADAPTER else None)
    if run is None or run.backend != "tinker":
        raise UsageError(
            f"--adapter {adapter} is no run of scc train --backend tinker, and Tinker samples only what it keeps",
            hint="--backend local takes adapters of mlx-lm, --backend torch those of PEFT",
        )
    if run.sampler_path is None:
        raise UsageError(f"--adapter {adapter}: the run has no result yet", hint="let scc train finish it")
    return Sampled(f"tinker:{adapter}", run.sampler_path, tokenizer=tokenizer or run.model)
