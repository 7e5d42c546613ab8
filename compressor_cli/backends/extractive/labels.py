"""From chat rows to labelled examples: which units a writer kept, and where answers start and go on.

The kept units come from aligning the compressed text with the verbose one. The answers come from a file of spans that
people ask about; where there is no such file, kept runs stand in for answers.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from compressor_cli.core.domains import detect_domain
from compressor_cli.core.jsonl import read_rows
from compressor_cli.errors import SccError, UsageError

_WORD = re.compile(r"\S+")
_TOKEN = re.compile(r"[\w'’.,%$-]+")
_EDGES = re.compile(r"^\W+|\W+$")
_NEARBY = 12  # words around the running position in which a moved word still counts as kept
_SHORTEST = 3  # words; less teaches nothing
_LONGEST_RUN = 8  # kept words in a row that stand for one answer where no answers are given


@dataclass(frozen=True)
class Example:
    """One text. `kept` and `starts` have one 0..1 entry a word; `goes_on` is -1 where no answer covers the word.

    `kept` is -1 throughout where no compressed text is known, `starts` where no answers are.
    """

    words: tuple[str, ...]
    kept: tuple[int, ...]
    starts: tuple[float, ...]
    goes_on: tuple[float, ...]


@dataclass(frozen=True)
class Labelled:
    """`asked` rows: `code` of them are no prose, `short` teach nothing; `answered` have answer spans of their own."""

    examples: tuple[Example, ...]
    asked: int
    code: int
    short: int
    answered: int


Spans = list[tuple[int, int]]


@dataclass(frozen=True)
class Answers:
    """Spans by the hash of a verbose text, and passages that stand in the file themselves."""

    by_hash: dict[str, Spans]
    passages: tuple[tuple[str, Spans], ...]


NO_ANSWERS = Answers({}, ())


def text_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read_answers(path: Path) -> Answers:
    """Rows `{"sha256": of a verbose text, "answers": [[start, stop], ...]}`, or with `text` in place of `sha256`.

    Offsets count characters. Raises UsageError for any other row.
    """
    by_hash: dict[str, Spans] = {}
    passages: list[tuple[str, Spans]] = []
    for row in read_rows(path):
        try:
            spans = [(int(start), int(stop)) for start, stop in row["answers"]]
            if isinstance(row.get("text"), str):
                passages.append((row["text"], spans))
            else:
                by_hash[str(row["sha256"])] = spans
        except (KeyError, TypeError, ValueError):
            raise UsageError(f"{path}: a row needs sha256 or text, and answers [[start, stop], ...]") from None
    return Answers(by_hash, tuple(passages))


def label_rows(rows: Iterable[dict[str, object]], answers: Answers = NO_ANSWERS) -> Labelled:
    """Label the prose among the rows, and the passages of `answers`.

    Raises SccError for a row that is no chat row with a user and an assistant message.
    """
    pairs = [_pair(row, number) for number, row in enumerate(rows)]
    runs_stand_in = answers is NO_ANSWERS
    prefix = _common_prefix([verbose for verbose, _ in pairs])
    examples: list[Example] = []
    code = short = answered = 0
    for verbose, compressed in pairs:
        text = verbose[len(prefix) :]
        if detect_domain(text).name not in ("prose", "mixed"):
            code += 1
            continue
        spans = answers.by_hash.get(text_hash(text))
        example = label(text, compressed, spans, runs_stand_in=runs_stand_in)
        if len(example.words) < _SHORTEST:
            short += 1
            continue
        answered += spans is not None
        examples.append(example)
    examples.extend(label(text, None, spans) for text, spans in answers.passages)
    return Labelled(tuple(examples), len(pairs), code, short, answered + len(answers.passages))


def label(text: str, compressed: str | None, answers: Spans | None, *, runs_stand_in: bool = False) -> Example:
    spans = [match.span() for match in _WORD.finditer(text)]
    words = tuple(text[start:stop] for start, stop in spans)
    kept = [-1] * len(words) if compressed is None else align(words, _TOKEN.findall(compressed))
    known = answers is not None or runs_stand_in
    if answers is not None:
        runs = [run for run in (_words_within(spans, start, stop) for start, stop in answers) if run]
    else:
        runs = kept_runs(kept) if runs_stand_in else []
    starts = [0.0 if known else -1.0] * len(words)
    passes: list[list[int]] = [[] for _ in words]
    for first, last in runs:
        starts[first] = 1.0
        for i in range(first, last):
            passes[i].append(1)
        passes[last].append(0)
    goes_on = tuple(sum(votes) / len(votes) if votes else -1.0 for votes in passes)
    return Example(words, tuple(kept), tuple(starts), goes_on)


def align(words: Sequence[str], compressed: Sequence[str]) -> list[int]:
    """1 for each word that the compressed text has, in order or near its place, by stem."""
    own = [_stem(word) for word in words]
    other = [stem for stem in map(_stem, compressed) if stem]
    kept = [0] * len(own)
    for block in difflib.SequenceMatcher(None, own, other, autojunk=False).get_matching_blocks():
        for i in range(block.a, block.a + block.size):
            kept[i] = 1
    for i, stem in enumerate(own):
        if not kept[i] and len(stem) > 2:
            at = int(i / len(own) * len(other))
            kept[i] = int(stem in other[max(0, at - _NEARBY) : at + _NEARBY])
    return kept


def kept_runs(kept: Sequence[int]) -> list[tuple[int, int]]:
    """First and last index of each run of kept words, long ones in pieces."""
    runs: list[tuple[int, int]] = []
    start: int | None = None
    for i, value in enumerate([*kept, 0]):
        if value and start is None:
            start = i
        if start is not None and (not value or i - start == _LONGEST_RUN):
            runs.append((start, i - 1))
            start = i if value else None
    return runs


def _words_within(spans: Sequence[tuple[int, int]], start: int, stop: int) -> tuple[int, int] | None:
    inside = [n for n, (a, b) in enumerate(spans) if a < stop and b > start]
    return (inside[0], inside[-1]) if inside else None


def _stem(word: str) -> str:
    stem = _EDGES.sub("", word.lower())
    for ending in ("ing", "ed", "es", "s", "ly"):
        if stem.endswith(ending) and len(stem) - len(ending) >= 3:
            return stem[: -len(ending)]
    return stem


def _pair(row: dict[str, object], number: int) -> tuple[str, str]:
    messages = row.get("messages")
    texts: dict[str, str] = {}
    if isinstance(messages, list):
        for message in messages:
            if isinstance(message, dict) and isinstance(message.get("content"), str):
                texts.setdefault(str(message.get("role")), message["content"])
    if "user" not in texts or "assistant" not in texts:
        raise SccError(f"row {number}: a chat row with a user and an assistant message is needed")
    return texts["user"], texts["assistant"]


def _common_prefix(texts: Sequence[str]) -> str:
    """A first line such as `Compress:` that every row has."""
    first = texts[0].split("\n", 1)[0] + "\n" if texts else ""
    return first if first.endswith(":\n") and all(text.startswith(first) for text in texts) else ""
