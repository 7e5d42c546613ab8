"""Code, made shorter without changing what it does.

A source is parsed, its comments and white space are cut down, and the result is parsed again: up to `compact` it must
be the same tree over the same leaves, or a lower level is taken. `outline` leaves out the bodies of functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.code_languages import LANGUAGES, named
from compressor_cli.engines.code_layout import rewrite
from compressor_cli.engines.code_parse import BOM, Parsed, language_of, parse, parses, python_tree
from compressor_cli.engines.code_tree import (
    REMOVED,
    Scan,
    same_leaves,
    same_program,
    same_tokens,
    scan,
    without_comments,
)
from compressor_cli.errors import UsageError

__all__ = ["LANGUAGES", "LEVELS", "UNTOUCHED", "CodeResult", "compress_code", "language_of", "parses"]

LEVELS = ("whitespace", "comments", "compact", "outline")
UNTOUCHED = "none"

_BROKEN = 0.3  # the most of a text that may not parse while the rest of it is still taken for code
_ROUNDS = 4
_LONE_BREAK = re.compile(r"\r(?!\n)")
_SURROGATE = re.compile("[\ud800-\udfff]")

Keep = Callable[[str], bool]
Pinned = tuple[int, int]


@dataclass(frozen=True)
class CodeResult:
    """`level` is the one reached, or `none`; `comments` counts docstrings too."""

    text: str
    language: str | None
    level: str
    comments: int
    lines_left_out: int
    warnings: tuple[str, ...]


def compress_code(
    text: str, *, language: str | None, level: str, keep: Keep | None = None, pinned: Pinned = (0, 0)
) -> CodeResult:
    """Never more tokens than `text` has. `keep` is asked of each comment and docstring that would go. `pinned`: as many
    characters at both ends stay as they are.

    What does not parse loses blank lines and trailing space at most, outside of the errors. But in C, C++ and SQL most
    errors are macros or dialects, and a lexer can check the result, and in Python some are the parser's own, and Python
    can: there the rest is treated as if it stood alone.
    """
    if level not in LEVELS:
        raise UsageError(f"no such level: {level}", hint=f"one of {', '.join(LEVELS)}")
    name = named(language) if language else None
    if name is None or (reason := _unreadable(text)):
        why = reason if name else f"no parser for {language or 'an unknown language'}"
        return CodeResult(text, name or language, UNTOUCHED, 0, 0, (f"{why}: left as it is",))
    body = text.removeprefix(BOM)
    parsed = parse(body.encode(), name)
    if parsed.grammar.doubtful.search(parsed.source):
        return CodeResult(text, name, UNTOUCHED, 0, 0, ("strings may end elsewhere in a dialect: left as it is",))
    head, tail = text[: pinned[0]].removeprefix(BOM), text[len(text) - pinned[1] :]
    ends = _head_size(head.encode()), len(tail.encode())
    result = _compress(parsed, level, keep, ends)
    for _ in range(_ROUNDS if parsed.broken else 0):  # less white space can make fewer errors
        again = _compress(parse(result.text.encode(), name), level, keep, ends)
        if len(again.text) >= len(result.text):
            break
        comments, lines = result.comments + again.comments, result.lines_left_out + again.lines_left_out
        result = replace(again, comments=comments, lines_left_out=lines, warnings=result.warnings)
    return replace(result, text=text[: len(text) - len(body)] + result.text)


def _unreadable(text: str) -> str | None:
    if "\0" in text:
        return "has a NUL character"
    if _LONE_BREAK.search(text):
        return "has carriage returns without line feeds"
    return None if text.isascii() or not _SURROGATE.search(text) else "has half a character"


def _head_size(head: bytes) -> int:
    """Without the indentation of the line behind it, which is that line's own."""
    return len(head) if head.endswith(b"\n") else len(head.rstrip(b" \t"))


def _compress(parsed: Parsed, level: str, keep: Keep | None, ends: Pinned) -> CodeResult:
    name = parsed.grammar.language.name
    allowed, warnings = _allowed(parsed, level, whole=not any(ends))
    for attempt in reversed(LEVELS[: LEVELS.index(allowed) + 1]):
        found = _at_level(parsed, attempt, keep, ends)
        if found is None:
            continue
        if attempt != allowed:
            warnings = (*warnings, f"{allowed} would have changed the program or saved nothing: {attempt} instead")
        result, comments, lines = found
        return CodeResult(result, name, attempt, comments, lines, warnings)
    warnings = (*warnings, "no shorter text is the same program: left as it is")
    return CodeResult(parsed.source.decode(), name, UNTOUCHED, 0, 0, warnings)


def _allowed(parsed: Parsed, level: str, *, whole: bool) -> tuple[str, tuple[str, ...]]:
    """The level as far as the text takes it, and why no further. What does not parse is not treated by parts."""
    language = parsed.grammar.language
    if level == "outline" and not language.functions:
        allowed, warnings = _allowed(parsed, "compact", whole=whole)
        return allowed, (f"{language.name} has no outline here: {allowed} instead", *warnings)
    if parsed.broken and whole and _checkable(parsed):
        return level, (f"does not parse as {language.name} as a whole: what does not is left as it is",)
    if parsed.broken:
        return "whitespace", (f"does not parse as {language.name}: its comments and indentation stay",)
    if level != "whitespace" and parsed.leaves.dropped and not parsed.leaves.size:
        return "whitespace", ("nothing but comments: they stay",)
    return level, ()


def _checkable(parsed: Parsed) -> bool:
    """Whether something other than the parser can tell that a result is the same program."""
    if parsed.grammar.language.name == "python":
        return python_tree(parsed.source) is not None
    return bool(parsed.grammar.language.lexed) and parsed.errors() <= _BROKEN


def _at_level(parsed: Parsed, level: str, keep: Keep | None, ends: Pinned) -> tuple[str, int, int] | None:
    """The text with the comments and lines left out of it, or None where it is another program, or no gain."""
    dropping = level != "whitespace"
    source, grammar = parsed.source, parsed.grammar
    stays = ends[0], len(source) - ends[1]
    before = scan(parsed.tree, source, grammar, outline=stays) if level == "outline" else parsed.leaves
    if any(ends):
        before.pin(stays)
    if keep and dropping:
        before.spare(keep)
    dropped = before.dropped if dropping else 0
    result = rewrite(before, grammar.language, level)
    if result == source:
        return source.decode(), dropped, 0
    if not result.startswith(source[: stays[0]]) or not result.endswith(source[stays[1] :]):
        return None
    if not before.lines_left_out and not _verified(parsed, before, result, dropping=dropping):
        return None
    text = result.decode()
    count = token_counter().count
    return (text, dropped, before.lines_left_out) if count(text) <= count(source.decode()) else None


def _verified(parsed: Parsed, before: Scan, result: bytes, *, dropping: bool) -> bool:
    grammar = parsed.grammar
    if parsed.broken and grammar.language.lexed:
        return same_tokens(parsed.source, result, grammar.language.lexed)
    if parsed.broken and dropping:  # in Python, see `_checkable`
        return python_tree(parsed.source) == python_tree(result)
    tree = grammar.parse(result)
    if tree.root_node.has_error and not parsed.broken:
        return False
    after = scan(tree, result, grammar)
    if same_program(before, after, dropping=dropping):
        return True
    if not dropping:
        return False
    # Some parsers take a comment for more than white space: then the program without it is what must stay the same.
    blanked = without_comments(before)
    reference = scan(grammar.parse(blanked), blanked, grammar)
    if not same_leaves(before, reference):
        return False
    reference.roles = bytearray(role for role in before.roles if role != REMOVED)  # spared comments stay such
    return same_program(reference, after, dropping=True)
