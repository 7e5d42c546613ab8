"""Adapters of the tiny model as PEFT and mlx-lm write them, and what each library answers with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

PROMPT = [{"role": "user", "content": "The quick brown fox jumps over the lazy dog, 2024."}]
TARGETS = ["q_proj", "v_proj", "down_proj"]
GREEDY = 12


def make_peft(model: Path, folder: Path, *, seed: int = 1, **settings: Any) -> Path:
    """Random in both matrices, and in the lengths of DoRA. `settings` are those of LoraConfig."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = {"r": 4, "lora_alpha": 6, "target_modules": TARGETS, "task_type": "CAUSAL_LM", **settings}
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), LoraConfig(**config))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weights in adapted.named_parameters():
            if "lora_magnitude" in name:
                weights.mul_(1 + 0.3 * torch.rand(weights.shape, generator=generator))
            elif "lora_" in name:
                weights.normal_(std=0.2, generator=generator)
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    return folder


def make_mlx(model: Path, folder: Path, *, seed: int = 1, dora: bool = False, **settings: Any) -> Path:
    """As mlx-lm's trainer saves it: keys within layers, and only the last layers. `settings` go into its config."""
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_lm.tuner.utils import linear_to_lora_layers
    from mlx_lm.utils import load_model

    loaded, _ = load_model(model)
    loaded.freeze()
    parameters = {
        "rank": 4, "scale": 1.5, "dropout": 0.1, "keys": ["self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"],
        **settings,
    }  # fmt: skip
    linear_to_lora_layers(loaded, 2, parameters, use_dora=dora)
    mx.random.seed(seed)
    weights = {}
    for name, value in tree_flatten(loaded.trainable_parameters()):
        noise = mx.random.normal(value.shape) if not name.endswith(".m") else value * 0.2
        weights[name] = (value if name.endswith(".m") else 0) + 0.2 * noise
    folder.mkdir(parents=True)
    mx.save_safetensors(str(folder / "adapters.safetensors"), weights)
    kind = "dora" if dora else "lora"
    config = {"fine_tune_type": kind, "num_layers": 2, "lora_parameters": parameters, "model": str(model)}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def torch_answer(model: Path, adapter: Path | None = None) -> tuple[NDArray[np.float32], list[int]]:
    """The logits of the prompt's last token, and greedy tokens."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    if adapter is not None:
        loaded = PeftModel.from_pretrained(loaded, str(adapter))
    tokens = prompt_tokens(model)
    logits = loaded.eval()(torch.tensor([tokens])).logits[0, -1].detach().numpy()
    for _ in range(GREEDY):
        with torch.no_grad():
            tokens.append(int(loaded(torch.tensor([tokens])).logits[0, -1].argmax()))
    return logits, tokens[-GREEDY:]


def mlx_answer(model: Path, adapter: Path | None = None) -> tuple[NDArray[np.float32], list[int]]:
    import mlx.core as mx
    from mlx_lm import load

    loaded = load(str(model), adapter_path=str(adapter) if adapter else None)[0]
    tokens = prompt_tokens(model)

    def last() -> NDArray[np.float32]:
        return np.array(loaded(mx.array([tokens]))[0, -1].astype(mx.float32))

    logits = last()
    for _ in range(GREEDY):
        tokens.append(int(last().argmax()))
    return logits, tokens[-GREEDY:]


def prompt_tokens(model: Path) -> list[int]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    return list(tokenizer.apply_chat_template(PROMPT, add_generation_prompt=True, return_dict=False))


def assert_same_answer(
    one: tuple[NDArray[np.float32], list[int]], other: tuple[NDArray[np.float32], list[int]], within: float = 1e-3
) -> None:
    assert np.abs(one[0] - other[0]).max() < within
    assert one[1] == other[1]


def weights_of(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Dtype and bytes by name, of all files."""
    return {
        name: (str(value.dtype), value.tobytes())
        for path in sorted(folder.glob("*.safetensors"))
        for name, value in load_file(path).items()
    }
