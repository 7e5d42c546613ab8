"""The rows and receipts that travel between the parts, all frozen."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class FactStatus:
    """A fact of the original, at `start:end` in characters, and what became of it. In a chat, of its
    JSON, where `text` may be written with escapes.

    `changed`: something of its type stands in its place with another meaning, which is `found`.
    """

    kind: str
    type: str
    text: str
    start: int
    end: int
    status: Literal["kept", "changed", "lost"]
    found: str | None = None


@dataclass(frozen=True, slots=True)
class FactReport:
    """In the order of the original."""

    facts: tuple[FactStatus, ...]

    @property
    def fidelity(self) -> float:
        """kept / all; 1.0 where there are no facts."""
        return _share_kept(self.facts)

    @property
    def by_kind(self) -> dict[str, float]:
        """Of the kinds that the original has facts of."""
        kinds = dict.fromkeys(fact.kind for fact in self.facts)
        return {kind: _share_kept([fact for fact in self.facts if fact.kind == kind]) for kind in kinds}

    def as_dict(self) -> dict[str, Any]:
        return {"fidelity": self.fidelity, "by_kind": self.by_kind, "facts": [asdict(fact) for fact in self.facts]}


def _share_kept(facts: Sequence[FactStatus]) -> float:
    return round(sum(fact.status == "kept" for fact in facts) / len(facts), 4) if facts else 1.0


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the text that had an engine of its own, and why: at `start:end`, in characters; in a chat at `path`."""

    start: int | None
    end: int | None
    domain: str
    engine: str
    why: str
    tokens_in: int
    tokens_out: int
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one compression did; the same object in Python, in `--json` and in a batch row.

    `ratio` is tokens_out / tokens_in and `savings` 1 - ratio. `rate` is the budget as a share of tokens_in.
    `exact` is False where the tokenizer can only be estimated here. `why` says what the choice of `domain` rests on.
    `level` is that of the code engine; `minified_tokens` are those of the same JSON minified, the honest baseline.
    `fidelity` is the share of `facts` kept. `seconds` is wall time. `map`, where asked for, is what `expand` needs.
    """

    compressed: str
    engine: str
    domain: str
    why: str
    tokenizer: str
    exact: bool
    tokens_in: int
    tokens_out: int
    ratio: float
    savings: float
    rate: float
    level: str | None
    minified_tokens: int | None
    blocks: tuple[Block, ...]
    fidelity: float
    fidelity_by_kind: dict[str, float]
    facts: tuple[FactStatus, ...]
    seconds: float
    warnings: tuple[str, ...]
    map: bytes | None = None

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON; a map is base64."""
        plain = asdict(self)
        plain |= {name: list(plain[name]) for name in ("blocks", "facts", "warnings")}
        return plain | {"map": self.map and b64encode(self.map).decode()}
