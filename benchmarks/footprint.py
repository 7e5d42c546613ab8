"""The memory that `scc train --dry-run` foretells, beside what training takes: peak of the process, less that of a tiny
model, on random models of middling size. The rule is for orders of magnitude: it has to stay within a factor of two.

python benchmarks/footprint.py [--backend torch|local]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "tests"))

WORDS = "the harbour keeps old crates of salted fish beside a long quay where nine small boats wait for wind".split()
SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden": 64, "layers": 2, "vocabulary": 512},
    "wide": {"hidden": 768, "layers": 6, "vocabulary": 8192},
    "long": {"hidden": 256, "layers": 8, "vocabulary": 32768},
    "many": {"hidden": 128, "layers": 4, "vocabulary": 151936},
}
CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("wide", {"fine_tune_type": "lora"}),
    ("wide", {"fine_tune_type": "full"}),
    ("long", {"fine_tune_type": "lora", "gradient_checkpointing": True}),
    ("long", {"fine_tune_type": "lora", "gradient_checkpointing": False}),
    ("many", {"fine_tune_type": "lora"}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=("torch", "local"), nargs="*", default=["torch", "local"])
    backends = parser.parse_args().backend
    print(f"{'backend':8} {'model':6} {'settings':44} {'foretold':>9} {'taken':>9} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_rows(folder / "data")
        for shape in SHAPES:
            _make(folder / shape, **SHAPES[shape])
        for backend in backends:
            for shape, settings in CASES:
                _measure(folder, backend, shape, settings)


def _measure(folder: Path, backend: str, shape: str, settings: dict[str, Any]) -> None:
    config = folder / "config.yaml"
    config.write_text(json.dumps({backend: {**settings, "steps": 2, "batch_size": 4, "save_every": 100}}))
    plan = json.loads(_scc(folder, backend, shape, config, "--dry-run", "--json").stdout)
    taken = _peak(folder, backend, shape, config) - _peak(folder, backend, "tiny", config)
    told = ", ".join(f"{name} {value}" for name, value in settings.items())
    foretold = plan["memory_bytes"]
    print(f"{backend:8} {shape:6} {told:44} {foretold / 1e6:6.0f} MB {taken / 1e6:6.0f} MB {foretold / taken:6.2f}")


def _peak(folder: Path, backend: str, shape: str, config: Path) -> int:
    """Of the largest process among those that train, in bytes."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, capture_output=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    words = _words(folder, backend, shape, config)
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=_environment())
    if done.returncode:
        sys.exit(done.stderr)
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024)


def _scc(folder: Path, backend: str, shape: str, config: Path, *more: str) -> subprocess.CompletedProcess[str]:
    words = [*_words(folder, backend, shape, config), *more]
    return subprocess.run(words, check=True, capture_output=True, text=True, env=_environment())


def _words(folder: Path, backend: str, shape: str, config: Path) -> list[str]:
    output = tempfile.mkdtemp(dir=folder)
    words = ["train", "--backend", backend, "--data", folder / "data", "--model", folder / shape, "--output", output]
    return [sys.executable, "-m", "compressor_cli", *map(str, [*words, "--config", config])]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPO), "HF_HUB_OFFLINE": "1", "MLX_DISABLE_COMPILE": "1"}


def _write_rows(folder: Path) -> None:
    """Rows of about 500 tokens."""
    folder.mkdir()
    text = " ".join(WORDS[n % len(WORDS)] for n in range(420))
    row = {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": text[:200]}]}
    (folder / "train.jsonl").write_text((json.dumps(row) + "\n") * 40)


def _make(folder: Path, hidden: int, layers: int, vocabulary: int) -> None:
    import torch
    from tiny_model import make_tokenizer
    from transformers import Qwen3Config, Qwen3ForCausalLM

    make_tokenizer(folder, [" ".join(WORDS)] * 20)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocabulary, hidden_size=hidden, intermediate_size=3 * hidden, num_hidden_layers=layers,
        num_attention_heads=max(1, hidden // 64), num_key_value_heads=max(1, hidden // 64), head_dim=64,
        max_position_embeddings=4096, tie_word_embeddings=True,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)


if __name__ == "__main__":
    main()
