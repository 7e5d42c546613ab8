"""Low-rank adapters, whichever library wrote them: one form in memory, read from PEFT's and MLX's and written as both.

Matrices stay as they are stored, transposed at most, so that an adapter comes back from the other library's form bit
for bit. Nothing is left out in silence: what the other form has no place for is refused by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

from compressor_cli.core.tensors import Stored, non_finite_tensor, stored_tensors
from compressor_cli.errors import SccError, UsageError

CONFIG = "adapter_config.json"
PEFT_WEIGHTS = "adapter_model.safetensors"
MLX_WEIGHTS = "adapters.safetensors"
Kind = Literal["peft", "mlx", "model"]

_EXPERTS = re.compile(r"(^|\.)(experts|switch_mlp)(\.|$)")
_EMBEDDINGS = re.compile(r"(^|\.)(embed_tokens|wte|wpe|tok_embeddings|word_embeddings|embed_in|embeddings?)$")


@dataclass(frozen=True)
class LowRank:
    """What is added to the weight of one linear module: `scale * b @ a`. `magnitude` is DoRA's: the norm of each row
    of the sum."""

    a: Stored  # (rank, inputs)
    b: Stored  # (outputs, rank)
    scale: float
    magnitude: Stored | None = None

    @property
    def rank(self) -> int:
        return int(self.a.data.shape[0])


@dataclass(frozen=True)
class Adapter:
    """`modules` by their path in the model. `base` is what the adapter says it belongs to."""

    modules: Mapping[str, LowRank]
    dropout: float = 0.0
    base: str | None = None

    @property
    def is_dora(self) -> bool:
        return any(module.magnitude is not None for module in self.modules.values())


def kind_of(folder: Path) -> Kind | None:
    """What the folder holds. Raises UsageError for weights in a pickle, which are never loaded."""
    for name, kind in ((PEFT_WEIGHTS, "peft"), (MLX_WEIGHTS, "mlx")):
        if (folder / name).is_file() and (folder / CONFIG).is_file():
            return kind  # type: ignore[return-value]
    if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
        return "model"
    if pickles := sorted(path.name for path in folder.glob("*.bin")):
        raise UsageError(f"{folder / pickles[0]} is a pickle, which could run code", hint="save it as safetensors")
    return None


def read_config(folder: Path) -> dict[str, Any]:
    """Raises UsageError for an `adapter_config.json` that is none."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise UsageError(f"{folder / CONFIG} is not JSON with the settings of an adapter")
    return config


def said_base(folder: Path) -> str | None:
    """The base that the settings of an adapter name, if the folder holds any."""
    if not (folder / CONFIG).is_file():
        return None
    config = read_config(folder)
    said = config.get("base_model_name_or_path") or config.get("model")
    return said if isinstance(said, str) else None


def read_weights(path: Path) -> dict[str, Stored]:
    """Raises SccError for a damaged file, and for one with NaN in it."""
    if tensor := non_finite_tensor(path):
        raise SccError(f"{path}: {tensor} is not finite", hint="take an earlier checkpoint of that run")
    tensors = stored_tensors(path)
    if not tensors:
        raise UsageError(f"{path} holds no tensors")
    return tensors


def low_rank(path: Path, module: str, parts: Mapping[str, Stored], scale: float) -> LowRank:
    """From `a`, `b` and `magnitude`, as far as they are there. Raises SccError where they do not make an adapter."""
    if _EXPERTS.search(module) or any(part.data.ndim == 3 for part in parts.values()):
        raise UsageError(
            f"{path}: {module} belongs to experts, which both libraries store in ways of their own",
            hint="train without experts: target_modules of the attention alone",
        )
    if _EMBEDDINGS.search(module):
        raise UsageError(f"{path}: {module} is an embedding, and only adapters of linear modules are converted")
    if not {"a", "b"} <= parts.keys():
        raise SccError(f"{path}: {module} has one matrix of two")
    a, b, magnitude = parts["a"], parts["b"], parts.get("magnitude")
    rows = (b.data.shape[0],)
    if a.data.ndim != 2 or b.data.ndim != 2 or a.data.shape[0] != b.data.shape[1] or not a.data.shape[0]:
        raise SccError(f"{path}: the matrices of {module} do not fit each other")
    if magnitude is not None and magnitude.data.shape != rows:
        raise SccError(f"{path}: the magnitude of {module} does not fit its matrices")
    if any(part.dtype not in ("F32", "F16", "BF16") for part in parts.values()):
        raise SccError(f"{path}: {module} is {a.dtype}, and adapters are float32, float16 or bfloat16")
    return LowRank(a, b, scale, magnitude)


def whole_number(value: float) -> float | int:
    """Settings that are whole are written so, as people and libraries write them."""
    return int(value) if value == int(value) else value


def number(path: Path, name: str, value: Any) -> float:
    """Raises UsageError for what a file says in place of a number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9:
        return float(value)
    raise UsageError(f"{path}: {name} is {value!r}, and should be a number")


def public_name(model: str | None) -> str | None:
    """A base model by its name, and one in a folder by that folder's: paths of this machine mean nothing elsewhere."""
    if model is None:
        return None
    folder = Path(model).expanduser()
    if folder.is_absolute() or folder.exists() or model.startswith((".", "~")) or model.count("/") > 1:
        return folder.resolve().name
    return PureWindowsPath(model).name if "\\" in model else model
