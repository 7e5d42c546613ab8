"""Markdown and text in pieces of a size: whole paragraphs, no cut inside a fence, headings with what follows them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

_FENCE = re.compile(r"[ \t>]*(?:(?:[-*+]|\d+[.)])[ \t]+)?(`{3,}(?=[^`]*$)|~{3,})")
_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]|$)")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-{2,})[ \t]*$")
_FRONT = re.compile(
    r"\ufeff?(?P<mark>---|\+\+\+)[ \t]*\r?\n(?P<body>(?:(?!(?P=mark)).*\r?\n)*?)(?P=mark)[ \t]*(?:\r?\n|\Z)"
)
_FIELD = re.compile(r"^[ \t]*[\"']?(title|licen[cs]e)[\"']?[ \t]*[:=][ \t]*(.+?)[ \t\r]*$", re.M | re.I)
# Where a paragraph that is too large may be cut, best first: between lines that end something, sentences, lines.
_CUTS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<=[.!?:;…\"'”’)\]])[ \t]*\r?\n|\r?\n(?=[ \t]*(?:[-*+]|\d+[.)])[ \t])",
        r"(?<=[.!?…])[\"'”’)\]]{0,3}\s+(?=\S)|(?<=[。！？])",
        r"\r?\n",
    )
)
SHORT, LONG, FIGURES = "shorter than --min-tokens", "longer than --max-tokens", "more figures than letters"


@dataclass(frozen=True)
class Sizes:
    """In tokens, as `count` counts them."""

    least: int
    most: int
    count: Callable[[str], int]

    def problem(self, tokens: int) -> str | None:
        return SHORT if tokens < self.least else LONG if tokens > self.most else None


@dataclass(frozen=True, slots=True)
class Chunk:
    """`text` is what stands at `start:end`, of code without its common indentation. `problem`: why it is not taken."""

    start: int
    end: int
    text: str
    tokens: int
    domain: str
    language: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """`end` is where the text begins that it stands before."""

    end: int = 0
    title: str | None = None
    licence: str | None = None


@dataclass
class _Block:
    start: int
    end: int
    heading: bool = False
    fixed: bool = False  # never cut: fences and tables
    tokens: int = field(default=0)


def front_matter(text: str) -> FrontMatter:
    """YAML or TOML between marks; of the fields only title and licence are read, where they are plain text."""
    match = _FRONT.match(text)
    if match is None or not re.search(r"^[\w\"'-]+[ \t]*[:=]", match["body"], re.M):
        return FrontMatter()
    found = {name.lower(): value.strip("\"'") for name, value in _FIELD.findall(match["body"])}
    return FrontMatter(match.end(), found.get("title"), found.get("license") or found.get("licence"))


def prose_chunks(text: str, sizes: Sizes, *, start: int = 0) -> list[Chunk]:
    """In order. What is in no chunk is white space."""
    blocks = [part for block in _blocks(text, start) for part in _parts(text, block, sizes)]
    groups = _joined(_groups(blocks, sizes), sizes)
    return [_chunk(text, part, sizes) for group in groups for part in _fitting(text, group, sizes)]


def _blocks(text: str, start: int) -> Iterator[_Block]:
    """Paragraphs, fences and headings, with the offsets of their lines."""
    at, open_at, mark = start, -1, ""
    block_start = -1
    lines = 0
    for line in text[start:].splitlines(keepends=True):
        bare, end = line.rstrip(), at + len(line)
        fence = _FENCE.match(bare)
        if mark:
            if fence and fence[1].startswith(mark) and not bare[fence.end() :].strip(mark[0]):
                yield _Block(open_at, end, fixed=True)
                mark = ""
        elif fence or not bare or _HEADING.match(bare):
            if block_start >= 0:
                yield _paragraph(text, block_start, at)
                block_start = -1
            if fence:
                mark, open_at = fence[1], at
            elif bare:
                yield _Block(at, end, heading=True)
        elif block_start >= 0 and lines == 1 and _UNDERLINE.match(bare):
            yield _Block(block_start, end, heading=True)
            block_start = -1
        elif block_start < 0:
            block_start, lines = at, 1
        else:
            lines += 1
        at = end
    if mark:
        yield _Block(open_at, at, fixed=True)
    elif block_start >= 0:
        yield _paragraph(text, block_start, at)


def _paragraph(text: str, start: int, end: int) -> _Block:
    lines = text[start:end].splitlines()
    table = len(lines) > 1 and "|" in lines[0] and re.fullmatch(r"[\s|:-]+", lines[1]) is not None
    return _Block(start, end, fixed=table)


def _parts(text: str, block: _Block, sizes: Sizes) -> list[_Block]:
    """The block, or where it is too large and may be cut, its pieces."""
    block.tokens = sizes.count(text[block.start : block.end])
    parts = [block]
    for cut in _CUTS:
        if block.fixed or all(part.tokens <= sizes.most for part in parts):
            break
        parts = [piece for part in parts for piece in _cut(text, part, cut, sizes)]
    return parts


def _cut(text: str, part: _Block, cut: re.Pattern[str], sizes: Sizes) -> list[_Block]:
    if part.tokens <= sizes.most:
        return [part]
    ends = [match.end() for match in cut.finditer(text, part.start, part.end) if part.start < match.end() < part.end]
    bounds = [part.start, *ends, part.end]
    return [_Block(start, end, part.heading, tokens=sizes.count(text[start:end])) for start, end in pairwise(bounds)]


def _groups(blocks: list[_Block], sizes: Sizes) -> Iterator[list[_Block]]:
    """Neighbours as long as they fit; a heading begins anew where what stands before it is enough."""
    group: list[_Block] = []
    for block in blocks:
        size = sum(part.tokens for part in group)
        new_section = block.heading and size >= sizes.least and not all(part.heading for part in group)
        if group and (new_section or size + block.tokens > sizes.most):
            headings = 0
            while headings < len(group) and group[-1 - headings].heading:
                headings += 1
            cut = len(group) - headings
            if cut:
                yield group[:cut]
            group = group[cut:]
            if group and sum(part.tokens for part in group) + block.tokens > sizes.most:
                yield group
                group = []
        group.append(block)
    if group:
        yield group


def _joined(groups: Iterator[list[_Block]], sizes: Sizes) -> list[list[_Block]]:
    """One that is too short goes with the one before it, where both fit."""
    joined: list[list[_Block]] = []
    sizes_of: list[int] = []
    for group in groups:
        tokens = sum(block.tokens for block in group)
        small = tokens < sizes.least or (sizes_of and sizes_of[-1] < sizes.least)
        if joined and small and sizes_of[-1] + tokens <= sizes.most:
            joined[-1].extend(group)
            sizes_of[-1] += tokens
        else:
            joined.append(group)
            sizes_of.append(tokens)
    return joined


def _fitting(text: str, group: list[_Block], sizes: Sizes) -> Iterator[list[_Block]]:
    """Counts of parts need not add up in every tokenizer: what is too large as a whole is halved."""
    if len(group) > 1 and sizes.count(text[group[0].start : group[-1].end].rstrip()) > sizes.most:
        middle = len(group) // 2
        yield from _fitting(text, group[:middle], sizes)
        yield from _fitting(text, group[middle:], sizes)
    else:
        yield group


def _chunk(text: str, group: list[_Block], sizes: Sizes) -> Chunk:
    start = group[0].start
    found = text[start : group[-1].end].rstrip()
    tokens = sizes.count(found)
    problem = sizes.problem(tokens) or (None if _is_language(found) else FIGURES)
    return Chunk(start, start + len(found), found, tokens, "prose", None, problem)


def _is_language(text: str) -> bool:
    """Half of it letters: tables of figures and listings of codes are not."""
    return 2 * sum(map(str.isalpha, text)) >= len("".join(text.split()))
