"""Which negations, modals and limits another text keeps: those that still bear on what they governed."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from compressor_cli.core.facts.check_numbers import keys_of
from compressor_cli.core.facts.check_polarity import Turned, moved, turned
from compressor_cli.core.facts.cues import Cue, behind, governs
from compressor_cli.core.facts.opposites import DENIED_AS, PREFIXES, without_prefix
from compressor_cli.core.facts.sides import ENOUGH, KEPT, LOST, Outcome, Side, stands
from compressor_cli.core.facts.values import stem
from compressor_cli.core.facts.words import CONJUNCTION, DENIES, DETERMINERS, FUNCTION, KEEPS

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
    "gt": frozenset("> over above beyond".split()),
    "lt": frozenset("< under below".split()),
    "neg": frozenset(("-", "−", "0", "zero", "ex", "non")),
}
_UP_TO = re.compile(r"(?:[-–—→]|\b(?:to|by|through|thru|before|til|ends?)) ?$")
_NEGATIVE = frozenset("not no never nor".split())
_IN_PAIRS = frozenset(map(stem, ("neither", "nor")))  # one `not` keeps both
_VERBS = frozenset(map(stem, "deny refuse reject fail lack forbid prohibit ban".split()))
_WINDOW = 8  # words
_JOINS = CONJUNCTION | {"or", "nor"}


@dataclass(frozen=True)
class _Search:
    """The cues of the other text, by the words that they may bear on.

    `keys`: what a cue is in itself, by its id; not and can't are one. `used`: ids of cues that keep something.
    """

    one: Side
    other: Side
    by_stem: dict[str, list[Cue]]
    keys: dict[int, str]
    used: set[int] = field(default_factory=set)

    def same(self, key: str, does: str, hit: Cue) -> bool:
        return self.keys.get(id(hit), "") == key and _keeps(does, hit)

    def free(self, key: str, does: str, hit: Cue) -> bool:
        """Keeps nothing yet, and is not a word that stood for something else before."""
        own = self.keys.get(id(hit), "")
        known = hit.loose and own != key and own in self.one.stems
        return (id(hit) not in self.used or key in _IN_PAIRS) and not known and _keeps(does, hit)


def _keeps(does: str, hit: Cue) -> bool:
    return any(done in KEEPS.get(does, (does,)) for done in hit.does)


def cue_outcomes(one: Side, other: Side) -> tuple[list[Outcome], list[Turned]]:
    """For each cue of the original; and the words of it that only the other text negates."""
    search = _Search(one, other, _by_stem(one, other), {id(cue): _key(other, cue) for cue in other.cues})
    wanted = Counter(_asked(one, cue) for cue in one.cues if not cue.number)
    hits = {asked: _hits(search, asked, search.same) for asked in wanted}
    for asked, found in hits.items():
        _use(search, asked, found)
    for asked, found in hits.items():
        if not found:
            hits[asked] = _hits(search, asked, search.free)
            _use(search, asked, hits[asked])
    counts = {asked: len({hit.first for hit in found}) for asked, found in hits.items()}
    limits, ends = _limits_by_number(other), _ends(other)
    result: list[Outcome] = []
    for cue in one.cues:
        asked = () if cue.number else _asked(one, cue)
        if cue.number:
            result.append(_limit(one, other, cue, limits))
        elif counts[asked]:
            result.append(_enough(one, other, cue, counts[asked], wanted[asked]))
        else:
            until = cue.does[0] == "until" and any(key in ends for key in _after(one, cue))
            result.append(KEPT if until else LOST)
    waiting = [i for i, cue in enumerate(one.cues) if result[i] == LOST and not cue.number]
    near = _by_neighbour(search) if waiting else {}
    for i in waiting:
        result[i] = _stand_in(search, one.cues[i], near)
    moved(one, other, result)
    return result, list(turned(one, other, search.used))


def _key(side: Side, cue: Cue) -> str:
    said = side.words.words[cue.first : cue.stop]
    if any(word in ("not", "cannot") or word.endswith(("n't", "n’t")) for word in said):
        return "not"
    first = next((word for word in said if word not in FUNCTION), said[0] if said else "")
    return "without" if first == "w" else stem(first)


def _use(search: _Search, asked: tuple[str, ...], hits: Sequence[Cue]) -> None:
    """Those that govern the same word first are taken, if there are any."""
    words = search.other.words.words
    strong = {id(hit) for hit in hits if hit.governed and stem(words[hit.governed[0]]) in asked[2:3]}
    search.used.update(strong or {id(hit) for hit in hits})


def _ends(other: Side) -> set[Hashable]:
    """Where ranges end: the 18:00 of `9:00-18:00`, of `to 18:00`."""
    text = other.words.lower
    ending = [found for found in other.numbers if _UP_TO.search(text, max(0, found.start - 9), found.start)]
    return {key for found in ending for key in keys_of(found)}


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
            for key in keys_of(cue.number):
                table.setdefault(key, []).append(cue)
    return table


def _limit(one: Side, other: Side, cue: Cue, limits: dict[Hashable, list[Cue]]) -> Outcome:
    assert cue.number
    there = [found for key in (cue.number.value, *cue.number.also) for found in limits.get(key, ())[:ENOUGH]]
    said = one.words.text[cue.parts[0][0] : cue.parts[-1][1]]
    if any(set(cue.does) & set(found.does) for found in there):
        return KEPT
    if stands(other, said) or (" a " in said and stands(other, said.replace(" a ", " ", 1))):
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
        denied = without_prefix(word)
        if denied and word not in one.at:
            for i in places[:ENOUGH]:
                table.setdefault(stem(denied), []).append(Cue(("neg",), i, i + 1, (i,), (i,), ()))
    return table


def _asked(one: Side, cue: Cue) -> tuple[str, ...]:
    """What the cue does, its key, and the stems to which another cue may do it: of `no member voted` both."""
    words = one.words.words
    places = cue.near if words[cue.first] in DETERMINERS else cue.governed[:1]
    return cue.does[0], _key(one, cue), *(stem(words[k]) for k in places or cue.governed)


def _hits(search: _Search, asked: tuple[str, ...], may_keep: Callable[[str, str, Cue], bool]) -> list[Cue]:
    does, key, *stems = asked
    for word in stems:
        hits = [hit for hit in search.by_stem.get(word, ()) if may_keep(key, does, hit)]
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


def _by_neighbour(search: _Search) -> dict[str, list[Cue]]:
    """Cues that keep nothing yet, by the stems around them."""
    table: dict[str, list[Cue]] = {}
    for cue in search.other.cues:
        if id(cue) not in search.used and not cue.number:
            for word in {stem(word) for word in _around(search.other, cue)}:
                table.setdefault(word, []).append(cue)
    return table


def _around(side: Side, cue: Cue) -> list[str]:
    words = side.words.words[max(0, cue.first - _WINDOW) : cue.stop + _WINDOW]
    return [word for word in words if word not in FUNCTION]


def _stand_in(search: _Search, cue: Cue, near: dict[str, list[Cue]]) -> Outcome:
    """Other words for a cue that no longer stands before what it governs."""
    one, other, does = search.one, search.other, cue.does[0]
    word = one.words.words[cue.governed[0]] if cue.governed else ""
    governed = stem(word)
    if _undone(search, cue):
        return LOST
    if _directly(one, other, cue) or (word and _beside(one, other, cue)):
        return KEPT
    if _same_verb(search, cue):
        return KEPT
    if does in ("neg", "maynot", "forbid", "weak") and word and _opposite(one, other, word):
        return KEPT
    if governed not in other.stems:
        return KEPT if _in_other_words(search, cue, near) else LOST
    if _second_word(search, cue) or _subject(search, cue):
        return KEPT
    there = next(
        (hit for hit in search.by_stem.get(governed, ()) if hit.does[0] != does and hit.stop > hit.first), None
    )
    if there is None:
        return LOST
    first, last = there.first, max((there.stop - 1, *there.governed))
    return "changed", other.words.text[other.words.starts[first] : other.words.ends[last]]


def _same_verb(search: _Search, cue: Cue) -> bool:
    """`denied` is a denial wherever it stands, where `not` is not."""
    key = _key(search.one, cue)
    if key not in _VERBS:
        return False
    left = (id(hit) for hit in search.other.cues if search.keys[id(hit)] == key and id(hit) not in search.used)
    found = next(left, None)
    search.used.update(() if found is None else (found,))
    return found is not None


def _in_other_words(search: _Search, cue: Cue, near: dict[str, list[Cue]]) -> bool:
    """What the cue governs is gone: a cue that keeps nothing yet, among the same words, may stand for it."""
    key = _key(search.one, cue)
    votes: Counter[int] = Counter()
    free = {}
    for stemmed in {stem(around) for around in _around(search.one, cue)}:
        for hit in near.get(stemmed, ())[:ENOUGH]:
            if search.free(key, cue.does[0], hit):
                votes[id(hit)] += 1
                free[id(hit)] = hit
    for chosen, shared in votes.most_common(3):
        if shared > 1 or _not_denied_before(search.one, search.other, free[chosen]):
            search.used.add(chosen)
            return True
    return False


def _undone(search: _Search, cue: Cue) -> bool:
    """`not recommended` that became `recommended`."""
    one, other = search.one, search.other
    last = one.words.words[cue.stop - 1]
    if cue.stop - cue.first < 2 or last in FUNCTION or cue.does[0] not in DENIES or last not in other.at:
        return False
    before = (other.words.words[i - 1] for i in other.at[last][:ENOUGH] if i)
    denied = any(word in _NEGATIVE or word.endswith(("n't", "n’t")) for word in before)
    return not denied and not any(hit.does[0] in DENIES for hit in search.by_stem.get(stem(last), ())[:ENOUGH])


def _not_denied_before(one: Side, other: Side, hit: Cue) -> bool:
    """A negation that now bears on a word which the original has without one has moved; that keeps nothing."""
    if not hit.governed:
        return True
    word = stem(other.words.words[hit.governed[0]])
    if word not in one.stems:
        return True
    keeps = KEEPS.get(hit.does[0], hit.does)
    near = (
        {k for cue in one.cues if set(cue.does) & set(keeps) for k in _reach(one, cue)}
        if len(one.cues) <= ENOUGH
        else None
    )
    return near is None or any(k in near for k in one.stems[word])


def _reach(side: Side, cue: Cue) -> range:
    return range(max(0, cue.first - 3), cue.stop + 6)


def _directly(one: Side, other: Side, cue: Cue) -> bool:
    """The same words in the same order, with nothing new between them."""
    words, others = one.words.words, other.words.words
    wanted = sorted((*range(cue.first, cue.stop), *cue.governed))
    said = [words[k] for k in wanted]
    denies = cue.does[0] in DENIES
    first, last = wanted[0], wanted[-1]
    between = set(words[first : last + 1])
    for i in other.at.get(said[0], ())[:ENOUGH]:
        k, end = i, min(len(others), i + last - first + 1)
        for word in said[1:]:
            k += 1
            while k < end and others[k] != word and others[k] in between:
                k += 1
            if k >= end or others[k] != word:
                break
        else:
            if denies or not i or others[i - 1] not in _NEGATIVE:
                return True
    return False


def _beside(one: Side, other: Side, cue: Cue) -> bool:
    """Right before the governed word stands a sign or small word that means it here, and did not stand there before."""
    governed = cue.governed[0]
    there = {one.words.words[k - 1] for k in (cue.first, governed) if k}
    signs = _NEXT_TO.get(cue.does[0], frozenset()) - there
    words = other.words
    for i in other.stems.get(stem(one.words.words[governed]), ())[:ENOUGH]:
        gap = words.gap(i).strip()
        if (gap and gap[-1] in signs) or (i and not gap and words.words[i - 1] in signs):
            return True
    return False


def _opposite(one: Side, other: Side, word: str) -> bool:
    """Closed for not open, unheard for not heard, wireless for without wires."""
    others = {*DENIED_AS.get(stem(word), ()), *(stem(before + word) for before in PREFIXES), stem(word + "less")}
    return any(found in other.stems and found not in one.stems for found in others)


def _second_word(search: _Search, cue: Cue) -> bool:
    """`does not accept cash` kept as `no cash`: the cue went to the next word that it bore on anyway."""
    words, others = search.one.words.words, search.other.words.words
    key = _key(search.one, cue)
    for k in [k for k in cue.near if k >= cue.stop][1:]:
        if {"to", "that", "by", "of"} & set(words[cue.governed[0] : k]):
            return False
        for hit in search.by_stem.get(stem(words[k]), ())[:ENOUGH]:
            same = hit.governed and stem(others[hit.governed[0]]) == stem(words[k])
            if same and search.free(key, cue.does[0], hit):
                return True
    return False


def _subject(search: _Search, cue: Cue) -> bool:
    """`the pier was hit, and the tower was not hit` kept as `the pier, not the tower, was hit`."""
    words, others = search.one.words, search.other.words.words
    key = _key(search.one, cue)
    for k in behind(words, cue.first, 2):
        if not _JOINS.isdisjoint(words.words[k + 1 : cue.first]):
            continue
        for hit in search.by_stem.get(stem(words.words[k]), ())[:ENOUGH]:
            about = hit.governed and stem(others[hit.governed[0]]) == stem(words.words[k])
            if about and search.same(key, cue.does[0], hit) and id(hit) not in search.used:
                search.used.add(id(hit))
                return True
    return False
