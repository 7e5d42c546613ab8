"""What `--backend local` generates in a second beside `mlx_lm.batch_generate` by itself, on the same prompts.

    python benchmarks/local_generation.py [--model NAME_OR_FOLDER] [--rounds 15] [--prompts 16] [--batch-size 8]

Each is a process of its own with the model in memory, and they take turns, round by round, so that what else the
machine does falls on both. A round of ours is the whole of it: rendering, tokens, the way to the child process and
back, texts. Theirs is given tokens. Prompts and answers are of different lengths. Once they have nothing in common, and
once they begin with one system prompt, which ours reads once. The bar is a ratio of 0.95. Without --model its weights
are random, so that answers end at their limits.
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

from compressor_cli.core.generation import ModelSource, Prompt, Sampling

BAR = 0.95
WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu".split()
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
Round = tuple[int, float, float]  # tokens, seconds, seconds of processors


def make_model(folder: Path, hidden: int) -> None:
    """A Qwen3 with random weights, and a tokenizer of one token a word."""
    import mlx_lm.utils
    from mlx_lm.models import qwen3
    from tokenizers import Tokenizer, models, pre_tokenizers

    special = ["<|im_start|>", "<|im_end|>", "<unk>"]
    vocabulary = {word: place for place, word in enumerate([*special, *WORDS, "system", "user", "assistant"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(special[:2])
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": special[1], "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    config: dict[str, Any] = {
        "model_type": "qwen3", "hidden_size": hidden, "num_hidden_layers": 8, "intermediate_size": 3 * hidden,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": hidden // 4, "rms_norm_eps": 1e-6,
        "vocab_size": 4096, "max_position_embeddings": 4096, "rope_theta": 1e6, "tie_word_embeddings": True,
    }  # fmt: skip
    mlx_lm.utils.save_model(folder, qwen3.Model(qwen3.ModelArgs(**config)))
    (folder / "config.json").write_text(json.dumps(config))


def make_prompts(count: int, shared: bool) -> list[Prompt]:
    draw = random.Random(0)

    def text(words: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(words))

    before = ({"role": "system", "content": text(100)},) if shared else ()
    return [
        Prompt((*before, {"role": "user", "content": text(draw.randrange(10, 150))}), draw.randrange(16, 64))
        for _ in range(count)
    ]


def ours(model: str, batch_size: int) -> Callable[[list[Prompt]], Round]:
    from compressor_cli.backends.mlx import open_generator

    generator: Any = open_generator(ModelSource(model, batch_size=batch_size))
    child = generator._child._process.pid

    def spent() -> float:
        return time.process_time() + cpu_seconds(child)

    def go(prompts: list[Prompt]) -> Round:
        before, began = spent(), time.perf_counter()
        tokens = sum(answer.tokens_out for _, answer in generator.generate(prompts, Sampling()))
        return tokens, time.perf_counter() - began, spent() - before

    return go


def theirs(model: str, batch_size: int) -> Callable[[list[Prompt]], Round]:
    import mlx_lm

    loaded, tokenizer = mlx_lm.load(model)
    sizes = {"completion_batch_size": batch_size, "prefill_batch_size": min(batch_size, 8)}

    def go(prompts: list[Prompt]) -> Round:
        tokens = [
            list(tokenizer.apply_chat_template(list(one.messages), add_generation_prompt=True)) for one in prompts
        ]
        limits = [one.max_tokens for one in prompts]
        before, began = time.process_time(), time.perf_counter()
        found = mlx_lm.batch_generate(loaded, tokenizer, tokens, max_tokens=limits, return_token_ids=True, **sizes)
        seconds, cpu = time.perf_counter() - began, time.process_time() - before
        return sum(map(len, found.token_ids)), seconds, cpu

    return go


WAYS = {"scc, --backend local": ours, "mlx_lm.batch_generate": theirs}


def cpu_seconds(pid: int) -> float:
    """Of a process; 0 where the system does not tell in /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / 100  # in ticks of Linux


def work(pipe: Connection, way: str, model: str, batch_size: int) -> None:
    go = WAYS[way](model, batch_size)
    pipe.send(None)
    while prompts := pipe.recv():
        pipe.send(go(prompts))


def measure(model: str, prompts: list[Prompt], rounds: int, batch_size: int) -> dict[str, list[Round]]:
    context = multiprocessing.get_context("spawn")
    workers, processes, found = {}, [], dict[str, list[Round]]()
    for way in WAYS:
        workers[way], there = context.Pipe()
        processes.append(context.Process(target=work, args=(there, way, model, batch_size)))
        processes[-1].start()
        there.close()
        workers[way].recv()
        found[way] = []
    for number in range(rounds + 1):
        for way, pipe in workers.items() if number % 2 else reversed(workers.items()):
            pipe.send(prompts)
            done = pipe.recv()
            if number:  # the first one compiles
                found[way].append(done)
    for pipe, process in zip(workers.values(), processes, strict=True):
        pipe.send(None)
        process.join()
    return found


def report(title: str, found: dict[str, list[Round]]) -> float:
    """The ratio of tokens a second, the median over the rounds."""
    speeds = {way: [(tokens / wall, tokens / cpu) for tokens, wall, cpu in rounds] for way, rounds in found.items()}
    pairs = zip(*speeds.values(), strict=True)
    ratios = [(mine[0] / plain[0], mine[1] / plain[1]) for mine, plain in pairs]
    wall, cpu = (float(median(values)) for values in zip(*ratios, strict=True))
    rows = [
        [way, str(found[way][0][0]), *(f"{median(values):.0f}" for values in zip(*speeds[way], strict=True))]
        for way in WAYS
    ]
    columns = ("way", "tokens a round", "tokens/s", "tokens/CPU s")
    print_table(title, columns, [*rows, ["ratio, round by round", "", f"{wall:.3f}", f"{cpu:.3f}"]])
    return wall


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", help="of the hub, or a folder")
    parser.add_argument("--hidden", type=int, default=64, help="width of the random model")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=8)
    args = parser.parse_args(arguments)
    worst = 1.0
    with tempfile.TemporaryDirectory() as name:
        model = args.model or str(Path(name) / "model")
        if not args.model:
            maker = multiprocessing.get_context("spawn").Process(target=make_model, args=(Path(model), args.hidden))
            maker.start()
            maker.join()
        for title, shared in (("prompts of their own", False), ("prompts with one system prompt", True)):
            found = measure(model, make_prompts(args.prompts, shared), args.rounds, args.batch_size)
            worst = min(worst, report(title, found))
    sys.exit(f"under the bar of {BAR}" if worst < BAR else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
