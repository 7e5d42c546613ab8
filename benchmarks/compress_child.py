"""Compress the texts of a job read from stdin, alone in a process, and say what that took in time and memory."""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from pathlib import Path

from compressor_cli import compress
from compressor_cli.errors import BudgetTooSmallError


def peak_mb() -> float:
    """The kernel hands a parent's `ru_maxrss` on to what it starts, so the process's own mark is read where there is
    one."""
    status = Path("/proc/self/status")
    mark = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE) if status.is_file() else None
    if mark:
        return int(mark.group(1)) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def main() -> None:
    job = json.load(sys.stdin)
    options = {"tokenizer": job["tokenizer"], "model": job["model"], "allow_loss": True}
    compress("Loads the model and the vocabulary before the clock runs.", rate=0.7, **options)
    loaded = peak_mb()
    outputs, seconds = [], []
    for text, budget in zip(job["texts"], job["budgets"], strict=True):
        began = time.perf_counter()
        try:
            outputs.append(compress(text, max_tokens=budget, **options).compressed)
        except BudgetTooSmallError:
            outputs.append("")
        seconds.append(time.perf_counter() - began)
    json.dump({"outputs": outputs, "seconds": seconds, "loaded_mb": loaded, "peak_mb": peak_mb()}, sys.stdout)


if __name__ == "__main__":
    main()
