"""Decides which facts of a text stand in another one.

A value that stands there is kept, whatever words say it. Three things are asked besides: that a value said twice and
kept once was the same thing both times, that two values have not changed places, and that a negation or a modal
still bears on the word that it governed.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal, NamedTuple

from compressor_cli.core.fact_names import GENERIC, TITLES
from compressor_cli.core.fact_tokens import Found, Words
from compressor_cli.core.fact_values import CARDINALS, ORDINALS, SCALES, WEEKDAYS, quantity, stem
from compressor_cli.core.fact_words import DETERMINERS, FUNCTION, Cue, cues, governs

Status = Literal["kept", "changed", "lost"]
Outcome = tuple[Status, str | None]
KEPT: Outcome = ("kept", None)
LOST: Outcome = ("lost", None)


@dataclass(frozen=True)
class Side:
    """One of the two texts with all that was found in it."""

    words: Words
    numbers: list[Found]
    cues: list[Cue]
    names: list[Found]
    exact: list[Found]  # URLs, paths, identifiers, code and quotations

    @cached_property
    def at(self) -> dict[str, list[int]]:
        """Where each word stands."""
        places: defaultdict[str, list[int]] = defaultdict(list)
        for i, word in enumerate(self.words.words):
            places[word].append(i)
        return dict(places)

    @cached_property
    def stems(self) -> dict[str, list[int]]:
        places: dict[str, list[int]] = {}
        for word, found in self.at.items():
            places.setdefault(stem(word), []).extend(found)
        return places


# What else keeps what a cue does.
_KEEPS = {
    "neg": ("neg", "forbid", "maynot"),
    "forbid": ("forbid", "neg", "maynot"),
    "maynot": ("maynot", "neg", "forbid"),
    "shouldnot": ("shouldnot", "neg"),
    "optional": ("optional",),
    "weak": ("weak", "neg"),
    "only": ("only",),
    "notonly": ("notonly",),
    "except": ("except", "unless", "neg"),
    "unless": ("unless", "except", "neg"),
    "until": ("until",),
    "notuntil": ("notuntil", "until"),
    "instead": ("instead", "neg"),
    "against": ("against", "neg"),
    "must": ("must",),
    "should": ("should",),
    "may": ("may",),
}
# Words that say it when they stand right before what is governed, and too common to be looked for elsewhere.
_NEXT_TO = {
    "until": frozenset("to by through thru before til → – - —".split()),
    "notuntil": frozenset("after from since once when in on at only first ≥ >".split()),
    "notonly": frozenset("and also & + , |".split()),
    "instead": frozenset("over vs → for not".split()),
    "except": frozenset("but not bar".split()),
    "must": frozenset(("will",)),
    "only": frozenset(("just", "but", "single", "sole")),
    "unless": frozenset(("else", "or", "!")),
    "neg": frozenset(("-", "−", "0", "zero", "ex", "non")),
}
_OPPOSITES = """open closed shut; same different; allowed forbidden prohibited banned; permitted forbidden prohibited; present absent;
pass fail; succeed fail; accept reject refuse decline; true false; include exclude; enough insufficient short too; work broken down;
remember forget; know unaware ignorant; attend absent miss skip; guilty innocent; empty occupied; exist missing; alive dead;
able unable; longer stop ceas end former ex discontinue; yet pending still; many few; much little; often rare seldom; well poor bad;
possible impossible; legal illegal; safe dangerous hazardous; agree disagree refuse oppose; approve reject; trust distrust;
change same constant unchanged; move still; answer ignore; survive die; anybody empty deserted; late punctual; win lose;
public private; one nobody none; anyone nobody none; anything nothing; wait immediate"""
_UN = ("un", "in", "im", "ir", "il", "dis", "non", "mis")
_UN_WORD = re.compile(r"(?:un|non|in|im|dis|ir|il|mis)([a-z]{3,})")
_UNDONE = re.compile(r"(?:un(?!der|i|til|less)|non)[a-z]{4,}")
_UP_TO = re.compile(r"(?:[-–—→]|\b(?:to|by|through|thru|before|til|ends?)) ?$")
_FALLING = re.compile(r"\b(?:f[ae]ll|drop|declin|decreas|reduc|los[st]|lower|down|less|fewer|cost|weak|short|shr[aiu]nk|cut|slump|slip|minus|below|withdr)")
_NEGATIVE = frozenset("not no never nor".split())
_SMALL = frozenset("a an the of to for that which is are was were be it its it's it’s in on at by with as".split())
_DENIES = frozenset("neg forbid maynot shouldnot optional notuntil weak".split())
_ENDED = frozenset(
    "closed cancelled canceled dismissed removed deleted lost ended withdrew withdrawn ceased too unlike dropped empty "
    "forgot forgotten abandoned suspended stopped broke broken gone expired dead died disabled blocked".split()
)
_MANY = 60  # of one number; what was said so often is not told apart
_ENOUGH = 50  # places at which a common word is looked up
_WINDOW = 8  # words
_SOON = 60  # characters


def _pairs() -> dict[str, set[str]]:
    table: dict[str, set[str]] = {}
    for line in _OPPOSITES.replace("\n", " ").split(";"):
        first, *others = map(stem, line.split())
        for other in others:
            table.setdefault(first, set()).add(other)
            table.setdefault(other, set()).add(first)
    return table


_OPPOSITE = _pairs()


# --- what stands letter for letter


def stands(side: Side, text: str, exact_end: bool = False) -> bool:
    """Whether `text` stands in the words of `side` with bounds on both ends; `exact_end`: and a URL or path ends there."""
    lower = text.lower()
    first = re.search(r"\w+(?:['’]\w+)*", lower)
    if first is None:
        return lower in side.words.lower
    other = side.words.lower
    for i in side.at.get(first.group(), ()):
        start = side.words.starts[i] - first.start()
        end = start + len(lower)
        if start >= 0 and other.startswith(lower, start) and _bounded(other, start, end, exact_end):
            return True
    return False


def _bounded(text: str, start: int, end: int, exact_end: bool) -> bool:
    before, after = text[start - 1 : start], text[end : end + 1]
    if after.isalnum() or after == "_" or ((before.isalnum() or before == "_") and text[start].isalnum()):
        return False
    if not exact_end:
        return True
    more = text[end + 1 : end + 2]
    return not (after and after in "/?#=&%@~" and more.strip()) and not (after and after in ".:-" and more.isalnum()) and before not in "/.\\-@"


def exact_outcomes(one: Side, other: Side) -> list[Outcome]:
    known: dict[Hashable, Outcome] = {}
    standing = {found.value for found in other.exact} | {_bare(found) for found in other.exact}
    own = {found.value for found in one.exact}
    strange: defaultdict[str, list[Found]] = defaultdict(list)
    for found in other.exact:
        if found.value not in own:
            strange[found.type].append(found)
    for fact in one.exact:
        if fact.value not in known:
            kept = fact.value in standing or _bare(fact) in standing or _exact_stands(other, fact)
            known[fact.value] = KEPT if kept else _nearest(one, other, fact, strange[fact.type])
    return [known[fact.value] for fact in one.exact]


def _bare(found: Found) -> Hashable:
    """Inline code without its blanks."""
    assert isinstance(found.value, tuple)
    kind, text = found.value
    return (kind, "".join(text.split())) if kind == "inline_code" else found.value


def _exact_stands(other: Side, fact: Found) -> bool:
    assert isinstance(fact.value, tuple)
    kind, text = fact.value
    if kind == "url":
        bare = re.sub(r"^(?:https?://)?(?:www\.)?", "", text).rstrip("/")
        schemes = {f"{scheme}{www}{bare}{end}" for scheme in _schemes(text) for www in ("", "www.") for end in ("", "/")}
        return any(stands(other, url, True) for url in sorted(schemes, key=len, reverse=True))
    if kind in ("email", "path"):
        return stands(other, text, True) or (kind == "path" and text.startswith("./") and stands(other, text[2:], True))
    if kind == "identifier" and text[-1] == "s" and "_" not in text and stands(other, text[:-1]):
        return True
    return stands(other, text) or (kind == "quote" and _loosely(other, text))


def _schemes(url: str) -> tuple[str, ...]:
    scheme = url[: url.find("://") + 3] if "://" in url else ""
    return (scheme, "") if scheme.lower() in ("http://", "https://") else (scheme,)


def _loosely(other: Side, text: str) -> bool:
    """A quotation without its marks and small words."""
    said = [word for word in re.findall(r"\w+(?:['’]\w+)*", text.lower()) if word not in _SMALL]
    if not said or (len(said) < 2 and len(said[0]) < 3):
        return False
    words = other.words.words
    for i in other.at.get(said[0], ())[:_ENOUGH]:
        run = [word for word in words[i : i + 3 * len(said)] if word not in _SMALL]
        if run[: len(said)] == said:
            return True
    return False


# --- numbers


def _keys(found: Found) -> list[Hashable]:
    keys = [found.value, *found.also]
    for value in list(keys):
        if isinstance(value, tuple) and value[0] == "date":
            _, year, month, day = value
            keys += [("date", y, m, d) for y in {year, None} for m in {month, None} for d in {day, None}]
            if year:
                keys.append(quantity(Decimal(year)))
    return keys


def number_outcomes(one: Side, other: Side) -> list[Outcome]:
    theirs = [frozenset(_keys(found)) for found in other.numbers]
    mine = [frozenset((found.value, *found.also)) for found in one.numbers]
    index: defaultdict[Hashable, list[int]] = defaultdict(list)
    for k, keys in enumerate(theirs):
        for key in keys:
            index[key].append(k)
    matches = [{k for key in keys if key in index for k in index[key][:_MANY]} for keys in mine]
    matched = {k for hits in matches for k in hits}
    foreign = [k for k in range(len(other.numbers)) if k not in matched]
    strange: defaultdict[str, list[Found]] = defaultdict(list)
    for k in foreign:
        strange[other.numbers[k].type].append(other.numbers[k])
    anything = [other.numbers[k] for k in foreign]
    result: list[Outcome] = []
    for found, hits in zip(one.numbers, matches, strict=True):
        if hits or _number_stands(one, other, found, index):
            result.append(KEPT)
        else:
            result.append(_nearest(one, other, found, strange.get(found.type, anything)))
    _said_twice(one, other, matches, foreign, result)
    _changed_places(one, other, one.numbers, other.numbers, result, lambda i, k: not mine[i].isdisjoint(theirs[k]))
    _crossed(one, other, matches, result)
    return result


def _number_stands(one: Side, other: Side, found: Found, index: dict[Hashable, list[int]]) -> bool:
    value, text = found.value, one.words.text
    assert isinstance(value, tuple)
    raw = text[found.start : found.end]
    if value[0] == "date" and value[1] and (value[2] or value[3]):
        rest, year = ("date", None, value[2], value[3]), quantity(Decimal(value[1]))
        if rest in index and year in index and not any(_year_of(other.numbers[k]) not in (None, value[1]) for k in index[rest]):
            return True
    if value[0] == "n" and value[1] > 0 and ("n", -value[1], value[2]) in index:
        if _FALLING.search(one.words.lower, max(0, found.start - 60), found.end + 30):
            return True
    if value == quantity(Decimal(1)) and not raw.isdigit() and _single(one, other, found):
        return True
    if value[0] == "day":
        return any(name in other.at for name, day in WEEKDAYS.items() if day == value[1])
    if value[0] == "many":
        return stands(other, f"{value[1]}s") or stands(other, f"{value[1]:,}s") or stands(other, raw)
    if value[0] == "version":
        return stands(other, value[1].lstrip("v")) or stands(other, "v" + value[1])
    return _merged(one, other, found)


def _year_of(found: Found) -> int | None:
    return found.value[1] if isinstance(found.value, tuple) and found.value[0] == "date" else None


def _single(one: Side, other: Side, found: Found) -> bool:
    """`one dog` is `a dog` or `single dog`."""
    k = one.words.at(found.end)
    after = stem(one.words.words[k]) if k < len(one.words.words) else ""
    words = other.words.words
    return any(words[i - 1] in ("a", "an", "single", "sole", "each", "per") for i in other.stems.get(after, ())[:_ENOUGH] if i)


def _merged(one: Side, other: Side, found: Found) -> bool:
    """Where words between two facts were dropped, one may be read as a part of the other: 3 March 2020 people."""
    parts = [one.words.text[a:b] for a, b in found.parts]
    for i in other.at.get(one.words.words[min(one.words.at(found.parts[0][0]), len(one.words.words) - 1)], ())[:_ENOUGH]:
        start = other.words.starts[i] - (one.words.starts[one.words.at(found.parts[0][0])] - found.parts[0][0])
        end = start
        for part in parts:
            while end > start and other.words.text[end : end + 1] in (" ", "-", "\u00a0"):
                end += 1
            if start < 0 or not other.words.text.startswith(part, end):
                break
            end += len(part)
        else:
            if _bounded(other.words.text, start, end, False) and _covered(one, other, found, start, end):
                return True
    return False


def _covered(one: Side, other: Side, number: Found, start: int, end: int) -> bool:
    """Whether what stands there is not a number by itself, or one that took in a word from further on."""
    k = bisect_right(other.numbers, start, key=lambda found: found.start) - 1
    found = other.numbers[k] if k >= 0 and end <= other.numbers[k].end else None
    if found is None:
        return not other.words.taken[start]
    if found.type in ("date", "time", "version"):
        return True
    rest = other.words.lower[end : found.end].split()
    soon = re.findall(r"\w+", one.words.lower[number.end : number.end + _SOON])
    return bool(rest) and rest[-1] in soon and rest[-1] not in SCALES


def _nearest(one: Side, other: Side, found: Found, rivals: Sequence[Found]) -> Outcome:
    """The fact that stands, by its place in the text, where `found` did; rivals are in the order of the text."""
    if not rivals:
        return LOST
    place = found.start * len(other.words.text) // max(len(one.words.text), 1)
    k = bisect_left(rivals, place, key=lambda rival: rival.start)
    nearest = min(rivals[max(0, k - 1) : k + 1], key=lambda rival: abs(rival.start - place))
    return "changed", other.words.text[nearest.start : nearest.end]


def _said_twice(one: Side, other: Side, matches: list[set[int]], foreign: list[int], result: list[Outcome]) -> None:
    """Of a value that was said more often than it is kept, the others must have said the same thing."""
    groups: dict[Hashable, list[int]] = {}
    for i, found in enumerate(one.numbers):
        if matches[i]:
            groups.setdefault(found.value, []).append(i)
    units = {_unit_of(other.numbers[k]) for k in foreign}
    for value, members in groups.items():
        hits = set().union(*(matches[i] for i in members[:_ENOUGH]))
        said = one.words.lower[one.numbers[members[0]].start : one.numbers[members[0]].end]
        if len(members) <= max(len(hits), len(other.at.get(said, ()))) or len(members) > _ENOUGH:
            continue
        about = {i: _neighbours(one, one.numbers[i]) for i in members}
        left = list(members)
        for k in sorted(hits):
            near = _neighbours(other, other.numbers[k])
            best = max(left, key=lambda i: len(about[i] & near))
            left.remove(best)
        kept = [i for i in members if i not in left]
        for i in left:
            if _unit_of(one.numbers[i]) in units:
                rivals = [other.numbers[k] for k in foreign if _unit_of(other.numbers[k]) == _unit_of(one.numbers[i])]
                result[i] = _nearest(one, other, one.numbers[i], rivals)
            elif one.numbers[i].type not in ("date", "time") and not any(about[i] & about[k] for k in kept):
                result[i] = LOST


def _unit_of(found: Found) -> tuple[str, Any]:
    value = found.value
    return found.type, value[2] if isinstance(value, tuple) and value[0] == "n" else None


def _neighbours(side: Side, found: Found) -> set[str]:
    """Stems of the words around a fact that say something."""
    words = side.words
    first, after = words.at(found.start), words.at(found.end)
    near = [words.words[k] for k in range(max(0, first - 4), min(after + 4, len(words.words))) if not first <= k < after]
    return {stem(word) for word in near if word not in FUNCTION and not word[0].isdigit()}


# --- places


def _changed_places(
    one: Side, other: Side, mine: Sequence[Found], theirs: Sequence[Found], result: list[Outcome], same: Callable[[int, int], bool]
) -> None:
    """A kept fact whose place, by the words on both sides, is held by another one that stood elsewhere before."""
    if len(mine) == len(theirs) and all(same(i, i) for i in range(len(mine))):
        return
    here, there = _contexts(one, mine), _contexts(other, theirs)
    if len(mine) == len(theirs):
        pairs = [(i, i) for i in range(len(mine)) if here[i] and here[i] == there[i]]
    else:
        once, also_once = Counter(here), Counter(there)
        places = {context: k for k, context in enumerate(there) if context and also_once[context] == 1}
        pairs = [(i, places[context]) for i, context in enumerate(here) if context in places and once[context] == 1]
    for i, k in pairs:
        if result[i] != KEPT or same(i, k):
            continue
        before = [j for j in range(max(0, i - _ENOUGH), min(len(mine), i + _ENOUGH)) if same(j, k)]
        if not before or (
            not _in_one_list(one, mine, i, before[0])
            and (len(mine) == len(theirs) or (len(before) == 1 and _inverted(i, before[0], k, len(theirs), same)))
        ):
            result[i] = "changed", other.words.text[theirs[k].start : theirs[k].end]


def _crossed(one: Side, other: Side, matches: Sequence[set[int]], result: list[Outcome]) -> None:
    """Two numbers of a kind that changed sides of something that stayed: Alice 5, Bob 7 and Alice 7, Bob 5."""
    order = [(other.numbers[next(iter(hits))].start, one.numbers[i].start, i) for i, hits in enumerate(matches) if len(hits) == 1]
    now = Counter(start for start, _, _ in order)
    there = {found.value: found.start for found in other.names}
    here = Counter(found.value for found in one.names)
    order += [(there[name.value], name.start, -1) for name in one.names if name.value in there and here[name.value] == 1]
    order = sorted(one_fact for one_fact in order if now[one_fact[0]] < 2)
    before = {start: rank for rank, start in enumerate(sorted(start for _, start, _ in order))}
    ranks = [before[start] for _, start, _ in order]
    fixed = list(accumulate((rank == place for place, rank in enumerate(ranks)), initial=0))
    for place, rank in enumerate(ranks):
        i, j = order[place][2], order[rank][2]
        if place < rank and ranks[rank] == place and min(i, j) >= 0 and fixed[rank] > fixed[place]:
            if _unit_of(one.numbers[i]) == _unit_of(one.numbers[j]):
                for k, instead in ((i, rank), (j, place)):
                    number = other.numbers[next(iter(matches[order[instead][2]]))]
                    result[k] = "changed", other.words.text[number.start : number.end]


def _inverted(i: int, before: int, k: int, count: int, same: Callable[[int, int], bool]) -> bool:
    """Fact `before` now stands at k; is fact i on the other side of it than it was?"""
    places = [m for m in range(max(0, k - _ENOUGH), min(count, k + _ENOUGH)) if same(i, m)]
    return bool(places) and all((m < k) != (i < before) for m in places)


def _contexts(side: Side, facts: Sequence[Found]) -> list[tuple[str, str] | None]:
    words = side.words
    inside = {k for found in facts for k in range(words.at(found.start), words.at(found.end))}
    contexts: list[tuple[str, str] | None] = []
    for found in facts:
        first, after = words.at(found.start), words.at(found.end)
        while first and words.words[first - 1] in TITLES and first - 1 not in inside:
            first -= 1
        left = "" if not first else "#" if first - 1 in inside else words.words[first - 1]
        right = "" if after >= len(words.words) else "#" if after in inside else words.words[after]
        contexts.append((left, right) if left.strip("#") or right.strip("#") else None)
    return contexts


def _in_one_list(side: Side, facts: Sequence[Found], i: int, j: int) -> bool:
    """`Alice and Bob` may change places, but not where others belong to them respectively."""
    first, last = sorted((i, j))
    if last - first > 10 or "respectively" in side.words.lower:
        return False
    gaps = (side.words.text[facts[k].end : facts[k + 1].start].strip().lower() for k in range(first, last))
    return all(gap in ("and", "or", ",", "&", ", and", ", or", "/", "+", ";", "nor") for gap in gaps)


# --- names


def name_outcomes(one: Side, other: Side) -> list[Outcome]:
    introduced = _introduced(one) | _introduced(other)
    known: dict[Hashable, Outcome] = {}
    full: set[str] = set()
    result: list[Outcome] = []
    new = [name for name in other.names if not any(token in one.at for token in name.value[1:])]  # type: ignore[index]
    standing = {found.value for found in other.names}
    for found in one.names:
        if found.value not in known:
            outcome = KEPT if found.value in standing or _name_stands(one, other, found, introduced) else _surname(other, found, full)
            known[found.value] = outcome if outcome == KEPT else _nearest(one, other, found, new)
        if known[found.value] == KEPT:
            assert isinstance(found.value, tuple)
            full.add(found.value[-1])
        result.append(known[found.value])
    _changed_places(one, other, one.names, other.names, result, lambda i, k: _same_name(one.names[i], other.names[k]))
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


_KNOWN_SHORT = {
    ("united", "states"): ("us", "usa", "u.s", "u.s.a", "america"), ("united", "kingdom"): ("uk", "u.k", "britain"),
    ("european", "union"): ("eu",), ("united", "nations"): ("un", "u.n"), ("new", "york"): ("ny",),
    ("new", "york", "city"): ("nyc",), ("los", "angeles"): ("la",), ("world", "war", "ii"): ("wwii", "ww2"),
    ("world", "war", "i"): ("wwi", "ww1"), ("united", "states", "of", "america"): ("us", "usa"),
    ("soviet", "union"): ("ussr",), ("world", "health", "organization"): ("who",), ("great", "britain"): ("uk", "britain"),
}  # fmt: skip
_SHORTER = {
    "university": "univ uni u", "department": "dept", "company": "co", "corporation": "corp", "limited": "ltd", "street": "st",
    "avenue": "ave", "mount": "mt", "saint": "st", "incorporated": "inc", "association": "assoc", "institute": "inst",
    "government": "govt", "international": "intl int'l", "hospital": "hosp", "road": "rd", "square": "sq", "north": "n",
    "south": "s", "east": "e", "west": "w", "committee": "cttee cmte", "national": "natl nat'l", "district": "dist",
    "islands": "is", "island": "is", "figure": "fig", "section": "sec §", "article": "art", "version": "v ver", "management": "mgmt",
    "development": "dev", "engineering": "eng", "application": "app", "database": "db", "kubernetes": "k8s", "northern": "n",
    "southern": "s", "eastern": "e", "western": "w", "number": "no", "professor": "prof", "organization": "org", "centre": "ctr",
    "center": "ctr", "federal": "fed", "republic": "rep", "county": "co", "railway": "rly", "technology": "tech", "javascript": "js",
    "typescript": "ts", "postgresql": "postgres", "second": "2nd", "first": "1st", "third": "3rd",
}  # fmt: skip
_CASED = 3  # an acronym of so few letters may also be a word: US, IT


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
        if tuple(word for word in core) == expansion or core == expansion[-len(core) :] and len(core) > 1:
            if short in other.at:
                return True
    special = tuple(token for token in core if token not in GENERIC and token not in TITLES)
    return bool(special) and len(special) < len(core) and _together(other, special) or (core != tokens and bool(core) and _together(other, core))


def _acronym_stands(other: Side, raw: str, token: str) -> bool:
    for form in {token, token.removesuffix("s") if raw[-1:] == "s" else token, token + "s", token + "'s", token + "’s"}:
        for i in other.at.get(form, ())[:_ENOUGH]:
            text = other.words.text[other.words.starts[i] : other.words.ends[i]]
            if len(raw) > _CASED or not text.islower():
                return True
    return stands(other, ".".join(token))


def _forms(token: str) -> list[str]:
    return [token, token + "'s", token + "’s", token.removesuffix("s"), token + "s", token + "'", *_SHORTER.get(token, "").split()]


def _together(other: Side, tokens: Sequence[str], reach: int = 2) -> bool:
    """Whether the words of a name stand as close to each other as they did, in any order."""
    places = [sorted({i for form in _forms(token) for i in other.at.get(form, ())}) for token in tokens]
    if not all(places):
        return False
    rarest = min(places, key=len)
    reach = max(2, reach, len(tokens))
    others = [set(found) for found in places if found is not rarest]
    return any(all(any(i + d in found for d in range(-reach, reach + 1)) for found in others) for i in rarest[:_ENOUGH])


def _surname(other: Side, found: Found, full: set[str]) -> Outcome:
    """The last word alone, where the whole name stood before."""
    assert isinstance(found.value, tuple)
    last = found.value[-1]
    return KEPT if len(found.value) > 2 and last in full and last in other.at else LOST


def _same_name(a: Found, b: Found) -> bool:
    assert isinstance(a.value, tuple) and isinstance(b.value, tuple)
    return bool(set(a.value[1:]) & set(b.value[1:]))


# --- negations, modals and limits


def cue_outcomes(one: Side, other: Side) -> tuple[list[Outcome], list[Turned]]:
    """For each cue of the original; and the words of it that only the other text negates."""
    limits = _limits_by_number(other)
    by_stem = _by_stem(one, other)
    wanted = Counter(_asked(one, cue) for cue in one.cues if not cue.number)
    used: set[int] = set()
    ends = _ends(other)
    result: list[Outcome] = []
    waiting: list[int] = []
    known: dict[tuple[str, ...], int] = {}
    for i, cue in enumerate(one.cues):
        if cue.number:
            result.append(_limit(one, other, cue, limits))
            continue
        asked = _asked(one, cue)
        if asked not in known:
            there = _hits(asked, by_stem)
            word = governs(one.words, cue)[1]
            strong = {id(hit) for hit in there if hit.governed and stem(other.words.words[hit.governed[0]]) == word}
            used |= strong or {id(hit) for hit in there}
            known[asked] = len({hit.first for hit in there})
        hits = known[asked]
        outcome = _enough(one, other, cue, hits, wanted[asked]) if hits else LOST
        if not hits and cue.does[0] == "until" and any(key in ends for key in _after(one, cue)):
            hits, outcome = 1, KEPT
        result.append(outcome)
        if not hits:
            waiting.append(i)
    near = _by_neighbour(other, used) if waiting else {}
    for i in waiting:
        result[i] = _stand_in(one, other, one.cues[i], by_stem, near, used)
    _moved(one, other, result)
    return result, list(_turned(one, other, used))


def _ends(other: Side) -> set[Hashable]:
    """Where ranges end: the 18:00 of `9:00-18:00`, of `to 18:00`."""
    text = other.words.lower
    ending = [found for found in other.numbers if _UP_TO.search(text, max(0, found.start - 9), found.start)]
    return {key for found in ending for key in _keys(found)}


def _after(one: Side, cue: Cue) -> Sequence[Hashable]:
    """What the number after a cue may mean."""
    start = one.words.starts[cue.stop] if cue.stop < len(one.words.starts) else len(one.words.text)
    k = bisect_left(one.numbers, start, key=lambda found: found.start)
    found = one.numbers[k] if k < len(one.numbers) else None
    return (found.value, *found.also) if found and found.start - start < 5 else ()


def _limits_by_number(other: Side) -> dict[Hashable, list[Cue]]:
    table: dict[Hashable, list[Cue]] = {}
    for cue in other.cues:
        if cue.number:
            for key in _keys(cue.number):
                table.setdefault(key, []).append(cue)
    return table


def _limit(one: Side, other: Side, cue: Cue, limits: dict[Hashable, list[Cue]]) -> Outcome:
    assert cue.number
    there = [found for key in (cue.number.value, *cue.number.also) for found in limits.get(key, ())[:_ENOUGH]]
    said = one.words.text[cue.parts[0][0] : cue.parts[-1][1]]
    if any(set(cue.does) & set(found.does) for found in there) or stands(other, said):
        return KEPT
    if there:
        first, last = there[0].parts[0][0], there[0].parts[-1][1]
        return "changed", other.words.text[first:last]
    return LOST


def _by_stem(one: Side, other: Side) -> dict[str, list[Cue]]:
    """Cues of the compressed text by the words that they may bear on; unheard is a cue that bears on heard."""
    table: dict[str, list[Cue]] = {}
    for cue in other.cues:
        for k in cue.near:
            table.setdefault(stem(other.words.words[k]), []).append(cue)
    for word, places in other.at.items():
        match = _UN_WORD.fullmatch(word)
        if match and word not in one.at:
            for i in places[:_ENOUGH]:
                table.setdefault(stem(match[1]), []).append(Cue(("neg",), i, i + 1, (i,), (i,), ()))
    return table


def _asked(one: Side, cue: Cue) -> tuple[str, ...]:
    """What the cue does, and the stems to which another cue may do it: of `no member voted` both."""
    words = one.words.words
    places = cue.near if words[cue.first] in DETERMINERS else cue.governed[:1]
    return cue.does[0], *(stem(words[k]) for k in places or cue.governed)


def _hits(asked: tuple[str, ...], by_stem: dict[str, list[Cue]]) -> list[Cue]:
    keeps = _KEEPS.get(asked[0], asked[:1])
    for word in asked[1:]:
        hits = [hit for hit in by_stem.get(word, ()) if any(does in keeps for does in hit.does)]
        if hits:
            return hits
    return []


def _enough(one: Side, other: Side, cue: Cue, hits: int, wanted: int) -> Outcome:
    """Said as often as before, or at least the word does not stand without it more often than before."""
    word = governs(one.words, cue)[1]
    if wanted <= hits:
        return KEPT
    free_before = len(one.stems.get(word, ())) - wanted
    free = len(other.stems.get(word, ())) - hits
    return ("changed", None) if free > free_before else KEPT


def _by_neighbour(other: Side, used: set[int]) -> dict[str, list[Cue]]:
    """Cues that keep nothing yet, by the stems around them."""
    table: dict[str, list[Cue]] = {}
    for cue in other.cues:
        if id(cue) not in used and not cue.number:
            for word in {stem(word) for word in _around(other, cue)}:
                table.setdefault(word, []).append(cue)
    return table


def _around(side: Side, cue: Cue) -> list[str]:
    words = side.words.words[max(0, cue.first - _WINDOW) : cue.stop + _WINDOW]
    return [word for word in words if word not in FUNCTION]


def _stand_in(
    one: Side, other: Side, cue: Cue, by_stem: dict[str, list[Cue]], near: dict[str, list[Cue]], used: set[int]
) -> Outcome:
    """Other words for a cue that no longer stands before what it governs."""
    does = cue.does[0]
    word = one.words.words[cue.governed[0]] if cue.governed else ""
    governed = stem(word)
    if _undone(one, other, cue, by_stem):
        return LOST
    if _directly(one, other, cue) or (word and _beside(other, governed, does)):
        return KEPT
    if does in ("neg", "maynot", "forbid", "weak") and word and _opposite(one, other, word):
        return KEPT
    if governed in other.stems:
        if _second_word(one, other, cue, by_stem):
            return KEPT
        there = next((hit for hit in by_stem.get(governed, ()) if hit.does[0] != does), None)
        if there is None:
            return LOST
        last = max((*there.near, there.stop - 1))
        return "changed", other.words.text[other.words.starts[there.first] : other.words.ends[last]] if there.stop > there.first else None
    keeps = _KEEPS.get(does, cue.does)
    votes: Counter[int] = Counter()
    free = {}
    for stemmed in {stem(around) for around in _around(one, cue)}:
        for hit in near.get(stemmed, ())[:_ENOUGH]:
            known = hit.loose and other.words.words[hit.first] in one.at  # it stood for something else before
            if id(hit) not in used and not known and any(other_does in keeps for other_does in hit.does):
                votes[id(hit)] += 1
                free[id(hit)] = hit
    for chosen, shared in votes.most_common(3):
        if shared > 1 or _not_denied_before(one, other, free[chosen]):
            used.add(chosen)
            return KEPT
    return LOST


def _undone(one: Side, other: Side, cue: Cue, by_stem: dict[str, list[Cue]]) -> bool:
    """`not recommended` that became `recommended`."""
    last = one.words.words[cue.stop - 1]
    if cue.stop - cue.first < 2 or last in FUNCTION or cue.does[0] not in _DENIES or last not in other.at:
        return False
    before = (other.words.words[i - 1] for i in other.at[last][:_ENOUGH] if i)
    denied = any(word in _NEGATIVE or word.endswith(("n't", "n’t")) for word in before)
    return not denied and not any(hit.does[0] in _DENIES for hit in by_stem.get(stem(last), ())[:_ENOUGH])


def _not_denied_before(one: Side, other: Side, hit: Cue) -> bool:
    """A negation that now bears on a word which the original has without one has moved; that keeps nothing."""
    if not hit.governed:
        return True
    word = stem(other.words.words[hit.governed[0]])
    if word not in one.stems:
        return True
    keeps = _KEEPS.get(hit.does[0], hit.does)
    near = {k for cue in one.cues if set(cue.does) & set(keeps) for k in _reach(one, cue)} if len(one.cues) <= _ENOUGH else None
    return near is None or any(k in near for k in one.stems[word])


def _reach(side: Side, cue: Cue) -> range:
    return range(max(0, cue.first - 3), cue.stop + 6)


def _directly(one: Side, other: Side, cue: Cue) -> bool:
    """The same words in the same order, with nothing new between them."""
    words = one.words
    wanted = [k for k in range(cue.first, cue.stop)] + list(cue.governed)
    wanted.sort()
    said = [words.words[k] for k in wanted]
    denies = cue.does[0] in _DENIES
    between = set(words.words[wanted[0] : wanted[-1] + 1]) if wanted else set()
    for i in other.at.get(said[0], ())[:_ENOUGH] if said else ():
        k = i
        for word in said[1:]:
            k += 1
            while k < min(len(other.words.words), i + _ENOUGH) and other.words.words[k] != word and other.words.words[k] in between:
                k += 1
            if k >= len(other.words.words) or other.words.words[k] != word:
                break
        else:
            if denies or not i or other.words.words[i - 1] not in _NEGATIVE:
                return True
    return False


def _beside(other: Side, governed: str, does: str) -> bool:
    """Right before the governed word stands a sign or small word that means it here."""
    signs = _NEXT_TO.get(does, frozenset())
    words = other.words
    for i in other.stems.get(governed, ())[:_ENOUGH]:
        gap = words.gap(i).strip()
        if (gap and gap[-1] in signs) or (i and not gap and words.words[i - 1] in signs):
            return True
    return False


def _opposite(one: Side, other: Side, word: str) -> bool:
    governed = stem(word)
    if any(found in other.stems and found not in one.stems for found in _OPPOSITE.get(governed, ())):
        return True
    return any(stem(before + word) in other.stems for before in _UN) or word + "less" in other.at


def _second_word(one: Side, other: Side, cue: Cue, by_stem: dict[str, list[Cue]]) -> bool:
    """`does not accept cash` kept as `no cash`: the cue went to the next word that it bore on anyway."""
    keeps = _KEEPS.get(cue.does[0], cue.does)
    words = one.words.words
    for k in [k for k in cue.near if k > cue.stop][1:]:
        if {"to", "that", "by", "of"} & set(words[cue.governed[0] : k]):
            return False
        for hit in by_stem.get(stem(words[k]), ())[:_ENOUGH]:
            if any(does in keeps for does in hit.does) and hit.governed and stem(other.words.words[hit.governed[0]]) == stem(words[k]):
                return True
    return False


def _moved(one: Side, other: Side, result: list[Outcome]) -> None:
    """Where a word is said with a cue and without it, the two must not have changed places."""
    known: dict[tuple[str, int, bool], set[int]] = {}

    def covers(side: Side, does: str, loose: bool) -> set[int]:
        key = (does, id(side), loose)
        if key not in known:
            keeps = set(_KEEPS.get(does, (does,)))
            known[key] = {k for cue in side.cues if keeps & set(cue.does) and cue.loose <= loose for k in cue.near}
        return known[key]

    for i, cue in enumerate(one.cues):
        if cue.number or result[i] != KEPT or not cue.governed:
            continue
        does, word = governs(one.words, cue)
        if not 1 < len(one.stems.get(word, ())) == len(other.stems.get(word, ())) <= _ENOUGH:
            continue
        here, there = sorted(one.stems[word]), sorted(other.stems[word])
        before, now, maybe = covers(one, does, False), covers(other, does, False), covers(other, does, True)
        lost = [k for k in range(len(here)) if here[k] in before and there[k] not in maybe]
        new = [k for k in range(len(here)) if there[k] in now and here[k] not in before]
        if lost and new:
            about, after = _left(one, here), _left(other, there)
            if all(about[k] & after[k] for k in (*lost, *new)):
                result[i] = "changed", None


def _left(side: Side, places: Iterable[int]) -> list[set[str]]:
    """What stands before each place; 1st and first are one."""
    words = side.words.words
    return [{_plainly(words[j]) for j in range(max(0, k - 5), k) if words[j] not in FUNCTION} for k in places]


def _plainly(word: str) -> str:
    n = ORDINALS.get(word, CARDINALS.get(word))
    digits = word.rstrip("stndrh")
    return str(n) if n is not None else digits if digits.isdigit() else stem(word)


class Turned(NamedTuple):
    """A word that the original says and the other text negates."""

    start: int
    end: int
    found: str


def _turned(one: Side, other: Side, used: set[int]) -> Iterator[Turned]:
    fresh = [cue for cue in other.cues if cue.does[0] in _DENIES and cue.governed and not cue.loose and id(cue) not in used]
    asked = [(cue, stem(other.words.words[cue.governed[0]])) for cue in fresh if not cue.number]
    asked = [(cue, word) for cue, word in asked if word in one.stems and not word[0].isdigit() and len(one.stems[word]) <= _ENOUGH]
    if not asked:
        return
    denied = _denied(one)
    for cue, word in asked:
        here = one.stems[word]
        if len(other.stems[word]) - 1 < len(here) and not any(k in denied for k in here):
            k, last = here[0], max(cue.governed[0], cue.stop - 1)
            found = other.words.text[other.words.starts[cue.first] : other.words.ends[last]]
            yield Turned(one.words.starts[k], one.words.ends[k], found)


def _denied(side: Side) -> set[int]:
    """Words near something that may be put as a negation."""
    found: set[int] = set()
    for cue in cues(side.words, side.numbers, loose=True):
        if cue.does[0] in _DENIES and cue.does[0] != "notuntil" or cue.does[0] in ("except", "unless", "instead", "only"):
            found |= {*cue.near, *range(cue.first - 3, cue.stop + 3)}
    for i, word in enumerate(side.words.words):
        if word in _ENDED or _UNDONE.fullmatch(word):
            found |= {*range(i - 4, i + 5)}
    return found
