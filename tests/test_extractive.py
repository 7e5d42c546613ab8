"""Training of the prose model: real torch, a tiny random encoder, the sample rows."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import REPO, Run
from hypothesis import given
from hypothesis import strategies as st

from compressor_cli import compress
from compressor_cli.backends.extractive.labels import (
    Answers,
    align,
    kept_runs,
    label,
    label_rows,
    read_answers,
    text_hash,
)
from compressor_cli.core.checkpoints import latest_checkpoint
from compressor_cli.core.files import sha256_file
from compressor_cli.core.jsonl import dump_row, read_rows
from compressor_cli.core.training import Launch
from compressor_cli.errors import SccError, UsageError
from compressor_cli.settings import ExtractiveSettings
from compressor_cli.stages.train.extractive import ExtractivePlan, ExtractiveSummary, train_extractive

pytest.importorskip("torch")
pytest.importorskip("transformers")

Scc = Callable[..., Run]


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random encoder of two narrow layers with a word-piece vocabulary made from the samples."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("base")
    texts = [m["content"] for row in read_rows(REPO / "configs/samples/train.jsonl") for m in row["messages"]]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=800, special_tokens=special, show_progress=False)
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture
def data(work: Path, samples: Path) -> Path:
    folder = work / "sft"
    folder.mkdir()
    for name in ("train", "valid"):
        (folder / f"{name}.jsonl").write_bytes((samples / f"{name}.jsonl").read_bytes())
    return folder


def tiny(base_model: Path, **changes: Any) -> ExtractiveSettings:
    values = {
        "model": str(base_model),
        "layers": 2,
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 3e-3,
        "head_learning_rate": 1e-2,
        "max_seq_length": 96,
    }
    return ExtractiveSettings(**{**values, **changes})


def test_a_run_has_its_files_and_learns(base_model: Path, data: Path, work: Path) -> None:
    summary = train_extractive(tiny(base_model, epochs=6, batch_size=4), data, Launch(work / "run"))
    assert isinstance(summary, ExtractiveSummary)
    names = {path.name for path in summary.run.iterdir()}
    assert names - {"tensorboard"} == {"run.json", "train.log", "metrics.jsonl", "checkpoints", "model"}
    rows = list(read_rows(summary.run / "metrics.jsonl"))
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["loss"] < 0.96 * rows[0]["loss"]
    card = json.loads((summary.model / "model.json").read_text())
    assert set(card) >= {"command", "versions", "settings", "metrics"}
    assert card["sha256"]["model.onnx"] == sha256_file(summary.model / "model.onnx")
    assert card["data_sha256"]["train"] == sha256_file(data / "train.jsonl")
    assert str(work) not in json.dumps({key: value for key, value in card.items() if key != "settings"})


def test_compress_uses_the_run(base_model: Path, data: Path, work: Path, scc: Scc) -> None:
    train_extractive(tiny(base_model, epochs=1), data, Launch(work / "run"))
    text = "The harbour office moved on 4 March 2024, and nobody had told the 17 skippers who berth there."
    ours = compress(text, rate=0.5, protect="none", model=work / "run")
    assert 0 < ours.tokens_out <= 0.5 * ours.tokens_in
    (work / "text.txt").write_text(text)
    done = scc("compress", "text.txt", "--rate", "0.5", "--protect", "none", "--model", "run")
    assert (done.exit_code, done.stdout) == (0, ours.compressed)


def test_an_interrupted_run_ends_with_the_same_weights(base_model: Path, data: Path, work: Path) -> None:
    settings = tiny(base_model, epochs=3)
    whole = train_extractive(settings, data, Launch(work / "whole"))

    def stop_after_the_first_epoch(event: Mapping[str, Any]) -> None:
        if event.get("done", 0) > event.get("total", 0) / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_extractive(settings, data, Launch(work / "cut", on_event=stop_after_the_first_epoch))
    assert not (work / "cut" / "model").exists()
    events: list[str] = []
    resumed = train_extractive(
        settings, data, Launch(work / "cut", on_event=lambda event: events.append(event.get("message", "")))
    )
    assert any(event.startswith("going on after step") for event in events)
    assert isinstance(whole, ExtractiveSummary) and isinstance(resumed, ExtractiveSummary)
    assert sha256_file(whole.model / "model.onnx") == sha256_file(resumed.model / "model.onnx")
    assert len(list(read_rows(resumed.run / "metrics.jsonl"))) == 3


@pytest.mark.parametrize("step", [1, 7])
def test_a_signal_saves_within_the_epoch_and_nothing_differs_in_the_end(
    step: int, base_model: Path, data: Path, work: Path
) -> None:
    settings = tiny(base_model, epochs=2)
    whole = train_extractive(settings, data, Launch(work / "whole"))

    def terminate(event: Mapping[str, Any]) -> None:
        if event.get("done") == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as caught:
        train_extractive(settings, data, Launch(work / "cut", on_event=terminate))
    assert caught.value.code == 143
    saved, _ = latest_checkpoint(work / "cut/checkpoints")
    assert saved and saved.step == step and saved.position.step_in_epoch
    resumed = train_extractive(settings, data, Launch(work / "cut"))
    assert isinstance(whole, ExtractiveSummary) and isinstance(resumed, ExtractiveSummary)
    assert sha256_file(whole.model / "model.onnx") == sha256_file(resumed.model / "model.onnx")
    timed = ("seconds", "tokens_per_second")
    assert [{k: v for k, v in row.items() if k not in timed} for row in read_rows(work / "cut/metrics.jsonl")] == [
        {k: v for k, v in row.items() if k not in timed} for row in read_rows(work / "whole/metrics.jsonl")
    ]


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on(base_model: Path, data: Path, work: Path) -> None:
    """`kill -9` five times, at growing delays; the last run ends, with the weights of a whole one."""
    command = [sys.executable, "-m", "compressor_cli", "train", "--backend", "extractive", "--data", str(data)]
    (work / "c.yaml").write_text(
        f"extractive: {{model: {base_model}, layers: 2, max_seq_length: 96, batch_size: 4, epochs: 6}}"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    for n in range(5):
        child = subprocess.Popen([*command, "--config", "c.yaml", "-o", "cut"], env=environment, stderr=subprocess.PIPE)
        time.sleep(2 + n)
        child.send_signal(signal.SIGKILL)
        child.communicate()
    for name in ("cut", "whole"):
        done = subprocess.run([*command, "--config", "c.yaml", "-o", name], env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr
    assert sha256_file(work / "cut/model/model.onnx") == sha256_file(work / "whole/model/model.onnx")
    assert [row["epoch"] for row in read_rows(work / "cut/metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


def test_a_finished_run_is_left_alone(base_model: Path, data: Path, work: Path) -> None:
    first = train_extractive(tiny(base_model, epochs=1), data, Launch(work / "run"))
    assert isinstance(first, ExtractiveSummary)
    before = (first.model / "model.onnx").stat().st_mtime_ns
    events: list[str] = []
    train_extractive(
        tiny(base_model, epochs=1),
        data,
        Launch(work / "run", on_event=lambda event: events.append(event.get("message", ""))),
    )
    assert "this run is complete already" in events
    assert (first.model / "model.onnx").stat().st_mtime_ns == before


def test_other_settings_or_data_are_another_run(base_model: Path, data: Path, work: Path) -> None:
    train_extractive(tiny(base_model, epochs=1), data, Launch(work / "run"))
    with pytest.raises(UsageError, match=r"settings\.seed"):
        train_extractive(tiny(base_model, epochs=1, seed=5), data, Launch(work / "run"))
    with (data / "train.jsonl").open("ab") as handle:
        handle.write((data / "valid.jsonl").read_bytes())
    with pytest.raises(UsageError, match="the rows of train"):
        train_extractive(tiny(base_model, epochs=1), data, Launch(work / "run"))


def test_dry_run_counts_and_writes_nothing(base_model: Path, data: Path, work: Path) -> None:
    plan = train_extractive(tiny(base_model), data, Launch(work / "run"), dry_run=True)
    assert isinstance(plan, ExtractivePlan)
    assert plan.rows == plan.prose + plan.code + plan.short == 80
    assert plan.steps > 0 and not (work / "run").exists()


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (("--data", "nowhere"), "no such folder", "scc data pull"),
        (("--data", "."), "train.jsonl is missing", "scc data pull"),
        (("--model", "no-such-package"), "neither a folder nor an installed package", "pip install"),
        (("--model", "."), "config.json is missing", ""),
        (("--answers", "none.jsonl"), "no such file", ""),
        (("--epochs", "0"), "epochs", ""),
        (("--output", "sft"), "is not empty and no run", "--output"),
    ],
)
def test_bad_input_is_told(
    args: tuple[str, ...],
    message: str,
    hint: str,
    base_model: Path,
    data: Path,
    scc: Scc,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SCC_EXTRACTIVE__LAYERS", "2")  # as many as the base model has
    given = {"--data": "sft", "--output": "run", "--model": str(base_model), "--epochs": "1"}
    given |= dict(zip(args[::2], args[1::2], strict=True))
    done = scc("train", "--backend", "extractive", *[word for pair in given.items() for word in pair])
    assert done.exit_code == 2
    assert message in done.stderr and hint in done.stderr
    assert "Traceback" not in done.stderr


def test_code_alone_teaches_nothing(base_model: Path, data: Path, work: Path) -> None:
    rows = [row for row in read_rows(data / "train.jsonl") if "```" in row["messages"][2]["content"]]
    (data / "train.jsonl").write_bytes(b"".join(map(dump_row, rows)))
    with pytest.raises(UsageError, match="none of its 40 rows is prose"):
        train_extractive(tiny(base_model), data, Launch(work / "run"))


def test_a_missing_package_names_its_extra(data: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch) -> None:
    from compressor_cli import backends

    monkeypatch.setattr(backends, "find_spec", lambda name: None if name == "onnx" else object())
    done = scc("train", "--backend", "extractive", "--data", "sft", "--output", "run")
    assert done.exit_code == 2
    assert "'onnx'" in done.stderr and "-m pip install 'compressor-cli[torch]'" in done.stderr


def test_a_missing_board_is_told_before_anything_starts(
    data: Path, work: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch
) -> None:
    from compressor_cli.core import board

    monkeypatch.setattr(board, "find_spec", lambda name: None)
    words = ("train", "--backend", "extractive", "--data", "sft", "--output", "run")
    done = scc(*words, "--tensorboard")
    assert done.exit_code == 2 and "'tensorboard'" in done.stderr and "[curves]" in done.stderr
    monkeypatch.setenv("TB_AUTO", "1")
    assert scc(*words).exit_code == 2
    assert not (work / "run").exists()


def test_a_board_shows_the_run_while_it_lasts(
    base_model: Path, data: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.setenv("TB_AUTO", "1")
    monkeypatch.setenv("TB_PORT", "16006")
    monkeypatch.setenv("SCC_EXTRACTIVE__MAX_SEQ_LENGTH", "96")
    words = ["train", "--backend", "extractive", "--data", "sft", "--output", "run", "--epochs", "1"]
    words = [*words, "--model", str(base_model), "--limit", "8"]
    assert "layers = 3: the base model has 2" in scc(*words).stderr
    monkeypatch.setenv("SCC_EXTRACTIVE__LAYERS", "2")
    done = scc(*words)  # a run that was refused has not begun
    assert done.exit_code == 0
    assert re.search(r"TensorBoard: http://127\.0\.0\.1:16\d\d\d/", done.stderr)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_real_process_that_is_asked_to_stop(
    number: int, code: int, base_model: Path, data: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCC_EXTRACTIVE__LAYERS", "2")
    monkeypatch.setenv("SCC_EXTRACTIVE__MAX_SEQ_LENGTH", "96")
    command = [sys.executable, "-m", "compressor_cli", "train", "--backend", "extractive", "--data", "sft", "-o", "cut"]
    child = subprocess.Popen([*command, "--model", base_model, "--epochs", "500"], stderr=subprocess.PIPE, text=True)
    assert child.stderr
    assert any(line.startswith("step ") for line in child.stderr)
    child.send_signal(number)
    rest = child.communicate()[1]
    assert child.returncode == code, rest
    saved, _ = latest_checkpoint(work / "cut/checkpoints")
    assert saved and f"stopped; the same command goes on after step {saved.step}" in rest


def test_rows_that_are_no_chat_rows_are_named() -> None:
    with pytest.raises(SccError, match="row 1"):
        label_rows([_row("a b c d", "a c"), {"messages": [{"role": "user", "content": "x"}]}])


def test_answers_mark_starts_and_goings_on() -> None:
    text = "Ada Lovelace wrote it in 1843."
    example = label(text, "Ada Lovelace 1843", [(0, 12), (25, 29)])
    assert example.words == ("Ada", "Lovelace", "wrote", "it", "in", "1843.")
    assert example.starts == (1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    assert example.goes_on == (1.0, 0.0, -1.0, -1.0, -1.0, 0.0)
    assert example.kept == (1, 1, 0, 0, 0, 1)


def test_rows_without_answers_teach_only_what_was_kept(work: Path) -> None:
    rows = [_row("Compress:\nOne two three four.", "one three"), _row("Compress:\nFive six seven eight.", "six")]
    known = Answers({text_hash("One two three four."): [(4, 7)]}, (("A passage of words.", [(2, 9)]),))
    labelled = label_rows(rows, known)
    first, second, passage = labelled.examples
    assert first.starts == (0.0, 1.0, 0.0, 0.0)
    assert set(second.starts) == {-1.0} and second.kept == (0, 1, 0, 0)
    assert set(passage.kept) == {-1} and passage.starts[1] == 1.0
    assert labelled.answered == 2


def test_answer_files_are_checked(work: Path) -> None:
    (work / "a.jsonl").write_text('{"sha256": "x", "answers": [[0, 3]]}\n{"answers": "none"}\n')
    with pytest.raises(UsageError, match="a row needs sha256 or text"):
        read_answers(work / "a.jsonl")


def test_shipped_answers_lie_within_their_passages() -> None:
    answers = read_answers(REPO / "configs/extractive/answers.jsonl")
    assert len(answers.by_hash) > 800 and len(answers.passages) > 300
    for text, spans in answers.passages:
        assert all(0 <= start < stop <= len(text) for start, stop in spans)
        assert all(text[start:stop].strip() == text[start:stop] for start, stop in spans)


words = st.lists(st.sampled_from(["red", "green", "blue", "grey", "black", "white"]), min_size=1, max_size=30)


@given(words, st.data())
def test_a_subsequence_aligns_whole(original: list[str], data: st.DataObject) -> None:
    chosen = [word for word in original if data.draw(st.booleans())]
    kept = align(original, chosen)
    assert sum(kept) >= len(chosen)
    assert all(original[i] in chosen for i, value in enumerate(kept) if value)


@given(st.lists(st.integers(0, 1), max_size=60))
def test_runs_cover_what_was_kept(kept: list[int]) -> None:
    covered = [0] * len(kept)
    for first, last in kept_runs(kept):
        assert last - first < 8
        for i in range(first, last + 1):
            covered[i] += 1
    assert covered == kept


def _row(user: str, assistant: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]}
