"""Free checks of what a teacher made of a source, before any model is paid to judge it."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import Any

from compressor_cli.core.decoding import copied_words, find_preamble, is_fenced, is_refusal
from compressor_cli.core.facts import check_facts
from compressor_cli.core.recipes import Checks
from compressor_cli.core.tokens import token_counter

# Notation for code drops local names and operators by design; what it must not lose are values and places.
CODE_KINDS = ("numbers", "urls")
_LOST_SHOWN = 10
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Reason:
    """Why a row is rejected: a word to count by, and what was seen."""

    reason: str
    detail: str


@dataclass(frozen=True)
class PairCheck:
    """`lost` are facts of the original that the compressed text does not state, or states otherwise; at most ten."""

    reasons: tuple[Reason, ...]
    tokens_original: int
    tokens_compressed: int
    ratio: float
    fidelity: float
    lost: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "reasons": [asdict(reason) for reason in self.reasons], "lost": list(self.lost)}


def check_pair(
    original: str, compressed: str, *, domain: str, checks: Checks, prompt: str, names: Collection[str] = ()
) -> PairCheck:
    """`names` are those that the original defines, and that an outline of it keeps. Tokens are o200k_base."""
    count = token_counter().count
    before, after = count(original), count(compressed)
    kinds = CODE_KINDS if domain == "code" else None
    report = check_facts(original, compressed, kinds=kinds) if kinds else check_facts(original, compressed)
    lost = [fact.text for fact in report.facts if fact.status != "kept"]
    ratio = round(after / max(before, 1), 4)
    if not compressed.strip():
        empty = Reason("empty", "nothing came back")
        return PairCheck((empty,), before, after, ratio, report.fidelity, tuple(lost[:_LOST_SHOWN]))
    reasons = list(_dressing(original, compressed, prompt))
    if compressed.strip() == original.strip():
        reasons.append(Reason("unchanged", "the source came back as it was"))
    elif after >= before:
        reasons.append(Reason("larger", f"{after} tokens, the source has {before}"))
    elif checks.max_ratio is not None and ratio > checks.max_ratio:
        reasons.append(Reason("ratio", f"ratio {ratio}, at most {checks.max_ratio}"))
    if checks.min_fidelity is not None and report.fidelity < checks.min_fidelity:
        shown = ", ".join(lost[:3])
        reasons.append(Reason("fidelity", f"fidelity {report.fidelity}, at least {checks.min_fidelity}; lost: {shown}"))
    gone = _missing(names, compressed)
    if gone:
        reasons.append(Reason("names", f"defined, and not named any more: {', '.join(gone[:5])}"))
    return PairCheck(tuple(reasons), before, after, ratio, report.fidelity, tuple(lost[:_LOST_SHOWN]))


def _missing(names: Collection[str], text: str) -> list[str]:
    """As whole words: `get` does not stand in `get_all`. Of `a::b` the last part is enough; operators have no words."""
    words = set(_WORD.findall(text)) if names else set()
    missing = []
    for name in names:
        last = name.split("::")[-1]
        parts = _WORD.findall(last)
        if not (words.issuperset(parts) if parts else last in text):
            missing.append(name)
    return missing


def _dressing(original: str, compressed: str, prompt: str) -> list[Reason]:
    """What stands around or in place of an answer."""
    reasons = []
    if is_refusal(compressed, original):
        reasons.append(Reason("refused", compressed[:80]))
    if preamble := find_preamble(compressed, original):
        reasons.append(Reason("preamble", preamble[:80]))
    if is_fenced(compressed) and not is_fenced(original):
        reasons.append(Reason("fence", "all of it stands in a fence"))
    if copied := copied_words(compressed, prompt, original):
        reasons.append(Reason("prompt", copied))
    return reasons
