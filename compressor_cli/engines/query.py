"""What of a document bears on a question, by the words that both share.

An answer starts where the model expects answers, in sentences that BM25 ranks high, near words of the question, and at
what the question asks for: a name after who, a number after how many. Together these move the answers that the model
expects to where the question points; their sum stays, and with it what a token may cost.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import log

import numpy as np
from numpy.typing import NDArray

from compressor_cli.engines.layout import Document, Unit
from compressor_cli.engines.select import Bools
from compressor_cli.engines.worth import Worth

Hits = dict[str, NDArray[np.int64]]  # the units that hold each word of the question
Doubles = NDArray[np.float64]

_UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # kana and Chinese characters
_WORD = re.compile(rf"([{_UNSPACED}]+)|\d+(?:[.,]\d+)*|[^\W\d_{_UNSPACED}]+")
_ENDINGS = (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", "e"), ("s", ""))
_EVERYWHERE = frozenset(
    "i me my we our ours us you your yours he him his she her hers it its they them their theirs this that these those "
    "am is are was were be been being have has had having do does did doing done a an the and but if or because as "
    "until while of at by for with about against between into through during before after above below to from up down "
    "in out on off over under again further then once here there when where why how what which who whom whose all any "
    "both each few more most other some such no nor not only own same so than too very also can could will would "
    "should may might must shall just s t d ll m re ve don doesn didn isn aren wasn weren won wouldn couldn shouldn "
    "summarize summarise summary describe explain tell discuss discussed discussing discussion list name mention "
    "mentioned think thought say said".split()
)

# Chosen on XQuAD's odd articles and on meetings; docs/experiments.md.
_K1, _B = 1.2, 0.75
_ABOVE = 0.5  # of an occurrence: a word in the headings above a sentence, or in the name of who speaks
_SENTENCE = 2.5  # log odds of the best sentence over one that shares no word with the question
_NEAR = 3.0  # the same for being near all of its words
_REACH = 16.0  # units
_FITS = 2.0  # what the question asks for
_ASKED = -1.5  # a word of the question is seldom the answer
_LINK_WORTH = 0.05  # of such a word in the best sentence: it tells the reader what the answer is about
_HEADING = 0.5  # of what the best sentence below it counts
_START_POWER = 0.7  # of the model's chances
_LEAST_START = 1e-4

_MONTHS = frozenset(
    "january february march april may june july august september october november december "
    "jan feb mar apr jun jul aug sep sept oct nov dec".split()
)
_NUMBERS = frozenset(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred hundreds thousand thousands "
    "million millions billion billions dozen dozens half quarter once twice several first second third fourth "
    "fifth".split()
)
_YEAR = re.compile(r"(?:1\d|20)\d\d(?:['’]?s)?(?:[–-]\d+)?")
_DEGREES = frozenset("many much old long far often large tall big high fast few".split())  # after how
_NOUNS = {  # after what and which
    "date": "year years date dates month day decade century time era",
    "number": "percentage percent number amount age population size length score cost price rate proportion fraction "
    "distance height weight temperature speed",
    "name": "person man woman player president king queen emperor author actor singer company team organization "
    "organisation group pope leader city country state county town place location continent region nation river street "
    "island village stadium building university school",
}
_KIND_OF_NOUN = {noun: kind for kind, nouns in _NOUNS.items() for noun in nouns.split()}
_KIND_OF_WORD = {"who": "name", "whom": "name", "whose": "name", "where": "name", "when": "date", "why": "word"}
_FITTING = {  # by what is asked for, how much of a fit each kind is; dates seldom answer what is no question of time
    "date": {"date": 1.0, "number": 0.5},
    "number": {"number": 1.0, "date": -0.75},
    "name": {"name": 1.0, "date": -0.75},
    "word": {"date": -0.75},
}


@dataclass(frozen=True)
class Bearing:
    """One entry a unit: log odds, by the question alone, that the answer starts there; the BM25 of its sentence as a
    share of the best; whether it is a word of the question. `headings`: their units, and where what they head ends.
    """

    odds: Doubles
    share: Doubles
    asked: Bools
    headings: tuple[tuple[int, int, int], ...]


def find_bearing(document: Document, query: str) -> Bearing | None:
    """None where the question shares no word with the units and speakers of the document."""
    wanted = set(_terms(query, _EVERYWHERE))
    spans = [span for line in document.lines for span in line.sentences]
    hits = _hits(document.units, wanted)
    headings = tuple(_headings(document))
    counts = _counts(document, [a for a, _ in spans], hits, headings, wanted)
    if not counts:
        return None
    # A word is as rare as the sentences that hold it, not those below a heading that does.
    found = {term: int(np.sum(count >= 1) or np.sum(count > 0)) for term, count in counts.items()}
    idf = {term: log(1 + (len(spans) - n + 0.5) / (n + 0.5)) for term, n in found.items()}
    lengths = np.array([b - a for a, b in spans])
    share = np.repeat(_bm25(counts, idf, lengths), lengths)
    odds = _SENTENCE * share + _NEAR * _nearness(hits, idf, len(document.units))
    odds += _FITS * _fitting(document.units, asked_for(query))
    asked = np.zeros(len(odds), dtype=bool)
    for at in hits.values():
        asked[at] = True
    return Bearing(odds, share, asked, headings)


def aim(worth: Worth, bearing: Bearing) -> Worth:
    """The same groups and costs. Bonuses count as the sentence does, a heading as the best sentence below it."""
    problem = worth.problem
    odds, asked = bearing.odds.copy(), bearing.asked.copy()
    for first, stop in worth.groups:
        odds[first], asked[first] = odds[first:stop].max(), asked[first:stop].all()
    chance = np.maximum(problem.start, _LEAST_START) ** _START_POWER * np.exp(odds - odds.max() + _ASKED * asked)
    members = [i for sentence in problem.sentences for i in sentence]
    expected, moved = problem.start[members].sum(), chance[members].sum()
    start = np.minimum(chance * (expected / moved if members else 1.0), 1.0)
    weight = np.zeros(len(start))
    for sentence in problem.sentences:
        weight[sentence] = start[sentence].sum()
    weight /= weight.max() or 1.0
    for first, stop, end in reversed(bearing.headings):
        weight[first:stop] = _HEADING * weight[first:end].max()
    bonus = problem.bonus * weight + _LINK_WORTH * bearing.share * asked
    aimed = replace(problem, start=start.astype(np.float32), bonus=bonus.astype(np.float32))
    return replace(worth, problem=aimed)


def asked_for(query: str) -> str | None:
    """The kind of unit that answers the question: date, number, name or word (any but dates); None for no question."""
    words = re.findall(r"\w+", query.lower())
    for i, word in enumerate(words):
        if word in _KIND_OF_WORD:
            return _KIND_OF_WORD[word]
        following = words[i + 1 : i + 3]
        if word == "how":
            return "number" if following and following[0] in _DEGREES else "word"
        if word in ("what", "which"):
            return next((_KIND_OF_NOUN[noun] for noun in following if noun in _KIND_OF_NOUN), "word")
    return None


def kind_of(core: str) -> str:
    lower = core.lower()
    if lower in _MONTHS or _YEAR.fullmatch(core):
        return "date"
    if lower in _NUMBERS or any(map(str.isdigit, core)):
        return "number"
    return "name" if core[:1].isupper() else "word"


def _fitting(units: Sequence[Unit], kind: str | None) -> Doubles:
    fits = _FITTING.get(kind or "", {})
    known = {core: fits.get(kind_of(core), 0.0) for core in {unit.core for unit in units}} if fits else {}
    return np.array([known.get(unit.core, 0.0) for unit in units])


def _terms(text: str, without: frozenset[str] = frozenset()) -> Iterator[str]:
    """Stems of words; pairs of characters where no spaces are written."""
    for match in _WORD.finditer(text.lower()):
        word = match.group()
        if match.group(1):
            yield from (word[i : i + 2] for i in range(max(len(word) - 1, 1)))
        elif word not in without:
            yield _stem(word)


def _stem(word: str) -> str:
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)] + instead
            break
    return word[:-1] if word.endswith("e") and len(word) > 4 else word


def _hits(units: Sequence[Unit], wanted: set[str]) -> Hits:
    known: dict[str, set[str]] = {}
    found: dict[str, list[int]] = {}
    for i, unit in enumerate(units):
        if unit.core not in known:
            known[unit.core] = wanted.intersection(_terms(unit.core))
        for term in known[unit.core]:
            found.setdefault(term, []).append(i)
    return {term: np.array(found[term]) for term in sorted(found)}


def _headings(document: Document) -> Iterator[tuple[int, int, int]]:
    """Of each heading its units start:stop, and where the part ends that it heads."""
    lines = [line for line in document.lines if line.whole and line.stop > line.start]
    for n, line in enumerate(lines):
        level = line.prefix.count("#")
        below = (other.start for other in lines[n + 1 :] if other.prefix.count("#") <= level)
        yield line.start, line.stop, next(below, len(document.units))


def _counts(
    document: Document, begins: list[int], hits: Hits, headings: Sequence[tuple[int, int, int]], wanted: set[str]
) -> dict[str, Doubles]:
    """How often each term stands in each sentence, and a part of that for the headings and the speaker above it."""
    counts = {
        term: np.bincount(np.searchsorted(begins, at, side="right") - 1, minlength=len(begins)).astype(np.float64)
        for term, at in hits.items()
    }
    above = [(stop, end, _terms(" ".join(u.core for u in document.units[a:stop]))) for a, stop, end in headings]
    above += [(line.start, line.stop, _terms(line.prefix)) for line in document.lines if line.prefix.strip()]
    for start, stop, terms in above:
        for term in wanted.intersection(terms) if stop > start else ():
            count = counts.setdefault(term, np.zeros(len(begins)))
            count[bisect_left(begins, start) : bisect_left(begins, stop)] += _ABOVE
    return dict(sorted(counts.items()))  # sums of floats depend on the order


def _bm25(counts: dict[str, Doubles], idf: dict[str, float], lengths: NDArray[np.int64]) -> Doubles:
    """Of each sentence, as a share of the best."""
    score = np.zeros(len(lengths))
    saturation = _K1 * (1 - _B + _B * lengths / lengths.mean())
    for term, count in counts.items():
        score += idf[term] * count * (_K1 + 1) / (count + saturation)
    best: float = score.max()
    return score / best


def _nearness(hits: Hits, idf: dict[str, float], size: int) -> Doubles:
    """How near each unit is to all words of the question, as a share of the nearest."""
    here = np.arange(size)
    total = np.zeros(size)
    for term, at in hits.items():
        after = np.searchsorted(at, here)
        ahead = np.where(after < len(at), at[np.minimum(after, len(at) - 1)] - here, size)
        behind = np.where(after > 0, here - at[np.maximum(after - 1, 0)], size)
        total += idf[term] * np.exp(-np.minimum(ahead, behind) / _REACH)
    return total / (total.max() or 1.0)
