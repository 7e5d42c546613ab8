"""Answers of a model, as mlx-lm generates them in batches. Imports MLX.

What all prompts begin with, the system prompt most of all, is read once and kept for the calls that follow.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

import mlx.core as mx
from mlx_lm.generate import BatchGenerator
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.sample_utils import make_sampler
from mlx_lm.utils import load_adapters, load_model

from compressor_cli.core.chat_prompts import Encoded, chat_prompts
from compressor_cli.core.chat_tokenizer import load_chat_tokenizer
from compressor_cli.core.generation import Generated, Prompt, Sampling
from compressor_cli.core.model_source import Weights
from compressor_cli.core.models import one_line
from compressor_cli.errors import UsageError

_WORTH_KEEPING = 16  # tokens
_READ_AT_ONCE = 2048  # tokens of one prompt; mlx-lm's own default
_PREFILLED_AT_ONCE = 8  # prompts; likewise


class Answerer:
    """`batch_size` prompts are in work at once; when one is done, the next takes its place."""

    def __init__(self, weights: Weights, batch_size: int) -> None:
        self._prompts = chat_prompts(load_chat_tokenizer(str(weights.folder)))
        self._model = _load(weights)
        self._batch_size = batch_size
        self._shared: list[int] = []  # tokens that prompts begin with, and what the model made of them
        self._cache: list[Any] = []

    def answers(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Generated] | None]:
        """None after each step."""
        asked, refused = self._prompts.encode(prompts)
        yield from refused
        if not asked:
            return
        mx.random.seed(sampling.seed)
        batch = BatchGenerator(
            self._model,
            stop_tokens=[[token] for token in self._prompts.ends],
            sampler=make_sampler(sampling.temperature, sampling.top_p),
            completion_batch_size=self._batch_size,
            prefill_batch_size=min(self._batch_size, _PREFILLED_AT_ONCE),
        )
        try:
            yield from self._run(batch, asked)
        finally:
            batch.close()

    def _run(self, batch: Any, asked: Sequence[Encoded]) -> Iterator[tuple[int, Generated] | None]:
        shared = self._read_shared([one.tokens for one in asked])
        uids = batch.insert(
            [one.tokens[shared:] for one in asked],
            [one.max_tokens for one in asked],
            caches=[self._cache] * len(asked) if shared else None,  # copied into the batch
        )
        waiting, began = dict(zip(uids, asked, strict=True)), dict[int, float]()
        written: dict[int, list[int]] = {uid: [] for uid in uids}
        while waiting:
            now = time.perf_counter()
            read, stepped = batch.next()
            for one in read:
                began.setdefault(one.uid, now)
            for one in stepped:
                if one.finish_reason != "stop":
                    written[one.uid].append(one.token)
                if one.finish_reason:
                    prompt, seconds = waiting.pop(one.uid), time.perf_counter() - began[one.uid]
                    cut = one.finish_reason == "length"
                    answer = self._prompts.answer(prompt, written.pop(one.uid), truncated=cut, seconds=seconds)
                    yield prompt.place, answer
            yield None

    def _read_shared(self, prompts: list[list[int]]) -> int:
        """How many tokens the cache has that all prompts, and as a rule those of earlier calls, begin with."""
        common = _common([self._shared or prompts[0], *prompts])
        if len(common) < _WORTH_KEEPING:
            common = _common(prompts)
        common = common[: min(map(len, prompts)) - 1]  # each is left a token to go on from
        if len(common) < _WORTH_KEEPING:
            return 0
        if common != self._shared:
            cache = make_prompt_cache(self._model)
            for start in range(0, len(common), _READ_AT_ONCE):
                self._model(mx.array([common[start : start + _READ_AT_ONCE]]), cache=cache)
                mx.eval([layer.state for layer in cache])
            self._shared, self._cache = common, cache
        return len(common)


def _common(prompts: Sequence[list[int]]) -> list[int]:
    first, last = min(prompts), max(prompts)  # what these two begin with, all between them do
    same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return [token for token, _ in same]


def _load(weights: Weights) -> Any:
    try:
        model, _ = load_model(weights.folder)
    except Exception as exc:  # of a broken or unknown model the library raises anything
        raise UsageError(f"--model {weights.model}: mlx-lm cannot load it: {one_line(exc)}") from None
    if any(not hasattr(layer, "merge") for layer in make_prompt_cache(model)):
        raise UsageError(f"--model {weights.model}: mlx-lm cannot generate with it in batches")
    if weights.adapter:
        try:
            load_adapters(model, str(weights.adapter)).eval()
            mx.eval(model.parameters())
        except Exception as exc:
            raise UsageError(f"{weights.adapter} is no adapter of {weights.model}: {one_line(exc)}") from None
    return model
