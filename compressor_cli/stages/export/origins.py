"""What is known of a base model and of training data without asking anyone: from folders and the hub's cache."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from compressor_cli.core.licences import Licences
from compressor_cli.core.staging import read_manifest


def base_config(base: str | None) -> dict[str, Any] | None:
    """`config.json` of the base, where it is here."""
    path = _file(base, "config.json")
    try:
        config = json.loads(path.read_text(encoding="utf-8")) if path else None
    except (OSError, ValueError, RecursionError):
        return None
    return config if isinstance(config, dict) else None


def licence_of(base: str | None, folder: Path) -> str | None:
    """By the pages of the base, else by a licence file that came with its weights."""
    pages = _file(base, "README.md")
    if pages is not None and (said := _front_matter(pages).get("license")):
        return str(said)
    own = Licences()
    of_base = own.of(Path(base) / "config.json", Path(base)) if base and Path(base).is_dir() else None
    return of_base or own.of(folder / "config.json", folder)


def dataset_of(card: Mapping[str, Any]) -> str | None:
    """The name of the dataset that the rows of a run were pulled from."""
    try:
        path = Path(card["data"]["train"]["path"])
    except (KeyError, TypeError):
        return None
    manifest = read_manifest(path.parent, "dataset")
    name = str(manifest["dataset"]) if manifest else None
    return Path(name).name if name and (Path(name).exists() or name.startswith(("/", ".", "~"))) else name


def _file(base: str | None, name: str) -> Path | None:
    if base is None:
        return None
    if Path(base).is_dir():
        path = Path(base) / name
        return path if path.is_file() else None
    if find_spec("huggingface_hub") is None or base.count("/") > 1:
        return None
    import huggingface_hub

    try:
        found = huggingface_hub.try_to_load_from_cache(base, name)
    except huggingface_hub.errors.HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def _front_matter(path: Path) -> dict[str, Any]:
    parts = path.read_text(encoding="utf-8", errors="replace").split("---\n")
    try:
        told = yaml.safe_load(parts[1]) if len(parts) > 2 and not parts[0].strip() else None
    except yaml.YAMLError:
        told = None
    return told if isinstance(told, dict) else {}
