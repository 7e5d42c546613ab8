"""A text in pieces for a trained model: whole paragraphs of prose. Fences and tables keep engines of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from compressor_cli.core.chunks import FIGURES, Sizes, prose_chunks
from compressor_cli.engines.blocks import fit_blocks
from compressor_cli.engines.language import foreign_language
from compressor_cli.engines.layout import Document, parse
from compressor_cli.engines.options import Options
from compressor_cli.records import Block

# Tokens of a piece. Rows of training data have about as many; of a few words a model makes what it likes.
_LEAST, _ENOUGH, _MOST = 16, 64, 512


@dataclass(frozen=True)
class Piece:
    """`text` is what stands at `start:end`. `fixed` takes its place as it is; None where it is to be compressed, by the
    adapter unless `why_not` says otherwise."""

    start: int
    end: int
    text: str
    tokens: int
    fixed: str | None = None
    why_not: str | None = None


def split_pieces(
    text: str, options: Options, rate: float | None, count: Callable[[str], int]
) -> tuple[list[Piece], tuple[Block, ...], str]:
    """In order, with white space alone between them; what was done to fences and tables; and how lines end."""
    document = parse(text)
    before = {n: line.fixed for n, line in enumerate(document.lines) if line.fixed is not None}
    blocks = fit_blocks(document, options, rate, count)
    pieces: list[Piece] = []
    for start, end, n in _runs(document, len(text)):
        if n is None:
            pieces += _prose(text, start, end, count)
        else:
            line = document.lines[n]
            pieces.append(Piece(start, start + len(before[n]), before[n], count(before[n]), fixed=line.fixed))
    return pieces, blocks, document.newline


def _runs(document: Document, length: int) -> Iterator[tuple[int, int, int | None]]:
    """Start, end and the number of a fixed line; or of lines of prose that follow one another."""
    stops = [*(line.offsets[0] for line in document.lines[1:]), length]
    begun: int | None = None
    for n, (line, stop) in enumerate(zip(document.lines, stops, strict=True)):
        start = line.offsets[0]
        if line.fixed is None:
            begun = start if begun is None else begun
            continue
        if begun is not None:
            yield begun, start, None
            begun = None
        yield start, stop, n
    if begun is not None:
        yield begun, length, None


def _prose(text: str, start: int, end: int, count: Callable[[str], int]) -> Iterator[Piece]:
    for chunk in prose_chunks(text[start:end], Sizes(_ENOUGH, _MOST, count)):
        found = text[start + chunk.start : start + chunk.end]
        piece = Piece(start + chunk.start, start + chunk.end, found, count(found))
        yield replace(piece, why_not=_why_not(piece, chunk.problem))


def _why_not(piece: Piece, problem: str | None) -> str | None:
    if piece.tokens < _LEAST:
        return f"shorter than {_LEAST} tokens"
    if piece.tokens > _MOST:
        return f"longer than {_MOST} tokens, without a place to cut"
    if problem == FIGURES:
        return FIGURES
    foreign = foreign_language(piece.text.split()[:4000])
    return f"it is in {foreign}" if foreign else None


def joined(text: str, pieces: Sequence[Piece], outputs: Sequence[str]) -> str:
    """The white space between pieces stays."""
    parts, at = [], 0
    for piece, output in zip(pieces, outputs, strict=True):
        parts += [text[at : piece.start], output]
        at = piece.end
    return "".join([*parts, text[at:]])
