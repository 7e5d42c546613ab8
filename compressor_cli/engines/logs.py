"""Log lines that repeat become one, which says how often, when last, and whether other lines stood in between.

An entry is a stamped line with the lines below it up to the next stamp, such as a stack trace. Entries that are equal
but for the stamp fold into the first, wherever they stand: their times tell where the others were. Lines without a
stamp have nothing but their place, so they fold only where they follow one another, one by one or as a group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_LEVEL = r"(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|SEVERE|CRITICAL|FATAL|PANIC)\b"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_COLOUR = r"(?:\x1b\[[\d;]{0,12}m){0,4}"
_CLOCK = r"\d{1,2}:\d\d:\d\d(?:\.\d{1,9}|[,:]\d{3}(?=[\s\]]))?"  # a comma may be that of a table
_EPOCH = r"1[5-9]\d{8}(?:\d{3})?"
# What may stand before a stamp: the name of a container, of a thread or pod, a priority, a level, a host with its user.
_BEFORE = (
    rf"{_COLOUR}(?:[\w.-]{{1,60}}\s{{0,20}}\|\s{{1,4}})?(?:<\d{{1,3}}>(?:\d )?"
    rf"|\[(?![^\]]{{0,120}}\d:\d)[^\]\d\s][^\]\s]{{0,120}}\s{{0,4}}\]\s{{1,4}}|\[?{_LEVEL}:?\s{{1,4}}"
    rf"|(?:level=\w{{1,12}} )?(?:time|ts|timestamp)=\"?|[IWEF](?=\d{{4}})"
    rf"|(?:\S{{1,200}} ){{2,5}}(?=\[\d\d/[A-Z]))?{_COLOUR}"
)
# Zones and years behind the clock are no part of it: lines that differ in them do not fold.
_DATED = (
    rf"(?:\d{{4}}[-/]\d\d[-/]\d\d[T ]|\d\d[./-]\d\d[./-](?:\d{{4}}|\d\d) |\d\d-{_MONTH}-\d{{4}} "
    rf"|(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?{_MONTH} [ \d]\d,? (?:\d{{4}} )?)(?:{_CLOCK}|\d\d:\d\d)"
)
_STAMP = re.compile(
    rf"{_BEFORE}\[?(?P<stamp>{_DATED}|\d\d/{_MONTH}/\d{{4}}:{_CLOCK}|(?<=[IWEF])(?:\d{{4}})?\d{{4}} {_CLOCK}"
    rf"|{_CLOCK}(?=\]|\s)|(?<=\[)(?: {{0,8}}\d{{1,9}}\.\d{{6}}|{_EPOCH}(?:\.\d{{1,9}})?)(?=\])"
    rf"|{_EPOCH}(?:\.\d{{3,9}}(?=\s)|(?=\s{{1,4}}\[?{_LEVEL})))"
    r"(?![\d:])(?!\.\d)(?!\s*-->)"  # an address, more than a time, a subtitle
)
_TIME_OF_DAY = re.compile(r"(?<!\d)\d{1,2}:\d\d(?::\d\d(?:[.,:]\d+)?)?$")
_CRI = re.compile(rf"Z (?:stdout|stderr) [FP] (?P<stamp>{_DATED})(?![\d:])")  # a container's stamp, and the program's
_WITH_LEVEL = re.compile(rf"{_COLOUR}(?:\[?{_LEVEL}{_COLOUR}[\]: ]|npm (?:WARN|ERR!) )")
_WORD = re.compile(r"[^\W\d_]{2}")  # without one, a line with a stamp is a reading, and a repeated reading is news
_PERSON = re.compile(  # behind a stamp; what is said in a chat is no event, and is not counted
    rf"[\dZ+:]{{0,7}}\]?\s{{1,4}}(?!(?i:{_LEVEL}))(?:<[\w.@+-]{{1,32}}>|[A-Z][a-z]+(?:[ .][A-Z][\w.'’-]*){{0,3}}:)\s"
)
_GOES_ON = re.compile(r"\s|Traceback |Caused by|[\w.]{1,200}(?:Error|Exception)\b|\.\.\.|[\])}]|$")
MARK = re.compile(r" \(x\d+(?:, (?P<lines>\d{1,9}) lines)?(?:, last [^()]{1,60})?(?:, interleaved)?\)$")
_LONGEST_MARK = 120  # characters
_INTERLEAVED = "interleaved"  # with other lines
_FEWEST = 3  # log lines that make a log
_SHARE = 0.6  # of the lines that do not go on others
_LONGEST_GROUP = 100  # lines without a stamp that fold as one
_NEXT = 4  # later places of a line at which a group may repeat; bounds the work on hostile input


@dataclass(frozen=True)
class Folded:
    """`lines` of the input went into `groups` of the lines that stand in `text`."""

    text: str
    lines: int
    groups: int


@dataclass(frozen=True, slots=True)
class _Stamp:
    """`time` as it is written; `rest` is the line without its stamps."""

    time: str
    rest: str


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the result, and how many of the input it stands for."""

    text: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class _Entry:
    """`stamp` is None for what does not fold as an entry; `order` counts those that are more than empty lines."""

    rows: list[_Row]
    stamp: _Stamp | None
    order: int

    def key(self) -> str | tuple[str, ...]:
        """What equal entries have in common; of those with a stamp."""
        rest = self.stamp.rest if self.stamp else ""
        return rest if len(self.rows) == 1 else (rest, *[row.text for row in self.rows[1:]])

    @property
    def time(self) -> str:
        return self.stamp.time if self.stamp else ""

    @property
    def chars(self) -> int:
        return sum(len(row.text) + 1 for row in self.rows)


def fold_logs(text: str) -> Folded:
    """The text with the repeats in each of its blocks of log lines folded; all else, prose and code, as it was."""
    lines = text.split("\n")
    result: list[str] = []
    at = groups = 0
    for start, stop in log_blocks(lines):
        rows = fold_lines(lines[start:stop])
        result += lines[at:start]
        result += [line for line, _ in rows]
        groups += sum(count > 1 and _mark(line) is not None for line, count in rows)
        at = stop
    result += lines[at:]
    return Folded("\n".join(result), len(lines) - len(result), groups) if groups else Folded(text, 0, 0)


def is_log_line(line: str) -> bool:
    """It begins with a time stamp or a level, and is not what a person says in a chat."""
    return _stamp(line) is not None or _WITH_LEVEL.match(line) is not None


def looks_like_logs(lines: Sequence[str]) -> bool:
    found, others = _tally(lines)
    return found >= _FEWEST and found >= _SHARE * (found + others)


def log_blocks(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where logs stand, as (start, stop): neighbouring paragraphs of log lines, with the empty lines between them."""
    start = stop = seen = 0
    for first, end in _paragraphs(lines):
        found, others = _tally(lines[first:end])
        if found and found >= _SHARE * (found + others):
            start = start if seen else first
            stop, seen = end, seen + found
            continue
        if seen >= _FEWEST:
            yield start, stop
        seen = 0
    if seen >= _FEWEST:
        yield start, stop


def fold_lines(lines: Sequence[str]) -> list[tuple[str, int]]:
    """Lines of a log folded, each with the number of lines it stands for; these add up to `len(lines)`.

    That they are a log is for the caller to know. A line that says already how often it stood is left alone, so that
    folding twice is folding once.
    """
    alike: dict[str | tuple[str, ...], list[int]] = {}
    entries = list(_entries(lines))
    for n, entry in enumerate(entries):
        if entry.stamp is not None:
            alike.setdefault(entry.key(), []).append(n)
    marks: dict[int, tuple[str, int]] = {}
    gone: set[int] = set()
    for first, *others in alike.values():
        mark = _mark_for(entries[first], [entries[n] for n in others]) if others else ""
        if mark:
            marks[first] = mark, len(others) + 1
            gone.update(others)
    result: list[tuple[str, int]] = []
    for n, entry in enumerate(entries):
        if n in marks:
            mark, times = marks[n]
            result.append((_with(entry.rows[0].text, mark), times))
            result += [(row.text, row.count * times) for row in entry.rows[1:]]
        elif n not in gone:
            result += [(row.text, row.count) for row in entry.rows]
    return result


def _mark_for(first: _Entry, others: Sequence[_Entry]) -> str:
    """What the first of equal entries says of the others; empty where saying it takes as many characters as they do.

    The longer mark decides, for what stands in between may fold away, and fold again is what nothing may.
    """
    last = others[-1]
    said = _said(len(others) + 1, len(first.rows))
    if first.time != last.time:
        said.append(f"last {_last(first.time, last.time)}")
    longest = f" ({', '.join([*said, _INTERLEAVED])})"
    if len(longest) >= sum(entry.chars for entry in others):
        return ""
    return longest if last.order - first.order > len(others) else f" ({', '.join(said)})"


def _said(times: int, lines: int) -> list[str]:
    return [f"x{times}", *([f"{lines} lines"] if lines > 1 else [])]


def _last(first: str, last: str) -> str:
    """The time of day alone where the date is the same."""
    ours, theirs = _TIME_OF_DAY.search(first), _TIME_OF_DAY.search(last)
    same_day = ours and theirs and first[: ours.start()] == last[: theirs.start()]
    return theirs.group() if same_day and theirs else last.strip()


def _with(line: str, mark: str) -> str:
    return line.removesuffix("\r") + mark + ("\r" if line.endswith("\r") else "")


def _mark(line: str) -> re.Match[str] | None:
    return MARK.search(line[-_LONGEST_MARK:].removesuffix("\r")) if line.endswith((")", ")\r")) else None


def _stamp(line: str) -> _Stamp | None:
    found = _STAMP.match(line) if line and not line[0].isspace() else None
    if not found or not _WORD.search(line, found.end()) or _PERSON.match(line, found.end()):
        return None
    start, end = found.span("stamp")
    rest = f"{line[:start]}\0{line[end:]}"
    second = _CRI.match(line, end)
    if second:
        a, b = second.span("stamp")
        rest = f"{line[:start]}\0{line[end:a]}\0{line[b:]}"
    return _Stamp(line[start:end], rest)


def _paragraphs(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    start = 0
    for i, line in enumerate(lines):
        if not line or line.isspace():
            if start < i:
                yield start, i
            start = i + 1
    if start < len(lines):
        yield start, len(lines)


def _tally(lines: Sequence[str]) -> tuple[int, int]:
    """Log lines, and those that neither are nor go on one."""
    found = others = 0
    for line in lines:
        if is_log_line(line):
            found += 1
        elif not _GOES_ON.match(line):
            others += 1
    return found, others


def _entries(lines: Sequence[str]) -> Iterator[_Entry]:
    """The lines in entries. What is marked stands for itself, with the lines that its mark is about."""
    stamp: _Stamp | None = None
    start = at = order = 0
    while at <= len(lines):
        marked = _marked_lines(lines, at) if at < len(lines) else 0
        here = _stamp(lines[at]) if at < len(lines) else None
        if at < len(lines) and not here:
            at += marked or 1
            continue
        stop = at
        while stop > start and not lines[stop - 1].strip():  # empty lines are between entries, not of them
            stop -= 1
        if stop > start:
            order += 1
            yield _Entry(_rows(lines[start:stop], head=stamp is not None), stamp, order)
        if at > stop:
            yield _Entry([_Row(line) for line in lines[stop:at]], None, order)
        if marked:
            order += 1
            yield _Entry([_Row(line) for line in lines[at : at + marked]], None, order)
        start, stamp = at + marked, None if marked else here
        at = start if marked else at + 1


def _marked_lines(lines: Sequence[str], at: int) -> int:
    """How many lines the mark at the end of this one is about; 0 without one."""
    mark = _mark(lines[at])
    return min(max(int(mark["lines"] or 1), 1), len(lines) - at) if mark else 0


def _rows(lines: Sequence[str], *, head: bool) -> list[_Row]:
    """The first line as it is where it is the `head` of an entry; the others folded where they follow one another."""
    body = lines[1:] if head else lines
    rows = list(map(_Row, body)) if len(set(body)) == len(body) else _fold_run(body)
    return [_Row(lines[0]), *rows] if head else rows


def _fold_run(lines: Sequence[str]) -> list[_Row]:
    names: dict[str, int] = {}
    ids = [names.setdefault(line, len(names)) for line in lines]
    at = 0
    while at < len(lines):  # what is marked equals nothing
        marked = _marked_lines(lines, at)
        ids[at : at + marked] = [-1 - i for i in range(at, at + marked)]
        at += marked or 1
    later = _later(ids)
    rows: list[_Row] = []
    at = 0
    while at < len(lines):
        size, times = _repeat(lines, ids, later, at) if later[at] - at <= _LONGEST_GROUP else (1, 1)
        if times > 1:
            rows.append(_Row(_with(lines[at], _group_mark(times, size)), times))
            rows += [_Row(line, times) for line in lines[at + 1 : at + size]]
        else:
            rows.append(_Row(lines[at]))
        at += size * times
    return rows


def _later(ids: Sequence[int]) -> list[int]:
    """For each place the next one with the same line; far off where there is none."""
    later = [0] * len(ids)
    seen: dict[int, int] = {}
    for at in range(len(ids) - 1, -1, -1):
        later[at] = seen.get(ids[at], 2 * len(ids))
        seen[ids[at]] = at
    return later


def _repeat(lines: Sequence[str], ids: Sequence[int], later: Sequence[int], at: int) -> tuple[int, int]:
    """The shortest group from here on that follows itself, and how often it stands; 1, 1 where none is worth it."""
    following = at
    for _ in range(_NEXT if lines[at].strip() else 0):
        following = later[following]
        size = following - at
        if following + size > len(ids) or size > _LONGEST_GROUP:
            break
        if ids[following - 1] != ids[following + size - 1]:
            continue
        group = ids[at:following]
        times = 1
        while ids[at + times * size : at + (times + 1) * size] == group:
            times += 1
        if times > 1:
            chars = sum(len(line) + 1 for line in lines[at:following]) * (times - 1)
            if chars > len(_group_mark(times, size)):
                return size, times
    return 1, 1


def _group_mark(times: int, lines: int) -> str:
    return f" ({', '.join(_said(times, lines))})"
