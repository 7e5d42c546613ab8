"""What `scc` is compared with.

For prose, each ranks the words of a text and keeps as many of the first as the budget takes. Words are kept in their
order, with a line break where one stood between them, and whole. For code, comments are taken out without a parser.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate

import numpy as np

from compressor_cli.core.metrics import ARTICLES, STOP_WORDS, bare, words

System = Callable[[str, int], str]
Count = Callable[[str], int]
_TRIES = 64  # words that are tried one by one for what is left of a budget
_PIECE = re.compile(r"(\s*)(\S+)")
_LAST_WORD = re.compile(r"[.!?][\"”’')\]]*$")
_ABBREVIATED = re.compile(r"\W*(?:[A-Z]|(?:[A-Z]\.)+[A-Z]|Mr|Mrs|Ms|Dr|St|No|vs|ca?|e\.g|i\.e)\.$")
_SUFFIXES = ("ies", "ing", "ed", "es", "s", "e")


def truncation(count: Count) -> System:
    """The first words. What does not fit ends the text: a later word would no longer be truncation."""
    return _ranked(count, lambda words: range(len(words)), tries=0)


def beginning(count: Count) -> System:
    """The first words with the white space between them as it is: of code, that is tokens too."""

    def system(text: str, budget: int) -> str:
        ends = [0, *(found.end() for found in _PIECE.finditer(text))]
        low, high = 0, len(ends) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if count(text[: ends[middle]]) <= budget else (low, middle - 1)
        return text[: ends[low]]

    return system


def random_words(count: Count, seed: int) -> System:
    """Seeded by the text as well, so that the order in which texts come does not matter."""

    def rank(words: Sequence[str]) -> list[int]:
        rng = np.random.default_rng([seed, zlib.crc32(" ".join(words).encode())])
        return list(map(int, rng.permutation(len(words))))

    return _ranked(count, rank)


def without_articles(count: Count) -> System:
    """Truncation, once the words are gone that the normalisation of answers ignores."""
    return _ranked(count, lambda words: sorted(range(len(words)), key=lambda i: bare(words[i]) in ARTICLES))


def without_stop_words(count: Count) -> System:
    """Stop words go first, and of them articles. Still too long: words go from the end (dropping them at random was
    weaker: .44 against .61 at half the tokens). Room left: stop words come back from the beginning."""

    def rank(words: Sequence[str]) -> list[int]:
        plain = [bare(word) for word in words]
        return sorted(range(len(words)), key=lambda i: (plain[i] in STOP_WORDS, plain[i] in ARTICLES))

    return _ranked(count, rank)


def self_information(count: Count, passages: Sequence[str]) -> System:
    """Rare words are kept: the fewer of the passages hold a word, the more it tells. Words within a factor of four are
    equally rare, and then the first is kept: finer classes were weaker, as more names lost a part."""
    frequency: Counter[str] = Counter()
    for passage in passages:
        frequency.update({bare(word) for word in passage.split()})

    def rank(words: Sequence[str]) -> list[int]:
        classes = [int(math.log(max(frequency[bare(word)], 1), 4)) for word in words]
        return sorted(range(len(words)), key=classes.__getitem__)

    return _ranked(count, rank)


def bm25(count: Count, query: str, *, lines: bool = False, articles: bool = True) -> System:
    """Sentences, or lines, in the order of their BM25 (k1 1.2, b .75) for the query: whole, but for the last, of which
    the beginning is kept. Terms are stemmed and no stop words; without `articles` these come last of all."""
    wanted = sorted({_term(word) for word in words(query)} - {""})

    def system(text: str, budget: int) -> str:
        pieces = _PIECE.findall(text)
        parts = _lines(pieces) if lines else _sentences(pieces)
        scores = _bm25(wanted, [[_term(bare(pieces[i][1])) for i in part] for part in parts])
        order = [i for n in sorted(range(len(parts)), key=lambda n: -scores[n]) for i in parts[n]]
        if not articles:
            order.sort(key=lambda i: bare(pieces[i][1]) in ARTICLES)
        return _fill(pieces, order, budget, count, tries=0)

    return system


def _bm25(wanted: Sequence[str], parts: Sequence[Sequence[str]]) -> list[float]:
    lengths = [sum(map(bool, part)) for part in parts]
    mean = sum(lengths) / len(parts) or 1.0
    holding = {term: sum(term in part for part in parts) for term in wanted}
    scores = []
    for part, length in zip(parts, lengths, strict=True):
        counts = Counter(part)
        scores.append(
            sum(
                math.log(1 + (len(parts) - holding[term] + 0.5) / (holding[term] + 0.5))
                * (counts[term] * 2.2 / (counts[term] + 1.2 * (0.25 + 0.75 * length / mean)))
                for term in wanted
            )
        )
    return scores


def _term(word: str) -> str:
    """A light stem; nothing of a stop word."""
    if word in STOP_WORDS:
        return ""
    word = word.removesuffix("'s")
    suffix = next((suffix for suffix in _SUFFIXES if word.endswith(suffix) and len(word) - len(suffix) >= 3), "")
    stem = word if word.endswith("ss") else word.removesuffix(suffix) + ("y" if suffix == "ies" else "")
    return stem[:-1] if stem.endswith("e") and len(stem) > 4 else stem


def _sentences(pieces: Sequence[tuple[str, str]]) -> list[list[int]]:
    parts: list[list[int]] = [[]]
    for i, (space, word) in enumerate(pieces):
        before = pieces[i - 1][1] if i else ""
        ended = (
            _LAST_WORD.search(before) and not _ABBREVIATED.match(before) and not word.lstrip("\"“‘'([")[:1].islower()
        )
        if i and (ended or "\n" in space):
            parts.append([])
        parts[-1].append(i)
    return parts


def _lines(pieces: Sequence[tuple[str, str]]) -> list[list[int]]:
    parts: list[list[int]] = [[]]
    for i, (space, _) in enumerate(pieces):
        if i and "\n" in space:
            parts.append([])
        parts[-1].append(i)
    return parts


def _ranked(count: Count, rank: Callable[[Sequence[str]], Sequence[int]], tries: int = _TRIES) -> System:
    def system(text: str, budget: int) -> str:
        pieces = _PIECE.findall(text)
        return _fill(pieces, rank([word for _, word in pieces]), budget, count, tries)

    return system


def _fill(pieces: Sequence[tuple[str, str]], order: Sequence[int], budget: int, count: Count, tries: int) -> str:
    """The longest beginning of `order` within the budget, then what follows in it as far as single words fit."""
    lines = list(accumulate("\n" in space for space, _ in pieces))
    low, high = 0, len(order)
    while low < high:
        middle = (low + high + 1) // 2
        if count(_joined(pieces, lines, order[:middle])) <= budget:
            low = middle
        else:
            high = middle - 1
    kept = list(order[:low])
    text = _joined(pieces, lines, kept)
    room = budget - count(text)
    for i in order[low : low + tries]:
        if room <= 0:
            break
        trial = _joined(pieces, lines, [*kept, i])
        size = count(trial)
        if size <= budget:
            kept, text, room = [*kept, i], trial, budget - size
    return text


def _joined(pieces: Sequence[tuple[str, str]], lines: Sequence[int], kept: Sequence[int]) -> str:
    """`lines`: how many line breaks stand before each piece."""
    parts: list[str] = []
    line = 0
    for i in sorted(kept):
        if parts:
            parts.append("\n" if lines[i] > line else " ")
        line = lines[i]
        parts.append(pieces[i][1])
    return "".join(parts)


# Strings stay, so that no sign of a comment inside of one counts; in Python one that stands alone on its lines is taken
# for a docstring. What a regular expression cannot know: a regex literal, a heredoc, an argument on lines of its own.
_STRING = r"""\"(?:\\.|[^\"\\\n])*+\"|'(?:\\.|[^'\\\n])*+'"""
_LONG_STRING = r"""(?P<quotes>\"{3}|'{3})(?:\\.|(?!(?P=quotes))[\s\S])*+(?P=quotes)"""
_DOCSTRING = _LONG_STRING.replace("quotes", "marks")
_BLOCK = r"/\*[\s\S]*?\*/"
_SLASHES = f"//.*|{_BLOCK}"
_COMMENTS = {
    "python": "#(?!!).*",
    "ruby": "#(?!!).*",
    "shell": r"(?<!\S)#(?!!).*",
    "php": f"#(?!\\[).*|{_SLASHES}",
    "sql": f"--.*|{_BLOCK}",
    "lua": r"--\[\[[\s\S]*?\]\]|--.*",
    "css": _BLOCK,
}


def without_comments(text: str, language: str) -> str:
    """Comments, docstrings and blank lines taken out by regular expressions, as scripts for the purpose do it."""
    return _stripper(language).sub(lambda found: found["kept"] or "", text)


@lru_cache(maxsize=32)
def _stripper(language: str) -> re.Pattern[str]:
    comment = _COMMENTS.get(language, _SLASHES)
    docstrings = [rf"^[ \t]*+[rRuU]?{_DOCSTRING}[ \t]*+(?:\n|\Z)"] if language == "python" else []
    strings = f"{_LONG_STRING}|{_STRING}" if language == "python" else rf"{_STRING}|`(?:\\.|[^`\\])*+`"
    whole_lines = rf"^[ \t]*+(?:{comment})[ \t]*+(?:\n|\Z)"
    blank = r"^(?:[ \t]*+\n)++|[ \t]++$"
    parts = [*docstrings, f"(?P<kept>{strings})", whole_lines, rf"[ \t]*+(?:{comment})", blank]
    return re.compile("|".join(parts), re.MULTILINE)
