"""A run from its opening to its result, in one process or several. Imports torch."""

from __future__ import annotations

import logging
import pickle
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import constants

from compressor_cli.backends.torch.loop import STAGED, Seat
from compressor_cli.backends.torch.models import config_hash
from compressor_cli.backends.torch.opening import open_trainer
from compressor_cli.backends.torch.packing import packed
from compressor_cli.backends.torch.saving import require_whole, save_result
from compressor_cli.backends.torch.world import World, attempt, join_world, leave_world, patient
from compressor_cli.core.models import model_folder, model_identity
from compressor_cli.core.runfiles import read_card
from compressor_cli.core.runs import Run
from compressor_cli.core.stopping import Stop, stop_on_signals
from compressor_cli.core.training import Launch, RunReport, TrainJob, conduct_run
from compressor_cli.errors import SccError, UsageError
from compressor_cli.settings import TorchSettings


def conduct(job: TrainJob, launch: Launch, packages: tuple[str, ...]) -> RunReport:
    _quieten()
    settings = job.settings
    assert isinstance(settings, TorchSettings)
    world = join_world(settings.device)
    try:
        if not world.leads:
            return _follow(Seat(packed(job), settings, world, launch.folder), launch)
        with world.telling():
            refuse_uneven(settings, world)
            job = replace(packed(job), identity={**job.identity, **_identity(settings, world)})
            seat = Seat(job, settings, world, launch.folder)
            if read_card(launch.folder) is None:
                _try(seat)
            return conduct_run(job, launch, partial(_lead, seat), packages)
    finally:
        leave_world()


def _identity(settings: TorchSettings, world: World) -> dict[str, Any]:
    """What else makes a run: with another number of processes sums are made in another order."""
    parts: dict[str, Any] = {"processes": world.size}
    if settings.from_config:
        parts["from_config_sha256"] = config_hash(settings.from_config)
    if settings.teacher:
        parts["teacher"] = model_identity(model_folder(settings.teacher, flag="teacher"))
    return parts


def refuse_uneven(settings: TorchSettings, world: World) -> None:
    if settings.batch_size % world.size:
        even = world.size * -(-settings.batch_size // world.size)
        raise UsageError(
            f"batch_size {settings.batch_size} cannot be shared evenly by {world.size} processes",
            hint=f"it is that of all processes together: set it to {even}",
        )


def _try(seat: Seat) -> None:
    """Opens model and trainer before there is a run: what is refused here leaves none behind."""
    try:
        _open(seat)
    except BaseException:
        shutil.rmtree(seat.folder / STAGED, ignore_errors=True)  # the Trainer makes it
        with suppress(OSError):
            seat.folder.rmdir()
        raise


def _lead(seat: Seat, job: TrainJob, run: Run, stop: Stop) -> None:
    world, staged = seat.world, run.folder / STAGED
    seat.run, seat.stop = run, stop
    if run.resumed:
        require_whole(run.resumed, world.size)
        seat.resume = run.resumed.path
    shutil.rmtree(staged, ignore_errors=True)  # what a killed save left
    if world.size == 1 and world.device.type == "cuda" and torch.cuda.device_count() > 1:
        run.tell("one process uses one of the GPUs here; torchrun starts one for each")
    world.share(seat.resume)
    world.begun = True
    try:
        _train(seat)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _follow(seat: Seat, launch: Launch) -> RunReport:
    told: Path | int | None = seat.world.share(None)
    if isinstance(told, int):  # the leading process ended before it began
        if told:
            raise SystemExit(told)
    else:
        with stop_on_signals() as seat.stop:
            seat.resume = told
            _train(seat)
    return RunReport(launch.folder, launch.folder / "adapter", seat.job.pace.steps, {})


def _train(seat: Seat) -> None:
    with patient(seat.world, seat.stop), _library_errors(seat):
        seat.world.agree(attempt(lambda: _open(seat)))
        seat.trainer.train(resume_from_checkpoint=str(seat.resume) if seat.resume else None)
        seat.world.together(partial(save_result, seat.folder, seat.trainer, seat.origin.name))


def _open(seat: Seat) -> None:
    if seat.resume and not seat.resume.is_dir():
        raise UsageError(f"{seat.resume} is not here: all machines of a run need its folder on a disk they share")
    with _library_errors(seat):
        seat.trainer = seat.trainer or open_trainer(seat)


@contextmanager
def _library_errors(seat: Seat) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of what one library does to another
            yield
    except pickle.UnpicklingError:
        raise UsageError(f"{seat.resume} holds more than numbers and is not read: that could run code") from None
    except RuntimeError as exc:
        if seat.world.size > 1 and "onnection" in str(exc):
            raise SccError("another process of this run has ended, and the run with it") from None
        if not any(words in str(exc) for words in ("out of memory", "can't allocate memory")):
            raise
        raise SccError(
            f"the {seat.world.device.type} has too little memory for this run",
            hint="lower batch_size and raise gradient_accumulation as much, lower max_seq_length, or set "
            "gradient_checkpointing: true",
        ) from None


def _quieten() -> None:
    """Nothing of the libraries' own on stderr, and nothing to their makers."""
    constants.HF_HUB_DISABLE_TELEMETRY = True
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("trl").setLevel(logging.ERROR)
