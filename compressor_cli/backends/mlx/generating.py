"""Generation with mlx-lm, in a child process: MLX ends its own where the GPU is out of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from compressor_cli.backends import BACKENDS
from compressor_cli.core.child_service import ChildService
from compressor_cli.core.generation import Generated, Generator, ModelSource, Prompt, Sampling
from compressor_cli.core.model_source import Weights, find_weights
from compressor_cli.errors import MissingExtraError

_LESS = "a smaller --batch-size needs less memory, and so does a smaller model"


def open_generator(source: ModelSource) -> Generator:
    """Raises UsageError or SccError for what is missing or cannot be loaded."""
    if missing := BACKENDS["local"].missing_packages():
        raise MissingExtraError(missing[0], "local")
    return _LocalGenerator(find_weights(source, "local", "mlx"), source.batch_size)


class _LocalGenerator:
    def __init__(self, weights: Weights, batch_size: int) -> None:
        self.name = weights.name
        args = (weights, batch_size)
        self._child = ChildService(f"{__name__}:answerer", args, purpose="generates", hint=_LESS)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Generated]]:
        return self._child.ask([Prompt(tuple(map(dict, one.messages)), one.max_tokens) for one in prompts], sampling)

    def close(self) -> None:
        self._child.close()


def answerer(weights: Weights, batch_size: int) -> Callable[..., Any]:
    """In the child."""
    from compressor_cli.backends.mlx import import_mlx, told_memory

    import_mlx()
    from compressor_cli.backends.mlx.answering import Answerer

    with told_memory(_LESS):
        opened = Answerer(weights, batch_size)

    def answers(prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Generated] | None]:
        with told_memory(_LESS):
            yield from opened.answers(prompts, sampling)

    return answers
