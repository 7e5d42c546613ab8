"""The rows and receipts that travel between the parts, all frozen."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class ChatMessage:
    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question to a model, the same for every provider: all that changes the answer, but for the model.

    `schema` is the JSON schema of an object that the answer has to be; `schema_name` is what providers call it.
    `sample` is never sent: it tells apart equal requests that are to have answers of their own.
    What a provider cannot honour (Anthropic's newer models take no `temperature`, nor any `seed`) it says once;
    `top_p` is for servers that speak OpenAI's interface.
    """

    messages: tuple[ChatMessage, ...]
    system: str | None = None
    max_tokens: int = 4096
    temperature: float | None = None
    seed: int | None = None
    top_p: float | None = None
    schema: Mapping[str, Any] | None = None
    schema_name: str = "answer"
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """As the provider counted; `cache_read` and `cache_write` are parts of `input_tokens`."""

    input_tokens: int
    output_tokens: int
    cache_read: int = 0
    cache_write: int = 0


@dataclass(frozen=True, slots=True)
class ChatReply:
    """`model` and `request_id` are the provider's own. `cached`: from the response cache on this machine, at no cost;
    `usage` and `seconds` are then those of the first time.

    `cost_usd` is None where the price is unknown. `stop`: `end` (complete), `length` (cut), `refusal`, or `other`.
    """

    text: str
    model: str
    request_id: str | None
    stop: Literal["end", "length", "refusal", "other"]
    usage: Usage
    seconds: float
    cost_usd: float | None = None
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """A text to make a pair from: `id` hashes where it comes from and what it says.

    `source` begins with the name of the folder that was named. `start:end` are characters of the file, in code with its
    indentation, which `text` has not; in a chat file they are messages of the conversation on `line`. `language` is
    that of a program; of a text it is not known. `licence` is an SPDX expression where a file says it. `redacted`
    counts what is masked, by type.
    """

    id: str
    text: str
    domain: str
    language: str | None
    source: str
    line: int
    start: int
    end: int
    licence: str | None
    title: str | None
    tokens: int
    redacted: Mapping[str, int]

    def as_row(self) -> dict[str, Any]:
        """A row of a journal."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return {"id": self.id, "key": self.id, **plain, "redacted": dict(self.redacted)}


@dataclass(frozen=True, slots=True)
class Pair:
    """A row of training data: what training gets, and in `meta` all else that is known of it.

    In a file they are one flat object. In `meta`, where known: `id` and `key`; `source`, the document that it was made
    from, with `line` in a JSONL document; `source_id`, the text within it; `domain`, `category`, `language`, `stage`,
    `licence`; `original` and `compressed`.
    """

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] | None
    meta: Mapping[str, Any]

    def as_row(self) -> dict[str, Any]:
        chat = {"messages": list(self.messages)} | ({"tools": list(self.tools)} if self.tools else {})
        return {**self.meta, **chat}
