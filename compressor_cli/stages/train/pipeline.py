"""`scc train --stages FILE`: runs one after the other, each from the result of the one before.

The file names a backend, settings for all stages, and the stages: a name, which rows (`data` below --data, `where`),
and settings of their own. A stage is a run folder below the run's; what is finished is left alone, what was stopped
goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from compressor_cli.core.files import write_json
from compressor_cli.core.train_rows import RowFilter
from compressor_cli.core.training import Launch, RunReport, TrainJob
from compressor_cli.errors import UsageError
from compressor_cli.settings import (
    LENGTHS,
    STAGE_KEYS,
    CloudSettings,
    LocalSettings,
    Section,
    TorchSettings,
    read_yaml,
    told,
)
from compressor_cli.stages.train import train
from compressor_cli.stages.train.jobs import Sources, prepare, starting_from

PIPELINE = "pipeline.json"
SECTIONS: dict[str, type[LocalSettings | CloudSettings | TorchSettings]] = {
    "local": LocalSettings,
    "tinker": CloudSettings,
    "torch": TorchSettings,
}


class StageForm(Section):
    name: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$")
    data: str | None = None
    where: RowFilter = RowFilter()
    settings: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, values: Any) -> Any:
        """Settings stand beside the name."""
        if not isinstance(values, dict):
            return values
        own = {name: values[name] for name in ("name", "data", "where") if name in values}
        return {**own, "settings": {name: value for name, value in values.items() if name not in own}}


class PipelineForm(Section):
    backend: str = "torch"
    settings: dict[str, Any] = Field(default_factory=dict)
    stages: tuple[StageForm, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _named_once(self) -> PipelineForm:
        names = [stage.name for stage in self.stages]
        if len({*names}) < len(names):
            raise ValueError("two stages have one name")
        if self.backend not in SECTIONS:
            raise ValueError(f"backend is one of {', '.join(SECTIONS)}")
        return self


@dataclass(frozen=True)
class PlannedStage:
    name: str
    job: TrainJob


def read_pipeline(path: Path) -> PipelineForm:
    """Raises UsageError for a file of another form."""
    try:
        return PipelineForm.model_validate(read_yaml(path, "--stages"))
    except ValidationError as exc:
        raise UsageError(f"--stages {path}: {'; '.join(told(error) for error in exc.errors())}") from None


def plan_stages(
    path: Path, form: PipelineForm, flags: Mapping[str, Any], sources: Sources, tell: Any
) -> list[PlannedStage]:
    """A job for each stage; nothing begins before all of them are known to be good. `flags` hold for every stage."""
    return [PlannedStage(stage.name, _job(path, form, stage, flags, sources, tell)) for stage in form.stages]


def _job(
    path: Path, form: PipelineForm, stage: StageForm, flags: Mapping[str, Any], sources: Sources, tell: Any
) -> TrainJob:
    values = _over(form.settings, stage.settings)
    if "from_config" in values:
        values["from_config"] = path.parent / values["from_config"]  # beside the file that names it
    kind = values.get("stage", "sft")
    values = _over(values, {name: flags[name] for name in flags if kind in STAGE_KEYS.get(name, (kind,))})
    try:
        settings = SECTIONS[form.backend].model_validate(values)
    except ValidationError as exc:
        problems = "; ".join(told(error) for error in exc.errors())
        raise UsageError(f"--stages {path}: stage {stage.name}: {problems}") from None
    data = sources.data / stage.data if stage.data else sources.data
    return prepare(
        form.backend,
        settings,
        replace(sources, data=data, where=stage.where),
        tell=lambda message: tell(f"{stage.name}: {message}"),
    )


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Of the ways to say how long training takes, the upper one."""
    given = {name: value for name, value in above.items() if value is not None}
    hidden = LENGTHS if any(name in given for name in LENGTHS) else ()
    return {**{name: value for name, value in below.items() if name not in hidden}, **given}


def train_stages(stages: list[PlannedStage], launch: Launch) -> list[RunReport]:
    reports: list[RunReport] = []
    for number, stage in enumerate(stages, start=1):
        launch.on_event({"stage": f"{stage.name} ({number}/{len(stages)})"})
        start = reports[-1].run if reports else None
        reports.append(train(starting_from(stage.job, start), replace(launch, folder=launch.folder / stage.name)))
        _write(launch.folder, stages, reports)
    return reports


def _write(folder: Path, stages: list[PlannedStage], reports: list[RunReport]) -> None:
    """For whoever uses the result: the last stage that is finished has it."""
    done = [report.run.name for report in reports]
    write_json(folder / PIPELINE, {"stages": [stage.name for stage in stages], "finished": done, "result": done[-1]})
