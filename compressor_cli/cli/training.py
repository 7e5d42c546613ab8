"""What `scc train` does once its flags are read."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from compressor_cli.cli.common import print_json, say
from compressor_cli.cli.training_output import print_training
from compressor_cli.errors import UsageError

if TYPE_CHECKING:
    from compressor_cli.core.training import Launch
    from compressor_cli.settings import Settings
    from compressor_cli.stages.train.jobs import Sources

# The section of the settings that holds what a backend takes.
_SECTIONS = {"local": "local", "tinker": "cloud", "torch": "torch", "extractive": "extractive"}


@dataclass(frozen=True)
class Request:
    """The flags. `settings` has by flag the name of a setting and its value, None where the flag is absent."""

    output: Path | None
    backend: str | None
    data: Path | None
    hf_dataset: str | None
    config: Path | None
    stages: Path | None
    skip_invalid: bool
    resume: bool
    resume_from: Path | None
    check: bool
    tensorboard: bool | None
    wandb: str | None
    dry_run: bool
    as_json: bool
    settings: Mapping[str, tuple[str, Any]]

    def given(self) -> dict[str, Any]:
        return {name: value for name, value in self.settings.values() if value is not None}


def run(request: Request) -> None:
    from compressor_cli.cli.progress import training_progress
    from compressor_cli.cli.stop_notice import stop_notice

    if request.check:
        _check(request)
        return
    if request.resume_from and not request.resume:
        raise UsageError("--resume-from and --no-resume contradict each other; give one")
    if request.output is None:
        raise UsageError("--output is needed: the folder of the run", hint="for example --output runs/first")
    with ExitStack() as stack:
        if _leads() and _wants_board(request):
            stack.enter_context(_board(request.output))
        leads = _leads()  # of the processes of torchrun, one talks
        on_event = stack.enter_context(stop_notice(stack.enter_context(training_progress()))) if leads else _silent
        launch = _launch(request, request.output, on_event)
        result = _stages(request, launch) if request.stages else _one(request, launch)
    if leads:
        print_training(result, as_json=request.as_json, staged=request.stages is not None)


def _one(request: Request, launch: Launch) -> Any:
    backend, settings = _settings(request)
    if backend == "extractive":
        if request.skip_invalid:
            raise UsageError("--skip-invalid is no setting of --backend extractive")
        from compressor_cli.stages.train.extractive import train_extractive

        return train_extractive(
            settings.extractive, _data(request, settings, None, launch), launch, dry_run=request.dry_run
        )
    from compressor_cli.stages.train import train
    from compressor_cli.stages.train.jobs import prepare, require_able, require_packages
    from compressor_cli.stages.train.plans import plan_of, require_room

    section = getattr(settings, _SECTIONS[backend])
    require_able(backend, section)
    if not request.dry_run:
        require_packages(backend)  # before anything is fetched
    tell = _teller(launch)
    job = prepare(backend, section, _sources(request, _data(request, settings, section.hf_dataset, launch)), tell=tell)
    plan = plan_of(job)
    if request.dry_run:
        return [(None, plan)]
    if short := require_room(plan, launch.folder):
        tell(short)
    return [train(job, launch)]


def _stages(request: Request, launch: Launch) -> Any:
    from compressor_cli.settings import load_settings
    from compressor_cli.stages.train.pipeline import plan_stages, read_pipeline, train_stages
    from compressor_cli.stages.train.plans import plan_of, require_room

    assert request.stages is not None
    if request.resume_from is not None:
        raise UsageError("--resume-from goes with one stage", hint="--stages finds the latest checkpoint by itself")
    form = read_pipeline(request.stages)
    if request.backend not in (None, form.backend):
        raise UsageError(f"--stages {request.stages} is for --backend {form.backend}")
    given = {name: value for name, value in request.given().items() if name != "stage"}
    if len(given) < len(request.given()):
        raise UsageError("--stage names one stage, --stages a file of several; give one")
    sources = _sources(request, _data(request, load_settings(request.config), None, launch))
    planned = plan_stages(request.stages, form, given, sources, _teller(launch))
    plans = [(stage.name, plan_of(stage.job)) for stage in planned]
    if request.dry_run:
        return plans
    for _, plan in plans:
        if short := require_room(plan, launch.folder):
            _teller(launch)(short)
    return train_stages(planned, launch)


def _settings(request: Request) -> tuple[str, Settings]:
    """The backend and the settings, flags included. Raises UsageError for a flag that the backend has no use for."""
    from compressor_cli.settings import Settings, load_settings

    backend = request.backend or load_settings(request.config).backend
    if backend is None:
        raise UsageError("--backend is needed", hint=f"one of {', '.join(_SECTIONS)}; a --config can name it too")
    section = _SECTIONS[backend]
    kind = Settings.model_fields[section].annotation
    for flag, (name, value) in request.settings.items():
        if value is not None and name not in kind.model_fields:  # type: ignore[union-attr]
            able = [other for other, part in _SECTIONS.items() if name in _fields(part)]
            raise UsageError(
                f"{flag} is no setting of --backend {backend}", hint=f"--backend {' or '.join(able)} has it"
            )
    return backend, load_settings(request.config, **{section: request.given()})


def _fields(section: str) -> Mapping[str, Any]:
    from compressor_cli.settings import Settings

    kind = Settings.model_fields[section].annotation
    return kind.model_fields  # type: ignore[union-attr, no-any-return]


def _data(request: Request, settings: Settings, of_section: str | None, launch: Launch) -> Path:
    from compressor_cli.cli.datasource import find_data

    return find_data(
        request.data, request.hf_dataset, settings, _teller(launch), doing="training", configured=of_section
    )


def _wait_for(folder: Path, dataset: str) -> Path:
    """Until the first process has pulled it; torchrun ends this one where that fails."""
    from compressor_cli.stages.pull import pulled_from

    while pulled_from(folder) != dataset:
        time.sleep(0.2)
    return folder


def _sources(request: Request, data: Path) -> Sources:
    from compressor_cli.settings import load_keys
    from compressor_cli.stages.train.jobs import Sources

    key = load_keys().huggingface
    return Sources(
        data,
        skip_invalid=request.skip_invalid,
        token=key.get_secret_value() if key else None,
        bars=sys.stderr.isatty(),
        weights=not request.dry_run,
    )


def _launch(request: Request, output: Path, on_event: Callable[[Mapping[str, Any]], None]) -> Launch:
    from compressor_cli.core.training import Launch

    command = shlex.join(["scc", *sys.argv[1:]])
    return Launch(output, request.resume, request.resume_from, command, request.wandb, on_event)


def _leads() -> bool:
    from compressor_cli.settings import load_world

    return load_world().rank == 0


def _silent(event: Mapping[str, Any]) -> None:
    """For all but the first of several processes."""


def _teller(launch: Launch) -> Callable[[str], None]:
    return lambda message: launch.on_event({"message": message})


def _wants_board(request: Request) -> bool:
    from compressor_cli.settings import load_board

    wanted = load_board().auto if request.tensorboard is None else request.tensorboard
    return wanted and not request.dry_run


def _board(output: Path) -> Any:
    from compressor_cli.core.board import board_server
    from compressor_cli.settings import load_board

    board = load_board()
    return board_server(output, board.host, board.port, say)


def _check(request: Request) -> None:
    from compressor_cli.backends.tinker import check
    from compressor_cli.settings import load_settings
    from compressor_cli.stages.train.jobs import require_packages

    if request.backend not in (None, "tinker"):
        raise UsageError("--check goes with --backend tinker", hint="scc doctor tells what is installed")
    parts = ("output", "data", "hf_dataset", "stages", "resume_from", "tensorboard", "wandb", "dry_run", "skip_invalid")
    useless = [f"--{name.replace('_', '-')}" for name in parts if getattr(request, name)]
    useless += [flag for flag, (name, value) in request.settings.items() if value is not None and name != "base_url"]
    if useless:
        raise UsageError(f"{' and '.join(useless)} go with training, not with --check")
    require_packages("tinker")

    report = check(load_settings(request.config, cloud=request.given()).cloud.base_url, say)
    if request.as_json:
        print_json(asdict(report))
    else:
        say(f"{report.url} answers (SDK {report.sdk}); models it lists: {len(report.models)}")
        for model in report.models:
            context = f"{model.context:,} tokens" if model.context else ""
            typer.echo(f"{model.name}  {context if model.trainable else 'only for sampling'}".rstrip())
