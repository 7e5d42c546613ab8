"""Log lines that repeat become one, which says how often, when, and whether other lines stood in between.

An entry is a stamped line with the lines below it up to the next stamp, such as a stack trace. Entries that are equal
but for the stamp fold into the first, wherever they stand: their times tell where the others were. Lines without a
stamp have nothing but their place, so they fold only where they follow one another, one by one or as a group.

A mark can state every time or the last alone. A time is a number, and a protected number survives where the budget
has room for it: so all the times stay until the budget, or a caller who protects no numbers, asks for the shorter mark.
Its count, first and last time then stand for those between, which `Folded.note` counts.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from compressor_cli.core.log_lines import Stamp, event_spans, log_blocks, stamp_of
from compressor_cli.engines.render import OMISSION

_TIME_OF_DAY = re.compile(r"(?<!\d)\d{1,2}:\d\d(?::\d\d(?:[.,:]\d+)?)?$")
MARK = re.compile(
    r" \(x\d+(?:, (?P<lines>\d{1,9}) lines)?(?:, at [^()\n]+)?(?:, last [^()\n]{1,90})?(?:, interleaved)?\)(?=\r?$)"
)
_INTERLEAVED = "interleaved"  # with other lines
_LONGEST_GROUP = 100  # lines without a stamp that fold as one
_NEXT = 4  # later places of a line at which a group may repeat; bounds the work on hostile input


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the result, how many of the input it stands for, and where the first of them is. `left_out`: times
    between the first and the last that it does not state."""

    text: str
    at: int
    count: int = 1
    left_out: int = 0


@dataclass(frozen=True)
class Folded:
    """`rows` are the lines of `text`, `events` those, (start, stop) each, that may say something else where a
    part of them is gone; none where it holds no log."""

    text: str
    rows: tuple[Row, ...] = ()
    events: tuple[tuple[int, int], ...] = ()
    last: int = 0  # line of the input

    @property
    def lines(self) -> int:
        """How many of the input are gone."""
        return sum(row.count - 1 for row in self.rows)

    @property
    def ending(self) -> str:
        """The line break that keeps what follows on a line of its own, where the last line is gone."""
        return "\n" if self.rows and self.rows[-1].at != self.last else ""

    @property
    def note(self) -> str:
        """What was done; empty where nothing was."""
        folded = [row.count for row in self.rows if row.count > 1]
        if not folded:
            return ""
        said = f"{sum(folded)} repeated lines are folded into {len(folded)}"
        left_out = sum(row.left_out for row in self.rows)
        stamps = "1 time stamp" if left_out == 1 else f"{left_out} time stamps"
        return f"{said}; {stamps} between the first and the last left out" if left_out else said

    def left_out(self, compressed: str) -> str:
        """What to tell of the events that are gone, where they are kept or dropped whole; empty where all stand."""
        events = Counter(self.rows[start].text.strip() for start, _ in self.events)
        kept = Counter(line.replace(OMISSION, "").strip() for line in compressed.split("\n"))
        gone = (events - kept).total()
        return f"{gone} log line{' is' if gone == 1 else 's are'} left out" if gone else ""


@dataclass(frozen=True, slots=True)
class _Entry:
    """`stamp` is None for what does not fold as an entry; `order` counts those that are more than empty lines."""

    rows: list[Row]
    stamp: Stamp | None
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


def fold_logs(text: str, *, times: bool, held: Collection[int] = ()) -> Folded:
    """The text with the repeats in each of its blocks of log lines folded; all else, prose and code, as it was.

    `times`: the marks state all of them. Entries that have a line of `held` stay.
    """
    lines = text.split("\n")
    blocks = list(log_blocks(lines))
    if not blocks:
        return Folded(text)
    rows: list[Row] = []
    at = 0
    for start, stop in blocks:
        rows += [Row(lines[i], i) for i in range(at, start)]
        inside = {n - start for n in held if start <= n < stop}
        folded = fold_lines(lines[start:stop], times=times, held=inside)
        rows += [replace(row, at=row.at + start) for row in folded]
        at = stop
    rows += [Row(lines[i], i) for i in range(at, len(lines))]
    text = text if len(rows) == len(lines) else "\n".join(row.text for row in rows)
    return Folded(text, tuple(rows), tuple(_events(lines, rows)), len(lines) - 1)


def _events(lines: Sequence[str], rows: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """Where the events of `lines` stand among `rows`, and what is marked elsewhere."""
    places = [row.at for row in rows]
    texts = [row.text for row in rows]
    spans = [(bisect_left(places, start), bisect_left(places, stop)) for start, stop in event_spans(lines)]
    done = 0
    for first, last in [*((a, b) for a, b in spans if a < b), (len(rows), len(rows))]:
        for i in range(done, first):
            if i >= done and rows[i].count > 1 and _mark(texts[i]):
                done = min(i + _marked_lines(texts, i), first)
                yield i, done
        if first < last:
            yield first, last
        done = last


def fold_lines(lines: Sequence[str], *, times: bool, held: Collection[int] = ()) -> list[Row]:
    """Lines of a log folded; the counts of the rows add up to `len(lines)`.

    That they are a log is for the caller to know. A line that says already how often it stood is left alone, so that
    folding twice is folding once.
    """
    alike: dict[str | tuple[str, ...], list[int]] = {}
    entries = list(_entries(lines, held))
    for n, entry in enumerate(entries):
        if entry.stamp is not None:
            alike.setdefault(entry.key(), []).append(n)
    marks: dict[int, tuple[str, int, int]] = {}
    gone: set[int] = set()
    for first, *others in alike.values():
        mark, left_out = _mark_for(entries[first], [entries[n] for n in others], times) if others else ("", 0)
        if mark:
            marks[first] = mark, len(others) + 1, left_out
            gone.update(others)
    result: list[Row] = []
    for n, entry in enumerate(entries):
        if n in marks:
            mark, count, left_out = marks[n]
            head, *body = entry.rows
            result.append(Row(_with(head.text, mark), head.at, count, left_out))
            result += [replace(row, count=row.count * count) for row in body]
        elif n not in gone:
            result += entry.rows
    return result


def _mark_for(first: _Entry, others: Sequence[_Entry], times: bool) -> tuple[str, int]:
    """What the first of equal entries says of the others, and how many times of theirs it does not; empty where saying
    it takes as many characters as they do.

    The longer mark decides, for what stands in between may fold away, and fold again is what nothing may.
    """
    last = others[-1]
    said = _said(len(others) + 1, len(first.rows))
    between = dict.fromkeys(entry.time for entry in others if entry.time not in (first.time, last.time))
    if times and between:
        said.append(f"at {', '.join(_shown(first.time, time) for time in between)}")
    if first.time != last.time:
        said.append(f"last {_shown(first.time, last.time)}")
    longest = f" ({', '.join([*said, _INTERLEAVED])})"
    if len(longest) >= sum(entry.chars for entry in others):
        return "", 0
    mark = longest if last.order - first.order > len(others) else f" ({', '.join(said)})"
    return mark, 0 if times else len(between)


def _said(times: int, lines: int) -> list[str]:
    return [f"x{times}", *([f"{lines} lines"] if lines > 1 else [])]


def _shown(first: str, time: str) -> str:
    """The time of day alone where the date is the same."""
    ours, theirs = _TIME_OF_DAY.search(first), _TIME_OF_DAY.search(time)
    same_day = ours and theirs and first[: ours.start()] == time[: theirs.start()]
    return theirs.group() if same_day and theirs else time.strip()


def _with(line: str, mark: str) -> str:
    return line.removesuffix("\r") + mark + ("\r" if line.endswith("\r") else "")


def _mark(line: str) -> re.Match[str] | None:
    return MARK.match(line, line.rfind(" (x")) if line.endswith((")", ")\r")) and " (x" in line else None


def _entries(lines: Sequence[str], held: Collection[int]) -> Iterator[_Entry]:
    """The lines in entries. What is marked stands for itself, with the lines that its mark is about."""
    stamp: Stamp | None = None
    start = at = order = 0
    while at <= len(lines):
        marked = _marked_lines(lines, at) if at < len(lines) else 0
        here = stamp_of(lines[at]) if at < len(lines) else None
        if at < len(lines) and not here:
            at += marked or 1
            continue
        stop = at
        while stop > start and not lines[stop - 1].strip():  # empty lines are between entries, not of them
            stop -= 1
        if stop > start:
            order += 1
            if held and any(n in held for n in range(start, stop)):
                yield _Entry(_plain(lines, start, stop), None, order)
            else:
                yield _Entry(_rows(lines, start, stop, head=stamp is not None), stamp, order)
        if at > stop:
            yield _Entry(_plain(lines, stop, at), None, order)
        if marked:
            order += 1
            yield _Entry(_plain(lines, at, at + marked), None, order)
        start, stamp = at + marked, None if marked else here
        at = start if marked else at + 1


def _marked_lines(lines: Sequence[str], at: int) -> int:
    """How many lines the mark at the end of this one is about; 0 without one."""
    mark = _mark(lines[at])
    return min(max(int(mark["lines"] or 1), 1), len(lines) - at) if mark else 0


def _plain(lines: Sequence[str], start: int, stop: int) -> list[Row]:
    return [Row(lines[i], i) for i in range(start, stop)]


def _rows(lines: Sequence[str], start: int, stop: int, *, head: bool) -> list[Row]:
    """The first line as it is where it is the `head` of an entry; the others folded where they follow one another."""
    first = start + 1 if head else start
    body = lines[first:stop]
    folds = len(set(body)) < len(body)
    rows = [replace(row, at=row.at + first) for row in _fold_run(body)] if folds else _plain(lines, first, stop)
    return [*_plain(lines, start, first), *rows]


def _fold_run(lines: Sequence[str]) -> list[Row]:
    names: dict[str, int] = {}
    ids = [names.setdefault(line, len(names)) for line in lines]
    at = 0
    while at < len(lines):  # what is marked equals nothing
        marked = _marked_lines(lines, at)
        ids[at : at + marked] = [-1 - i for i in range(at, at + marked)]
        at += marked or 1
    later = _later(ids)
    rows: list[Row] = []
    at = 0
    while at < len(lines):
        size, times = _repeat(lines, ids, later, at) if later[at] - at <= _LONGEST_GROUP else (1, 1)
        if times > 1:
            rows.append(Row(_with(lines[at], _group_mark(times, size)), at, times))
            rows += [Row(lines[i], i, times) for i in range(at + 1, at + size)]
        else:
            rows.append(Row(lines[at], at))
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
