"""`--engine adapter --backend tinker`: the real SDK against a double of its server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Scc

pytest.importorskip("tinker")

from test_generation_tinker import ANSWER, PATH, server
from tinker_double import TinkerServer
from tinker_fixtures import tokenizer

from compressor_cli.engines.adapter_model import close_model

__all__ = ["server", "tokenizer"]  # fixtures
TEXT = "The old harbour is a place that people like to visit when the weather is mild and the wind comes from the sea."


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    close_model()
    yield
    close_model()


def test_weights_that_tinker_keeps(server: TinkerServer, scc: Scc, work: Path) -> None:
    (work / "in.txt").write_text(TEXT)
    done = scc("compress", "--engine", "adapter", "--backend", "tinker", "--model", PATH, "--json", "in.txt")
    assert done.exit_code == 0, done.stderr
    receipt = json.loads(done.stdout)
    assert (receipt["engine"], receipt["compressed"]) == ("adapter", ANSWER)


def test_a_server_without_these_weights(server: TinkerServer, scc: Scc, work: Path) -> None:
    (work / "in.txt").write_text(TEXT)
    server.states.clear()
    words = ["compress", "--backend", "tinker", "--model", PATH, "--json", "in.txt"]
    refused = scc(*words, "--engine", "adapter")
    assert refused.exit_code in (1, 2) and "Traceback" not in refused.stderr
    receipt = json.loads(scc(*words).stdout)
    assert receipt["engine"] == "prose" and any("not ready" in told or "took" in told for told in receipt["warnings"])
