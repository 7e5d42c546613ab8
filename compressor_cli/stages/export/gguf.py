"""GGUF, by the converter of llama.cpp: a program of its own, which is not part of this package."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from compressor_cli.errors import SccError, UsageError

SCRIPT = "convert_hf_to_gguf.py"
FILE = "model.gguf"


def find_converter(llama_cpp: Path | None) -> list[str]:
    """The words that start it: from the folder in LLAMA_CPP_DIR, else from PATH. Raises UsageError, with what to do."""
    if llama_cpp is not None:
        script = llama_cpp.expanduser() / SCRIPT
        if not script.is_file():
            raise UsageError(f"LLAMA_CPP_DIR {llama_cpp}: there is no {SCRIPT}", hint="name the clone of llama.cpp")
        return [sys.executable, str(script.resolve())]
    found = shutil.which(SCRIPT)
    if found is None:
        raise UsageError(
            f"--format gguf needs {SCRIPT} of llama.cpp, which is not on PATH",
            hint="git clone https://github.com/ggml-org/llama.cpp, then set LLAMA_CPP_DIR to that folder",
        )
    return [found]


def convert(converter: list[str], model: Path, target: Path) -> None:
    """At 16 bits, of the kind that the model has. Raises SccError with what the converter said last."""
    words = [*converter, str(model), "--outfile", str(target), "--outtype", "auto"]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as exc:
        raise SccError(f"{converter[-1]} cannot be started: {exc.strerror}") from None
    if done.returncode != 0 or not target.is_file():
        lines = (done.stdout + b"\n" + done.stderr).decode("utf-8", "replace").split("\n")
        said = " ".join(next((line for line in reversed(lines) if line.strip()), "nothing was said").split())
        raise SccError(
            f"{SCRIPT} ended with {done.returncode}: {said[:300]}",
            hint="it needs packages of its own: requirements.txt in llama.cpp" if "ModuleNotFound" in said else None,
        )
