"""Texts that say what an earlier one said: equal up to case and white space, or alike by MinHash.

Only hashes and signatures are held. Order decides: of two that are alike the first one stays.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from compressor_cli.errors import MissingExtraError

if TYPE_CHECKING:
    from datasketch import LeanMinHash, MinHash, MinHashLSH

PERMUTATIONS = 128
_SEED = 1
_SHINGLE = 3  # words
# A character of a script without spaces is a word of its own.
_WORD = re.compile("[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|\\w+")


@dataclass(frozen=True)
class Duplicate:
    """`of`: the id of the earlier one. `similarity` is Jaccard's, as the signatures estimate it."""

    of: str
    similarity: float
    equal: bool = False


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What duplicates are found by. `values` are those of the MinHash; None where only equal texts count."""

    normal: bytes
    values: Any


def fingerprint(text: str, threshold: float) -> Fingerprint:
    """The costly part, which any process can do."""
    normal = hashlib.sha256(" ".join(text.lower().split()).encode("utf-8", "surrogatepass")).digest()[:16]
    if threshold >= 1:
        return Fingerprint(normal, None)
    words = [word.lower() for word in _WORD.findall(text)]
    shingles = {" ".join(words[i : i + _SHINGLE]) for i in range(max(1, len(words) - _SHINGLE + 1))}
    signature = _empty()  # its permutations take longer to make, and to copy, than a signature
    signature.clear()
    signature.update_batch([shingle.encode("utf-8", "surrogatepass") for shingle in shingles])
    return Fingerprint(normal, signature.digest())


@dataclass
class Duplicates:
    threshold: float
    _exact: dict[bytes, str] = field(default_factory=dict)
    _signatures: dict[str, LeanMinHash] = field(default_factory=dict)
    _index: MinHashLSH = field(init=False)

    def __post_init__(self) -> None:
        if self.threshold < 1:
            self._index = _datasketch().MinHashLSH(threshold=self.threshold, num_perm=PERMUTATIONS)

    def find_or_add(self, name: str, text: str | Fingerprint) -> Duplicate | None:
        """What the text duplicates; it is remembered as `name` where there is nothing."""
        found = fingerprint(text, self.threshold) if isinstance(text, str) else text
        if found.normal in self._exact:
            return Duplicate(self._exact[found.normal], 1.0, equal=True)
        if self.threshold < 1:
            signature = _datasketch().LeanMinHash(seed=_SEED, hashvalues=found.values, scheme=_empty().scheme)
            if nearest := self._nearest(signature):
                return nearest
            self._index.insert(name, signature, check_duplication=False)
            self._signatures[name] = signature
        self._exact[found.normal] = name
        return None

    def _nearest(self, signature: LeanMinHash) -> Duplicate | None:
        """The index names candidates in no fixed order."""
        alike = ((signature.jaccard(self._signatures[name]), name) for name in self._index.query(signature))
        similarity, name = max(alike, default=(0.0, ""), key=lambda pair: (pair[0], pair[1]))
        return Duplicate(name, round(float(similarity), 4)) if similarity >= self.threshold else None


@lru_cache(maxsize=1)
def _empty() -> MinHash:
    return _datasketch().MinHash(num_perm=PERMUTATIONS, seed=_SEED)


def _datasketch() -> Any:
    try:
        import datasketch
    except ModuleNotFoundError as exc:
        raise MissingExtraError(exc.name or "datasketch", "data") from None
    return datasketch
