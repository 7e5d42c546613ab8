"""The white space between the leaves of a source, made smaller where that changes nothing."""

from __future__ import annotations

import re

from compressor_cli.engines.code_languages import Language
from compressor_cli.engines.code_tree import DOCSTRING, ELLIPSIS, KEPT, OUTLINED, REMOVED, STUCK, TOKEN, Scan

_DIGITS = b"0123456789"
_BLANK = b" \t\r\n\f\v"
_CONTINUED = re.compile(rb"[ \t]+(?=\\\r?\n)|(?<=\\\n)[ \t]+|(?<=\\\r\n)[ \t]+")
_PREPROCESSED = ("c", "cpp", "csharp")


def rewrite(scan: Scan, language: Language, level: str) -> bytes:
    """The source at a level. All but white space stays as it is, except for the leaves that the level drops."""
    dropping, indented = level != "whitespace", language.indented
    tight = _DIGITS if level in ("compact", "outline") else b""
    source, layout = scan.source, _Layout(scan.source, language, level, pinned=scan.pinned is not None)
    out: list[bytes] = []
    copied = end = 0  # up to where the source is written, and read
    spaces: list[bytes] = []  # what stood before each leaf dropped since the last one kept
    wrapped = False
    head, tail = scan.pinned or (0, len(source))
    for start, stop, role in zip(scan.starts, scan.ends, scan.roles, strict=True):
        if dropping and role in (REMOVED, DOCSTRING):
            spaces.append(source[end:start])
            wrapped = wrapped or (language.wraps and source.find(b"\n", start, stop) >= 0)
            end = stop
            continue
        old = source[end:start]
        if spaces or (old and (old != b" " or not layout.last or source[start] in tight)):
            new = layout.between([*spaces, old], start, role, wrapped=wrapped)
            if start <= head or stop > tail:
                new = old
            elif layout.last < head:
                new = source[layout.last : head] + new.rpartition(b"\n")[2]
            if spaces or new != old:
                out += (source[copied : layout.last], new)
                copied = start
                spaces, wrapped = [], False
        if role == OUTLINED or (role == ELLIPSIS and dropping):
            out += (source[copied:start], scan.bodies.get(start, b"..."))
            copied = stop
        if indented and stop - start == 1:
            layout.brackets += (source[start] in b"([{") - (source[start] in b")]}")
        layout.last, layout.role = stop, role
        end = stop
    ending = source[end:] if tail < len(source) else layout.ending(b"".join([*spaces, source[end:]]))
    unread = source[max(end, head) :]  # some parsers leave out what they cannot read
    if layout.last < head:
        ending = source[layout.last : head] + (unread if unread.strip() else b"")
    out += (source[copied : layout.last], ending)
    return b"".join(out)


class _Layout:
    """What the white space before a leaf becomes, and what must be remembered for that."""

    def __init__(self, source: bytes, language: Language, level: str, *, pinned: bool) -> None:
        self.last = 0  # where the last leaf that stays ends
        self.role = TOKEN  # of that leaf
        self.brackets = 0  # that are open
        self._source = source
        self._language = language
        self._compact = level in ("compact", "outline")
        self._indent = self._compact and not (pinned and language.indented)  # one block may be pinned in part
        self._widths = [0]  # of the indentations that are open

    def between(self, spaces: list[bytes], start: int, role: int, *, wrapped: bool) -> bytes:
        """`spaces` has more than one part where leaves were dropped; `wrapped`: one of them had a line break in it."""
        if role == STUCK:
            return spaces[-1] or b" "
        text = spaces[0] if len(spaces) == 1 else b"".join(spaces)
        if text.strip(_BLANK):  # a continued line, or what belongs to no leaf
            return _CONTINUED.sub(b" ", text) if self._compact else text
        if wrapped or not self.last or b"\n" in text:
            return self._line_break(spaces, text, start, role)
        before, after = self._source[self.last - 1], self._source[start]
        if after in b"\r\n":  # a heredoc
            return b""
        if len(spaces) > 1:
            text = b"" if after in b"),;]}" or before in b"([{" else b" "
        if not self._compact:
            return text
        if before in self._language.tight and after in _DIGITS:
            return b""
        return text if len(text) < 2 else b" "

    def ending(self, text: bytes) -> bytes:
        if self.role == STUCK or text.strip(_BLANK):
            return text
        return _newline(text) if b"\n" in text else b""

    def _line_break(self, spaces: list[bytes], text: bytes, start: int, role: int) -> bytes:
        margin = next((part.rpartition(b"\n")[2] for part in reversed(spaces) if b"\n" in part), None)
        if margin is None and not self.last:
            margin = spaces[0]
        if self._indent:
            margin = self._indentation(margin, start, role)
        newline = _newline(text if b"\n" in text else self._source) if self.last else b""
        if self._language.name == "go" and text.count(b"\n") > 1 and self._parted(start):
            newline *= 2
        return newline + (margin or b"")

    def _indentation(self, margin: bytes | None, start: int, role: int) -> bytes:
        """One space for each that is open; `margin` is None where there was no line break before."""
        after = self._source[start]
        if self.brackets > 0:  # less than its block has is legal, but tree-sitter takes some of it for the block's end
            return b" " * max(len(self._widths) - 1, after not in b")]}")
        if after == ord("#") and self._language.name in _PREPROCESSED:
            return b""
        widths = self._widths
        if margin is not None and not (role == KEPT and self._language.indented):
            width = len(margin.rpartition(b"\f")[2].expandtabs(8))
            while widths[-1] > width:
                widths.pop()
            if widths[-1] < width:
                widths.append(width)
        return b" " * (len(widths) - 1)

    def _parted(self, start: int) -> bool:
        """In Go, a blank line keeps a directive apart from the package's comment, and a comment from `import "C"`."""
        return self.role == KEPT or (self.role == REMOVED and self._source.startswith(b"import", start))


def _newline(text: bytes) -> bytes:
    """As the first line of it ends."""
    return b"\r\n" if text.partition(b"\n")[0].endswith(b"\r") else b"\n"
