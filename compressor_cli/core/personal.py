"""E-mail addresses and phone numbers, by rules.

A phone number is one with a country code, one in a national form that little else has, or any run of digits that a
word such as `phone` introduces. Dates, versions, IP addresses, ISBNs and plain numbers are none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_EMAIL = re.compile(
    r"(?<![\w.+%-])(?!git@)[A-Za-z0-9][\w.+%'-]{0,63}@(?:[A-Za-z0-9](?:[\w-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}\b"
)
_BEFORE = r"(?<![\w.,+\-/#:])"
_AFTER = r"(?![\w\-/:]|[.,]\d)"
_INTERNATIONAL = re.compile(
    r"(?<![\w+.,])(?:\+|\b00(?=[1-9]\d{0,2} (?:\d+ )+\d))[1-9]\d{0,2}(?: ?\(0\))?"
    r"(?:[ .\-/\u00a0\u2011]?(?:\d{1,5}|\(\d{1,5}\))){2,6}(?![\w.,]?\d)"
)
_NATIONAL = tuple(
    re.compile(_BEFORE + pattern + _AFTER)
    for pattern in (
        # North America: (212) 555-0123, 212-555-0123, 1.212.555.0123
        r"(?:1[ .\-])?\([2-9]\d{2}\) ?[2-9]\d{2}[ .\-]\d{4}",
        r"(?:1[.\-])?[2-9]\d{2}(?P<s>[.\-])[2-9]\d{2}(?P=s)\d{4}",
        # With a trunk prefix: 020 7946 0958, (0171) 1234567, 0171/1234567
        r"(?:0[1-9]\d{1,4}|\(0[1-9]\d{1,4}\))[ /](?!(?:19|20)\d\d\b)\d{3,5}(?:[ \-]?\d{3,5})?",
        # 090-1234-5678
        r"0[1-9]\d{0,3}-\d{3,4}-\d{4}",
        # 01 23 45 67 89, and no counting
        r"(?<!\d )0[1-9](?P<s>[ .])(?!02(?P=s)03|03(?P=s)04)\d{2}(?:(?P=s)\d{2}){3}(?! \d)",
    )
)
_TOLD = re.compile(
    r"(?i)\b(?:tel(?:efono?|\u00e9fono|\u00e9phone|efon|ephone)?|phone|mobile|cell|fax|whatsapp|call (?:me|us)|hotline)"
    r"\b(?: ?-?(?:number|no|nr)\b)?[.:]{0,2}(?: (?:is|at|on|under))?[ ]{0,3}(?P<n>[+(]?\d[\d ().\-/]{5,18}\d)(?!\w)"
)
_NOT_PHONES = re.compile(
    r"\d{4}-\d{2}-\d{2}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{1,3}(?:\.\d{1,3}){2,3}|97[89][ -].*|\d+\.\d+"
)


def personal_data(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and `email` or `phone`; they may overlap."""
    if "@" in text:
        yield from ((*match.span(), "email") for match in _EMAIL.finditer(text))
    for pattern in (_INTERNATIONAL, *_NATIONAL, _TOLD):
        for match in pattern.finditer(text):
            start, end = match.span("n" if pattern is _TOLD else 0)
            number = _longest(text[start:end])
            if _digits(number) >= (8 if pattern is _INTERNATIONAL else 7) and not _NOT_PHONES.fullmatch(number.strip()):
                yield start, start + len(number), "phone"


def _digits(number: str) -> int:
    return sum(map(str.isdigit, number))


def _longest(number: str) -> str:
    """Without the last groups, of another number, as long as there are more digits than a number can have."""
    while _digits(number) > 15 and (shorter := re.match(r"(.*\d\)?)[^\d)]+\(?\d+\)?$", number)):
        number = shorter[1]
    return number if _digits(number) <= 15 else ""
