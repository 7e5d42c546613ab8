"""A file as pieces of text, with what it says of itself, and secrets masked."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath

from compressor_cli.core.chatrows import MalformedRow
from compressor_cli.core.chunks import Chunk, Sizes, front_matter, prose_chunks
from compressor_cli.core.code_chunks import code_chunks, file_problem
from compressor_cli.core.conversations import conversation_chunks, transcript
from compressor_cli.core.domains import detect_domain
from compressor_cli.core.files import sha256_file
from compressor_cli.core.jsonl import parse_row, read_lines
from compressor_cli.core.licences import Licences, as_expression, is_licence_file, tagged
from compressor_cli.core.secrets import Masked, mask
from compressor_cli.core.text_input import decode_text
from compressor_cli.core.trees import Found
from compressor_cli.engines.code_languages import by_extension
from compressor_cli.engines.code_parse import language_of, parse
from compressor_cli.errors import UsageError

_PROSE = frozenset("md markdown mdx mkd qmd rmd rst txt text adoc asciidoc org".split())
_DOUBTFUL = frozenset(("", "txt", "text"))  # names that code and data have too


class LeftOut(Exception):
    """Why nothing is taken from a file."""


@dataclass(frozen=True)
class Piece:
    """`start:end` of the chunk are places in the file as it is; `secret` says whether a secret is masked in it."""

    chunk: Chunk
    line: int
    licence: str | None
    title: str | None
    redacted: dict[str, int]


@dataclass(frozen=True)
class Reading:
    sha256: str
    pieces: Iterator[Piece]


def read(found: Found, sizes: Sizes, licences: Licences, *, pii: bool, max_bytes: int) -> Reading:
    """Raises LeftOut, and OSError where the file cannot be read. Pieces are made as they are asked for: a file that is
    done already is only hashed."""
    extension = found.path.suffix[1:].lower()
    if is_licence_file(found.path.name):
        raise LeftOut("licence")
    if extension == "jsonl":
        licence = licences.of(found.path, found.root)
        return Reading(sha256_file(found.path), _conversations(found, sizes, licence, pii=pii))
    known = extension in _PROSE or not extension or by_extension(found.path.name)
    if not known and not found.named:
        raise LeftOut("other format")
    with found.path.open("rb") as handle:
        data = handle.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise LeftOut(f"over {max_bytes:,} bytes")
    try:
        text = decode_text(data, "")
    except UsageError:
        raise LeftOut("binary or not UTF-8") from None
    if not text.strip():
        raise LeftOut("empty")
    language = _language(text, found.path, extension)
    if language and (problem := file_problem(found.inside, text)):
        raise LeftOut(problem)
    pieces = _pieces(text, language, sizes, licences.of(found.path, found.root), pii=pii)
    return Reading(hashlib.sha256(data).hexdigest(), pieces)


def _language(text: str, path: PurePath, extension: str) -> str | None:
    """That of a program, None of a text. Raises LeftOut for data and for code that no parser here knows."""
    if extension in _PROSE - _DOUBTFUL:
        return None
    language = by_extension(path.name)
    if language is None and detect_domain(text).name in ("code", "json"):
        language = None if extension in _PROSE else language_of(text, None)
        if language is None:
            raise LeftOut("other format")
    return language


def _pieces(text: str, language: str | None, sizes: Sizes, licence: str | None, *, pii: bool) -> Iterator[Piece]:
    masked = mask(text, pii=pii)
    licence = tagged(masked.text) or licence
    title = None
    if language:
        chunks = code_chunks(
            masked.text, parse(masked.text.encode(errors="surrogatepass"), language).tree, language, sizes
        )
    else:
        front = front_matter(masked.text)
        title, licence = front.title, as_expression(front.licence or "") or licence
        chunks = prose_chunks(masked.text, sizes, start=front.end)
    yield from _placed(text, masked, chunks, licence, title)


def _placed(text: str, masked: Masked, chunks: list[Chunk], licence: str | None, title: str | None) -> Iterator[Piece]:
    line, at = 1, 0
    for chunk in chunks:
        start, end = masked.original(chunk.start), masked.original(chunk.end)
        line, at = line + text.count("\n", at, start), start
        redacted = masked.within(chunk.start, chunk.end)
        yield Piece(replace(chunk, start=start, end=end), line, licence, title, redacted)


def _conversations(found: Found, sizes: Sizes, licence: str | None, *, pii: bool) -> Iterator[Piece]:
    for number, line in read_lines(found.path):
        try:
            row = parse_row(line)
            turns = [mask(turn, pii=pii) for turn in transcript(row)]
        except (MalformedRow, ValueError) as exc:
            reason = exc.reason if isinstance(exc, MalformedRow) else "not a JSON object"
            chunk = Chunk(0, 0, "", 0, "chat", None, f"malformed row: {reason}")
            yield Piece(chunk, number, licence, None, {})
            continue
        said = row.get("licence") or row.get("license")
        own = as_expression(mask(said, pii=pii).text) if isinstance(said, str) else None
        for chunk in conversation_chunks([turn.text for turn in turns], sizes):
            counts = Counter(kind for turn in turns[chunk.start : chunk.end] for *_, kind in turn.spans)
            there = {kind: min(n, chunk.text.count(f"[REDACTED:{kind}]")) for kind, n in sorted(counts.items())}
            yield Piece(chunk, number, own or licence, None, {kind: n for kind, n in there.items() if n})
