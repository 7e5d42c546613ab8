"""What a trained model is asked, and what it answers: the same on every backend.

A backend's module has `open_generator(source) -> Generator`; what it holds (a model in memory, connections) goes with
`close`. Prompts are messages, rendered by the model's own chat template as they were in training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class ModelSource:
    """`model` is the base, by name or folder; None takes that of the run `adapter`. `adapter` is a run folder or one of
    an adapter in the library's own format. `batch_size` prompts are in work at once."""

    model: str | None = None
    adapter: Path | None = None
    batch_size: int = 8
    base_url: str | None = None
    token: str | None = None


@dataclass(frozen=True)
class Prompt:
    messages: tuple[Mapping[str, Any], ...]
    max_tokens: int


@dataclass(frozen=True)
class Sampling:
    """A temperature of 0 takes the likeliest token each time."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Generated:
    """`text` as the model wrote it, special tokens apart. `truncated`: it ran into `max_tokens`. `seconds` from when
    the prompt was taken into work. With `error`, nothing else counts.
    `cost_usd` is None where no price is known."""

    text: str
    tokens_in: int
    tokens_out: int
    truncated: bool
    seconds: float
    error: str | None = None
    cost_usd: float | None = None


class Generator(Protocol):
    """`name` says which model, for records."""

    name: str

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Generated]]:
        """The place of a prompt and its answer, as each is done; every place comes once."""
        ...

    def close(self) -> None: ...
