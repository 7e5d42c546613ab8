"""One boundary: what a person sees, and the exit code, for every way in which a command can end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from conftest import Run, Scc
from typer.testing import CliRunner

from compressor_cli.cli.main import Boundary
from compressor_cli.errors import (
    BudgetTooSmallError,
    MissingExtraError,
    PartialError,
    SccError,
    UsageError,
    install_command,
)


def run_body(body: Callable[[], None]) -> Run:
    app = typer.Typer(cls=Boundary)
    app.command("go")(body)
    app.command("other")(lambda: None)
    result = CliRunner().invoke(app, ["go"], catch_exceptions=False)
    return Run(result.exit_code, result.stdout, result.stderr)


@pytest.mark.parametrize(
    ("error", "code", "stderr"),
    [
        (SccError("it failed"), 1, "error: it failed\n"),
        (UsageError("wrong", hint="do this"), 2, "error: wrong\nhint: do this\n"),
        (
            MissingExtraError("trl", "torch"),
            2,
            f"error: this needs the package 'trl', which is not installed\nhint: {install_command('torch')}\n",
        ),
        (PartialError("2 rows failed"), 3, "error: 2 rows failed\n"),
        (BudgetTooSmallError("12 tokens are needed", 12), 100, "error: 12 tokens are needed\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (PermissionError(13, "Permission denied", "out.txt"), 1, "error: out.txt: Permission denied\n"),
        (OSError(28, "No space left on device"), 1, "error: No space left on device\n"),
        (SystemExit(143), 143, ""),
        (typer.Exit(5), 5, ""),
    ],
)
def test_how_a_command_ends(error: BaseException, code: int, stderr: str) -> None:
    def body() -> None:
        raise error

    assert run_body(body) == Run(code, "", stderr)


def test_a_bug_keeps_its_traceback() -> None:
    def body() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_body(body)


def test_a_traceback_shows_no_locals(work: Path) -> None:
    script = (
        "import compressor_cli.core.tokens as t\n"
        "def broken(name):\n    key = 'geh' + 'eim'\n    raise ZeroDivisionError\n"
        "t.token_counter = broken\n"
        "from compressor_cli.cli.main import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "tokens"], input="x", capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "geheim" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    "arguments", [("--nope",), ("nope",), ("tokens", "--nope"), ("tokens", "--tokenizer")], ids=" ".join
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...], scc: Scc) -> None:
    run = scc(*arguments)
    assert (run.exit_code, run.stdout) == (2, "")
    assert "Error" in run.stderr


def test_version(scc_process: Scc) -> None:
    import compressor_cli

    run = scc_process("--version")
    assert run == Run(0, f"scc {compressor_cli.__version__}\n", "", run.raw)


def start(*args: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "compressor_cli", *args]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize(
    ("number", "code", "stderr"), [(signal.SIGTERM, 143, b"terminated\n"), (signal.SIGINT, 130, b"interrupted\n")]
)
def test_signals(number: int, code: int, stderr: bytes, work: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    # A FIFO tells when the command is reading: opening the writing end waits for the reader.
    os.mkfifo(work / "in")
    process = start("tokens", "in")
    processes.append(process)
    with open(work / "in", "wb") as handle:
        handle.write(b"some text")
        handle.flush()
        time.sleep(0.5)  # a signal just before the next read would wait for that read to end
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (code, b"", stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ("tokens", *["in"] * 20_000),
        ("tokens", "in"),
        ("tokens", "--json", "in"),
        ("doctor",),
        ("tokens", "--help"),
        ("--help",),
        ("--version",),
    ],
    ids=lambda arguments: " ".join(arguments[:3]),
)
def test_a_closed_pipe_is_141_without_noise(
    arguments: tuple[str, ...], work: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    (work / "in").write_text("x")
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "compressor_cli", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writing, stderr=subprocess.PIPE)
    processes.append(process)
    os.close(writing)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, b"")


def test_a_closed_stdout_is_told() -> None:
    command = [sys.executable, "-m", "compressor_cli", "--version"]
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "error: stdout is closed\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told() -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "compressor_cli", "tokens"]
        done = subprocess.run(command, input=b"x", stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, b"error: No space left on device\n")
