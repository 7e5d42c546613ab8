"""Units that say something else when they are parted, and so are kept or dropped as one.

Half of a negation says the opposite; a number without its `at most`, or a date without its `by`, says more than was
said; and a name without its `by` changes from who did it to whom it was done to.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence

from compressor_cli.engines.layout import Document, Unit

Spans = list[tuple[int, int]]

ARTICLES = frozenset(("a", "an", "the"))
_NEGATIONS = frozenset(
    "not no never none nor neither without cannot unless except nobody nothing nowhere hardly instead rather "
    "only against until deny denies denied refuse refuses refused reject rejects rejected fail fails failed "
    "lack lacks lacked forbid forbids forbidden prohibit prohibits prohibited".split()
)
_TWO_WORDS = frozenset("no without unless except nor neither instead rather never only against until".split())
_BEFORE = frozenset(
    "am is are was were be been being do does did has have had can could may might must shall should will would "
    "need and but or if why that who which i you he she it we they there".split()
)
_FUNCTION = _BEFORE | frozenset(
    "a an the to of in on at by for from with as than any all only also even yet very so too more just really "
    "ever enough its their his her our your my this these those".split()
)
_LIMITS = frozenset(
    "at most;at least;up to;no more than;no less than;no fewer than;no later than;no earlier than;more than;less than;"
    "fewer than;over;under;above;below;within;exactly".split(";")
)
_DEADLINES = frozenset("by until till before after since".split())
_DONE = frozenset(  # what one does to another, so that either could have done it: `written by` turns no roles
    "accused acquired arrested assassinated attacked beaten betrayed bought captured challenged conquered controlled "
    "criticised criticized defeated expelled hired hit invaded killed married murdered occupied outnumbered overtaken "
    "overthrown owned paid praised replaced ruled shot sold stolen struck succeeded sued taken taught told".split()
)
_HANDED = frozenset(  # behind these `to` and `from` tell who had it and who has it now
    "sold sell sells bought buy buys lent lend lends paid pay pays sent send sends gave give gives given took take "
    "takes taken stole steal steals stolen lost lose loses won win wins ceded cede cedes handed transferred awarded "
    "granted donated leased rented borrowed inherited acquired received captured returned".split()
)
_MONTHS = frozenset(
    "january february march april may june july august september october november december "
    "jan feb mar apr jun jul aug sep sept oct nov dec".split()
)
_TIMES = _MONTHS | frozenset(
    "monday tuesday wednesday thursday friday saturday sunday noon midnight midday dawn dusk christmas easter "
    "today tomorrow yesterday tonight spring summer autumn winter".split()
)
_NUMBERS = frozenset(
    "one two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty fifty sixty seventy "
    "eighty ninety hundred thousand million billion dozen half".split()
)
_YEAR = re.compile(r"(?:1\d|20)\d\d(?:s|['’]s)?|\d{4}-\d\d(?:-\d\d)?")
_CLOCK = re.compile(r"\d{1,2}[:.]\d\d(?:[ap]m)?|\d{1,2}(?:[ap]\.?m\.?|h)")
_DAY = re.compile(r"\d{1,2}(?:st|nd|rd|th)?")
_HALVES = frozenset("am pm a.m p.m o'clock o’clock".split())
_BEFORE_DATE = ARTICLES | frozenset("early late mid end beginning of about around".split())
_LONGEST_GROUP = 6
_REACH = 4  # units from what was handed over to its `to`


def find_groups(document: Document) -> tuple[Spans, Spans, Spans]:
    """Headings, negations with what they negate, and other words that go together; none overlap."""
    headings = [(line.start, line.stop) for line in document.lines if line.whole and line.stop > line.start]
    negations: Spans = []
    bound: Spans = []
    for line in document.lines:
        for a, b in () if line.whole else line.sentences:
            for first, stop, negates in _in_sentence(document.units, a, b):
                (negations if negates else bound).append((first, stop))
    return headings, negations, bound


def _in_sentence(units: Sequence[Unit], a: int, b: int) -> Iterator[tuple[int, int, bool]]:
    done = a
    for i in range(a, b):
        if i < done:
            continue
        if _is_negation(units[i]):
            first = i - 1 if i > done and not units[i - 1].tail and _word(units[i - 1]) in _BEFORE else i
            done = _scope(units, i, b)
            yield first, done, True
            continue
        stop = max(_limit(units, i, b), _deadline(units, i, b), _role(units, a, i, b))
        if stop:
            done = stop
            yield i, done, False


def _scope(units: Sequence[Unit], i: int, end: int) -> int:
    """Where what the negation at `i` negates may be cut off; another negation on the way takes its own scope in."""
    wanted = 2 if _word(units[i]) in _TWO_WORDS else 1
    last = i
    while last + 1 < end and last - i < _LONGEST_GROUP and not units[last].tail:
        last += 1
        if _is_negation(units[last]):
            return _scope(units, last, end)
        if _word(units[last]) not in _FUNCTION:
            wanted -= 1
            if not wanted:
                break
    return last + 1


def _limit(units: Sequence[Unit], i: int, end: int) -> int:
    """Where `at most 3` ends that begins at `i`; 0 where none does."""
    for length in (1, 2, 3):
        said = units[i : min(i + length, end)]
        if len(said) < length or any(unit.tail for unit in said):
            return 0
        if " ".join(map(_word, said)) in _LIMITS:
            at = i + length
            at += at < end and _word(units[at]) in ARTICLES
            stop = _while(_is_number, units, at, end)
            return stop if stop > at else 0
    return 0


def _deadline(units: Sequence[Unit], i: int, end: int) -> int:
    """Where `by 3 March` ends; `by 3 %` is none, nor `after the 1973 crisis`."""
    if units[i].tail or _word(units[i]) not in _DEADLINES:
        return 0
    at = _while(lambda unit: _word(unit) in _BEFORE_DATE and not unit.tail, units, i + 1, min(i + 4, end))
    stop = _while(_is_of_date, units, at, min(at + 4, end))
    if at < stop and _word(units[at - 1]) in ARTICLES and units[at].core.isdecimal() and stop == at + 1:
        return 0
    return stop if any(_says_when(unit) for unit in units[at:stop]) else 0


def _role(units: Sequence[Unit], begin: int, i: int, end: int) -> int:
    """Where `by Acme` ends behind what was done to another, or `to Bolt` behind what was handed over."""
    word = _word(units[i])
    if word not in ("by", "to", "from") or i == begin or units[i].tail or units[i - 1].tail:
        return 0
    at = i + 1
    at += at < end and _word(units[at]) in ARTICLES
    if at == end or not units[at].core[:1].isupper():
        return 0
    if word == "by":
        return at + 1 if _word(units[i - 1]) in _DONE else 0
    before = range(i - 1, max(i - 1 - _REACH, begin - 1), -1)
    clause = itertools.takewhile(lambda k: not units[k].tail, before)
    return at + 1 if any(_word(units[k]) in _HANDED for k in clause) else 0


def _while(holds: Callable[[Unit], bool], units: Sequence[Unit], at: int, end: int) -> int:
    """Where units that hold end; a mark behind one ends them too."""
    while at < end and holds(units[at]):
        at += 1
        if units[at - 1].tail:
            break
    return at


def _word(unit: Unit) -> str:
    return unit.core.lower()


def _is_number(unit: Unit) -> bool:
    return any(map(str.isdigit, unit.core)) or _word(unit) in _NUMBERS


def _is_of_date(unit: Unit) -> bool:
    return _says_when(unit) or _DAY.fullmatch(_word(unit)) is not None or _word(unit) == "of"


def _says_when(unit: Unit) -> bool:
    word = _word(unit)
    return word in _TIMES or word in _HALVES or bool(_YEAR.fullmatch(word) or _CLOCK.fullmatch(word))


def _is_negation(unit: Unit) -> bool:
    word = _word(unit)
    return word in _NEGATIONS or word.endswith(("n't", "n’t"))
