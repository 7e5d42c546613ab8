"""A disk that fills up, or a signal, leaves whole results or none: no half file, no temporary one, no traceback."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REPO, Scc

SCC = [sys.executable, "-m", "compressor_cli"]
NOTES = REPO / "configs" / "samples" / "notes.md"
FULL = 2_000  # bytes that a file may have: what is beyond fails as on a full disk, with an error of its own


def on_a_full_disk(*args: str | Path, most: int = FULL) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*SCC, *map(str, args)],
        capture_output=True,
        timeout=120,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # half of a module's byte code would stay
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )


@pytest.mark.parametrize(
    "args",
    [
        ("compress", NOTES, "-o", "out"),
        ("compress", NOTES, "--receipt", "out"),
        ("compress", "--stream", NOTES, "-o", "out"),
        ("compress", NOTES, "--output-dir", "."),
        ("expand", "whole", "-o", "out"),
    ],
    ids=lambda args: " ".join(str(arg) for arg in args if str(arg) != str(NOTES)),
)
def test_a_file_that_cannot_be_finished_is_not_there(args: tuple[str | Path, ...], work: Path) -> None:
    (work / "whole").write_text(json.dumps([{"id": n, "name": f"quay {n}"} for n in range(200)]))
    done = on_a_full_disk(*args)
    told = done.stderr.decode()
    assert done.returncode == 1
    assert told.splitlines()[-1].startswith("error: ") and "File too large" in told
    assert "Traceback" not in told
    assert [path.name for path in work.iterdir()] == ["whole"]


def test_a_batch_on_a_full_disk_keeps_whole_rows_and_goes_on(work: Path, scc_process: Scc) -> None:
    text = "The council did not approve the plan for the old bridge by the mill on 3 March. " * 3
    (work / "in.jsonl").write_text("".join(json.dumps({"id": n, "text": f"{n}. {text}"}) + "\n" for n in range(6)))
    done = on_a_full_disk("compress", "--input", "in.jsonl", "--output", "out.jsonl", most=4_000)
    told = done.stderr.decode()
    assert done.returncode == 1
    assert "error: out.jsonl: File too large" in told and "Traceback" not in told
    rows = [json.loads(line) for line in (work / "out.jsonl").read_text().splitlines()]
    assert 0 < len(rows) < 6
    assert sorted(path.name for path in work.iterdir()) == ["in.jsonl", "out.jsonl", "out.jsonl.settings.json"]
    assert scc_process("compress", "--input", "in.jsonl", "--output", "out.jsonl", "--resume").exit_code == 0
    assert len((work / "out.jsonl").read_text().splitlines()) == 6


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_no_half_file(
    number: int, code: int, work: Path, processes: list[subprocess.Popen[bytes]]
) -> None:
    process = subprocess.Popen(
        [*SCC, "compress", "--stream", "-o", "out"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    processes.append(process)
    assert process.stdin
    process.stdin.write(NOTES.read_bytes())
    process.stdin.flush()
    for _ in range(1200):
        if any(part.stat().st_size for part in work.glob(".out.*")):
            break
        time.sleep(0.05)
    process.send_signal(number)
    told = process.communicate(timeout=60)[1].decode()
    assert process.returncode == code and "Traceback" not in told
    assert list(work.iterdir()) == []
