"""`scc data corpus SOURCES --output corpus.jsonl`: texts to make pairs from, out of files and folders.

Beside the rows stand two more journals: `corpus.dropped.jsonl` has every piece that was not taken, with why and never
with its text, and `corpus.files.jsonl` every file, written when all of its pieces are. A resume goes on after those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compressor_cli import __version__
from compressor_cli.core.chunks import Sizes
from compressor_cli.core.duplicates import Duplicates
from compressor_cli.core.jsonl import Journal, Row, content_key, read_rows
from compressor_cli.core.licences import Licences
from compressor_cli.core.secrets import mask
from compressor_cli.core.tokens import token_counter
from compressor_cli.core.trees import Found, find_files
from compressor_cli.errors import PartialError, UsageError
from compressor_cli.records import Source
from compressor_cli.settings import CorpusSettings
from compressor_cli.stages.corpus.reading import LeftOut, Piece, Reading, read

SECRET, EQUAL, ALIKE = "secret", "duplicate", "near-duplicate"


@dataclass
class CorpusSummary:
    """Of the sources as they are now, whenever it was done: files = read + left out + failed + pending, and pieces =
    rows + dropped. `already_there` rows were written before, `repaired` bytes of torn rows cut off.
    """

    output: Path
    files: int = 0
    read: int = 0
    rows: int = 0
    tokens: int = 0
    already_there: int = 0
    repaired: int = 0
    domains: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    redacted: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def pending(self) -> int:
        return self.files - self.read - sum(self.left_out.values()) - len(self.failed)

    def as_dict(self) -> dict[str, Any]:
        plain = {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}
        return plain | {"output": str(self.output), "pending": self.pending}

    def add(self, tally: Mapping[str, Any]) -> None:
        """A file that was read."""
        self.read += 1
        self._count(tally)

    def _count(self, tally: Mapping[str, Any]) -> None:
        self.rows += tally["rows"]
        self.tokens += tally["tokens"]
        for name in ("domains", "dropped", "redacted"):
            getattr(self, name).update(tally[name])


def sidecars(output: Path) -> tuple[Path, Path]:
    """Where the dropped pieces and the files are listed."""
    stem = output.name.removesuffix(".jsonl")
    return output.with_name(f"{stem}.dropped.jsonl"), output.with_name(f"{stem}.files.jsonl")


def corpus(
    settings: CorpusSettings,
    sources: Sequence[Path],
    output: Path,
    *,
    resume: bool = False,
    limit: int | None = None,
    on_event: Callable[[Mapping[str, Any]], None] = lambda event: None,
) -> CorpusSummary:
    """With `limit`, no row is written beyond so many in `output`."""
    paths = (output, *sidecars(output))
    own = [path for one in paths for path in (one, one.with_name(f"{one.name}.settings.json"))]
    files = list(find_files(sources, but_not=own))
    counter = token_counter(settings.tokenizer)
    mask("")  # what is missing is told before anything is written
    duplicates = Duplicates(settings.duplicates)
    options = {**settings.model_dump(mode="json"), "version": __version__}
    with ExitStack() as stack:
        rows, dropped, listed = journals = [
            stack.enter_context(Journal(path, options, resume=resume)) for path in paths
        ]
        for journal in journals:
            if journal.repaired:
                on_event({"message": f"{journal.path}: a torn last row ({journal.repaired} bytes) was cut off"})
        summary = CorpusSummary(output, len(files), repaired=sum(journal.repaired for journal in journals))
        sizes = Sizes(settings.min_tokens, settings.max_tokens, counter.count)
        build = _Build(settings, sizes, duplicates, limit, rows, dropped, listed, summary)
        build.take_up()
        for done, found in enumerate(files):
            on_event({"done": done, "total": len(files)})
            if not build.take(found):
                break
        on_event({"done": len(files), "total": len(files)})
        strangers = len(rows.rows) - summary.rows
        if strangers > 0 and limit is None:
            on_event({"message": f"{output}: {strangers} rows are from no file as it is now; they stay"})
        return summary


def require_complete(summary: CorpusSummary) -> None:
    """Raises PartialError where a file could not be read."""
    if summary.failed:
        told = "; ".join(f"{name}: {error}" for name, error in list(summary.failed.items())[:10])
        more = f"; and {len(summary.failed) - 10} more" if len(summary.failed) > 10 else ""
        raise PartialError(f"{len(summary.failed)} files could not be read: {told}{more}")


class _Full(Exception):
    """The limit is reached."""


@dataclass
class _Build:
    settings: CorpusSettings
    sizes: Sizes
    duplicates: Duplicates
    limit: int | None
    rows: Journal
    dropped: Journal
    files: Journal
    summary: CorpusSummary
    _licences: Licences = field(default_factory=Licences)
    _done: dict[str, Row] = field(default_factory=dict)
    _names: Counter[str] = field(default_factory=Counter)

    def take_up(self) -> None:
        """What stands in the journals: later texts may duplicate it, and its files are done."""
        self.summary.already_there = len(self.rows.rows)
        self._done = {row["key"]: row for row in read_rows(self.files.path)}
        counted = sum(row.get("rows", 0) for row in self._done.values())
        if counted > len(self.rows.rows):
            raise UsageError(
                f"{self.rows.path} has {len(self.rows.rows)} rows, and {self.files.path.name} counts {counted}",
                hint="name another output, or remove both and begin anew",
            )
        for row in read_rows(self.rows.path):
            self.duplicates.find_or_add(row["id"], row["text"])

    def take(self, found: Found) -> bool:
        """False where the limit stopped it."""
        name = self._masked(found.name)
        try:
            if found.problem:
                raise OSError(found.error) if found.error else LeftOut(found.problem)
            reading = read(
                found, self.sizes, self._licences, pii=self.settings.redact == "pii", max_bytes=self.settings.max_bytes
            )
            key = content_key(name, reading.sha256)
            if not self.files.has(key):
                self._done[key] = {"key": key, "source": name, "sha256": reading.sha256, **self._tally(name, reading)}
                self.files.append(self._done[key])
            self.summary.add(self._done[key])
        except LeftOut as exc:
            self.summary.left_out[str(exc)] += 1
            self._note(name, {"left_out": str(exc)})
        except OSError as exc:
            error = exc.strerror or str(exc)
            self.summary.failed[name] = error
            self._note(name, {"error": error})
        except _Full:
            return False
        return True

    def _masked(self, name: str) -> str:
        """Names that are equal once they are masked get a number too."""
        masked = mask(name, pii=self.settings.redact == "pii").text
        if masked == name:
            return name
        self._names[masked] += 1
        return f"{masked}#{self._names[masked]}" if self._names[masked] > 1 else masked

    def _note(self, name: str, why: Mapping[str, str]) -> None:
        key = content_key(name, why)
        if not self.files.has(key):
            self.files.append({"key": key, "source": name, **why})

    def _tally(self, name: str, reading: Reading) -> Row:
        domains, dropped, redacted = Counter[str](), Counter[str](), Counter[str]()
        tokens, seen = 0, Counter[str]()
        for piece in reading.pieces:
            chunk = piece.chunk
            place = content_key(name, piece.line, chunk.start, chunk.end, chunk.text)
            seen[place] += 1
            reason = self._place(content_key(place, seen[place]), name, piece)
            if reason:
                dropped[reason] += 1
            else:
                domains[chunk.domain] += 1
                redacted.update(piece.redacted)
                tokens += chunk.tokens
        counts = {"domains": dict(domains), "dropped": dict(dropped), "redacted": dict(redacted)}
        return {"rows": domains.total(), "tokens": tokens, **counts}

    def _place(self, key: str, name: str, piece: Piece) -> str | None:
        """Into the corpus, or for the reason that is returned into the list of the dropped."""
        if self.rows.has(key):
            return None
        chunk = piece.chunk
        reason, detail = chunk.problem, dict[str, Any]()
        if reason is None and piece.redacted and self.settings.redact is None:
            reason, detail = SECRET, {"types": piece.redacted}
        if reason is None:
            if self.limit is not None and len(self.rows.rows) >= self.limit:
                raise _Full
            duplicate = self.duplicates.find_or_add(key, chunk.text)
            if duplicate:
                reason = EQUAL if duplicate.equal else ALIKE
                detail = {"duplicate_of": duplicate.of, "similarity": duplicate.similarity}
        place = {"source": name, "line": piece.line, "start": chunk.start, "end": chunk.end}
        if reason is None:
            of_text = {"text": chunk.text, "domain": chunk.domain, "language": chunk.language, "tokens": chunk.tokens}
            of_file = {"licence": piece.licence, "title": piece.title, "redacted": piece.redacted}
            self.rows.append(Source(id=key, **of_text, **place, **of_file).as_row())  # type: ignore[arg-type]
        elif not self.dropped.has(key):
            self.dropped.append({"key": key, **place, "tokens": chunk.tokens, "reason": reason, **detail})
        return reason
