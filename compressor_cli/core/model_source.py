"""Which weights a ModelSource means."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from compressor_cli.core.adapters import find_adapter
from compressor_cli.core.generation import ModelSource
from compressor_cli.core.lowrank import kind_of, read_config
from compressor_cli.core.models import model_folder
from compressor_cli.core.runfiles import ADAPTER, read_card
from compressor_cli.errors import UsageError

_LIBRARIES = {"peft": "PEFT", "mlx": "mlx-lm"}
_BASE = {"peft": "base_model_name_or_path", "mlx": "model"}


@dataclass(frozen=True)
class Weights:
    """`folder` holds a model and its tokenizer; `adapter` is put on it. `model` and `name` are for people."""

    name: str
    model: str
    folder: Path
    adapter: Path | None = None


def find_weights(source: ModelSource, backend: str, form: Literal["peft", "mlx"]) -> Weights:
    """The base of an adapter is `source.model`, or what its run or its own config names. A whole model that a run made
    stands for itself. Fetches a base from the hub.

    Raises UsageError for what is not there or of another library, SccError where the hub does not give it.
    """
    if source.adapter is None:
        if not source.model:
            raise UsageError("--model or --adapter is needed")
        return Weights(f"{backend}:{source.model}", source.model, _base(source.model, source.token))
    given, name = f"--adapter {source.adapter}", f"{backend}:{source.adapter}"
    place, card = _result(source.adapter)
    kind = kind_of(place)
    if kind is None:
        raise UsageError(f"{given} holds neither an adapter nor a model: safetensors and their config are needed")
    if kind == "model":
        return Weights(name, str(place), place)
    if kind != form:
        raise UsageError(
            f"{given} is an adapter of {_LIBRARIES[kind]}, and --backend {backend} takes those of {_LIBRARIES[form]}",
            hint=f"scc export {source.adapter} --to DIR --format {form} makes one",
        )
    model = source.model or card.get("model") or read_config(place).get(_BASE[form])
    if not isinstance(model, str):
        raise UsageError(f"{given} does not say which model it belongs to", hint="name that with --model")
    return Weights(name, model, _base(model, source.token), place)


def _result(adapter: Path) -> tuple[Path, Mapping[str, Any]]:
    """The folder with the weights, and the card of the run they are of."""
    found = find_adapter(adapter)
    card = read_card(found.path)
    if card is None:
        return found.path, found.card or {}
    place = found.path / ADAPTER
    if not place.is_dir():
        raise UsageError(
            f"--adapter {adapter}: the run has no result, its state is {card['state']}",
            hint="let scc train finish it, or name one of its checkpoints",
        )
    if card["backend"] == "tinker" and kind_of(place) is None:
        raise UsageError(f"--adapter {adapter} is kept at Tinker", hint=f"scc export {adapter} --to DIR fetches it")
    return place, card


def _base(model: str, token: str | None) -> Path:
    folder = model_folder(model, token=token, bars=sys.stderr.isatty())
    if kind_of(folder) != "model":
        raise UsageError(f"--model {model} is no model: config.json and safetensors are needed")
    return folder
