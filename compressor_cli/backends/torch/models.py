"""The model that a run begins with, and its teacher. Imports torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from compressor_cli.core.files import sha256_file
from compressor_cli.core.models import model_folder, one_line
from compressor_cli.core.runfiles import ADAPTER, read_card
from compressor_cli.core.training import TrainJob
from compressor_cli.errors import UsageError
from compressor_cli.settings import TorchSettings

ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class Origin:
    """`weights` is the folder of the model underneath, and `name` what the config of an adapter calls it; `adapter` is
    the folder of the adapter of the run before, where it had one."""

    weights: Path
    name: str
    adapter: Path | None = None


def find_origin(job: TrainJob) -> Origin:
    """Raises UsageError where `job.start` has no result, or one that this run cannot go on from."""
    if job.start is None:
        return Origin(job.folder, job.model)
    result, card = job.start / ADAPTER, read_card(job.start)
    if card is None or card["state"] != "finished":
        raise UsageError(f"{job.start} has no result to start from", hint="let that run finish first")
    if card.get("model") != job.model:
        raise UsageError(f"{job.start} was trained from {card.get('model')}, and the model here is {job.model}")
    if (result / "config.json").is_file():
        return Origin(result, str(result))
    try:
        base = json.loads((result / ADAPTER_CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"]
        weights = job.folder if base == job.model else Path(base)
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{result} is damaged, or was not written by scc") from None
    if not (weights / "config.json").is_file():
        raise UsageError(f"{result} is an adapter of {base}, and that is not here")
    return Origin(weights, base, result)


def open_model(job: TrainJob, settings: TorchSettings, origin: Origin, precision: torch.dtype) -> tuple[Any, Any]:
    """The model, and the configuration of a new adapter where one is to be put on it.

    What is trained is float32; a model under an adapter is held in `precision`.
    """
    if settings.from_config is not None:
        return _from_config(settings.from_config, job), None
    full = settings.fine_tune_type == "full"
    model = load_model(origin.weights, torch.float32 if full else precision)
    if origin.adapter is None:
        return model, None if full else _lora(settings, model)
    if full:
        return PeftModel.from_pretrained(model, str(origin.adapter)).merge_and_unload().requires_grad_(True), None
    config = LoraConfig.from_pretrained(str(origin.adapter))
    _refuse_other_adapter(config, settings, origin.adapter)
    config.lora_dropout, config.inference_mode = settings.dropout, False
    return PeftModel.from_pretrained(model, str(origin.adapter), is_trainable=True, config=config), None


def load_model(folder: Path, dtype: torch.dtype) -> Any:
    try:
        return AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=dtype, trust_remote_code=False, local_files_only=True, use_safetensors=True
        )
    except torch.OutOfMemoryError:
        raise
    except Exception as exc:  # from a broken file the libraries raise anything
        raise UsageError(f"{folder}: no model that can be read: {one_line(exc)}") from None


def load_teacher(name: str, folder: Path, precision: torch.dtype) -> Any:
    """Raises UsageError where it speaks of other tokens than the tokenizer in `folder` does."""
    place = model_folder(name, flag="teacher")
    try:
        theirs = AutoTokenizer.from_pretrained(str(place), trust_remote_code=False).get_vocab()
    except Exception as exc:
        raise UsageError(f"teacher {name}: no tokenizer that can be read: {one_line(exc)}") from None
    ours = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False).get_vocab()
    if theirs != ours:
        raise UsageError(
            f"teacher {name} has another vocabulary ({len(theirs):,} tokens, not the same {len(ours):,})",
            hint="take a teacher of the same family, or distill_loss: traces",
        )
    return load_model(place, precision).eval().requires_grad_(False)


def config_hash(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError:
        raise UsageError(f"from_config {path}: no such file") from None


def _from_config(path: Path, job: TrainJob) -> Any:
    """Random weights, the same from the same seed."""
    try:
        config = AutoConfig.from_pretrained(str(path), trust_remote_code=False, local_files_only=True)
        torch.manual_seed(job.settings.seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
    except Exception as exc:
        raise UsageError(f"from_config {path}: no configuration of a model: {one_line(exc)}") from None
    size = len(AutoTokenizer.from_pretrained(str(job.folder), trust_remote_code=False))
    if (room := config.get_text_config().vocab_size) < size:
        raise UsageError(
            f"from_config {path}: vocab_size is {room:,}, and the tokenizer of {job.model} has {size:,} tokens",
            hint=f"set vocab_size to {-(-size // 64) * 64}",
        )
    return model


def _lora(settings: TorchSettings, model: Any) -> LoraConfig:
    """Not on the embeddings, in or out: the loss does not go through an adapter there, and no other format has one."""
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    for name in (name for name, module in model.named_modules() if any(module is end for end in ends)):
        if any(name == wanted or name.endswith(f".{wanted}") for wanted in settings.target_modules or ()):
            raise UsageError(f"target_modules: {name} turns tokens into numbers or back, and takes no adapter")
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.target_modules) if settings.target_modules else "all-linear",
    )


def _refuse_other_adapter(config: LoraConfig, settings: TorchSettings, adapter: Path) -> None:
    asked: dict[str, tuple[Any, Any]] = {
        "rank": (config.r, settings.rank),
        "alpha": (config.lora_alpha, settings.alpha),
    }
    if settings.target_modules:
        asked["target_modules"] = (sorted(config.target_modules), sorted(settings.target_modules))
    for name, (theirs, ours) in asked.items():
        if theirs != ours:
            raise UsageError(
                f"{adapter} has {name} {theirs}, and this run {name} {ours}: an adapter keeps its shape",
                hint=f"set {name} to {theirs}, or fine_tune_type: full",
            )


def plain_state(model: Any) -> dict[str, torch.Tensor]:
    """The whole model on the CPU, its adapter added to the weights. Added and taken off again, these would not be the
    same: the model stays as it is."""
    if not isinstance(model, PeftModel):
        return {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    base = model.get_base_model()
    state = {
        name.replace(".base_layer.", "."): tensor.detach().cpu()
        for name, tensor in base.state_dict().items()
        if ".lora_" not in name
    }
    with torch.no_grad():
        for name, module in base.named_modules():
            if hasattr(module, "get_delta_weight"):
                weight = module.base_layer.weight
                state[f"{name}.weight"] = (
                    (weight.float() + module.get_delta_weight("default").float()).to(weight.dtype).cpu()
                )
    return state
