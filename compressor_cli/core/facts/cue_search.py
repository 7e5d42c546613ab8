"""The cues of a text by the words that they may bear on, and which of them still keep nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from compressor_cli.core.facts.cues import Cue
from compressor_cli.core.facts.opposites import without_prefix
from compressor_cli.core.facts.sides import ENOUGH, Side
from compressor_cli.core.facts.values import stem
from compressor_cli.core.facts.words import FUNCTION, KEEPS

_IN_PAIRS = frozenset(map(stem, ("neither", "nor")))  # one `not` keeps both


@dataclass(frozen=True)
class Search:
    """The cues of the other text, by the words that they may bear on.

    `keys`: what a cue is in itself, by its id; not and can't are one. `used`: ids of cues that keep something.
    """

    one: Side
    other: Side
    by_stem: dict[str, list[Cue]]
    keys: dict[int, str]
    used: set[int] = field(default_factory=set)

    def same(self, key: str, does: str, hit: Cue) -> bool:
        return self.keys.get(id(hit), "") == key and _keeps(does, hit)

    def free(self, key: str, does: str, hit: Cue) -> bool:
        """Keeps nothing yet, and is not a word that stood for something else before."""
        own = self.keys.get(id(hit), "")
        known = hit.loose and own != key and own in self.one.stems
        return (id(hit) not in self.used or key in _IN_PAIRS) and not known and _keeps(does, hit)


def _keeps(does: str, hit: Cue) -> bool:
    return any(done in KEEPS.get(does, (does,)) for done in hit.does)


def cue_key(side: Side, cue: Cue) -> str:
    said = side.words.words[cue.first : cue.stop]
    if any(word in ("not", "cannot") or word.endswith(("n't", "n’t")) for word in said):
        return "not"
    first = next((word for word in said if word not in FUNCTION), said[0] if said else "")
    return "without" if first == "w" else stem(first)


def cues_by_stem(one: Side, other: Side) -> dict[str, list[Cue]]:
    """Cues of the compressed text by the words that they may bear on; unheard is a cue that bears on heard."""
    table: dict[str, list[Cue]] = {}
    for cue in other.cues:
        for k in cue.near:
            table.setdefault(stem(other.words.words[k]), []).append(cue)
    for word, places in other.at.items():
        denied = without_prefix(word)
        if denied and word not in one.at:
            for i in places[:ENOUGH]:
                table.setdefault(stem(denied), []).append(Cue(("neg",), i, i + 1, (i,), (i,), ()))
    return table
