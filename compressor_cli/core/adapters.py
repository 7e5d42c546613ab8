"""What a person names as an adapter: a run, a run of several stages, or a folder in a library's own format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor_cli.core.evaluation_rows import Asking
from compressor_cli.core.files import sha256_file
from compressor_cli.core.lowrank import kind_of, said_base
from compressor_cli.core.runfiles import ADAPTER, CHECKPOINTS, TINKER, read_card
from compressor_cli.errors import UsageError

EXPORT = "export.json"  # in a folder that scc export made
EXPORT_FORMAT = "scc-export-1"
_PIPELINE = "pipeline.json"  # of the run of several stages; the last that is finished has the result
_IDENTITY = ("*.safetensors", "*.onnx", TINKER)


@dataclass(frozen=True)
class Adapter:
    """`card` is that of the run, where it is known; `prompt` is the run's, which an export has too."""

    path: Path
    card: Mapping[str, Any] | None
    prompt: Any = None

    @property
    def asking(self) -> Asking | None:
        """None where the rows say how: no run made the adapter, or its rows were asked in many ways."""
        told = self.prompt if isinstance(self.prompt, Mapping) else {}
        system, prefix = (part if isinstance(part := told.get(name), str) else None for name in ("system", "prefix"))
        return Asking(system, prefix) if system or prefix else None

    @property
    def backend(self) -> str | None:
        return None if self.card is None else str(self.card["backend"])

    @property
    def names_model(self) -> bool:
        """Whether it is a whole model itself, or says what it belongs to: a name on the hub, or a folder that is
        there."""
        if self.card is not None or kind_of(self.path) == "model":
            return True
        base = said_base(self.path)
        return base is not None and ("/" in base or Path(base).is_dir())

    def identity(self) -> dict[str, str]:
        """Hashes that tell two adapters in one folder apart."""
        folders = (self.path, self.path / ADAPTER)
        files = sorted({file for folder in folders for pattern in _IDENTITY for file in folder.glob(pattern)})
        return {file.relative_to(self.path).as_posix(): sha256_file(file) for file in files}


def find_adapter(path: Path) -> Adapter:
    """Raises UsageError where there is none."""
    if not path.is_dir():
        raise UsageError(f"--adapter {path}: no such folder", hint="name a run of scc train, or a folder of an adapter")
    path = with_result(path)
    if (found := run_of(path)) is not None:
        _, card = found
        return Adapter(path, card, card.get("prompt"))
    return Adapter(path, None, (read_export(path) or {}).get("prompt"))


def with_result(folder: Path) -> Path:
    """Of a run of several stages, the one that has the result; any other folder as it is. Raises UsageError."""
    stages = folder / _PIPELINE
    if not stages.is_file():
        return folder
    try:
        result = json.loads(stages.read_text(encoding="utf-8"))["result"]
    except (ValueError, KeyError, TypeError, RecursionError):
        result = None
    if not isinstance(result, str) or result in ("", ".", "..") or Path(result).name != result:
        raise UsageError(f"{stages} is damaged, or was not written by scc: it names no stage")
    return folder / result


def run_of(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The run that a folder is, or whose result or checkpoint it is, and its card."""
    whole = folder.resolve()
    places = [folder]
    if whole.name == ADAPTER:
        places.append(whole.parent)
    if whole.parent.name == CHECKPOINTS:
        places.append(whole.parent.parent)
    return next(((place, card) for place in places if (card := read_card(place)) is not None), None)


def read_export(folder: Path) -> dict[str, Any] | None:
    """What scc export wrote of itself; None where it wrote nothing. Raises UsageError for one that is damaged: asked in
    another way, a model is another one."""
    try:
        told = json.loads((folder / EXPORT).read_text(encoding="utf-8"))
        prompt = told["prompt"]
        parts = () if prompt is None else (prompt["system"], prompt["prefix"])
        if told["format"] != EXPORT_FORMAT or not all(part is None or isinstance(part, str) for part in parts):
            raise ValueError
        return dict(told)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UsageError(f"{folder / EXPORT} is damaged, or was not written by scc export") from None
