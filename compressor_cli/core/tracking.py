"""Weights & Biases, for those who ask for it; nothing is sent or loaded otherwise. WANDB_MODE=offline keeps it here."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from compressor_cli.core.jsonl import content_key
from compressor_cli.errors import MissingExtraError, SccError


class Tracker:
    """A run of a W&B project; one that goes on is the same run there. Raises SccError where W&B does not take it."""

    def __init__(self, project: str, folder: Path, created: str, settings: Mapping[str, Any]) -> None:
        if find_spec("wandb") is None:
            raise MissingExtraError("wandb", "wandb")
        wandb: Any = importlib.import_module("wandb")
        try:
            self._run = wandb.init(
                project=project,
                dir=str(folder),
                name=folder.name,
                id=content_key(str(folder.absolute()), created)[:16],
                resume="allow",
                config=dict(settings),
                settings=wandb.Settings(silent=True, console="off"),
            )
        except wandb.errors.Error as exc:
            told = " ".join(str(exc).split())[:300]
            raise SccError(f"W&B: {told}", hint="wandb login, or WANDB_MODE=offline") from None
        self._run.define_metric("*", step_metric="step")  # its own step cannot go back, and a resumed run's does

    @property
    def offline(self) -> bool:
        return bool(self._run.offline)

    def write(self, row: Mapping[str, Any]) -> None:
        self._run.log({name: value for name, value in row.items() if value is not None})

    def close(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))
