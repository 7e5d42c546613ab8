"""W&B where it is asked for: the real package, offline."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from compressor_cli.core import tracking
from compressor_cli.core.checkpoints import Position
from compressor_cli.core.runs import RunSpec, open_run
from compressor_cli.errors import MissingExtraError


def spec(project: str | None, **more: int) -> RunSpec:
    return RunSpec(backend="local", settings={"rank": 8, **more}, data={}, steps=2, wandb=project)


def _write(place: Path) -> None:
    (place / "x.json").write_text("{}")


def train(folder: Path, project: str | None) -> list[str]:
    told: list[str] = []
    with open_run(folder, spec(project), on_event=lambda event: told.append(event.get("message", ""))) as run:
        for step in range(len(run.rows) + 1, len(run.rows) + 3):
            run.record(step, 0.5, loss=1 / step, tokens=3, seconds=0.1)
            run.save(Position(0, step, step), _write)
    return told


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_a_run_is_logged_and_goes_on_as_the_same(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for _ in range(2):
        assert any("W&B is offline" in line for line in train(work / "run", "compression"))
    files = sorted((work / "run/wandb").glob("offline-run-*/run-*.wandb"))
    assert len({path.stem for path in files}) == 1  # the id of both sessions
    assert any(b"loss" in path.read_bytes() for path in files)


def test_nothing_of_it_is_there_unless_asked_for(work: Path) -> None:
    train(work / "run", None)
    assert not (work / "run/wandb").exists()


def test_without_the_package_one_line_says_what_to_install(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="wandb"):
        train(work / "run", "compression")
