"""What stands around measured figures: when, with what and where they came about, and tables to read them in."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from compressor_cli import __version__
from compressor_cli.core.files import sha256_file

_PACKAGES = ("onnxruntime", "tokenizers", "splintr-rs", "numpy", "torch", "transformers")


def heading(command: str, folder: Path) -> dict[str, Any]:
    """Date, command, model, versions and machine; `folder` holds the model."""
    return {
        "date": datetime.date.today().isoformat(),
        "command": command,
        "model": _model_id(folder),
        "versions": {"scc": __version__, "python": platform.python_version(), **_versions()},
        "machine": machine(),
        "load": round(os.getloadavg()[0], 2),
    }


def machine() -> str:
    return f"{physical_cores()} physical cores, {_cpu_name()}, {platform.system()}"


def heading_lines(head: dict[str, Any]) -> Iterator[str]:
    versions = ", ".join(f"{name} {number}" for name, number in head["versions"].items())
    yield f"{head['date']}  {head['command']}"
    yield f"model {head['model']}; {versions}"
    yield f"{head['machine']}; load when it began {head['load']}"


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first column is left aligned, the others right."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, ["-" * width for width in widths], *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        yield "  ".join(cells).rstrip()


def percentile(ordered: Sequence[int], percent: int) -> int:
    """By nearest rank: at least so many percent of the numbers are not above it."""
    return ordered[max(-(-len(ordered) * percent // 100) - 1, 0)]


def physical_cores() -> int:
    """Those that this process may use; onnxruntime takes as many threads."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = {_siblings(cpu) for cpu in allowed}
    return max(len(cores), 1)


def _siblings(cpu: int) -> str:
    """Processors that share a core have the same list; without one, each is a core."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    return path.read_text(encoding="ascii").strip() if path.is_file() else str(cpu)


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.is_file() else None
    return found.group(1) if found else platform.processor() or platform.machine()


def _model_id(folder: Path) -> str:
    """As model.json names it, with the hash that tells two models of one name apart."""
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    weights = folder / "model.onnx"
    name = next((str(card[key]) for key in ("id", "name") if card.get(key)), "without an id")
    return f"{name} (sha256 {sha256_file(weights)[:12]}, {weights.stat().st_size / 1e6:.1f} MB)"


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
