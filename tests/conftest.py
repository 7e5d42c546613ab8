"""An empty environment for every test, and two ways to run `scc`: in this process and as a real one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

REPO = Path(__file__).resolve().parents[1]

# The same examples on every machine; the database would land in whatever folder a test is in.
hypothesis.settings.register_profile(
    "fixed",
    derandomize=True,
    deadline=None,
    database=None,
    # pytest gives one temporary folder to all examples of a test; these tests make their own inside it.
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("fixed")

# A shell that starts the tests in the background has them ignore SIGINT, and every child would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What a person's shell may hold and a test must not see.
_PRIVATE = ("SCC_", "HF_", "XDG_", "PYTHON", "TRANSFORMERS_", "TB_", "GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS")
_PRIVATE_ENDS = ("_API_KEY", "_BASE_URL", "_TOKEN", "_proxy", "_PROXY")
_FIXED = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "NO_COLOR": "1",
    "COLUMNS": "80",
    "TERM": "dumb",
    "LANG": "C.UTF-8",
    "PYTHONPATH": str(REPO),
}


@dataclass(frozen=True)
class Run:
    """`raw` is stdout as bytes, for tests that count them."""

    exit_code: int
    stdout: str
    stderr: str
    raw: bytes = b""


Scc = Callable[..., Run]


@pytest.fixture(autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a working directory of the test's own, and no settings or keys of the person who runs it."""
    for name in list(os.environ):
        if name.startswith(_PRIVATE) or name.endswith(_PRIVATE_ENDS):
            monkeypatch.delenv(name)
    for name, value in _FIXED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    folder = tmp_path_factory.mktemp("work")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def work(clean_environment: Path) -> Path:
    """The working directory of the test."""
    return clean_environment


@pytest.fixture
def samples() -> Path:
    return REPO / "configs" / "samples"


@pytest.fixture
def scc() -> Scc:
    """`scc("tokens", "-", stdin="text")` in this process. An exception that is a bug is raised, not reported."""

    def run(*args: str | Path, stdin: str | bytes | None = None) -> Run:
        from typer.testing import CliRunner

        from compressor_cli.cli.main import app

        words = [str(arg) for arg in args]
        result = CliRunner().invoke(app, words, input=stdin, catch_exceptions=False)
        return Run(result.exit_code, result.stdout, result.stderr, result.stdout_bytes)

    return run


@pytest.fixture
def scc_process(work: Path) -> Scc:
    """The same as a process of its own, with a real exit code, real pipes and a cold start."""

    def run(
        *args: str | Path,
        stdin: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> Run:
        done = subprocess.run(
            [sys.executable, "-m", "compressor_cli", *map(str, args)],
            input=stdin.encode() if isinstance(stdin, str) else stdin or b"",
            capture_output=True,
            env={**os.environ, **(env or {})},
            timeout=timeout,
        )
        out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        return Run(done.returncode, out, err, done.stdout)

    return run


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes appended here do not outlive the test."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
