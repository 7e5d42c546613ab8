"""JSON whose numbers keep their text.

A parsed number is its literal behind a mark, a character that the text does not have: trees are then of strings, lists
and dicts alone, comparing them compares `1.0` and `1` as different, and writing them out gives each literal back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

Tree = Any  # str | bool | None | list[Tree] | dict[str, Tree]

_MARKS = (*map(chr, range(0xE000, 0xE010)), *map(chr, range(0xF0000, 0xF0010)))  # private use
_SOLID = re.compile(r'(?:[^ \t\r\n"]++|"(?:[^"\\]++|\\.)*+")++')  # a run without white space between tokens
_ESCAPES = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\.")
# A reader that splits lines as Unicode does, a terminal, or UTF-8 itself would stumble over these.
_KEPT_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")


class DuplicateKeysError(ValueError):
    """An object has a key twice, which no dict can hold."""


def without_bom(text: str) -> str:
    return text.removeprefix("\ufeff")


def free_mark(text: str) -> str | None:
    """A character that neither stands in the text nor is spelled out in it."""
    spelled = text.lower() if "\\u" in text else ""
    return next((mark for mark in _MARKS if mark not in text and _spelling(mark) not in spelled), None)


def _spelling(mark: str) -> str:
    return json.dumps(mark)[1:-1].lower()


def parser(mark: str) -> Callable[[str], Tree]:
    """Text to a tree. Raises ValueError, DuplicateKeysError among them, and RecursionError."""
    number = mark.__add__
    return json.JSONDecoder(
        parse_int=number, parse_float=number, parse_constant=number, object_pairs_hook=_unique
    ).decode


def same_data(texts: Sequence[str], others: Sequence[str]) -> bool:
    """By a parser that knows no marks: an object is a tuple of pairs, a number a tuple of its text."""

    def number(literal: str) -> tuple[str]:
        return (literal,)

    decode = json.JSONDecoder(
        parse_int=number, parse_float=number, parse_constant=number, object_pairs_hook=tuple
    ).decode
    return list(map(decode, texts)) == list(map(decode, others))


def _unique(items: list[tuple[str, Tree]]) -> dict[str, Tree]:
    found = dict(items)
    if len(found) != len(items):
        raise DuplicateKeysError("an object has a key twice")
    return found


def dump(tree: Tree, mark: str) -> str:
    """Minified, from a tree of dicts, numbers as they were written."""
    text = json.dumps(tree, ensure_ascii=False, check_circular=False, separators=(",", ":"))
    first, *rest = text.split(f'"{mark}')
    text = first + "".join([part.replace('"', "", 1) for part in rest])
    return _KEPT_ESCAPED.sub(lambda found: json.dumps(found.group())[1:-1], text)


def minify(text: str) -> str:
    """Without white space between tokens; `text` must be JSON."""
    return "".join(_SOLID.findall(text))


def spell_out(text: str) -> str:
    r"""JSON with `\u00e9` as é and `\/` as /, where the character can be seen; the strings stay the same."""
    return _ESCAPES.sub(_spelled, text) if "\\u" in text or "\\/" in text else text


def _spelled(found: re.Match[str]) -> str:
    escape = found.group()
    if escape[1] != "u":
        return "/" if escape == "\\/" else escape
    chars: str = json.loads(f'"{escape}"')
    return "".join(char if char.isprintable() and char not in '"\\' else json.dumps(char)[1:-1] for char in chars)
