"""Finds negations and modals with what they govern, and numbers that are limits.

A `Cue` is a word or phrase that denies, forbids, allows, demands or limits. What it governs are the next words that
say something; `near` reaches further, for a rewriting may put a word between: `did not get approval`, `not approved`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from compressor_cli.core.fact_tokens import Found, Span, Words
from compressor_cli.core.fact_values import stem

# What a cue does, and the words for it. Those after the stroke are cues only in a compressed text, where they can stand
# for one of the original; in ordinary prose they mean too much else.
_CUES = {
    "neg": "not,never,no,none,nor,neither,without,w o,w out,cannot,can not,nobody,no one,nothing,nowhere,no longer,not yet,"
    "deny,denies,denied,denying,refuse,refuses,refused,refusing,reject,rejects,rejected,rejecting,fail,fails,failed,failing,"
    "lack,lacks,lacked,lacking|non,un,sans,zero,0,absent,absence,missing,unable,impossible,avoid,avoids,avoided,exclude,"
    "excludes,excluded,excluding,exempt,false,nil,null,declined,declines,dont,doesnt,wont,cant,isnt,free,anti,stop,stopped,"
    "invalid,ban,bans,ignored,ignores,ignore,skipped,skips,off,failure,refusal,denial,rejection,ruled out,rules out,rule out,"
    "prevent,prevents,prevented,nope,incapable,inability",
    "forbid": "must not,shall not,forbid,forbids,forbidden,prohibit,prohibits,prohibited,banned,not allowed,not permitted,"
    "not be allowed,not be permitted,mustn't,mustn’t|disallowed,disallow,disallows,off limits,ban,bans,prohibition",
    "maynot": "may not",
    "shouldnot": "should not,ought not,shouldn't,shouldn’t,not recommended|avoid,not advised,discouraged,inadvisable",
    "optional": "need not,needn't,needn’t,not have to,not need to,not required,not necessary,not obliged,not obligatory,no need,"
    "not mandatory,not compulsory|optional,optionally,voluntary,unnecessary,exempt,no obligation,not needed,not req",
    "weak": "hardly,scarcely,barely,rarely,seldom|few,little,almost no,almost never",
    "only": "only,solely,exclusively|just,sole,alone,merely,exclusive,nothing but,no one else,nobody else,restricted,limited",
    "notonly": "not only,not just,not merely,not simply|also,both,as well,plus,besides",
    "except": "except,except for,apart from,other than,with the exception of,save for,aside from|excluding,exclude,excludes,"
    "excluded,excl,excepting,bar,barring,save,besides,exception,exceptions,exempt,minus,all but",
    "unless": "unless|if not,or else,else,otherwise,except if,except when,only if,w o,without,barring",
    "until": "until,till|til,up to,pending,through,thru,before",
    "notuntil": "not until,not before,no earlier than,not earlier than|only after,only from,only once,only when,earliest,after",
    "instead": "instead of,rather than,in place of|instead,vs,replaces,replacing,replaced",
    "against": "against|vs,anti,con,opposed,opposes,oppose,opposing",
    "must": "must,shall,has to,have to,had to,having to,needs to,need to,needed to,required to,obliged to,obligated to,"
    "is required,are required,was required,be required,were required,mandatory,compulsory|required,requires,require,req,"
    "req'd,reqd,needs,need,needed,obliged,obligatory,obligation,due,requirement,duty,to be,necessary,essential",
    "should": "should,ought to,had better|recommended,recommend,recommends,advised,advise,ought,shd,preferably,supposed,"
    "advisable,rec",
    "may": "may,allowed to,permitted to,allowed,permitted,entitled to|might,can,could,possibly,possible,perhaps,maybe,"
    "permissible,ok,allow,allows,permit,permits,eligible,free to,entitled,potentially,potential,able,optional,option,right to",
}  # fmt: skip
_LIMITS = {
    "le": "at most,no more than,not more than,up to,no longer than,no later than,no greater than,no higher than,not later than,"
    "not longer than,a maximum of,maximum of,maximum,not exceed,not exceeding,not to exceed,must not exceed,may not exceed,"
    "cannot exceed,shall not exceed,should not exceed,at the most|max,within,capped at,limited to,limit,cap,latest,by,not over,"
    "not above,limit of,limit is,never exceed",
    "ge": "at least,no less than,no fewer than,not less than,not fewer than,a minimum of,minimum of,minimum,at the least|"
    "min,from,min of,earliest,not under,not below",
    "lt": "less than,fewer than,under,below,lower than,smaller than,younger than,shorter than|sub,short of",
    "gt": "more than,over,above,greater than,higher than,larger than,older than,longer than,exceeding,exceeds,exceeded,exceed,"
    "upwards of,in excess of|beyond,past,topping",
}  # fmt: skip
_AFTER_NUMBER = {
    "or less": "le", "or fewer": "le", "or below": "le", "or under": "le", "or younger": "le", "at most": "le",
    "at the most": "le", "max": "le", "maximum": "le", "or lower": "le", "or shorter": "le", "or earlier": "le",
    "or more": "ge", "or above": "ge", "or older": "ge", "or over": "ge", "or better": "ge", "at least": "ge",
    "at the least": "ge", "min": "ge", "minimum": "ge", "and over": "ge", "and above": "ge", "and older": "ge",
    "and up": "ge", "or higher": "ge", "or longer": "ge", "or later": "ge",
}  # fmt: skip
LIMITS = frozenset(_LIMITS)
_SIGNS = {"≤": "le", "<=": "le", "⩽": "le", "≥": "ge", ">=": "ge", "⩾": "ge", "<": "lt", ">": "gt"}
_SIGN_BEFORE = re.compile(r"(≤|<=|⩽|≥|>=|⩾|(?<![-=<])<|(?<![-=>])>) ?[~≈]?$")
_APART = {"max": "le", "maximum": "le", "limit": "le", "min": "ge", "minimum": "ge"}
_ALLOWED = re.compile(r" (?:be |been )?(allowed|permitted)(?: to)?\b")
_FILLERS = frozenset("about around roughly approximately some a an the nearly of".split())
_SYMBOL = re.compile(r"!=|!(?=[\w(`\"])|[≠¬∉∄⊄✗✘❌✕∅]")
_NT = ("n't", "n’t")
_MODALS = {"must": "forbid", "shall": "forbid", "may": "maynot", "should": "shouldnot", "ought": "shouldnot"}

_PRONOUNS = "i you he she it we they there who which that whom whose this these those me him them us".split()
_AUXILIARY = frozenset(
    "am is are was were be been being do does did has have had having can could may might must shall should will would "
    "need ought get gets got".split()
)
_CONJUNCTION = frozenset(
    "but while when whenever if because although though whereas since so unless until except than where after before "
    "whether once and".split()
)
_RELATIVE = frozenset("who which that whom whose".split())
FUNCTION = (
    frozenset(
        "a an the to of in on at by for from with as any all also even yet very so too more just really ever enough its "
        "their his her our your my own such both each every some other another about into onto upon over under again still "
        "p m pm already anymore why thus then therefore however quite almost always often currently much many most or nor".split()
    )
    | frozenset("not no never only none neither without cannot".split())
    | frozenset(_PRONOUNS)
    | _AUXILIARY
    | _CONJUNCTION
)
_LY_VERBS = frozenset("apply supply reply rely family fly july italy early daily weekly monthly yearly ally comply".split())
_TWO_WORDS = frozenset("no without unless except nor neither instead never only against until".split())
DETERMINERS = frozenset("no none neither nor nobody nothing never nowhere".split())
_BOTH_SIDES = frozenset("except must should may optional forbid until instead against weak".split())
_STOP = re.compile(r"[.;:!?,()\[\]{}|→⇒—]|\n[ \t]*(?:\n|[-*•#>\d])|\s[-–]\s")
_JOINTS = frozenset((" ", "-", "/", "\n", "\u00a0"))
_Limit = tuple[tuple[str, ...], Span, int, int]  # what it does, its span, its words
_LONGEST = 8  # words between a cue and what it governs
_IDIOMS = frozenset(("whether or not", "not to mention", "no doubt", "no matter"))


class Cue(NamedTuple):
    """Word indices: the cue itself is first:stop, `governed` what it bears on, `near` what it may bear on.

    `does`: everything that it can do. `loose`: only notation makes it a cue. A limit governs `number` instead.
    """

    does: tuple[str, ...]
    first: int
    stop: int
    governed: tuple[int, ...]
    near: tuple[int, ...]
    parts: tuple[Span, ...]
    number: Found | None = None
    loose: bool = False


def _table(cues: dict[str, str], column: int) -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for does, line in cues.items():
        for phrase in filter(None, line.partition("|")[2 * column].split(",")):
            table[phrase] = (*table.get(phrase, ()), does)
    return table


def _by_first_word(table: dict[str, tuple[str, ...]]) -> dict[str, list[tuple[list[str], tuple[str, ...]]]]:
    """The longest first."""
    found: dict[str, list[tuple[list[str], tuple[str, ...]]]] = {}
    for phrase in sorted(table, key=len, reverse=True):
        words = phrase.split(" ")
        found.setdefault(words[0], []).append((words, table[phrase]))
    return found


_PLAIN, _LOOSE = _by_first_word(_table(_CUES, 0)), _by_first_word(_table(_CUES, 1))
_PLAIN_LIMITS = _table(_LIMITS, 0)
_LOOSE_LIMITS = _table(_LIMITS, 1) | _PLAIN_LIMITS
_LIMIT_ENDS = frozenset(phrase.split(" ")[-1] for phrase in _LOOSE_LIMITS)
_WORD_LIMITS = {
    phrase: _PLAIN_LIMITS[phrase]
    for phrase in ("at least", "at most", "no more than", "not more than", "no less than", "no fewer than", "no later than")
}
for _phrase, _does in _WORD_LIMITS.items():  # also of what is no number: at least the manager
    _PLAIN.setdefault(_phrase.split(" ")[0], []).insert(0, (_phrase.split(" "), _does))


def cues(words: Words, numbers: Iterable[Found], loose: bool = False) -> list[Cue]:
    """Sorted. `loose`: also what can stand for a cue in compressed notation."""
    found = list(_limits(words, numbers, loose))
    busy = {k for cue in found for k in range(cue.first, cue.stop)}
    found += _phrases(words, busy, _PLAIN)
    if loose:
        busy |= {k for cue in found for k in range(cue.first, cue.stop)}
        found += _phrases(words, busy - {k for cue in found if cue.does[0] == "neg" for k in (cue.first,)}, _LOOSE)
        found += _symbols(words)
    found.sort(key=lambda cue: (cue.first, cue.stop))
    return found


def _limits(words: Words, numbers: Iterable[Found], loose: bool) -> Iterator[Cue]:
    for number in numbers:
        i = words.at(number.start)
        found = _limit_before(words, number, i, _PLAIN_LIMITS) or _limit_after(words, number)
        if loose and not found:
            found = _limit_before(words, number, i, _LOOSE_LIMITS) or _limit_apart(words, i)
        if found:
            does, span, first, stop = found
            parts = tuple(sorted((span, *number.parts)))
            yield Cue(does, first, stop, (), (), parts, number)


def _limit_before(words: Words, number: Found, i: int, table: dict[str, tuple[str, ...]]) -> _Limit | None:
    text = words.text
    if match := _SIGN_BEFORE.search(text, max(0, number.start - 4), number.start):
        return (_SIGNS[match[1]],), match.span(1), i, i
    j = i
    while j and i - j < 2 and words.words[j - 1] in _FILLERS and " ".join(words.words[max(0, j - 2) : j]) not in table:
        j -= 1
    if not j or words.words[j - 1] not in _LIMIT_ENDS or words.taken[words.starts[j - 1]]:
        return None
    if text[words.ends[j - 1] : words.starts[j] if j < i else number.start].strip(" -:~≈\n\u00a0") != "":
        return None
    for n in (4, 3, 2, 1):
        phrase = " ".join(words.words[j - n : j]) if n <= j else ""
        if phrase in table and not (phrase == "over" and _lasts(words, number, j - 1)):
            return table[phrase], (words.starts[j - n], words.ends[j - 1]), j - n, j
    return None


def _limit_apart(words: Words, i: int) -> _Limit | None:
    """max speed 80 km/h."""
    for j in range(i - 2, max(-1, i - 4), -1):
        if _STOP.search(words.gap(j + 1)):
            break
        if words.words[j] in _APART and not words.taken[words.starts[j]]:
            return (_APART[words.words[j]],), (words.starts[j], words.ends[j]), j, j + 1
    return None


def _lasts(words: Words, number: Found, over: int) -> bool:
    """`over five years` is a limit after `for`, else the time that something took."""
    value = number.value
    time = isinstance(value, tuple) and value[-1] in ("s", "month")
    return time and (not over or words.words[over - 1] not in ("for", "than", "just", "of", "is", "was", "lasted", "takes", "took"))


def _limit_after(words: Words, number: Found) -> _Limit | None:
    text, k = words.text, words.at(number.end)
    if text[number.end : number.end + 1] == "+" and not text[number.end + 1 : number.end + 2].isalnum():
        return ("ge", "gt"), (number.end, number.end + 1), k, k
    for skip in (0, 1):
        first = k + skip
        if first < len(words.words) and words.words[first] in ("or", "and", "at", "max", "min", "maximum", "minimum"):
            for n in (3, 2, 1):
                phrase = " ".join(words.words[first : first + n])
                if first + n <= len(words.words) and phrase in _AFTER_NUMBER and (not skip or phrase.startswith("or")) and not _STOP.search(words.gap(first)[:3].strip(",")):
                    return (_AFTER_NUMBER[phrase],), (words.starts[first], words.ends[first + n - 1]), first, first + n
    return None


def _phrases(words: Words, busy: set[int], table: dict[str, list[tuple[list[str], tuple[str, ...]]]]) -> Iterator[Cue]:
    done = 0
    places = [i for i, word in enumerate(words.words) if word in table]
    if table is _PLAIN:
        places = sorted({*places, *(i for i in words.odd if words.words[i][-3:] in _NT)})
    for i in places:
        if i < done or i in busy or words.taken[words.starts[i]] or _means_else(words, i):
            continue
        does, stop = _longest(words, i, table)
        if does:
            cue = _cue(words, i, stop, does)._replace(loose=table is _LOOSE)
            done = cue.stop
            yield cue


def _longest(words: Words, i: int, table: dict[str, list[tuple[list[str], tuple[str, ...]]]]) -> tuple[tuple[str, ...], int]:
    word = words.words[i]
    for phrase, does in table.get("not" if word[-3:] in _NT and word not in table else word, ()):
        stop = i + len(phrase)
        if words.words[i + 1 : stop] == phrase[1:] and all(words.gap(k) in _JOINTS for k in range(i + 1, stop)):
            return does, stop
    return (("neg",), i + 1) if word[-3:] in _NT else ((), i)


def _means_else(words: Words, i: int) -> bool:
    word, start = words.words[i], words.starts[i]
    if word == "no":
        return words.text[start + 2 : start + 4].strip(" ") == "." and words.text[start + 3 : start + 5].strip().isdigit()
    if word in ("may", "none") and words.text[start].isupper():
        return not words.begins_sentence(i)  # the month, and Python's None
    if word == "should" and i + 1 < len(words.words) and words.begins_sentence(i):
        return words.words[i + 1] in _PRONOUNS  # should you wish
    if word == "must":
        return bool(i) and words.words[i - 1] == "a"
    if word == "w":
        return words.text[start + 1 : start + 2] != "/"
    return word in ("whether", "not", "no") and any(" ".join(words.words[k : k + 3]).startswith(tuple(_IDIOMS)) for k in (i, i - 2) if k >= 0)


def _cue(words: Words, first: int, stop: int, does: tuple[str, ...]) -> Cue:
    main, word = does[0], words.words[first]
    spans = [(words.starts[first], words.ends[stop - 1])]
    if word in _MODALS and stop == first + 1:  # must therefore not
        for k in range(stop, min(stop + 3, len(words.words))):
            if words.words[k] in ("not", "never") and not _STOP.search(words.gap(k)):
                main, stop = _MODALS[word], k + 1
                does = (main,)
                spans.append((words.starts[k], words.ends[k]))
                break
            if not words.words[k].endswith("ly") and words.words[k] not in ("therefore", "also", "still", "of", "course", "be"):
                break
    if main in ("neg", "forbid", "maynot") and (allowed := _ALLOWED.match(words.lower, words.ends[stop - 1])):
        main, does = "forbid", ("forbid",)  # must never be allowed to
        stop = words.at(allowed.end())
        spans.append((allowed.start(1), allowed.end()))
    wanted = 2 if word in _TWO_WORDS else 1
    governed = _ahead(words, stop, wanted)
    near = _ahead(words, stop, 3, main, word)
    if not governed:
        governed = _behind(words, first, 1)
        near = _behind(words, first, 3)
    elif main in _BOTH_SIDES or word[:4] in ("deni", "refu", "reje", "forb", "proh", "bann", "fail", "excl", "exem", "miss"):
        near = (*near, *_behind(words, first, 3))
    elif main == "only" and (stop >= len(words.words) or _STOP.search(words.gap(stop)) or words.words[stop] in FUNCTION):
        near = (*near, *_behind(words, first, 2))
    elif word == "not" and first and words.gap(first) == " " and words.words[first - 1] not in FUNCTION:
        near = (*near, first - 1)  # hardens not by drying
    spans += [(words.starts[k], words.ends[k]) for k in governed]
    return Cue(does, first, stop, governed, near, tuple(sorted(spans)))


def _ahead(words: Words, k: int, wanted: int, does: str = "", cue: str = "", joined: bool = False) -> tuple[int, ...]:
    """The next words that say something. With `does`, as far as that reaches: not into the next clause."""
    found: list[int] = []
    for i in range(k, min(k + _LONGEST + wanted, len(words.words))):
        if _STOP.search(words.gap(i)) and not (joined and i == k):
            break
        word = words.words[i]
        if word in FUNCTION or (word.endswith("ly") and word not in _LY_VERBS and _goes_on(words, i + 1)):
            if does and found and (word in _CONJUNCTION or word in _RELATIVE or (word in _AUXILIARY and cue not in DETERMINERS)):
                break
            continue
        found.append(i)
        if len(found) == wanted:
            break
    return tuple(found)


def _goes_on(words: Words, i: int) -> bool:
    return i < len(words.words) and not _STOP.search(words.gap(i)) and words.words[i] not in FUNCTION


def _behind(words: Words, first: int, wanted: int) -> tuple[int, ...]:
    found: list[int] = []
    for i in range(first - 1, max(first - 1 - _LONGEST, -1), -1):
        if _STOP.search(words.gap(i + 1)):
            break
        if words.words[i] not in FUNCTION:
            found.append(i)
            if len(found) == wanted:
                break
    return tuple(sorted(found))


def _symbols(words: Words) -> Iterator[Cue]:
    for match in _SYMBOL.finditer(words.text):
        i = words.at(match.end())
        before = _behind(words, i, 2) if match.group() not in "!¬" else ()
        near = (*_ahead(words, i, 3, "neg", joined=True), *before)
        yield Cue(("neg", "instead", "except"), i, i, near[:1], near, (match.span(),))


def governs(words: Words, cue: Cue) -> tuple[str, str]:
    """What a cue does and the stem of what it does it to."""
    return cue.does[0], stem(words.words[cue.governed[0]]) if cue.governed else ""
