"""CSV and its kin: which delimiter a text has, and the same cells without the quotes that no reader needs."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter

_DELIMITERS = ("\t", ",", ";", "|")
_SAMPLE = 1 << 16
_UNIFORM = 0.9  # of the rows have as many cells as the first
_NO_HEADER = re.compile(r"[{}<>=]|\]:|.{80}")  # code, TOON, a sentence
_NAME = re.compile(r"[^\W\d][\w .()/%#-]{0,40}")


def rows_of(text: str, delimiter: str) -> list[list[str]] | None:
    """None where `csv` gives up: a cell beyond its limit of 128 KiB."""
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error:
        return None


def delimiter_of(text: str) -> str | None:
    """None for what is no table, be it prose with commas, a log, or code."""
    head = text[:_SAMPLE]
    if len(head) < len(text):
        head = head[: head.rfind("\n") + 1]
    return next(
        (mark for mark in _DELIMITERS if mark in head and _is_table(head, mark) and _is_uniform(text, mark)), None
    )


def _is_table(head: str, mark: str) -> bool:
    first, _, _ = head.removeprefix("\ufeff").partition("\n")
    rows = rows_of(head, mark)
    if rows is None or len(rows) < 2 or _NO_HEADER.search(first.replace(mark, "\n")) or not "".join(rows[0]).strip():
        return False
    if mark != "\t" and head.count(mark + " ") > 0.5 * head.count(mark):
        return False  # a list in a sentence, a Markdown table
    if mark == "|" and first.startswith(mark):
        return False
    width = len(rows[0])
    # Timestamps with a comma in them make two columns of a log.
    return width > 2 or (width == 2 and len(rows) > 2 and all(_NAME.fullmatch(name) for name in rows[0]))


def _is_uniform(text: str, mark: str) -> bool:
    rows = rows_of(text, mark) or [[]]
    widths = Counter(len(row) for row in rows if row)
    return widths[len(rows[0])] >= _UNIFORM * widths.total()


def without_quotes(text: str, delimiter: str) -> str:
    """Cells stay as `csv` reads them. Quotes around nothing, which some readers tell from an empty cell, and around
    outer spaces stay."""
    mark = re.escape(delimiter)
    needed = re.compile(f'[{mark}"\r\n]|^\\s|\\s$|^$')
    quoted = re.compile(f'(\\A\ufeff?|[{mark}\r\n])"((?:[^"]++|"")*+)"(?=[{mark}\r\n]|\\Z)')
    bare = quoted.sub(lambda found: found[0] if needed.search(found[2]) else found[1] + found[2], text)
    same = rows_of(bare, delimiter) == rows_of(text, delimiter)
    return bare if same and delimiter_of(bare) == delimiter else text
