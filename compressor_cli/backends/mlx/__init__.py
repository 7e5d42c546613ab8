"""`--backend local`: mlx-lm, on Apple silicon or a CPU.

MLX ends its whole process where the GPU is out of memory, so the run is conducted in a child: this one never loads it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from typing import Any

from compressor_cli.backends import BACKENDS
from compressor_cli.backends.mlx.generating import open_generator
from compressor_cli.core.child import run_in_child
from compressor_cli.core.models import one_line
from compressor_cli.core.runs import OnEvent
from compressor_cli.core.training import Launch, RunReport, TrainJob, conduct_run
from compressor_cli.errors import MissingExtraError, SccError, UsageError, install_command
from compressor_cli.settings import LocalSettings

__all__ = ["conduct", "open_generator"]
PACKAGES = ("mlx", "mlx-lm")
_LESS = (
    "the same command goes on from the last checkpoint. A smaller --batch-size or --max-seq-length needs less, and so "
    "does a smaller model"
)


def conduct(job: TrainJob, launch: Launch) -> RunReport:
    """Raises UsageError for what MLX cannot do, before the run folder is made."""
    assert isinstance(job.settings, LocalSettings)
    _refuse(job.settings)
    if missing := BACKENDS["local"].missing_packages():
        raise MissingExtraError(missing[0], "local")
    given = {one.name: getattr(launch, one.name) for one in fields(launch) if one.name != "on_event"}
    report = run_in_child(f"{__name__}:conduct_here", (job, given), launch.on_event)
    assert isinstance(report, RunReport)
    return report


def conduct_here(job: TrainJob, launch: dict[str, Any], on_event: OnEvent) -> RunReport:
    """In the child. `launch` are the fields of Launch but for `on_event`, which a process does not give to another."""
    import_mlx()
    from compressor_cli.backends.mlx.model import prepare
    from compressor_cli.backends.mlx.training import fit

    with told_memory(_LESS):
        trained = prepare(job)
        return conduct_run(job, Launch(**launch, on_event=on_event), partial(fit, trained), PACKAGES)


def _refuse(settings: LocalSettings) -> None:
    if settings.stage not in ("sft", "pretrain"):
        raise UsageError(f"--backend local has no stage {settings.stage}", hint="--backend torch has it")
    if settings.num_layers == 0:
        raise UsageError("num_layers: 0 trains nothing", hint="-1 is all layers")
    if settings.optimizer == "adam" and settings.weight_decay:
        raise UsageError("weight_decay: adam has none", hint="optimizer: adamw has it")
    if settings.fine_tune_type == "full":
        adapter_only = {"dropout": settings.dropout, "target_modules": settings.target_modules}
        for name in (name for name, value in adapter_only.items() if value):
            raise UsageError(f"{name} belongs to adapters, and fine_tune_type: full has none")


def import_mlx() -> None:
    """Without its backend MLX is found, and cannot be loaded."""
    for name in BACKENDS["local"].packages:
        try:
            importlib.import_module("mlx.core" if name == "mlx" else name)
        except ModuleNotFoundError as exc:
            raise MissingExtraError(exc.name or name, "local") from None
        except ImportError as exc:
            raise UsageError(
                f"{name} is installed, and cannot be loaded: {one_line(exc)}", hint=install_command("local")
            ) from None


@contextmanager
def told_memory(hint: str) -> Iterator[None]:
    """Memory that MLX does not get is a RuntimeError, where it is not the end of the process."""
    try:
        yield
    except (RuntimeError, MemoryError) as exc:
        if isinstance(exc, RuntimeError) and not re.search(r"(?i)memory|allocate", str(exc)):
            raise
        raise SccError(f"MLX is out of memory: {one_line(exc)}", hint=hint) from None
