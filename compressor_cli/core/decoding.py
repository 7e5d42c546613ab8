"""What models put around an answer, and how to tell it. Pure functions of text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

_PREAMBLE = re.compile(
    r"\s*(?:(?:sure|certainly|of course|okay|ok|absolutely|great)\b[^\n]{0,80}?[,.!:]\s*)?"
    r"(?:here(?:'s|’s| is| are)\b[^\n]{0,120}|below is\b[^\n]{0,120}|i(?:'ve|’ve| have) compressed\b[^\n]{0,120}"
    r"|(?:the )?compressed (?:text|version|form|code|notes?|output)\b[^\n]{0,60})(?::|\.\s*\n|\n)",
    re.IGNORECASE,
)
_SURE = re.compile(r"\s*(?:sure|certainly|of course|absolutely)[,.!]", re.IGNORECASE)
_REFUSAL = re.compile(
    r"\s*(?:(?:i['’]m |i am )?(?:sorry|afraid)\b[^\n]{0,40}?[,.]?\s*(?:but )?)?"
    r"(?:i (?:can(?:no|['’])t|cannot|can not|won['’]t|will not|am (?:not able|unable) to|['’]m (?:not able|unable) to)"
    r"|i['’]m (?:not able|unable) to|as an ai(?: language model)?\b)",
    re.IGNORECASE,
)
_FENCED = re.compile(r"\s*(```|~~~)[^\n]*\n.*\n\1\s*", re.DOTALL)
_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL)
_WORD = re.compile(r"\w+")
_COPIED = 8  # words in a row


def find_preamble(text: str, source: str = "") -> str | None:
    """`Here is the compressed text:` and the like at the beginning, where the source does not begin so as well."""
    for pattern in (_PREAMBLE, _SURE):
        found = pattern.match(text)
        if found and not pattern.match(source):
            return found.group().strip()
    return None


def is_refusal(text: str, source: str = "") -> bool:
    return bool(_REFUSAL.match(text)) and not _REFUSAL.match(source)


def is_fenced(text: str) -> bool:
    """Whether all of the text stands in one fence."""
    return bool(_FENCED.fullmatch(text))


def without_thoughts(text: str) -> str:
    return _THOUGHTS.sub("", text, count=1)


def inside(text: str) -> str:
    """Without the thoughts before an answer and the fence around it, which models put even around JSON."""
    text = without_thoughts(text)
    return text.strip().split("\n", 1)[1].rsplit("\n", 1)[0] if is_fenced(text) else text


def copied_words(text: str, prompt: str, source: str = "") -> str | None:
    """The first eight words in a row that stand in the prompt and not in the source."""
    asked = _prompt_runs(prompt)
    copied = [run for run in _runs(text) if run in asked]
    if not copied:
        return None
    given = set(_runs(source))
    return next((" ".join(run) for run in copied if run not in given), None)


@lru_cache(maxsize=64)
def _prompt_runs(prompt: str) -> frozenset[tuple[str, ...]]:
    return frozenset(_runs(prompt))


def _runs(text: str) -> Iterator[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return zip(*(words[n:] for n in range(_COPIED)), strict=False)
