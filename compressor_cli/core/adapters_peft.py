"""Adapters as PEFT stores them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import sqrt
from pathlib import Path
from typing import Any

from compressor_cli.core.files import write_json
from compressor_cli.core.lowrank import (
    CONFIG,
    PEFT_WEIGHTS,
    Adapter,
    low_rank,
    number,
    public_name,
    read_config,
    read_weights,
    whole_number,
)
from compressor_cli.core.tensors import Stored, save_tensors
from compressor_cli.errors import SccError, UsageError

_PREFIX = "base_model.model."
_SUFFIXES = {
    ".lora_A.weight": "a",
    ".lora_B.weight": "b",
    ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
}
_TENSOR = re.compile(r"(?P<module>.+?)\.(?:lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector)(?:\.|$)")

# What makes an adapter more, or other, than two matrices beside linear modules.
_REFUSED = (
    "modules_to_save", "target_parameters", "trainable_token_indices", "layer_replication", "lora_bias",
    "alora_invocation_tokens", "fan_in_fan_out", "use_qalora", "use_bdlora", "velora_config", "monteclora_config",
    "kasa_config", "arrow_config", "megatron_config",
)  # fmt: skip
# Ways to begin that change the weights of the base too.
_CHANGES_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga", "mica")


def read_peft(folder: Path) -> Adapter:
    """Raises UsageError, naming it, for whatever is no plain LoRA or DoRA of linear modules."""
    config, path = read_config(folder), folder / PEFT_WEIGHTS
    _refuse(folder / CONFIG, config)
    parts: dict[str, dict[str, Stored]] = {}
    for name, tensor in read_weights(path).items():
        module, part = _parse(path, name)
        parts.setdefault(module, {})[part] = tensor
    modules = {
        module: low_rank(path, module, found, _scale(folder / CONFIG, config, module, found))
        for module, found in parts.items()
    }
    if any((module.magnitude is not None) != bool(config.get("use_dora")) for module in modules.values()):
        raise SccError(f"{path}: its magnitudes and use_dora in {CONFIG} do not agree")
    dropout = number(folder / CONFIG, "lora_dropout", config.get("lora_dropout") or 0.0)
    base = config.get("base_model_name_or_path")
    return Adapter(modules, dropout, base if isinstance(base, str) else None)


def write_peft(adapter: Adapter, folder: Path, base: str | None) -> None:
    """One rank and one alpha for all is what most readers know; others stand in patterns beside them."""
    tensors: dict[str, Stored] = {}
    for module, weights in adapter.modules.items():
        tensors[f"{_PREFIX}{module}.lora_A.weight"] = weights.a
        tensors[f"{_PREFIX}{module}.lora_B.weight"] = weights.b
        if weights.magnitude is not None:
            tensors[f"{_PREFIX}{module}.lora_magnitude_vector"] = weights.magnitude
    layout = {name: (tensor.dtype, tensor.data.shape) for name, tensor in tensors.items()}
    save_tensors(folder / PEFT_WEIGHTS, layout, tensors.__getitem__)
    write_json(folder / CONFIG, _config(adapter, base))


def copy_peft(source: Path, folder: Path, base: str | None) -> None:
    """As it is, whatever it holds; but its base by name, and the modules named where a server left them out."""
    config, weights = read_config(source), source / PEFT_WEIGHTS
    tensors = {_renamed(name): tensor for name, tensor in read_weights(weights).items()}
    if not config.get("target_modules") and not config.get("target_parameters"):
        found = {match["module"] for name in tensors if (match := _TENSOR.match(name.removeprefix(_PREFIX)))}
        config["target_modules"] = sorted(found)
    config["base_model_name_or_path"] = public_name(base)
    config["inference_mode"] = True
    layout = {name: (tensor.dtype, tensor.data.shape) for name, tensor in tensors.items()}
    save_tensors(folder / PEFT_WEIGHTS, layout, tensors.__getitem__)
    write_json(folder / CONFIG, config)


def _config(adapter: Adapter, base: str | None) -> dict[str, Any]:
    shapes = {name: (module.rank, _alpha(module.rank, module.scale)) for name, module in adapter.modules.items()}
    rank, alpha = _most_common(shapes.values())
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": public_name(base),
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {name: own for name, (own, _) in shapes.items() if own != rank},
        "alpha_pattern": {name: own for name, (_, own) in shapes.items() if own != alpha},
        "lora_dropout": adapter.dropout,
        "target_modules": sorted(adapter.modules),
        "use_dora": adapter.is_dora,
        "use_rslora": False,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "inference_mode": True,
        "modules_to_save": None,
    }


def _alpha(rank: int, scale: float) -> float | int:
    """The whole number from which this scale came, where one did."""
    near = round(scale * rank)
    return near if near / rank == scale else whole_number(scale * rank)


def _most_common(shapes: Iterable[tuple[int, float]]) -> tuple[int, float]:
    counted = list(shapes)
    return max(sorted(set(counted)), key=counted.count)


def _refuse(path: Path, config: Mapping[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise UsageError(f"{path}: peft_type is {config.get('peft_type')!r}, and only LORA is converted")
    if config.get("bias", "none") != "none":
        raise UsageError(f"{path}: bias is {config['bias']!r}, and biases are not converted")
    begun = str(config.get("init_lora_weights", True)).lower()
    if begun.startswith(_CHANGES_BASE):
        raise UsageError(
            f"{path}: init_lora_weights {begun!r} belongs to a base that was changed too",
            hint="save it with path_initial_model_for_weight_conversion, as PEFT's documentation says",
        )
    for name in _REFUSED:
        if config.get(name):
            raise UsageError(f"{path}: {name} is set, and only matrices beside linear modules are converted")


def _parse(path: Path, name: str) -> tuple[str, str]:
    """The module, and which of its tensors."""
    renamed = _renamed(name)
    for suffix, part in _SUFFIXES.items():
        if renamed.startswith(_PREFIX) and renamed.endswith(suffix):
            return renamed.removeprefix(_PREFIX).removesuffix(suffix), part
    kinds = {"lora_embedding": "an adapter of an embedding", "bias": "a bias"}
    kind = next((told for word, told in kinds.items() if word in name), "a weight saved whole")
    raise UsageError(f"{path}: {name} is {kind}, and only adapters of linear modules are converted")


def _renamed(name: str) -> str:
    """Tinker's name for the head is of no model in transformers."""
    return name.replace("model.unembed_tokens.", "lm_head.")


def _scale(path: Path, config: Mapping[str, Any], module: str, parts: Mapping[str, Stored]) -> float:
    rank = parts["a"].data.shape[0] if "a" in parts and parts["a"].data.ndim else 0
    alpha = number(path, "lora_alpha", _alpha_of(path, config, module))
    return alpha / (sqrt(rank) if config.get("use_rslora") else rank) if rank else 0.0


def _alpha_of(path: Path, config: Mapping[str, Any], module: str) -> Any:
    """PEFT reads the names in a pattern as regular expressions; those of strangers are not run, names are compared."""
    pattern = config.get("alpha_pattern") or {}
    if not isinstance(pattern, Mapping):
        raise UsageError(f"{path}: alpha_pattern is no mapping of modules")
    for name, alpha in pattern.items():
        if not re.fullmatch(r"[\w.]+", name):
            raise UsageError(f"{path}: alpha_pattern {name!r} is no name of modules")
        if f".{module}".endswith(f".{name}"):
            return alpha
    return config.get("lora_alpha", 8)
