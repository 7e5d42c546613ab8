"""`--backend local` with the real mlx-lm on a CPU: what is trained, exact resume, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_jobs import make_job, texts, write_rows

from compressor_cli.backends.mlx import conduct, conduct_here
from compressor_cli.core.checkpoints import check_checkpoint
from compressor_cli.core.runfiles import is_alive, read_metrics, read_tinker_run
from compressor_cli.core.tensors import load_tensors, non_finite_tensor
from compressor_cli.core.training import Launch, TrainJob
from compressor_cli.errors import MissingExtraError, SccError, UsageError
from compressor_cli.settings import LocalSettings

mx: Any = pytest.importorskip("mlx.core")
mlx_lm: Any = pytest.importorskip("mlx_lm")
pytest.importorskip("torch")

STEPS = 8  # five of them are an epoch of 20 rows
SMALL: dict[str, Any] = {
    "steps": STEPS, "batch_size": 2, "gradient_accumulation": 2, "learning_rate": 5e-3, "save_every": 3,
    "max_seq_length": 128, "gradient_checkpointing": False, "num_layers": 2, "rank": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_model import make_model

    return make_model(tmp_path_factory.mktemp("model"), [text for pair in texts() for text in pair])


@pytest.fixture(scope="module")
def quantised(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """The base with weights of so many bits; 16 are bfloat16."""

    def quantise(bits: int) -> Path:
        folder = tmp_path_factory.mktemp(f"bits{bits}") / "model"
        shutil.copytree(base, folder)
        (folder / "model.safetensors").unlink()
        utils: Any = mlx_lm.utils
        model, config = utils.load_model(base)
        if bits == 16:
            model.set_dtype(mx.bfloat16)
        else:
            model, config = utils.quantize_model(model, config, group_size=32, bits=bits)
        utils.save_model(folder, model)
        utils.save_config(config, folder / "config.json")
        return folder

    return quantise


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compiling for a CPU takes longer than these runs."""
    monkeypatch.setenv("MLX_DISABLE_COMPILE", "1")
    mx.disable_compile()
    yield
    mx.enable_compile()


Make = Callable[..., TrainJob]


@pytest.fixture
def make(base: Path, data: Path) -> Make:
    def job(folder: Path = base, start: Path | None = None, **settings: Any) -> TrainJob:
        return make_job("local", LocalSettings(**{**SMALL, **settings}), folder, data, start=start)

    return job


class Watch:
    """What was told, by a run that gets `number` as a signal after step `at`."""

    def __init__(self, at: int | None = None, number: int = signal.SIGINT) -> None:
        self.at, self.number, self.told, self.steps = at, number, "", list[int]()

    def __call__(self, event: Any) -> None:
        self.told += event.get("message", event.get("saved", "")) + "\n"
        if "done" in event:
            self.steps.append(event["done"])
            if event["done"] == self.at:
                os.kill(os.getpid(), self.number)


def train_here(job: TrainJob, folder: Path, watch: Watch | None = None, resume_from: Path | None = None) -> Watch:
    """Without a child."""
    watch = watch or Watch()
    conduct_here(job, {"folder": folder, "resume_from": resume_from}, watch)
    return watch


def weights(folder: Path) -> bytes:
    (path,) = (folder / "adapter").glob("*.safetensors")
    return path.read_bytes()


def logits(model: Any) -> Any:
    return np.array(model(mx.array([[5, 9, 300, 17, 4, 80]])))


# What is trained


def test_a_run_from_beginning_to_end(make: Make, base: Path, work: Path) -> None:
    watch = Watch()
    report = conduct(make(steps=24, num_layers=9), Launch(work / "run", on_event=watch))
    rows, _ = read_metrics(work / "run/metrics.jsonl")
    assert report.steps == 24 == len(rows) and report.adapter == work / "run/adapter"
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert [row["step"] for row in rows if row["val_loss"] is not None] == [3, 6, 9, 12, 15, 18, 21, 24]
    assert rows[-1]["val_loss"] < rows[2]["val_loss"]
    assert rows[4]["tokens"] == make().train.tokens  # an epoch
    assert "num_layers: the model has 4, fewer than 9" in watch.told
    assert "values are trained, in 4 of 4 layers" in watch.told and "B of memory" in watch.told
    tinker = read_tinker_run(work / "run")
    assert tinker and (tinker.backend, tinker.model, tinker.steps_done) == ("local", str(base), 24)
    assert tinker.state_path == "checkpoints/step_00000024" and tinker.sampler_path == "adapter"
    assert conduct(make(steps=24, num_layers=9), Launch(work / "run")).steps == 24  # complete already
    asked = json.loads((work / "run/adapter/adapter_config.json").read_text())
    assert asked["num_layers"] == 4 and asked["lora_parameters"]["scale"] == 16 / 4


def test_weights_that_find_no_room_are_one_line() -> None:
    model = pytest.importorskip("compressor_cli.backends.mlx.model")
    with pytest.raises(SccError, match=r"w\.safetensors cannot be written") as refused:
        model.save_arrays(Path("/dev/full/w.safetensors"), {"w": model.mx.zeros((4,))})
    assert "disk may be full" in str(refused.value.hint)


def test_mlx_is_not_loaded_in_this_process(work: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from compressor_cli.backends.mlx import conduct;"
        "from compressor_cli.core.pace import Pace; from compressor_cli.core.train_rows import TrainRows;"
        "from compressor_cli.core.training import Launch, TrainJob; from compressor_cli.settings import LocalSettings;"
        "from compressor_cli.errors import UsageError\n"
        "job = TrainJob('local', LocalSettings(), 'm', Path('m'), {}, TrainRows(), TrainRows(), Pace(1, 1, 1, 0))\n"
        "try: conduct(job, Launch(Path('run')))\n"
        "except UsageError as exc: print(exc, [name for name in sys.modules if name.startswith('mlx')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "mlx-lm cannot load it" in done.stdout and done.stdout.rstrip().endswith("[]"), done.stderr
    assert not (work / "run").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"dropout": 0.3},
        {"fine_tune_type": "dora", "target_modules": ("q_proj", "mlp.up_proj")},
        {"fine_tune_type": "full", "learning_rate": 1e-3},
    ],
    ids=["lora", "dora", "full"],
)
def test_mlx_lm_loads_what_was_trained(settings: dict[str, Any], make: Make, base: Path, work: Path) -> None:
    from compressor_cli.backends.mlx import model, training

    kept: list[Any] = []
    before = logits(mlx_lm.load(str(base))[0])
    with pytest.MonkeyPatch.context() as patch:
        fit = training.fit

        def keep(trained: Any, *rest: Any) -> None:
            kept.append(trained)
            fit(trained, *rest)

        patch.setattr(training, "fit", keep)
        train_here(make(**settings), work / "run")
    trained = kept[0].model
    trained.eval()
    if settings.get("fine_tune_type") == "full":
        loaded, tokenizer = mlx_lm.load(str(work / "run/adapter"))
        assert tokenizer.encode("parser") and tokenizer.chat_template
    else:
        loaded, _ = mlx_lm.load(str(base), adapter_path=str(work / "run/adapter"))
    assert np.array_equal(logits(loaded), logits(trained))
    assert np.abs(logits(loaded) - before).max() > 0.1
    saved, _ = mlx_lm.load(str(base), adapter_path=str(work / f"run/checkpoints/step_0000000{STEPS}"))
    assert np.array_equal(logits(saved), logits(trained))
    assert model.WEIGHTS in check_checkpoint(work / f"run/checkpoints/step_0000000{STEPS}").files


def test_the_loss_is_the_mean_over_the_trained_tokens(make: Make, base: Path, work: Path) -> None:
    """Against the definition; padding, prompts and rows of other lengths do not count."""
    job = make(steps=1, batch_size=3, gradient_accumulation=2)
    train_here(job, work / "run")
    model, _ = mlx_lm.load(str(base))
    losses: list[float] = []
    for place in job.pace.rows_of(0):
        row = job.train.rendered[place]
        scores = np.array(model(mx.array([row.tokens])))[0].astype(np.float64)
        chances = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
        losses += [-chances[at - 1, row.tokens[at]] for start, end in row.trained for at in range(start, end)]
    rows, _ = read_metrics(work / "run/metrics.jsonl")
    assert rows[0]["loss"] == pytest.approx(np.mean(losses), abs=1e-4)


@pytest.mark.parametrize("settings", [{"max_grad_norm": 0.5}, {"fine_tune_type": "full", "optimizer": "adam"}])
def test_rows_of_a_step_count_alike_however_they_are_cut(settings: dict[str, Any], make: Make, work: Path) -> None:
    found = []
    for size in (1, 2, 4):
        train_here(make(steps=3, batch_size=size, gradient_accumulation=4 // size, **settings), work / str(size))
        (path,) = (work / str(size) / "adapter").glob("*.safetensors")
        found.append(load_tensors(path))
    for other in found[1:]:
        assert all(np.abs(other[name] - found[0][name]).max() < 2e-4 for name in found[0])


def test_gradients_are_clipped(make: Make) -> None:
    from mlx.utils import tree_flatten

    from compressor_cli.backends.mlx.model import prepare
    from compressor_cli.backends.mlx.training import make_step, run_step

    class Recorder:
        def __init__(self) -> None:
            self.state: dict[str, Any] = {}

        def update(self, model: Any, gradients: Any) -> None:
            self.norm = sum(float((value**2).sum()) for _, value in tree_flatten(gradients)) ** 0.5

    job, norms = make(), []
    model = prepare(job).model
    for longest in (None, 0.25, 1e6):
        run_step(make_step(model, recorder := Recorder(), longest), job.train.rendered[:4], 2)
        norms.append(recorder.norm)
    assert norms[0] > 0.5 and norms == [norms[0], pytest.approx(0.25, rel=1e-4), pytest.approx(norms[0])]


def test_weights_decay(make: Make, work: Path) -> None:
    for name, decay in (("plain", 0.0), ("decayed", 0.5)):
        train_here(make(steps=1, weight_decay=decay), work / name)
    plain, decayed = (load_tensors(work / name / "adapter/adapters.safetensors") for name in ("plain", "decayed"))
    first = next(name for name in plain if name.endswith("lora_a"))  # has no gradient while lora_b is zero
    assert decayed[first] == pytest.approx(plain[first] * (1 - 5e-3 * 0.5), abs=1e-7)


def test_recomputing_layers_changes_nothing(make: Make, work: Path) -> None:
    for name, recompute in (("kept", False), ("recomputed", True)):
        train_here(make(steps=3, gradient_checkpointing=recompute), work / name)
    kept, recomputed = (load_tensors(work / name / "adapter/adapters.safetensors") for name in ("kept", "recomputed"))
    assert all(np.abs(kept[name] - recomputed[name]).max() < 1e-6 for name in kept)


def test_recomputed_layers_drop_the_same_values_again() -> None:
    """mlx-lm's own way does not: its gradients are those of another loss."""
    from mlx import nn

    from compressor_cli.backends.mlx.recompute import checkpoint_layers

    class Layer(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lora_a, self.dropout = mx.ones((64,)), nn.Dropout(0.5)

        def __call__(self, x: Any) -> Any:
            return self.dropout(x * self.lora_a)

    class Model(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = [Layer(), Layer()]

        def __call__(self, x: Any) -> Any:
            return self.layers[0](x).sum() + self.layers[1](x * 1.5).sum()

    model: Any = Model()
    checkpoint_layers(model, 0.5)
    model.train()
    mx.random.seed(1)
    masks = set()
    for _ in range(3):
        loss, gradients = nn.value_and_grad(model, lambda m, x: m(x))(model, mx.arange(1, 65).astype(mx.float32))
        sums = [float(layer["lora_a"].sum()) for layer in gradients["layers"]]
        assert sum(sums) == pytest.approx(float(loss))  # it is linear in each weight, and each is 1
        masks |= {sums[0], sums[1] / 1.5}
    assert len(masks) == 6  # of each layer and step one of its own


def test_texts_are_pretrained_on_whole(make: Make, base: Path, work: Path) -> None:
    (work / "texts").mkdir()
    rows = [json.dumps({"text": f"{wordy} {short} " * 9}) for wordy, short in texts(3)]
    (work / "texts/train.jsonl").write_text("\n".join(rows) + "\n")
    settings = LocalSettings(**{**SMALL, "stage": "pretrain", "steps": 6})
    job = make_job("local", settings, base, work / "texts")
    assert len(job.train) > 3  # cut into pieces
    train_here(job, work / "run")
    measured, _ = read_metrics(work / "run/metrics.jsonl")
    assert measured[-1]["loss"] < measured[0]["loss"] and measured[-1]["val_loss"] is None


# Going on


@pytest.mark.parametrize(
    ("bits", "settings"),
    [
        (None, {"dropout": 0.2, "gradient_checkpointing": True}),
        (None, {"fine_tune_type": "dora", "dropout": 0.2, "optimizer": "adam", "batch_size": 3}),
        (16, {"fine_tune_type": "full", "max_grad_norm": 1.0, "weight_decay": 0.1, "schedule": "cosine"}),
        (4, {"dropout": 0.1, "max_grad_norm": 0.5}),
        (8, {"fine_tune_type": "dora", "dropout": 0.1}),
    ],
    ids=["lora", "dora", "bfloat16 full", "4-bit lora", "8-bit dora"],
)
def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(
    bits: int | None, settings: dict[str, Any], make: Make, quantised: Callable[[int], Path], work: Path
) -> None:
    job = make(**settings, **({"folder": quantised(bits)} if bits else {}))
    train_here(job, work / "whole")
    for at, number in ((2, signal.SIGINT), (7, signal.SIGTERM)):  # within the first epoch, and within the second
        with pytest.raises(SystemExit) as left:
            train_here(job, work / "run", watch := Watch(at, number))
        assert left.value.code == 128 + number and watch.steps[-1] == at
        assert f"the same command goes on after step {at}" in watch.told
        noted = read_tinker_run(work / "run")
        assert noted and noted.steps_done == at and noted.state_path == noted.sampler_path
        assert noted.state_path == f"checkpoints/step_{at:08d}"
    assert train_here(job, work / "run").steps == [8]
    assert weights(work / "run") == weights(work / "whole")
    last = f"checkpoints/step_{STEPS:08d}"
    run, whole = (load_tensors(work / name / last / "optimizer.safetensors") for name in ("run", "whole"))
    assert run.keys() == whole.keys() and all(np.array_equal(run[name], whole[name]) for name in whole)
    assert (work / "run" / last / "random.json").read_text() == (work / "whole" / last / "random.json").read_text()
    measured = [
        [(row["step"], row["loss"], row["val_loss"], row["lr"], row["tokens"]) for row in read_metrics(path)[0]]
        for path in (work / "run/metrics.jsonl", work / "whole/metrics.jsonl")
    ]
    assert measured[0] == measured[1]


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def empty(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


TEARS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (lambda at: os.truncate(at / "adapters.safetensors", 100), "adapters.safetensors has 100 bytes"),
    "no optimizer": (lambda at: (at / "optimizer.safetensors").unlink(), "optimizer.safetensors is missing"),
    "another random state": (lambda at: flip(at / "random.json"), "random.json is not what was written"),
    "no state": (lambda at: (at / "state.json").unlink(), "state.json is missing"),
    "empty": (empty, "state.json is missing"),
    "never sealed": (lambda at: at.rename(at.with_name(".staging")), "a save that was cut off is left out"),
}


@pytest.fixture(scope="module")
def stopped(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainJob, Path, Path]:
    """A run that was stopped after step 7, with checkpoints of 3, 6 and 7; and one that was not."""
    job = make_job("local", LocalSettings(**SMALL, dropout=0.1), base, data)
    folder = tmp_path_factory.mktemp("runs")
    mx.disable_compile()
    train_here(job, folder / "whole")
    with pytest.raises(SystemExit):
        train_here(job, folder / "run", Watch(7))
    return job, folder / "run", folder / "whole"


@pytest.mark.parametrize("tear", TEARS)
def test_a_torn_checkpoint_is_passed_over_and_told(tear: str, stopped: tuple[TrainJob, Path, Path], work: Path) -> None:
    job, run, whole = stopped
    shutil.copytree(run, work / "run")
    damage, told = TEARS[tear]
    damage(work / "run/checkpoints/step_00000007")
    watch = train_here(job, work / "run")
    assert watch.steps == [7, 8] and told in watch.told and "going on after step 6" in watch.told
    assert weights(work / "run") == weights(whole)


@pytest.mark.slow
def test_a_run_goes_on_from_what_tinker_run_names(stopped: tuple[TrainJob, Path, Path], work: Path) -> None:
    job, run, whole = stopped
    shutil.copytree(run, work / "moved")
    watch = Watch()
    conduct(job, Launch(work / "moved", resume_from=work / "moved/tinker_run.json", on_event=watch))
    assert watch.steps == [8] and weights(work / "moved") == weights(whole)
    shutil.copy(run / "tinker_run.json", work)
    with pytest.raises(UsageError, match="not a checkpoint folder"):
        conduct(job, Launch(work / "moved", resume_from=work / "tinker_run.json"))


def test_a_run_killed_before_its_end_was_noted_exports_again(stopped: tuple[TrainJob, Path, Path], work: Path) -> None:
    job, _, whole = stopped
    shutil.copytree(whole, work / "run")
    card = json.loads((work / "run/run.json").read_text())
    (work / "run/run.json").write_text(json.dumps(card | {"state": "running"}))
    (work / "run/.adapter").mkdir()  # half written
    (work / "run/adapter/adapters.safetensors").write_bytes(b"")
    assert train_here(job, work / "run").steps == []
    assert weights(work / "run") == weights(whole) and not (work / "run/.adapter").exists()


def test_a_child_that_is_killed_loses_the_steps_since_the_last_save(
    stopped: tuple[TrainJob, Path, Path], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a system that is out of memory; the one who called is told, and goes on."""
    job, _, whole = stopped
    started: list[Any] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Popen)

    def kill(event: Any) -> None:
        if event.get("done") == 5:
            started[-1].kill()

    with pytest.raises(SccError, match=r"SIGKILL; the last checkpoint is step_00000003") as caught:
        conduct(job, Launch(work / "run", on_event=kill))
    assert caught.value.hint and "--batch-size" in caught.value.hint
    watch = Watch()
    conduct(job, Launch(work / "run", on_event=watch))
    assert watch.steps[0] in (4, 7)  # the child may have done more before it died
    assert weights(work / "run") == weights(whole)


@pytest.mark.parametrize(
    ("rate", "told"), [(1e30, "the loss is (nan|inf) at step 5"), (1e39, "weights are not finite")]
)
def test_numbers_that_are_none_keep_the_last_good_checkpoint(
    rate: float, told: str, make: Make, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from compressor_cli.backends.mlx import training

    monkeypatch.setattr(training, "learning_rate", lambda step, *rest: rate if step == 3 else 1e-3)
    with pytest.raises(SccError, match=told):
        train_here(make(save_every=1, eval_every=100), work / "run")
    saved = sorted((work / "run/checkpoints").iterdir())
    assert saved and all(non_finite_tensor(path / "adapters.safetensors") is None for path in saved)
    assert not (work / "run/adapter").exists()
    assert json.loads((work / "run/run.json").read_text())["state"] == "failed"


# From another run


@pytest.mark.parametrize("kind", ["lora", "dora", "full"])
def test_a_run_starts_from_the_result_of_another(kind: str, make: Make, work: Path) -> None:
    train_here(make(fine_tune_type=kind), work / "first")
    train_here(make(fine_tune_type=kind, seed=1, steps=1, start=work / "first"), work / "second")
    train_here(make(fine_tune_type=kind, seed=1, steps=1), work / "afresh")
    second, afresh = (read_metrics(work / run / "metrics.jsonl")[0][0]["loss"] for run in ("second", "afresh"))
    assert second < 0.7 * afresh


def test_a_start_that_does_not_fit_is_refused(make: Make, work: Path) -> None:
    train_here(make(steps=1), work / "first")
    for settings, told in (
        ({"rank": 8, "alpha": 32}, "has another rank: 4, not 8"),
        ({"num_layers": 3}, "has another num_layers: 2, not 3"),
        ({"alpha": 8}, r"has another scale: 4\.0, not 2\.0"),
        ({"target_modules": ("q_proj",)}, "has another keys"),
        ({"fine_tune_type": "dora"}, "was trained as lora, and cannot be gone on from as dora"),
        ({"fine_tune_type": "full"}, "was trained as lora, and cannot be gone on from as full"),
    ):
        with pytest.raises(UsageError, match=told):
            train_here(make(**settings, start=work / "first"), work / "second")
    (work / "first/adapter/adapters.safetensors").write_bytes(b"torn")
    with pytest.raises(UsageError, match="cannot be read"):
        train_here(make(start=work / "first"), work / "second")
    with pytest.raises(UsageError, match="is no finished run of --backend local"):
        train_here(make(start=work), work / "second")
    assert not (work / "second").exists()


# What is refused


@pytest.mark.parametrize(
    ("settings", "told", "hint"),
    [
        ({"stage": "dpo"}, "no stage dpo", "--backend torch"),
        ({"stage": "distill"}, "no stage distill", "--backend torch"),
        ({"num_layers": 0}, "trains nothing", "-1 is all"),
        ({"optimizer": "adam", "weight_decay": 0.1}, "weight_decay", "adamw"),
        ({"fine_tune_type": "full", "dropout": 0.1}, "dropout belongs to adapters", ""),
        ({"fine_tune_type": "full", "target_modules": ("q_proj",)}, "target_modules belongs to adapters", ""),
    ],
)
def test_settings_that_mean_nothing_are_refused_at_once(
    settings: dict[str, Any], told: str, hint: str, make: Make, work: Path
) -> None:
    job = replace(make(), settings=LocalSettings(**{**SMALL, **settings}))
    with pytest.raises(UsageError, match=told) as caught:
        conduct(job, Launch(work / "run"))
    assert hint in (caught.value.hint or "") and not (work / "run").exists()


@pytest.mark.parametrize(
    ("bits", "settings", "told"),
    [
        (None, {"target_modules": ("q_proj", "lm_head")}, "have no 'lm_head'"),
        (None, {"target_modules": ("proj",)}, "have no 'proj'"),
        (4, {"fine_tune_type": "full"}, "cannot train quantised weights"),
        (6, {"fine_tune_type": "dora"}, "no DoRA for a base of 6 bits"),
    ],
)
def test_what_the_model_cannot_is_refused(
    bits: int | None, settings: dict[str, Any], told: str, make: Make, quantised: Callable[[int], Path], work: Path
) -> None:
    folder = {"folder": quantised(bits)} if bits else {}
    with pytest.raises(UsageError, match=told) as caught:
        train_here(make(**settings, **folder), work / "run")
    assert caught.value.hint and not (work / "run").exists()


def test_models_that_mlx_lm_does_not_load_are_refused(make: Make, base: Path, work: Path) -> None:
    broken: dict[str, Callable[[Path], object]] = {
        "No safetensors": lambda at: (at / "model.safetensors").unlink(),
        "cannot load it": lambda at: os.truncate(at / "model.safetensors", 1000),
        "(?i)not supported": lambda at: (at / "config.json").write_text('{"model_type": "none_such"}'),
        "Missing|missing|parameters": lambda at: (at / "config.json").write_text(
            (base / "config.json").read_text().replace('"num_hidden_layers": 4', '"num_hidden_layers": 5')
        ),
    }
    for number, (told, damage) in enumerate(broken.items()):
        folder = work / str(number)
        shutil.copytree(base, folder)
        damage(folder)
        with pytest.raises(UsageError, match=told):
            train_here(replace(make(), folder=folder), work / "run")
    assert not (work / "run").exists()


FAKES = {
    "gone": (
        "raise ModuleNotFoundError(\"No module named 'mlx.core'\", name='mlx.core')",
        MissingExtraError,
        "mlx.core",
    ),
    "no backend": ("raise ImportError('libmlx.so: cannot open shared object file')", UsageError, "libmlx.so"),
}


@pytest.mark.parametrize("fake", FAKES)
def test_mlx_that_cannot_be_loaded_is_one_line(
    fake: str, make: Make, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pip install mlx` on a Linux leaves a package that is found, and cannot be imported."""
    source, kind, told = FAKES[fake]
    (work / "fakes/mlx").mkdir(parents=True)
    (work / "fakes/mlx/__init__.py").touch()
    (work / "fakes/mlx/core.py").write_text(source)
    monkeypatch.syspath_prepend(str(work / "fakes"))
    with pytest.raises(kind, match=told) as caught:
        conduct(make(), Launch(work / "run"))
    assert "pip install 'compressor-cli[local]'" in str(getattr(caught.value, "hint", None))
    assert not (work / "run").exists()


def test_memory_that_mlx_does_not_get_is_told(make: Make, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from compressor_cli.backends.mlx import training

    def no_room(*args: Any) -> float:
        raise RuntimeError("[metal::malloc] Attempting to allocate 99 bytes which is greater than the maximum")

    def a_bug(*args: Any) -> float:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(training, "run_step", no_room)
    with pytest.raises(SccError, match="MLX is out of memory") as caught:
        train_here(make(), work / "run")
    assert caught.value.hint and "--batch-size" in caught.value.hint
    monkeypatch.setattr(training, "run_step", a_bug)
    with pytest.raises(RuntimeError, match="shapes differ"):
        train_here(make(), work / "run")


# Slow proofs

PARENT = """
import pickle, sys
from pathlib import Path
from compressor_cli.backends.mlx import conduct
from compressor_cli.core.training import Launch
job = pickle.loads(Path("job.pickle").read_bytes())
conduct(job, Launch(Path("run"), on_event=lambda event: print(event.get("done", ""), flush=True)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_stopped_again_and_again_ends_with_the_same_weights(
    number: int, make: Make, work: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    job = make(steps=40, dropout=0.1)
    train_here(job, work / "whole")
    (work / "job.pickle").write_bytes(pickle.dumps(job))
    (work / "script.py").write_text(PARENT)
    codes = []
    for steps in (1, 5, 8):
        process = subprocess.Popen([sys.executable, "script.py"], stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout is not None
        for _ in range(steps):
            while not process.stdout.readline().strip():
                assert process.poll() is None
        process.send_signal(number)
        codes.append(process.wait(60))
        while is_alive(work / "run"):  # a child whose parent was killed still ends its step
            time.sleep(0.1)
    assert codes == [128 + number if number != signal.SIGKILL else -number] * 3
    watch = Watch()
    conduct(job, Launch(work / "run", on_event=watch))
    assert 1 < watch.steps[0] < 40 and weights(work / "run") == weights(work / "whole")


@pytest.mark.slow
def test_compiled_steps_go_on_exactly_too(make: Make, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLX_DISABLE_COMPILE")
    mx.enable_compile()
    job = make(dropout=0.2, gradient_checkpointing=True)
    train_here(job, work / "whole")
    with pytest.raises(SystemExit):
        train_here(job, work / "run", Watch(5))
    train_here(job, work / "run")
    assert weights(work / "run") == weights(work / "whole")


@pytest.mark.slow
def test_the_rows_of_the_samples(base: Path, samples: Path, work: Path) -> None:
    from tiny_model import make_model

    lines = [line for name in ("train", "valid") for line in (samples / f"{name}.jsonl").read_text().splitlines()]
    model = make_model(work / "model", [m["content"] for line in lines for m in json.loads(line)["messages"]])
    chosen = LocalSettings(steps=4, batch_size=1, gradient_accumulation=2, learning_rate=5e-3, limit=2)
    job = make_job("local", chosen, model, samples)
    conduct(job, Launch(work / "run"))
    rows, _ = read_metrics(work / "run/metrics.jsonl")
    assert rows[-1]["loss"] < rows[0]["loss"]
