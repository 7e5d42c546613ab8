"""Weights that MLX packed into few bits, as numbers again: by MLX itself, which knows all of its ways to pack them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from compressor_cli.core.model_folders import ModelFolder
from compressor_cli.core.tensors import Stored, stored_as
from compressor_cli.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from compressor_cli.core.adapters_merge import Shape


class MlxWeights:
    """Made in float32, then of the type of their scales: what the model computes with.

    Raises UsageError for what MLX does not know, MissingExtraError without it.
    """

    def __init__(self, base: ModelFolder) -> None:
        try:
            import mlx.core
        except ImportError:  # also where its library for this machine is absent
            raise MissingExtraError("mlx", "local") from None
        self._mx: Any = mlx.core
        self._base, self._settings = base, dict(base.quantization or {})

    def shape(self, module: str) -> Shape:
        scales = self._base.tensors[f"{module}.scales"]
        rows, groups = scales.data.shape
        return self._dtype(scales), (rows, groups * self._of(module)["group_size"])

    def weight(self, module: str) -> Stored:
        parts = [self._array(f"{module}.{part}") for part in ("weight", "scales", "biases")]
        try:
            made = self._mx.dequantize(*parts, **self._of(module))
            values = np.array(made.astype(self._mx.float32))
        except (ValueError, RuntimeError) as exc:
            raise UsageError(f"MLX cannot unpack {module}: {' '.join(str(exc).split())}") from None
        return stored_as(self._dtype(self._base.tensors[f"{module}.scales"]), values)

    def _array(self, name: str) -> Any:
        """Scales that are numbers as float32, so that nothing is lost on the way."""
        if name not in self._base.tensors:  # some ways have no biases
            return None
        tensor = self._base.tensors[name]
        return self._mx.array(tensor.values())

    def _of(self, module: str) -> dict[str, Any]:
        """A module can have settings of its own."""
        own = self._settings.get(module)
        told: Mapping[str, Any] = {**self._settings, **(own if isinstance(own, Mapping) else {})}
        try:
            return {
                "group_size": int(told["group_size"]),
                "bits": int(told["bits"]),
                "mode": told.get("mode", "affine"),
            }
        except (KeyError, TypeError, ValueError):
            raise UsageError(f"the base does not say how {module} is quantised") from None

    def _dtype(self, scales: Stored) -> str:
        return scales.dtype if scales.dtype in ("F32", "F16", "BF16") else "BF16"  # scales of 8 bits belong to bfloat16
