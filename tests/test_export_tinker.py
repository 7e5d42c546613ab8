"""`scc export tinker://...` with the real SDK, against the loopback double of the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Scc
from numpy_adapters import MODULES, draw, mlx_tensors, peft_tensors, write_peft_folder, write_run
from safetensors.numpy import load_file

pytest.importorskip("tinker")

from tinker_double import MODEL, TinkerServer, serving_tinker

KEPT = "tinker://session-1:train:0/external_weights/final"


@pytest.fixture
def server(work: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TinkerServer]:
    """It gives out an adapter as Tinker does: its modules not named, with its own name for the head."""
    head = "base_model.model.model.unembed_tokens"
    tensors = peft_tensors() | {f"{head}.lora_A.weight": draw(2, 8), f"{head}.lora_B.weight": draw(16, 2)}
    folder = write_peft_folder(work / "made", tensors, target_modules=None, base_model_name_or_path=None)
    with serving_tinker() as server:
        server.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server


def test_arrives_as_peft(scc: Scc, work: Path, server: TinkerServer) -> None:
    result = scc("export", KEPT, "--to", "out", "--format", "peft", "--model", "me/base")
    assert (result.exit_code, result.stderr) == (0, f"fetching {KEPT}\n")
    config = json.loads((work / "out/adapter_config.json").read_text())
    assert config["target_modules"] == ["lm_head", *MODULES]
    assert config["base_model_name_or_path"] == "me/base"
    assert len(load_file(work / "out/adapter_model.safetensors")) == 6
    assert not list(work.glob(".out*"))


def test_converts_likewise(scc: Scc, work: Path, server: TinkerServer) -> None:
    result = scc("export", KEPT, "--to", "out", "--format", "mlx", "--model", "me/base")
    assert result.exit_code == 0
    assert "note: lm_head is adapted: mlx-lm loads that only for a base with a head of its own" in result.stderr
    arrived, made = load_file(work / "out/adapters.safetensors"), mlx_tensors()
    assert arrived.keys() >= made.keys()


def test_a_state_of_training_is_given_out_first(scc: Scc, work: Path, server: TinkerServer) -> None:
    from tinker_factors import State

    state = "tinker://session-9:train:0/weights/step-3"
    server.states[state] = State.new(4, 0, 32)
    result = scc("export", state, "--to", "out", "--format", "peft")
    assert result.exit_code == 0
    made = [path for path in server.states if "/external_weights/export-" in path]
    assert len(made) == 1
    assert json.loads((work / "out/adapter_config.json").read_text())["base_model_name_or_path"] == MODEL


def test_a_run_whose_adapter_stayed_at_the_server(scc: Scc, work: Path, server: TinkerServer) -> None:
    from tinker_factors import State

    run = write_run(work / "run", backend="tinker")
    for path in (run / "adapter").iterdir():
        path.unlink()
    state = "tinker://session-9:train:0/weights/final"
    (run / "adapter/tinker.json").write_text(json.dumps({"state_path": state, "sampler_path": "x"}))
    server.states[state] = State.new(4, 0, 32)
    result = scc("export", "run", "--to", "out", "--format", "peft")
    assert result.exit_code == 0
    assert "Compress the text." in (work / "out/README.md").read_text()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("tinker://a/sampler_weights/b", "is for sampling only"),
        ("tinker://a/b", "is no path of weights at Tinker"),
        ("tinker://a/weights/../b", "is no path of weights at Tinker"),
        ("tinker://a/weights/gone", "no checkpoint"),
    ],
)
def test_paths_that_cannot_be_exported(scc: Scc, work: Path, server: TinkerServer, path: str, message: str) -> None:
    result = scc("export", path, "--to", "out", "--format", "peft")
    assert result.exit_code in (1, 2)
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert sorted(path.name for path in work.iterdir()) == ["made"]


def test_files_with_other_names_are_not_written(scc: Scc, work: Path, server: TinkerServer) -> None:
    server.files = {"../evil.json": b"{}"}
    result = scc("export", KEPT, "--to", "out", "--format", "peft")
    assert "error: the server lists a file '../evil.json', which no adapter has" in result.stderr
    assert sorted(path.name for path in work.iterdir()) == ["made"]


def test_no_key(scc: Scc, work: Path, server: TinkerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINKER_API_KEY")
    result = scc("export", KEPT, "--to", "out", "--format", "peft")
    assert result.exit_code == 2
    assert "error: no API key for Tinker" in result.stderr
