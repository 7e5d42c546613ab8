"""What `--backend local` costs beside mlx-lm's own trainer: the median step of both, with the same settings.

    python benchmarks/local_overhead.py [--steps 25] [--hidden 64 128]

Each is a process of its own, and they take turns, step by step, so that what else the machine does falls on both. A
step of ours is the whole of it: the record in metrics.jsonl and TensorBoard, and telling the one who watches; saves and
validation are left out on both sides. The rows are of one length, so that both compute on the same shapes (mlx-lm takes
them in an order of its own), and a third of each is trained on, as in the default dataset; the head has a tenth of the
weights, as in Qwen3-4B. The bar is a ratio of 1.05.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from reporting import print_table

from compressor_cli.core.pace import Pace
from compressor_cli.core.rendering import Rendered
from compressor_cli.core.train_rows import TrainRows
from compressor_cli.core.training import TrainJob
from compressor_cli.settings import LocalSettings

LENGTH, ROWS = 384, 64
VOCABULARIES = {64: 384, 128: 1408}
WARM = 3  # steps that are not measured: the first ones compile
BAR = 1.05


def settings(steps: int) -> LocalSettings:
    """Those of a user, but for sizes; nothing is saved until the end."""
    return LocalSettings(
        steps=steps, save_every=10**9, num_layers=-1, gradient_accumulation=2, warmup=0, schedule="constant"
    )


def rows() -> list[Rendered]:
    draw, vocabulary, trained = random.Random(0), min(VOCABULARIES.values()), ((2 * LENGTH // 3, LENGTH),)
    return [Rendered([draw.randrange(vocabulary) for _ in range(LENGTH)], trained) for _ in range(ROWS)]


def make_model(folder: Path, hidden: int) -> None:
    """A Qwen3 with random weights, its layers wider and more with `hidden`."""
    import mlx_lm.utils
    from mlx_lm.models import qwen3

    config: dict[str, Any] = {
        "model_type": "qwen3", "hidden_size": hidden, "num_hidden_layers": 4 if hidden < 128 else 8,
        "intermediate_size": 3 * hidden, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": hidden // 4,
        "rms_norm_eps": 1e-6, "vocab_size": VOCABULARIES[hidden], "max_position_embeddings": 4096, "rope_theta": 1e6,
        "tie_word_embeddings": True,
    }  # fmt: skip
    mlx_lm.utils.save_model(folder, qwen3.Model(qwen3.ModelArgs(**config)))
    (folder / "config.json").write_text(json.dumps(config))


def ours(turn: Callable[[], None], folder: Path, steps: int) -> None:
    from compressor_cli.backends.mlx import conduct_here

    train = TrainRows(rendered=rows())
    chosen = settings(steps)
    pace = Pace(len(train), chosen.rows_per_step, steps, chosen.seed)
    job = TrainJob("local", chosen, "random", folder / "model", {}, train, TrainRows(), pace)
    conduct_here(job, {"folder": folder / "run"}, lambda event: turn() if "done" in event else None)


def theirs(turn: Callable[[], None], folder: Path, steps: int) -> None:
    import mlx.core as mx
    from mlx_lm.tuner.callbacks import TrainingCallback
    from mlx_lm.tuner.trainer import TrainingArgs, train
    from mlx_lm.tuner.utils import linear_to_lora_layers
    from mlx_lm.utils import load_model

    from compressor_cli.backends.mlx.training import make_optimizer

    class Callback(TrainingCallback):  # type: ignore[misc]
        def on_train_loss_report(self, train_info: dict[str, Any]) -> None:
            turn()

    chosen = settings(steps)
    model, _ = load_model(folder / "model")
    mx.random.seed(chosen.seed)
    model.freeze()
    lora = {"rank": chosen.rank, "scale": chosen.alpha / chosen.rank, "dropout": chosen.dropout}
    linear_to_lora_layers(model, chosen.num_layers, lora)
    args = TrainingArgs(
        batch_size=chosen.batch_size,
        iters=steps * chosen.gradient_accumulation,
        steps_per_report=chosen.gradient_accumulation,
        steps_per_save=10**9,
        max_seq_length=chosen.max_seq_length,
        adapter_file=str(folder / "theirs.safetensors"),
        grad_checkpoint=chosen.gradient_checkpointing,
        grad_accumulation_steps=chosen.gradient_accumulation,
    )
    data = [(row.tokens, row.trained[0][0]) for row in rows()]
    train(model, make_optimizer(chosen), data, args=args, training_callback=Callback())


WAYS = {"scc train --backend local": ours, "mlx-lm's trainer": theirs}


def work(pipe: Connection, way: str, folder: Path, steps: int) -> None:
    """Tells of each step, and waits to be asked for the next."""

    def turn() -> None:
        pipe.send(time.process_time())
        pipe.recv()

    sys.stdout = sys.stderr  # mlx-lm draws its progress there
    WAYS[way](turn, folder, steps)


def measure(hidden: int, steps: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of each step after the first ones, and those of its process."""
    context = multiprocessing.get_context("spawn")
    seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        maker = context.Process(target=make_model, args=(Path(name) / "model", hidden))
        maker.start()
        maker.join()
        workers, processes, spent = {}, [], {}
        for way in WAYS:
            here, there = context.Pipe()
            process = context.Process(target=work, args=(there, way, Path(name), steps), daemon=True)
            process.start()
            there.close()
            workers[way] = here
            processes.append(process)
            spent[way] = here.recv()  # its first step is done
        for step in range(1, steps):
            for way, pipe in workers.items() if step % 2 else reversed(workers.items()):
                began = time.perf_counter()
                pipe.send("go")
                before, spent[way] = spent[way], pipe.recv()
                if step >= WARM:
                    seconds[way].append((time.perf_counter() - began, spent[way] - before))
        for process in processes:
            process.kill()
            process.join()
    return seconds


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument(
        "--hidden", type=int, nargs="+", choices=VOCABULARIES, default=[*VOCABULARIES], help="widths of the models"
    )
    args = parser.parse_args(arguments)
    worst = 0.0
    for hidden in args.hidden:
        found = measure(hidden, args.steps)
        medians = {way: [median(values) for values in zip(*steps, strict=True)] for way, steps in found.items()}
        wall, cpu = (mine / plain for mine, plain in zip(*medians.values(), strict=True))
        worst = max(worst, wall)
        told = [[way, *(f"{value * 1000:.1f}" for value in values)] for way, values in medians.items()]
        print_table(
            f"hidden size {hidden}", ("way", "ms a step", "CPU ms"), [*told, ["ratio", f"{wall:.3f}", f"{cpu:.3f}"]]
        )
    sys.exit(f"over the bar of {BAR}" if worst > BAR else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
