"""Finds dates and times."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from compressor_cli.core.facts.tokens import Found, Words
from compressor_cli.core.facts.units import UNITS
from compressor_cli.core.facts.values import CARDINALS, MONTHS, ORDINALS, SPACE, quantity, ratio, spelled

_ISO = re.compile(r"(\d{4})-(\d\d?)(?:-(\d\d?))?(?![\w-])|(\d{4})-(\d\d)-(\d\d)(?=T\d)")
_SLASHED = re.compile(r"(\d{1,4})([/.])(\d{1,2})\2(\d{4}|\d{2})(?![\w/])")
_FRACTION = re.compile(r"(\d{1,3})/(\d{1,3})(?![\w/.]|,\d)")
_ZONE = r"(?:\s?(?:in |\()?(UTC|GMT|CES?T|EE?S?T|[CMP][SD]?T|BST|IST|JST|AEST|Z)(?![\w]))?"
_TIME = re.compile(
    rf"(?:(?<![\w:])|(?<=\dT))(\d{{1,2}})(?:[:.h](\d\d)(?!\d|\.\d)(?::(\d\d))?)?(?:{SPACE}?([ap])\.?{SPACE}?m\b\.?)?{_ZONE}",
    re.I,
)
MERIDIEM = re.compile(rf"{SPACE}?[ap]\.?{SPACE}?m\b", re.I)
_PAST = re.compile(r" (past|to) (\w+)")
_HOUR = re.compile(
    rf"(?P<minutes> (?:(?:twenty|thirty|forty|fifty)(?:-five)?|ten|fifteen))?(?P<oclock> o['’]?clock)?"
    rf"(?:(?P<half>{SPACE}[ap])\.?m\b\.?| in (?:the )?(?P<part>morning|afternoon|evening)\b| at (?P<night>night)\b)?"
)
_DAY_TIME = re.compile(r"(?: in the (morning|afternoon|evening)| at (night))\b")
_YEAR_AFTER = re.compile(r"(?:,? |[-/.])(\d{4})(?!\w|[,.]*\d|%)")
_DAY_AFTER = re.compile(r"\.?[ -](?:the )?(\d{1,2})(?:st|nd|rd|th)?(?![\w:%]|[.,]\d| ?[ap]\.?m\b)", re.I)
_DAY_BEFORE = re.compile(r"(?<![\w.,:/$€£-])(\d{1,2})(?:st|nd|rd|th)?(?: of)?[ -]$", re.I)
_SPELT_DAY = re.compile(r"\b(?:(twenty|thirty)[ -])?(" + "|".join(ORDINALS) + r")(?: day)? of $")
_THE_SPELT_DAY = re.compile(
    r"(?: the|,)? (?:(twenty|thirty)[ -])?(" + "|".join(ORDINALS) + r")\b(?= *(?:[.,;:)]|$|\n))"
)
_IN_MONTH = frozenset(
    "in of by since until last next early late mid every from to and through this during before after".split()
)


def named_dates(words: Words) -> Iterator[Found]:
    end = 0
    for i in [i for i in words.capitals if words.words[i] in MONTHS]:
        if words.starts[i] >= end and not (words.raw(i).isupper() and len(words.words[i]) < 4):
            found = _named_date(words, i, MONTHS[words.words[i]], end)
            if found and not words.taken[found.start]:
                end = found.end
                yield found


def _named_date(words: Words, i: int, month: int, done: int) -> Found | None:
    text, start, end = words.text, words.starts[i], words.ends[i]
    first, last, day, year = start, end, None, None
    if match := _DAY_BEFORE.search(text, max(done, start - 10), start):
        first, day = match.start(), int(match[1])
    elif (match := _DAY_AFTER.match(text, end)) and 1 <= int(match[1]) <= 31:
        last, day = match.end(), int(match[1])
    elif match := _SPELT_DAY.search(words.lower, max(done, start - 24), start):
        first, day = match.start(), _day(match)
    elif match := _THE_SPELT_DAY.match(words.lower, end):
        last, day = match.end(), _day(match)
    if match := _YEAR_AFTER.match(text, last + (text[last : last + 1] == "." and last == end)):
        last, year = match.end(), int(match[1])
    alone = day is None and year is None
    word = words.words[i]
    before = words.words[i - 1] if i else ""
    next_is_name = (
        words.text[words.starts[i + 1]].isupper() if i + 1 < len(words.words) and words.gap(i + 1) == " " else False
    )
    doubtful = (len(word) < 5 and word not in ("june", "july")) or word == "march"
    if alone and ((doubtful and before not in _IN_MONTH) or (next_is_name and before not in _IN_MONTH)):
        return None
    return Found("date", first, last, ((first, last),), ("date", year, month, day))


def _day(match: re.Match[str]) -> int:
    return CARDINALS.get(match[1], 0) + ORDINALS[match[2]]


def date_at(text: str, start: int) -> Found | None:
    if match := _ISO.match(text, start):
        year, month, day = (
            int(part) if part else None for part in (match.groups()[:3] if match[1] else match.groups()[3:])
        )
        if 1 <= (month or 0) <= 12 and (day is None or 1 <= day <= 31):
            return Found("date", start, match.end(), (match.span(),), ("date", year, month, day))
    if match := _SLASHED.match(text, start):
        a, b, c = int(match[1]), int(match[3]), int(match[4])
        if len(match[1]) == 4:
            return Found("date", start, match.end(), (match.span(),), ("date", a, b, c)) if b <= 12 else None
        year = c if c > 99 else 2000 + c
        either = [("date", year, month, day) for day, month in ((a, b), (b, a)) if 1 <= month <= 12 and 1 <= day <= 31]
        if either:
            return Found("date", start, match.end(), (match.span(),), either[0], tuple(either[1:]))
    if (match := _FRACTION.match(text, start)) and int(match[2]):
        above, below = int(match[1]), int(match[2])
        both = [
            ("date", None, month, day) for day, month in ((above, below), (below, above)) if month <= 12 and day <= 31
        ]
        number = ratio(above, below)
        also = (quantity(number * 100, UNITS["%"]), *both, *(quantity(Decimal(n)) for n in (above, below)))
        return Found("number", start, match.end(), (match.span(),), quantity(number), also)
    return None


def time_at(text: str, start: int, end: int) -> Found | None:
    match = _TIME.match(text, start)
    if text[start:end].isdigit() and end - start < 3 and text[end : end + 1] == " ":
        said = _HOUR.match(text, end)
        if said and (said["oclock"] or said["part"]) and not said["minutes"]:
            return hour_said(text, start, end, int(text[start:end]))
    if not match or not (match[4] or (match[2] and text[start + len(match[1])] in ":h")):
        return None
    hour, minute, second = int(match[1]), int(match[2] or 0), int(match[3] or 0)
    if hour > 24 or minute > 59 or (match[4] and hour > 12):
        return None
    noon = 0
    if match[4]:
        noon = 12 if match[4].lower() == "p" else 0
        hour = hour % 12 + noon
    zone = (match[5] or "").upper()
    value = ("time", (hour % 24 * 60 + minute) * 60 + second, "UTC" if zone in ("Z", "GMT") else zone)
    mark = (Decimal(noon), None) if match[4] else None
    lasting = (
        () if match[4] or zone else (quantity(Decimal(value[1]), UNITS["s"]),)
    )  # 2:20 can be two hours and twenty minutes
    return Found("time", start, match.end(), (match.span(),), value, lasting, mark)


def hour_said(text: str, start: int, end: int, hour: int) -> Found | None:
    """Ten in the morning, three o'clock, seven thirty pm: what follows makes it an hour. `text` is in lower case."""
    match = _HOUR.match(text, end)
    if not 1 <= hour <= 12 or not match or not (match["oclock"] or match["half"] or match["part"] or match["night"]):
        return None
    said = match["half"] or match["part"] or match["night"]
    minutes = spelled(match["minutes"].replace("-", " ").split()) if match["minutes"] else None
    second = (hour % 12 * 60 + (int(minutes[0]) if minutes else 0)) * 60
    noon = (
        12 * 3600
        if said and (said.strip() in ("p", "afternoon", "evening") or (said == "night" and 5 < hour < 12))
        else 0
    )
    also = () if said else (("time", second + 12 * 3600, ""),)
    mark = (Decimal(noon // 3600), None) if said else None
    return Found("time", start, match.end(), ((start, match.end()),), ("time", second + noon, ""), also, mark)


def past_hour(words: Words, i: int) -> Found | None:
    """Half past eight, quarter to nine, ten past two in the afternoon."""
    word = words.words[i]
    match = _PAST.match(words.lower, words.ends[i])
    hour = CARDINALS.get(match[2], int(match[2]) if match[2].isdigit() and len(match[2]) < 3 else 0) if match else 0
    minutes = {"half": 30, "quarter": 15}.get(word, CARDINALS.get(word, 0))
    if (
        not match
        or not 1 <= hour <= 12
        or not minutes
        or (word not in ("half", "quarter") and (minutes % 5 or match[1] == "to"))
    ):
        return None
    end = match.end()
    later = _DAY_TIME.match(words.lower, end)
    end = later.end() if later else end
    second = (hour % 12 * 60 + (minutes if match[1] == "past" else -minutes)) * 60 % 86400
    noon = 12 * 3600
    if later and later[1] != "morning":
        second = (second + noon) % 86400
    start = words.starts[i]
    if words.lower.endswith("a ", 0, start) and word == "quarter":
        start -= 2
    also = () if later else (("time", (second + noon) % 86400, ""),)
    return Found("time", start, end, ((start, end),), ("time", second, ""), also)
