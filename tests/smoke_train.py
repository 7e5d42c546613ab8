"""Train a tiny model as a person would: a run in one piece, and the same run stopped half way and gone on with.

python tests/smoke_train.py local|torch|tinker|from-scratch FOLDER
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from conftest import REPO
from safetensors.numpy import load_file
from tiny_model import make_model, make_tokenizer

from compressor_cli.core.jsonl import dump_row, read_rows

SAMPLES = REPO / "configs" / "samples"
STAGES = ("pretrain", "sft", "dpo", "distill")
_BRIEF = ("--steps", "8", "--batch-size", "2", "--max-seq-length", "512")


def main(backend: str, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = _model(folder / "model", backend)
    stages = STAGES if backend == "from-scratch" else (".",)
    with _server(backend, model) as env:
        words = _scratch(folder, model) if backend == "from-scratch" else _one(backend, model)
        _run([*words, "--output", str(folder / "whole")], env)
        for stage in stages:
            _stopped([*words, "--output", str(folder / "cut")], folder / "cut" / stage, folder / "whole" / stage, env)
        _run([*words, "--output", str(folder / "cut")], env)
    for stage in stages:
        _compare(folder / "whole" / stage, folder / "cut" / stage, must_fall=stage != "dpo")


def _model(folder: Path, backend: str) -> Path:
    """For the loopback server of Tinker only a tokenizer: it has a small model of its own."""
    texts = [message["content"] for row in read_rows(SAMPLES / "train.jsonl") for message in row["messages"]]
    return make_tokenizer(folder, texts, vocabulary=1000) if backend == "tinker" else make_model(folder, texts)


def _one(backend: str, model: Path) -> list[str]:
    words = ["--backend", backend, "--data", str(SAMPLES), "--model", str(model), "--steps", "16", "--save-every", "5"]
    return [*words, "--batch-size", "2", "--lr", "5e-3", "--max-seq-length", "400" if backend == "local" else "1024"]


def _scratch(folder: Path, model: Path) -> list[str]:
    """Texts, pairs and preferences from the samples; the worse answer is the first half of the better one."""
    data = folder / "data"
    _run(["data", "corpus", str(SAMPLES), str(REPO / "docs"), "--output", str(folder / "corpus.jsonl")])
    _run(["data", "split", str(folder / "corpus.jsonl"), "--format", "text", "--output", str(data / "text")])
    (data / "sft").mkdir(parents=True)
    for name in ("train.jsonl", "valid.jsonl"):
        shutil.copy(SAMPLES / name, data / "sft" / name)
    rows = list(read_rows(SAMPLES / "train.jsonl"))
    for row in rows:
        row["messages"][-1]["content"] = row["messages"][-1]["content"][: len(row["messages"][-1]["content"]) // 2]
    (folder / "worse.jsonl").write_bytes(b"".join(map(dump_row, rows)))
    rejected = ["--rejected", str(folder / "worse.jsonl")]
    better = str(SAMPLES / "train.jsonl")
    _run(["data", "split", better, *rejected, "--format", "preference", "--output", str(data / "preference")])
    words = ["--stages", str(REPO / "configs/stages/from-scratch.yaml"), "--data", str(data), "--model", str(model)]
    return [*words, "--teacher", str(model), "--from-config", str(model / "config.json"), *_BRIEF]


@contextmanager
def _server(backend: str, model: Path) -> Iterator[Mapping[str, str]]:
    if backend != "tinker":
        yield {}
        return
    from tinker_double import serving_tinker

    with serving_tinker(str(model), vocabulary=1024) as server:
        yield server.environment()


def _scc(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "compressor_cli", *words]


def _run(words: Sequence[str], env: Mapping[str, str] | None = None) -> None:
    verb = words if words[0] == "data" else ["train", *words]
    print("$ scc", *verb, flush=True)
    subprocess.run(_scc(verb), check=True, env={**os.environ, **(env or {})})


def _stopped(words: Sequence[str], run: Path, whole: Path, env: Mapping[str, str]) -> None:
    """Ctrl-C once half of the steps are done."""
    half = sum(1 for _ in read_rows(whole / "metrics.jsonl")) // 2
    print("$ scc train", *words, f"    # Ctrl-C after step {half} of {run.name}", flush=True)
    process = subprocess.Popen(_scc(["train", *words]), env={**os.environ, **env})
    while process.poll() is None and _steps(run) < half:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    if (code := process.wait()) != 130:
        sys.exit(f"a run that was stopped ended with {code}")


def _steps(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _compare(whole: Path, cut: Path, *, must_fall: bool) -> None:
    files = sorted(path.relative_to(whole) for path in (whole / "adapter").rglob("*.safetensors"))
    if not files:
        sys.exit(f"{whole / 'adapter'} holds no weights")
    for name in files:
        one, other = load_file(whole / name), load_file(cut / name)
        if one.keys() != other.keys() or any((one[key] != other[key]).any() for key in one):
            sys.exit(f"{name}: the weights of {whole} and {cut} differ")
    losses = [row["loss"] for row in read_rows(whole / "metrics.jsonl")]
    quarter = max(1, len(losses) // 4)
    first, last = (sum(part) / quarter for part in (losses[:quarter], losses[-quarter:]))
    print(f"{whole.name}: {len(losses)} steps, loss {first:.3f} -> {last:.3f}; equal weights after a stop", flush=True)
    if must_fall and not last < first:
        sys.exit("the loss did not fall")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
