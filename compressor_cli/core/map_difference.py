"""A text written down in the light of its compressed form, word by word, and read again.

Of each word it is told whether it is the next one of the compressed text; what stands before it; and, where compression
left it out, which word it is: one that followed on the same word earlier, a known one, or a new one in letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import StringIO
from itertools import chain, islice
from sys import intern

from compressor_cli.core.map_align import align
from compressor_cli.core.map_coder import Coder, Reader, Writer
from compressor_cli.core.map_models import MEMORY, Chances, Contexts, Letters, Vocabulary, separators
from compressor_cli.core.map_words import SEPARATORS, WORDS

# Fixed ranges, since `\w` is not the same in every Python, and a map outlives one: digits, letters, and all from Latin
# letters on but general punctuation, symbols, and the punctuation of Chinese and Japanese.
_WORD = re.compile("[0-9A-Za-zªµº\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u1fff\u2c00-\u2dff\u3040-\U0010ffff]+")
_BLOCK = 1 << 14  # words aligned and coded at a time, so that memory stays flat
_LONGEST = 1 << 16  # characters of a word, or between two; what has longer ones is no text
_END, _SKIP = ".", ""  # words that no text has: the one after the last; a compressed word that is not in the text


def write_difference(text: str, compressed: str, most: int) -> bytes | None:
    """None where it would be longer than `most` bytes, or seems to on the way there: noise is given up early."""
    coder = Writer()
    walk = _Walk(coder, compressed, len(text))
    pieces = _pieces(text)
    ahead: list[tuple[str, str]] = []
    done, check = 0, _LONGEST
    while True:
        # Words near the end of a block may belong to what follows it: the second half only helps to align the first.
        ahead += islice(pieces, 2 * _BLOCK - len(ahead))
        if not ahead:
            data = coder.finish()
            return data if len(data) <= most else None
        start = walk.next
        places = align(walk.words[start : start + 2 * _BLOCK], [word for _, word in ahead])
        block = ahead if len(ahead) < 2 * _BLOCK else ahead[:_BLOCK]
        for (before, word), place in zip(block, places, strict=False):
            if max(len(before), len(word)) > _LONGEST:
                return None
            if place >= 0:
                for _ in range(start + place - walk.next):
                    walk.step("", _SKIP, False)
            walk.step(before, word, place >= 0)
            done += len(before) + len(word)
            if done > check:
                check = done + _LONGEST
                if len(coder.out) > 256 + most * 9 // 8 * done // len(text):
                    return None
        ahead = ahead[len(block) :]


def read_difference(data: bytes, compressed: str, limit: int) -> str:
    """Raises ValueError for data that cannot be read, or hold more than `limit` characters."""
    walk = _Walk(Reader(data), compressed, limit)
    text = StringIO()
    while True:
        before, word = walk.step()
        text.write(before)
        if word == _END:
            return text.getvalue()
        text.write(word)
        if text.tell() > limit:
            raise ValueError("it holds more than it says")


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Each word, and what stands before it; then what is left, before the end."""
    end = 0
    for match in _WORD.finditer(text):
        yield intern(text[end : match.start()]), intern(match.group())
        end = match.end()
    yield text[end:], _END


class _Walk:
    """What is known between two words, the same for the writer and the reader."""

    def __init__(self, coder: Coder, compressed: str, limit: int) -> None:
        self._coder = coder
        self._limit = limit
        self.words: list[str] = []
        self._befores: list[str] = []  # what stands before each of them
        for before, word in _pieces(compressed):
            self._befores.append(before)
            self.words.append(word)
        folded = dict.fromkeys(_folded(word)[0] for word in islice(self.words, MEMORY // 2))
        self._is_next, self._is_cased = Chances(), Chances()
        self._separators = separators(self._befores)
        self._new_separators = Letters(SEPARATORS, dict.fromkeys(self._befores))
        self._followers = Contexts({})
        self._vocabulary = Vocabulary(chain((_END, _SKIP), folded))
        self._new_words = Letters(WORDS, folded)
        self.next = 0  # of the compressed words
        self._kept = True
        self._run = self._history = 0
        self._last = self._between = ""

    def step(self, before: str | None = None, word: str | None = None, kept: bool | None = None) -> tuple[str, str]:
        """Codes what is given, or reads it: what stands before a word, and the word."""
        upcoming = self.words[self.next] if self.next < len(self.words) else _END
        contexts = ((self._history, self._run), (self._last, self._kept), (upcoming, self._kept, 0))
        kept = self._is_next.code(self._coder, contexts, kept)
        folded, case = (None, 0) if word is None else _folded(word)
        folded = _folded(upcoming)[0] if kept else self._left_out(folded)
        if kept or folded == _SKIP:
            self.next += 1
            if self.next > len(self.words):
                raise ValueError("it goes past the compressed text")
            if folded == _SKIP:
                return "", _SKIP
        before = self._separator(kept, before)
        word = upcoming if kept else self._cased(folded, before, case)
        self._run = min(self._run + 1, 8) if kept == self._kept else 0
        self._history = self._history << 1 & 15 | kept
        self._kept, self._between, self._last = kept, before, folded
        return before, word

    def _separator(self, kept: bool, given: str | None) -> str:
        """What stands before a word. Where that and the last one were kept, it mostly stands there, too."""
        there = self._befores[self.next - kept] if self._kept and self.next - kept < len(self._befores) else None
        around = (there, kept, self._between) if self._kept else (self._last, kept)
        contexts = (around, (there, kept, self._kept), None)
        known = self._separators.code(self._coder, contexts, given)
        if known is None:
            known = self._new_separators.code(self._coder, self._limit, given)
            self._separators.learn(contexts, known)
        return known

    def _left_out(self, given: str | None) -> str:
        """A word as it stands in the vocabulary."""
        folded = self._followers.code(self._coder, (self._last,), given)
        if folded is None:
            folded = self._vocabulary.code(self._coder, given)
            if folded is None:
                folded = self._new_words.code(self._coder, self._limit, given)
                self._vocabulary.add(folded, 8)
            self._followers.learn((self._last,), folded)
        return folded

    def _cased(self, folded: str, before: str, case: int) -> str:
        if folded.islower() and folded.isascii():
            if self._is_cased.code(self._coder, ((before[-2:],), folded), case == 1):
                return folded.capitalize()
            if self._is_cased.code(self._coder, (1, (1, folded)), case == 2):
                return folded.upper()
        return folded


def _folded(word: str) -> tuple[str, int]:
    """In small letters, and whether it had a capital (1) or only those (2); what that cannot tell stays as it is."""
    if word.isascii():
        small = word.lower()
        for case, form in enumerate((small, small.capitalize(), small.upper())):
            if word == form:
                return small, case
    return word, 0
