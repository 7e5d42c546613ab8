"""What an engine made of a text, in one form for all."""

from __future__ import annotations

from dataclasses import dataclass

from compressor_cli.records import Block, FactStatus


@dataclass(frozen=True)
class Outcome:
    """What an engine made of a text. `budget` is the one it aimed at, in tokens. `breaks` are the line breaks before
    and behind what is left, where the first or the last line is gone."""

    engine: str
    compressed: str
    warnings: tuple[str, ...] = ()
    budget: int | None = None
    level: str | None = None
    minified: str | None = None
    blocks: tuple[Block, ...] = ()
    facts: tuple[FactStatus, ...] | None = None  # where they are not simply those of the two texts
    breaks: tuple[str, str] = ("", "")
