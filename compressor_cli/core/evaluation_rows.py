"""The rows of a dataset as an eval asks them: the prompt, what is to be compressed, and what it is held to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from compressor_cli.core.decoding import build_user_message
from compressor_cli.core.domains import detect_domain
from compressor_cli.core.jsonl import content_key, parse_row, read_lines
from compressor_cli.errors import UsageError

_LONGEST_DOMAIN = 40  # characters; it heads a column
_LONGEST_PREFIX = 400  # characters; what rows share beyond is no instruction


@dataclass(frozen=True)
class Asking:
    """How the model is asked: the `prompt` of a run's card. None leaves that to the rows themselves."""

    system: str | None
    prefix: str | None


@dataclass(frozen=True)
class EvalRow:
    """`messages` are the prompt. With `error`, it cannot be asked at all, and the texts are empty.

    `id` is that of the data, or hashes what the row says; equal rows have ids of their own.
    """

    key: str
    id: str
    line: int
    domain: str
    language: str | None
    input: str
    reference: str
    messages: tuple[Mapping[str, Any], ...]
    error: str | None = None


def split_file(data: Path) -> Path:
    """The file itself, or the test split of a folder."""
    if data.is_dir():
        path = data / "test.jsonl"
        if not path.is_file():
            raise UsageError(f"{data} has no test.jsonl", hint="name a file with --data, or make one: scc data split")
        return path
    if not data.is_file():
        raise UsageError(f"--data {data}: no such file or folder", hint=f"scc data pull --output {data}")
    return data


def read_eval_rows(path: Path, asking: Asking | None, *, bare: bool = False, limit: int | None = None) -> list[EvalRow]:
    """`bare`: the prompt is the text and nothing else, for what needs no instructions."""
    lines = list(_lines(path))
    shared = _shared_prefix([row for _, row, _ in lines if row is not None])
    prefixes = [prefix for prefix in (asking.prefix if asking else None, shared) if prefix]
    metas = _metas(path, len(lines))
    seen: Counter[str] = Counter()
    rows = []
    for (number, row, error), meta in islice(zip(lines, metas, strict=True), limit):
        try:
            if row is None:
                raise ValueError(error)
            system, before, said, reference = _parts(row)
            text = next((said[len(prefix) :] for prefix in prefixes if said.startswith(prefix)), said)
            if not text.strip():
                raise ValueError("nothing stands behind the prefix: there is nothing to compress")
        except ValueError as exc:
            rows.append(_unusable(number, str(exc), seen))
            continue
        found = detect_domain(text)
        named = str(meta.get("id") or row.get("id") or content_key(text, reference)[:12])
        seen[named] += 1
        rows.append(
            EvalRow(
                key=content_key(named, seen[named], text, reference),
                id=named if seen[named] == 1 else f"{named}#{seen[named]}",
                line=number,
                domain=str(meta.get("domain") or row.get("domain") or found.name)[:_LONGEST_DOMAIN],
                language=meta.get("language") or row.get("language") or found.language,
                input=text,
                reference=reference,
                messages=_messages(system, before, said, text, asking, bare),
            )
        )
    if not rows:
        raise UsageError(f"{path} has no rows")
    return rows


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | None, str]]:
    for number, line in read_lines(path):
        try:
            yield number, parse_row(line), ""
        except ValueError as exc:
            yield number, None, str(exc)


def _metas(path: Path, rows: int) -> list[dict[str, Any]]:
    """What else is known of each row; a file of another length belongs to other rows."""
    beside = path.with_suffix(".meta.jsonl")
    if not beside.is_file():
        return [{} for _ in range(rows)]
    found = [row or {} for _, row, _ in _lines(beside)]
    if len(found) != rows:
        raise UsageError(f"{beside} has {len(found):,} rows and {path} {rows:,}: they belong together line for line")
    return found


def _unusable(number: int, error: str, seen: Counter[str]) -> EvalRow:
    named = f"line {number}"
    seen[named] += 1
    return EvalRow(content_key(named, error), named, number, "unknown", None, "", "", (), error=f"{named}: {error}")


def _parts(row: Mapping[str, Any]) -> tuple[str | None, list[Any], str, str]:
    """System text, messages up to the last of the user, that one, and the answer. Raises ValueError."""
    messages = row.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise ValueError("no `messages`")
    *before, last = messages or [{}]
    if last.get("role") != "assistant" or not isinstance(last.get("content"), str) or not last["content"].strip():
        raise ValueError("the last message is no text of the assistant: there is no reference")
    if not before or before[-1].get("role") != "user" or not isinstance(before[-1].get("content"), str):
        raise ValueError("no text of the user before the answer: there is nothing to compress")
    if not before[-1]["content"].strip():
        raise ValueError("the text of the user is empty")
    system = before[0]["content"] if before[0].get("role") == "system" else None
    return system, before[:-1], before[-1]["content"], last["content"]


def _messages(
    system: str | None, before: Sequence[Any], said: str, text: str, asking: Asking | None, bare: bool
) -> tuple[Mapping[str, Any], ...]:
    """A conversation of several turns is asked as it stands, under the system text of the run."""
    user = {"role": "user", "content": text if bare else said}
    if bare:
        return (user,)
    if asking is None:
        return (*before, user)
    earlier = before[1:] if system is not None else before
    if not earlier:
        user = {"role": "user", "content": build_user_message(text, asking.prefix)}
    return (*([{"role": "system", "content": asking.system}] if asking.system else []), *earlier, user)


def _shared_prefix(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The lines that all users begin with, as in the prompt that a run keeps."""
    said = set()
    for row in rows:
        try:
            said.add(_parts(row)[2])
        except ValueError:
            continue
    if len(said) < 2:  # of one text nobody can tell where the instruction ends
        return None
    first, last = min(said), max(said)  # what these two share, all between them do
    length = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    prefix = first[: first.rfind("\n", 0, length) + 1]
    return prefix if 0 < len(prefix) <= _LONGEST_PREFIX else None
