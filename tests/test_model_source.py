"""Which weights a model and an adapter mean, whatever of it is missing."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from compressor_cli.core.generation import ModelSource
from compressor_cli.core.model_source import Weights, find_weights
from compressor_cli.engines.generators import fetch_weights
from compressor_cli.errors import UsageError

FILES = {"mlx": "adapters.safetensors", "peft": "adapter_model.safetensors"}


def make_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def make_adapter(folder: Path, form: str = "mlx", **config: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / FILES[form]).write_bytes(b"")
    return folder


def make_run(folder: Path, state: str = "finished", backend: str = "local", **card: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "format": "scc-run-1", "backend": backend, "state": state, "versions": {}, "sessions": [],
        "created": "2026-01-01T00:00:00+00:00",
    } | card  # fmt: skip
    (folder / "run.json").write_text(json.dumps(told))
    return folder


def find(form: Literal["mlx", "peft"] = "mlx", **source: Any) -> Weights:
    return find_weights(ModelSource(**source), "local" if form == "mlx" else "torch", form)


def test_a_model_alone(work: Path) -> None:
    make_model(work / "model")
    assert find(model="model") == Weights("local:model", "model", Path("model"))


@pytest.mark.parametrize("place", ["run", "run/adapter"])
def test_a_run_names_its_base_and_the_user_another_one(place: str, work: Path) -> None:
    base, other = make_model(work / "base"), make_model(work / "other")
    make_run(work / "run", model=str(base))
    adapter = Path("run/adapter")
    make_adapter(adapter)
    assert find(adapter=Path(place)) == Weights(f"local:{place}", str(base), base, adapter)
    assert find(adapter=Path(place), model=str(other)).folder == other


def test_a_pipeline_means_the_run_that_has_its_result(work: Path) -> None:
    base = make_model(work / "base")
    make_run(work / "all" / "sft", model=str(base))
    make_adapter(work / "all" / "sft" / "adapter")
    (work / "all" / "pipeline.json").write_text('{"result": "sft"}')
    assert find(adapter=Path("all")).adapter == Path("all/sft/adapter")


@pytest.mark.parametrize(("form", "key"), [("mlx", "model"), ("peft", "base_model_name_or_path")])
def test_an_adapter_by_itself_can_name_its_base(form: Literal["mlx", "peft"], key: str, work: Path) -> None:
    base = make_model(work / "base")
    make_adapter(work / "adapter", form, **{key: str(base)})
    assert find(form, adapter=Path("adapter")).folder == base
    make_adapter(work / "bare", form)
    assert find(form, adapter=Path("bare"), model=str(base)).folder == base
    with pytest.raises(UsageError, match="--adapter bare does not say which model it belongs to") as caught:
        find(form, adapter=Path("bare"))
    assert caught.value.hint == "name that with --model"


def test_a_whole_model_stands_for_itself(work: Path) -> None:
    make_run(work / "run", model="gone")
    make_model(work / "run" / "adapter")
    assert find(adapter=Path("run")) == Weights("local:run", "run/adapter", Path("run/adapter"))
    assert find(adapter=Path("run/adapter")).folder == Path("run/adapter")


@pytest.mark.parametrize(
    ("form", "told", "hint"),
    [
        ("mlx", "of PEFT, and --backend local takes those of mlx-lm", "scc export run --to DIR --format mlx makes one"),
        ("peft", "of mlx-lm, and --backend torch takes those of PEFT", "scc export run --to DIR --format peft makes"),
    ],
)
def test_the_adapter_of_another_library_is_exported_first(
    form: Literal["mlx", "peft"], told: str, hint: str, work: Path
) -> None:
    make_run(work / "run", model="base")
    make_adapter(work / "run" / "adapter", "peft" if form == "mlx" else "mlx")
    with pytest.raises(UsageError, match=f"--adapter run is an adapter {told}") as caught:
        find(form, adapter=Path("run"))
    assert caught.value.hint and caught.value.hint.startswith(hint)


def test_what_is_missing_is_told(work: Path) -> None:
    (work / "empty").mkdir()
    make_run(work / "stopped", state="stopped")
    make_run(work / "moved", model="base")
    make_adapter(work / "moved" / "adapter")
    make_run(work / "cloud", backend="tinker")
    (work / "cloud" / "adapter").mkdir()
    (work / "pickle").mkdir()
    (work / "pickle" / "pytorch_model.bin").write_bytes(b"")
    for source, told in (
        ({}, "--model or --adapter is needed"),
        ({"model": "a/b/c"}, "--model a/b/c: no such folder"),
        ({"model": "empty"}, "--model empty is no model: config.json and safetensors are needed"),
        ({"model": "pickle"}, "pickle/pytorch_model.bin is a pickle, which could run code"),
        ({"adapter": Path("nothing")}, "--adapter nothing: no such folder"),
        ({"adapter": Path("empty")}, "--adapter empty holds neither an adapter nor a model"),
        ({"adapter": Path("stopped")}, "--adapter stopped: the run has no result, its state is stopped"),
        ({"adapter": Path("cloud")}, "--adapter cloud is kept at Tinker"),
        ({"adapter": Path("moved"), "model": "./gone"}, "--model ./gone: no such folder"),
    ):
        with pytest.raises(UsageError, match=re.escape(told)):
            find(**source)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_base_from_the_hub_is_fetched_with_bars_at_a_terminal(
    terminal: bool, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def model_folder(name: str, *, token: str | None, bars: bool) -> Path:
        asked.append(bars)
        return work

    monkeypatch.setattr("compressor_cli.core.model_source.model_folder", model_folder)
    pytest.importorskip("torch")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with pytest.raises(UsageError, match="is no model"):
        fetch_weights("torch", ModelSource(model="some/base"))
    fetch_weights("openai", ModelSource(model="some/base"))
    assert asked == [terminal]
