"""What a caller can ask of a compression, checked in one place, before any text is read."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, fields
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import Any, cast

from compressor_cli.core.domains import DOMAINS
from compressor_cli.core.facts.kinds import KINDS, kinds_of
from compressor_cli.core.tokens import DEFAULT_TOKENIZER
from compressor_cli.engines.code import LEVELS
from compressor_cli.engines.patterns import UserPattern
from compressor_cli.errors import UsageError

ENGINES = ("auto", "prose", "code", "json", "adapter")
BACKENDS = ("local", "torch", "tinker", "openai")
TASK_RATES = {
    "qa": 0.5,
    "code": 0.7,
    "chat": 0.4,
    "memory": 0.3,
}  # aims, as DEFAULT_RATE is: protected facts stretch them
DEFAULT_RATE = 0.5
PROTECTED = ",".join(kind for kind in KINDS if kind != "names")
KEPT_TURNS = 2
_FITTING = {"prose": ("prose", "mixed"), "code": ("code",), "json": ("json",)}  # domains an engine takes
_NUMBER, _WHOLE, _TEXT, _YES = (Real, "a number"), (Integral, "a whole number"), (str, "text"), (bool, "True or False")
_TEXTS = ((str, list, tuple, set, frozenset), "text or a list of texts")
_TYPES: dict[str, tuple[Any, str]] = {
    "rate": _NUMBER, "max_tokens": _WHOLE, "tokenizer": _TEXT, "engine": _TEXT, "domain": _TEXT,
    "model": ((str, Path), "the path of a folder"), "level": _TEXT, "query": _TEXT, "protect": _TEXTS,
    "protect_pattern": _TEXTS, "allow_loss": _YES, "omission_marker": _YES, "keep_first": _WHOLE, "keep_last": _WHOLE,
    "stable_prefix": _WHOLE, "chat": _YES, "adapter": ((str, Path), "the path of a folder"), "backend": _TEXT,
    "base_url": _TEXT, "adaptive": _YES, "task": _TEXT, "filename": _TEXT,
}  # fmt: skip


@dataclass(frozen=True)
class Options:
    """The keywords of `compress`. Raises UsageError for values that make no sense, alone or together.

    `keep_first` and `keep_last` are of turns for a chat, of lines for code, of sentences for any other text. `filename`
    helps to tell code. Kinds that `protect` names are protected where the default, None, gives way: in comments at a
    level that was asked for, and in times of folded log lines.

    `adapter` or `backend` name a trained model, which then writes the prose; `model` is its base, or its name on the
    server at `base_url`. `task` says what the text is for, `adaptive` guesses it; the rate is that of `TASK_RATES`.
    """

    rate: float | None = None
    max_tokens: int | None = None
    tokenizer: str = DEFAULT_TOKENIZER
    engine: str = "auto"
    domain: str | None = None
    model: str | Path | None = None
    level: str | None = None
    query: str | None = None
    protect: str | Collection[str] | None = None
    protect_pattern: str | Collection[str] = ()
    allow_loss: bool = False
    omission_marker: bool = False
    keep_first: int = 0
    keep_last: int | None = None
    stable_prefix: int = 0
    chat: bool = False
    adapter: str | Path | None = None
    backend: str | None = None
    base_url: str | None = None
    adaptive: bool = False
    task: str | None = None
    filename: str | None = None

    def __post_init__(self) -> None:
        self._check_types()
        self._check_budget()
        _one_of("engine", self.engine, ENGINES)
        _one_of("domain", self.domain, DOMAINS)
        _one_of("level", self.level, LEVELS)
        _one_of("task", self.task, tuple(TASK_RATES))
        self._check_adapter()
        if self.domain and self.domain not in _FITTING.get(self.engine, DOMAINS):
            raise UsageError(
                f"--engine {self.engine} does not fit --domain {self.domain}", hint="leave one of them out"
            )
        if self.level and (self.engine in ("prose", "json") or self.domain == "json"):
            other = f"--engine {self.engine}" if self.engine != "auto" else f"--domain {self.domain}"
            raise UsageError(f"--level is for code, and does not go with {other}", hint="leave one of them out")
        if self.query is not None and not self.query.strip():
            raise UsageError("--query is empty")
        for name in ("keep_first", "keep_last", "stable_prefix"):
            if (getattr(self, name) or 0) < 0:
                raise UsageError(f"{_flag(name)} {getattr(self, name)}: at least 0 is needed")
        if self.chat:
            for name in ("engine", "domain"):
                if getattr(self, name) not in ("auto", "adapter", None):
                    raise UsageError(
                        f"--chat and {_flag(name)} exclude each other", hint="each content gets the engine it needs"
                    )
        if isinstance(self.protect_pattern, str):
            object.__setattr__(self, "protect_pattern", (self.protect_pattern,))
        _ = self.kinds, self.patterns

    def _check_types(self) -> None:
        for field in fields(self):
            value, (wanted, told) = getattr(self, field.name), _TYPES[field.name]
            if value is None and field.default is None:
                continue
            right = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
            if right and isinstance(value, list | tuple | set | frozenset):
                right = all(isinstance(part, str) for part in value)
            if not right:
                raise UsageError(f"{field.name}: {told} is needed, this is {value!r:.60}")

    def _check_budget(self) -> None:
        if self.rate is not None and self.max_tokens is not None:
            raise UsageError("--rate and --max-tokens exclude each other", hint="give one of them")
        if self.rate is not None and not 0 < self.rate <= 1:
            raise UsageError(f"--rate {self.rate} is outside (0, 1]", hint="0.5 keeps at most half of the tokens")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise UsageError(f"--max-tokens {self.max_tokens}: at least 1 is needed")
        if self.is_adaptive and not (self.rate is None and self.max_tokens is None):
            given = "--rate" if self.max_tokens is None else "--max-tokens"
            told = "--task" if self.task else "--adaptive"
            raise UsageError(f"{told} and {given} exclude each other", hint=f"{told} chooses the rate")

    def _check_adapter(self) -> None:
        _one_of("backend", self.backend, BACKENDS)
        if self.engine not in ("auto", "adapter"):
            for name in ("adapter", "backend", "base_url"):
                if getattr(self, name) is not None:
                    raise UsageError(f"{_flag(name)} says nothing to --engine {self.engine}", hint="--engine adapter")
        if self.engine == "adapter" and not self.names_adapter:
            raise UsageError(
                "--engine adapter: which one?",
                hint="--adapter RUN; of a model on a server: --backend openai --model NAME --base-url URL",
            )
        if self.base_url is not None and self.backend not in ("openai", "tinker"):
            raise UsageError("--base-url is for --backend openai or tinker")
        if self.backend == "openai" and not (self.model and self.base_url):
            raise UsageError(
                "--backend openai needs --model, the name under which the server has it, and --base-url",
                hint="--base-url http://localhost:8080/v1",
            )

    @property
    def names_adapter(self) -> bool:
        """Whether a trained model is asked for; `auto` takes it where it is ready."""
        return self.adapter is not None or self.backend is not None

    @property
    def is_adaptive(self) -> bool:
        return self.adaptive or self.task is not None

    def task_of(self, domain: str) -> str | None:
        """What a text of this domain is for; None where the rate does not depend on it."""
        if not self.is_adaptive:
            return None
        guessed = "chat" if domain == "chat" else "qa" if self.query else "code" if domain == "code" else "memory"
        return self.task or guessed

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of facts that are protected."""
        return kinds_of(PROTECTED if self.protect is None else self.protect, "--protect")

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """With the one method of a pattern that finding facts takes."""
        return cast("tuple[re.Pattern[str], ...]", tuple(map(UserPattern, self.protect_pattern)))

    @property
    def pins(self) -> tuple[str, ...]:
        """The flags that were given of those that keep the ends of a text."""
        return tuple(_flag(name) for name in ("keep_first", "keep_last", "stable_prefix") if getattr(self, name))


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _one_of(name: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise UsageError(f"unknown {name} {value!r}", hint=f"one of {', '.join(known)}")
