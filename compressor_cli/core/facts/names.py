"""Finds names: runs of capitalised words and acronyms.

A word that is capitalised because a sentence begins with it is a name only where the text shows it to be one: it is
capitalised elsewhere too, or stands as a bare subject before its verb.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from compressor_cli.core.facts.tokens import Found, Words
from compressor_cli.core.facts.words import FUNCTION

TITLES = frozenset(
    "acting admiral ambassador aunt bishop brother captain ceo cfo chancellor chief coach colonel councillor cto dame "
    "detective director doctor dr father former general governor inspector judge justice king lady lieutenant lord "
    "madam major mayor minister miss mp mr mrs ms nurse pm pope president prime prince princess prof professor queen "
    "rev reverend saint secretary senator sergeant sir sister st uncle vice".split()
)
# Not a name alone; in a name it may be left out or shortened: Stanford University, Harrowmere Council.
GENERIC = frozenset(
    "admin agency airport annex answer appendix article avenue bank bible board bridge cabinet caution central "
    "chapter christmas church city client college committee company congress constitution corp corporation council "
    "county court customer department district earth empty error example false figure government group hall hospital "
    "house inc institute internet island islands item kingdom lake level library limited line ltd ministry monday "
    "moon mount mountain museum none note null ocean office option page park parliament part phase project province "
    "question region republic river road rule school sea section senate service square state states station step "
    "street sun system table team tip town true union university user valley version village warning web".split()
)
_STARTERS = FUNCTION | frozenset(
    "above according across against along among anybody anyone anything back based being below beside besides best "
    "between beyond check click close compress congratulations dear despite down due during early eight either "
    "everybody everyone everything few finally first five four furthermore given good great half hardly having hello "
    "here hi how indeed inside instead keep kind last late later let like likewise make maybe meanwhile moreover near "
    "neither never nevertheless new next nine no nobody none nonetheless not nothing now off ok old one only open "
    "otherwise out outside perhaps please press rather re regards run second see set seven several similarly "
    "sincerely six somebody someone something sometimes soon sooner sorry summary take ten thank thanks third three "
    "through throughout today tomorrow tonight toward towards two unlike up use using usually welcome well what "
    "within without yes yesterday".split()
)
_SHOUTED = frozenset(
    "NOT AND OR BUT MUST NEVER NO ONLY NOTE WARNING IMPORTANT TODO FIXME OK THE ALL ANY IF DO IS ARE".split()
)
_VERBS = frozenset(
    "and are became began bought broke brought built came can caught chose could cut did does drew drove fell felt "
    "flew fought found gave got grew had has have held is kept knew led left let lost made may met might must or paid "
    "put ran rose said sang saw says sent shall should sold spoke taught thought told took was went were who will won "
    "would wrote".split()
)
_NOUN_ENDINGS = tuple("ing tion sion ment ness ity ance ence ism ship ure ers ors ly age".split())
LINKS = frozenset("of de du da di del della la le van von der den ten ter al bin ibn el y".split())
_ACRONYM = re.compile(r"[A-ZÀ-Þ0-9]*[A-ZÀ-Þ][A-ZÀ-Þ0-9]+(?:s|'s|’s)?$|(?:[A-Z]\.){2,}$")
_LONGEST = 7  # words; a longer run is a title or shouting


def names(words: Words) -> Iterator[Found]:
    begins = {i for i in words.capitals if words.begins_sentence(i)}
    capitals = {words.words[i] for i in words.capitals}
    known = {words.words[i].removesuffix("'s") for i in words.capitals if i not in begins}
    plain = set(words.words) - capitals
    for run in _runs(words):
        if len(run) > _LONGEST:
            continue
        run = _without_head(words, run, begins)
        if len(run) > 1 and all(words.raw(i).isupper() for i in run) and _is_loud(words, run):
            continue
        if len(run) > 1 or (run and _is_name(words, run[0], begins, known, plain)):
            yield _name(words, run)


def _is_loud(words: Words, run: list[int]) -> bool:
    """CREATE TABLE, and whole sentences in capitals; not HMS VICTORY or U.S.A."""
    long = [i for i in run if len(words.words[i]) > 1]
    return len(long) > 2 or any(len(words.words[i]) > 5 for i in long[:1])


def _runs(words: Words) -> Iterator[list[int]]:
    run: list[int] = []
    for i in words.capitals:
        if run and not _joined(words, run[-1], i):
            yield run
            run = []
        if words.taken[words.starts[i]]:
            if run:
                yield run
            run = []
        else:
            run.append(i)
    if run:
        yield run


def _joined(words: Words, a: int, b: int) -> bool:
    if b == a + 1:
        gap = words.gap(b)
        short = words.ends[a] - words.starts[a] == 1 or words.words[a] in TITLES
        return gap in (" ", "-", "\u00a0", " & ") or (gap in (". ", ".") and short)
    if b - a > 3 or words.words[a + 1] not in LINKS:
        return False
    return all(words.gap(k) == " " for k in range(a + 1, b + 1)) and all(
        words.words[k] in LINKS or words.words[k] == "the" for k in range(a + 1, b)
    )


def _without_head(words: Words, run: list[int], begins: set[int]) -> list[int]:
    """Without titles, and without what is capitalised because a sentence begins."""
    while run:
        word = words.words[run[0]]
        if not (
            word in FUNCTION
            or (word in TITLES and any(words.words[k] not in GENERIC for k in run[1:]))
            or ((word in _STARTERS or word.endswith("ly")) and run[0] in begins)
        ):
            break
        run = run[1:]
    while run and words.words[run[-1]] in FUNCTION and words.ends[run[-1]] - words.starts[run[-1]] > 1:
        run = run[:-1]
    return [] if len(run) == 1 and words.words[run[0]] in TITLES else run


def _is_name(words: Words, i: int, begins: set[int], known: set[str], plain: set[str]) -> bool:
    word, raw = words.words[i], words.text[words.starts[i] : words.ends[i]]
    if word == "i" or word.endswith(("n't", "n’t", "'m", "'ve", "'ll", "'re", "'d", "’d", "’m", "’ve", "’ll", "’re")):
        return False
    if _ACRONYM.match(raw):
        return raw not in _SHOUTED and not _shouted(words, i)
    bare = word.removesuffix("'s").removesuffix("’s")
    if bare in GENERIC or bare in FUNCTION or (len(bare) == 1 and bare != raw.lower()):
        return False
    if i not in begins:
        return True
    if bare in known:
        return True
    if bare in plain or bare in _STARTERS or len(bare) < 3 or bare.endswith(_NOUN_ENDINGS):
        return False
    if bare != word:
        return True
    if bare.endswith("s") and not bare.endswith(("ss", "us", "is")):
        return False
    return _is_subject(words, i)


def _shouted(words: Words, i: int) -> bool:
    near = [
        words.text[words.starts[k] : words.ends[k]] for k in (i - 2, i - 1, i + 1, i + 2) if 0 <= k < len(words.words)
    ]
    return sum(raw.isupper() and len(raw) > 1 for raw in near) > 1


def _is_subject(words: Words, i: int) -> bool:
    """Before a verb, with no article before it."""
    if i + 1 >= len(words.words) or words.gap(i + 1) != " ":
        return False
    after = words.words[i + 1]
    return (
        after in _VERBS
        or after.endswith("ed")
        or (after.endswith("s") and not after.endswith(("ss", "us")) and len(after) > 3)
    )


def _name(words: Words, run: list[int]) -> Found:
    start, end = words.starts[run[0]], words.ends[run[-1]]
    raw = words.text[start:end]
    if raw.endswith(("'s", "’s")):
        end -= 2
    tokens = tuple(words.words[k].removesuffix("'s").removesuffix("’s") for k in run)
    if all(len(token) == 1 for token in tokens) and "." in raw:
        tokens = ("".join(tokens),)  # U.S.
        return Found("acronym", start, end, ((start, end),), ("name", *tokens))
    kind = "acronym" if len(run) == 1 and (_ACRONYM.match(raw) or len(raw) == 1) else "name"
    return Found(kind, start, end, ((start, end),), ("name", *tokens))
