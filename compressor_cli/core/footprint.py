"""What training a model takes, estimated from its config.json: parameters, memory, the size of a checkpoint.

The memory of activations is a rule of thumb; `benchmarks/footprint.py` holds it against what training takes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
LOGITS = {"torch": 8, "local": 4}  # copies in 32 bits at once: of logits, softmax and gradients
TAIL_TO = 128  # MLX: logits are of a multiple of so many positions, since each length is compiled
TILE = (4096, 32768)  # tokens and vocabulary that TRL's head makes logits of at once
ADAM = 2  # moments of the optimizer, in the precision of what is trained
FAR = 2.0  # an estimate this many times above what the machine has is refused


@dataclass(frozen=True)
class Shape:
    """Of a decoder with gated feed-forward layers. `experts` is 1 for one that has none."""

    hidden: int
    layers: int
    vocabulary: int
    attention: int
    key_values: int
    inner: int
    experts: int
    tied: bool
    bytes_per_weight: float

    @property
    def parameters(self) -> int:
        attention = self.hidden * (2 * self.attention + 2 * self.key_values)
        layer = attention + self.experts * 3 * self.hidden * self.inner
        return self.layers * layer + self.vocabulary * self.hidden * (1 if self.tied else 2)

    def lora_parameters(self, rank: int, layers: int) -> int:
        """An adapter on every linear layer of the last `layers` layers; experts share none."""
        attention = 2 * (self.hidden + self.attention) + 2 * (self.hidden + self.key_values)
        inner = 3 * (self.hidden + self.inner) if self.experts == 1 else 0
        return layers * rank * (attention + inner)


def read_shape(place: Path, dtype: str | None = None) -> Shape | None:
    """Of a folder with a config.json, or of such a file; None where it does not say all of it. `dtype` is what the
    weights are loaded as."""
    try:
        config = json.loads((place / "config.json" if place.is_dir() else place).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return shape_of(config.get("text_config") or config, dtype) if isinstance(config, dict) else None


def shape_of(config: Mapping[str, Any], dtype: str | None = None) -> Shape | None:
    try:
        heads = int(config["num_attention_heads"])
        size = int(config.get("head_dim") or config["hidden_size"] // heads)
        experts = int(config.get("num_experts") or config.get("num_local_experts") or 1)
        inner = config.get("moe_intermediate_size") if experts > 1 else config["intermediate_size"]
        return Shape(
            hidden=int(config["hidden_size"]),
            layers=int(config["num_hidden_layers"]),
            vocabulary=int(config["vocab_size"]),
            attention=heads * size,
            key_values=int(config.get("num_key_value_heads") or heads) * size,
            inner=int(inner or config["intermediate_size"]),
            experts=experts,
            tied=bool(config.get("tie_word_embeddings")),
            bytes_per_weight=_bytes_per_weight(config, dtype),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def _bytes_per_weight(config: Mapping[str, Any], dtype: str | None) -> float:
    quantization = config.get("quantization")
    if isinstance(quantization, Mapping) and "bits" in quantization:  # MLX: a scale and a bias of 16 bits a group
        return float(quantization["bits"]) / 8 + 4 / float(quantization.get("group_size") or 64)
    return _BYTES.get(dtype or str(config.get("dtype") or config.get("torch_dtype")), 4.0)


@dataclass(frozen=True)
class Footprint:
    """In bytes, but for `trained`, which is a number of weights."""

    weights: int
    trained: int
    memory: int
    checkpoint: int


def footprint(
    shape: Shape,
    *,
    rank: int | None,
    layers: int,
    batch_size: int,
    tokens: int,
    tail: int,
    checkpointing: bool,
    backend: str,
    reference: int = 0,
    tiled: bool = False,
) -> Footprint:
    """Of one process. `rank` None trains all weights, `tokens` is the longest row of a batch, `tail` what of a row has
    logits, `reference` how many further models are held in memory, such as a teacher, and `tiled` says that logits are
    made a tile at a time, of all positions."""
    weights = round(shape.parameters * shape.bytes_per_weight)
    trained = shape.parameters if rank is None else shape.lora_parameters(rank, layers)
    precision = 4 if rank is not None else max(2, round(shape.bytes_per_weight))
    states = trained * precision * (1 + ADAM + (rank is not None))  # gradients, moments; the adapter itself
    in_work = batch_size * tokens
    activations = _activations(shape, layers if rank else shape.layers, in_work, tokens, checkpointing)
    tile = min(in_work, TILE[0]) * min(shape.vocabulary, TILE[1])
    at_once = tile if tiled else batch_size * min(tokens, TAIL_TO * -(-tail // TAIL_TO)) * shape.vocabulary
    logits = LOGITS[backend] * 4 * at_once
    memory = weights * (1 + reference) + states + activations + logits
    return Footprint(weights, trained, memory, trained * precision * (1 + ADAM))


def _activations(shape: Shape, layers: int, tokens: int, length: int, checkpointing: bool) -> int:
    width = 4 if shape.bytes_per_weight > 2 else 2
    heads = max(1, shape.attention // 128)
    one_layer = tokens * (
        8 * shape.hidden + 3 * shape.attention + 2 * shape.key_values + 4 * shape.inner + heads * length
    )
    kept = layers * tokens * shape.hidden + one_layer if checkpointing else layers * one_layer
    return kept * width


def size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def machine_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
