"""What a person names as an adapter: a run, a run of several stages, or a folder in a library's own format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor_cli.core.evaluation_rows import Asking
from compressor_cli.core.files import sha256_file
from compressor_cli.core.runfiles import ADAPTER, TINKER, read_card
from compressor_cli.errors import UsageError

_PIPELINE = "pipeline.json"  # of the run of several stages; the last that is finished has the result
_IDENTITY = ("*.safetensors", "*.onnx", TINKER)


@dataclass(frozen=True)
class Adapter:
    """`card` is that of the run, where it is one."""

    path: Path
    card: Mapping[str, Any] | None

    @property
    def asking(self) -> Asking | None:
        """None where the rows say how: no run made the adapter, or its rows were asked in many ways."""
        prompt = (self.card or {}).get("prompt")
        if not isinstance(prompt, Mapping) or not (prompt.get("system") or prompt.get("prefix")):
            return None
        return Asking(prompt.get("system"), prompt.get("prefix"))

    @property
    def backend(self) -> str | None:
        return None if self.card is None else str(self.card["backend"])

    def identity(self) -> dict[str, str]:
        """Hashes that tell two adapters in one folder apart."""
        folders = (self.path, self.path / ADAPTER)
        files = sorted({file for folder in folders for pattern in _IDENTITY for file in folder.glob(pattern)})
        return {file.relative_to(self.path).as_posix(): sha256_file(file) for file in files}


def find_adapter(path: Path) -> Adapter:
    """Raises UsageError where there is none."""
    if not path.is_dir():
        raise UsageError(f"--adapter {path}: no such folder", hint="name a run of scc train, or a folder of an adapter")
    stages = path / _PIPELINE
    if read_card(path) is None and stages.is_file():
        try:
            result = json.loads(stages.read_text(encoding="utf-8"))["result"]
            path = path / str(result)
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{stages} is damaged, or was not written by scc") from None
    card = read_card(path)
    if card is None and path.name == ADAPTER:
        card = read_card(path.parent)  # how the model was asked stands beside it
    return Adapter(path, card)
