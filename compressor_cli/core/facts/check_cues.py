"""Which negations, modals and limits another text keeps: those that still bear on what they governed."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Container, Hashable, Sequence

from compressor_cli.core.facts.check_numbers import keys_of
from compressor_cli.core.facts.check_polarity import Turned, moved, turned
from compressor_cli.core.facts.cues import Cue, governs
from compressor_cli.core.facts.sides import ENOUGH, KEPT, LOST, Outcome, Side, stands
from compressor_cli.core.facts.values import stem
from compressor_cli.core.facts.words import DENIES, DETERMINERS, FUNCTION, KEEPS

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
_OPPOSITES = """
open closed shut; same different; allowed forbidden prohibited banned; permitted forbidden prohibited; present absent;
pass fail; succeed fail; accept reject refuse decline; true false; include exclude; enough insufficient short too;
work broken down; remember forget; know unaware ignorant; attend absent miss skip; guilty innocent; empty occupied;
exist missing; alive dead; able unable; longer stop ceas end former ex discontinue; yet pending still; many few; much
little; often rare seldom; well poor bad; possible impossible; legal illegal; safe dangerous hazardous; agree disagree
refuse oppose; approve reject; trust distrust; change same constant unchanged; move still; answer ignore; survive die;
anybody empty deserted; late punctual; win lose; public private; one nobody none; anyone nobody none; anything
nothing; wait immediate
"""
_UN = ("un", "in", "im", "ir", "il", "dis", "non", "mis")
_UN_WORD = re.compile(r"(?:un|non|in|im|dis|ir|il|mis)([a-z]{3,})")
_UP_TO = re.compile(r"(?:[-–—→]|\b(?:to|by|through|thru|before|til|ends?)) ?$")
_NEGATIVE = frozenset("not no never nor".split())
_DENIALS = frozenset(map(stem, "deny refuse reject fail lack forbid prohibit ban".split()))
_WINDOW = 8  # words


def _pairs() -> dict[str, set[str]]:
    table: dict[str, set[str]] = {}
    for line in _OPPOSITES.replace("\n", " ").split(";"):
        first, *others = map(stem, line.split())
        for other in others:
            table.setdefault(first, set()).add(other)
            table.setdefault(other, set()).add(first)
    return table


_OPPOSITE = _pairs()


def cue_outcomes(one: Side, other: Side) -> tuple[list[Outcome], list[Turned]]:
    """For each cue of the original; and the words of it that only the other text negates."""
    limits, ends = _limits_by_number(other), _ends(other)
    verbs = {_denial(one, cue) for cue in one.cues} - {None}
    every = _by_stem(one, other)
    tables = {True: every, False: _without(other, every, verbs) if verbs else every}
    wanted = Counter(_asked(one, cue) for cue in one.cues if not cue.number)
    owners = _owners(one, other)
    known: dict[tuple[str, ...], int] = {}
    used: set[int] = set()
    result: list[Outcome] = []
    for cue in one.cues:
        if cue.number:
            result.append(_limit(one, other, cue, limits))
            continue
        asked = _asked(one, cue)
        if asked not in known:
            known[asked] = _use(
                one, other, cue, _hits(other, asked, tables[_denial(one, cue) is not None], owners), used
            )
        if known[asked]:
            result.append(_enough(one, other, cue, known[asked], wanted[asked]))
        else:
            until = cue.does[0] == "until" and any(key in ends for key in _after(one, cue))
            result.append(KEPT if until else LOST)
    waiting = [i for i, cue in enumerate(one.cues) if result[i] == LOST and not cue.number]
    near = _by_neighbour(other, used) if waiting else {}
    for i in waiting:
        result[i] = _stand_in(one, other, one.cues[i], tables[_denial(one, one.cues[i]) is not None], near, used)
    moved(one, other, result)
    return result, list(turned(one, other, used))


def _use(one: Side, other: Side, cue: Cue, hits: Sequence[Cue], used: set[int]) -> int:
    """How many cues keep this one; those that govern the same word first are taken, if there are any."""
    word = governs(one.words, cue)[1]
    strong = {id(hit) for hit in hits if hit.governed and stem(other.words.words[hit.governed[0]]) == word}
    used |= strong or {id(hit) for hit in hits}
    return len({hit.first for hit in hits})


def _without(other: Side, table: dict[str, list[Cue]], verbs: Container[str | None]) -> dict[str, list[Cue]]:
    return {word: [cue for cue in found if _denial(other, cue) not in verbs] for word, found in table.items()}


def _denial(side: Side, cue: Cue) -> str | None:
    """The stem of a verb that denies: one that both texts have keeps itself and nothing else."""
    word = stem(side.words.words[cue.first]) if cue.first < len(side.words.words) else ""
    return word if word in _DENIALS else None


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
            for i in places[:ENOUGH]:
                table.setdefault(stem(match[1]), []).append(Cue(("neg",), i, i + 1, (i,), (i,), ()))
    return table


def _asked(one: Side, cue: Cue) -> tuple[str, ...]:
    """What the cue does, by which verb, and the stems to which another cue may do it: of `no member voted` both."""
    words = one.words.words
    places = cue.near if words[cue.first] in DETERMINERS else cue.governed[:1]
    return cue.does[0], _denial(one, cue) or "", *(stem(words[k]) for k in places or cue.governed)


def _said(side: Side, cue: Cue) -> tuple[str, str]:
    """A cue in its own words, n't being not, and the stem of what it governs."""
    words = ["not" if word.endswith(("n't", "n’t")) else word for word in side.words.words[cue.first : cue.stop]]
    return " ".join(words), "" if cue.loose else governs(side.words, cue)[1]


def _owners(one: Side, other: Side) -> dict[tuple[str, str], set[tuple[str, ...]]]:
    """What cues of the other text stand for that the original has too, in the same words and as often.

    Nobody asks for a word that is a cue only in notation, and was no cue where the original says it.
    """
    owners: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    now, before = Counter(_said(other, cue) for cue in other.cues if not cue.number), Counter[tuple[str, str]]()
    cued: set[int] = set()
    for cue in one.cues:
        cued.update(range(cue.first, cue.stop))
        if not cue.number:
            said = _said(one, cue)
            before[said] += 1
            owners.setdefault(said, set()).add(_asked(one, cue))
    for said in now:
        if not said[1] and said[0] in one.at:
            free = [k for k in one.at[said[0]] if k not in cued]
            before[said] += len(free)
            if free:
                owners.setdefault(said, set())
    return {said: asked for said, asked in owners.items() if now[said] <= before[said]}


def _hits(
    other: Side,
    asked: tuple[str, ...],
    by_stem: dict[str, list[Cue]],
    owners: dict[tuple[str, str], set[tuple[str, ...]]],
) -> list[Cue]:
    keeps = KEEPS.get(asked[0], asked[:1])
    for word in asked[2:]:
        hits = [hit for hit in by_stem.get(word, ()) if any(does in keeps for does in hit.does)]
        hits = [hit for hit in hits if asked in owners.get(_said(other, hit), (asked,))]
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
        if _second_word(one, other, cue, by_stem, used):
            return KEPT
        there = next((hit for hit in by_stem.get(governed, ()) if hit.does[0] != does), None)
        if there is None:
            return LOST
        last = max((*there.near, there.stop - 1))
        return "changed", other.words.text[
            other.words.starts[there.first] : other.words.ends[last]
        ] if there.stop > there.first else None
    keeps = KEEPS.get(does, cue.does)
    own = one.words.words[cue.first : cue.stop]
    votes: Counter[int] = Counter()
    free = {}
    for stemmed in {stem(around) for around in _around(one, cue)}:
        for hit in near.get(stemmed, ())[:ENOUGH]:
            said = other.words.words[hit.first]
            known = hit.loose and said in one.at and said not in own  # it stood for something else before
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
    if cue.stop - cue.first < 2 or last in FUNCTION or cue.does[0] not in DENIES or last not in other.at:
        return False
    before = (other.words.words[i - 1] for i in other.at[last][:ENOUGH] if i)
    denied = any(word in _NEGATIVE or word.endswith(("n't", "n’t")) for word in before)
    return not denied and not any(hit.does[0] in DENIES for hit in by_stem.get(stem(last), ())[:ENOUGH])


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
    words = one.words
    wanted = [k for k in range(cue.first, cue.stop)] + list(cue.governed)
    wanted.sort()
    said = [words.words[k] for k in wanted]
    denies = cue.does[0] in DENIES
    between = set(words.words[wanted[0] : wanted[-1] + 1]) if wanted else set()
    for i in other.at.get(said[0], ())[:ENOUGH] if said else ():
        k = i
        for word in said[1:]:
            k += 1
            while (
                k < min(len(other.words.words), i + ENOUGH)
                and other.words.words[k] != word
                and other.words.words[k] in between
            ):
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
    for i in other.stems.get(governed, ())[:ENOUGH]:
        gap = words.gap(i).strip()
        if (gap and gap[-1] in signs) or (i and not gap and words.words[i - 1] in signs):
            return True
    return False


def _opposite(one: Side, other: Side, word: str) -> bool:
    governed = stem(word)
    if any(found in other.stems and found not in one.stems for found in _OPPOSITE.get(governed, ())):
        return True
    turned = [(before, stem(before + word)) for before in _UN]
    return word + "less" in other.at or any(
        found != before and found in other.stems and found not in one.stems for before, found in turned
    )


def _second_word(one: Side, other: Side, cue: Cue, by_stem: dict[str, list[Cue]], used: set[int]) -> bool:
    """`does not accept cash` kept as `no cash`: the cue went to the next word that it bore on anyway."""
    keeps = KEEPS.get(cue.does[0], cue.does)
    words = one.words.words
    for k in [k for k in cue.near if k > cue.stop][1:]:
        if {"to", "that", "by", "of"} & set(words[cue.governed[0] : k]):
            return False
        for hit in by_stem.get(stem(words[k]), ())[:ENOUGH]:
            if (
                any(does in keeps for does in hit.does)
                and id(hit) not in used
                and not (hit.loose and other.words.words[hit.first] in one.at)
                and hit.governed
                and stem(other.words.words[hit.governed[0]]) == stem(words[k])
            ):
                return True
    return False
