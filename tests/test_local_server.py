"""A real OpenAI-compatible server: `mlx_lm server` with a tiny model."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Scc

pytest.importorskip("mlx_lm")
pytest.importorskip("torch")
pytestmark = pytest.mark.slow

RECIPE = """
name: tiny
kind: compression
model: local:default_model
max_tokens: 48
output: {output}
prompts: {{prose: compress_prose}}
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def base_url(work: Path, processes: list[subprocess.Popen[bytes]]) -> str:
    from tiny_model import make_model

    make_model(work / "model")
    port = free_port()
    command = [sys.executable, "-m", "mlx_lm", "server", "--model", "model", "--host", "127.0.0.1", "--port", str(port)]
    log = (work / "server.log").open("wb")
    server = subprocess.Popen(command, env={**os.environ, "MLX_DISABLE_COMPILE": "1"}, stdout=log, stderr=log)
    log.close()
    processes.append(server)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return f"http://127.0.0.1:{port}/v1"
        time.sleep(0.2)
    raise AssertionError((work / "server.log").read_text())


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_local_server_is_a_teacher(output: str, base_url: str, scc: Scc, work: Path) -> None:
    """Random weights write nonsense, which the free checks reject; but each row is accounted for, at no cost."""
    texts = [f"The pump {n} is stopped above {n} bar, for its seals would not hold it any longer." for n in range(3)]
    (work / "corpus.jsonl").write_text("".join(json.dumps({"id": str(n), "text": t, "domain": "prose"}) + "\n"
                                               for n, t in enumerate(texts)))  # fmt: skip
    (work / "recipe.yaml").write_text(RECIPE.format(output=output))
    command = ["seed", "generate", "--recipe", "recipe.yaml", "--input", "corpus.jsonl", "--output", "pairs.jsonl",
               "--model", "local:default_model", "--base-url", base_url, "--budget-usd", "0", "--json"]  # fmt: skip
    done = scc(*command, "--limit", "2")
    assert done.exit_code in (0, 3), done.stderr
    (tally,) = json.loads(done.stdout)["categories"]
    assert tally["asked"] == 2 == tally["accepted"] + tally["rejected"] + tally["failed"] and tally["pending"] == 0
    rows = [json.loads(line) for line in (work / "pairs.jsonl").read_text().splitlines()]
    assert len({row["key"] for row in rows}) == 2
    answered = [row for row in rows if "error" not in row]
    assert answered, rows
    for row in answered:
        assert row["usage"]["input_tokens"] > 100 and 0 < row["usage"]["output_tokens"] <= 48
        assert row["cost_usd"] == 0 and row["model"] and row["seconds"] > 0
    again = scc(*command, "--resume")
    assert json.loads(again.stdout)["categories"][0]["asked"] == 3
