"""What is exported: a run, the result of a pipeline of runs, an adapter, a model, an archive of one, or Tinker's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from compressor_cli.core.adapters import read_export, run_of, with_result
from compressor_cli.core.archives import unpack
from compressor_cli.core.lowrank import Kind, kind_of
from compressor_cli.core.runfiles import ADAPTER, CARD, METRICS, read_card, read_metrics
from compressor_cli.errors import UsageError

CLOUD = "tinker://"
_STEP = re.compile(r"step_(\d+)")
_REFERENCE = "tinker.json"  # where an adapter is kept that its server did not give out


@dataclass(frozen=True)
class Found:
    """`folder` holds the weights. `run` is the folder of the run they come from, `card` its card."""

    name: str
    folder: Path
    kind: Kind
    run: Path | None = None
    card: Mapping[str, Any] = field(default_factory=dict)

    def losses(self) -> dict[str, float]:
        """The last ones, up to the step that the weights are of."""
        if self.run is None:
            return {}
        done = self.card.get("steps_done")
        rows = [row for row in read_metrics(self.run / METRICS)[0] if done is None or row["step"] <= done]
        last = {name: row[name] for row in rows for name in ("loss", "val_loss") if row.get(name) is not None}
        return {"loss" if name == "loss" else "validation loss": value for name, value in last.items()}


@dataclass(frozen=True)
class AtServer:
    """An adapter that is to be fetched first."""

    name: str
    path: str
    run: Path | None = None
    card: Mapping[str, Any] = field(default_factory=dict)

    def fetched(self, folder: Path, base: str | None) -> Found:
        return replace(_weights(self.name, folder), run=self.run, card={"model": base, **self.card})


def find_source(given: str) -> Found | AtServer | Path:
    """A path is an archive, for `unpacked`. Raises UsageError for whatever holds no weights."""
    if given.startswith(CLOUD):
        return AtServer(given.rstrip("/").rsplit("/", 1)[-1], given)
    place = Path(given)
    if place.is_file():
        return place
    if not place.is_dir():
        raise UsageError(f"{given}: no such run, adapter or archive", hint="scc runs list shows runs")
    place = with_result(place)
    card = read_card(place)
    return _of_folder(place) if card is None else _of_run(place, card)


def unpacked(archive: Path, folder: Path) -> Found:
    """An adapter lies at the top of it, or in a folder of its own."""
    tops = {path.parent for path in unpack(archive, folder)}
    found = [top for top in sorted(tops) if kind_of(top)]
    if len(found) != 1:
        raise UsageError(
            f"{archive} holds {len(found) or 'no'} adapters or models", hint="unpack it, and name a folder"
        )
    return _weights(archive.name.split(".")[0], found[0])


def _of_folder(place: Path) -> Found | AtServer:
    """By itself, or as `adapter` or a checkpoint of a run."""
    found = _weights(place.resolve().name, place)
    if (made_by := run_of(place)) is None:
        return found
    run, card = made_by
    if step := _STEP.fullmatch(found.name):
        card = {**card, "steps_done": int(step[1])}
    return replace(found, name=run.name, run=run, card=card)


def _of_run(run: Path, card: Mapping[str, Any]) -> Found | AtServer:
    name = run.resolve().name
    if card["backend"] == "extractive":
        raise UsageError(f"{run} is a prose model, which is used as it is", hint=f"scc compress --model {run}")
    if not (run / ADAPTER).is_dir():
        raise UsageError(
            f"{run} has no result: its state is {card['state']}",
            hint="let scc train finish it, or name one of its checkpoints",
        )
    if kind_of(run / ADAPTER) is None and (kept := _kept_at_server(run / ADAPTER / _REFERENCE)):
        return AtServer(name, kept, run, card)
    return replace(_weights(name, run / ADAPTER), run=run, card=card)


def _weights(name: str, folder: Path) -> Found:
    kind = kind_of(folder)
    if kind is None:
        raise UsageError(
            f"{folder} holds neither an adapter nor a model",
            hint=f"a run has {CARD}, an adapter adapter_config.json beside its safetensors",
        )
    prompt = (read_export(folder) or {}).get("prompt")
    return Found(name, folder, kind, card={"prompt": prompt} if isinstance(prompt, dict) else {})


def _kept_at_server(reference: Path) -> str | None:
    """The state of training, from which the server makes an adapter to fetch."""
    try:
        kept = json.loads(reference.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    path = kept.get("state_path") if isinstance(kept, dict) else None
    return path if isinstance(path, str) and path.startswith(CLOUD) else None
