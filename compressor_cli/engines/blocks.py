"""Fences and tables inside a document: each has shorter forms by its own engine, and they share the budget.

Without a budget or a level a fence loses nothing that a reader sees: in documentation the comments are the text. Under
a budget all fences climb the levels of the code engine together until they meet the rate; prose takes the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from compressor_cli.core.domains import closes_fence
from compressor_cli.engines.code import LEVELS, compress_code, language_of
from compressor_cli.engines.comments import spared_comments
from compressor_cli.engines.layout import FENCE, Document, Line
from compressor_cli.engines.options import Options
from compressor_cli.engines.structured import compress_structured, source_of
from compressor_cli.records import Block

_LEFT_ALONE = frozenset("text txt console output diff patch markdown md mermaid log plain".split())
_CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class _Form:
    text: str
    engine: str
    domain: str
    why: str


def fit_blocks(
    document: Document, options: Options, rate: float | None, count: Callable[[str], int]
) -> tuple[Block, ...]:
    """Put the form that fits in the place of each block of `document`; the receipt has what was done."""
    lines = [line for line in document.lines if line.block]
    if not lines:
        return ()
    before = [line.fixed or "" for line in lines]
    sizes = [count(text) for text in before]
    forms: list[_Form] = []
    used: list[int] = []
    for level in _levels(options, rate):
        forms = [_form(line, text, level, options, count) for line, text in zip(lines, before, strict=True)]
        used = [count(form.text) for form in forms]
        if rate is not None and sum(used) <= rate * sum(sizes):
            break
    blocks = []
    for line, text, form, size, now in zip(lines, before, forms, sizes, used, strict=True):
        start = line.offsets[0]
        if now >= size:
            form, now = _Form(text, "none", form.domain, form.why), size
        line.fixed = form.text
        blocks.append(Block(start, start + len(text), form.domain, form.engine, form.why, size, now))
    return tuple(blocks)


def _levels(options: Options, rate: float | None) -> tuple[str, ...]:
    """The levels to try, in their order."""
    if rate is None:
        return (options.level or LEVELS[0],)
    top = options.level or ("outline" if options.allow_loss else "compact")
    return LEVELS[: LEVELS.index(top) + 1]


def _form(line: Line, text: str, level: str, options: Options, count: Callable[[str], int]) -> _Form:
    if line.block == "table":
        return _Form(_table(text), "table", "table", "a Markdown table")
    newline = "\r\n" if "\r\n" in text else "\n"
    opening, *body = text.split(newline)
    fence = FENCE.match(opening)
    closing = [body.pop()] if body and fence and closes_fence(body[-1], fence.group(2)) else []
    label = opening.strip().lstrip("-*+0123456789.) ").lstrip("`~").strip().split(" ")[0].lower().strip("{}.")
    inner = newline.join(body)
    if not inner.strip() or label in _LEFT_ALONE:
        return _Form(text, "none", "fence", f"a fence of {label or 'nothing'}: left as it is")
    source = source_of(inner) if label in ("", "json", "jsonl", "json5", "jsonc") else None
    if source in ("json", "jsonl"):
        return _Form(_fenced(opening, compress_structured(inner, count=count).minified, closing, newline),
                     "json", "json", f"a fence that parses as {source.upper()}")  # fmt: skip
    language = language_of(inner, label or None)
    if language is None:
        return _Form(text, "none", "fence", f"a fence of {label or 'text'}: left as it is")
    result = compress_code(inner, language=language, level=level, keep=spared_comments(inner, options))
    return _Form(
        _fenced(opening, result.text, closing, newline), "code", "code", f"a fence of {language}, {result.level}"
    )


def _fenced(opening: str, inner: str, closing: list[str], newline: str) -> str:
    return newline.join([opening, inner.rstrip("\r\n"), *closing])


def _table(text: str) -> str:
    """Without the spaces that align its columns; the rule below the head takes its shortest form."""
    rows = []
    for line in text.splitlines(keepends=True):
        body = line.rstrip("\r\n")
        cells = [cell.strip() for cell in _CELL.split(body)]
        if all(re.fullmatch(r":?-+:?|", cell) for cell in cells):
            cells = [re.sub(r"-+", "-", cell) for cell in cells]
        rows.append(body[: len(body) - len(body.lstrip())] + "|".join(cells) + line[len(body) :])
    return "".join(rows)
