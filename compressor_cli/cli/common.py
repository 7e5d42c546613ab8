"""What several commands share: options of the same name and meaning, and the two ways to speak."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

ConfigOption = Annotated[Path | None, typer.Option("--config", help="YAML file with settings.", show_default=False)]
TokenizerOption = Annotated[
    str | None, typer.Option("--tokenizer", help="Vocabulary, model name or tokenizer.json; default o200k_base.")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="A run of scc train --backend extractive; default: embedded.")
]
EngineModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A run of scc train --backend extractive; of an adapter its base, or its name on a server.",
    ),
]
AdapterOption = Annotated[
    str | None,
    typer.Option("--adapter", help="A run of scc train, or a folder of an adapter: it writes the prose."),
]
BackendOption = Annotated[
    str | None, typer.Option("--backend", help="What runs the adapter: local, torch, tinker, openai; default: its own.")
]
ServerOption = Annotated[
    str | None, typer.Option("--base-url", help="Address of the server of --backend openai or tinker.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def say(message: str) -> None:
    """A message for the person; results go to stdout, everything else here."""
    typer.echo(message, err=True)


def json_bytes(value: Any) -> bytes:
    """One object, one line."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def print_json(value: Any) -> None:
    """Also holds where the terminal is not UTF-8."""
    sys.stdout.buffer.write(json_bytes(value))
    sys.stdout.flush()
