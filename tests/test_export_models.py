"""Exported models under the libraries that load them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Scc
from exporting import assert_same_answer, make_mlx, make_peft, mlx_answer, prompt_tokens, torch_answer, weights_of
from tiny_model import make_model

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("mlx_lm")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # of transformers, asked by PEFT
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLX_DISABLE_COMPILE", "1")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
def test_merged_from_peft(scc: Scc, model: Path, work: Path, dora: bool) -> None:
    peft = make_peft(model, work / "peft", use_dora=dora)
    result = scc("export", peft, "--to", "out", "--format", "merged")
    assert (result.exit_code, result.stderr) == (0, "")
    theirs = torch_answer(model, peft)
    assert_same_answer(theirs, torch_answer(work / "out"))
    assert_same_answer(theirs, mlx_answer(work / "out"))
    assert prompt_tokens(work / "out") == prompt_tokens(model)


def test_merged_from_mlx(scc: Scc, model: Path, work: Path) -> None:
    mlx = make_mlx(model, work / "mlx", dora=True)
    assert scc("export", mlx, "--to", "out", "--format", "merged").exit_code == 0
    assert_same_answer(mlx_answer(model, mlx), torch_answer(work / "out"))


def test_a_base_of_bfloat16_is_merged_in_float32(scc: Scc, model: Path, work: Path) -> None:
    """The weights are those of the exact sum, rounded once; PEFT, which adds in bfloat16, is further off."""
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    base.save_pretrained(work / "base", max_shard_size="100KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model / name, work / "base")
    peft = make_peft(work / "base", work / "peft")
    assert scc("export", peft, "--to", "out", "--format", "merged").exit_code == 0
    from peft import PeftModel

    exact = PeftModel.from_pretrained(base.float(), str(peft)).merge_and_unload().state_dict()
    merged = AutoModelForCausalLM.from_pretrained(work / "out").state_dict()
    assert len(list((work / "out").glob("*.safetensors"))) > 1
    assert {value.dtype for value in merged.values()} == {torch.bfloat16}
    assert all(torch.equal(merged[name], exact[name].bfloat16()) for name in merged)


def test_a_quantised_base_of_mlx(scc: Scc, model: Path, work: Path) -> None:
    from mlx_lm import convert

    convert(str(model), str(work / "base"), quantize=True, q_bits=4, q_group_size=64)
    mlx = make_mlx(work / "base", work / "mlx")
    assert scc("export", mlx, "--to", "out", "--format", "merged").exit_code == 0
    theirs = mlx_answer(work / "base", mlx)
    assert_same_answer(theirs, torch_answer(work / "out"), within=2e-3)
    assert_same_answer(theirs, mlx_answer(work / "out"), within=2e-3)
    assert "quantization" not in json.loads((work / "out/config.json").read_text())


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings:UserWarning")
def test_a_head_that_is_the_embedding(scc: Scc, model: Path, work: Path) -> None:
    """Tinker adapts the head too; the merged model has one of its own then, and the embedding stays."""
    peft = make_peft(model, work / "peft", target_modules=["lm_head", "q_proj"])
    assert scc("export", peft, "--to", "out", "--format", "merged").exit_code == 0
    theirs = torch_answer(model, peft)
    assert_same_answer(theirs, torch_answer(work / "out"))
    assert_same_answer(theirs, mlx_answer(work / "out"))
    assert np.abs(theirs[0] - torch_answer(model)[0]).max() > 0.1
    refused = scc("export", peft, "--to", "mlx", "--format", "mlx")
    assert refused.exit_code == 2
    assert refused.stderr.splitlines()[0].startswith("error: the adapter changes lm_head, which in this base")
    assert not (work / "mlx").exists()


def test_adapters_through_the_command(scc: Scc, model: Path, work: Path) -> None:
    mlx = make_mlx(model, work / "mlx")
    assert scc("export", mlx, "--to", "peft", "--format", "peft").exit_code == 0
    assert scc("export", "peft", "--to", "back", "--format", "mlx").exit_code == 0
    assert weights_of(work / "back") == weights_of(mlx)
    assert_same_answer(mlx_answer(model, mlx), torch_answer(model, work / "peft"))
    for name in ("peft", "back"):
        for page in (work / name).glob("[!.]*.[jm][sd]*"):
            assert str(work) not in page.read_text() and str(model) not in page.read_text()
