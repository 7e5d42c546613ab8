"""Which words of a text are the words of its compressed form. Near-linear, whatever the two are."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

_CELLS = 1024  # of a table of words against words; what is larger is cut at anchors first
_CUTS = 6  # rounds of anchors: each may cost a pass over the texts
_FAR = 200  # words that the walk without anchors looks ahead


def align(short: Sequence[str], long: Sequence[str]) -> list[int]:
    """For each word of `long` its index in `short`, increasing, or -1. Favours long runs over scattered words.

    Words that stand once in both are anchors, as in a patience diff; between them the best alignment is searched.
    """
    match = [-1] * len(long)
    waiting = [(0, len(short), 0, len(long), 0)]
    while waiting:
        start, stop, low, high, cuts = waiting.pop()
        while start < stop and low < high and short[start] == long[low]:
            match[low] = start
            start, low = start + 1, low + 1
        while start < stop and low < high and short[stop - 1] == long[high - 1]:
            stop, high = stop - 1, high - 1
            match[high] = stop
        if start == stop or low == high:
            continue
        if (stop - start) * (high - low) <= _CELLS:
            pairs = _best(short[start:stop], long[low:high])
        elif cuts < _CUTS and (pairs := _anchors(short[start:stop], long[low:high])):
            edges = [(-1, -1), *pairs, (stop - start, high - low)]
            waiting.extend(
                (start + i + 1, start + next_i, low + j + 1, low + next_j, cuts + 1)
                for (i, j), (next_i, next_j) in pairwise(edges)
            )
        else:
            pairs = _walk(short[start:stop], long[low:high])
        for i, j in pairs:
            match[low + j] = start + i
    return match


def _anchors(short: Sequence[str], long: Sequence[str]) -> list[tuple[int, int]]:
    """The longest increasing run of pairs of words that stand once in `short` and once in `long`."""
    once, once_in_long = Counter(short), Counter(long)
    place = {word: j for j, word in enumerate(long) if once_in_long[word] == 1 and once.get(word) == 1}
    pairs = [(i, place[word]) for i, word in enumerate(short) if word in place]
    ends: list[int] = []  # the smallest end in `long` of an increasing run of each length
    last: list[int] = []  # the pair at that end
    before: list[int] = []
    for n, (_, j) in enumerate(pairs):
        length = bisect_left(ends, j)
        before.append(last[length - 1] if length else -1)
        ends[length : length + 1] = [j]
        last[length : length + 1] = [n]
    found = []
    n = last[-1] if last else -1
    while n >= 0:
        found.append(pairs[n])
        n = before[n]
    return found[::-1]


def _best(short: Sequence[str], long: Sequence[str]) -> list[tuple[int, int]]:
    """The most words, in the fewest runs: two points a word, one more where it follows on the word before it."""
    width = len(long)
    totals = [[0] * (width + 1)]  # the best of short[i:] with long[j:]
    joined = [[0] * (width + 1)]  # the same where short[i] is long[j], else 0
    for word in reversed(short):
        below, run_below = totals[-1], joined[-1]
        row, run = [0] * (width + 1), [0] * (width + 1)
        best = 0
        for j in range(width - 1, -1, -1):
            if below[j] > best:
                best = below[j]
            if long[j] == word:
                follows = run_below[j + 1]
                run[j] = 2 + max(below[j + 1], follows and follows + 1)
                best = max(best, run[j])
            row[j] = best
        totals.append(row)
        joined.append(run)
    totals.reverse()
    joined.reverse()
    return _read_back(totals, joined)


def _read_back(totals: list[list[int]], joined: list[list[int]]) -> list[tuple[int, int]]:
    pairs = []
    i = j = 0
    follows = 0  # the point that a word gets here for the one before it
    while i + 1 < len(totals) and totals[i][j] + follows > 0:
        here = joined[i][j]
        if here and here + follows >= totals[i][j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
            follows = int(0 < joined[i][j] >= totals[i][j] - 1)
        elif totals[i][j + 1 : j + 2] == [totals[i][j]]:
            j, follows = j + 1, 0
        else:
            i, follows = i + 1, 0
    return pairs


def _walk(short: Sequence[str], long: Sequence[str]) -> list[tuple[int, int]]:
    """Each word at its next place, where that is near. For texts whose words all repeat."""
    places: dict[str, list[int]] = {}
    for j, word in enumerate(long):
        places.setdefault(word, []).append(j)
    pairs = []
    at = 0
    for i, word in enumerate(short):
        here = places.get(word, [])
        n = bisect_left(here, at)
        if n < len(here) and here[n] < at + _FAR:
            pairs.append((i, here[n]))
            at = here[n] + 1
    return pairs
