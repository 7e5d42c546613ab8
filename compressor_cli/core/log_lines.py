"""Which lines are those of a log, and which of them belong together: stamps of the forms in use, and levels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_LEVEL = r"(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|SEVERE|CRITICAL|FATAL|PANIC)\b"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_COLOUR = r"(?:\x1b\[[\d;]{0,12}m){0,4}"
_CLOCK = r"\d{1,2}:\d\d:\d\d(?:\.\d{1,9}|[,:]\d{3}(?=[\s\]]))?"  # a comma may be that of a table
_CLOCK_ALONE = re.compile(_CLOCK)
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
_CRI = re.compile(rf"Z (?:stdout|stderr) [FP] (?P<stamp>{_DATED})(?![\d:])")  # a container's stamp, and the program's
_WITH_LEVEL = re.compile(rf"{_COLOUR}(?:\[?{_LEVEL}{_COLOUR}[\]: ]|npm (?:WARN|ERR!) )")
_WORD = re.compile(r"[^\W\d_]{2}")  # without one, a line with a stamp is a reading, and a repeated reading is news
_PERSON = re.compile(  # behind a stamp; what is said in a chat is no event, and is not counted
    rf"[\dZ+:]{{0,7}}\]?\s{{1,4}}(?!(?i:{_LEVEL}))(?:<[\w.@+-]{{1,32}}>|[A-Z][a-z]+(?:[ .][A-Z][\w.'’-]*){{0,3}}:)\s"
)
_GOES_ON = re.compile(r"\s|Traceback |Caused by|[\w.]{1,200}(?:Error|Exception)\b|\.\.\.|[\])}]|$")
_FEWEST = 3  # log lines that make a log
_SHARE = 0.6  # of the lines that do not go on others


_NEAR = 60  # characters behind a clock in which a level makes it the stamp of an event
_LEVEL_NEAR = re.compile(rf"[\[\s|=]{_LEVEL}")
_FENCES = ("```", "~~~")


@dataclass(frozen=True, slots=True)
class Stamp:
    """`time` as it is written, twice where a container and the program both wrote theirs; `rest` is the line without;
    `stop` is where the first ends. `dated`: it is more than a clock."""

    time: str
    rest: str
    stop: int
    dated: bool


def is_log_line(line: str) -> bool:
    """It begins with a time stamp or a level, and is not what a person says in a chat."""
    return stamp_of(line) is not None or _WITH_LEVEL.match(line) is not None


def looks_like_logs(lines: Sequence[str]) -> bool:
    found, others = _tally(lines)
    return found >= _FEWEST and found >= _SHARE * (found + others)


def are_events(lines: Sequence[str]) -> bool:
    """A log whose lines have a date or a level; a clock alone also stands before what is said in a recording."""
    stamped = [line for line in lines if is_log_line(line)]
    return looks_like_logs(lines) and 2 * sum(map(_is_event, stamped)) > len(stamped)


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


def event_spans(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Each log line of events with the lines that go on it, such as a stack trace, as (start, stop)."""
    for start, stop in log_blocks(lines):
        if not are_events(lines[start:stop]):
            continue
        first: int | None = None
        for at in range(start, stop):
            line = lines[at]
            opens = is_log_line(line)
            if opens or not line.strip():
                if first is not None:
                    yield first, at
                first = at if opens else None
        if first is not None:
            yield first, stop


def stamp_of(line: str) -> Stamp | None:
    found = _STAMP.match(line) if line and not line[0].isspace() else None
    if not found or not _WORD.search(line, found.end()) or _PERSON.match(line, found.end()):
        return None
    start, end = found.span("stamp")
    time, rest = line[start:end], f"{line[:start]}\0{line[end:]}"
    second = _CRI.match(line, end)
    if second:
        a, b = second.span("stamp")
        time, rest = f"{time} {second['stamp']}", f"{line[:start]}\0{line[end:a]}\0{line[b:]}"
    return Stamp(time, rest, end, _CLOCK_ALONE.fullmatch(line, start, end) is None)


def _is_event(line: str) -> bool:
    stamp = stamp_of(line)
    if stamp is None or stamp.dated:
        return True
    return _WITH_LEVEL.match(line) is not None or _LEVEL_NEAR.search(line, stamp.stop, stamp.stop + _NEAR) is not None


def _paragraphs(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """The mark of a fence is one by itself: it is not the log's."""
    start = 0
    for i, line in enumerate(lines):
        fence = line.lstrip().startswith(_FENCES)
        if fence or not line or line.isspace():
            if start < i:
                yield start, i
            if fence:
                yield i, i + 1
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
