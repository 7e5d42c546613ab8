"""What can be asked for a compression, by the name of its backend; the embedded engine stands among the models."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from compressor_cli.backends import BACKENDS
from compressor_cli.core.generation import Generated, Generator, ModelSource, Prompt, Sampling
from compressor_cli.core.model_source import find_weights
from compressor_cli.core.stopping import Stop
from compressor_cli.engines.compress import compress
from compressor_cli.errors import MissingExtraError, QuotaError, SccError, SpendCapError
from compressor_cli.records import Receipt

EMBEDDED = "embedded"
MODELS = ("local", "tinker", "torch", "openai")
GENERATORS = (*MODELS, EMBEDDED)
_FORMS: dict[str, Literal["mlx", "peft"]] = {"local": "mlx", "torch": "peft"}  # of the adapters that each takes


def open_generator(backend: str, source: ModelSource, **options: Any) -> Generator:
    """`options` are those of `backends.openai`. Raises MissingExtraError where the packages are absent."""
    if backend == EMBEDDED:
        return EmbeddedGenerator(source.adapter)
    _require(backend)
    opened: Callable[..., Generator] = importlib.import_module(BACKENDS[backend].module).open_generator
    return opened(source, **options)


def fetch_weights(backend: str, source: ModelSource) -> None:
    """What a model on this machine needs from the hub, before anything is drawn over the bars of the hub's library."""
    if backend in _FORMS:
        _require(backend)
        find_weights(source, backend, _FORMS[backend])


def _require(backend: str) -> None:
    if missing := BACKENDS[backend].missing_packages():
        raise MissingExtraError(missing[0], BACKENDS[backend].extra)


def answers(
    generator: Generator, prompts: Sequence[Prompt], sampling: Sampling, stop: Stop
) -> Iterator[tuple[int, Generated, float]]:
    """The place of each prompt and its answer, with the seconds that were waited for it. Ends where `stop` asks, and
    asks itself where nothing more can be paid for."""
    found = generator.generate(prompts, sampling)
    try:
        while not stop.asked:
            began = time.perf_counter()
            try:
                place, answer = next(found)
            except StopIteration:
                return
            except (QuotaError, SpendCapError) as exc:
                stop.ask(exc)
                return
            yield place, answer, time.perf_counter() - began
    finally:
        if close := getattr(found, "close", None):
            close()


class EmbeddedGenerator:
    """The engine of `scc compress` for the last message of a prompt, all of which is text. Deterministic.

    `model` is a run of `scc train --backend extractive`.
    """

    def __init__(self, model: Path | None) -> None:
        self.name = EMBEDDED if model is None else f"{EMBEDDED}:{model}"
        self._model = model

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Generated]]:
        for place, prompt in enumerate(prompts):
            began = time.perf_counter()
            try:
                receipt = self._compress(prompt.messages[-1]["content"], prompt.max_tokens)
            except SccError as exc:
                yield place, Generated("", 0, 0, False, 0.0, error=str(exc))
                continue
            seconds = time.perf_counter() - began
            yield (
                place,
                Generated(receipt.compressed, receipt.tokens_in, receipt.tokens_out, False, seconds, cost_usd=0.0),
            )

    def _compress(self, text: str, most: int) -> Receipt:
        receipt = compress(text, model=self._model)
        return receipt if receipt.tokens_out <= most else compress(text, model=self._model, max_tokens=most)

    def close(self) -> None:
        pass
