"""Flag > environment > YAML > default; nothing unknown passes; no key is ever shown."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import pytest
from conftest import Scc

from compressor_cli import compress
from compressor_cli.engines.options import Options
from compressor_cli.errors import UsageError
from compressor_cli.settings import CompressSettings, key_origins, load_keys, load_settings


def test_precedence(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = work / "scc.yaml"
    config.write_text("compress: {tokenizer: from-yaml, model: from-yaml, engine: prose}\n")
    monkeypatch.setenv("SCC_COMPRESS__TOKENIZER", "from-env")
    monkeypatch.setenv("SCC_COMPRESS__MODEL", "from-env")
    settings = load_settings(config, compress={"tokenizer": "from-flag", "model": None}).compress
    assert settings.tokenizer == "from-flag"
    assert settings.model == "from-env"
    assert settings.engine == "prose"
    assert settings.rate is None
    assert load_settings().compress.engine is None


def test_sections_do_not_hide_each_other(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (work / "scc.yaml").write_text("pull: {split: {train: a}}\nextractive: {learning_rate: 1e-4}\n")
    monkeypatch.setenv("SCC_PULL__STREAMING", "true")
    settings = load_settings(Path("scc.yaml"), pull={"output": Path("x")})
    assert settings.pull.split == {"train": "a"}
    assert settings.pull.streaming is True
    assert settings.pull.output == Path("x")
    assert settings.extractive.learning_rate == 1e-4


@pytest.mark.parametrize("written", ["[numbers, names]", "'numbers, names'", '"numbers,names"'])
def test_kinds_are_a_list_or_a_line(written: str, work: Path) -> None:
    (work / "c.yaml").write_text(f"compress: {{protect: {written}}}\n")
    assert Options(**load_settings(work / "c.yaml").compress.given()).kinds == ("numbers", "names")


@pytest.mark.parametrize("written", ["x+", "[x+]", "['x+']"])
def test_one_pattern_needs_no_list(written: str, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (work / "c.yaml").write_text(f"compress: {{protect_pattern: {written}}}\n")
    assert Options(**load_settings(work / "c.yaml").compress.given()).protect_pattern == ("x+",)
    monkeypatch.setenv("SCC_COMPRESS__PROTECT_PATTERN", "y+")
    assert load_settings(work / "c.yaml").compress.protect_pattern == ("y+",)


def test_the_settings_are_the_keywords_and_have_no_defaults() -> None:
    """A default stands once, in `Options`, and so does a check."""
    names = [field.name for field in dataclasses.fields(Options) if field.name != "filename"]
    assert list(CompressSettings.model_fields) == names
    assert CompressSettings().given() == {}
    parameters = inspect.signature(compress).parameters
    assert all(parameters[field.name].default == field.default for field in dataclasses.fields(Options))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{protect: [numbers, colours]}", "--protect colours: no such kind of fact"),
        ("{protect: 3}", "compress.protect: "),
        ("{protect_pattern: [1]}", "compress.protect_pattern.0: "),
        ("{engine: magic}", "unknown engine 'magic'"),
        ("{level: high}", "unknown level 'high'"),
    ],
)
def test_a_wrong_setting_of_compress(content: str, message: str, work: Path, scc: Scc) -> None:
    (work / "c.yaml").write_text(f"compress: {content}\n")
    run = scc("compress", "--config", "c.yaml", stdin="Some text.")
    assert (run.exit_code, run.stdout) == (2, "")
    assert message in run.stderr


def test_settings_are_frozen() -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError, match="frozen"):
        load_settings().compress.rate = 0.1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nope: 1\n", "nope: no such setting"),
        ("compress: {nope: 1}\n", "compress.nope: no such setting"),
        ("_yaml: {compress: {rate: 1}}\n", "_yaml: no such setting"),
        ("compress: {rate: half}\n", "compress.rate: Input should be a valid number"),
        ("compress: 5\n", "compress: settings by name are needed"),
        ("- compress\n", "sections by name are needed"),
        ("1: 2\n", "sections by name are needed"),
        ("compress: [\n", "not YAML: while parsing"),
        ("compress: {rate: !!python/object/apply:os.getcwd []}\n", "not YAML: could not determine a constructor"),
        (b"compress: \xff\n", "not UTF-8"),
        (None, "No such file or directory"),
    ],
)
def test_a_wrong_config_is_a_usage_error(content: str | bytes | None, message: str, work: Path, scc: Scc) -> None:
    if content is not None:
        (work / "scc.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    run = scc("tokens", "--config", "scc.yaml", stdin="x")
    assert (run.exit_code, run.stdout) == (2, "")
    assert message in run.stderr
    assert run.stderr.startswith("error: ")


def test_an_empty_config_is_the_defaults(work: Path) -> None:
    for content in ("# nothing\n", "compress:\n"):
        (work / "scc.yaml").write_text(content)
        assert load_settings(work / "scc.yaml") == load_settings()


@pytest.mark.parametrize("name", ["SCC_COMPRESS__RATES", "SCC_RATE", "SCC_", "scc_compress__tokeniser"])
def test_an_unknown_variable_is_a_usage_error(name: str, scc: Scc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    run = scc("tokens", stdin="x")
    assert (run.exit_code, run.stdout) == (2, "")
    assert f"error: environment variable {name}: no such setting\nhint: " in run.stderr


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCC_COMPRESS__RATE", "")
    assert load_settings().compress.rate is None


def test_keys_come_from_the_environment_then_dotenv(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (work / ".env").write_text("OPENAI_API_KEY=sk-file\nGEMINI_API_KEY=g-file\nUNRELATED=1\n")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-shell")
    keys = load_keys()
    assert keys.openai and keys.openai.get_secret_value() == "sk-shell"
    assert keys.google and keys.google.get_secret_value() == "g-file"
    assert keys.anthropic is None
    assert "sk-" not in repr(keys) + str(keys) + keys.model_dump_json()
    origins = key_origins()
    assert origins["OPENAI_API_KEY"] == "environment"
    assert origins["GEMINI_API_KEY or GOOGLE_API_KEY"] == str(work / ".env")
    assert origins["ANTHROPIC_API_KEY"] is None


def test_an_empty_key_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "")
    monkeypatch.setenv("GOOGLE_API_KEY", "g")
    keys = load_keys()
    assert keys.google and keys.google.get_secret_value() == "g"


def test_a_dotenv_that_is_no_text(work: Path) -> None:
    (work / ".env").write_bytes(b"OPENAI_API_KEY=\xff\n")
    with pytest.raises(UsageError, match=r"\.env cannot be read as UTF-8 text"):
        load_keys()
