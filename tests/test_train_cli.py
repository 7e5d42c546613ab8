"""`scc train` before anything is trained: plans, refusals, and where its data comes from."""

from __future__ import annotations

import io
import json
import os
import queue
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from conftest import REPO, Run
from tiny_model import make_tokenizer

from compressor_cli.cli.progress import _trend, training_progress
from compressor_cli.cli.stop_notice import stop_notice
from compressor_cli.core.jsonl import read_rows

pytest.importorskip("transformers")

Scc = Callable[..., Run]
LARGE = {
    "hidden_size": 8192, "num_hidden_layers": 80, "vocab_size": 150000, "num_attention_heads": 64,
    "num_key_value_heads": 8, "intermediate_size": 28672, "torch_dtype": "bfloat16",
}  # fmt: skip


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without weights: enough for a plan."""
    texts = [m["content"] for row in read_rows(REPO / "configs/samples/train.jsonl") for m in row["messages"]]
    return make_tokenizer(tmp_path_factory.mktemp("model"), texts)


@pytest.mark.parametrize("backend", ["local", "tinker", "torch"])
def test_a_dry_run_tells_what_would_be_done_and_does_nothing(
    backend: str, tokenizer: Path, samples: Path, work: Path, scc: Scc
) -> None:
    words = ["train", "--backend", backend, "--data", samples, "--model", tokenizer, "--output", "run", "--dry-run"]
    told = scc(*words, "--steps", "20", "--batch-size", "8")
    assert told.exit_code == 0
    assert re.search(r"^rows: 80, 10 for validation$", told.stdout, re.MULTILINE)
    assert re.search(r"^steps: 20 of (8|32) rows", told.stdout, re.MULTILINE)
    plan = json.loads(scc(*words, "--epochs", "2", "--json").stdout)
    assert plan["steps"] == 2 * plan["steps_an_epoch"]
    assert plan["total_tokens"] == 2 * plan["tokens"]
    assert plan["settings"]["epochs"] == 2 and "iterations" not in plan["settings"]
    assert list(work.iterdir()) == []


def test_the_file_of_settings_has_the_defaults(tokenizer: Path, samples: Path, scc: Scc) -> None:
    """What configs/training.yaml says is what holds without it."""
    for backend in ("local", "tinker", "torch"):
        words = ["train", "--backend", backend, "--data", samples, "--model", tokenizer, "--output", "x", "--dry-run"]
        plain, filed = (
            json.loads(scc(*words, *more, "--json").stdout)["settings"]
            for more in ([], ["--config", REPO / "configs/training.yaml"])
        )
        filed.pop("hf_dataset", None)
        assert filed == plain
    written = yaml.safe_load((REPO / "configs/training.yaml").read_text())
    assert (written["backend"], written["hf_dataset"]) == ("local", "Sudhendra/semantic-compression-sft")


def test_the_backend_can_come_from_the_file(tokenizer: Path, samples: Path, scc: Scc) -> None:
    done = scc(
        "train", "--config", REPO / "configs/training.yaml", "--data", samples, "--model", tokenizer, "--output", "x",
        "--dry-run",
    )  # fmt: skip
    assert done.stdout.startswith("backend: local")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--output is needed"),
        (["--output", "x"], "--backend is needed"),
        (["--output", "x", "--backend", "local", "--stage", "dpo"], "--stage dpo is not for --backend local"),
        (["--output", "x", "--backend", "local", "--teacher", "t"], "--teacher is no setting of --backend local"),
        (["--output", "x", "--backend", "extractive", "--rank", "8"], "--rank is no setting of --backend extractive"),
        (["--output", "x", "--backend", "torch", "--base-url", "u"], "--base-url is no setting of --backend torch"),
        (["--output", "x", "--backend", "torch", "--epochs", "1", "--steps", "2"], "epochs and steps both say"),
        (["--output", "x", "--backend", "torch", "--lr", "0"], "learning_rate: .*greater than 0"),
        (["--output", "x", "--backend", "torch", "--data", "none"], "--data none: no such folder"),
        (["--output", "x", "--backend", "torch", "--data", ".", "--hf-dataset", "a"], "give one"),
        (["--output", "x", "--backend", "torch", "--data", "."], r"train\.jsonl is missing"),
        (["--output", "x", "--stages", "none.yaml"], r"--stages none\.yaml: No such file"),
        (["--output", "x", "--backend", "torch", "--teacher", "t"], "teacher is for the stage distill"),
        (["--output", "x", "--backend", "torch", "--stage", "distill", "--teacher", "t"], "goes with logits"),
        (["--check", "--backend", "torch"], "--check goes with --backend tinker"),
        (["--check", "--stages", "s.yaml", "--rank", "8"], "--stages and --rank go with training, not with --check"),
        (["--output", "x", "--no-resume", "--resume-from", "c"], "--resume-from and --no-resume contradict each other"),
        (["--output", "x", "--backend", "torch", "--lr", "inf"], "learning_rate: Input should be a finite number"),
        (["--output", "x", "--backend", "extractive", "--skip-invalid"], "--skip-invalid is no setting of"),
    ],
)
def test_a_wrong_flag_is_one_line(words: list[str], said: str, scc_process: Scc) -> None:
    done = scc_process("train", *words)
    assert done.exit_code == 2
    assert re.search(said, done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("local: {rnak: 4}", "local.rnak: no such setting"),
        ("cloud: {alpha: 4}", "cloud.alpha: no such setting"),
        ("torch: {steps: 3, epochs: 2}", "settings: torch: epochs and steps both say"),
        ("backend: mxl", "backend: Input should be"),
        ("local: 3", "settings by name"),
        ("loocal: {}", "no such setting"),
    ],
)
def test_a_wrong_setting_is_named(text: str, said: str, samples: Path, work: Path, scc: Scc) -> None:
    (work / "c.yaml").write_text(text)
    done = scc("train", "--backend", "local", "--config", "c.yaml", "--data", samples, "--output", "x")
    assert done.exit_code == 2
    assert said in done.stderr


def test_an_unknown_variable_is_named(samples: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCC_LOCAL__RNAK", "4")
    done = scc("train", "--backend", "local", "--data", samples, "--output", "x")
    assert (done.exit_code, "SCC_LOCAL__RNAK" in done.stderr) == (2, True)


def test_a_variable_is_a_setting_and_a_flag_beats_it(
    tokenizer: Path, samples: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCC_BACKEND", "torch")
    monkeypatch.setenv("SCC_TORCH__STEPS", "9")
    monkeypatch.setenv("SCC_TORCH__RANK", "3")
    words = ["train", "--data", samples, "--model", tokenizer, "--output", "x", "--dry-run", "--json"]
    plan = json.loads(scc(*words).stdout)
    assert (plan["backend"], plan["steps"], plan["settings"]["rank"]) == ("torch", 9, 3)
    assert json.loads(scc(*words, "--epochs", "1").stdout)["steps"] == 20


def test_training_on_nothing_is_refused(tokenizer: Path, samples: Path, scc: Scc) -> None:
    done = scc(
        "train",
        "--backend",
        "local",
        "--data",
        samples,
        "--model",
        tokenizer,
        "--output",
        "x",
        "--max-seq-length",
        "16",
    )
    assert done.exit_code == 2
    assert "no row is left to train on: 80 longer than --max-seq-length" in done.stderr
    assert not Path("x").exists()


def test_rows_that_are_no_json_are_left_out_where_that_is_asked(tokenizer: Path, samples: Path, scc: Scc) -> None:
    rows = (samples / "train.jsonl").read_bytes().splitlines(keepends=True)
    Path("t.jsonl").write_bytes(b"".join([*rows[:2], b'{"messages": [}\n', rows[2], b'{"a": "caf\xe9"}\n', b"[1]\n"]))
    words = ["train", "--backend", "tinker", "--data", "t.jsonl", "--model", tokenizer, "--output", "x", "--dry-run"]
    refused = scc(*words)
    assert refused.exit_code == 2 and "t.jsonl, line 3: not JSON" in refused.stderr
    assert "--skip-invalid trains without them" in refused.stderr
    assert "rows: 3 (3 left out: malformed)" in scc(*words, "--skip-invalid").stdout
    Path("t.jsonl").write_bytes(b"")
    empty = scc(*words)
    assert empty.exit_code == 2 and "t.jsonl: there are no rows in it" in empty.stderr
    assert "hint" not in empty.stderr


@pytest.mark.parametrize("backend", ["local", "torch"])
def test_a_folder_that_holds_no_model_is_told(
    backend: str, tokenizer: Path, samples: Path, work: Path, scc: Scc
) -> None:
    (work / "empty").mkdir()
    words = ["train", "--backend", backend, "--data", samples, "--output", "x", "--model"]
    assert "--model empty: no tokenizer that can be read: there is no tokenizer.json" in scc(*words, "empty").stderr
    shutil.copytree(tokenizer, work / "part")
    assert "--model part: no model: config.json is missing" in scc(*words, "part").stderr
    (work / "part/config.json").write_text("{}")
    assert "--model part: no weights: there is no .safetensors file" in scc(*words, "part").stderr
    (work / "part/pytorch_model.bin").write_bytes(b"x")
    done = scc(*words, "part")
    assert done.exit_code == 2 and "pytorch_model.bin is not read, since a pickle can run code" in done.stderr
    assert not Path("x").exists()


def test_a_plan_and_a_check_do_without_what_is_not_installed(
    tokenizer: Path, samples: Path, work: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tokenizer, work / "large")
    (work / "large/config.json").write_text(json.dumps(LARGE))
    monkeypatch.setitem(sys.modules, "tinker", None)
    for module in ("compressor_cli.backends", "compressor_cli.stages.train.plans"):
        monkeypatch.setattr(
            f"{module}.find_spec", lambda name: None if name in ("torch", "tinker") else find_spec(name)
        )
    words = ["train", "--backend", "torch", "--data", samples, "--model", "large", "--output", "x"]
    assert "memory: about" in scc(*words, "--dry-run").stdout
    for done in (scc(*words), scc("train", "--check")):
        assert done.exit_code == 2 and re.search(r"needs the package '(torch|tinker)'", done.stderr)


def test_a_model_that_is_far_too_large_is_refused(tokenizer: Path, samples: Path, work: Path, scc: Scc) -> None:
    shutil.copytree(tokenizer, work / "large")
    (work / "large/config.json").write_text(json.dumps(LARGE))
    (work / "large/model.safetensors").touch()
    words = ["train", "--backend", "torch", "--data", samples, "--model", "large", "--output", "x"]
    assert "memory: about" in scc(*words, "--dry-run").stdout
    done = scc(*words)
    assert done.exit_code == 2
    assert "does not fit" in done.stderr
    assert not Path("x").exists()


def test_a_disk_that_is_too_small_is_refused(
    tokenizer: Path, samples: Path, work: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tokenizer, work / "large")
    (work / "large/config.json").write_text(json.dumps(LARGE))
    (work / "large/model.safetensors").touch()
    usage = shutil.disk_usage(work)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=1_000_000))
    done = scc("train", "--backend", "torch", "--data", samples, "--model", "large", "--output", "x")
    assert (done.exit_code, "checkpoints in x need" in done.stderr) == (2, True)


def test_a_dataset_is_pulled_once(tokenizer: Path, samples: Path, work: Path, scc: Scc) -> None:
    pytest.importorskip("datasets")
    words = ["train", "--backend", "torch", "--model", tokenizer, "--output", "x", "--dry-run"]
    first = scc(*words, "--hf-dataset", samples)
    assert "pulling" in first.stderr and "rows: 80" in first.stdout
    again = scc(*words, "--hf-dataset", samples)
    assert "as it was pulled into data/samples" in again.stderr
    assert first.stdout == again.stdout


def test_the_folder_of_the_default_dataset_is_used_where_it_is(
    tokenizer: Path, samples: Path, work: Path, scc: Scc
) -> None:
    (work / "data/sft").mkdir(parents=True)
    shutil.copy(samples / "train.jsonl", work / "data/sft")
    done = scc("train", "--backend", "torch", "--model", tokenizer, "--output", "x", "--dry-run")
    assert "training on data/sft" in done.stderr and "rows: 80, 0 for validation" in done.stdout


def test_without_a_network_the_default_dataset_is_one_line(tokenizer: Path, scc: Scc) -> None:
    pytest.importorskip("datasets")
    done = scc("train", "--backend", "torch", "--model", tokenizer, "--output", "x", "--dry-run")
    assert done.exit_code in (1, 2)
    assert "Sudhendra/semantic-compression-sft" in done.stderr and "hint:" in done.stderr


def test_the_trend_goes_from_left_to_right() -> None:
    assert _trend([3.0]) == "▁"
    assert _trend([4.0, 3.0, 2.0, 1.0]) == "█▆▃▁"
    assert len(_trend([1.0] * 500)) == 16


def test_without_a_terminal_progress_is_some_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with training_progress() as on_event:
        for step in range(1, 501):
            row = {"step": step, "epoch": 0.1, "loss": 1 / step, "val_loss": None, "tokens": step, "seconds": 1.0}
            on_event({"done": step, "total": 500, "row": row})
        on_event({"message": "done"})
    lines = capsys.readouterr().err.splitlines()
    assert 45 <= len(lines) <= 60
    assert lines[0] == "step 1  epoch 0.1  loss 1  seconds 1"
    assert lines[-1] == "done"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_terminal_shows_all_of_it_at_any_width(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    for name, value in {"COLUMNS": str(columns), "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "TTY_INTERACTIVE", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    with training_progress() as on_event:
        on_event({"stage": "everything (3/3)"})
        for step in range(1, 101):
            row = {"step": step, "loss": 10 / step, "val_loss": 9.5, "tokens_per_second": 12345.6}
            on_event({"done": step, "total": 1375, "row": row})
        on_event({"saved": "step_00000100", "kept": 3})
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue()).rstrip().splitlines()[-2:]
    assert re.search(r"everything \(3/3\) .* 100/1375 +\d+:\d\d:\d\d left", shown[0])
    assert re.fullmatch(r"loss 0\.100 [▁▂▃▄▅▆▇█]{4,16}  val 9\.500  12,346 tok/s  3 saved", shown[1].strip())


def test_a_signal_is_told_at_once_where_a_run_has_begun() -> None:
    """Though its handler cannot run yet, since the main thread is busy."""
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    handler = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        with stop_notice(lambda event: told.put(event.get("message", "row"))) as on_event:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
            assert told.empty()  # nothing to save yet
            on_event({"row": {}})
            for expected in ("row", "stopping: this step is finished", "leaving; the same command"):
                assert told.get(timeout=5).startswith(expected)
                os.kill(os.getpid(), signal.SIGINT)
        assert told.empty()
    finally:
        signal.signal(signal.SIGINT, handler)
