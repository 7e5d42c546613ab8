"""Stages one after the other: the file, the plans, and (slow) a run that is stopped in each of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPO, Run
from tiny_model import make_model, make_tokenizer

from compressor_cli.core.jsonl import read_rows
from compressor_cli.errors import UsageError
from compressor_cli.stages.train.pipeline import read_pipeline

pytest.importorskip("transformers")

Scc = Callable[..., Run]


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [m["content"] for row in read_rows(REPO / "configs/samples/train.jsonl") for m in row["messages"]]
    return make_tokenizer(tmp_path_factory.mktemp("model"), texts)


@pytest.mark.parametrize("name", ["agentic-skills", "from-scratch"])
def test_the_shipped_pipelines_are_read(name: str) -> None:
    form = read_pipeline(REPO / "configs/stages" / f"{name}.yaml")
    assert len(form.stages) >= 3
    rates = [stage.settings["learning_rate"] for stage in form.stages]
    if name == "agentic-skills":
        assert rates == sorted(rates, reverse=True) and len({*rates}) == 3
        told = (form.settings["rank"], form.settings["batch_size"], form.settings["gradient_checkpointing"])
        assert told == (16, 2, True)
    else:
        assert [stage.name for stage in form.stages] == ["pretrain", "sft", "dpo", "distill"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stages: []", "stages"),
        ("backend: mxl\nstages: [{name: a}]", "backend is one of"),
        ("stages: [{name: a}, {name: a}]", "one name"),
        ("stages: [{name: ../a}]", "stages.0.name"),
        ("stages: [{name: a, where: {colour: [red]}}]", "stages.0.where.colour: no such setting"),
        ("stages: [{name: a, where: {share: 2}}]", "stages.0.where.share"),
        ("stage: [{name: a}]", "stage: no such setting"),
        ("- a", "sections by name"),
    ],
)
def test_a_wrong_file_is_refused(text: str, said: str, work: Path) -> None:
    (work / "s.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"--stages") as caught:
        read_pipeline(work / "s.yaml")
    assert said in str(caught.value)


def _skills(work: Path, samples: Path) -> Path:
    """The sample rows, as if half were of one stage and half of another."""
    folder = work / "skills"
    folder.mkdir()
    for name in ("train", "valid"):
        lines = (samples / f"{name}.jsonl").read_text().splitlines(keepends=True)
        (folder / f"{name}.jsonl").write_text("".join(lines))
        metas = [{"stage": "tools" if n % 2 else "skills", "domain": "prose"} for n in range(len(lines))]
        (folder / f"{name}.meta.jsonl").write_text("".join(json.dumps(meta) + "\n" for meta in metas))
    return folder


def test_a_plan_for_each_stage(tokenizer: Path, samples: Path, work: Path, scc: Scc) -> None:
    data = _skills(work, samples)
    done = scc(
        "train", "--stages", REPO / "configs/stages/agentic-skills.yaml", "--data", data, "--model", tokenizer,
        "--output", "run", "--dry-run", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    plans = json.loads(done.stdout)["stages"]
    assert [plan["name"] for plan in plans] == ["tool-use", "skills", "everything"]
    assert [plan["rows"] for plan in plans] == [40, 40, 80]
    assert [plan["valid_rows"] for plan in plans] == [5, 5, 10]
    assert [plan["settings"]["epochs"] for plan in plans] == [2, 2, 1]
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--stage", "sft"], "give one"),
        (["--resume-from", "x"], "--resume-from goes with one stage"),
        (["--backend", "torch"], "is for --backend local"),
        (["--batch-size", "0"], "stage tool-use: batch_size"),
    ],
)
def test_flags_that_do_not_fit_stages(
    words: list[str], said: str, tokenizer: Path, samples: Path, work: Path, scc: Scc
) -> None:
    data = _skills(work, samples)
    stages = ["--stages", REPO / "configs/stages/agentic-skills.yaml", "--data", data, "--model", tokenizer]
    done = scc("train", *stages, "--output", "run", *words)
    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr


def test_a_stage_without_rows_is_refused_before_any_begins(samples: Path, work: Path, scc: Scc) -> None:
    pytest.importorskip("torch")
    data, model = _skills(work, samples), make_model(work / "model")
    (work / "s.yaml").write_text("backend: local\nstages: [{name: a}, {name: b, where: {domain: [code]}}]")
    done = scc(
        "train", "--stages", "s.yaml", "--data", data, "--model", model, "--output", "run", "--max-seq-length", "8192"
    )
    assert done.exit_code == 2
    assert "no row is left to train on: 80 not of this stage" in done.stderr
    assert not Path("run").exists()


@pytest.mark.slow
def test_from_scratch_stopped_in_each_stage(work: Path) -> None:
    pytest.importorskip("trl")
    script = REPO / "tests" / "smoke_train.py"
    done = subprocess.run(
        [sys.executable, script, "from-scratch", work / "smoke"], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("equal weights after a stop") == 4
