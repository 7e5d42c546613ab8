"""Plain tables on stdout, and the lines above them that say what was run where."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compressor_cli.core import figures
from compressor_cli.core.figures import physical_cores

__all__ = ["add_json", "heading", "physical_cores", "print_heading", "print_table", "write_figures"]


def heading(folder: Path) -> dict[str, Any]:
    return figures.heading(shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]), folder)


def print_heading(head: dict[str, Any]) -> None:
    print(*figures.heading_lines(head), sep="\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print("", title, *figures.table_lines(columns, rows), sep="\n")


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures here as well")


def write_figures(out: Path | None, head: dict[str, Any], **figures: Any) -> None:
    if out:
        out.write_text(json.dumps({**head, **figures}, indent=1) + "\n", encoding="utf-8")
