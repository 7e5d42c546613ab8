"""Adapters as mlx-lm stores them: both matrices transposed, and one rank and one scale for all modules."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from compressor_cli.core.files import write_json
from compressor_cli.core.lowrank import (
    CONFIG,
    MLX_WEIGHTS,
    Adapter,
    LowRank,
    low_rank,
    number,
    public_name,
    read_config,
    read_weights,
    whole_number,
)
from compressor_cli.core.tensors import Stored, save_tensors, stored_as
from compressor_cli.errors import SccError, UsageError

_PARTS = {"lora_a": "a", "lora_b": "b", "m": "magnitude"}
_LAYER = re.compile(r"\.layers\.(\d+)\.")


def read_mlx(folder: Path) -> Adapter:
    """Raises UsageError for layers that were trained whole, experts and embeddings."""
    config, path = read_config(folder), folder / MLX_WEIGHTS
    kind = config.get("fine_tune_type", "lora")
    if kind not in ("lora", "dora"):
        raise UsageError(
            f"{folder}: fine_tune_type is {kind!r}: there is no adapter in it", hint="mlx_lm fuse makes it a model"
        )
    parameters = config.get("lora_parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    scale = number(folder / CONFIG, "lora_parameters.scale", parameters.get("scale"))
    parts: dict[str, dict[str, Stored]] = {}
    for name, tensor in read_weights(path).items():
        module, _, part = name.rpartition(".")
        if part not in _PARTS or not module:
            raise UsageError(f"{path}: {name} is no matrix of an adapter")
        turned = Stored(tensor.dtype, tensor.data.T) if tensor.data.ndim == 2 else tensor
        parts.setdefault(module, {})[_PARTS[part]] = turned
    modules = {module: low_rank(path, module, found, scale) for module, found in parts.items()}
    if any((module.magnitude is not None) != (kind == "dora") for module in modules.values()):
        raise SccError(f"{path}: its magnitudes and fine_tune_type in {CONFIG} do not agree")
    dropout = number(folder / CONFIG, "lora_parameters.dropout", parameters.get("dropout") or 0.0)
    return Adapter(modules, dropout, config.get("model") if isinstance(config.get("model"), str) else None)


def write_mlx(adapter: Adapter, folder: Path, base: str | None) -> None:
    """Lower ranks are filled up with zeros, and what a scale differs by goes into the second matrix: the products, and
    so the answers, stay the same."""
    rank = max(module.rank for module in adapter.modules.values())
    scales = Counter(module.scale for module in adapter.modules.values() if module.scale)
    scale = scales.most_common(1)[0][0] if scales else 0.0
    tensors: dict[str, Stored] = {}
    for name, module in adapter.modules.items():
        even = _evened(module, rank, scale)
        tensors[f"{name}.lora_a"] = Stored(even.a.dtype, even.a.data.T)
        tensors[f"{name}.lora_b"] = Stored(even.b.dtype, even.b.data.T)
        if even.magnitude is not None:
            tensors[f"{name}.m"] = even.magnitude
    layout = {name: (tensor.dtype, tensor.data.shape) for name, tensor in tensors.items()}
    save_tensors(folder / MLX_WEIGHTS, layout, tensors.__getitem__)
    write_json(folder / CONFIG, _config(adapter, rank, scale, base))


def copy_mlx(source: Path, folder: Path, base: str | None) -> None:
    """As it is, but its base by name; other settings of mlx-lm may hold folders of this machine."""
    config = read_config(source)
    kept = {name: config[name] for name in ("fine_tune_type", "num_layers", "lora_parameters") if name in config}
    tensors = read_weights(source / MLX_WEIGHTS)
    layout = {name: (tensor.dtype, tensor.data.shape) for name, tensor in tensors.items()}
    save_tensors(folder / MLX_WEIGHTS, layout, tensors.__getitem__)
    write_json(folder / CONFIG, {**kept, "model": public_name(base)})


def _config(adapter: Adapter, rank: int, scale: float, base: str | None) -> dict[str, Any]:
    """Keys are whole paths; `num_layers`, from the last one, is for keys within layers."""
    layers = {int(match[1]) for name in adapter.modules if (match := _LAYER.search(f".{name}"))}
    return {
        "fine_tune_type": "dora" if adapter.is_dora else "lora",
        "num_layers": max(layers, default=0) + 1,
        "lora_parameters": {
            "rank": rank,
            "scale": whole_number(scale),
            "dropout": adapter.dropout,
            "keys": sorted(adapter.modules),
        },
        "model": public_name(base),
    }


def _evened(module: LowRank, rank: int, scale: float) -> LowRank:
    missing = rank - module.rank
    a = Stored(module.a.dtype, np.pad(module.a.data, ((0, missing), (0, 0)))) if missing else module.a
    b = Stored(module.b.dtype, np.pad(module.b.data, ((0, 0), (0, missing)))) if missing else module.b
    if module.scale != scale:
        b = stored_as("F32", (b.values() * (module.scale / scale)).astype(np.float32))
    return LowRank(a, b, scale, module.magnitude)
