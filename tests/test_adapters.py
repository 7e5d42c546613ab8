"""Adapters without the libraries: what is carried over, what is refused, and what is merged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy_adapters import (
    BASE,
    MODULES,
    SIZE,
    Tensors,
    draw,
    mlx_tensors,
    peft_tensors,
    write_base,
    write_mlx_folder,
    write_peft_folder,
)
from safetensors.numpy import load_file

from compressor_cli.core.adapters_merge import added, merge
from compressor_cli.core.adapters_mlx import copy_mlx, read_mlx, write_mlx
from compressor_cli.core.adapters_peft import copy_peft, read_peft, write_peft
from compressor_cli.core.lowrank import Adapter, LowRank, kind_of, public_name
from compressor_cli.core.model_folders import open_model
from compressor_cli.core.tensors import Stored, load_tensors, save_tensors, stored_as
from compressor_cli.errors import SccError, UsageError

Q = f"base_model.model.{MODULES[0]}"


def product(module: LowRank) -> Any:
    return module.scale * module.b.values() @ module.a.values()


def test_the_other_form_has_the_same_products(work: Path) -> None:
    adapter = read_peft(write_peft_folder(work / "peft", alpha_pattern={"q_proj": 1}, lora_dropout=0.25))
    assert [module.scale for module in adapter.modules.values()] == [0.5, 2.0]
    (work / "mlx").mkdir()
    write_mlx(adapter, work / "mlx", BASE)
    other = read_mlx(work / "mlx")
    assert (other.dropout, other.base) == (0.25, BASE)
    for name in MODULES:
        assert np.allclose(product(other.modules[name]), product(adapter.modules[name]), rtol=1e-6)
    config = json.loads((work / "mlx/adapter_config.json").read_text())
    assert config["lora_parameters"]["keys"] == sorted(MODULES)


def test_lower_ranks_are_filled_up(work: Path) -> None:
    tensors = peft_tensors() | {f"{Q}.lora_A.weight": draw(5, SIZE), f"{Q}.lora_B.weight": draw(SIZE, 5)}
    adapter = read_peft(write_peft_folder(work / "peft", tensors, rank_pattern={"q_proj": 5}))
    (work / "mlx").mkdir()
    write_mlx(adapter, work / "mlx", BASE)
    other = read_mlx(work / "mlx")
    assert {module.rank for module in other.modules.values()} == {5}
    for name in MODULES:
        assert np.allclose(product(other.modules[name]), product(adapter.modules[name]), rtol=1e-5)
    (work / "back").mkdir()
    write_peft(adapter, work / "back", BASE)
    config = json.loads((work / "back/adapter_config.json").read_text())
    assert {**config["rank_pattern"], None: config["r"]} in ({MODULES[0]: 5, None: 2}, {MODULES[1]: 2, None: 5})
    assert [product(module).tolist() for module in read_peft(work / "back").modules.values()] == [
        product(module).tolist() for module in adapter.modules.values()
    ]


@given(rank=st.integers(1, 300), alpha=st.integers(1, 1000))
def test_a_whole_alpha_comes_back(rank: int, alpha: int) -> None:
    from compressor_cli.core.adapters_peft import _alpha

    assert _alpha(rank, alpha / rank) == alpha


PEFT_REFUSED: list[tuple[dict[str, Any], Tensors, str]] = [
    ({"peft_type": "IA3"}, {}, "peft_type is 'IA3'"),
    ({"bias": "all"}, {}, "bias is 'all'"),
    ({"modules_to_save": ["lm_head"]}, {}, "modules_to_save is set"),
    ({"target_parameters": ["mlp.experts.down_proj"]}, {}, "target_parameters is set"),
    ({"fan_in_fan_out": True}, {}, "fan_in_fan_out is set"),
    ({"layer_replication": [[0, 2]]}, {}, "layer_replication is set"),
    ({"init_lora_weights": "pissa_niter_4"}, {}, "belongs to a base that was changed too"),
    ({"alpha_pattern": {"(a+)+$": 1}}, {}, "alpha_pattern '(a+)+$' is no name of modules"),
    ({"lora_alpha": "two"}, {}, "lora_alpha is 'two'"),
    ({"use_dora": True}, {}, "use_dora"),
    ({}, {"base_model.model.lm_head.base_layer.weight": draw(4, 4)}, "is a weight saved whole"),
    ({}, {"base_model.model.model.embed_tokens.lora_embedding_A": draw(2, 4)}, "is an adapter of an embedding"),
    ({}, {f"{Q}.lora_B.bias": draw(4)}, "is a bias"),
    ({}, {f"{Q}.lora_magnitude_vector": draw(SIZE)}, "use_dora"),
    ({}, {f"{Q}.lora_A.weight": draw(3, SIZE)}, "do not fit each other"),
    ({}, {"base_model.model.a.k_proj.lora_A.weight": draw(2, 4)}, "has one matrix of two"),
    ({}, {"base_model.model.a.mlp.experts.0.up_proj.lora_A.weight": draw(2, 4)}, "belongs to experts"),
    ({}, {f"{Q}.lora_A.weight": np.full((2, SIZE), np.nan, np.float32)}, "is not finite"),
    ({}, {f"{Q}.lora_A.weight": np.ones((2, SIZE), np.int32)}, "are float32, float16 or bfloat16"),
]


@pytest.mark.parametrize(("config", "tensors", "message"), PEFT_REFUSED)
def test_what_has_no_place_in_the_other_form(
    work: Path, config: dict[str, Any], tensors: Tensors, message: str
) -> None:
    folder = write_peft_folder(work / "peft", peft_tensors() | tensors, **config)
    with pytest.raises(SccError) as refused:
        read_peft(folder)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


MLX_REFUSED: list[tuple[dict[str, Any], Tensors, str]] = [
    ({"fine_tune_type": "full"}, {}, "fine_tune_type is 'full'"),
    ({"fine_tune_type": "dora"}, {}, "fine_tune_type"),
    ({"lora_parameters": {"rank": 2, "alpha": 4}}, {}, "lora_parameters.scale is None"),
    ({}, {"model.layers.0.mlp.switch_mlp.up_proj.lora_a": draw(4, 2, 8)}, "belongs to experts"),
    ({}, {"model.embed_tokens.lora_a": draw(4, 2)}, "is an embedding"),
    ({}, {"model.norm.weight": draw(4)}, "is no matrix of an adapter"),
    ({}, {f"{MODULES[0]}.m": draw(SIZE)}, "fine_tune_type"),
    ({"fine_tune_type": "dora"}, {f"{module}.m": draw(3) for module in MODULES}, "does not fit its matrices"),
]


@pytest.mark.parametrize(("config", "tensors", "message"), MLX_REFUSED)
def test_what_mlx_has_that_no_adapter_is(work: Path, config: dict[str, Any], tensors: Tensors, message: str) -> None:
    folder = write_mlx_folder(work / "mlx", mlx_tensors() | tensors, **config)
    with pytest.raises(SccError) as refused:
        read_mlx(folder)
    assert message in str(refused.value)


def test_a_copy_keeps_what_cannot_be_converted(work: Path) -> None:
    tensors = peft_tensors() | {"base_model.model.model.norm.weight": draw(4)}
    peft = write_peft_folder(work / "peft", tensors, modules_to_save=["norm"], base_model_name_or_path="/a/b/c")
    (work / "copy").mkdir()
    copy_peft(peft, work / "copy", "/a/b/c")
    assert load_file(work / "copy/adapter_model.safetensors").keys() == tensors.keys()
    config = json.loads((work / "copy/adapter_config.json").read_text())
    assert (config["modules_to_save"], config["base_model_name_or_path"]) == (["norm"], "c")


def test_the_head_as_tinker_calls_it(work: Path) -> None:
    head = "base_model.model.model.unembed_tokens"
    tensors = peft_tensors() | {f"{head}.lora_A.weight": draw(2, 4), f"{head}.lora_B.weight": draw(9, 2)}
    peft = write_peft_folder(work / "peft", tensors, target_modules=None)
    assert "lm_head" in read_peft(peft).modules
    (work / "copy").mkdir()
    copy_peft(peft, work / "copy", BASE)
    config = json.loads((work / "copy/adapter_config.json").read_text())
    assert config["target_modules"] == ["lm_head", *MODULES]


def test_a_copy_of_mlx_has_no_folders_of_this_machine(work: Path) -> None:
    mlx = write_mlx_folder(work / "mlx", data="/home/anna/data", model="/home/anna/base")
    (work / "copy").mkdir()
    copy_mlx(mlx, work / "copy", "/home/anna/base")
    assert "anna" not in (work / "copy/adapter_config.json").read_text()
    assert load_file(work / "copy/adapters.safetensors").keys() == mlx_tensors().keys()


@pytest.mark.parametrize(
    ("model", "name"),
    [("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"), ("gpt2", "gpt2"), ("/home/anna/base", "base"), ("~/base", "base"),
     ("./a/base/", "base"), ("a/b/base", "base"), ("C:\\models\\base", "base"), (None, None)],
)  # fmt: skip
def test_names_of_bases(model: str | None, name: str | None) -> None:
    assert public_name(model) == name


def test_a_pickle_is_not_loaded(work: Path) -> None:
    (work / "adapter_model.bin").write_bytes(b"\x80")
    with pytest.raises(UsageError, match="is a pickle"):
        kind_of(work)


def test_merged_by_hand(work: Path) -> None:
    base = write_base(work / "base")
    adapter = read_peft(write_peft_folder(work / "peft"))
    (work / "out").mkdir()
    merge(open_model(base), adapter, work / "out")
    before, after = load_file(base / "model.safetensors"), load_file(work / "out/model.safetensors")
    for name in MODULES:
        assert np.allclose(
            after[f"{name}.weight"], before[f"{name}.weight"] + product(adapter.modules[name]), atol=1e-6
        )
    assert (after["model.embed_tokens.weight"] == before["model.embed_tokens.weight"]).all()
    assert json.loads((work / "out/config.json").read_text()) == {"model_type": "qwen3", "tie_word_embeddings": True}
    assert json.loads((work / "out/tokenizer_config.json").read_text()) == {"eos_token": "/s"}
    assert (work / "out/chat_template.jinja").read_text() == "{{ messages }}"


def test_a_head_that_is_the_embedding_gets_weights_of_its_own(work: Path) -> None:
    base = write_base(work / "base")
    change = LowRank(Stored("F32", draw(2, SIZE)), Stored("F32", draw(16, 2)), 0.5)
    (work / "out").mkdir()
    merge(open_model(base), Adapter({"lm_head": change}), work / "out")
    after = load_file(work / "out/model.safetensors")
    embedding = load_file(base / "model.safetensors")["model.embed_tokens.weight"]
    assert (after["model.embed_tokens.weight"] == embedding).all()
    assert np.allclose(after["lm_head.weight"], embedding + product(change), atol=1e-6)
    assert json.loads((work / "out/config.json").read_text())["tie_word_embeddings"] is False


def test_dora_gives_each_row_its_length() -> None:
    change = LowRank(
        Stored("F32", draw(2, SIZE)), Stored("F32", draw(SIZE, 2)), 1.5, Stored("F32", np.arange(1, 9, dtype="f4"))
    )
    total = added(Stored("F32", draw(SIZE, SIZE)), change)
    assert np.allclose(np.linalg.norm(total, axis=1), np.arange(1, 9), rtol=1e-5)


def test_another_base_is_refused(work: Path) -> None:
    base, adapter = open_model(write_base(work / "base")), read_peft(write_peft_folder(work / "peft"))
    some = next(iter(adapter.modules.values()))
    wide = LowRank(Stored("F32", draw(2, 99)), some.b, 1.0)
    for modules, message in (({"model.layers.9.x": some}, "has no model.layers.9.x"), ({MODULES[0]: wide}, "99")):
        with pytest.raises(UsageError, match=message):
            merge(base, Adapter(modules), work)
    assert not (work / "model.safetensors").exists()


def test_models_that_cannot_be_merged_into(work: Path) -> None:
    with pytest.raises(UsageError, match="quantised \\(bitsandbytes\\)"):
        open_model(write_base(work / "four", quantization_config={"quant_method": "bitsandbytes"}))
    empty = work / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match=r"holds no config\.json"):
        open_model(empty)
    (empty / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="no weights as safetensors"):
        open_model(empty)
    base = write_base(work / "index")
    (work / "model.safetensors").write_bytes((base / "model.safetensors").read_bytes())
    (base / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../model.safetensors"}}')
    with pytest.raises(UsageError, match=r"names \.\./model\.safetensors, which is not there"):
        open_model(base)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
@example([1.00390625, 1.01171875])  # in the middle of two values each: to the even one, down and up
def test_rounding_to_bfloat16(values: list[float]) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")

    exact = np.array(values, np.float32)
    with np.errstate(over="ignore"):
        theirs = exact.astype(ml_dtypes.bfloat16)
    assert (stored_as("BF16", exact).data == theirs.view(np.uint16)).all()


def test_what_is_written_is_read_by_the_library(work: Path) -> None:
    tensors = {
        "b": Stored("F16", draw(3).astype("f2")),
        "a": Stored("F32", draw(2, 5).T),
        "c": Stored("BF16", np.array([0x3F80, 0x7FC0], np.uint16)),
        "empty": Stored("I64", np.zeros((0, 2), "i8")),
        "one": Stored("U8", np.array(7, "u1")),
    }
    layout = {name: (tensor.dtype, tensor.data.shape) for name, tensor in tensors.items()}
    save_tensors(work / "t.safetensors", layout, tensors.__getitem__)
    data = (work / "t.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    assert size % 8 == 0  # and so each tensor lies where its type may
    assert all(header[name]["data_offsets"][0] % tensor.data.itemsize == 0 for name, tensor in tensors.items())
    ours, theirs = load_tensors(work / "t.safetensors"), load_file(work / "t.safetensors")
    assert ours.keys() == theirs.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert np.array_equal(ours[name], tensor.values(), equal_nan=True)
        assert np.array_equal(ours[name], theirs[name].astype(ours[name].dtype), equal_nan=True)
