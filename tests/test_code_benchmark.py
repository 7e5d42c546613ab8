"""benchmarks/code_levels.py on a folder and programs of a test's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO

sys.path.insert(0, str(REPO / "benchmarks"))

import code_levels

DOCUMENTED = '"""Docs."""\n\ndef f(x):\n    """More docs."""\n    return "#" + x  # trailing\n'
ROW = {
    "prompt": 'def add(a, b):\n    """Sum.\n    """\n',
    "canonical_solution": "    return len('#' * a) + b  # counts\n",
    "test": "def check(candidate):\n    assert candidate(2, 3) == 5\n",
    "entry_point": "add",
}


def run_script(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPO / "benchmarks" / "code_levels.py"), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_script_counts_what_breaks(work: Path) -> None:
    (work / "files").mkdir()
    (work / "files" / "a.py").write_text(DOCUMENTED, encoding="utf-8")
    (work / "files" / "old.py").write_text("print 'Python 2'\n", encoding="utf-8")
    (work / "files" / "latin.py").write_bytes(b"x = '\xe9'\n")
    (work / "rows.jsonl").write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    out = work / "figures.json"
    done = run_script("--humaneval", work / "rows.jsonl", "--stdlib", work / "files", "--json", out)
    assert done.returncode == 0, done.stderr
    assert "scc --level compact" in done.stdout
    tables = json.loads(out.read_text(encoding="utf-8"))["tables"]
    assert [table["set"] for table in tables] == ["HumanEval", "files"]
    for table in tables:
        found = {row["system"]: row for row in table["systems"]}
        assert list(found) == list(code_levels.SYSTEMS)
        assert all(row["programs"] == 1 for row in found.values())
        for level in ("whitespace", "comments", "compact"):
            assert (found[level]["parse"], found[level]["same"], found[level]["lower"]) == (1, 1, 0)
        assert found["regex"]["parse"] == 0
        assert 0 < found["compact"]["left"] < found["comments"]["left"] < 1
    assert [row["broken"] for row in tables[0]["systems"]] == [1, 0, 0, 0, None]
    assert [row["broken"] for row in tables[1]["systems"]] == [None] * 5


def test_the_script_wants_something_to_run_on() -> None:
    done = run_script()
    assert done.returncode == 2
    assert "name --humaneval, --stdlib or both" in done.stderr


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("def f():\n    'a'\n    x\n", "def f(): x\n", True),
        ("def f():\n    'a'\n", "def f(): ...\n", True),
        ("'a'\nx\n", "x\n", True),
        ("def f():\n    x\n    'a'\n", "def f(): x\n", False),
        ("x = 'a'\n", "x = 'b'\n", False),
        ("if x:\n    y\nz\n", "if x:\n    y\n    z\n", False),
    ],
)
def test_trees_are_compared_without_docstrings(one: str, other: str, same: bool) -> None:
    assert code_levels.tree(one) is not None
    assert (code_levels.tree(one) == code_levels.tree(other)) is same


def test_what_does_not_parse_has_no_tree() -> None:
    assert code_levels.tree("def f(") is None
    assert code_levels.tree("x\0") is None
