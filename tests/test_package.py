"""The built wheel, installed by itself and run away from the source."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import REPO

import compressor_cli

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(REPO)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def scc_command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The console script in an environment that has nothing but the wheel; the packages it needs come by path."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index"]
    done = subprocess.run([*command, str(wheel)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    return folder / "bin" / "scc"


def run(scc: Path, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([scc, *args], input=stdin, capture_output=True, text=True, env=environment)


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    info = f"compressor_cli-{compressor_cli.__version__}.dist-info/"
    assert all(name.startswith(("compressor_cli/", info)) for name in names)
    assert {"compressor_cli/py.typed", "compressor_cli/cli/main.py"} <= set(names)
    assert any(name.startswith("compressor_cli/assets/") and name.endswith("model.json") for name in names)
    assert {f"compressor_cli/assets/recipes/{name}.yaml" for name in ("compression", "agentic-skills")} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".tmp")]
    assert wheel.stat().st_size < 25e6


def test_version_and_tokens(scc_command: Path) -> None:
    assert run(scc_command, "--version").stdout == f"scc {compressor_cli.__version__}\n"
    done = run(scc_command, "tokens", stdin="Hello, world!")
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")


def test_compress(scc_command: Path) -> None:
    text = "The committee, which had been meeting every week since January, finally decided to wait. " * 20
    done = run(scc_command, "compress", "--rate", "0.5", stdin=text)
    assert (done.returncode, done.stderr) == (0, "")
    assert 0 < len(done.stdout) < len(text)


def test_a_recipe_by_its_name(scc_command: Path, tmp_path: Path) -> None:
    command = ["seed", "generate", "--recipe", "agentic-skills", "--output", str(tmp_path / "rows.jsonl"), "--json"]
    done = run(scc_command, *command, "--dry-run", "--model", "embedded")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["categories"]) == 18


def test_doctor_finds_the_model(scc_command: Path) -> None:
    done = run(scc_command, "doctor", "--json")
    assert done.returncode == 0
    assert '"name": "embedded model", "ok": true' in done.stdout
