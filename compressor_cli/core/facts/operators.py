"""Operators of code between the same operands: `a != b` that has become `a == b`, and `!ready` that is `ready` now."""

from __future__ import annotations

import re
from collections.abc import Iterator

from compressor_cli.core.facts.check_polarity import Turned
from compressor_cli.core.facts.sides import ENOUGH, Side

_OPERATOR = re.compile(r"[!=]==?|[<>+*/|-]=|&&|\|\||[<>≤≥≠](?![<>])")
_LEFT, _RIGHT = re.compile(r"([\w$]+)[)\]\"'`]{0,4} ?$"), re.compile(r" ?[(\[\"'`!-]{0,3}([\w$]+)")
_SAME = {"===": "==", "!==": "!=", "≠": "!=", "≤": "<=", "≥": ">="}
_NOT = re.compile(r"!(?=[A-Za-z_])")
_BEFORE_NOT = re.compile(r"(?:^|[(&|=,;{?:]|\b(?:return|if|while|and|or|when))\s?$")
_REACH = 40  # characters
_BEHIND = 3  # words
_ARTICLES = ("a", "an", "the")
_Operands = tuple[str, str]


def operators_changed(one: Side, other: Side) -> Iterator[Turned]:
    mine, theirs = _operators(one.words.text), _operators(other.words.text)
    for operands in sorted(mine.keys() & theirs.keys()):
        here, there = mine[operands], theirs[operands]
        (start, end), (start_there, end_there) = next(iter(here.values())), next(iter(there.values()))
        if here.keys().isdisjoint(there) and _behind(one, end) == _behind(other, end_there):
            yield Turned(start, end, other.words.text[start_there:end_there])
    for (before, name), (start, end) in _denied(one).items():
        said = other.at.get(name, ())[:ENOUGH]
        left = [other.words.text[max(0, other.words.starts[k] - _REACH) : other.words.starts[k]].rstrip() for k in said]
        if not any(text.endswith("!") for text in left):
            bare = (k for k, text in zip(said, left, strict=True) if text.endswith(before))
            k = next((k for k in bare if _behind(one, end) == _behind(other, other.words.ends[k])), None)
            if k is not None:
                yield Turned(start, end, other.words.raw(k))


def _behind(side: Side, end: int) -> list[str]:
    """The next words: what a condition leads to, for turned round it may lead to the other branch."""
    k = side.words.at(end)
    return [word for word in side.words.words[k : k + _BEHIND + 2] if word not in _ARTICLES][:_BEHIND]


def _operators(text: str) -> dict[_Operands, dict[str, tuple[int, int]]]:
    """The operators between each two operands, and where they stand first."""
    found: dict[_Operands, dict[str, tuple[int, int]]] = {}
    for match in _OPERATOR.finditer(text):
        left = _LEFT.search(text, max(0, match.start() - _REACH), match.start())
        right = _RIGHT.match(text, match.end())
        if left and right:
            said = _SAME.get(match.group(), match.group())
            found.setdefault((left[1], right[1]), {}).setdefault(said, (left.start(), right.end()))
    return found


def _denied(side: Side) -> dict[_Operands, tuple[int, int]]:
    """What is denied by an exclamation mark, and what stands before that."""
    found: dict[_Operands, tuple[int, int]] = {}
    text, words = side.words.text, side.words
    for match in _NOT.finditer(text):
        before = _BEFORE_NOT.search(text, max(0, match.start() - _REACH), match.start())
        if before and before.group().strip():
            k = words.at(match.end())
            found.setdefault((before.group().strip(), words.words[k]), (match.start(), words.ends[k]))
    return found
