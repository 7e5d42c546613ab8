"""The documentation says what the program does."""

from __future__ import annotations

import difflib
import doctest
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
from conftest import REPO
from loopback_models import answer
from provider_server import serving
from tiny_model import make_model, make_tokenizer

from compressor_cli.core.jsonl import read_rows
from compressor_cli.settings import LocalSettings

GENERATOR = REPO / "docs" / "generate_cli.py"


@pytest.mark.parametrize("columns", ["40", "200"])
def test_cli_page_is_fresh_at_any_width(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    done = subprocess.run([sys.executable, str(GENERATOR), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_command_stands_in_the_cli_page() -> None:
    text = (REPO / "docs" / "cli.md").read_text(encoding="utf-8")
    for command in (
        "compress",
        "expand",
        "check",
        "bench compress",
        "tokens",
        "data pull",
        "data corpus",
        "data split",
        "data check",
        "data stats",
        "seed generate",
        "validate",
        "costs",
        "runs list",
        "runs show",
        "runs plot",
        "train",
        "eval",
        "compare",
        "export",
        "serve",
        "doctor",
    ):
        assert f"\n## scc {command}\n" in text
    assert "`SCC_COMPRESS__RATE`" in text


PAGES = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
VOLATILE = re.compile(r"\d+(?:\.\d+)? (?:ms|s)\b|\b[0-9a-f]{12,}\b")


def blocks(language: str) -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for name, body in BLOCK.findall(page.read_text(encoding="utf-8")):
            if name == language:
                found.append((page.name, body))
    return found


def sessions() -> Iterator[tuple[str, str, str]]:
    """Page, command and the output shown for it, for each `$` line of the console blocks."""
    for page, body in blocks("console"):
        for part in re.split(r"^\$ ", body, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            yield page, command, output


@pytest.fixture
def shell(work: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """A shell in a folder that looks like a clone, with `scc` on its path."""
    (work / "bin").mkdir()
    (work / "bin" / "scc").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m compressor_cli "$@"\n')
    (work / "bin" / "scc").chmod(0o755)
    clone = work / "clone"
    clone.mkdir()
    for name in ("configs", "examples"):
        shutil.copytree(REPO / name, clone / name)

    def run(command: str) -> subprocess.CompletedProcess[str]:
        path = f"{work / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-c", command], cwd=clone, env={**os.environ, "PATH": path}, capture_output=True, text=True
        )

    return run


@pytest.mark.slow
def test_the_consoles_of_the_pages_run(shell: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
    """In order, in one folder. What is shown must be what is printed, up to times and the rounding of the model."""
    shown_any = False
    for page, command, shown in sessions():
        if command.startswith("make ") or page in ("data.md", "training.md"):  # which has a test of its own
            continue
        shown_any = _run(shell, page, command, shown) or shown_any
    assert shown_any


@pytest.mark.slow
def test_the_way_of_the_data_page_runs(
    shell: Callable[[str], subprocess.CompletedProcess[str]], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With models on the loopback in place of the real ones, and a tiny tokenizer under the name of a real one."""
    pytest.importorskip("sentence_transformers")
    make_tokenizer(work / "clone" / "Qwen" / "Qwen3-8B")
    with serving() as server:
        server.answer = answer
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        ran = [_run(shell, page, command, shown) for page, command, shown in sessions() if page == "data.md"]
    assert len(ran) >= 8 and any(ran)


@pytest.mark.slow
def test_the_consoles_of_the_training_page_run(
    shell: Callable[[str], subprocess.CompletedProcess[str]], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a tiny model under the name of the real one."""
    pytest.importorskip("mlx_lm")
    pytest.importorskip("torch")
    monkeypatch.setenv("MLX_DISABLE_COMPILE", "1")
    texts = [m["content"] for row in read_rows(REPO / "configs/samples/train.jsonl") for m in row["messages"]]
    make_model(work / "clone" / LocalSettings().model, texts)
    ran = [_run(shell, page, command, shown) for page, command, shown in sessions() if page == "training.md"]
    assert len(ran) >= 3 and all(ran)
    assert list((work / "clone/runs/first/adapter").glob("*.safetensors"))


def _run(shell: Callable[[str], subprocess.CompletedProcess[str]], page: str, command: str, shown: str) -> bool:
    """Whether the page shows any output of the command."""
    done = shell(command)
    assert done.returncode in (0, 3, 100), (page, command, done.stderr)
    printed = VOLATILE.sub("N", done.stdout + done.stderr)
    wanted = VOLATILE.sub("N", shown)
    alike = difflib.SequenceMatcher(None, wanted.split(), printed.split(), autojunk=False)
    matched = sum(block.size for block in alike.get_matching_blocks())
    assert matched >= 0.9 * len([word for word in wanted.split() if word != "..."]), (page, command, printed)
    return bool(shown.strip())


def test_the_make_targets_of_the_pages_exist() -> None:
    makefile = (REPO / "Makefile").read_text(encoding="utf-8")
    named = {name for page in PAGES for name in re.findall(r"(?:`|^\$ )make ([a-z-]+)", page.read_text(), re.M)}
    assert {"demo", "test"} <= named
    for name in named:
        assert re.search(rf"^{name}:.*## ", makefile, re.M), name


def test_the_python_of_the_pages_runs(work: Path) -> None:
    found = blocks("python")
    assert found
    for page, body in found:
        result = doctest.DocTestRunner().run(doctest.DocTestParser().get_doctest(body, {}, page, page, 0))
        assert result.attempted and not result.failed, page


@pytest.mark.parametrize("name", ["engines.compress", "engines.expand", "core.facts"])
def test_the_doctests_of_the_package_run(name: str) -> None:
    result = doctest.testmod(import_module(f"compressor_cli.{name}"))
    assert result.attempted and not result.failed
