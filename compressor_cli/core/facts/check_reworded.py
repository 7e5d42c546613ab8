"""Whether other words stand for a negation or modal that no longer stands before what it governed."""

from __future__ import annotations

from collections import Counter

from compressor_cli.core.facts.cue_search import Search, cue_key
from compressor_cli.core.facts.cues import Cue, behind
from compressor_cli.core.facts.opposites import DENIED_AS, PREFIXES
from compressor_cli.core.facts.sides import ENOUGH, KEPT, LOST, Outcome, Side
from compressor_cli.core.facts.values import stem
from compressor_cli.core.facts.words import CONJUNCTION, DENIES, FUNCTION, KEEPS

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
_NEGATIVE = frozenset("not no never nor".split())
_VERBS = frozenset(map(stem, "deny refuse reject fail lack forbid prohibit ban".split()))
_WINDOW = 8  # words
_JOINS = CONJUNCTION | {"or", "nor"}


def stand_in(search: Search, cue: Cue, near: dict[str, list[Cue]]) -> Outcome:
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


def by_neighbour(search: Search) -> dict[str, list[Cue]]:
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


def _same_verb(search: Search, cue: Cue) -> bool:
    """`denied` is a denial wherever it stands, where `not` is not."""
    key = cue_key(search.one, cue)
    if key not in _VERBS:
        return False
    left = (id(hit) for hit in search.other.cues if search.keys[id(hit)] == key and id(hit) not in search.used)
    found = next(left, None)
    search.used.update(() if found is None else (found,))
    return found is not None


def _in_other_words(search: Search, cue: Cue, near: dict[str, list[Cue]]) -> bool:
    """What the cue governs is gone: a cue that keeps nothing yet, among the same words, may stand for it."""
    key = cue_key(search.one, cue)
    votes: Counter[int] = Counter()
    free = {}
    for stemmed in dict.fromkeys(stem(around) for around in _around(search.one, cue)):
        for hit in near.get(stemmed, ())[:ENOUGH]:
            if search.free(key, cue.does[0], hit):
                votes[id(hit)] += 1
                free[id(hit)] = hit
    for chosen, shared in votes.most_common(3):
        if shared > 1 or _not_denied_before(search.one, search.other, free[chosen]):
            search.used.add(chosen)
            return True
    return False


def _undone(search: Search, cue: Cue) -> bool:
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


def _second_word(search: Search, cue: Cue) -> bool:
    """`does not accept cash` kept as `no cash`: the cue went to the next word that it bore on anyway."""
    words, others = search.one.words.words, search.other.words.words
    key = cue_key(search.one, cue)
    for k in [k for k in cue.near if k >= cue.stop][1:]:
        if {"to", "that", "by", "of"} & set(words[cue.governed[0] : k]):
            return False
        for hit in search.by_stem.get(stem(words[k]), ())[:ENOUGH]:
            same = hit.governed and stem(others[hit.governed[0]]) == stem(words[k])
            if same and search.free(key, cue.does[0], hit):
                return True
    return False


def _subject(search: Search, cue: Cue) -> bool:
    """`the pier was hit, and the tower was not hit` kept as `the pier, not the tower, was hit`."""
    words, others = search.one.words, search.other.words.words
    key = cue_key(search.one, cue)
    for k in behind(words, cue.first, 2):
        if not _JOINS.isdisjoint(words.words[k + 1 : cue.first]):
            continue
        for hit in search.by_stem.get(stem(words.words[k]), ())[:ENOUGH]:
            about = hit.governed and stem(others[hit.governed[0]]) == stem(words.words[k])
            if about and search.same(key, cue.does[0], hit) and id(hit) not in search.used:
                search.used.add(id(hit))
                return True
    return False
