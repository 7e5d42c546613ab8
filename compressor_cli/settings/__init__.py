"""The one settings tree, and the only reader of YAML and of the environment.

A value comes from a flag, else from `SCC_<SECTION>__<NAME>` in the environment, else from the YAML file named with
`--config`, else from the default in the class. API keys come from the environment or `.env` only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from compressor_cli.errors import UsageError
from compressor_cli.settings.names import (
    ENV_FILE,
    BoardSettings,
    Converter,
    Endpoints,
    Keys,
    World,
    key_origins,
    key_variables,
    load_board,
    load_converter,
    load_endpoints,
    load_keys,
    load_world,
    told,
    without_tinker_telemetry,
)
from compressor_cli.settings.sections import (
    DEFAULT_DATASET,
    BenchSettings,
    ChatSettings,
    CompressSettings,
    CorpusSettings,
    DataCheckSettings,
    EvalSettings,
    PullSettings,
    Section,
    ServeSettings,
    SpendSettings,
    SplitSettings,
    ValidationSettings,
)
from compressor_cli.settings.training import (
    LENGTHS,
    STAGE_KEYS,
    CloudSettings,
    ExtractiveSettings,
    LocalSettings,
    TorchSettings,
    TrainSection,
)

__all__ = [
    "DEFAULT_DATASET",
    "ENV_FILE",
    "LENGTHS",
    "PREFIX",
    "STAGE_KEYS",
    "BackendName",
    "BenchSettings",
    "BoardSettings",
    "ChatSettings",
    "CloudSettings",
    "CompressSettings",
    "Converter",
    "CorpusSettings",
    "DataCheckSettings",
    "Endpoints",
    "EvalSettings",
    "ExtractiveSettings",
    "Keys",
    "LocalSettings",
    "PullSettings",
    "Section",
    "ServeSettings",
    "Settings",
    "SpendSettings",
    "SplitSettings",
    "TorchSettings",
    "TrainSection",
    "ValidationSettings",
    "World",
    "key_origins",
    "key_variables",
    "load_board",
    "load_converter",
    "load_endpoints",
    "load_keys",
    "load_settings",
    "load_world",
    "read_yaml",
    "told",
    "without_tinker_telemetry",
]

PREFIX = "SCC_"
BackendName = Literal["local", "tinker", "torch", "extractive"]


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

    backend: BackendName | None = None
    hf_dataset: str = DEFAULT_DATASET
    compress: CompressSettings = CompressSettings()
    bench: BenchSettings = BenchSettings()
    pull: PullSettings = PullSettings()
    corpus: CorpusSettings = CorpusSettings()
    validation: ValidationSettings = ValidationSettings()
    local: LocalSettings = LocalSettings()
    cloud: CloudSettings = CloudSettings()
    torch: TorchSettings = TorchSettings()
    extractive: ExtractiveSettings = ExtractiveSettings()
    spend: SpendSettings = SpendSettings()
    split: SplitSettings = SplitSettings()
    chat: ChatSettings = ChatSettings()
    data_check: DataCheckSettings = DataCheckSettings()
    eval: EvalSettings = EvalSettings()
    serve: ServeSettings = ServeSettings()

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
        layers = _one_length_each([init, env_settings(), file])
        return tuple(InitSettingsSource(settings_cls, layer) for layer in layers)


def _one_length_each(layers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The length of training in the first layer that gives one hides those of the layers below it: `--epochs 1` is
    no contradiction to a file that says `steps: 500`."""
    kept: list[dict[str, Any]] = []
    given: set[str] = set()
    for layer in layers:
        left = dict(layer)
        for section, values in layer.items():
            if isinstance(values, Mapping) and not values.keys().isdisjoint(LENGTHS):
                if section in given:
                    left[section] = {name: value for name, value in values.items() if name not in LENGTHS}
                given.add(section)
        kept.append(left)
    return kept


def load_settings(config: Path | None = None, **flags: Any) -> Settings:
    """`flags` holds, by section, the values given on the command line, or a value by itself; None means absent.

    Raises UsageError for an unknown key, a wrong value, or an `SCC_` variable that no setting has.
    """
    _refuse_unknown_variables()
    given = {
        section: {name: value for name, value in values.items() if value is not None}
        if isinstance(values, Mapping)
        else values
        for section, values in flags.items()
        if values is not None
    }
    try:
        sources: dict[str, Any] = {**given, "_yaml": _read_sections(config)}
        return Settings(**sources)
    except ValidationError as exc:
        problems = "; ".join(told(error) for error in exc.errors())
        raise UsageError(f"settings: {problems}") from None
    except SettingsError as exc:  # a list from the environment is JSON
        raise UsageError(f"settings: {exc}", hint='a list in an SCC_ variable is JSON: ["one", "two"]') from None


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
        if section in _sections() and values is not None and not isinstance(values, dict):
            raise UsageError(f"--config {path}: {section}: settings by name are needed")
    if "token" in (content.get("serve") or {}):
        raise UsageError(f"--config {path}: serve.token: a file of settings holds no keys", hint="SCC_SERVE__TOKEN")
    return {section: {} if values is None and section in _sections() else values for section, values in content.items()}


def _sections() -> dict[str, type[Section]]:
    annotations = {name: field.annotation for name, field in Settings.model_fields.items()}
    return {name: kind for name, kind in annotations.items() if isinstance(kind, type) and issubclass(kind, Section)}


def _refuse_unknown_variables() -> None:
    """pydantic-settings passes over a variable that fits no field; a typing error must not pass in silence."""
    sections = _sections()
    known = {f"{PREFIX}{section}__{name}".upper() for section, kind in sections.items() for name in kind.model_fields}
    known |= {f"{PREFIX}{name}".upper() for name in Settings.model_fields if name not in sections}
    for name in os.environ:
        base = "__".join(name.upper().split("__")[:2])
        if name.upper().startswith(PREFIX) and base not in known:
            raise UsageError(f"environment variable {name}: no such setting", hint="unset it, or see docs/cli.md")
