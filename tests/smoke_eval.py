"""From training to use, with a tiny model: train, eval that is stopped and gone on with, compare, export to the other
library, compress with the result.

python tests/smoke_eval.py FOLDER
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from conftest import REPO
from tiny_model import make_model

from compressor_cli.core.jsonl import read_rows

SAMPLES = REPO / "configs" / "samples"


def main(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.chdir(folder)
    texts = [message["content"] for row in read_rows(SAMPLES / "train.jsonl") for message in row["messages"]]
    make_model(Path("model"), texts)
    words = ["--data", str(SAMPLES), "--steps", "6", "--batch-size", "2", "--max-seq-length", "300", "--lr", "1e-2"]
    scc("train", "--backend", "local", "--model", "model", *words, "--output", "runs/tiny")
    rows = ["--data", str(SAMPLES / "test.jsonl"), "--embeddings", "none"]
    measure = ["eval", "--adapter", "runs/tiny", *rows, "--batch-size", "1", "--output", "eval/tiny.jsonl"]
    stopped(measure, Path("eval/tiny.jsonl"), 3)
    scc(*measure, "--resume")
    scc("eval", "--backend", "embedded", *rows, "--output", "eval/embedded.jsonl")
    scc("compare", "eval/tiny.jsonl", "eval/embedded.jsonl", "--html", "compare.html")
    if len({row["id"] for row in read_rows(Path("eval/tiny.jsonl"))}) != sum(
        1 for _ in read_rows(SAMPLES / "test.jsonl")
    ):
        sys.exit("rows of the eval are missing, or there twice")
    scc("export", "runs/tiny", "--to", "peft", "--format", "peft", "--eval", "eval/tiny.jsonl")
    used = scc(
        "compress", "--engine", "adapter", "--adapter", "peft", "--backend", "torch", "--model", "model", "--json",
        str(REPO / "examples/paragraph.txt"),
    )  # fmt: skip
    receipt = json.loads(used)
    told = [line for line in receipt["warnings"] if "the embedded engine took" in line]
    if not (
        receipt["tokens_out"] <= receipt["tokens_in"]
        and receipt["fidelity"] == 1
        and (receipt["engine"] == "adapter" or told)
    ):
        sys.exit(f"a receipt that does not hold: {used}")
    print(f"{receipt['tokens_in']} -> {receipt['tokens_out']} tokens by {receipt['engine']}, every fact kept", *told)


def scc(*words: str) -> str:
    print("$ scc", *words, flush=True)
    done = subprocess.run([sys.executable, "-m", "compressor_cli", *words], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"scc {words[0]} ended with {done.returncode}")
    if "--json" not in words:
        print(done.stdout, end="", flush=True)
    return done.stdout


def stopped(words: list[str], output: Path, rows: int) -> None:
    """Ctrl-C once there are as many rows."""
    print("$ scc", *words, f"    # Ctrl-C after row {rows}", flush=True)
    process = subprocess.Popen([sys.executable, "-m", "compressor_cli", *words])
    while process.poll() is None and not (output.exists() and output.read_bytes().count(b"\n") >= rows):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    if (code := process.wait()) != 130:
        sys.exit(f"an eval that was stopped ended with {code}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
