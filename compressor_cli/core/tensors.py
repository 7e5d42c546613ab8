"""safetensors files, read with numpy alone: no backend's package is needed, and nothing in a file can run."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
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


def load_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Tensors by name; bfloat16, which numpy lacks, as the float32 of the same value.

    Raises SccError for anything but a whole safetensors file.
    """
    loaded = {}
    for name, dtype, raw in _views(path):
        if dtype == "BF16":
            loaded[name] = (raw.astype(np.uint32) << 16).view(np.float32).reshape(raw.shape)
        else:
            loaded[name] = np.array(raw)
    return loaded


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
