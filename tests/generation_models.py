"""Models that answer the rows of `training_jobs`, for the tests of what generates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiny_model import make_model
from training_jobs import make_job, texts, write_rows

from compressor_cli.core.generation import Generated, Generator, Prompt, Sampling
from compressor_cli.core.training import Launch
from compressor_cli.settings import LocalSettings, TorchSettings

ROWS = 12
_SETTINGS: dict[str, Any] = {
    "steps": 60, "batch_size": 6, "gradient_accumulation": 1, "learning_rate": 1e-2, "rank": 8, "max_seq_length": 128,
    "gradient_checkpointing": False,
}  # fmt: skip
GREEDY = Sampling()


def make_base(folder: Path) -> Path:
    return make_model(folder, [text for pair in texts() for text in pair])


def train_local(base: Path, folder: Path, **settings: Any) -> Path:
    from compressor_cli.backends.mlx import conduct_here

    job = make_job("local", LocalSettings(num_layers=-1, **_SETTINGS, **settings), base, write_rows(folder, ROWS, 0))
    conduct_here(job, {"folder": folder / "run"}, lambda event: None)
    return folder / "run"


def train_torch(base: Path, folder: Path, **settings: Any) -> Path:
    from compressor_cli.backends.torch import conduct

    job = make_job("torch", TorchSettings(model=str(base), **_SETTINGS, **settings), base, write_rows(folder, ROWS, 0))
    conduct(job, Launch(folder / "run"))
    return folder / "run"


def wordy(count: int = ROWS) -> list[str]:
    return [text for text, _ in texts(count)]


def short(count: int = ROWS) -> list[str]:
    return [text for _, text in texts(count)]


def prompts(contents: Sequence[str], max_tokens: int = 24, system: str | None = None) -> list[Prompt]:
    before = ({"role": "system", "content": system},) if system else ()
    return [Prompt((*before, {"role": "user", "content": content}), max_tokens) for content in contents]


def answers(generator: Generator, asked: Sequence[Prompt], sampling: Sampling = GREEDY) -> list[Generated]:
    """In the order of the prompts, each of which has exactly one."""
    found = list(generator.generate(asked, sampling))
    assert sorted(place for place, _ in found) == list(range(len(asked)))
    return [answer for _, answer in sorted(found, key=lambda item: item[0])]


def written(generator: Generator, asked: Sequence[Prompt], sampling: Sampling = GREEDY) -> list[str]:
    found = answers(generator, asked, sampling)
    assert [answer.error for answer in found] == [None] * len(asked)
    return [answer.text for answer in found]
