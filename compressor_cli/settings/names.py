"""Settings under names that are not ours: keys of providers, their URLs, and TensorBoard's variables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from compressor_cli.errors import UsageError

ENV_FILE = ".env"
_OWN_NAMES = SettingsConfigDict(
    env_file=ENV_FILE, env_file_encoding="utf-8", extra="ignore", frozen=True, env_ignore_empty=True
)


class Endpoints(BaseSettings):
    """Base URLs of providers, under the names that their own SDKs read."""

    model_config = _OWN_NAMES

    anthropic: str | None = Field(None, validation_alias="ANTHROPIC_BASE_URL")
    openai: str | None = Field(None, validation_alias="OPENAI_BASE_URL")
    google: str | None = Field(None, validation_alias="GOOGLE_GEMINI_BASE_URL")
    tinker: str | None = Field(None, validation_alias="TINKER_BASE_URL")


class BoardSettings(BaseSettings):
    """The TensorBoard program, under the names that other trainers read. `auto` starts it without `--tensorboard`."""

    model_config = _OWN_NAMES

    auto: bool = Field(False, validation_alias="TB_AUTO")
    host: str = Field("127.0.0.1", validation_alias="TB_HOST")
    port: int = Field(6006, ge=1, le=65535, validation_alias="TB_PORT")


class Converter(BaseSettings):
    """A clone of llama.cpp, which has the converter to GGUF."""

    model_config = _OWN_NAMES

    llama_cpp: Path | None = Field(None, validation_alias="LLAMA_CPP_DIR")


class World(BaseSettings):
    """The processes that train together, as torchrun and its like tell each of them."""

    model_config = _OWN_NAMES

    rank: int = Field(0, ge=0, validation_alias="RANK")
    local_rank: int = Field(0, ge=0, validation_alias="LOCAL_RANK")
    size: int = Field(1, ge=1, validation_alias="WORLD_SIZE")


class Keys(BaseSettings):
    """Provider keys under the names their own tools use; never written anywhere."""

    model_config = _OWN_NAMES

    anthropic: SecretStr | None = Field(None, validation_alias="ANTHROPIC_API_KEY")
    openai: SecretStr | None = Field(None, validation_alias="OPENAI_API_KEY")
    google: SecretStr | None = Field(None, validation_alias=AliasChoices("GEMINI_API_KEY", "GOOGLE_API_KEY"))
    local: SecretStr | None = Field(None, validation_alias="LOCAL_API_KEY")
    tinker: SecretStr | None = Field(None, validation_alias="TINKER_API_KEY")
    huggingface: SecretStr | None = Field(None, validation_alias="HF_TOKEN")


def load_keys() -> Keys:
    return _load(Keys)


def load_endpoints() -> Endpoints:
    return _load(Endpoints)


def load_board() -> BoardSettings:
    return _load(BoardSettings)


def load_converter() -> Converter:
    return _load(Converter)


def load_world() -> World:
    return _load(World)


OwnNames = TypeVar("OwnNames", Keys, Endpoints, BoardSettings, Converter, World)


def _load(settings: type[OwnNames]) -> OwnNames:
    try:
        return settings()
    except (UnicodeDecodeError, OSError):
        raise UsageError(f"{ENV_FILE} cannot be read as UTF-8 text") from None
    except ValidationError as exc:
        raise UsageError("; ".join(told(error) for error in exc.errors())) from None


@contextmanager
def without_tinker_telemetry() -> Iterator[None]:
    """Tinker's SDK asks the environment, and nothing else, whether to report on its users when a client is made."""
    name = "TINKER_TELEMETRY"
    before = os.environ.get(name)
    os.environ[name] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


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
    what = "no such setting" if error["type"] == "extra_forbidden" else error["msg"].removeprefix("Value error, ")
    return f"{where}: {what}"
