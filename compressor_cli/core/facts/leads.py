"""What stands before a number and turns its meaning: about and exactly, within and after, to and by, all but, §."""

from __future__ import annotations

import re
from collections.abc import Sequence

from compressor_cli.core.facts.sides import Side
from compressor_cli.core.facts.tokens import Found

_ABOUT = "about around roughly approximately approx circa ca nearly almost some est estimated estimate or so".split()
_LEADS = {word: "about" for word in _ABOUT} | {"exactly": "exact", "precisely": "exact", "exact": "exact"}
_LEADS |= {"within": "within", "after": "after", "beyond": "after", "to": "to", "by": "by"}
_OPPOSITES = {frozenset(("about", "exact")), frozenset(("within", "after")), frozenset(("to", "by"))}
_SIGNS = {"~": "about", "≈": "about", "±": "either", "§": "section"}
_NEEDED = {  # what must lead the number in the other text too
    "about": re.compile(rf"[~≈±]|\+/-|\b(?:{'|'.join(_ABOUT)})\b|\?"),
    "either": re.compile(r"±|\+/[-−–]|\+-|\bplus or minus\b|\bmargin\b|\bwithin\b"),
    "section": re.compile(r"§|\b(?:sections?|secs?|articles?|arts?|paragraphs?|paras?|clauses?|s)\b"),
    "all but": re.compile(
        r"\b(?:(?:all|every\w*|any\w*) but|except|excepting|excluding|excl|save|minus|without|not)\b"
    ),
}
_NEAR = 24  # characters
_WORD_BEFORE = re.compile(r"(\w+) $")


def other_lead(one: Side, other: Side, found: Found, hits: Sequence[Found]) -> Found | None:
    """Where all that keeps a number leads it otherwise, the first of these."""
    lead, sign = _lead(one, found), _sign(one, found)
    needed = _NEEDED.get(sign)
    if not hits or not (lead or needed):
        return None
    for hit in hits:
        near = other.words.lower[max(0, hit.start - _NEAR) : hit.end + 4]
        if needed and needed.search(near):
            return None
        if not needed and frozenset((lead, _lead(other, hit))) not in _OPPOSITES:
            return None
    return hits[0]


def _lead(side: Side, found: Found) -> str:
    """Of what is no date and no time."""
    if found.type in ("date", "time"):
        return ""
    if _sign(side, found) == "about":
        return "about"
    match = _WORD_BEFORE.search(side.words.lower, max(0, found.start - _NEAR), found.start)
    return _LEADS.get(match[1], "") if match else ""


def _sign(side: Side, found: Found) -> str:
    before = side.words.lower[max(0, found.start - _NEAR) : found.start]
    if before.endswith("all but "):
        return "all but"
    return _SIGNS.get(before.rstrip()[-1:], "")
