"""Adapters and models of a few small matrices, made without any library of models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

Tensors = dict[str, NDArray[Any]]
MODULES = ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj")
BASE = "me/base"
SIZE = 8


def draw(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def peft_tensors(rank: int = 2) -> Tensors:
    return {
        f"base_model.model.{module}.lora_{name}.weight": draw(*shape, seed=number)
        for number, module in enumerate(MODULES)
        for name, shape in (("A", (rank, SIZE)), ("B", (SIZE, rank)))
    }


def write_peft_folder(folder: Path, tensors: Tensors | None = None, **config: Any) -> Path:
    told = {
        "peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": BASE,
        "target_modules": ["q_proj", "down_proj"],
    }  # fmt: skip
    folder.mkdir(parents=True)
    save_file(peft_tensors() if tensors is None else tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(told | config))
    return folder


def mlx_tensors(rank: int = 2) -> Tensors:
    return {
        f"{module}.lora_{name}": draw(*shape, seed=number)
        for number, module in enumerate(MODULES)
        for name, shape in (("a", (SIZE, rank)), ("b", (rank, SIZE)))
    }


def write_mlx_folder(folder: Path, tensors: Tensors | None = None, **config: Any) -> Path:
    told = {
        "fine_tune_type": "lora", "num_layers": 2, "model": BASE,
        "lora_parameters": {"rank": 2, "scale": 2.0, "dropout": 0.0},
    }  # fmt: skip
    folder.mkdir(parents=True)
    save_file(mlx_tensors() if tensors is None else tensors, folder / "adapters.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(told | config))
    return folder


def write_base(folder: Path, **config: Any) -> Path:
    """A model with the two modules, in pages of a kind that any library writes."""
    folder.mkdir(parents=True)
    weights = {f"{module}.weight": draw(SIZE, SIZE, seed=9) for module in MODULES}
    save_file(weights | {"model.embed_tokens.weight": draw(16, SIZE)}, folder / "model.safetensors")
    told = {"model_type": "qwen3", "tie_word_embeddings": True, "_name_or_path": str(folder)}
    (folder / "config.json").write_text(json.dumps(told | config))
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "/s", "tokenizer_file": str(folder / "t")}))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


def write_run(folder: Path, adapter: str = "peft", *, base: str = BASE, **card: Any) -> Path:
    """A finished run, as the backends leave it."""
    (write_peft_folder if adapter == "peft" else write_mlx_folder)(folder / "adapter")
    told: dict[str, Any] = {
        "format": "scc-run-1", "backend": "torch" if adapter == "peft" else "local", "model": base,
        "settings": {"learning_rate": 1e-4, "rank": 2, "steps": 3, "rows": 5, "seed": 0},
        "data_sha256": {"train": "ab" * 32}, "created": "2026-11-21T00:00:00+00:00", "state": "finished",
        "steps_done": 3, "sessions": [], "versions": {"compressor-cli": "1"},
        "command": "scc train --data /home/anna/secret/data --output runs/first",
        "prompt": {"system": "Compress the text.", "prefix": None}, "data": {},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(told | card))
    rows = [{"step": 1, "loss": 3.0, "val_loss": None}, {"step": 2, "loss": 2.0, "val_loss": 2.5}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
