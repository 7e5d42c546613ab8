"""What can be known before anything is trained: that key, server, model and settings fit together."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from compressor_cli.backends.tinker.access import Access, access_to, ask_health, cloud_settings
from compressor_cli.backends.tinker.connection import Connection, connected
from compressor_cli.core.runfiles import read_tinker_run
from compressor_cli.core.training import TrainJob
from compressor_cli.errors import UsageError


@dataclass(frozen=True)
class Model:
    """`context` in tokens, None where the server does not say."""

    name: str
    context: int | None
    trainable: bool


@dataclass(frozen=True)
class CheckReport:
    url: str
    sdk: str
    models: tuple[Model, ...]


def check(base_url: str | None = None, tell: Callable[[str], None] = lambda message: None) -> CheckReport:
    """The key is sent, the server answers, and lists what it has. Raises SccError where that is not so."""
    from tinker import __version__

    access = access_to(base_url)
    return CheckReport(access.url, __version__, _models(access, tell))


def preflight(job: TrainJob, access: Access) -> None:
    """Raises SccError for a job that cannot run there."""
    if cloud_settings(job.settings).stage == "dpo":
        raise UsageError("the backend tinker has no stage dpo", hint="train it with --backend torch")
    if not job.train.rendered:
        raise UsageError("there are no rows to train on")
    start_state(job)
    _refuse_unfit(job, access, _models(access, lambda message: None))


def start_state(job: TrainJob) -> str | None:
    """The state on the server that a run starts from, where it starts from another one."""
    if job.start is None:
        return None
    before = read_tinker_run(job.start)
    if before is None or before.backend != "tinker" or not before.state_path:
        raise UsageError(f"{job.start} is no run of the backend tinker that has saved a state")
    if before.model != job.model:
        raise UsageError(f"{job.start} trained {before.model}, not {job.model}")
    return before.state_path


def _models(access: Access, tell: Callable[[str], None]) -> tuple[Model, ...]:
    ask_health(access)
    with connected(access, tell) as connection:
        return list_models(connection)


def list_models(connection: Connection) -> tuple[Model, ...]:
    found = connection.wait(connection.rest().get_server_capabilities(), "the list of models")
    return tuple(sorted((_model(one) for one in found.supported_models), key=lambda model: model.name))


def require_listed(
    model: str, listed: Sequence[str], url: str, *, does: str = "has", lacks: str = "is not there"
) -> None:
    """A server that lists nothing says no with the first request."""
    if not listed or model in listed:
        return
    near = difflib.get_close_matches(model, listed, n=3, cutoff=0.3) or sorted(listed)[:3]
    raise UsageError(
        f"model {model!r} {lacks}; {url} {does} {', '.join(near)}"
        + (f" and {len(listed) - len(near)} more" if len(listed) > len(near) else ""),
        hint="scc train --backend tinker --check lists all of them",
    )


def _model(told: Any) -> Model:
    return Model(told.model_name or "", told.max_context_length, told.trainable is not False)


def _refuse_unfit(job: TrainJob, access: Access, models: tuple[Model, ...]) -> None:
    named = {model.name: model for model in models if model.name and model.trainable}
    known = any(model.name == job.model for model in models)
    require_listed(
        job.model, list(named), access.url, does="trains", lacks="cannot be trained" if known else "is not there"
    )
    found = named.get(job.model)
    if found is None:
        return
    longest = max(job.train.longest, job.valid.longest)
    if found.context is not None and longest > found.context:
        raise UsageError(
            f"a row has {longest:,} tokens, and {job.model} takes {found.context:,} there",
            hint=f"--max-seq-length {found.context}",
        )
