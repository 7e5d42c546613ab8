"""What the tests of the backend tinker share: a double of the server, and a run at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tinker_double import MODEL, TinkerServer, serving_tinker
from tinker_factors import State
from tiny_model import make_tokenizer
from training_jobs import make_job, sample_texts, write_rows

from compressor_cli.backends.tinker import conduct
from compressor_cli.core.runfiles import read_metrics
from compressor_cli.core.training import Launch, RunReport
from compressor_cli.settings import CloudSettings

SETTINGS: dict[str, Any] = {
    "model": MODEL, "steps": 10, "rank": 4, "learning_rate": 0.05, "save_every": 4, "warmup": 0.2, "seed": 3
}  # fmt: skip
Events = list[Mapping[str, Any]]
Train = Callable[..., RunReport]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"), sample_texts(), vocabulary=1000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[TinkerServer]:
    with serving_tinker() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def train(tokenizer: Path, tmp_path: Path) -> Train:
    """`train("run", on_event=..., steps=4)`: a run below the folder of the test, with changes of its settings."""

    def run(
        name: str = "run",
        *,
        on_event: Callable[[Mapping[str, Any]], None] = lambda event: None,
        valid: int = 3,
        start: str | None = None,
        **changes: Any,
    ) -> RunReport:
        data = write_rows(tmp_path / f"data{valid}", train=12, valid=valid)
        job = make_job("tinker", CloudSettings(**SETTINGS | changes), tokenizer, data)
        job = job if start is None else make_job(
            "tinker", CloudSettings(**SETTINGS | changes), tokenizer, data, start=tmp_path / start
        )  # fmt: skip
        return conduct(job, Launch(tmp_path / name, on_event=on_event))

    return run


def at_step(number: int, act: Callable[[], None]) -> Callable[[Mapping[str, Any]], None]:
    def on_event(event: Mapping[str, Any]) -> None:
        if event.get("row", {}).get("step") == number:
            act()

    return on_event


def same(one: State, other: State) -> bool:
    """Weights and optimizer alike, to the last bit."""
    pairs = [(one.weights[name], other.weights[name]) for name in one.weights]
    pairs += [pair for name in one.moments for pair in zip(one.moments[name], other.moments[name], strict=True)]
    return one.steps == other.steps and all(np.array_equal(left, right) for left, right in pairs)


def losses(folder: Path) -> list[tuple[Any, ...]]:
    return [(row["step"], row["loss"], row["val_loss"], row["lr"], row["tokens"]) for row in read_metrics(folder)[0]]
