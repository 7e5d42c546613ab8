"""Text as units that can be kept or dropped.

A document is a list of lines; a line has a prefix (`## `, `- `, `> `, a speaker's name) and units, most of them words.
A unit is never cut: a link or a piece of inline code is one, and on demand an event of a log, for half of what it says
may be something else. Fences, tables, front matter and the like are fixed lines.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Literal

from compressor_cli.core.domains import closes_fence
from compressor_cli.core.log_lines import stamp_of

# Also behind the mark of a quote or of a list item; a back-tick behind the opening makes it inline code.
FENCE = re.compile(r"^((?:\s*>)*)\s*(?:(?:[-*+]|\d{1,4}[.)])\s+)?(`{3,}(?=[^`\n]*$)|~{3,})")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(?=\S)")
_ITEM = re.compile(r"^\s*(?:[-*+•]|\d{1,4}[.)])\s+(?:\[[ xX]\]\s+)?(?=\S)")
_QUOTE = re.compile(r"^\s*(?:>\s?)+(?=\S)")
_SPEAKER = re.compile(r"^(?:\[?\d{1,2}:\d\d(?::\d\d)?\]?\s+)?[A-Z][\w.'’-]*(?: [\w.'’()-]+){0,4}:\s+(?=\S)")
_STAMP = re.compile(  # of a log line or a chat message, with level or name
    r"^\[?(?:\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?[.,\d]*(?:Z|[+-]\d\d:?\d\d)?|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"
    r"|\d{1,2}:\d\d(?::\d\d)?)\]?\s+(?:\[?(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)\]?:?\s+)?"
    r"(?:<?[\w.-]{1,24}>?:\s+)?(?=\S)"
)
_INDENT = re.compile(r"^\s+")
_RULE = re.compile(r"^\s*(?:[-*_=]\s*){3,}$")
_TABLE_RULE = re.compile(r"[|:\- \t]+")
_FIXED = re.compile(r"(?:</?[A-Za-z!][^<>]*>?$|\[[^\]]+\]:\s)")
_UNDERLINE = re.compile(r"(?:=+|-{2,})\s*$")
_LONGEST_HEADING = 120  # characters; a longer line above a row of dashes is a paragraph above a rule
# What begins a block that is kept as it is, and what ends it.
_BLOCKS = {"<!--": "-->", "$$": "$$", "<pre": "</pre>", "<script": "</script>", "<style": "</style>", "\\[": "\\]"}
_CODE_INDENT = re.compile(r"^(?: {4}|\t)")

# The pieces that stay whole although they may hold spaces.
_ATOM = (
    r"`{1,3}[^`\n]{1,400}`{1,3}"
    r"|!?\[[^\]\n]{0,300}\]\((?:[^()\s]|\([^()\s]*\)){0,2000}(?: \"[^\"\n]{0,200}\")?\)"
    r"|!?\[[^\]\n]{1,200}\]\[[^\]\n]{0,100}\]"
    r"|<([A-Za-z]\w*)\b[^<>\n]{0,200}>[^<>\n]{0,300}</\1>"
    r"|</?[A-Za-z][^<>\n]{0,200}>"
    r"|\(x\d+(?:, [^()\n]+)?\)(?=\s|$)"  # of folded log lines
)
_ATOM_RE = re.compile(_ATOM)
_UNIT = re.compile(rf"(?:{_ATOM}|\S)+")
_DASH = re.compile(r"(?<=[\w”\"’)])(?:—|--)(?=[\w“\"‘(])")
_LEAD = re.compile(r"^[(\[{\"“‘*_~«]+")
_TAIL_CHARS = ')]}"”’*_~».,;:!?…'
SENTENCE_END = re.compile(r"[.!?…。！？][\"”’)\]»*_]*$")
_CLOSER = {"(": ")", "[": "]", "{": "}", '"': '"', "“": "”", "‘": "’", "*": "*", "_": "_", "~": "~", "«": "»"}
_ABBREVIATION = re.compile(
    r"^\W*(?:Mr|Mrs|Ms|Dr|St|Prof|Jr|Sr|vs|etc|e\.g|i\.e|cf|al|No|Nos|Vol|Fig|Eq|Inc|Ltd|Co|Corp|Gen|Col|Capt|Lt|Sgt|Rev|Hon"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec|approx|ca|c|[A-Z](?:\.[A-Z])*)\.$"
)
_WRAPPED = range(56, 131)  # widths to which editors break lines; others end where their writer meant them to
_WRAPPED_SHARE = 0.8  # of the lines of a paragraph could not have taken the next word
_LONGEST_SENTENCE = 80  # units; longer ones are cut for the optimiser, at commas where there are any


@dataclass(frozen=True, slots=True)
class Unit:
    """`lead` and `tail` are brackets, quotes and punctuation around `core`; `glued`: no space stood before it.

    `start` and `end` are offsets in the text.
    """

    lead: str
    core: str
    tail: str
    glued: bool = False
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    @property
    def text(self) -> str:
        return self.lead + self.core + self.tail


@dataclass(slots=True)
class Line:
    """Units `start:stop` of the document, in `sentences` (start, stop). `fixed` text is kept as it is.

    `raw` are the lines of the input that it was made from, `offsets` where each begins in the text. `blank_after` says
    that an empty line followed. `whole`: kept or dropped as one, as headings are. `block`: fixed text that has an
    engine of its own: a fence or a table. `event`: one unit, whatever it holds.
    """

    prefix: str = ""
    fixed: str | None = None
    block: Literal["fence", "table"] | None = None
    whole: bool = False
    start: int = 0
    stop: int = 0
    sentences: list[tuple[int, int]] = field(default_factory=list)
    pairs: list[tuple[int, str, int, str]] = field(default_factory=list)
    blank_after: bool = False
    raw: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    wraps: bool = False
    event: bool = False

    def body(self) -> str:
        return " ".join([self.raw[0][len(self.prefix) :], *self.raw[1:]])

    def placed(self, units: Iterator[Unit]) -> Iterator[Unit]:
        """Units whose offsets are in the body, with offsets in the text."""
        begins = [0]
        for raw in self.raw[:-1]:
            begins.append(begins[-1] + len(raw) + 1 - (len(self.prefix) if len(begins) == 1 else 0))
        sources = [self.offsets[0] + len(self.prefix), *self.offsets[1:]]
        shifts = [source - begin for source, begin in zip(sources, begins, strict=True)]
        for unit in units:
            first, last = (shifts[bisect_right(begins, at) - 1] for at in (unit.start, unit.end - 1))
            yield Unit(unit.lead, unit.core, unit.tail, unit.glued, unit.start + first, unit.end + last)


@dataclass(frozen=True)
class Document:
    """`newline` is how the lines of the input end."""

    lines: list[Line]
    units: list[Unit]
    newline_at_end: bool
    newline: str = "\n"


def parse(text: str, *, events: Collection[tuple[int, int]] = ()) -> Document:
    """`events` are lines of a log, (start, stop) each: what stands behind its time is one unit."""
    lines = _lines(text, dict(events))
    units: list[Unit] = []
    for line in lines:
        line.start = len(units)
        if line.event:
            body = line.body()
            units.extend(line.placed(iter([Unit("", body, "", False, 0, len(body))])))
        elif line.fixed is None:
            units.extend(line.placed(_units(line.body())))
        line.stop = len(units)
        if line.fixed is None:
            line.sentences = list(_sentences(units, line.start, line.stop, line.whole))
            line.pairs = _pairs(units, line.start, line.stop)
    newline = "\r\n" if 2 * text.count("\r\n") > text.count("\n") else "\n"
    return Document(lines, units, text.endswith("\n"), newline)


def _lines(text: str, events: Mapping[int, int]) -> list[Line]:
    raw = text.split("\n")
    wraps = _wraps(raw)
    speakers = sum(1 for line in raw if _SPEAKER.match(line)) >= 3
    offsets = [0, *accumulate(len(line) + 1 for line in raw)]
    lines: list[Line] = []
    at = _front_matter(raw)
    if at:
        lines.append(_fixed_line(raw[:at], 0))
    while at < len(raw):
        current = raw[at]
        if not current.strip():
            if lines:
                lines[-1].blank_after = True
                lines[-1].wraps = False
            at += 1
            continue
        if at in events:
            lines.append(_event(raw[at : events[at]], offsets[at]))
            at = events[at]
            continue
        end, block = _fixed_end(raw, at, lines)
        if end > at:
            lines.append(_fixed_line(raw[at:end], offsets[at], block))
            at = end
            continue
        _add_text_line(lines, current.removesuffix("\r"), offsets[at], speakers, wraps[at])
        at += 1
    return lines


def _fixed_line(raw: list[str], offset: int, block: Literal["fence", "table"] | None = None) -> Line:
    return Line(fixed="\n".join(raw).removesuffix("\r"), block=block, offsets=[offset])


def _event(raw: list[str], offset: int) -> Line:
    """The time is the prefix; a line that begins with a level has none."""
    stamp = stamp_of(raw[0])
    behind = re.compile(r"\S*\s*").match(raw[0], stamp.stop) if stamp else None
    prefix = raw[0][: behind.end()] if behind else ""
    return Line(prefix=prefix, raw=["\n".join(raw).removesuffix("\r")], offsets=[offset], event=True)


def _mark(current: str, speakers: bool) -> re.Match[str] | None:
    found = _HEADING.match(current) or _ITEM.match(current) or _QUOTE.match(current) or _STAMP.match(current)
    return found or (_SPEAKER.match(current) if speakers else None)


def _wraps(raw: Sequence[str]) -> list[bool]:
    """Whether an editor broke the line, so that the next one goes on with it."""
    wraps = [False] * len(raw)
    start = 0
    for i in range(len(raw) + 1):
        blank = i == len(raw) or not raw[i].strip()
        if not blank and not (i > start and _mark(raw[i], speakers=False)):
            continue
        group = [line.rstrip() for line in raw[start:i]]
        fits = [len(a) + len(b.split(None, 1)[0]) for a, b in pairwise(group)]
        width = max(map(len, group), default=0)
        if fits and width in _WRAPPED and sum(n >= width for n in fits) >= _WRAPPED_SHARE * len(fits):
            wraps[start : i - 1] = [True] * (i - 1 - start)
        start = i + 1 if blank else i
    return wraps


def _add_text_line(lines: list[Line], current: str, offset: int, speakers: bool, wraps: bool) -> None:
    heading = _HEADING.match(current)
    mark = _mark(current, speakers)
    goes_on_item = _indented(current) and bool(lines) and bool(lines[-1].prefix) and not lines[-1].blank_after
    if mark is None and lines and (lines[-1].wraps or goes_on_item):
        lines[-1].raw.append(current)
        lines[-1].offsets.append(offset)
    else:
        mark = mark or _INDENT.match(current)
        prefix = mark.group() if mark else ""
        lines.append(Line(prefix=prefix, raw=[current], offsets=[offset], whole=heading is not None))
    hard_break = current.endswith("  ") or current.endswith("\\")
    lines[-1].wraps = wraps and not heading and not hard_break


def _indented(line: str) -> bool:
    return line[:2].isspace()


def _front_matter(raw: Sequence[str]) -> int:
    if raw[0].strip() != "---" or len(raw) < 3 or not re.match(r"^[\w-]+\s*:", raw[1]):
        return 0
    return next((i + 1 for i in range(1, min(len(raw), 100)) if raw[i].strip() == "---"), 0)


def _fixed_end(raw: Sequence[str], at: int, lines: list[Line]) -> tuple[int, Literal["fence", "table"] | None]:
    """Where the fixed lines that begin at `at` end; `at` itself where none do."""
    line = raw[at]
    fence = FENCE.match(line)
    if fence:
        quote = fence.group(1).strip()
        return _fence_end(raw, at, quote, fence.group(2)), None if quote else "fence"
    start = line.strip()
    block = next((mark for mark in _BLOCKS if start.lower().startswith(mark)), None)
    if block:
        return _block_end(raw, at, start[len(block) :], _BLOCKS[block]), None
    following = raw[at + 1] if at + 1 < len(raw) else ""
    if "|" in line and "|" in following and "-" in following and _TABLE_RULE.fullmatch(following.strip()):
        return next((i for i in range(at + 2, len(raw)) if "|" not in raw[i]), len(raw)), "table"
    if _RULE.match(line) or _FIXED.match(start):
        return at + 1, None
    if _UNDERLINE.match(following) and len(line) <= _LONGEST_HEADING and not (lines and lines[-1].wraps):
        return at + 2, None  # a heading underlined
    after_blank = not lines or lines[-1].blank_after
    if _CODE_INDENT.match(line) and after_blank and not (lines and _ITEM.match(lines[-1].prefix + "x")):
        return next((i for i in range(at + 1, len(raw)) if not _CODE_INDENT.match(raw[i])), len(raw)), None
    return at, None


def _fence_end(raw: Sequence[str], at: int, quote: str, mark: str) -> int:
    """An unclosed fence goes on to the end of the text, or of the quote that it stands in."""
    for i in range(at + 1, len(raw)):
        inner = raw[i].strip()
        if quote:
            if not inner.startswith(">"):
                return i
            inner = inner.lstrip("> \t")
        if closes_fence(inner, mark):
            return i + 1
    return len(raw)


def _block_end(raw: Sequence[str], at: int, rest: str, end: str) -> int:
    """Where the end never comes, the first line alone is fixed."""
    if end in rest.lower():
        return at + 1
    return next((i + 1 for i in range(at + 1, min(len(raw), at + 2000)) if end in raw[i].lower()), at + 1)


def _units(body: str) -> Iterator[Unit]:
    for match in _UNIT.finditer(body):
        text, at = match.group(), match.start()
        atom = _ATOM_RE.search(text) if "`" in text or "]" in text or ">" in text or "(x" in text else None
        if atom:
            before, after = _LEAD.match(text[: atom.start()]), text[atom.end() :]
            lead = before.group() if before else ""
            tail = after[len(after.rstrip(_TAIL_CHARS)) :]
            yield Unit(lead, text[len(lead) : len(text) - len(tail)], tail, False, at, match.end())
            continue
        start = 0
        for cut in [*(dash.end() for dash in _DASH.finditer(text)), len(text)]:
            yield _unit(text[start:cut], at + start, glued=start > 0)
            start = cut


def _unit(text: str, at: int, *, glued: bool) -> Unit:
    found = _LEAD.match(text)
    lead = found.group() if found else ""
    inner = text[len(lead) :]
    core = inner.rstrip(_TAIL_CHARS)
    end = at + len(text)
    if core:
        return Unit(lead, core, inner[len(core) :], glued, at, end)
    # Signs alone: a bracket or a full stop with spaces around it still opens, closes or ends.
    if not text.strip("([{“‘«"):
        return Unit(text, "", "", glued, at, end)
    return Unit("", "", text, glued, at, end) if not text.strip(")]}”’».,;:!?…") else Unit("", text, "", glued, at, end)


def _sentences(units: list[Unit], start: int, stop: int, whole: bool) -> Iterator[tuple[int, int]]:
    first = start
    for i in range(start, stop):
        length = i + 1 - first
        too_long = length >= _LONGEST_SENTENCE and (units[i].tail or length >= _LONGEST_SENTENCE * 2)
        if i == stop - 1 or (not whole and (too_long or _ends_sentence(units[i], units[i + 1]))):
            yield first, i + 1
            first = i + 1


def _ends_sentence(unit: Unit, following: Unit) -> bool:
    if not unit.tail or not SENTENCE_END.search(unit.tail):
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
            del stack[:-32]
    return pairs
