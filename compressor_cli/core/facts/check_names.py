"""Which names another text keeps."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

from compressor_cli.core.facts.names import GENERIC, TITLES
from compressor_cli.core.facts.sides import ENOUGH, KEPT, LOST, Outcome, Side, changed_places, nearest, stands
from compressor_cli.core.facts.tokens import Found
from compressor_cli.core.facts.words import FUNCTION

# How well-known names are shortened, and words in names.
_KNOWN_SHORT = {
    ("united", "states"): ("us", "usa", "u.s", "u.s.a", "america"),
    ("united", "states", "of", "america"): ("us", "usa"),
    ("united", "kingdom"): ("uk", "u.k", "britain"),
    ("great", "britain"): ("uk", "britain"),
    ("european", "union"): ("eu",),
    ("united", "nations"): ("un", "u.n"),
    ("new", "york"): ("ny",),
    ("new", "york", "city"): ("nyc",),
    ("los", "angeles"): ("la",),
    ("world", "war", "i"): ("wwi", "ww1"),
    ("world", "war", "ii"): ("wwii", "ww2"),
    ("soviet", "union"): ("ussr",),
    ("world", "health", "organization"): ("who",),
}
_SHORT_WORDS = """
university univ uni u; department dept; company co; corporation corp; limited ltd; street st; avenue ave; mount mt;
saint st; incorporated inc; association assoc; institute inst; government govt; international intl int'l; hospital hosp;
road rd; square sq; north n; south s; east e; west w; committee cttee cmte; national natl nat'l; district dist;
islands is; island is; figure fig; section sec; article art; version v ver; management mgmt; development dev;
engineering eng; application app; database db; kubernetes k8s; northern n; southern s; eastern e; western w; number no;
professor prof; organization org; centre ctr; center ctr; federal fed; republic rep; county co; railway rly;
technology tech; javascript js; typescript ts; postgresql postgres; first 1st; second 2nd; third 3rd
"""
_SHORTER = {words[0]: words[1:] for words in (line.split() for line in _SHORT_WORDS.split(";"))}
_CASED = 3  # an acronym of so few letters may also be a word: US, IT


def name_outcomes(one: Side, other: Side) -> list[Outcome]:
    introduced = _introduced(one) | _introduced(other)
    known: dict[Hashable, Outcome] = {}
    full: set[str] = set()
    result: list[Outcome] = []
    new = [name for name in other.names if not any(token in one.at for token in name.value[1:])]  # type: ignore[index]
    standing = {found.value for found in other.names}
    for found in one.names:
        if found.value not in known:
            outcome = (
                KEPT
                if found.value in standing or _name_stands(one, other, found, introduced)
                else _surname(other, found, full)
            )
            known[found.value] = outcome if outcome == KEPT else nearest(one, other, found, new)
        if known[found.value] == KEPT:
            assert isinstance(found.value, tuple)
            full.add(found.value[-1])
        result.append(known[found.value])
    changed_places(one, other, one.names, other.names, result, lambda i, k: _same_name(one.names[i], other.names[k]))
    return result


def _introduced(side: Side) -> dict[str, tuple[str, ...]]:
    """Acronyms that stand in brackets after their expansion, or before it."""
    found = {}
    for match in re.finditer(r"\(([A-Z][A-Za-z&.]{1,9})\)", side.words.text):
        k = side.words.at(match.start(1))
        letters = match.group(1).lower().replace(".", "").replace("&", "").rstrip("s")
        before = [word for word in side.words.words[max(0, k - 2 * len(letters) - 2) : k]]
        tail = [word for word in before if word not in FUNCTION][-len(letters) :]
        if letters and "".join(word[0] for word in tail) == letters:
            found[side.words.words[k]] = tuple(tail)
    return found


def _name_stands(one: Side, other: Side, found: Found, introduced: dict[str, tuple[str, ...]]) -> bool:
    assert isinstance(found.value, tuple)
    *initials, last = found.value[1:]
    tokens = (*(token for token in initials if len(token) > 1), last)
    if len(last) == 1 and tokens[:-1]:  # Hepatitis A
        return stands(other, " ".join(tokens)) and " ".join(tokens).title() in other.words.text.title()
    if found.type == "acronym":
        raw = one.words.text[found.start : found.end]
        expansion = introduced.get(tokens[0])
        return _acronym_stands(other, raw, tokens[0]) or (expansion is not None and _together(other, expansion))
    reach = one.words.at(found.end) - one.words.at(found.start) - 1
    if _together(other, tokens, reach):
        return True
    if any(stands(other, short) for short in _KNOWN_SHORT.get(tokens, ())):
        return True
    core = tuple(token for token in tokens if token not in FUNCTION and token not in ("de", "la", "van", "von", "der"))
    for short, expansion in introduced.items():
        if short in other.at and (core == expansion or (core == expansion[-len(core) :] and len(core) > 1)):
            return True
    special = tuple(token for token in core if token not in GENERIC and token not in TITLES)
    if special and len(special) < len(core) and _together(other, special):
        return not _of_another_sort(other, special, core)
    return bool(core) and core != tokens and _together(other, core)


def _of_another_sort(other: Side, special: Sequence[str], core: Sequence[str]) -> bool:
    """Queen Street is not Queen Square."""
    words = other.words
    for i in other.at.get(special[-1], ())[:ENOUGH]:
        sort = words.words[i + 1] if i + 1 < len(words.words) and words.gap(i + 1) == " " else ""
        if not (sort in GENERIC and sort not in core and words.raw(i + 1)[0].isupper()):
            return False
    return True


def _acronym_stands(other: Side, raw: str, token: str) -> bool:
    for form in {token, token.removesuffix("s") if raw[-1:] == "s" else token, token + "s", token + "'s", token + "’s"}:
        for i in other.at.get(form, ())[:ENOUGH]:
            text = other.words.text[other.words.starts[i] : other.words.ends[i]]
            if len(raw) > _CASED or not text.islower():
                return True
    return stands(other, ".".join(token))


def _forms(token: str) -> list[str]:
    return [token, token + "'s", token + "’s", token + "s", token.removesuffix("s"), *_SHORTER.get(token, ())]


def _together(other: Side, tokens: Sequence[str], reach: int = 2) -> bool:
    """Whether the words of a name stand as close to each other as they did, in any order."""
    forms = [_forms(token) for token in tokens]
    counts = [sum(len(other.at.get(form, ())) for form in one) for one in forms]
    if not counts or not all(counts):
        return False
    reach = max(2, reach, len(tokens))
    places = [i for form in forms[counts.index(min(counts))] for i in other.at.get(form, ())[:ENOUGH]]
    windows = (set(other.words.words[max(0, i - reach) : i + reach + 1]) for i in places)
    return any(all(not window.isdisjoint(one) for one in forms) for window in windows)


def _surname(other: Side, found: Found, full: set[str]) -> Outcome:
    """The last word alone, where the whole name stood before."""
    assert isinstance(found.value, tuple)
    last = found.value[-1]
    return KEPT if len(found.value) > 2 and last in full and last in other.at else LOST


def _same_name(a: Found, b: Found) -> bool:
    assert isinstance(a.value, tuple) and isinstance(b.value, tuple)
    return bool(set(a.value[1:]) & set(b.value[1:]))
