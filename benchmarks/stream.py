"""Whether `scc compress --stream` takes prose through a pipe in flat memory, and how early its first output comes.

    python benchmarks/stream.py --megabytes 20

The prose has the sentences of the samples, shuffled, with other digits each time. Memory is the high-water mark that
Linux keeps of the process, read while it waits for more.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reporting import heading, print_heading, print_table

from compressor_cli.engines.scorer import EMBEDDED

REPO = Path(__file__).resolve().parents[1]
STEPS = 10
_SENTENCE = re.compile(r"[A-Z][A-Za-z ,'’0-9-]{30,300}[.?!](?=\s|$)")


@dataclass(frozen=True)
class Outcome:
    """`marks` are the memory in MB after each of `STEPS` equal parts of the `size` bytes of input; `first_at` of them
    were written, `first_after` seconds had passed, when the first output came."""

    size: int
    written: int
    seconds: float
    first_at: int
    first_after: float
    marks: tuple[float, ...]
    exit_code: int


def prose(size: int, seed: int = 0) -> bytes:
    """Paragraphs of three to eight sentences."""
    sentences, rng = list(_sentences()), random.Random(seed)
    paragraphs: list[bytes] = []
    while size > 0:
        text = " ".join(rng.sample(sentences, rng.randrange(3, 9)))
        text = re.sub(r"\d", lambda _: rng.choice("123456789"), text)
        paragraphs.append(f"{text}\n\n".encode())
        size -= len(paragraphs[-1])
    return b"".join(paragraphs)


def _sentences() -> Iterator[str]:
    samples = REPO / "configs" / "samples"
    texts = [samples / "notes.md", samples / "transcript.txt", REPO / "examples" / "paragraph.txt"]
    found = [path.read_text(encoding="utf-8") for path in texts]
    for path in sorted(samples.glob("*.jsonl")):
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        found += [message["content"] for row in rows for message in row["messages"] if message["role"] == "user"]
    yield from sorted({match.group() for text in found for match in _SENTENCE.finditer(text)})


def measure(data: bytes, flags: Sequence[str]) -> Outcome:
    command = [sys.executable, "-m", "compressor_cli", "compress", "--stream", *flags]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin and process.stdout
    output, given, first = process.stdout, 0, (len(data), float("inf"))
    written = 0

    def read() -> None:
        nonlocal written, first
        while piece := os.read(output.fileno(), 1 << 16):
            if not written:
                first = given, time.perf_counter() - began
            written += len(piece)

    reader = threading.Thread(target=read)
    reader.start()
    marks: list[float] = []
    step = -(-len(data) // STEPS)
    for at in range(0, len(data), 1 << 16):
        process.stdin.write(data[at : at + (1 << 16)])
        given = at + (1 << 16)
        if len(marks) < min(given // step, STEPS - 1):
            marks.append(_high_water(process.pid))
    marks.append(_high_water(process.pid))
    process.stdin.close()
    reader.join()
    output.close()
    return Outcome(len(data), written, time.perf_counter() - began, *first, tuple(marks), process.wait())


def _high_water(pid: int) -> float:
    found = re.search(r"^VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found.group(1)) / 1024 if found else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--megabytes", type=float, default=20, help="of prose; default %(default)s")
    parser.add_argument("flags", nargs="*", help="for scc compress, after --; default: none")
    args = parser.parse_args()
    print_heading(heading(EMBEDDED))
    outcome = measure(prose(int(args.megabytes * 1e6)), args.flags)
    print(f"{outcome.size:,} bytes in, {outcome.written:,} out, {outcome.seconds:.0f} s; exit code {outcome.exit_code}")
    print(f"first output after {outcome.first_after:.2f} s, with at most {outcome.first_at:,} bytes of input given")
    rows = [[f"{(n + 1) / len(outcome.marks):.0%}", f"{mark:.0f}"] for n, mark in enumerate(outcome.marks)]
    print_table("The most memory so far", ("input", "MB"), rows)


if __name__ == "__main__":
    main()
