"""The trainer of a run, with its model and rows. Imports torch."""

from __future__ import annotations

from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoTokenizer
from transformers.trainer_callback import PrinterCallback
from trl import DPOConfig, SFTConfig

from compressor_cli.backends.torch.loop import STAGED, Conductor, Seat
from compressor_cli.backends.torch.models import load_teacher, open_model
from compressor_cli.backends.torch.rows import Rows, preference_rows, rendered_rows
from compressor_cli.backends.torch.trainers import LogitsTrainer, PairsTrainer, RowsTrainer
from compressor_cli.core.chat_tokenizer import load_chat_tokenizer
from compressor_cli.core.models import one_line
from compressor_cli.core.training import TrainJob
from compressor_cli.errors import UsageError
from compressor_cli.settings import TorchSettings


def open_trainer(seat: Seat) -> Any:
    """Raises UsageError for what the model or its adapter cannot be."""
    job, settings = seat.job, seat.settings
    rows, valid = _rows(job, settings)
    precision = _precision(settings, seat.world.device)
    model, adapter = open_model(job, settings, seat.origin, precision)
    common: dict[str, Any] = {
        "model": model,
        "args": _arguments(seat, precision),
        "train_dataset": Dataset.from_dict(rows.columns),
        "eval_dataset": Dataset.from_dict(valid.columns),
        "processing_class": AutoTokenizer.from_pretrained(str(job.folder), trust_remote_code=False),
        "peft_config": adapter,
        "callbacks": [Conductor(seat, rows)],
    }
    try:
        trainer = _trainer(seat, common, precision)
    except ValueError as exc:  # PEFT and TRL, of modules that cannot have an adapter
        raise UsageError(f"target_modules: {one_line(exc)}") from None
    trainer.remove_callback(PrinterCallback)
    trainer.follow(settings, seat.world, job.pace, rows, valid)
    return trainer


def _rows(job: TrainJob, settings: TorchSettings) -> tuple[Rows, Rows]:
    if settings.stage == "dpo":
        tokenizer = load_chat_tokenizer(str(job.folder))
        return preference_rows(job.train.preferences, tokenizer), preference_rows(job.valid.preferences, tokenizer)
    return rendered_rows(job.train.rendered, settings), rendered_rows(job.valid.rendered, settings)


def _trainer(seat: Seat, common: dict[str, Any], precision: torch.dtype) -> Any:
    settings = seat.settings
    if settings.stage == "dpo":
        whole = common["peft_config"] is None and not isinstance(common["model"], PeftModel)
        # What answers are compared with is the model at its beginning: an adapter is switched off for that.
        before = open_model(seat.job, settings, seat.origin, precision)[0] if whole else None
        return PairsTrainer(ref_model=before, **common)
    if settings.teacher is None:
        return RowsTrainer(**common)
    trainer = LogitsTrainer(**common)
    trainer.teacher = load_teacher(settings.teacher, seat.job.folder, precision).to(seat.world.device)
    return trainer


def _precision(settings: TorchSettings, device: torch.device) -> torch.dtype:
    if settings.dtype != "auto":
        return torch.bfloat16 if settings.dtype == "bfloat16" else torch.float32
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32


def _arguments(seat: Seat, precision: torch.dtype) -> Any:
    settings = seat.settings
    common: dict[str, Any] = {
        "output_dir": str(seat.folder / STAGED),
        "per_device_train_batch_size": settings.batch_size // seat.world.size,
        "gradient_accumulation_steps": settings.gradient_accumulation,
        "max_steps": seat.job.pace.steps,
        "learning_rate": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm or 0.0,
        "optim": "adamw_torch",
        "seed": settings.seed,
        "use_cpu": seat.world.device.type == "cpu",
        "bf16": precision == torch.bfloat16,
        "activation_checkpointing": settings.gradient_checkpointing,
        "max_length": None,  # or TRL cuts and drops rows
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # or NaN is told as a number
        "save_strategy": "no",  # the Conductor says when
        "eval_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "log_level": "error",
        "log_level_replica": "error",
        "ddp_find_unused_parameters": False,
    }
    if settings.stage == "dpo":
        arguments = DPOConfig(beta=settings.beta, **common)
    else:
        prepared = {"skip_prepare_dataset": True}
        arguments = SFTConfig(dataset_kwargs=prepared, padding_free=settings.packing, **common)
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # several GPUs are used by several processes
    return arguments
