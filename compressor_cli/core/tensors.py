"""safetensors files, with numpy alone: no backend's package is needed, and nothing in a file can run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor_cli.errors import SccError

_DTYPES: dict[str, Any] = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
_LONGEST_HEADER = 100_000_000
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Stored:
    """A tensor as it lies in a file: `data` of a bfloat16 is its 16 bits, which numpy has no type for."""

    dtype: str
    data: NDArray[Any]

    def values(self) -> NDArray[Any]:
        """The numbers; a bfloat16 as the float32 of the same value."""
        if self.dtype == "BF16":
            return (self.data.astype(np.uint32) << 16).view(np.float32).reshape(self.data.shape)
        return np.array(self.data)


def stored_as(dtype: str, values: NDArray[np.float32]) -> Stored:
    """Rounded to the nearest value that `dtype` has, to the even one of two."""
    if dtype != "BF16":
        return Stored(dtype, values.astype(_DTYPES[dtype]))
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return Stored(dtype, np.where(np.isnan(values), np.uint16(0x7FC0), rounded))


def load_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Tensors by name, as `Stored.values` has them. Raises SccError for anything but a whole safetensors file."""
    return {name: tensor.values() for name, tensor in stored_tensors(path).items()}


def stored_tensors(path: Path) -> dict[str, Stored]:
    """By name, mapped from the file and not read before they are used. Raises SccError as `load_tensors` does."""
    return {name: Stored(dtype, raw) for name, dtype, raw in _views(path)}


def tensor_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    return int(np.dtype(_DTYPES[dtype]).itemsize) * math.prod(shape)


Layout = Mapping[str, tuple[str, tuple[int, ...]]]


def save_tensors(path: Path, layout: Layout, tensor: Callable[[str], Stored]) -> None:
    """Writes what `layout` names, by dtype and shape; one `tensor` at a time is in memory. The widest types come first,
    so that each lies where its type may. `format` is what transformers looks for."""
    names = sorted(layout, key=lambda name: (-np.dtype(_DTYPES[layout[name][0]]).itemsize, name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        dtype, shape = layout[name]
        start, end = end, end + tensor_bytes(dtype, shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as handle:
        handle.write(len(head).to_bytes(8, "little") + head)
        for name in names:
            stored = tensor(name)
            if (stored.dtype, stored.data.shape) != layout[name]:
                raise ValueError(f"{name} is {stored.dtype} {stored.data.shape}, not {layout[name]}")
            handle.write(np.ascontiguousarray(stored.data, dtype=_DTYPES[stored.dtype]).data)


def non_finite_tensor(path: Path) -> str | None:
    """The name of the first tensor that holds NaN or an infinity."""
    for name, dtype, raw in _views(path):
        flat = raw.reshape(-1)
        for at in range(0, len(flat), _BLOCK):
            block = flat[at : at + _BLOCK]
            if dtype == "BF16":
                bad = bool(((block & 0x7F80) == 0x7F80).any())
            else:
                bad = block.dtype.kind == "f" and not bool(np.isfinite(block).all())
            if bad:
                return name
    return None


def _views(path: Path) -> Iterator[tuple[str, str, NDArray[Any]]]:
    """Name, dtype and values, mapped from the file."""
    header, begin, size = _header(path)
    data = np.memmap(path, dtype=np.uint8, mode="r") if size else np.zeros(0, np.uint8)
    for name, entry in header.items():
        try:
            dtype, shape, (start, stop) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
            kind = np.dtype(_DTYPES[dtype])
            if not 0 <= start <= stop <= size - begin or stop - start != kind.itemsize * math.prod(shape):
                raise ValueError("offsets")
            yield name, dtype, np.frombuffer(data[begin + start : begin + stop], dtype=kind).reshape(shape)
        except (KeyError, TypeError, ValueError):
            raise SccError(f"{path}: the tensor {name!r} is damaged, or of a kind unknown here") from None


def _header(path: Path) -> tuple[dict[str, Any], int, int]:
    """The header, where the data begin, and the size of the file."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if size < 8 or length > min(size - 8, _LONGEST_HEADER):
            raise SccError(f"{path}: not a safetensors file")
        try:
            header = json.loads(handle.read(length))
        except (ValueError, RecursionError):
            raise SccError(f"{path}: not a safetensors file") from None
    if not isinstance(header, dict):
        raise SccError(f"{path}: not a safetensors file")
    header.pop("__metadata__", None)
    return header, 8 + length, size
