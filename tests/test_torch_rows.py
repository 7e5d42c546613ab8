"""What the torch backend trains on: the tokens, the order and the loss that every backend has."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tiny_model import make_model
from torch_runs import TEXTS, metrics, pair, torch_job, train, write_data

from compressor_cli.backends.torch.packing import pack, packed
from compressor_cli.backends.torch.rows import IGNORED, Shares, preference_rows, rendered_rows
from compressor_cli.core.chat_tokenizer import load_chat_tokenizer
from compressor_cli.core.pace import Pace
from compressor_cli.core.rendering import Rendered
from compressor_cli.core.training import TrainJob
from compressor_cli.errors import UsageError
from compressor_cli.settings import TorchSettings

torch, transformers = (pytest.importorskip(name) for name in ("torch", "transformers"))
for package in ("trl", "peft", "accelerate"):
    pytest.importorskip(package)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny") / "model", TEXTS)


@given(st.lists(st.integers(1, 16), max_size=60))
def test_packing_takes_every_row_once_and_no_sequence_is_too_long(lengths: list[int]) -> None:
    sequences = pack(lengths, 16)
    assert sorted(place for places in sequences for place in places) == list(range(len(lengths)))
    sums = sorted(sum(lengths[place] for place in places) for places in sequences)
    assert all(total <= 16 for total in sums)
    assert len(sums) < 2 or sums[0] + sums[1] > 16  # two that fit together would be one


def test_packing_is_as_tight_as_that_of_trl() -> None:
    from datasets import Dataset
    from trl import pack_dataset

    lengths = [1 + number * number % 61 for number in range(300)]
    theirs = pack_dataset(Dataset.from_dict({"input_ids": [[1] * length for length in lengths]}), 64, "bfd")
    assert len(pack(lengths, 64)) <= len(theirs)


@given(st.integers(1, 30), st.sampled_from([2, 4, 6]), st.integers(1, 3), st.sampled_from([1, 2]), st.integers(1, 20))
def test_processes_share_each_step_of_the_pace(rows: int, batch: int, parts: int, processes: int, steps: int) -> None:
    pace = Pace(rows, batch * parts, steps, seed=3)
    shares = [Shares(pace, batch, parts, rank, processes) for rank in range(processes)]
    taken = [list(share) for share in shares]
    assert all(len(share) == len(batches) == steps * parts for share, batches in zip(shares, taken, strict=True))
    for step in range(steps):
        of_step = [batch for batches in taken for batch in batches[step * parts : (step + 1) * parts]]
        places = Counter(place for places in of_step for place in places)
        del places[pace.rows]  # the row that fills
        assert places == Counter(pace.rows_of(step))
        assert all(1 <= len(places) <= batch // processes for places in of_step)


def test_a_packed_job_has_the_pace_of_its_sequences(model: Path, work: Path) -> None:
    data = write_data(work / "data")
    job = torch_job(model, data, packing=True, max_seq_length=256, steps=None, epochs=3)
    assert job.pace.rows == 22 and packed(job).pace.rows < 8
    assert packed(job).pace.steps == 3 * -(-packed(job).pace.rows // 4)
    assert packed(packed(job)).pace == packed(job).pace
    plain = torch_job(model, data)
    assert packed(plain) is plain


def test_labels_are_the_trained_tokens() -> None:
    rows = [Rendered([5, 6, 7, 8], ((2, 4),)), Rendered([9, 10], ((0, 2),))]
    found = rendered_rows(rows, TorchSettings())
    assert found.row(0) == {"input_ids": [5, 6, 7, 8], "labels": [IGNORED, IGNORED, 7, 8]}
    assert found.row(1)["labels"] == [IGNORED, 10]
    assert (found.items, found.tokens) == ([2, 1], [4, 2])
    together = rendered_rows(rows, TorchSettings(packing=True))
    assert together.row(0)["input_ids"] == [5, 6, 7, 8, 9, 10] and together.row(0)["seq_lengths"] == [4, 2]
    assert together.items == [3]


def seen(monkeypatch: pytest.MonkeyPatch, job: TrainJob, run: Path) -> dict[int, list[dict[str, Any]]]:
    """The batches that the model is trained on, by step."""
    from compressor_cli.backends.torch.trainers import RowsTrainer

    batches: dict[int, list[dict[str, Any]]] = {}
    compute_loss = RowsTrainer.compute_loss

    def watched(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if model.training:
            batches.setdefault(self.state.global_step, []).append({k: v for k, v in inputs.items()})
        return compute_loss(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(RowsTrainer, "compute_loss", watched)
    train(job, run)
    return batches


def test_the_model_sees_the_rows_of_each_step_as_rendered(
    model: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = torch_job(model, write_data(work / "data"), gradient_accumulation=2, steps=6)
    batches = seen(monkeypatch, job, work / "run")
    assert list(batches) == list(range(6))
    for step, parts in batches.items():
        found = []
        for part in parts:
            for tokens, mask, labels in zip(part["input_ids"], part["attention_mask"], part["labels"], strict=True):
                length = int(mask.sum())
                assert (labels[length:] == IGNORED).all()
                found.append((tokens[:length].tolist(), (labels[:length] != IGNORED).int().tolist()))
        wanted = [job.train.rendered[place] for place in job.pace.rows_of(step)]
        assert found == [(row.tokens, row.weights) for row in wanted]
    assert metrics(work / "run")[0]["tokens"] == sum(
        len(job.train.rendered[place].tokens) for place in job.pace.rows_of(0)
    )


def mean_loss(model: Any, rows: list[Rendered]) -> float:
    """By hand: each row alone, all trained tokens alike."""
    total, count = 0.0, 0
    with torch.no_grad():
        for row in rows:
            logits = model(torch.tensor([row.tokens])).logits[0, :-1].double()
            losses = torch.nn.functional.cross_entropy(logits, torch.tensor(row.tokens[1:]), reduction="none")
            weights = torch.tensor(row.weights[1:])
            total, count = total + float((losses * weights).sum()), count + int(weights.sum())
    return total / count


@pytest.mark.parametrize("settings", [{"gradient_accumulation": 2}, {"batch_size": 8}])
def test_loss_is_the_mean_over_all_trained_tokens_of_a_step(settings: dict[str, Any], model: Path, work: Path) -> None:
    """Of the short last step of the epoch too."""
    job = torch_job(model, write_data(work / "data"), steps=3, learning_rate=1e-12, eval_every=3, **settings)
    train(job, work / "run")
    plain = transformers.AutoModelForCausalLM.from_pretrained(model).eval()
    steps = [[job.train.rendered[place] for place in job.pace.rows_of(step)] for step in range(3)]
    assert [len(rows) for rows in steps] == [8, 8, 6]
    losses = [row["loss"] for row in metrics(work / "run")]
    assert losses == pytest.approx([mean_loss(plain, rows) for rows in steps], abs=1e-5)
    assert metrics(work / "run")[-1]["val_loss"] == pytest.approx(mean_loss(plain, job.valid.rendered), abs=1e-5)


def test_rows_that_share_a_sequence_do_not_see_each_other(model: Path, work: Path) -> None:
    job = torch_job(model, write_data(work / "data"), packing=True, max_seq_length=256, batch_size=8, steps=1)
    assert packed(job).pace.rows == 5
    train(job, work / "run")
    plain = transformers.AutoModelForCausalLM.from_pretrained(model).eval()
    assert metrics(work / "run")[0]["loss"] == pytest.approx(mean_loss(plain, job.train.rendered), abs=1e-5)


def test_accumulation_makes_the_same_step(model: Path, work: Path) -> None:
    data = write_data(work / "data")
    for name, parts in (("one", {"batch_size": 8}), ("two", {"gradient_accumulation": 2})):
        train(torch_job(model, data, fine_tune_type="full", steps=6, learning_rate=1e-3, **parts), work / name)
    one, two = ([row["loss"] for row in metrics(work / name)] for name in ("one", "two"))
    assert one == pytest.approx(two, abs=2e-5)


def test_learning_rate_is_that_of_the_pace(model: Path, work: Path) -> None:
    from compressor_cli.core.pace import learning_rate

    job = torch_job(model, write_data(work / "data"), schedule="cosine", warmup=0.3)
    train(job, work / "run")
    told = [row["lr"] for row in metrics(work / "run")]
    assert told == pytest.approx([learning_rate(step, 8, 5e-3, 0.3, "cosine") for step in range(8)])


def test_preferences_are_tokenised_as_trl_would(model: Path) -> None:
    from datasets import Dataset
    from trl import DPOTrainer

    tokenizer = load_chat_tokenizer(str(model))
    rows = [pair(number) for number in range(9)]
    ours = preference_rows(rows, tokenizer)
    args = SimpleNamespace(dataset_num_proc=None, max_length=None)
    theirs = DPOTrainer._prepare_dataset(
        SimpleNamespace(_tokenizer=tokenizer.hf), Dataset.from_list(rows), tokenizer.hf, args, "rows"
    )
    assert len(ours) == len(theirs) == 9
    for place in range(9):
        assert ours.row(place) == {name: theirs[place][name] for name in ours.columns}


def test_a_preference_of_several_messages_is_refused(model: Path) -> None:
    row = pair(0)
    row["chosen"] = [*row["chosen"], {"role": "user", "content": "and?"}, *row["chosen"]]
    with pytest.raises(UsageError, match="preference row 1: `chosen` has 3 messages; dpo compares two answers"):
        preference_rows([row], load_chat_tokenizer(str(model)))


def test_dpo_loss_is_the_mean_over_the_pairs_of_a_step(model: Path, work: Path) -> None:
    """The last step of an epoch has 6 pairs, in batches of 4 and 2."""
    data = write_data(work / "data", "dpo")
    for name, parts in (("one", {"batch_size": 8}), ("two", {"gradient_accumulation": 2})):
        train(torch_job(model, data, stage="dpo", steps=6, learning_rate=1e-3, **parts), work / name)
    one, two = ([row["loss"] for row in metrics(work / name)] for name in ("one", "two"))
    assert one == pytest.approx(two, abs=1e-5) and one[-1] < 0.69


def test_distillation_from_logits_is_the_divergence_from_the_teacher(model: Path, work: Path) -> None:
    """By hand at the first step; and from oneself there is nothing to learn."""
    teacher = make_model(work / "teacher", TEXTS, seed=1)
    data = write_data(work / "data")
    given = {"stage": "distill", "distill_loss": "logits", "temperature": 2.0, "steps": 1, "learning_rate": 1e-12}
    job = torch_job(model, data, teacher=str(teacher), **given)
    train(job, work / "run")
    ours, theirs = (transformers.AutoModelForCausalLM.from_pretrained(path).eval() for path in (model, teacher))
    total, count = 0.0, 0
    with torch.no_grad():
        for row in (job.train.rendered[place] for place in job.pace.rows_of(0)):
            tokens, trained = torch.tensor([row.tokens]), torch.tensor(row.weights[1:]).bool()
            p, q = ((net(tokens).logits[0, :-1][trained] / 2).softmax(-1).double() for net in (theirs, ours))
            total, count = total + float((p * (p / q).log()).sum()) * 4, count + int(trained.sum())
    assert metrics(work / "run")[0]["loss"] == pytest.approx(total / count, rel=1e-4)
    train(torch_job(model, data, teacher=str(model), **given), work / "self")
    assert metrics(work / "self")[0]["loss"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"beta": 0.2}, "beta is for the stage dpo, and this one is sft"),
        ({"stage": "dpo", "packing": True}, "packing is for the stage pretrain or sft or distill"),
        ({"stage": "dpo", "dropout": 0.1}, "dropout is for the stage"),
        ({"from_config": "config.json"}, "from_config is for the stage pretrain"),
        ({"stage": "pretrain", "from_config": "c", "fine_tune_type": "lora"}, "fine_tune_type is full"),
        ({"teacher": "a/b"}, "teacher is for the stage distill"),
        ({"stage": "distill", "distill_loss": "logits"}, "needs a teacher"),
        ({"stage": "distill", "temperature": 2.0}, "temperature softens logits"),
    ],
)
def test_a_setting_that_a_stage_cannot_honour_is_refused(given: dict[str, Any], line: str) -> None:
    with pytest.raises(ValidationError, match=line):
        TorchSettings(**given)


def test_pretraining_trains_all_weights_unless_told() -> None:
    assert TorchSettings(stage="pretrain").fine_tune_type == "full"
    assert TorchSettings(stage="pretrain", fine_tune_type="lora").fine_tune_type == "lora"
    assert TorchSettings(**json.loads(TorchSettings().model_dump_json())).fine_tune_type == "lora"
