"""Generation with transformers, and adapters of PEFT. Imports torch."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import constants
from peft import PeftModel
from transformers import GenerationConfig

from compressor_cli.backends.torch.models import load_model
from compressor_cli.core.adapters_peft import copy_peft
from compressor_cli.core.chat_prompts import Encoded, chat_prompts
from compressor_cli.core.chat_tokenizer import load_chat_tokenizer
from compressor_cli.core.generation import Generated, ModelSource, Prompt, Sampling
from compressor_cli.core.model_source import Weights, find_weights
from compressor_cli.core.models import one_line
from compressor_cli.errors import SccError, UsageError

_LESS = "a smaller --batch-size needs less memory, and so does a smaller model"


class TorchGenerator:
    """Batches of `source.batch_size` prompts, one after the other."""

    def __init__(self, source: ModelSource) -> None:
        constants.HF_HUB_DISABLE_TELEMETRY = True
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        weights = find_weights(source, "torch", "peft")
        self.name = weights.name
        self._prompts = chat_prompts(load_chat_tokenizer(str(weights.folder)))
        self._device = _device()
        self._model = _load(weights, self._device)
        self._batch_size = source.batch_size

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Generated]]:
        asked, refused = self._prompts.encode(prompts)
        yield from refused
        torch.manual_seed(sampling.seed)
        for start in range(0, len(asked), self._batch_size):
            yield from self._answers(asked[start : start + self._batch_size], sampling)

    def close(self) -> None:
        """Frees the memory."""
        self._model = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _answers(self, asked: Sequence[Encoded], sampling: Sampling) -> Iterator[tuple[int, Generated]]:
        """Where the memory is too small for all of them, by halves."""
        began = time.perf_counter()
        try:
            rows = self._generate(asked, sampling)
        except (RuntimeError, MemoryError) as exc:
            if not _is_memory(exc):
                raise
            rows = None
        if rows is not None:
            seconds = time.perf_counter() - began
            for one, row in zip(asked, rows, strict=True):
                yield one.place, self._answer(one, row, seconds)
        elif len(asked) == 1:
            told = f"the {self._device.type} has too little memory for this prompt"
            yield asked[0].place, Generated("", 0, 0, False, 0.0, error=told)
        else:
            half = len(asked) // 2
            yield from self._answers(asked[:half], sampling)
            yield from self._answers(asked[half:], sampling)

    def _generate(self, asked: Sequence[Encoded], sampling: Sampling) -> list[list[int]]:
        """The tokens behind each prompt, with whatever comes after the end of its answer."""
        width = max(len(one.tokens) for one in asked)
        ends = sorted(self._prompts.ends)
        filler = ends[0] if ends else 0  # not looked at
        padded = [[filler] * (width - len(one.tokens)) + one.tokens for one in asked]
        mask = [[0] * (width - len(one.tokens)) + [1] * len(one.tokens) for one in asked]
        limits = torch.tensor([width + one.max_tokens for one in asked], device=self._device)
        config: dict[str, Any] = {"do_sample": False}
        if sampling.temperature > 0:
            config = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        with torch.inference_mode():
            found = self._model.generate(
                input_ids=torch.tensor(padded, device=self._device),
                attention_mask=torch.tensor(mask, device=self._device),
                generation_config=GenerationConfig(
                    max_new_tokens=max(one.max_tokens for one in asked),
                    eos_token_id=ends or None,
                    pad_token_id=filler,
                    **config,
                ),
                stopping_criteria=[_Limits(limits)],
            )
        rows: list[list[int]] = found[:, width:].tolist()
        return rows

    def _answer(self, asked: Encoded, row: Sequence[int], seconds: float) -> Generated:
        written = list(row[: asked.max_tokens])
        end = next((at for at, token in enumerate(written) if token in self._prompts.ends), None)
        return self._prompts.answer(asked, written[:end], truncated=end is None, seconds=seconds)


class _Limits:
    """A StoppingCriteria: each row ends at a length of its own."""

    def __init__(self, lengths: torch.Tensor) -> None:
        self._lengths = lengths

    def __call__(self, input_ids: Any, scores: Any, **more: Any) -> Any:
        return input_ids.shape[1] >= self._lengths


def _device() -> torch.device:
    for name, has in (("cuda", torch.cuda), ("mps", torch.backends.mps)):
        if has.is_available():
            return torch.device(name)
    return torch.device("cpu")


def _load(weights: Weights, device: torch.device) -> Any:
    """In bfloat16 where the GPU has it, else float32, as in training."""
    precision = torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    try:
        model = load_model(weights.folder, precision).to(device)
        if weights.adapter:
            model = _adapted(model, weights, weights.adapter)
    except (RuntimeError, MemoryError) as exc:
        if not _is_memory(exc):
            raise
        raise SccError(f"the {device.type} has too little memory for {weights.model}", hint=_LESS) from None
    model.generation_config = GenerationConfig()  # what is not asked for is not from there
    return model.eval()


def _adapted(model: Any, weights: Weights, adapter: Path) -> Any:
    try:
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as named:
            warnings.simplefilter("ignore", FutureWarning)  # of what PEFT does to transformers
            warnings.filterwarnings("error", "Found missing adapter keys")  # it would go on without them
            copy_peft(adapter, Path(named), weights.model)  # servers leave out which modules are adapted
            return PeftModel.from_pretrained(model, named)
    except SccError:
        raise
    except Exception as exc:  # from files that do not fit the libraries raise anything
        if _is_memory(exc):
            raise
        raise UsageError(f"{adapter} is no adapter of {weights.model}: {one_line(exc)}") from None


def _is_memory(exc: Exception) -> bool:
    """Devices have classes of their own for it, and all say it in these words."""
    return isinstance(exc, MemoryError) or any(
        words in str(exc) for words in ("out of memory", "can't allocate memory")
    )
