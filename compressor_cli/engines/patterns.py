"""Regular expressions that a user gives. `re` cannot be stopped while it matches, so each text is tried in a child
process first, which can."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b

from compressor_cli.errors import UsageError

_SECONDS = 5.0  # a text may take, and as much again for each of so many characters:
_LONG = 5_000_000
_REMEMBERED = 10_000
_EMPTY = 3  # exit code
_CHILD = f"""
import re, sys
given = sys.stdin.buffer.read().decode("utf-8", "surrogatepass")
pattern, text = given[: int(sys.argv[1])], given[int(sys.argv[1]) :]
sys.exit({_EMPTY} if any(not found.group() for found in re.finditer(pattern, text)) else 0)
"""
_REPEATS = re.compile(r"[*+?{|]")

_tried: set[tuple[str, bytes]] = set()  # and found to end in time


class UserPattern:
    """Stands where a compiled pattern does, as far as `finditer` goes.

    Raises UsageError for what is no pattern, for one that matches empty text, and where a text takes too long.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        try:
            _compiled(pattern)
        except (re.error, OverflowError, RecursionError) as exc:
            raise UsageError(f"--protect-pattern {pattern!r}: {exc}") from None
        self.finditer("")

    def finditer(self, text: str) -> Sequence[re.Match[str]]:
        return _matches(self.pattern, text)


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Python may read otherwise one day
        return re.compile(pattern)


@lru_cache(maxsize=4)  # a text is asked for again and again while it is compressed
def _matches(pattern: str, text: str) -> list[re.Match[str]]:
    key = pattern, blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    if key not in _tried and _REPEATS.search(pattern) and sys.executable:
        _try(pattern, text)
        if len(_tried) >= _REMEMBERED:
            _tried.clear()
        _tried.add(key)
    found = list(_compiled(pattern).finditer(text))
    if any(not match.group() for match in found):
        raise _empty(pattern)
    return found


def _try(pattern: str, text: str) -> None:
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", _CHILD, str(len(pattern))]
    given = (pattern + text).encode("utf-8", "surrogatepass")
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=_SECONDS * (1 + len(text) / _LONG))
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"--protect-pattern {pattern!r} takes too long on this text",
            hint="a repeat within a repeat, such as (a+)+, can take for ever",
        ) from None
    if done.returncode == _EMPTY:
        raise _empty(pattern)
    if done.returncode:
        raise UsageError(f"--protect-pattern {pattern!r} cannot be matched", hint=done.stderr.decode()[-200:] or None)


def _empty(pattern: str) -> UsageError:
    return UsageError(
        f"--protect-pattern {pattern!r} matches where nothing stands", hint="+ instead of *: what it names must be text"
    )
