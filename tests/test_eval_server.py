"""`scc eval --backend openai` against a real server: `mlx_lm server` with a tiny model of random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Scc
from evaluating import rows_of

pytest.importorskip("mlx_lm")
pytest.importorskip("torch")
from test_local_server import base_url

__all__ = ["base_url"]  # a fixture
pytestmark = pytest.mark.slow


def test_a_model_of_a_server_is_measured_as_it_is(base_url: str, samples: Path, work: Path, scc: Scc) -> None:
    words = ["eval", "--backend", "openai", "--model", "default_model", "--base-url", base_url, "--data", samples,
             "--embeddings", "none", "--output", "eval/a.jsonl", "--max-tokens", "24", "--batch-size", "2"]  # fmt: skip
    first = scc(*words, "--limit", "2")
    assert first.exit_code == 0, first.stderr
    done = scc(*words, "--limit", "4", "--resume", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["measured"] == 4 and told["already_there"] == 2
    for row in rows_of(Path("eval/a.jsonl")):
        assert 0 < row["model_tokens_out"] <= 24 and row["model_tokens_in"] > row["tokens_in"]
        assert row["truncated"] == (row["model_tokens_out"] == 24)
        assert row["seconds"] > 0 and row["cost_usd"] == 0, "of a local server"
    other = [*words[: words.index("--output")], "--output", "eval/b.jsonl", *words[words.index("--max-tokens") :]]
    assert scc(*other, "--limit", "1").exit_code == 0
    greedy = [next(row["raw"] for row in rows_of(Path(f"eval/{name}.jsonl")) if row["line"] == 1) for name in "ab"]
    assert greedy[0] == greedy[1]
