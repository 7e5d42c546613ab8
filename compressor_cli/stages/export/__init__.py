"""`scc export`: what was trained anywhere, in the form that another library or a hub takes.

The folder is whole or absent; a push to the hub comes after, so that its failure costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compressor_cli.backends import BACKENDS
from compressor_cli.core.archives import is_archive
from compressor_cli.core.files import write_atomic
from compressor_cli.core.lowrank import public_name
from compressor_cli.core.modelcard import CardFacts, model_card
from compressor_cli.errors import MissingExtraError, UsageError
from compressor_cli.stages.export.forms import Format, Making, OnEvent, base_name, write_form
from compressor_cli.stages.export.gguf import find_converter
from compressor_cli.stages.export.measured import read_measured
from compressor_cli.stages.export.origins import dataset_of, licence_of
from compressor_cli.stages.export.push import push, require_push
from compressor_cli.stages.export.sources import AtServer, Found, find_source, unpacked
from compressor_cli.stages.export.target import beside, clear_left, replacing, require_free, write_manifest


@dataclass(frozen=True)
class ExportRequest:
    """`source` is what find_source takes; `model` the base, where the run does not say it or it lies elsewhere.
    `repo` is pushed to, and made private unless `public`. `token` is the hub's, `bars` shows its progress."""

    source: str
    to: Path
    format: Format
    model: str | None = None
    evaluation: Path | None = None
    licence: str | None = None
    repo: str | None = None
    public: bool = False
    force: bool = False
    base_url: str | None = None
    llama_cpp: Path | None = None
    token: str | None = None
    bars: bool = False


@dataclass(frozen=True)
class ExportReport:
    to: str
    format: str
    source: str
    base: str | None
    files: Mapping[str, int]
    pushed: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def export(request: ExportRequest, on_event: OnEvent = lambda event: None) -> ExportReport:
    """Raises UsageError before anything is made where it cannot work, SccError where it did not."""
    token = require_push(request.repo, request.token) if request.repo else None
    converter = find_converter(request.llama_cpp) if request.format == "gguf" else []
    given = find_source(request.source)
    clear_left(request.to)
    require_free(request.to, _read_folders(given, request.model), force=request.force)
    if request.evaluation:
        read_measured(request.evaluation)  # before anything is fetched
    with _weights(given, request, on_event) as found:
        base = base_name(found, request.model)
        require_free(request.to, _read_folders(found, base), force=request.force)
        with replacing(request.to, force=request.force) as folder:
            shape = write_form(
                Making(found, base, request.format, folder, converter, request.token, request.bars, on_event)
            )
            facts = _facts(request, found, base, shape, folder, on_event)
            write_atomic(folder / "README.md", model_card(facts))
            told = {"written": request.format, "base": public_name(base), "prompt": found.card.get("prompt")}
            files = write_manifest(folder, told)
    pushed = None
    if request.repo and token:
        on_event({"message": f"pushing to {request.repo}"})
        pushed = push(request.to, request.repo, token, public=request.public, bars=request.bars)
    return ExportReport(str(request.to), request.format, request.source, public_name(base), files, pushed)


def _facts(
    request: ExportRequest, found: Found, base: str | None, shape: dict[str, Any], folder: Path, on_event: OnEvent
) -> CardFacts:
    measured = read_measured(request.evaluation) if request.evaluation else None
    other = measured is not None and not measured.is_of(found.folder)
    if other:
        on_event({"message": "note: --eval measured other files of weights than these; the model card says so"})
    return CardFacts(
        name=request.repo.rsplit("/", 1)[-1] if request.repo else found.name,
        place=request.repo or "path/to/this/folder",
        format=request.format,
        base=public_name(base),
        run=found.card,
        shape=shape,
        dataset=dataset_of(found.card),
        losses=found.losses(),
        figures=measured.figures if measured else {},
        evaluation=f"{measured.name}, backend {measured.backend}" if measured else None,
        other_weights=other,
        licence=request.licence or licence_of(base, folder),
    )


@contextmanager
def _weights(given: Found | AtServer | Path, request: ExportRequest, on_event: OnEvent) -> Iterator[Found]:
    """Those that lie elsewhere are fetched into a folder beside the target, which goes again."""
    if isinstance(given, Found):
        yield given
        return
    with beside(request.to) as temporary:
        if isinstance(given, Path):
            if not is_archive(given):
                raise UsageError(f"{given} is a file, and no archive", hint="name the folder of a run or an adapter")
            yield unpacked(given, temporary)
        else:
            if missing := BACKENDS["tinker"].missing_packages():
                raise MissingExtraError(missing[0], BACKENDS["tinker"].extra)
            from compressor_cli.backends.tinker.fetching import fetch_adapter

            def tell(message: str) -> None:
                on_event({"message": message})

            tell(f"fetching {given.path}")
            base = fetch_adapter(given.path, temporary, request.base_url, tell)
            yield given.fetched(temporary, base)


def _read_folders(given: Found | AtServer | Path, base: str | None) -> list[Path]:
    """Folders that are not to be written into."""
    folders = [given] if isinstance(given, Path) else [given.run] if given.run else []
    if isinstance(given, Found):
        folders.append(given.folder)
    return [*folders, *([Path(base)] if base and Path(base).is_dir() else [])]
