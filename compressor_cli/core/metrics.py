"""What is measured on a compressed text: answers, words, runs of words and negations that are still there."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = frozenset(string.punctuation)
_WORD = re.compile(r"\w+(?:['’.,-]\w+)*")
_NEGATIONS = frozenset("not no never none nor neither without cannot unless".split())
Share = tuple[float, float]  # a part, and the whole that it is of
_UNREACHED = -1
_AT_ONCE = 100  # resamples
ARTICLES = frozenset(("a", "an", "the"))

# A common English list of stop words (that of NLTK, without the halves of contractions).
STOP_WORDS = frozenset(
    "i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers "
    "herself it its itself they them their theirs themselves what which who whom this that these those am is are "
    "was were be been being have has had having do does did doing a an the and but if or because as until while of "
    "at by for with about against between into through during before after above below to from up down in out on "
    "off over under again further then once here there when where why how all any both each few more most other "
    "some such no nor not only own same so than too very can will just don't should now aren't couldn't didn't "
    "doesn't hadn't hasn't haven't isn't wasn't weren't won't wouldn't it's i'm i've we're we've you're that's "
    "there's he's she's they're".split()
)


def normalise(text: str) -> str:
    """As the SQuAD scorer does: lower case, no punctuation, no articles, single spaces."""
    bare = "".join(char for char in text.lower() if char not in _PUNCTUATION)
    return " ".join(_ARTICLE.sub(" ", bare).split())


def stands_in(answer: str, normalised: str) -> bool:
    """Contiguously and at word bounds; an answer that normalises to nothing stands nowhere."""
    wanted = normalise(answer)
    return bool(wanted) and f" {wanted} " in f" {normalised} "


def words(text: str) -> list[str]:
    """Lower-cased; what joins the halves of `don't`, `1,274` and `well-known` is part of the word."""
    return _WORD.findall(text.lower().replace("’", "'"))


def bare(word: str) -> str:
    """A word cut at white space, as `words` would give it."""
    found = words(word)
    return found[0] if found else word.lower()


def kept_runs(original: Sequence[str], output: Sequence[str]) -> tuple[int, int]:
    """How many words of `output` are words of `original` in its order, and in how few unbroken runs they stand.

    A word that occurs often could be matched to several places. Taking the first would break runs that are whole, so
    of all alignments the one with the fewest runs counts, for every system alike: `best[p]` is the largest number of
    neighbours kept so far when the last word stands at p. Words that have no place left in the original are passed
    over.
    """
    places: dict[str, list[int]] = {}
    for at, word in enumerate(original):
        places.setdefault(word, []).append(at)
    arrays = {word: np.array(where) for word, where in places.items()}
    last: NDArray[np.int64] = np.array([-2])  # before the text, and a neighbour of nothing
    best: NDArray[np.int64] = np.array([0])
    matched = 0
    for word in output:
        where = arrays.get(word)
        if where is None:
            continue
        below = np.searchsorted(last, where, side="left") - 1
        reach = np.maximum.accumulate(best)
        value = np.where(below >= 0, reach[below], _UNREACHED)
        value = np.where((below >= 0) & (last[below] == where - 1), np.maximum(value, best[below] + 1), value)
        possible = value != _UNREACHED
        if possible.any():
            last, best = where[possible], value[possible]
            matched += 1
    return matched, matched - int(best.max())


def negations(text_words: Sequence[str]) -> Counter[str]:
    return Counter(word for word in text_words if word in _NEGATIONS or word.endswith("n't"))


def negations_kept(original: Sequence[str], output: Sequence[str]) -> tuple[int, int]:
    """Kept, and there."""
    there = negations(original)
    return (there & negations(output)).total(), there.total()


def content_words(answer: str, standing: frozenset[str]) -> frozenset[str]:
    """Words of a reference answer that a text could keep at all: no stop words, and in the text."""
    return (frozenset(words(answer)) - STOP_WORDS) & standing


def paired_interval(
    ours: Sequence[float], theirs: Sequence[float], asked: Sequence[float], *, resamples: int, seed: int
) -> tuple[float, float]:
    """95 % bootstrap interval of the difference in survival. One entry a paragraph: its questions share a text, so
    they are drawn together."""
    pairs = (list(zip(found, asked, strict=True)) for found in (ours, theirs))
    return interval_of_shares(*pairs, resamples=resamples, seed=seed)


def interval_of_shares(
    ours: Sequence[Share], theirs: Sequence[Share], *, resamples: int, seed: int
) -> tuple[float, float]:
    """95 % bootstrap interval of the difference between two shares of sums, one entry a text, drawn in pairs."""
    rng = np.random.default_rng(seed)
    both: NDArray[np.float64] = np.array([ours, theirs], dtype=np.float64)  # system, text, part and whole
    differences = []
    for first in range(0, resamples, _AT_ONCE):  # some at a time: there can be many thousand texts
        drawn = rng.integers(0, both.shape[1], size=(min(_AT_ONCE, resamples - first), both.shape[1]))
        parts, wholes = both[:, drawn, 0].sum(axis=2), both[:, drawn, 1].sum(axis=2)
        shares = parts / np.maximum(wholes, 1)
        differences.append(shares[0] - shares[1])
    low, high = np.percentile(np.concatenate(differences), (2.5, 97.5))
    return float(low), float(high)
