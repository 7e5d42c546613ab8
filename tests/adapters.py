"""What the tests of trained models share: a backend that says what a test scripts, and a run of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from compressor_cli.core.generation import Generated, ModelSource, Prompt, Sampling
from compressor_cli.core.runfiles import FORMAT
from compressor_cli.engines.adapter_model import close_model

SYSTEM, PREFIX = "Rewrite the text as densely as you can.", "Compress:\n"
Answer = Callable[[str, Prompt], str | Generated]


def said(words: str, **more: Any) -> Generated:
    return Generated(words, 60, 20, more.pop("truncated", False), 0.01, cost_usd=0.0, **more)


class ScriptedModel:
    """`answer` gets the text of a piece and the prompt; a text that it gives is what the model says.

    `batches` has the prompts of each call. Answers come in reversed order, as they may.
    """

    name = "scripted"

    def __init__(self) -> None:
        self.answer: Answer = lambda text, prompt: dense(text)
        self.batches: list[list[Prompt]] = []
        self.opened: list[ModelSource] = []
        self.threads: set[int] = set()
        self.closed = 0
        self.gate: threading.Event | None = None

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Generated]]:
        self.threads.add(threading.get_ident())
        self.batches.append(list(prompts))
        if self.gate is not None:
            assert self.gate.wait(20)
        for place in reversed(range(len(prompts))):
            found = self.answer(piece_of(prompts[place]), prompts[place])
            yield place, said(found) if isinstance(found, str) else found

    def close(self) -> None:
        self.closed += 1


def piece_of(prompt: Prompt) -> str:
    first = next(one["content"] for one in prompt.messages if one["role"] == "user")
    return str(first).removeprefix(PREFIX)


def again(prompt: Prompt) -> bool:
    """Whether this is a second request."""
    return bool(prompt.messages[-2]["role"] == "assistant")


def dense(text: str) -> str:
    """Without small words: a good answer."""
    small = {
        "the",
        "a",
        "an",
        "of",
        "that",
        "which",
        "was",
        "were",
        "is",
        "it",
        "and",
        "had",
        "been",
        "in",
        "there",
        "its",
    }
    return " ".join(word for word in text.split() if word.lower() not in small)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedModel]:
    scripted = ScriptedModel()

    def opened(backend: str, source: ModelSource, **more: Any) -> ScriptedModel:
        scripted.opened.append(source)
        return scripted

    monkeypatch.setattr("compressor_cli.engines.generators.open_generator", opened)
    close_model()
    yield scripted
    close_model()


def run_folder(path: Path, backend: str = "torch", **more: Any) -> Path:
    """As much of a run as its card."""
    path.mkdir(parents=True)
    card = {
        "format": FORMAT, "backend": backend, "state": "finished", "created": "2026-01-01T00:00:00+00:00",
        "sessions": [], "versions": {}, "model": "tiny", "prompt": {"system": SYSTEM, "prefix": PREFIX}, **more,
    }  # fmt: skip
    (path / "run.json").write_text(json.dumps(card))
    return path


@pytest.fixture
def run(work: Path) -> Path:
    return run_folder(work / "runs" / "one")


def paragraph(number: int) -> str:
    return (
        f"The pump number {number} of the harbour was not to be opened above {number + 2} bar before the council of "
        f"the town had agreed to it, which was on the {number % 27 + 1} March 2020. It was checked by the keeper of "
        f"the lighthouse on each of the days that followed, and there was a note of it in the book that is in the room."
    )


def document(count: int) -> str:
    return "\n\n".join(f"## Part {number}\n\n{paragraph(number)} {paragraph(number + 100)}" for number in range(count))
