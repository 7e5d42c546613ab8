"""`scc doctor` tells what is there, how to get what is not, and never a key."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import REPO, Scc

import compressor_cli
from compressor_cli.backends import BACKENDS
from compressor_cli.stages import doctor

KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "TINKER_API_KEY", "HF_TOKEN")


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that has the base package and no extra."""
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: real(name) if name in doctor.BASE_PACKAGES else None)
    for name, backend in BACKENDS.items():
        bare = type(backend)(backend.module, backend.extra, ("no_such_package",), backend.purpose)
        monkeypatch.setitem(BACKENDS, name, bare)


def findings(scc: Scc) -> dict[str, dict[str, Any]]:
    run = scc("doctor", "--json")
    assert (run.exit_code, run.stderr) == (0, "")
    return {finding["name"]: finding for finding in json.loads(run.stdout)["findings"]}


def test_json_has_versions_disk_and_every_part(scc: Scc) -> None:
    report = json.loads(scc("doctor", "--json").stdout)
    assert report["disk_free_bytes"] > 0
    assert report["versions"]["compressor-cli"] == compressor_cli.__version__
    assert report["versions"]["typer"]
    names = {finding["name"] for finding in report["findings"]}
    assert names >= {*BACKENDS, *doctor.EXTRAS, "tokenizers", "embedded model", "disk", "python"}
    assert {"ANTHROPIC_API_KEY", "GEMINI_API_KEY or GOOGLE_API_KEY", "HF_TOKEN"} <= names


def test_the_base_install_compresses(scc: Scc) -> None:
    found = findings(scc)
    assert found["embedded model"]["ok"], found["embedded model"]
    assert found["tokenizers"]["ok"], found["tokenizers"]


@pytest.mark.usefixtures("nothing_installed")
def test_each_gap_has_its_command(scc: Scc) -> None:
    found = findings(scc)
    for name, extra in {**{name: backend.extra for name, backend in BACKENDS.items()}, "data": "data"}.items():
        assert not found[name]["ok"]
        assert found[name]["fix"] == f"pip install 'compressor-cli[{extra}]'"
    assert found["HF_TOKEN"]["fix"] == "export HF_TOKEN=..."
    assert found["GEMINI_API_KEY or GOOGLE_API_KEY"]["fix"] == "export GEMINI_API_KEY=..."


@pytest.mark.usefixtures("nothing_installed")
def test_the_table_fits_80_columns_and_its_commands_are_whole(scc: Scc) -> None:
    run = scc("doctor")
    assert (run.exit_code, run.stderr) == (0, "")
    lines = [line.rstrip() for line in run.stdout.splitlines()]
    assert max(map(len, lines)) <= 80
    assert all(any(line.endswith(f"$ pip install 'compressor-cli[{x}]'") for line in lines) for x in doctor.EXTRAS)
    assert any(line.endswith("$ export ANTHROPIC_API_KEY=...") for line in lines)


def test_no_key_is_ever_shown(scc: Scc, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (work / ".env").write_text("TINKER_API_KEY=tml-geheim\n")
    for name in KEYS:
        if name != "TINKER_API_KEY":
            monkeypatch.setenv(name, f"geheim-{name}")
    for run in (scc("doctor"), scc("doctor", "--json")):
        assert "geheim" not in run.stdout + run.stderr
    found = findings(scc)
    assert found["OPENAI_API_KEY"]["detail"] == "present, from environment"
    assert found["TINKER_API_KEY"]["detail"] == f"present, from {work / '.env'}"


def test_what_is_broken_is_told_and_the_exit_code_is_0(scc: Scc, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(text: str) -> None:
        raise RuntimeError("the model is torn")

    (work / ".env").write_bytes(b"\xff")
    monkeypatch.setenv("SCC_COMPRESS__RATES", "1")
    monkeypatch.setattr(compressor_cli, "compress", fail, raising=False)
    found = findings(scc)
    assert "the model is torn" in found["embedded model"]["detail"]
    assert "SCC_COMPRESS__RATES: no such setting" in found["settings"]["detail"]
    assert "cannot be read as UTF-8" in found["provider keys"]["detail"]
    assert not any(found[name]["ok"] for name in ("embedded model", "settings", "provider keys"))


def test_a_missing_model_is_told(scc: Scc, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressor_cli, "__file__", str(work / "__init__.py"))
    model = findings(scc)["embedded model"]
    assert not model["ok"]
    assert model["fix"] == "pip install --force-reinstall compressor-cli"


@pytest.mark.parametrize(
    ("source", "ok", "told"),
    [
        ("raise ImportError('libmlx.so: cannot open shared object file')", False, "libmlx.so"),
        ("import os; os.abort()", False, "ended with -6"),
        ("eval = ones = lambda x: 1\ndefault_device = lambda: 'Device(cpu, 0)'", True, "Device(cpu, 0)"),
    ],
)
def test_mlx_counts_when_it_loads(source: str, ok: bool, told: str, work: Path, scc_process: Scc) -> None:
    # A package that is there and cannot be imported is what `pip install mlx` leaves on a Linux without its backend.
    fake = work / "site"
    (fake / "mlx").mkdir(parents=True)
    (fake / "mlx_lm").mkdir()
    (fake / "mlx" / "__init__.py").touch()
    (fake / "mlx_lm" / "__init__.py").touch()
    (fake / "mlx" / "core.py").write_text(source)
    run = scc_process("doctor", "--json", env={"PYTHONPATH": f"{fake}{os.pathsep}{REPO}"})
    assert run.exit_code == 0
    local = {finding["name"]: finding for finding in json.loads(run.stdout)["findings"]}["local"]
    assert local["ok"] is ok
    assert told in local["detail"]
    assert (local["fix"] is None) is ok
