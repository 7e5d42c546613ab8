"""Finds literals by their form: 0x1F4A, #ff0000, hashes, UUIDs, MAC addresses and serial numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from compressor_cli.core.facts.tokens import Found, Span, Words

_BASES = ("0x", "0o", "0b")
_BASED = re.compile(r"0(?:x[\da-f_]+|o[0-7_]+|b[01_]+)")
_HASH = re.compile(r"(?:(?=0)|(?=\d*[a-f][\da-f]))(?=\d*[a-f])(?=[a-f]*\d)[\da-f]{7,64}")  # 5000000b counts something
_COLOUR = re.compile(
    r"#(?<![\w&#/]#)(?:(?=\d*[a-f])(?:[\da-f]{6}|[\da-f]{8})|(?=[a-f]*\d)(?=\d*[a-f])[\da-f]{3}|([a-f])\1\1)(?!\w)"
)
_COLONS = re.compile(r":(?<=[\da-f]{2}:)[\da-f]{2}(?::[\da-f]{2}){4}(?![\w:])")
_HYPHENS = re.compile(r"-(?<=[\da-zA-Z]-)[\da-zA-Z]+-(?=[\da-zA-Z])")
_LEFT, _RIGHT = re.compile(r"[\w-]+$"), re.compile(r"[\w-]+")
_UUID = re.compile(r"[\da-fA-F]{8}(?:-[\da-fA-F]{4}){3}-[\da-fA-F]{12}")
_MAC = re.compile(r"[\da-fA-F]{2}(?:-[\da-fA-F]{2}){5}")
_SERIAL = re.compile(r"(?!\d{4}-\d\d-\d\dT)(?=[A-Z-]*\d)(?=[\d-]*[A-Z])[\dA-Z]+(?:-[\dA-Z]+)+")
_LONGEST = 64


def literals(words: Words) -> Iterator[Found]:
    """The longer ones first: a part of a UUID looks like a hash."""
    text, lower = words.text, words.lower
    for match in _COLONS.finditer(lower):
        start = match.start() - 2
        if not (lower[start - 1 : start].isalnum() or lower[start - 1 : start] == ":"):
            yield _literal(lower[start : match.end()], (start, match.end()))
    yield from _hyphened(text)
    if "#" in text:
        yield from (_literal(match.group()[1:], match.span()) for match in _COLOUR.finditer(lower))
    for i in words.odd:
        word = words.words[i]
        if (_BASED if word.startswith(_BASES) else _HASH).fullmatch(word):
            yield _literal(word, (words.starts[i], words.ends[i]))


def _hyphened(text: str) -> Iterator[Found]:
    end = 0
    for match in _HYPHENS.finditer(text):
        at = match.start()
        if at < end:
            continue
        left, right = _LEFT.search(text, max(0, at - _LONGEST), at), _RIGHT.match(text, at)
        assert left and right
        start, end = left.start(), right.end()
        whole = text[start:end]
        if _SERIAL.fullmatch(whole):
            yield _literal(whole, (start, end))
        elif _UUID.fullmatch(whole) or _MAC.fullmatch(whole):
            yield _literal(whole.lower(), (start, end))


def _literal(value: str, span: Span) -> Found:
    return Found("identifier", *span, (span,), ("identifier", value))
