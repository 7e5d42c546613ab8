"""The figures of an eval, for the card of what it measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor_cli.core.files import sha256_file
from compressor_cli.core.modelcard import figures_of
from compressor_cli.errors import UsageError

_SUMMARY = "summary.json"


@dataclass(frozen=True)
class Measured:
    """`hashes` are those of the weights that were measured."""

    name: str
    backend: str
    figures: Mapping[str, str]
    hashes: frozenset[str]

    def is_of(self, folder: Path) -> bool:
        return any(sha256_file(path) in self.hashes for path in folder.glob("*.safetensors"))


def read_measured(evaluation: Path) -> Measured:
    """From the folder of its name beside the rows, or from the summary itself. Raises UsageError where it is none."""
    path = evaluation if evaluation.name == _SUMMARY else evaluation.with_suffix("") / _SUMMARY
    if not path.is_file():
        raise UsageError(f"--eval {evaluation}: there is no {path}", hint="scc eval writes it")
    try:
        summary: Any = json.loads(path.read_text(encoding="utf-8"))
        made_by = summary["settings"]
        hashes = frozenset((made_by.get("adapter_sha256") or {}).values())
        figures = figures_of(summary)
        backend = str(made_by["backend"])
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        figures = {}
    if not figures:
        raise UsageError(f"--eval {evaluation}: {path} is no summary of an eval")
    return Measured(evaluation.name, backend, figures, hashes)
