"""Kept units put together again: Markdown, brackets, quotes and sentence ends stay whole."""

from __future__ import annotations

from collections.abc import Sequence

from compressor_cli.engines.layout import SENTENCE_END, Document, Line, Unit

OMISSION = "[…]"  # one token in the vocabularies in use, where the same on a line of its own takes four


def render(
    document: Document,
    keep: Sequence[bool],
    known: dict[tuple[int, bytes], str | None] | None = None,
    *,
    marker: bool = False,
) -> str:
    """The document with the units for which `keep` is true, and all that is fixed.

    `known` remembers lines between calls that differ in a few units. `marker` puts OMISSION where sentences are gone.
    """
    known = {} if known is None else known
    rendered: list[str | None] = []
    for n, line in enumerate(document.lines):
        key = (n, bytes(keep[line.start : line.stop]))
        if key not in known:
            known[key] = render_line(document, line, keep, marker=marker)
        rendered.append(known[key])
    rendered = _outdented(document, rendered)
    return join_lines(document, _marked(document, rendered) if marker else rendered)


def _outdented(document: Document, rendered: list[str | None]) -> list[str | None]:
    """A list item whose parent is dropped moves to the parent's place, not under the item before it."""
    above: list[tuple[int, int, bool]] = []  # indents of the items around: in the input, now; whether it is kept
    for n, line in enumerate(document.lines):
        indent = len(line.prefix) - len(line.prefix.lstrip())
        if line.fixed is not None or not line.prefix.strip():
            continue
        while above and above[-1][0] >= indent:
            above.pop()
        now = indent
        if above:
            old, new, kept = above[-1]
            now = new + indent - old if kept else new
        text = rendered[n]
        if text is not None and now < indent:
            rendered[n] = text[indent - now :]
        above.append((indent, now, text is not None))
    return rendered


def _marked(document: Document, rendered: Sequence[str | None]) -> list[str | None]:
    """One mark for the lines that are gone between two that stand, behind the first of them where that is text."""
    marked = list(rendered)
    last: int | None = None  # the line above that stands
    gone = False
    for n, line in enumerate(document.lines):
        text = marked[n]
        if text is None:
            gone = gone or line.stop > line.start
            continue
        if gone:
            gone = False
            above = marked[last] if last is not None and document.lines[last].fixed is None else None
            if last is not None and above is not None:
                marked[last] = above if above.endswith(OMISSION) else f"{above} {OMISSION}"
            elif not text.startswith(OMISSION):
                separator = document.newline if line.fixed is not None or line.prefix.strip() else " "
                marked[n] = OMISSION + separator + text
        last = n
    above = marked[last] if last is not None else None
    if gone and last is not None and above is not None and not above.endswith(OMISSION):
        marked[last] = above + (" " if document.lines[last].fixed is None else document.newline) + OMISSION
    return marked


def join_lines(document: Document, rendered: Sequence[str | None]) -> str:
    parts: list[str] = []
    blank = False
    for line, text in zip(document.lines, rendered, strict=True):
        if text is not None:
            if parts:
                parts.append(document.newline * (1 + blank))
            parts.append(text)
            blank = line.blank_after
        else:
            blank = blank or line.blank_after
    return "".join(parts) + (document.newline if document.newline_at_end and parts else "")


def render_line(document: Document, line: Line, keep: Sequence[bool], *, marker: bool = False) -> str | None:
    """None where nothing of the line is kept."""
    if line.fixed is not None:
        return line.fixed
    units = document.units
    if all(keep[i] for i in range(line.start, line.stop)):
        return line.prefix + _joined(units, range(line.start, line.stop), {}, {}, {})
    kept = [i for i in range(line.start, line.stop) if keep[i]]
    if not kept:
        return None
    opened, closed = _moved_pairs(line, keep)
    marks = {}
    for start, stop in line.sentences:
        inside = [i for i in range(start, stop) if keep[i]]
        end = SENTENCE_END.search(units[stop - 1].tail) if inside and inside[-1] != stop - 1 else None
        if end:
            marks[inside[-1]] = end.group()[0]
    if not marker:
        return line.prefix + _joined(units, kept, opened, closed, marks)
    return line.prefix + " ".join(_sentences_or_marks(units, line, keep, opened, closed, marks))


def _sentences_or_marks(
    units: list[Unit],
    line: Line,
    keep: Sequence[bool],
    opened: dict[int, str],
    closed: dict[int, str],
    marks: dict[int, str],
) -> list[str]:
    parts: list[str] = []
    for start, stop in line.sentences:
        inside = [i for i in range(start, stop) if keep[i]]
        if inside:
            parts.append(_joined(units, inside, opened, closed, marks))
        elif not parts or parts[-1] != OMISSION:
            parts.append(OMISSION)
    return parts


def _moved_pairs(line: Line, keep: Sequence[bool]) -> tuple[dict[int, str], dict[int, str]]:
    """Openers and closers whose own unit is dropped, by the unit inside the pair that takes them over."""
    opened: dict[int, str] = {}
    closed: dict[int, str] = {}
    for i, opener, j, closer in line.pairs:
        inside = [n for n in range(i, j + 1) if keep[n]]
        if not inside:
            continue
        if inside[0] != i:
            opened[inside[0]] = opener + opened.get(inside[0], "")
        if inside[-1] != j:
            closed[inside[-1]] = closed.get(inside[-1], "") + closer
    return opened, closed


def _joined(
    units: list[Unit], kept: Sequence[int], opened: dict[int, str], closed: dict[int, str], marks: dict[int, str]
) -> str:
    parts: list[str] = []
    for n, i in enumerate(kept):
        unit = units[i]
        tail = unit.tail
        core = unit.core
        last = n + 1 == len(kept)
        if i in closed or i in marks or (not last and kept[n + 1] != i + 1):
            tail = tail.replace(",", "")  # it separates nothing any more
            core = core.removesuffix("—").removesuffix("--") or core
        mark = marks.get(i, "")
        if mark and SENTENCE_END.search(tail):
            mark = ""
        elif mark:
            tail = tail.replace(";", "").replace(":", "")
        if n and not (unit.glued and kept[n - 1] == i - 1):
            parts.append(" ")
        parts.append(opened.get(i, "") + unit.lead + core + tail + closed.get(i, "") + mark)
    return "".join(parts)
