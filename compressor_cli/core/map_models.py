"""Chances that are counts of what has been seen. The reader of a map counts along with its writer.

Everything is in integers and goes in the order of insertion, so that a map reads alike on every machine. To change any
figure here, or a list of `map_words`, is to change the format: `maps.VERSION` goes up.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import lru_cache
from itertools import chain, islice, repeat

from compressor_cli.core.map_coder import PART, Coder
from compressor_cli.core.map_words import SEPARATORS, WORDS

MEMORY = 1 << 16  # contexts, and words, that a model remembers
_END = ""  # follows the last character
_CHARACTERS = 0x110000
_PRIMED = 256

_LISTED = {word: index for index, word in enumerate(WORDS)}

Nodes = dict[Hashable, dict[str, int]]


class Chances:
    """Yes or no, by what it was in several contexts, whose counts are added up: a sure one has more of one kind."""

    def __init__(self) -> None:
        self._counts: dict[Hashable, list[int]] = {}

    def code(self, coder: Coder, contexts: tuple[Hashable, ...], given: bool | None) -> bool:
        if len(self._counts) > MEMORY:
            self._counts.clear()
        zeros = ones = 1
        seen = []
        for context in contexts:
            counts = self._counts.get(context)
            if counts is None:
                counts = self._counts[context] = [0, 0]
            seen.append(counts)
            zeros += counts[0]
            ones += counts[1]
        bit = coder.bit(zeros, ones, given)
        for counts in seen:
            counts[bit] += 2
            if counts[not bit] > 2:
                counts[not bit] = counts[not bit] * 3 // 4
            if counts[bit] > 250:
                counts[:] = [n >> 1 for n in counts]
        return bit


class Contexts:
    """Strings by what followed in the first context that knows them; how often one does not know is learned, too."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._odds: dict[tuple[int, int], list[int]] = {}

    def code(self, coder: Coder, contexts: tuple[Hashable, ...], given: str | None) -> str | None:
        """None for a string that no context knows: it is coded elsewhere, and then learned."""
        for order, context in enumerate(contexts):
            node = self._nodes.get(context)
            if not node:
                continue
            total = sum(node.values())
            kind = (order, min(total, 12))
            odds = self._odds.get(kind)
            if odds is None:
                odds = self._odds[kind] = [2, 1 + min(total, 12) // 2]
            symbol = coder.pick(node, total, odds[0], odds[1], given)
            odds[symbol is not None] += 1
            if odds[0] + odds[1] > 300:
                odds[:] = [(n + 1) >> 1 for n in odds]
            if symbol is not None:
                self.learn(contexts[: order + 1], symbol)
                return symbol
        return None

    def learn(self, contexts: tuple[Hashable, ...], symbol: str) -> None:
        if len(self._nodes) > MEMORY:
            self._nodes.clear()
        for context in contexts:
            node = self._nodes.get(context)
            if node is None:
                self._nodes[context] = {symbol: 1}
                continue
            node[symbol] = count = node.get(symbol, 0) + 1
            if count > 60 or len(node) > 128:
                halved = {name: n >> 1 for name, n in node.items() if n > 1}
                self._nodes[context] = halved


class Letters:
    """Strings that nothing knows, character by character, in the light of `similar` ones."""

    def __init__(self, listed: tuple[str, ...], similar: Iterable[str]) -> None:
        nodes = {context: dict(node) for context, node in _listed_letters(listed).items()}
        _count_letters(nodes, islice(similar, _PRIMED))
        self._contexts = Contexts(nodes)

    def code(self, coder: Coder, limit: int, given: str | None) -> str:
        """Raises ValueError beyond `limit` characters, which only a damaged map can hold."""
        before = last = _END
        letters: list[str] = []
        wanted = repeat(None) if given is None else chain(given, [_END])
        for letter in islice(wanted, limit + 1):
            contexts = ((before, last), last, None)
            known = self._contexts.code(coder, contexts, letter)
            if known is None:
                known = _character(coder, letter)
                self._contexts.learn(contexts, known)
            if known == _END:
                return "".join(letters)
            letters.append(known)
            before, last = last, known
        raise ValueError("a word has no end")


def _character(coder: Coder, given: str | None) -> str:
    number = coder.number(_CHARACTERS + 1, ord(given) if given else _CHARACTERS)
    return chr(number) if number < _CHARACTERS else _END


@lru_cache
def _listed_letters(listed: tuple[str, ...]) -> Nodes:
    nodes: Nodes = {}
    _count_letters(nodes, listed)
    return nodes


def _count_letters(nodes: Nodes, strings: Iterable[str]) -> None:
    for string in strings:
        before = last = _END
        for letter in chain(string, [_END]):
            for context in ((before, last), last, None):
                node = nodes.setdefault(context, {})
                node[letter] = node.get(letter, 0) + 1
            before, last = last, letter


class Vocabulary:
    """Words with counts: first those of the list, by rank, then those of the compressed text, then new ones."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = [*WORDS]
        self._index = dict(_LISTED)
        self._counts = [1 + 700 // (rank + 4) for rank in range(len(self._words))]
        self._sums = [sum(self._counts[at : at + PART]) for at in range(0, len(self._counts), PART)]
        self._missing = 40
        for word in words:
            self.add(word, 4)

    def add(self, word: str, count: int) -> None:
        if word in self._index or len(self._words) == MEMORY:
            return
        if len(self._words) % PART == 0:
            self._sums.append(0)
        self._index[word] = len(self._words)
        self._words.append(word)
        self._counts.append(count)
        self._sums[-1] += count

    def code(self, coder: Coder, given: str | None) -> str | None:
        """None for a word that is not in it."""
        unknown = len(self._words)
        wanted = None if given is None else self._index.get(given, unknown)
        index = coder.slot(self._counts, self._sums, self._missing, wanted)
        if index == unknown:
            self._missing += 8
            return None
        self._counts[index] += 16
        self._sums[index // PART] += 16
        return self._words[index]


def separators(texts: Iterable[str]) -> Contexts:
    """What stands between words: the listed ones and those of the compressed text are known from the start."""
    node = {separator: 1 + 20 // (rank + 1) for rank, separator in enumerate(SEPARATORS)}
    for text in islice(texts, 2 * _PRIMED):
        if text in node or len(node) < 120:
            node[text] = min(60, node.get(text, 0) + 3)
    return Contexts({None: node})
