"""Adapters from one library to the other, under both: the same answers, and back again the same bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exporting import assert_same_answer, make_mlx, make_peft, mlx_answer, torch_answer, weights_of
from tiny_model import make_model

from compressor_cli.core.adapters_mlx import read_mlx, write_mlx
from compressor_cli.core.adapters_peft import copy_peft, read_peft, write_peft

pytest.importorskip("peft")
pytest.importorskip("mlx_lm")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # of transformers, asked by PEFT
]

LORA: dict[str, Any] = {}
DORA = {"use_dora": True}
RSLORA = {"use_rslora": True, "r": 3}
PATTERNS = {
    "rank_pattern": {"layers.1.self_attn.q_proj": 2, "down_proj": 7},
    "alpha_pattern": {"v_proj": 11, "layers.2.self_attn.q_proj": 1},
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLX_DISABLE_COMPILE", "1")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.mark.parametrize(
    "settings", [LORA, DORA, RSLORA, PATTERNS, DORA | PATTERNS], ids=["lora", "dora", "rslora", "patterns", "both"]
)
def test_from_peft_to_mlx(model: Path, work: Path, settings: dict[str, Any]) -> None:
    peft = make_peft(model, work / "peft", **settings)
    (work / "mlx").mkdir()
    write_mlx(read_peft(peft), work / "mlx", "me/model")
    ours = torch_answer(model, peft)
    assert_same_answer(ours, mlx_answer(model, work / "mlx"))
    assert np.abs(ours[0] - torch_answer(model)[0]).max() > 0.1  # the adapter does something


@pytest.mark.parametrize("settings", [LORA, DORA, RSLORA], ids=["lora", "dora", "rslora"])
def test_from_peft_and_back(model: Path, work: Path, settings: dict[str, Any]) -> None:
    peft = make_peft(model, work / "peft", **settings)
    for name in ("mlx", "back"):
        (work / name).mkdir()
    write_mlx(read_peft(peft), work / "mlx", None)
    write_peft(read_mlx(work / "mlx"), work / "back", None)
    assert weights_of(work / "back") == weights_of(peft)
    assert_same_answer(torch_answer(model, peft), torch_answer(model, work / "back"), within=1e-6)
    config = json.loads((work / "back/adapter_config.json").read_text())
    if not settings.get("use_rslora"):
        assert (config["r"], config["lora_alpha"]) == (4, 6)


@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
def test_from_mlx_to_peft_and_back(model: Path, work: Path, dora: bool) -> None:
    mlx = make_mlx(model, work / "mlx", dora=dora)
    for name in ("peft", "back"):
        (work / name).mkdir()
    write_peft(read_mlx(mlx), work / "peft", "me/model")
    theirs = mlx_answer(model, mlx)
    assert_same_answer(theirs, torch_answer(model, work / "peft"))
    assert np.abs(theirs[0] - mlx_answer(model)[0]).max() > 0.1
    write_mlx(read_peft(work / "peft"), work / "back", str(model))
    assert weights_of(work / "back") == weights_of(mlx)
    assert_same_answer(theirs, mlx_answer(model, work / "back"), within=1e-6)


def test_an_adapter_of_bfloat16_stays_so(model: Path, work: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    peft = make_peft(model, work / "peft")
    path = peft / "adapter_model.safetensors"
    before = {name: value.to(torch.bfloat16) for name, value in load_file(path).items()}
    save_file(before, path, metadata={"format": "pt"})
    for name in ("mlx", "back"):
        (work / name).mkdir()
    write_mlx(read_peft(peft), work / "mlx", None)
    write_peft(read_mlx(work / "mlx"), work / "back", None)
    after = load_file(work / "back/adapter_model.safetensors")
    assert after.keys() == before.keys()
    assert all(after[name].dtype == torch.bfloat16 and torch.equal(after[name], before[name]) for name in before)
    assert_same_answer(torch_answer(model, peft), mlx_answer(model, work / "mlx"))


def test_modules_that_a_server_did_not_name(model: Path, work: Path) -> None:
    """PEFT by itself would load some of the tensors, and say nothing."""
    peft = make_peft(model, work / "peft", target_modules="all-linear")
    whole = torch_answer(model, peft)
    config = json.loads((peft / "adapter_config.json").read_text())
    (peft / "adapter_config.json").write_text(json.dumps(config | {"target_modules": None}))
    (work / "copy").mkdir()
    copy_peft(peft, work / "copy", None)
    assert_same_answer(whole, torch_answer(model, work / "copy"), within=1e-6)
    assert len(json.loads((work / "copy/adapter_config.json").read_text())["target_modules"]) == 28
    (work / "mlx").mkdir()
    write_mlx(read_peft(peft), work / "mlx", None)
    assert_same_answer(whole, mlx_answer(model, work / "mlx"))


def test_a_layer_alone(model: Path, work: Path) -> None:
    """Only the modules that have tensors get an adapter, not all of their name."""
    mlx = make_mlx(model, work / "mlx", keys=["model.layers.1.mlp.up_proj"])
    (work / "peft").mkdir()
    write_peft(read_mlx(mlx), work / "peft", None)
    config = json.loads((work / "peft/adapter_config.json").read_text())
    assert config["target_modules"] == ["model.layers.1.mlp.up_proj"]
    assert_same_answer(mlx_answer(model, mlx), torch_answer(model, work / "peft"))
