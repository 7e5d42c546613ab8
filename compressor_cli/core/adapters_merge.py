"""An adapter added to the weights of its base, tensor by tensor: in float32, then rounded to the base's own type.

No library of models is needed, and no more memory than the largest matrix takes. The result is a folder in the layout
of the hub, which transformers and mlx-lm load.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from compressor_cli.core.files import write_json
from compressor_cli.core.lowrank import Adapter, LowRank
from compressor_cli.core.model_folders import INDEX, ModelFolder, copy_pages
from compressor_cli.core.tensors import Stored, save_tensors, stored_as, tensor_bytes
from compressor_cli.errors import SccError, UsageError

_HEAD, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
_FLOATS = ("F64", "F32", "F16", "BF16")

Shape = tuple[str, tuple[int, ...]]  # a dtype and a shape


class Unpack(Protocol):
    """Weights of a quantised base, by module."""

    def shape(self, module: str) -> Shape: ...

    def weight(self, module: str) -> Stored: ...


def merge(
    base: ModelFolder,
    adapter: Adapter,
    folder: Path,
    *,
    unpack: Unpack | None = None,
    on_file: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Writes the merged model into `folder`; `unpack` is needed where the base is quantised.

    Raises UsageError where the adapter has modules that the base has not, or of other shapes.
    """
    merging = _Merging(base, adapter.modules, unpack)
    merging.require_fit()
    where: dict[str, str] = {}
    size = 0
    for number, (file, names) in enumerate(base.files.items(), start=1):
        layout = merging.layout(names)
        save_tensors(folder / file, layout, merging.tensor)
        where |= dict.fromkeys(layout, file)
        size += sum(tensor_bytes(*shape) for shape in layout.values())
        on_file(number, len(base.files))
    if len(base.files) > 1:
        write_json(folder / INDEX, {"metadata": {"total_size": size}, "weight_map": dict(sorted(where.items()))})
    copy_pages(base.folder, folder, merging.config())


def added(weight: Stored, change: LowRank) -> NDArray[np.float32]:
    """In float32; for DoRA each row then gets the length that was learned."""
    a, b = (matrix.values().astype(np.float32) for matrix in (change.a, change.b))
    total: NDArray[np.float32] = weight.values().astype(np.float32) + np.float32(change.scale) * (b @ a)
    if change.magnitude is not None:
        length = np.linalg.norm(total, axis=1)
        if not length.all():
            raise SccError("a row of a weight is zero, and DoRA cannot give it a length")
        total *= (change.magnitude.values().astype(np.float32) / length)[:, None]
    return total


class _Merging:
    """The tensors as they will be. A head that is the embedding itself gets weights of its own where it is adapted."""

    def __init__(self, base: ModelFolder, modules: Mapping[str, LowRank], unpack: Unpack | None) -> None:
        self._base, self._unpack = base, unpack
        self._changes = {f"{name}.weight": change for name, change in modules.items()}
        self._unties = base.ties_head and _HEAD in self._changes and _EMBEDDING in base.tensors

    def config(self) -> dict[str, Any]:
        kept = dict(self._base.config)
        for name in ("quantization", "quantization_config"):
            kept.pop(name, None)
        return {**kept, **({"tie_word_embeddings": False} if self._unties else {})}

    def require_fit(self) -> None:
        for name, change in self._changes.items():
            source = self._source(name)
            module = name.removesuffix(".weight")
            if source not in self._base.tensors:
                raise UsageError(
                    f"the adapter is of another model: {self._base.folder.name} has no {module}",
                    hint="--model names the base that it was trained on",
                )
            dtype, shape = self._shape(source)
            if dtype not in _FLOATS:
                raise UsageError(f"the base stores {module} as {dtype}", hint="--model names it without quantisation")
            needed = (change.b.data.shape[0], change.a.data.shape[1])
            if shape != needed:
                raise UsageError(
                    f"the adapter is of another model: {module} is {needed} in it, and {shape} in the base",
                    hint="--model names the base that it was trained on",
                )

    def layout(self, names: Sequence[str]) -> dict[str, Shape]:
        found = {name: self._shape(name) for name in names if not self._belongs_to_packed(name)}
        if self._unties and _EMBEDDING in found:
            found[_HEAD] = found[_EMBEDDING]
        return found

    def tensor(self, name: str) -> Stored:
        source = self._source(name)
        module = source.removesuffix(".weight")
        weight = self._unpack.weight(module) if self._unpack and self._is_packed(source) else self._base.tensors[source]
        change = self._changes.get(name)
        return weight if change is None else stored_as(weight.dtype, added(weight, change))

    def _source(self, name: str) -> str:
        return _EMBEDDING if name == _HEAD and self._unties else name

    def _shape(self, name: str) -> Shape:
        if self._unpack and self._is_packed(name):
            return self._unpack.shape(name.removesuffix(".weight"))
        tensor = self._base.tensors[name]
        return tensor.dtype, tensor.data.shape

    def _is_packed(self, name: str) -> bool:
        module, _, part = name.rpartition(".")
        return self._unpack is not None and part == "weight" and f"{module}.scales" in self._base.tensors

    def _belongs_to_packed(self, name: str) -> bool:
        module, _, part = name.rpartition(".")
        return part in ("scales", "biases") and self._is_packed(f"{module}.weight")
