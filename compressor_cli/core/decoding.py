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
    r"\s*(?:(?:sure|certainly|of course|okay|ok|absolutely|great)\b[^\n:]{0,80}?[,.!]\s*)?"
    r"(?:(?:here(?:'s|’s| is| are| it| you)|below is|i(?:'ve|’ve| have) compressed)\b[^\n:.!]{0,120}?"
    r"|(?:the )?compressed (?:text|version|form|code|notes?|output)(?: below| follows| is below)?)\s*?"
    r"(?::|[.!]?[ \t]*(?:\n|\Z))",
    re.IGNORECASE,
)
_SURE = re.compile(r"\s*(?:sure|certainly|of course|absolutely)[,.!]", re.IGNORECASE)
# Words for an answer, and those that say nothing of what it is about.
_ABOUT_ANSWERS = frozenset(
    "compressed compression condensed shortened shorter rewritten rewrite concise dense denser minified summary "
    "version text result output answer code note notes".split()
)
_EMPTY_WORDS = frozenset(
    "sure certainly of course okay ok absolutely great here s is are you go below i ve have the a an my your it this "
    "that what as for in to".split()
)
_REFUSAL = re.compile(
    r"\s*(?:(?:i['’]m |i am )?(?:sorry|afraid)\b[^\n]{0,40}?[,.]?\s*(?:but )?)?"
    r"(?:i (?:can(?:no|['’])t|cannot|can not|won['’]t|will not|am (?:not able|unable) to|['’]m (?:not able|unable) to)"
    r"|i['’]m (?:not able|unable) to|as an ai(?: language model)?\b)",
    re.IGNORECASE,
)
_FENCED = re.compile(r"\s*(```|~~~)[^\n]*\n(?P<inside>.*)\n\1\s*", re.DOTALL)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[ \t]*(?P<told>.*)$", re.MULTILINE)
_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL)
_WORD = re.compile(r"\w+")
_COPIED = 8  # words in a row
_THOUGHTS_BEGIN = re.compile(r"<(?:think|thinking|thought|reasoning)>")
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


def strip_generation_artifacts(text: str, source: str = "", prompt: str = "", *, fenced: bool = False) -> str:
    """The answer alone: without thoughts, control tokens, preambles, copies of the `prompt`, a fence around all of it
    unless it is asked for (`fenced`).

    What was cut off while it was still thinking has no answer.
    """
    while True:
        stripped = _without_thoughts(text, source)
        stripped = _without_special(stripped, source)
        stripped = _without_echo(stripped, source, prompt)
        stripped = _without_preamble(stripped, source)
        if not fenced and _is_wrapped(stripped, source):
            stripped = inside(stripped)
        stripped = stripped.strip("\n").rstrip() if source[:1].isspace() else stripped.strip()
        if stripped == text:
            return text
        text = stripped


def _without_thoughts(text: str, source: str) -> str:
    """Templates may open the thoughts in the prompt, so that only their end is in the answer. What opens and ends in
    the middle of an answer is a part of it."""
    begin, end = _THOUGHTS_BEGIN.search(text), _THOUGHTS_END.search(text)
    leading = begin is not None and not text[: begin.start()].strip()
    if end and end.group() not in source and (leading or begin is None or begin.start() > end.start()):
        return text[end.end() :]
    return "" if begin and leading and not end and begin.group() not in source else text


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
    return text[_preamble_end(text, source) :]


def _preamble_end(text: str, source: str) -> int:
    """0 where there is none, or where it may be what the source says."""
    given = set(_WORD.findall(source.lower()))
    found = _PREAMBLE.match(text)
    if found and not _PREAMBLE.match(source):
        words = set(_WORD.findall(found.group().lower()))
        about = words & _ABOUT_ANSWERS
        alone = found.group()[-1:] != ":" or text[found.end() : found.end() + 1] in ("", "\n")  # on its line
        if about - given or (alone and (about or not (words - _EMPTY_WORDS) & given)):
            return found.end()
    found = _SURE.match(text)
    return found.end() if found and not set(_WORD.findall(found.group().lower())) <= given else 0


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
    """`Here is the compressed text:` and the like at the beginning, where it is nothing that the source says."""
    return text[: _preamble_end(text, source)].strip() or None


def is_refusal(text: str, source: str = "") -> bool:
    return bool(_REFUSAL.match(text)) and not _REFUSAL.match(source)


def is_fenced(text: str) -> bool:
    """Whether all of the text stands in one fence."""
    found = _FENCED.fullmatch(text)
    within = _FENCE.search(found["inside"]) if found else None
    return bool(found) and not (within and not within["told"])  # one without a language ends the first


def _is_wrapped(text: str, source: str) -> bool:
    """A fence around a text that had none, or around fences of its own."""
    return is_fenced(text) and not is_fenced(source) and not (_FENCE.search(source) and not _FENCE.search(inside(text)))


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
