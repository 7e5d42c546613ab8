"""Training through TRL and PEFT on a tiny model: each stage, stopped, gone on with, and what is saved of it."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_model import make_model
from torch_runs import TEXTS, metrics, told, torch_job, train, train_until, weights, write_data

from compressor_cli.core.checkpoints import checkpoint_name, latest_checkpoint, list_checkpoints
from compressor_cli.core.runfiles import read_card
from compressor_cli.errors import SccError, UsageError

torch, transformers, peft = (pytest.importorskip(name) for name in ("torch", "transformers", "peft"))
for package in ("trl", "accelerate"):
    pytest.importorskip(package)


# What PEFT does to transformers, where a test loads a result by itself.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On matrices this small threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny") / "model", TEXTS)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny") / "teacher", TEXTS, seed=1)


@pytest.fixture(scope="module")
def shape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config.json alone."""
    config = transformers.Qwen3Config(
        vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=256, tie_word_embeddings=True,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("shape")
    config.save_pretrained(folder)
    return folder / "config.json"


ADAPTER = {"gradient_accumulation": 2, "dropout": 0.1}
STAGES: dict[str, dict[str, Any]] = {
    "sft-lora": ADAPTER,
    "sft-full": {"fine_tune_type": "full", "weight_decay": 0.1, "schedule": "cosine"},
    "sft-packed": {"packing": True, "max_seq_length": 128, "batch_size": 2},
    "pretrain": {"stage": "pretrain", "from_config": "shape", "packing": True, "max_seq_length": 64, "batch_size": 2},
    "pretrain-lora": {"stage": "pretrain", "fine_tune_type": "lora"},
    "dpo-lora": {"stage": "dpo", "gradient_accumulation": 2},
    "dpo-full": {"stage": "dpo", "fine_tune_type": "full", "learning_rate": 1e-3},
    "traces": {"stage": "distill", **ADAPTER},
    "logits": {"stage": "distill", "distill_loss": "logits", "teacher": "teacher", "temperature": 2.0, **ADAPTER},
}


def state(run: Path) -> Any:
    card = read_card(run)
    assert card is not None
    return card["state"]


def settings_of(name: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    given = dict(STAGES[name])
    for key in ("from_config", "teacher"):
        if key in given:
            given[key] = str(request.getfixturevalue(given[key]))
    return given


@pytest.mark.parametrize(
    "name", [name if name.endswith("-lora") else pytest.param(name, marks=pytest.mark.slow) for name in STAGES]
)
def test_each_stage_learns_and_resumes_exactly(
    name: str, model: Path, work: Path, request: pytest.FixtureRequest
) -> None:
    given = settings_of(name, request)
    job = torch_job(model, write_data(work / "data", given.get("stage", "sft")), **given)
    train(job, work / "whole")
    losses = [row["loss"] for row in metrics(work / "whole")]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    assert [bool(row["val_loss"]) for row in metrics(work / "whole")] == [
        False,
        False,
        True,
        False,
        False,
        True,
        False,
        True,
    ]

    with pytest.raises(SystemExit) as stopped:
        train_until(job, work / "run", 4)
    assert stopped.value.code == 130
    assert state(work / "run") == "stopped"
    assert not (work / "run/adapter").exists()
    report = train(job, work / "run")
    assert report.steps == 8
    assert told(work / "run") == told(work / "whole")
    assert weights(work / "run") == weights(work / "whole") != {}
    assert not [path for path in (work / "run").iterdir() if path.name.startswith(".")]
    assert state(work / "run") == "finished"


def test_a_stop_at_any_step_is_exact(model: Path, work: Path) -> None:
    """After the first step, at the end of an epoch, and before the last, in one run."""
    job = torch_job(model, write_data(work / "data"), save_every=100, **ADAPTER)
    train(job, work / "whole")
    for step in (1, 3, 7):
        with pytest.raises(SystemExit) as stopped:
            train_until(job, work / "run", step, signal.SIGTERM)
        assert stopped.value.code == 143
        found, _ = latest_checkpoint(work / "run/checkpoints")
        assert found is not None and found.position == job.pace.position(step)
    train(job, work / "run")
    assert told(work / "run") == told(work / "whole")
    assert weights(work / "run") == weights(work / "whole")


def test_a_stop_after_the_last_step_leaves_the_result_to_the_resume(model: Path, work: Path) -> None:
    job = torch_job(model, write_data(work / "data"), steps=2)
    with pytest.raises(SystemExit):
        train_until(job, work / "run", 2)
    train(job, work / "run")
    train(job, work / "whole")
    assert weights(work / "run") == weights(work / "whole")
    events: list[Any] = []
    train(job, work / "run", on_event=events.append)
    assert events == [{"message": "this run is complete already"}]


def test_nothing_is_printed_and_no_telemetry_sent(
    model: Path, work: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", False)
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: False)
    sent: list[Any] = []
    monkeypatch.setattr("huggingface_hub.utils._telemetry._TELEMETRY_QUEUE.put", sent.append)
    data = write_data(work / "data")
    (data / "valid.jsonl").unlink()
    train(torch_job(model, data, steps=2), work / "run")
    assert capfd.readouterr() == ("", "")
    assert sent == []
    assert [row["val_loss"] for row in metrics(work / "run")] == [None, None]


def test_a_checkpoint_holds_no_pickle_and_no_place_of_this_machine(model: Path, work: Path) -> None:
    job = torch_job(model, write_data(work / "data"), steps=2, save_every=1, model="org/name")
    train(job, work / "run")
    saved = work / "run/checkpoints" / checkpoint_name(1)
    assert {path.name for path in saved.iterdir()} == {
        "state.json", "trainer_state.json", "adapter_model.safetensors", "adapter_config.json", "optimizer.pt",
        "scheduler.pt", "rng_state.pth", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
    }  # fmt: skip
    for path in [*saved.glob("*.json"), *(work / "run/adapter").glob("*.json")]:
        if path.name != "state.json":
            assert str(work) not in path.read_text() and str(model) not in path.read_text()
    torch.load(saved / "optimizer.pt", weights_only=True)
    config = json.loads((work / "run/adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "org/name"
    assert config["target_modules"] == sorted(config["target_modules"])


def test_results_load_in_their_own_libraries(model: Path, work: Path, shape: Path) -> None:
    job = torch_job(model, write_data(work / "data"), steps=2)
    train(job, work / "lora")
    base = transformers.AutoModelForCausalLM.from_pretrained(model)
    peft.PeftModel.from_pretrained(base, str(work / "lora/adapter"))

    data = write_data(work / "texts", "pretrain")
    train(torch_job(model, data, steps=2, stage="pretrain", from_config=shape), work / "full")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(work / "full/adapter")
    assert loaded.config.hidden_size == 32
    tokenizer = transformers.AutoTokenizer.from_pretrained(work / "full/adapter")
    assert tokenizer.chat_template and len(tokenizer) <= 512


@pytest.mark.parametrize("fine_tune_type", ["lora", "full"])
def test_legacy_pth_is_the_whole_model(fine_tune_type: str, model: Path, work: Path) -> None:
    data = write_data(work / "data")
    job = torch_job(model, data, steps=4, fine_tune_type=fine_tune_type, legacy_pth=True)
    train(job, work / "run")
    plain = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    plain.load_state_dict(torch.load(work / "run/out/sft_64.pth", weights_only=True))
    if fine_tune_type == "full":
        trained = transformers.AutoModelForCausalLM.from_pretrained(work / "run/adapter")
    else:
        base = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        trained = peft.PeftModel.from_pretrained(base, str(work / "run/adapter"))
    tokens = torch.tensor([job.train.rendered[0].tokens])
    assert torch.allclose(plain.eval()(tokens).logits, trained.eval()(tokens).logits, atol=1e-5)

    train(torch_job(model, data, steps=4, fine_tune_type=fine_tune_type), work / "without")
    assert weights(work / "without") == weights(work / "run")


TORN = {
    "optimizer.pt": "is missing",
    "scheduler.pt": "is missing",
    "rng_state.pth": "is missing",
    "trainer_state.json": "is missing",
    "state.json": "is missing",
    "adapter_model.safetensors": "bytes of",
}


def test_a_torn_checkpoint_of_every_kind_is_passed_over_and_told(model: Path, work: Path) -> None:
    job = torch_job(model, write_data(work / "data"), steps=8, save_every=1, keep_last=9)
    train(job, work / "whole")
    with pytest.raises(SystemExit):
        train_until(job, work / "run", 7)
    for step, (name, why) in enumerate(TORN.items(), 2):
        path = work / "run/checkpoints" / checkpoint_name(step) / name
        if why == "bytes of":
            path.write_bytes(path.read_bytes()[:100])
        else:
            path.unlink()
    events: list[Any] = []
    train(job, work / "run", on_event=events.append)
    notes = [event["message"] for event in events if "message" in event]
    for step, (name, why) in enumerate(TORN.items(), 2):
        assert any(checkpoint_name(step) in note and name in note and why in note for note in notes)
    assert "going on after step 1" in notes
    assert told(work / "run") == told(work / "whole")
    assert weights(work / "run") == weights(work / "whole")


def rewrite_checkpoint(path: Path, name: str, content: bytes | None) -> None:
    """As someone would who can also write what `state.json` says of it."""
    import hashlib

    state = json.loads((path / "state.json").read_text())
    if content is None:
        (path / name).unlink()
        del state["files"][name]
    else:
        (path / name).write_bytes(content)
        state["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (path / "state.json").write_text(json.dumps(state))


class Planted:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("planted"),))


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_planted_pickle_is_not_run(name: str, model: Path, work: Path) -> None:
    job = torch_job(model, write_data(work / "data"))
    with pytest.raises(SystemExit):
        train_until(job, work / "run", 2)
    saved = work / "run/checkpoints" / checkpoint_name(2)
    torch.save(Planted(), work / "payload")
    rewrite_checkpoint(saved, name, (work / "payload").read_bytes())
    with pytest.raises(UsageError, match="is not read"):
        train(job, work / "run")
    assert not (work / "planted").exists()
    rewrite_checkpoint(saved, name, None)
    with pytest.raises(UsageError, match=f"has no {name}"):
        train(job, work / "run")


def test_nan_loss_stops_and_keeps_the_last_good_checkpoint(
    model: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from compressor_cli.backends.torch.trainers import RowsTrainer

    job = torch_job(model, write_data(work / "data"))
    train(job, work / "whole")
    compute_loss = RowsTrainer.compute_loss

    def poisoned(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss = compute_loss(self, *args, **kwargs)
        return loss * math.nan if self.state.global_step == 4 else loss

    monkeypatch.setattr(RowsTrainer, "compute_loss", poisoned)
    with pytest.raises(SccError, match="the loss is nan at step 5"):
        train(job, work / "run")
    assert [row["step"] for row in metrics(work / "run")] == [1, 2, 3, 4]
    assert [path.name for path, _ in list_checkpoints(work / "run/checkpoints")] == [checkpoint_name(3)]
    monkeypatch.undo()
    train(job, work / "run")
    assert weights(work / "run") == weights(work / "whole")


def test_nan_weights_are_never_saved(model: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from compressor_cli.backends.torch.trainers import RowsTrainer

    training_step = RowsTrainer.training_step

    def poisoned(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss = training_step(self, *args, **kwargs)
        if self.state.global_step == 5:
            next(p for p in self.model.parameters() if p.requires_grad).grad.fill_(math.nan)
        return loss

    monkeypatch.setattr(RowsTrainer, "training_step", poisoned)
    job = torch_job(model, write_data(work / "data"), eval_every=100)
    with pytest.raises(SccError, match=r"not finite .* at step 6; they are not saved"):
        train(job, work / "run")
    assert [path.name for path, _ in list_checkpoints(work / "run/checkpoints")] == [checkpoint_name(3)]
    assert not (work / "run/adapter").exists()


@pytest.mark.slow
def test_a_run_starts_from_the_result_of_another(model: Path, work: Path) -> None:
    """Every way from adapter or whole model to either: the first validation is where the run before ended."""
    data = write_data(work / "data")
    for first in ("lora", "full"):
        train(torch_job(model, data, fine_tune_type=first), work / first)
        ended = metrics(work / first)[-1]["val_loss"]
        for then in ("lora", "full"):
            run = work / f"{first}-{then}"
            job = torch_job(model, data, fine_tune_type=then, start=work / first, learning_rate=1e-9, steps=2)
            train(job, run)
            assert metrics(run)[-1]["val_loss"] == pytest.approx(ended, abs=1e-5)
    config = json.loads((work / "full-lora/adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(work / "full/adapter")
    train(torch_job(model, data, start=work / "full-lora", learning_rate=1e-9, steps=2), work / "third")
    assert metrics(work / "third")[-1]["val_loss"] == pytest.approx(ended, abs=1e-5)


@pytest.mark.parametrize("fine_tune_type", ["lora", "full"])
@pytest.mark.slow
def test_dpo_compares_with_the_run_that_it_starts_from(fine_tune_type: str, model: Path, work: Path) -> None:
    """At the first step policy and reference are the same: the loss is log 2."""
    train(torch_job(model, write_data(work / "data"), fine_tune_type=fine_tune_type), work / "sft")
    data = write_data(work / "pairs", "dpo")
    job = torch_job(model, data, stage="dpo", fine_tune_type=fine_tune_type, start=work / "sft", learning_rate=1e-3)
    train(job, work / "whole")
    losses = [row["loss"] for row in metrics(work / "whole")]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-6) and losses[-1] < 0.6
    with pytest.raises(SystemExit):
        train_until(job, work / "run", 4)
    train(job, work / "run")
    assert weights(work / "run") == weights(work / "whole")


def test_a_start_that_does_not_fit_is_refused(model: Path, work: Path) -> None:
    data = write_data(work / "data")
    train(torch_job(model, data, steps=1), work / "sft")
    for changes, line in (
        ({"rank": 8}, "rank 16, and this run rank 8"),
        ({"alpha": 8.0}, r"alpha 32, and this run alpha 8\.0"),
        ({"target_modules": ("q_proj",)}, "an adapter keeps its shape"),
        ({"model": "another/model"}, "was trained from .*, and the model here is another/model"),
        ({"start": work / "nothing"}, "has no result to start from"),
    ):
        job = torch_job(model, data, steps=1, **{"start": work / "sft", **changes})
        with pytest.raises(UsageError, match=line):
            train(job, work / "run")
        assert not (work / "run").exists()


def test_errors_are_one_clear_line(
    model: Path, teacher: Path, shape: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, texts = write_data(work / "data"), write_data(work / "texts", "pretrain")
    (work / "broken").mkdir()
    for path in model.iterdir():
        (work / "broken" / path.name).write_bytes(path.read_bytes()[: 9 if path.suffix == ".safetensors" else None])
    small = json.loads(shape.read_text()) | {"vocab_size": 100}
    (work / "small.json").write_text(json.dumps(small))
    (work / "no.json").write_text("{}")
    other = make_model(work / "other", ["quite another text"], seed=2)
    logits = {"stage": "distill", "distill_loss": "logits"}
    pretrain = {"stage": "pretrain"}
    for folder, given, line in (
        (work / "broken", {}, "broken: no model that can be read"),
        (model, {"target_modules": ("nothing",)}, "target_modules: .*nothing"),
        (model, {"target_modules": ("lm_head",)}, "target_modules: .*lm_head"),
        (model, {**logits, "teacher": str(other)}, "teacher .* has another vocabulary"),
        (model, {**logits, "teacher": "no/such"}, "no/such"),
        (model, {**pretrain, "from_config": work / "small.json"}, "vocab_size is 100, and the tokenizer"),
        (model, {**pretrain, "from_config": work / "no.json"}, "no configuration of a model"),
        (model, {**pretrain, "from_config": work / "none.json"}, "from_config .*: no such file"),
        (model, {"device": "mps"}, "device mps: torch finds none here"),
    ):
        job = torch_job(folder, texts if given.get("stage") == "pretrain" else data, **given)
        with pytest.raises(SccError, match=line) as refused:
            train(job, work / "run")
        assert "\n" not in str(refused.value)
        assert not (work / "run").exists()

    from compressor_cli.backends.torch.trainers import RowsTrainer

    def full(*args: Any, **kwargs: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(RowsTrainer, "compute_loss", full)
    with pytest.raises(SccError, match="too little memory") as refused:
        train(torch_job(model, data), work / "full")
    assert refused.value.hint and "batch_size" in refused.value.hint


def test_other_settings_or_rows_are_another_run(model: Path, work: Path) -> None:
    data = write_data(work / "data")
    with pytest.raises(SystemExit):
        train_until(torch_job(model, data), work / "run", 2)
    with pytest.raises(UsageError, match=r"settings\.learning_rate was 0\.005, is 0\.001"):
        train(torch_job(model, data, learning_rate=1e-3), work / "run")
    teacher_of = {"stage": "distill", "distill_loss": "logits", "teacher": str(work / "teacher")}
    make_model(work / "teacher", TEXTS, seed=1)
    with pytest.raises(SystemExit):
        train_until(torch_job(model, data, **teacher_of), work / "logits", 2)
    make_model(work / "teacher", TEXTS, seed=2)
    with pytest.raises(UsageError, match=r"data: teacher\.model_sha256\.model\.safetensors"):
        train(torch_job(model, data, **teacher_of), work / "logits")
    write_data(data, rows=21)
    with pytest.raises(UsageError, match="other settings or data"):
        train(torch_job(model, data), work / "run")


def test_gradient_checkpointing_changes_no_weight(model: Path, work: Path) -> None:
    data = write_data(work / "data")
    for name, given in (("without", {}), ("with", {"gradient_checkpointing": True})):
        train(torch_job(model, data, steps=3, **given), work / name)
    assert [row["loss"] for row in metrics(work / "with")] == pytest.approx(
        [row["loss"] for row in metrics(work / "without")], abs=1e-6
    )


def test_bfloat16_trains(model: Path, work: Path) -> None:
    for fine_tune_type in ("lora", "full"):
        run = work / fine_tune_type
        train(torch_job(model, write_data(work / "data"), dtype="bfloat16", fine_tune_type=fine_tune_type), run)
        losses = [row["loss"] for row in metrics(run)]
        assert losses[-1] < 0.8 * losses[0]
