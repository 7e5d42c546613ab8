"""What is trained: a base with an adapter, or its last layers, as mlx-lm makes and loads them. Imports MLX."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx import nn
from mlx.utils import tree_flatten
from mlx_lm.models.switch_layers import QuantizedSwitchLinear, SwitchLinear
from mlx_lm.tuner.utils import linear_to_lora_layers
from mlx_lm.utils import get_total_parameters, load_model, save_config, save_model

from compressor_cli.core.files import write_json
from compressor_cli.core.models import one_line
from compressor_cli.core.training import TrainJob
from compressor_cli.errors import SccError, UsageError
from compressor_cli.settings import LocalSettings

WEIGHTS = "adapters.safetensors"
CONFIG = "adapter_config.json"
_QUANTISED = (nn.QuantizedLinear, nn.QuantizedEmbedding, QuantizedSwitchLinear)
_ADAPTABLE = (nn.Linear, nn.Embedding, SwitchLinear, *_QUANTISED)
_TOKENIZER = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")


@dataclass
class Trained:
    """`adapter` is what mlx-lm needs to know to load the weights, `config` that of the base; `notes` are to be told."""

    model: Any
    config: dict[str, Any]
    adapter: dict[str, Any]
    notes: list[str]

    @property
    def weights(self) -> dict[str, Any]:
        """Those that are trained, by name."""
        return dict(tree_flatten(self.model.trainable_parameters()))

    def load(self, path: Path) -> None:
        """Raises UsageError unless the file has exactly the weights that are trained."""
        loaded, ours = load_arrays(path), self.weights
        differing = sorted(
            name for name in {*loaded, *ours} if name not in loaded or name not in ours or _kind(loaded, ours, name)
        )
        if differing:
            raise UsageError(f"{path} is of another adapter or model: {differing[0]} differs")
        self.model.load_weights(list(loaded.items()), strict=False)

    def write(self, folder: Path) -> None:
        """A folder for the `adapter_path` of mlx-lm, be it an adapter or whole layers."""
        save_arrays(folder / WEIGHTS, self.weights)
        write_json(folder / CONFIG, self.adapter)

    def export(self, folder: Path, base: Path) -> None:
        """What training is for: the adapter, or a whole model that stands for itself."""
        folder.mkdir()
        if self.adapter["fine_tune_type"] != "full":
            self.write(folder)
            return
        save_model(folder, self.model)
        sees = "vision_tower" in getattr(self.model, "model", {})
        save_config(dict(self.config), folder / "config.json", keep_vision_config=sees)
        for path in (path for pattern in _TOKENIZER for path in base.glob(pattern)):
            if not (folder / path.name).exists() and not path.name.endswith(".index.json"):
                shutil.copyfile(path, folder / path.name)


def save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    try:
        mx.save_safetensors(str(path), arrays)
    except RuntimeError as exc:
        raise SccError(
            f"{path.name} cannot be written: {one_line(exc)}",
            hint="the disk may be full; with room, the same command goes on from the last checkpoint",
        ) from None


def load_arrays(path: Path) -> dict[str, Any]:
    try:
        loaded: Any = mx.load(str(path))
    except (RuntimeError, ValueError) as exc:
        raise UsageError(f"{path} cannot be read: {one_line(exc)}") from None
    assert isinstance(loaded, dict)
    return loaded


def prepare(job: TrainJob) -> Trained:
    """Nothing is read of the weights yet. Raises UsageError for what cannot be loaded or trained as asked."""
    settings = job.settings
    assert isinstance(settings, LocalSettings)
    if job.start is not None:
        _check_start(job.start, settings)
    full = settings.fine_tune_type == "full"
    model, config = _load(job.start / "adapter" if job.start and full else job.folder, job)
    mx.random.seed(settings.seed)
    model.freeze()
    layers = len(model.layers)
    count = layers if settings.num_layers == -1 else min(settings.num_layers, layers)
    notes = []
    if settings.num_layers > layers:
        notes.append(f"num_layers: the model has {layers}, fewer than {settings.num_layers}")
    adapter: dict[str, Any] = {"fine_tune_type": settings.fine_tune_type, "num_layers": count, "model": job.model}
    if full:
        _unfreeze(model, count)
    else:
        adapter["lora_parameters"] = _adapt(model, count, settings)
    trained = Trained(model, config, adapter, notes)
    if job.start is not None and not full:
        _go_on_from(job.start, trained)
    values = sum(value.size for value in trained.weights.values())
    notes.append(f"{values:,} of {get_total_parameters(model):,} values are trained, in {count} of {layers} layers")
    return trained


def _load(folder: Path, job: TrainJob) -> tuple[Any, dict[str, Any]]:
    try:
        model, config = load_model(folder, lazy=True)
    except Exception as exc:  # of a broken or unknown model the library raises anything
        raise UsageError(f"--model {job.model}: mlx-lm cannot load it: {one_line(exc)}") from None
    return model, config


def _unfreeze(model: Any, count: int) -> None:
    """As in mlx-lm, the last layers; embeddings and the last norm stay."""
    for layer in model.layers[-count:]:
        if any(isinstance(module, _QUANTISED) for _, module in layer.named_modules()):
            raise UsageError(
                "fine_tune_type: full cannot train quantised weights",
                hint="name a model that is not quantised, or train an adapter: fine_tune_type: lora",
            )
        layer.unfreeze()


def _adapt(model: Any, count: int, settings: LocalSettings) -> dict[str, Any]:
    """`scale` is what the product of both matrices is multiplied by."""
    dora = settings.fine_tune_type == "dora"
    modules = [
        (key, module)
        for layer in model.layers[-count:]
        for key, module in layer.named_modules()
        if isinstance(module, _ADAPTABLE) or hasattr(module, "to_lora")
    ]
    keys = _keys({key for key, _ in modules}, settings.target_modules)
    for key, module in modules if dora else ():
        if key in keys:
            _takes_dora(key, module)
    scale = settings.alpha / settings.rank
    config = {"rank": settings.rank, "scale": scale, "dropout": settings.dropout, "keys": keys}
    linear_to_lora_layers(model, count, config, use_dora=dora)
    return config


def _keys(names: Collection[str], targets: tuple[str, ...] | None) -> list[str]:
    """Paths within a layer; a target is one, or how it ends: `q_proj`."""
    if targets is None:
        return sorted(names)
    keys = {target: [key for key in names if f".{key}".endswith(f".{target}")] for target in targets}
    for target in (target for target, found in keys.items() if not found):
        raise UsageError(
            f"target_modules: the layers that are trained have no {target!r}",
            hint=f"they have {', '.join(sorted(names))}",
        )
    return sorted({key for found in keys.values() for key in found})


def _takes_dora(key: str, module: Any) -> None:
    bits = getattr(module, "bits", 4)
    if isinstance(module, nn.Linear | nn.QuantizedLinear) and not 32 % bits:  # mlx-lm mistakes the width otherwise
        return
    what = f"a base of {bits} bits" if 32 % bits else f"a {type(module).__name__}"
    raise UsageError(
        f"fine_tune_type: mlx-lm has no DoRA for {what} ({key})",
        hint="fine_tune_type: lora has it, or leave it out of target_modules",
    )


def _check_start(start: Path, settings: LocalSettings) -> None:
    kind = "full" if (start / "adapter" / "config.json").is_file() else _started(start).get("fine_tune_type")
    if kind != settings.fine_tune_type:
        raise UsageError(
            f"{start} was trained as {kind}, and cannot be gone on from as {settings.fine_tune_type}",
            hint="give both the same fine_tune_type",
        )


def _started(start: Path) -> dict[str, Any]:
    """How the adapter that this run starts from was made."""
    try:
        found = json.loads((start / "adapter" / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise UsageError(f"{start} is no finished run of --backend local: it has no adapter to start from")
    return found


def _go_on_from(start: Path, trained: Trained) -> None:
    was, now = (_shape(config) for config in (_started(start), trained.adapter))
    for name in (name for name in now if was[name] != now[name]):
        raise UsageError(
            f"the adapter of {start} has another {name}: {was[name]}, not {now[name]}",
            hint="rank, alpha, num_layers and target_modules of runs that follow each other are the same",
        )
    trained.load(start / "adapter" / WEIGHTS)


def _shape(config: Mapping[str, Any]) -> dict[str, Any]:
    parameters = config.get("lora_parameters") or {}
    return {
        "num_layers": config.get("num_layers"),
        **{name: parameters.get(name) for name in ("rank", "scale", "keys")},
    }


def _kind(loaded: Mapping[str, Any], ours: Mapping[str, Any], name: str) -> bool:
    return bool(loaded[name].shape != ours[name].shape or loaded[name].dtype != ours[name].dtype)
