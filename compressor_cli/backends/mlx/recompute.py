"""Gradient checkpointing that is right with dropout. Imports MLX.

A layer is computed again for its gradients. mlx-lm's way draws another dropout mask then, so that the gradients belong
to another loss than the one that was computed; here both draw from one key.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import mlx.core as mx
from mlx import nn


class _Keys:
    """Where the masks of a layer come from while it is computed."""

    current: Any = None


class KeyedDropout(nn.Dropout):
    def __call__(self, x: Any) -> Any:
        if self._p_1 == 1 or not self.training:
            return x
        _Keys.current, key = mx.random.split(_Keys.current)
        return (mx.random.bernoulli(self._p_1, x.shape, key=key) * x) * (1 / self._p_1)


def checkpoint_layers(model: Any, dropout: float) -> None:
    """In place. Classes stay as they are, so that another model of the same kind is not changed."""
    for module in (module for _, module in model.named_modules() if dropout and "lora_a" in module):
        module.dropout = KeyedDropout(dropout)
    for layer in model.layers:
        layer.__class__ = _checkpointed(layer.__class__, bool(dropout))


@cache
def _checkpointed(kind: Any, keyed: bool) -> Any:
    def compute(layer: Any, *args: Any, **kwargs: Any) -> Any:
        key = mx.random.randint(0, 2**31 - 1, shape=(2,)).astype(mx.uint32) if keyed and layer.training else None

        def inner(weights: Any, *args: Any, **kwargs: Any) -> Any:
            layer.update(weights)
            _Keys.current = key
            try:
                return kind.__call__(layer, *args, **kwargs)
            finally:
                _Keys.current = None

        return mx.checkpoint(inner)(layer.trainable_parameters(), *args, **kwargs)

    return type(kind.__name__, (kind,), {"__call__": compute})
