"""The documentation says what the program does."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import REPO

GENERATOR = REPO / "docs" / "generate_cli.py"


@pytest.mark.parametrize("columns", ["40", "200"])
def test_cli_page_is_fresh_at_any_width(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    done = subprocess.run([sys.executable, str(GENERATOR), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_command_stands_in_the_cli_page() -> None:
    text = (REPO / "docs" / "cli.md").read_text(encoding="utf-8")
    for command in ("scc compress", "scc tokens", "scc data pull", "scc train", "scc doctor"):
        assert f"\n## {command}\n" in text
    assert "`SCC_COMPRESS__RATE`" in text
