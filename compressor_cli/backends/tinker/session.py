"""A session at the server, and the model that is trained in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from compressor_cli.backends.tinker.access import Access, cloud_settings
from compressor_cli.backends.tinker.check import start_state
from compressor_cli.backends.tinker.connection import PATIENCE, Connection
from compressor_cli.core.checkpoints import load_state
from compressor_cli.core.runs import Run
from compressor_cli.core.stopping import Stop
from compressor_cli.core.training import TrainJob
from compressor_cli.errors import SccError, UsageError

STATE = "tinker.json"  # in a checkpoint: where the server keeps what was saved


@contextmanager
def open_service(connection: Connection, stop: Stop) -> Iterator[Any]:
    """The SDK's entry. Its session is closed at the end, but a second signal does not wait for that."""
    import tinker

    access = connection.access
    service = connection.call(lambda: tinker.ServiceClient(base_url=access.url, api_key=access.key), "a session")
    try:
        yield service
    except Exception:
        _close(service, "errored")
        raise
    _close(service, "interrupted" if stop.asked else "success")


def _close(service: Any, status: str) -> None:
    """Worth seconds, not the minutes that the SDK would try."""
    closing = service.close(status).future()
    try:
        closing.result(PATIENCE.close)
    except Exception:
        closing.cancel()


def open_client(job: TrainJob, connection: Connection, service: Any, saved: str | None) -> Any:
    """New weights, those of another run, or this run's with its optimizer."""
    settings = cloud_settings(job.settings)
    if saved is not None:
        pending = connection.call(
            lambda: service.create_training_client_from_state_with_optimizer(saved), "the server to load the checkpoint"
        )
    elif (start := start_state(job)) is not None:
        pending = connection.call(
            lambda: service.create_training_client_from_state(start), "the server to load the run to start from"
        )
    else:
        pending = connection.call(
            lambda: service.create_lora_training_client(job.model, rank=settings.rank, seed=settings.seed),
            "the server to make the model",
        )
    client = connection.wait(pending, "the model")
    rank = client.get_info().lora_rank
    if rank is not None and rank != settings.rank:
        raise UsageError(f"what the run starts from has rank {rank}", hint=f"--rank {rank}")
    return client


def saved_path(run: Run, access: Access) -> str | None:
    """Of the state that a resumed run goes on from."""
    if run.resumed is None:
        return None
    state = load_state(run.resumed, STATE)
    if not isinstance(state.get("state_path"), str):
        raise SccError(f"{run.resumed.path / STATE} names no state")
    if state.get("base_url") != access.url:
        run.tell(f"{run.resumed.path.name} was saved at {state.get('base_url')}; it is asked of {access.url}")
    return str(state["state_path"])
