"""What models put around an answer, and how to tell it. Pure functions of text."""

from __future__ import annotations

import re

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


def copied_words(text: str, prompt: str, source: str = "") -> str | None:
    """The first eight words in a row that stand in the prompt and not in the source."""
    asked = _runs(prompt) - _runs(source)
    words = _WORD.findall(text.lower())
    for i in range(len(words) - _COPIED + 1):
        if tuple(words[i : i + _COPIED]) in asked:
            return " ".join(words[i : i + _COPIED])
    return None


def _runs(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return {tuple(words[i : i + _COPIED]) for i in range(len(words) - _COPIED + 1)}
