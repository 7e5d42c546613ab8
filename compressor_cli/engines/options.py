"""What a caller can ask of a compression, checked in one place, before any text is read."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from compressor_cli.core.domains import DOMAINS
from compressor_cli.core.facts import KINDS
from compressor_cli.core.tokens import DEFAULT_TOKENIZER
from compressor_cli.engines.code import LEVELS
from compressor_cli.errors import UsageError

ENGINES = ("auto", "prose", "code", "json")
PROTECTED = ",".join(kind for kind in KINDS if kind != "names")
KEPT_TURNS = 2
_FITTING = {"prose": ("prose", "mixed"), "code": ("code",), "json": ("json",)}  # domains an engine takes


@dataclass(frozen=True)
class Options:
    """The keywords of `compress`. Raises UsageError for values that make no sense, alone or together.

    `keep_last` is of turns for a chat, of sentences or lines for any other text. `filename` helps to tell code.
    """

    rate: float | None = None
    max_tokens: int | None = None
    tokenizer: str = DEFAULT_TOKENIZER
    engine: str = "auto"
    domain: str | None = None
    model: str | Path | None = None
    level: str | None = None
    query: str | None = None
    protect: str | Collection[str] = PROTECTED
    protect_pattern: Collection[str] = ()
    allow_loss: bool = False
    omission_marker: bool = False
    keep_first: int = 0
    keep_last: int | None = None
    stable_prefix: int = 0
    chat: bool = False
    filename: str | None = None

    def __post_init__(self) -> None:
        self._check_budget()
        _one_of("engine", self.engine, ENGINES)
        _one_of("domain", self.domain, DOMAINS)
        _one_of("level", self.level, LEVELS)
        if self.engine != "auto" and self.domain and self.domain not in _FITTING[self.engine]:
            raise UsageError(
                f"--engine {self.engine} does not fit --domain {self.domain}", hint="leave one of them out"
            )
        if self.level and (self.engine in ("prose", "json") or self.domain == "json"):
            raise UsageError("--level is for code, and for code in a document", hint="leave it out")
        if self.query is not None and not self.query.strip():
            raise UsageError("--query is empty")
        for name in ("keep_first", "keep_last", "stable_prefix"):
            if (getattr(self, name) or 0) < 0:
                raise UsageError(f"--{name.replace('_', '-')} {getattr(self, name)}: at least 0 is needed")
        if self.chat and (self.engine != "auto" or self.domain or self.keep_first or self.stable_prefix):
            raise UsageError("--chat takes no --engine, --domain, --keep-first or --stable-prefix")
        _ = self.kinds, self.patterns

    def _check_budget(self) -> None:
        if self.rate is not None and self.max_tokens is not None:
            raise UsageError("--rate and --max-tokens exclude each other", hint="give one of them")
        if self.rate is not None and not 0 < self.rate <= 1:
            raise UsageError(f"--rate {self.rate} is outside (0, 1]", hint="0.5 keeps at most half of the tokens")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise UsageError(f"--max-tokens {self.max_tokens}: at least 1 is needed")

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of facts that are protected."""
        given = self.protect.split(",") if isinstance(self.protect, str) else list(self.protect)
        names = [name.strip() for name in given if name.strip()]
        if names in (["all"], ["none"]):
            return KINDS if names == ["all"] else ()
        for name in names:
            if name not in KINDS:
                raise UsageError(f"--protect {name}: no such kind of fact", hint=f"{', '.join(KINDS)}, all or none")
        if not names:
            raise UsageError("--protect is empty", hint="none protects nothing")
        return tuple(kind for kind in KINDS if kind in names)

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        found = []
        if isinstance(self.protect_pattern, str):
            raise UsageError("protect_pattern takes a list of patterns")
        for pattern in self.protect_pattern:
            try:
                found.append(re.compile(pattern))
            except re.error as exc:
                raise UsageError(f"--protect-pattern {pattern!r}: {exc}") from None
        return tuple(found)


def _one_of(name: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise UsageError(f"unknown {name} {value!r}", hint=f"one of {', '.join(known)}")
