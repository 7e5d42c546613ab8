"""The files of each form of an export."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from compressor_cli.core.adapters_merge import merge
from compressor_cli.core.adapters_mlx import copy_mlx, read_mlx, write_mlx
from compressor_cli.core.adapters_peft import copy_peft, read_peft, write_peft
from compressor_cli.core.lowrank import Adapter, public_name, said_base
from compressor_cli.core.model_folders import ModelFolder, copy_model, open_model
from compressor_cli.core.models import model_folder
from compressor_cli.errors import UsageError
from compressor_cli.stages.export.gguf import FILE, convert
from compressor_cli.stages.export.origins import base_config
from compressor_cli.stages.export.quantized import MlxWeights
from compressor_cli.stages.export.sources import Found

Format = Literal["peft", "mlx", "merged", "gguf"]
OnEvent = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Making:
    """What is made into `folder`. `base` is the model underneath, as found here; `converter` starts llama.cpp's."""

    found: Found
    base: str | None
    format: Format
    folder: Path
    converter: list[str]
    token: str | None
    bars: bool
    on_event: OnEvent

    def tell(self, message: str) -> None:
        self.on_event({"message": message})


def base_name(found: Found, given: str | None) -> str | None:
    """As given, as the adapter says it, as the run says it. A model that was trained whole says none."""
    said = None if found.kind == "model" else said_base(found.folder)
    base = given or said or found.card.get("model")
    return base if isinstance(base, str) else None


def write_form(making: Making) -> dict[str, Any]:
    """Returns the figures of the adapter, none for a whole model."""
    if making.format == "gguf":
        merged = making.folder / ".merged"
        merged.mkdir()
        shape = _merge(making, merged)
        making.tell("converting to GGUF")
        convert(making.converter, merged, making.folder / FILE)
        shutil.rmtree(merged)
        return shape
    if making.format == "merged":
        return _merge(making, making.folder)
    found = making.found
    if found.kind == "model":
        raise UsageError(
            f"{found.folder} is a whole model, and there is no adapter in it",
            hint="--format merged or --format gguf take it",
        )
    adapter = _copy(making) if found.kind == making.format else _convert(making)
    _tell_base(making)
    return _shape(adapter) if adapter else {}


def _convert(making: Making) -> Adapter:
    adapter = _read(making.found)
    if making.format == "peft":
        write_peft(adapter, making.folder, making.base)
        return adapter
    if "lm_head" in adapter.modules:
        config = base_config(making.base)
        if config is not None and config.get("tie_word_embeddings"):
            raise UsageError(
                "the adapter changes lm_head, which in this base is the embedding, and mlx-lm has no adapter for that",
                hint="--format merged gives the head weights of its own, and mlx-lm loads the result",
            )
        if config is None:
            making.tell("note: lm_head is adapted: mlx-lm loads that only for a base with a head of its own")
    write_mlx(adapter, making.folder, making.base)
    return adapter


def _copy(making: Making) -> Adapter | None:
    """The same form: nothing is refused. Its figures are told where it is a plain adapter."""
    found = making.found
    (copy_peft if found.kind == "peft" else copy_mlx)(found.folder, making.folder, making.base)
    try:
        return _read(found)
    except UsageError:
        return None


def _merge(making: Making, folder: Path) -> dict[str, Any]:
    found = making.found
    if found.kind == "model":
        copy_model(_opened(making, found.folder), folder)
        return {}
    adapter = _read(found)  # before a model is fetched for it
    hint = "--model names it: a folder, or a name on the hub"
    if making.base is None:
        raise UsageError(f"{found.folder} does not say its base model", hint=hint)
    if public_name(making.base) != making.base and not Path(making.base).is_dir():
        raise UsageError(f"the base model is not in {making.base}", hint=hint)
    base = _opened(making, model_folder(making.base, token=making.token, bars=making.bars))
    unpack = MlxWeights(base) if base.quantization else None
    merge(base, adapter, folder, unpack=unpack, on_file=lambda n, of: making.on_event({"done": n, "total": of}))
    return _shape(adapter)


def _opened(making: Making, folder: Path) -> ModelFolder:
    model = open_model(folder)
    if model.config.get("auto_map"):
        making.tell("note: the model brings code of its own (auto_map), which is not copied")
    return model


def _read(found: Found) -> Adapter:
    return read_peft(found.folder) if found.kind == "peft" else read_mlx(found.folder)


def _tell_base(making: Making) -> None:
    """What whoever loads the adapter must know."""
    base, name = making.base, public_name(making.base)
    if base is None:
        making.tell("note: the base model is not known; --model names it")
    elif name != base:
        making.tell(f"note: the base is in a folder here, and is called {name}; --model NAME names it on the hub")
    config = base_config(base)
    packed = config.get("quantization") if config else (base or "").startswith("mlx-community/")
    if making.format == "peft" and packed:
        making.tell(f"note: {name} is a model of MLX, which PEFT cannot load; --model names what it was made from")


def _shape(adapter: Adapter) -> dict[str, Any]:
    ranks = sorted({module.rank for module in adapter.modules.values()})
    scales = sorted({round(module.scale, 6) for module in adapter.modules.values()})
    return {
        "Adapter": f"{'DoRA' if adapter.is_dora else 'LoRA'} on {len(adapter.modules)} modules",
        "Rank": ", ".join(map(str, ranks)),
        "Scale": ", ".join(f"{scale:g}" for scale in scales),
    }
