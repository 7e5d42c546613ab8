"""Text as units that can be kept or dropped, and back: Markdown, quotes and sentence ends stay whole.

A document is a list of lines; a line has a prefix (`## `, `- `, `> `, a speaker's name) and units, most of them words.
A unit is never cut: a link or a piece of inline code is one. Fences, tables, front matter and the like are fixed lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_FENCE = re.compile(r"^\s*(`{3,}|~{3,})")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(?=\S)")
_ITEM = re.compile(r"^\s*(?:[-*+•]|\d{1,4}[.)])\s+(?:\[[ xX]\]\s+)?(?=\S)")
_QUOTE = re.compile(r"^\s*(?:>\s?)+(?=\S)")
_SPEAKER = re.compile(r"^(?:\[?\d{1,2}:\d\d(?::\d\d)?\]?\s+)?[A-Z][\w.'’-]*(?: [\w.'’()-]+){0,4}:\s+(?=\S)")
_INDENT = re.compile(r"^\s+")
_RULE = re.compile(r"^\s*(?:[-*_=]\s*){3,}$")
_TABLE_RULE = re.compile(r"^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-*:?\s*)*$")
_FIXED = re.compile(r"^\s*(?:</?[A-Za-z!][^>]*>?\s*$|<!--|\[[^\]]+\]:\s|\$\$)")
_CODE_INDENT = re.compile(r"^(?: {4}|\t)")

# The pieces that stay whole although they may hold spaces.
_ATOM = (
    r"`{1,3}[^`\n]{1,400}`{1,3}"
    r"|!?\[[^\]\n]{0,300}\]\((?:[^()\s]|\([^()\s]*\)){0,2000}(?: \"[^\"\n]{0,200}\")?\)"
    r"|!?\[[^\]\n]{1,200}\]\[[^\]\n]{0,100}\]"
    r"|</?[A-Za-z][^<>\n]{0,200}>"
)
_ATOM_RE = re.compile(_ATOM)
_UNIT = re.compile(rf"(?:{_ATOM}|\S)+")
_DASH = re.compile(r"(?<=[\w”\"’)])(?:—|--)(?=[\w“\"‘(])")
_LEAD = re.compile(r"^[(\[{\"“‘*_~«]+")
_TAIL = re.compile(r"[)\]}\"”’*_~».,;:!?…]+$")
_SENTENCE_END = re.compile(r"[.!?…。！？][\"”’)\]»*_]*$")
_CLOSER = {"(": ")", "[": "]", "{": "}", '"': '"', "“": "”", "‘": "’", "*": "*", "_": "_", "~": "~", "«": "»"}
_ABBREVIATION = re.compile(
    r"^\W*(?:Mr|Mrs|Ms|Dr|St|Prof|Jr|Sr|vs|etc|e\.g|i\.e|cf|al|No|Nos|Vol|Fig|Eq|Inc|Ltd|Co|Corp|Gen|Col|Capt|Lt|Sgt|Rev|Hon"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec|approx|ca|c|[A-Z](?:\.[A-Z])*)\.$"
)
_SOFT_WRAP = 55  # a shorter line ends where its writer meant it to
_LONGEST_SENTENCE = 80  # units; longer ones are cut for the optimiser, at commas where there are any


@dataclass(frozen=True, slots=True)
class Unit:
    """`lead` and `tail` are brackets, quotes and punctuation around `core`; `glued`: no space stood before it."""

    lead: str
    core: str
    tail: str
    glued: bool = False

    @property
    def text(self) -> str:
        return self.lead + self.core + self.tail


@dataclass(slots=True)
class Line:
    """Units `start:stop` of the document, in `sentences` (start, stop). `fixed` text is kept as it is.

    `blank_after` says that an empty line followed. `whole`: kept or dropped as one, as headings are.
    """

    prefix: str = ""
    fixed: str | None = None
    whole: bool = False
    start: int = 0
    stop: int = 0
    sentences: list[tuple[int, int]] = field(default_factory=list)
    pairs: list[tuple[int, str, int, str]] = field(default_factory=list)
    blank_after: bool = False
    body: str = ""
    wraps: bool = False


@dataclass(frozen=True)
class Document:
    lines: list[Line]
    units: list[Unit]
    newline_at_end: bool


def parse(text: str) -> Document:
    lines = _lines(text)
    units: list[Unit] = []
    for line in lines:
        line.start = len(units)
        if line.fixed is None:
            units.extend(_units(line.body))
        line.stop = len(units)
        if line.fixed is None:
            line.sentences = list(_sentences(units, line.start, line.stop, line.whole))
            line.pairs = _pairs(units, line.start, line.stop)
    return Document(lines, units, text.endswith("\n"))


def _lines(text: str) -> list[Line]:
    raw = text.replace("\r\n", "\n").split("\n")
    speakers = sum(1 for line in raw if _SPEAKER.match(line)) >= 3
    lines: list[Line] = []
    at = _front_matter(raw)
    if at:
        lines.append(Line(fixed="\n".join(raw[:at])))
    while at < len(raw):
        current = raw[at]
        if not current.strip():
            if lines:
                lines[-1].blank_after = True
                lines[-1].wraps = False
            at += 1
            continue
        end = _fixed_end(raw, at, lines)
        if end > at:
            lines.append(Line(fixed="\n".join(raw[at:end])))
            at = end
            continue
        _add_text_line(lines, current, speakers)
        at += 1
    return lines


def _add_text_line(lines: list[Line], current: str, speakers: bool) -> None:
    heading = _HEADING.match(current)
    mark = heading or _ITEM.match(current) or _QUOTE.match(current) or (speakers and _SPEAKER.match(current)) or None
    if mark is None and lines and lines[-1].wraps:
        lines[-1].body += " " + current.strip()
    elif mark is None and _indented(current) and lines and lines[-1].prefix and not lines[-1].blank_after:
        lines[-1].body += " " + current.strip()  # goes on a list item
    else:
        mark = mark or _INDENT.match(current)
        prefix = mark.group() if mark else ""
        lines.append(Line(prefix=prefix, body=current[len(prefix) :].strip(), whole=heading is not None))
    hard_break = current.endswith("  ") or current.endswith("\\")
    lines[-1].wraps = not heading and len(current) > _SOFT_WRAP and not hard_break


def _indented(line: str) -> bool:
    return line[:2].isspace()


def _front_matter(raw: Sequence[str]) -> int:
    if raw[0].strip() != "---" or len(raw) < 3 or not re.match(r"^[\w-]+\s*:", raw[1]):
        return 0
    return next((i + 1 for i in range(1, min(len(raw), 100)) if raw[i].strip() == "---"), 0)


def _fixed_end(raw: Sequence[str], at: int, lines: list[Line]) -> int:
    """Where the fixed lines that begin at `at` end; `at` itself where none do."""
    line = raw[at]
    fence = _FENCE.match(line)
    if fence:
        mark = fence.group(1)
        for i in range(at + 1, len(raw)):
            closing = raw[i].strip()
            if closing.startswith(mark) and not closing.strip(mark[0]):
                return i + 1
        return len(raw)
    if (
        "|" in line
        and at + 1 < len(raw)
        and "|" in raw[at + 1]
        and "-" in raw[at + 1]
        and _TABLE_RULE.match(raw[at + 1])
    ):
        end = at + 2
        while end < len(raw) and "|" in raw[end]:
            end += 1
        return end
    if _RULE.match(line) or _FIXED.match(line):
        return at + 1
    if at + 1 < len(raw) and line.strip() and re.match(r"^(?:=+|-{2,})\s*$", raw[at + 1]):
        return at + 2  # a heading underlined
    after_blank = not lines or lines[-1].blank_after
    if _CODE_INDENT.match(line) and after_blank and not (lines and _ITEM.match(lines[-1].prefix + "x")):
        end = at + 1
        while end < len(raw) and _CODE_INDENT.match(raw[end]):
            end += 1
        return end
    return at


def _units(body: str) -> Iterator[Unit]:
    for match in _UNIT.finditer(body):
        text = match.group()
        atom = _ATOM_RE.search(text) if "`" in text or "]" in text or ">" in text else None
        if atom:
            before, after = _LEAD.match(text[: atom.start()]), _TAIL.search(text[atom.end() :])
            lead = before.group() if before else ""
            tail = after.group() if after else ""
            yield Unit(lead, text[len(lead) : len(text) - len(tail)], tail)
            continue
        start = 0
        for cut in [*(dash.end() for dash in _DASH.finditer(text)), len(text)]:
            yield _unit(text[start:cut], glued=start > 0)
            start = cut


def _unit(text: str, *, glued: bool) -> Unit:
    lead = _LEAD.match(text)
    inner = text[lead.end() :] if lead else text
    tail = _TAIL.search(inner)
    core = inner[: tail.start()] if tail else inner
    if not core:
        return Unit("", text, "", glued)
    return Unit(lead.group() if lead else "", core, tail.group() if tail else "", glued)


def _sentences(units: list[Unit], start: int, stop: int, whole: bool) -> Iterator[tuple[int, int]]:
    first = start
    for i in range(start, stop):
        length = i + 1 - first
        too_long = length >= _LONGEST_SENTENCE and (units[i].tail or length >= _LONGEST_SENTENCE * 2)
        if i == stop - 1 or (not whole and (too_long or _ends_sentence(units[i], units[i + 1]))):
            yield first, i + 1
            first = i + 1


def _ends_sentence(unit: Unit, following: Unit) -> bool:
    if not unit.tail or not _SENTENCE_END.search(unit.tail):
        return False
    if unit.tail.startswith(".") and _ABBREVIATION.match(unit.core + "."):
        return False
    begin = following.text.lstrip('([{"“‘*_~«')[:1]
    return not begin.islower()


def _pairs(units: list[Unit], start: int, stop: int) -> list[tuple[int, str, int, str]]:
    """Brackets, quotes and emphasis that open in one unit and close in a later one."""
    pairs: list[tuple[int, str, int, str]] = []
    stack: list[tuple[int, str]] = []
    for i in range(start, stop):
        unit = units[i]
        stack.extend((i, char) for char in unit.lead)
        for char in unit.tail:
            at = next((n for n in range(len(stack) - 1, -1, -1) if _CLOSER[stack[n][1]] == char), None)
            if at is None:
                continue
            opened, opener = stack[at]
            del stack[at:]
            if opened != i:
                pairs.append((opened, opener, i, char))
        if len(stack) > 64:
            del stack[:32]
    return pairs


def render(document: Document, keep: Sequence[bool]) -> str:
    """The document with the units for which `keep` is true, and all that is fixed."""
    return join_lines(document, [render_line(document, line, keep) for line in document.lines])


def join_lines(document: Document, rendered: Sequence[str | None]) -> str:
    parts: list[str] = []
    blank = False
    for line, text in zip(document.lines, rendered, strict=True):
        if text is not None:
            if parts:
                parts.append("\n\n" if blank else "\n")
            parts.append(text)
            blank = line.blank_after
        else:
            blank = blank or line.blank_after
    return "".join(parts) + ("\n" if document.newline_at_end and parts else "")


def render_line(document: Document, line: Line, keep: Sequence[bool]) -> str | None:
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
        end = _SENTENCE_END.search(units[stop - 1].tail) if inside and inside[-1] != stop - 1 else None
        if end:
            marks[inside[-1]] = end.group()[0]
    return line.prefix + _joined(units, kept, opened, closed, marks)


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
        if mark and _SENTENCE_END.search(tail):
            mark = ""
        if n and not (unit.glued and kept[n - 1] == i - 1):
            parts.append(" ")
        parts.append(opened.get(i, "") + unit.lead + core + tail + closed.get(i, "") + mark)
    return "".join(parts)
