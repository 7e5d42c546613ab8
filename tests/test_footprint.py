"""What training takes, from a config.json: numbers of weights exactly, memory as a rule of thumb."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from tiny_model import make_model

from compressor_cli.core.footprint import Shape, footprint, read_shape, shape_of

# As the hub has it.
QWEN3_8B: dict[str, Any] = {
    "hidden_size": 4096, "num_hidden_layers": 36, "vocab_size": 151936, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 12288, "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}  # fmt: skip
QWEN3_30B: dict[str, Any] = {
    "hidden_size": 2048, "num_hidden_layers": 48, "vocab_size": 151936, "num_attention_heads": 32,
    "num_key_value_heads": 4, "head_dim": 128, "intermediate_size": 6144, "moe_intermediate_size": 768,
    "num_experts": 128, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip


def shape(config: dict[str, Any], dtype: str | None = None) -> Shape:
    found = shape_of(config, dtype)
    assert found is not None
    return found


def test_weights_of_known_models() -> None:
    """As their cards say: 8.2 and 30.5 billion."""
    assert shape(QWEN3_8B).parameters == pytest.approx(8.19e9, rel=0.005)
    assert shape(QWEN3_30B).parameters == pytest.approx(30.5e9, rel=0.005)


def test_bytes_of_a_weight() -> None:
    assert shape(QWEN3_8B).bytes_per_weight == 2
    assert shape(QWEN3_8B, "float32").bytes_per_weight == 4
    assert shape({**QWEN3_8B, "quantization": {"bits": 4, "group_size": 64}}).bytes_per_weight == 0.5625


def test_the_numbers_are_those_of_the_libraries(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    peft = pytest.importorskip("peft")
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(make_model(tmp_path / "tiny"))
    found = read_shape(tmp_path / "tiny")
    assert found is not None
    matrices = [weights for weights in model.parameters() if weights.ndim == 2]
    assert found.parameters == sum(weights.numel() for weights in matrices)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old name
        adapted = peft.get_peft_model(model, peft.LoraConfig(r=8, target_modules="all-linear"))
    assert found.lora_parameters(8, 4) == adapted.num_parameters(only_trainable=True)


def test_more_of_anything_takes_more_memory() -> None:
    def memory(**changes: Any) -> int:
        options: dict[str, Any] = {
            "rank": 8,
            "layers": 36,
            "batch_size": 2,
            "tokens": 1024,
            "tail": 512,
            "checkpointing": True,
            "backend": "local",
        }
        return footprint(shape(QWEN3_8B), **{**options, **changes}).memory

    base = memory()
    assert base > 8.19e9 * 2
    for change in (
        {"rank": 64},
        {"batch_size": 4},
        {"tokens": 2048},
        {"tail": 1024},
        {"checkpointing": False},
        {"reference": 1},
        {"backend": "torch"},
    ):
        assert memory(**change) > base
    assert memory(rank=None) > 8.19e9 * 2 * 4  # weights, gradients, two moments
    assert memory(tail=1024) - memory(tail=1024, tiled=True) == 4 * 4 * 2048 * (151936 - 32768)


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({**QWEN3_8B, "hidden_size": "wide"})])
def test_what_a_config_does_not_say_is_not_guessed(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    assert read_shape(tmp_path) is None
    assert read_shape(tmp_path / "none") is None
