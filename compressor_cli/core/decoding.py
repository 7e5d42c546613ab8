"""How a model is asked, what it puts around an answer, and how to tell that from the answer. Pure functions of text.

`source` is always the text that was to be compressed: what stands in it belongs to the answer too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from functools import lru_cache

from compressor_cli.core.repetition import truncate_repetition as truncate_repetition

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
_THOUGHTS_BEGIN = re.compile(r"\s*<(?:think|thinking|thought|reasoning)>")
_THOUGHTS_END = re.compile(r"</(?:think|thinking|thought|reasoning)>")
# Ends of a turn, after which a model that runs on speaks for others; beginnings of one, with the name of its role.
_ENDS = re.compile(
    r"<\|(?:im_end|endoftext|end_of_text|eot_id|eom_id|end|return|eos)\|>|</s>|<end_of_turn>|<eos>|<｜end▁of▁sentence｜>"
)
_BEGINS = re.compile(
    r"(?:<\|im_start\|>(?:assistant)?|<\|start_header_id\|>(?:assistant)?<\|end_header_id\|>|<start_of_turn>(?:model)?"
    r"|<\|assistant\|>|<\|start\|>assistant)\s*"
)
_SPECIAL = re.compile(
    r"<\|[\w:-]{1,40}\|>|<｜[^｜<>\n]{1,40}｜>|</?s>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>|\[/?INST\]"
)
_ECHOED = 4  # words of a line that is taken for a copy of the prompt
_ENDINGS = re.compile(r"(?<=[.!?…。！？])[\"')\]”’」]*(?=\s|\Z)|(?<=[。！？])|\n")
_SPACES = re.compile(r"\s")
_CHARACTERS = re.compile(
    r"(?<!\u200d)(?![\u0300-\u036f\u200d\ufe00-\ufe0f\u20d0-\u20ff\U0001f3fb-\U0001f3ff])", re.DOTALL
)


def build_user_message(text: str, prefix: str | None = None) -> str:
    """What the user says: `prefix` is how all prompts of the training data begin."""
    return f"{prefix or ''}{text}"


def compute_generation_budget(tokens_in: int, *, rate: float = 1.0, most: int | None = None) -> int:
    """How many tokens a model may write for a text of `tokens_in`: a share of them, rounded up, and never more."""
    budget = min(tokens_in, math.ceil(rate * tokens_in), tokens_in if most is None else most)
    return max(1, budget)


def strip_generation_artifacts(text: str, source: str = "", prompt: str = "") -> str:
    """The answer alone: without thoughts, control tokens, preambles, copies of the `prompt`, a fence around all of it.

    What was cut off while it was still thinking has no answer.
    """
    while True:
        stripped = _without_thoughts(text, source)
        stripped = _without_special(stripped, source)
        stripped = _without_echo(stripped, source, prompt)
        stripped = _without_preamble(stripped, source)
        if is_fenced(stripped) and not is_fenced(source):
            stripped = inside(stripped)
        stripped = stripped.strip("\n").rstrip() if source[:1].isspace() else stripped.strip()
        if stripped == text:
            return text
        text = stripped


def _without_thoughts(text: str, source: str) -> str:
    """Templates may open the thoughts in the prompt, so that only their end is in the answer."""
    end = _THOUGHTS_END.search(text)
    if end and end.group() not in source:
        return text[end.end() :]
    begin = _THOUGHTS_BEGIN.match(text)
    return "" if begin and begin.group().strip() not in source else text


def _without_special(text: str, source: str) -> str:
    def unless_given(found: re.Match[str]) -> str:
        return found.group() if found.group().strip() in source else ""

    text = _BEGINS.sub(unless_given, text)
    while (end := _ENDS.match(text.lstrip())) and end.group() not in source:
        text = text.lstrip()[end.end() :]
    for end in _ENDS.finditer(text):
        if end.group() not in source:
            text = text[: end.start()]
            break
    return _SPECIAL.sub(unless_given, text)


def _without_echo(text: str, source: str, prompt: str) -> str:
    """Lines of the prompt before and after the answer, and what introduces the text in it (`Compress:`)."""
    asked, given = _plain(prompt), _plain(source)
    if not asked:
        return text
    for line in (line.strip() for line in prompt.splitlines()):
        if line.endswith(":") and text.lstrip().startswith(line) and not source.lstrip().startswith(line):
            text = text.lstrip()[len(line) :]

    def copied(line: str) -> bool:
        plain = _plain(line)
        return len(plain.split()) >= _ECHOED and plain in asked and plain not in given

    lines = text.split("\n")
    while lines and copied(lines[0]):
        del lines[0]
    while lines and copied(lines[-1]):
        del lines[-1]
    return "\n".join(lines)


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(text.lower()))


def _without_preamble(text: str, source: str) -> str:
    for pattern in (_PREAMBLE, _SURE):
        found = pattern.match(text)
        if found and not pattern.match(source):
            return text[found.end() :]
    return text


def cap_output_length(text: str, limit: int, count: Callable[[str], int]) -> str:
    """As much of the beginning as `limit` tokens hold: whole sentences and lines, else words, else characters.

    A character is never cut off from the marks that belong to it.
    """
    if count(text) <= limit:
        return text
    for ends in (_ENDINGS, _SPACES, _CHARACTERS):
        places = [found.start() for found in ends.finditer(text)]
        low, high = 0, len(places)  # a longer beginning has as many tokens, or a few fewer where a word is whole
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if count(text[: places[middle]]) <= limit else (low, middle)
        for place in reversed(places[:low]):
            if (kept := text[:place].rstrip()) and count(kept) <= limit:
                return kept
    return ""


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
