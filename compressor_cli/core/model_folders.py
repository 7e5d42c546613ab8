"""Folders of models in the layout of the hub: read without a library of models, and copied without what is private."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor_cli.core.files import write_json
from compressor_cli.core.licences import is_licence_file
from compressor_cli.core.tensors import Stored, stored_tensors
from compressor_cli.errors import UsageError

INDEX = "model.safetensors.index.json"
_PAGES = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")  # of a tokenizer, and settings
_NO_PAGES = ("adapter_config.json", "export.json", "config.json")
_SETTINGS = ("generation_config.json", "tokenizer_config.json", "special_tokens_map.json")
_PLACE = re.compile(r"(/[^\s/]+){2,}/?|[A-Za-z]:\\\S+")


@dataclass(frozen=True)
class ModelFolder:
    """`files` has the names of the tensors in each file of weights."""

    folder: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Stored]
    files: Mapping[str, Sequence[str]]

    @property
    def ties_head(self) -> bool:
        """Whether the embedding is the head too."""
        return bool(self.config.get("tie_word_embeddings")) and "lm_head.weight" not in self.tensors

    @property
    def quantization(self) -> Mapping[str, Any] | None:
        """How MLX packed the weights."""
        told = self.config.get("quantization")
        return told if isinstance(told, dict) else None


def open_model(folder: Path) -> ModelFolder:
    """Raises UsageError for a folder without a model, and for one in a quantisation that only its library can undo."""
    hint = "--model names the base: a folder, or a name on the hub"
    config = _read(folder / "config.json") if (folder / "config.json").is_file() else None
    if not isinstance(config, dict):
        raise UsageError(f"{folder} holds no config.json of a model", hint=hint)
    names = _weight_files(folder)
    if not names:
        raise UsageError(f"{folder} holds no weights as safetensors", hint=hint)
    packed = config.get("quantization_config")
    if packed and not isinstance(config.get("quantization"), dict):
        method = packed.get("quant_method") if isinstance(packed, dict) else packed
        raise UsageError(
            f"the model in {folder} is quantised ({method}), which cannot be undone here",
            hint="--model names the same model without quantisation",
        )
    by_file = {name: stored_tensors(folder / name) for name in names}
    tensors = {name: tensor for found in by_file.values() for name, tensor in found.items()}
    return ModelFolder(folder, config, tensors, {name: list(found) for name, found in by_file.items()})


def copy_model(model: ModelFolder, folder: Path) -> None:
    """One that was trained whole, as it is."""
    for name in model.files:
        shutil.copyfile(model.folder / name, folder / name)
    if (model.folder / INDEX).is_file():
        shutil.copyfile(model.folder / INDEX, folder / INDEX)
    copy_pages(model.folder, folder, model.config)


def copy_pages(source: Path, folder: Path, config: Mapping[str, Any]) -> None:
    """Tokenizer, chat template, settings and licence, without the paths of this machine that libraries leave there."""
    pages = {path for pattern in _PAGES for path in source.glob(pattern)}
    pages |= {path for path in source.iterdir() if is_licence_file(path.name)}
    for path in sorted(pages):
        if path.name in _SETTINGS:
            write_json(folder / path.name, _without_places(_read(path)))
        elif path.is_file() and path.name not in _NO_PAGES and not path.name.endswith(".index.json"):
            shutil.copyfile(path, folder / path.name)
    write_json(folder / "config.json", _without_places(dict(config)))


def _weight_files(folder: Path) -> list[str]:
    """Those of the index, where there is one: other weights beside them are other forms of the same."""
    index = _read(folder / INDEX) if (folder / INDEX).is_file() else None
    if isinstance(index, dict) and isinstance(index.get("weight_map"), dict):
        names = sorted({str(name) for name in index["weight_map"].values()})
        if strange := [name for name in names if Path(name).name != name or not (folder / name).is_file()]:
            raise UsageError(f"{folder / INDEX} names {strange[0]}, which is not there")
        return names
    if (folder / "model.safetensors").is_file():
        return ["model.safetensors"]
    return sorted(path.name for path in folder.glob("*.safetensors"))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise UsageError(f"{path} is not JSON") from None


def _without_places(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        name: _without_places(part)
        for name, part in value.items()
        if name not in ("_name_or_path", "name_or_path") and not (isinstance(part, str) and _PLACE.fullmatch(part))
    }
