"""`--engine adapter` with real libraries: what a tiny model of random weights writes is never taken for an answer."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from adapters import document
from conftest import Scc
from test_serve import ask, metric, serving
from tiny_model import make_model

from compressor_cli import check_facts

pytest.importorskip("mlx_lm")
pytest.importorskip("torch")
pytestmark = pytest.mark.slow


@pytest.fixture
def tiny(work: Path) -> Path:
    return make_model(work / "model")


@pytest.mark.parametrize("backend", ["local", "torch"])
def test_a_real_model_is_asked_and_checked(backend: str, tiny: Path, work: Path, scc_process: Scc) -> None:
    (work / "in.md").write_text(document(2))
    words = ["compress", "--engine", "adapter", "--backend", backend, "--model", tiny, "--rate", "0.7", "in.md"]
    done = scc_process(*words, "--json")
    assert done.exit_code == 0, done.stderr
    receipt = json.loads(done.stdout)
    assert receipt["tokens_out"] <= 0.7 * receipt["tokens_in"] and "ran away" in receipt["warnings"][0]
    facts = check_facts(document(2), receipt["compressed"], kinds="numbers,negation,urls,code").facts
    assert facts and all(fact.status == "kept" for fact in facts)


def test_a_real_model_stays_in_memory(tiny: Path) -> None:
    with serving("--engine", "adapter", "--backend", "local", "--model", str(tiny)) as (process, port):
        for _ in range(2):
            status, receipt, _ = ask(port, "POST", "/compress", {"text": document(1)})
            assert status == 200 and receipt["tokens_out"] < receipt["tokens_in"]
        assert metric(ask(port, "GET", "/metrics")[1], "scc_batches_total") == 2, "what was asked is remembered"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
