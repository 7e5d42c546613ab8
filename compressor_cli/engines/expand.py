"""The way back: from a compressed text to the one it was made of."""

from __future__ import annotations

import re

from compressor_cli.core.maps import apply_map, make_map
from compressor_cli.engines.structured import restore
from compressor_cli.errors import UsageError
from compressor_cli.records import Receipt

_FORM = re.compile(r"\ufeff?# (?:(?:jsonl )?table|toon|jsonl)\r?(?:\n|\Z)")  # as engines/structured.py writes them


def expand(compressed: str | Receipt, map: bytes | None = None) -> str:
    """The exact original, by the map that `compress(..., with_map=True)` put into its receipt.

    Without a map only a lossless form comes back: a table of JSON or JSONL, to equal data. Raises UsageError for a map
    of another text, and where a map is needed.

    >>> from compressor_cli import compress
    >>> text = "The committee met on Tuesday, 3 March, and did not approve the plan."
    >>> expand(compress(text, with_map=True)) == text
    True
    """
    text = compressed.compressed if isinstance(compressed, Receipt) else compressed
    if not isinstance(text, str):
        raise UsageError(f"text or a receipt is needed, this is {type(text).__name__}")
    if not isinstance(map, bytes | None):
        raise UsageError(f"map: bytes are needed, this is {type(map).__name__}")
    if map is None and isinstance(compressed, Receipt):
        map = compressed.map
    if map is not None:
        return apply_map(to_bytes(text), map).decode("utf-8", "surrogatepass")
    found = restore(text)
    if found is None and _FORM.match(text):
        raise UsageError(
            "this begins as a lossless form, but the rest cannot be read: it is damaged, or too large",
            hint="take another copy of it; of a text that had a --map, name that",
        )
    if found is None:
        raise UsageError("this is no lossless form, and nothing here says what was left out", hint="name its --map")
    return found[1]


def text_map(original: str, compressed: str) -> bytes:
    return make_map(to_bytes(original), to_bytes(compressed))


def to_bytes(text: str) -> bytes:
    """A lone surrogate, which JSON can carry, survives both ways."""
    return text.encode("utf-8", "surrogatepass")
