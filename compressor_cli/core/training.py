"""What a backend is given to train, and how a run is conducted around it.

A backend is a module with one function: `conduct(job, launch) -> RunReport`. Most call `conduct_run` with their own
`fit(job, run, stop)`, which goes on from `run.resumed` to the last step, records, saves, and fills `run.adapter`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compressor_cli.core.files import sha256_file
from compressor_cli.core.pace import Pace
from compressor_cli.core.runs import OnEvent, Run, RunSpec, open_run
from compressor_cli.core.stopping import Stop, stop_on_signals
from compressor_cli.core.train_rows import TrainRows
from compressor_cli.settings import CloudSettings, LocalSettings, TorchSettings

TrainSettings = LocalSettings | CloudSettings | TorchSettings
KEPT = "tinker.json"  # in place of weights that a server keeps
SAVES = 10  # a run has about as many where --save-every is not given


@dataclass(frozen=True)
class TrainJob:
    """`model` is the base model as it was named; `folder` holds its tokenizer and, but for tinker, its weights.

    `start` is the folder of a finished run whose result this one starts from, with a new optimizer. `data` are files by
    split. `prompt` is how the prompts of the data begin: `system` and `prefix`.
    """

    backend: str
    settings: TrainSettings
    model: str
    folder: Path
    data: Mapping[str, Path]
    train: TrainRows
    valid: TrainRows
    pace: Pace
    start: Path | None = None
    prompt: Mapping[str, str | None] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)

    @property
    def save_every(self) -> int:
        return self.settings.save_every or max(1, self.pace.steps // SAVES)

    @property
    def eval_every(self) -> int:
        return self.settings.eval_every or self.save_every


@dataclass(frozen=True)
class Launch:
    """Where a run goes, and how. `wandb` is a project of W&B.

    `on_event` gets mappings with `message`, `done` and `total`, `row`, or `saved`.
    """

    folder: Path
    resume: bool = True
    resume_from: Path | None = None
    command: str = ""
    wandb: str | None = None
    on_event: OnEvent = lambda event: None


@dataclass(frozen=True)
class RunReport:
    run: Path
    adapter: Path
    steps: int
    metrics: Mapping[str, Any]


Fit = Callable[[TrainJob, Run, Stop], None]


def run_spec(job: TrainJob, launch: Launch, packages: tuple[str, ...]) -> RunSpec:
    """How long and how often to save are settings like others: a longer run has another schedule."""
    conduct = {"save_every", "keep_last", "eval_every", "hf_dataset", "base_url", "limit"}
    settings = job.settings.model_dump(mode="json", exclude=conduct)
    return RunSpec(
        backend=job.backend,
        model=job.model,
        settings={**settings, "steps": job.pace.steps, "rows": job.pace.rows},
        data=job.data,
        identity=job.identity,
        packages=packages,
        steps=job.pace.steps,
        save_every=job.save_every,
        keep_last=job.settings.keep_last,
        command=launch.command,
        wandb=launch.wandb,
        notes={"prompt": dict(job.prompt), "start": str(job.start) if job.start else None},
    )


def conduct_run(job: TrainJob, launch: Launch, fit: Fit, packages: tuple[str, ...]) -> RunReport:
    """Opens the run, trains, and marks it finished; a finished run is left as it is."""
    spec = run_spec(job, launch, packages)
    with (
        open_run(
            launch.folder, spec, resume=launch.resume, resume_from=launch.resume_from, on_event=launch.on_event
        ) as run,
        stop_on_signals() as stop,
    ):
        if run.finished:
            run.on_event({"message": "this run is complete already"})
        else:
            fit(job, run, stop)
            run.finish()
        return RunReport(
            run.folder, run.adapter, run.rows[-1]["step"] if run.rows else 0, run.rows[-1] if run.rows else {}
        )


def start_identity(start: Path | None) -> dict[str, Any]:
    """Hashes of what a run starts from, for its fingerprint."""
    if start is None:
        return {}
    files = [
        path for path in sorted((start / "adapter").iterdir()) if path.suffix == ".safetensors" or path.name == KEPT
    ]
    return {"start_sha256": {path.name: sha256_file(path) for path in files}}
