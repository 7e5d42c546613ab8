"""The sections of the settings tree, but those of training."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

DEFAULT_DATASET = "Sudhendra/semantic-compression-sft"


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_RATES = (("rate",), ("max_tokens",), ("adaptive", "task"))  # of which one counts
_ADAPTER = ("adapter", "backend", "base_url")


class CompressSettings(Section):
    """The keywords of `compress`; None is not given, and the defaults stand in `engines.options`, as all checks do."""

    rate: float | None = None
    max_tokens: int | None = None
    tokenizer: str | None = None
    engine: str | None = None
    domain: str | None = None
    model: str | None = None
    level: str | None = None
    query: str | None = None
    protect: str | None = None
    protect_pattern: tuple[str, ...] | None = None
    allow_loss: bool | None = None
    omission_marker: bool | None = None
    keep_first: int | None = None
    keep_last: int | None = None
    stable_prefix: int | None = None
    chat: bool | None = None
    adapter: str | None = None
    backend: str | None = None
    base_url: str | None = None
    adaptive: bool | None = None
    task: str | None = None

    @field_validator("protect", mode="before")
    @classmethod
    def _joined(cls, kinds: Any) -> Any:
        """A list of kinds, as Python takes it."""
        listed = isinstance(kinds, list | tuple) and all(isinstance(kind, str) for kind in kinds)
        return ",".join(kinds) if listed else kinds

    @field_validator("protect_pattern", mode="before")
    @classmethod
    def _listed(cls, patterns: Any) -> Any:
        return (patterns,) if isinstance(patterns, str) else patterns

    def given(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True, warnings=False)  # of a wrong type: `engines.options` refuses it

    def overridden(self, given: Mapping[str, Any]) -> CompressSettings:
        """With `given`, which has more weight: a rate, or an engine, hides whatever else would choose it."""
        told = {name: value for name, value in given.items() if value is not None}
        hidden: set[str] = set()
        for group in _RATES:
            if any(told.get(name) for name in group):
                hidden |= {name for other in _RATES if other != group for name in other} - told.keys()
        if told.get("engine") in ("prose", "code", "json") and told.keys().isdisjoint(_ADAPTER):
            hidden.update(_ADAPTER)
            if self.adapter is not None or self.backend is not None:
                hidden |= {"model"} - told.keys()
        if isinstance(patterns := told.get("protect_pattern"), list):
            told["protect_pattern"] = tuple(patterns)
        return self.model_copy(update={**dict.fromkeys(hidden), **told})  # the checks stand in `engines.options`


class ServeSettings(Section):
    """`timeout` in seconds is for headers, for a body, and for a next request, `grace` for what is in work at the end.
    `concurrency` texts are in work at once; where `queue` are there, others are refused. The token is never in a file
    of settings.
    """

    host: str = "127.0.0.1"
    port: int = Field(8765, ge=0, le=65535)
    token: SecretStr | None = None
    token_file: Path | None = None
    max_bytes: int = Field(4_000_000, ge=1)
    timeout: float = Field(30, gt=0)
    grace: float = Field(30, ge=0)
    concurrency: int = Field(8, ge=1, le=256)
    queue: int = Field(64, ge=1)


class CorpusSettings(Section):
    """Sizes in tokens of `tokenizer`; `duplicates` is the similarity from which a text is one: 1 is for equal ones."""

    min_tokens: int = Field(64, ge=1)
    max_tokens: int = Field(1024, ge=1)
    tokenizer: str = "o200k_base"
    duplicates: float = Field(0.8, ge=0.1, le=1)
    redact: Literal["secrets", "pii"] | None = None
    max_bytes: int = Field(5_000_000, ge=1)

    @model_validator(mode="after")
    def _in_order(self) -> CorpusSettings:
        if self.min_tokens > self.max_tokens:
            raise ValueError("min_tokens is above max_tokens")
        return self


class BenchSettings(Section):
    """`rates` are the budgets for prose; `max_bytes` and `limit` say which texts, `query` goes with a question set."""

    rates: tuple[float, ...] = (0.7, 0.5, 0.33)
    max_bytes: int = Field(200_000, ge=1)
    limit: int | None = Field(None, ge=1)
    query: bool = False
    seed: int = Field(0, ge=0)

    @field_validator("rates")
    @classmethod
    def _within_bounds(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        if not rates or not all(0 < rate < 1 for rate in rates):
            raise ValueError("at least one rate is needed, each between 0 and 1")
        return tuple(dict.fromkeys(rates))


class PullSettings(Section):
    """`split` maps a split of the source to the name of the file it becomes, without `.jsonl`."""

    dataset: str = DEFAULT_DATASET
    revision: str | None = None
    output: Path = Path("data/sft")
    split: dict[str, str] | None = None
    streaming: bool = False
    skip_invalid: bool = False


class ValidationSettings(Section):
    """A pair passes where the lowest score of `models` reaches `threshold`.

    `judge` compares their answers: None is the first of the models, `none` leaves it to the metric.
    """

    models: tuple[str, ...] = ()
    judge: str | None = None
    tasks: tuple[Literal["qa", "reasoning", "code"], ...] = ("qa", "reasoning", "code")
    threshold: float = Field(0.8, ge=0, le=1)
    min_fidelity: float | None = Field(None, ge=0, le=1)
    embeddings: str | None = None


class SpendSettings(Section):
    """`budget_usd` is over the whole `ledger`, which is costs.jsonl beside the output where none is named."""

    budget_usd: Decimal | None = Field(None, ge=0)
    prices: Path | None = None
    allow_unpriced: bool = False
    ledger: Path | None = None


class SplitSettings(Section):
    """`ratios` are of train, valid and test. `group_by` is the field that names what stays together."""

    ratios: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = Field(0, ge=0)
    format: Literal["chat", "sharegpt", "alpaca", "preference", "text"] = "chat"
    tools: Literal["openai", "hf"] | None = None
    group_by: str | None = None


def _cache_folder() -> Path:
    """Where this platform keeps what can be made again."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "scc"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scc"


class ChatSettings(Section):
    """Models of providers. `base_url` is that of `local:` models; the others have theirs from `Endpoints`.

    `retry_after` is the longest wait that a provider can ask for, `retry_total` how long one request may be tried, both
    in seconds, and `timeout` how long one attempt may take. The oldest answers leave a cache of `cache_megabytes`.

    A batch is submitted when no request came for `batch_wait` seconds. It is looked at after `batch_poll` seconds, then
    less often, down to every `batch_poll_most`. A row that expired or was cancelled goes into `batch_attempts` batches
    at most. Before a batch is submitted again that may be there already, the provider has `batch_grace` seconds to
    show it.
    """

    base_url: str | None = None
    fallback: str | None = None
    concurrency: int = Field(8, ge=1, le=1000)
    timeout: float = Field(600, gt=0)
    attempts: int = Field(6, ge=1)
    retry_after: float = Field(120, gt=0)
    retry_total: float = Field(900, gt=0)
    batch_wait: float = Field(2, gt=0)
    batch_poll: float = Field(5, gt=0)
    batch_poll_most: float = Field(60, gt=0)
    batch_attempts: int = Field(3, ge=1)
    batch_grace: float = Field(30, gt=0)
    no_cache: bool = False
    cache_dir: Path | None = None
    cache_megabytes: int = Field(4096, ge=1)

    @property
    def cache_folder(self) -> Path:
        return self.cache_dir.expanduser() if self.cache_dir else _cache_folder() / "chat"


class DataCheckSettings(Section):
    """`model` has the tokenizer, `max_seq_length` is where rows are cut, `mask` says which answers are trained."""

    model: str | None = None
    max_seq_length: int = Field(2048, ge=2)
    mask: Literal["last", "all"] = "last"


class EvalSettings(Section):
    """What a model is asked with and held to. A text is given as many tokens to answer as it has, or `max_tokens`.

    `tokenizer` counts all tokens of the figures. A row passes where its fidelity, and its equivalence where `judge` is
    named, reach `threshold`. `embeddings` are those of `validation`; `none` compares by characters. `seed` is for
    sampling and for the intervals.
    """

    backend: Literal["local", "tinker", "torch", "openai", "embedded"] | None = None
    model: str | None = None
    tokenizer: str = "o200k_base"
    temperature: float = Field(0.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    batch_size: int = Field(8, ge=1)
    seed: int = Field(0, ge=0)
    judge: tuple[str, ...] = ()
    threshold: float = Field(0.8, ge=0, le=1)
    embeddings: str | None = None
