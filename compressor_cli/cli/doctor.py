"""`scc doctor`: what this machine can do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compressor_cli.cli.common import JsonOption, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from compressor_cli.stages.doctor import Diagnosis


def doctor(as_json: JsonOption = False) -> None:
    """Show what this machine can do, and the command that closes each gap."""
    from rich.console import Console

    from compressor_cli.stages.doctor import examine

    diagnosis = examine(Path.cwd())
    if as_json:
        print_json(diagnosis.as_dict())
    else:
        Console().print(_table(diagnosis))


def _table(diagnosis: Diagnosis) -> Table:
    """Commands stand on a line of their own and never wrap, so that they can be copied."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("")
    table.add_column("what", overflow="fold")
    table.add_column("found", overflow="fold")
    group = diagnosis.findings[0].group
    for finding in diagnosis.findings:
        if finding.group != group:
            table.add_section()
            group = finding.group
        mark = Text("ok", "green") if finding.ok else Text("--", "yellow")
        found = Text(finding.detail, "" if finding.ok else "yellow")
        if finding.fix:
            found.append(f"\n$ {finding.fix}", "bold")
        table.add_row(mark, finding.name.replace(" or ", "\n"), found)
    return table
