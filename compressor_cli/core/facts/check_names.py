"""Which names another text keeps."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import pairwise

from compressor_cli.core.facts.names import GENERIC, LINKS, TITLES
from compressor_cli.core.facts.roles import exchanged_roles
from compressor_cli.core.facts.sides import ENOUGH, KEPT, Outcome, Side, changed_places, nearest, neighbours, stands
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
    shorter = {words[k:]: short for short, words in introduced.items() for k in range(len(words) - 1)}
    known: dict[Hashable, Outcome] = {found.value: KEPT for found in other.names}
    new = [name for name in other.names if not any(token in one.at for token in name.value[1:])]  # type: ignore[index]
    full: set[str] = set()
    result: list[Outcome] = []
    for found in one.names:
        assert isinstance(found.value, tuple)
        if found.value not in known:
            kept = _name_stands(one, other, found, introduced, shorter) or _surname_stands(other, found, full)
            known[found.value] = KEPT if kept else nearest(one, other, found, new)
        if known[found.value] == KEPT:
            full.add(found.value[-1])
        result.append(known[found.value])
    _swapped(one, other, new, result)
    theirs = _with_bare(one, other)
    exchanged_roles(one, other, theirs, result)
    changed_places(one, other, one.names, theirs, result, lambda i, k: _same_name(one.names[i], theirs[k]))
    return result


def _with_bare(one: Side, other: Side) -> list[Found]:
    """The names of the other text, and words that are names in the original and stand there once. What the original
    knows, and not as a name, has a capital only where a sentence begins."""
    known = {found.value for found in other.names}
    names = {found.value for found in one.names}
    theirs = [found for found in other.names if found.value in names or not _is_plain(one, found)]
    more = []
    mine = {found.value: found for found in one.names if found.type == "name" and found.value not in known}
    for name in mine.values():
        word = one.words.lower[name.start : name.end]
        places = other.at.get(word, ())
        if len(places) == 1 and other.words.raw(places[0])[0].isupper():
            span = (other.words.starts[places[0]], other.words.ends[places[0]])
            more.append(Found("name", *span, (span,), name.value))
    return sorted([*theirs, *more], key=lambda found: found.start)


def _is_plain(one: Side, found: Found) -> bool:
    """Whether the original has a single word in small letters."""
    assert isinstance(found.value, tuple)
    *_, word = found.value
    return len(found.value) == 2 and any(one.words.raw(i).islower() for i in one.at.get(word, ())[:ENOUGH])


def _swapped(one: Side, other: Side, new: Sequence[Found], result: list[Outcome]) -> None:
    """A name said less often than before, where one that the original does not know stands among the same words."""
    if not new or len(new) > ENOUGH:
        return
    before, now = (Counter(found.value for found in side.names) for side in (one, other))
    rare = [i for i, found in enumerate(one.names) if now[found.value] < before[found.value] <= ENOUGH]
    rare = [i for i in rare if before[one.names[i].value] > 1 and result[i] == KEPT]
    if not rare:
        return
    values = {one.names[i].value for i in rare}
    about = {i: neighbours(one, one.names[i]) for i in rare}
    still = {k: neighbours(other, found) for k, found in enumerate(other.names) if found.value in values}
    for found in new:
        if _short_for(one, found):
            continue
        near = neighbours(other, found)
        best = max(about, key=lambda i: len(about[i] & near), default=None)
        if best is None or len(about[best] & near) < 2:
            continue
        value = one.names[best].value
        if not any(
            len(words & about[best]) >= len(about[best] & near)
            for k, words in still.items()
            if other.names[k].value == value
        ):
            result[best] = "changed", other.words.text[found.start : found.end]


def _short_for(one: Side, found: Found) -> bool:
    """ECB for European Central Bank."""
    assert isinstance(found.value, tuple)
    token = found.value[-1]
    initials = ("".join(word[0] for word in name.value[1:] if word) for name in one.names)  # type: ignore[index]
    return found.type == "acronym" and any(token.rstrip("s") in letters for letters in initials)


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


def _name_stands(
    one: Side, other: Side, found: Found, introduced: dict[str, tuple[str, ...]], shorter: dict[tuple[str, ...], str]
) -> bool:
    assert isinstance(found.value, tuple)
    *initials, last = found.value[1:]
    tokens = (*(token for token in initials if len(token) > 1), last)
    if found.type == "acronym":
        expansion = introduced.get(last)
        raw = one.words.text[found.start : found.end]
        return _acronym_stands(other, raw, last) or (expansion is not None and _together(other, expansion))
    if len(last) == 1 and tokens[:-1]:
        return _lettered_stands(other, tokens)
    if _turned_round(other, one.words.text[found.start : found.end]):
        return False
    reach = one.words.at(found.end) - one.words.at(found.start) - 1
    if _together(other, tokens, reach):
        return True
    if shorter.get(tokens) in other.at:
        return not _in_part(other, tokens)
    if any(stands(other, short) for short in _KNOWN_SHORT.get(tokens, ())):
        return True
    core = tuple(token for token in tokens if token not in FUNCTION and token not in LINKS)
    special = tuple(token for token in core if token not in GENERIC and token not in TITLES)
    if special and len(special) < len(core) and _together(other, special):
        return not _of_another_sort(one, other, special, core)
    return bool(core) and core != tokens and (_together(other, core) or shorter.get(core) in other.at)


def _lettered_stands(other: Side, tokens: Sequence[str]) -> bool:
    """Hepatitis A."""
    words = other.words
    places = (i for i in other.at.get(tokens[-2], ())[:ENOUGH] if i + 1 < len(words.words))
    return any(words.words[i + 1] == tokens[-1] and words.raw(i + 1).isupper() for i in places)


def _of_another_sort(one: Side, other: Side, special: Sequence[str], core: Sequence[str]) -> bool:
    """Queen Street is not Queen Square, nor is it Queen Lane where the original has no lane."""
    words = other.words
    for i in other.at.get(special[-1], ())[:ENOUGH]:
        beside = (k for k in (i - 1, i + 1) if 0 <= k < len(words.words) and words.gap(max(k, i)) == " ")
        strange = (k for k in beside if words.words[k] in GENERIC or words.words[k] not in one.at)
        if not any(words.raw(k)[0].isupper() and words.words[k] not in core for k in strange):
            return False
    return True


def _in_part(other: Side, tokens: Sequence[str]) -> bool:
    """Two words of the name in a row, with capitals: Riga Stock Exchange (WSE) is not the Warsaw Stock Exchange."""
    words = other.words
    for first, second in pairwise(tokens):
        for i in other.at.get(first, ())[:ENOUGH]:
            row = i + 1 < len(words.words) and words.words[i + 1] == second
            if row and words.raw(i)[0].isupper() and words.raw(i + 1)[0].isupper():
                return True
    return False


def _turned_round(other: Side, said: str) -> bool:
    """The Bank of England, and England of the Bank."""
    first, _, last = said.partition(" of ")
    return bool(last) and stands(other, f"{last} of {first}") and not stands(other, said)


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
    forms = []
    for token in tokens:
        forms.append([form for form in _forms(token) if form in other.at])
        if not forms[-1]:
            return False
    reach = max(2, reach, len(tokens))
    rarest = min(forms, key=lambda found: sum(len(other.at[form]) for form in found), default=[])
    words = other.words.words
    windows = (set(words[max(0, i - reach) : i + reach + 1]) for form in rarest for i in other.at[form][:ENOUGH])
    return any(all(not window.isdisjoint(found) for found in forms) for window in windows)


def _surname_stands(other: Side, found: Found, full: set[str]) -> bool:
    """The last word alone, where the whole name stood before."""
    assert isinstance(found.value, tuple)
    last = found.value[-1]
    return (
        len(found.value) > 2
        and last in full
        and any(_surname_at(other, i, found.value[1:]) for i in other.at.get(last, ())[:ENOUGH])
    )


def _surname_at(other: Side, i: int, tokens: Sequence[str]) -> bool:
    """Baltic Air is not kept by Adriatic Air."""
    before = other.words.words[i - 1] if i and other.words.gap(i) in (" ", "-") else ""
    return not (
        before and before not in tokens and before not in TITLES | FUNCTION and other.words.raw(i - 1)[0].isupper()
    )


def _same_name(a: Found, b: Found) -> bool:
    assert isinstance(a.value, tuple) and isinstance(b.value, tuple)
    return a.value == b.value or bool((set(a.value[1:]) & set(b.value[1:])) - GENERIC - TITLES)
