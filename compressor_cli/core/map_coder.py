"""An arithmetic coder in integers: a writer and a reader with the same methods, so that a model is written once.

Each method takes what is written; a reader is given None, or anything, and returns what stands there.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Protocol

PART = 128
_TOP = 1 << 48
_LOW = 1 << 32  # the least range: totals stay far below it
_BEYOND = 8  # zero bytes that a reader may need after the last one


class Coder(Protocol):
    def bit(self, zeros: int, ones: int, given: bool | None) -> bool: ...

    def number(self, count: int, given: int | None) -> int:
        """One of `count` equally likely ones."""
        ...

    def pick(self, node: dict[str, int], total: int, missing: int, found: int, given: str | None) -> str | None:
        """A key of `node`, by its counts, which make up `total`; or None, for which the odds are `missing : found`."""
        ...

    def slot(self, counts: list[int], sums: list[int], missing: int, given: int | None) -> int:
        """An index of `counts`, whose `sums` are those of each `PART`; or their number, with the count `missing`."""
        ...


class Writer:
    def __init__(self) -> None:
        self.out = bytearray()
        self._low = 0
        self._range = _TOP - 1

    def _narrow(self, start: int, size: int, total: int) -> None:
        step = self._range // total
        self._low += start * step
        self._range = size * step
        while self._range < _LOW:
            self._carry()
            self.out += (self._low >> 32).to_bytes(2, "big")
            self._low = (self._low << 16) & (_TOP - 1)
            self._range <<= 16

    def _carry(self) -> None:
        if self._low >= _TOP:
            self._low -= _TOP
            i = len(self.out) - 1
            while self.out[i] == 255:
                self.out[i] = 0
                i -= 1
            self.out[i] += 1

    def bit(self, zeros: int, ones: int, given: bool | None) -> bool:
        if given:
            self._narrow(zeros, ones, zeros + ones)
            return True
        self._narrow(0, zeros, zeros + ones)
        return False

    def number(self, count: int, given: int | None) -> int:
        assert given is not None
        self._narrow(given, 1, count)
        return given

    def pick(self, node: dict[str, int], total: int, missing: int, found: int, given: str | None) -> str | None:
        if given not in node:
            self._narrow(total * found, total * missing, total * (found + missing))
            return None
        start = 0
        for symbol, count in node.items():
            if symbol == given:
                break
            start += count
        self._narrow(start * found, count * found, total * (found + missing))
        return given

    def slot(self, counts: list[int], sums: list[int], missing: int, given: int | None) -> int:
        assert given is not None
        total = sum(sums)
        if given == len(counts):
            self._narrow(total, missing, total + missing)
            return given
        part = given // PART
        self._narrow(sum(sums[:part]) + sum(counts[part * PART : given]), counts[given], total + missing)
        return given

    def finish(self) -> bytes:
        """Of all numbers in the last range the one that ends in most zeros, which the reader adds by itself."""
        drop = next(n for n in range(40, -1, -8) if -self._low % (1 << n) < self._range)
        self._low += -self._low % (1 << drop)
        self._carry()
        self.out += self._low.to_bytes(6, "big")
        return bytes(self.out).rstrip(b"\0")


class Reader:
    """Raises ValueError where the data end too early; what else is wrong with them shows in what is read."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 6
        self._code = int.from_bytes(data[:6].ljust(6, b"\0"), "big")
        self._range = _TOP - 1
        self._step = 1

    def _target(self, total: int) -> int:
        self._step = self._range // total
        return min(self._code // self._step, total - 1)

    def _narrow(self, start: int, size: int) -> None:
        self._code -= start * self._step
        self._range = size * self._step
        while self._range < _LOW:
            if self._at > len(self._data) + _BEYOND:
                raise ValueError("it ends too early")
            more = self._data[self._at : self._at + 2].ljust(2, b"\0")
            self._code = (self._code << 16) | int.from_bytes(more, "big")
            self._range <<= 16
            self._at += 2

    def bit(self, zeros: int, ones: int, given: bool | None) -> bool:
        if self._target(zeros + ones) >= zeros:
            self._narrow(zeros, ones)
            return True
        self._narrow(0, zeros)
        return False

    def number(self, count: int, given: int | None) -> int:
        value = self._target(count)
        self._narrow(value, 1)
        return value

    def pick(self, node: dict[str, int], total: int, missing: int, found: int, given: str | None) -> str | None:
        at = self._target(total * (found + missing))
        start = 0
        for symbol, count in node.items():
            if at < (start + count) * found:
                self._narrow(start * found, count * found)
                return symbol
            start += count
        self._narrow(total * found, total * missing)
        return None

    def slot(self, counts: list[int], sums: list[int], missing: int, given: int | None) -> int:
        total = sum(sums)
        at = self._target(total + missing)
        if at >= total:
            self._narrow(total, missing)
            return len(counts)
        ends = list(accumulate(sums))
        part = bisect_right(ends, at)
        start = ends[part] - sums[part]
        inside = list(accumulate(counts[part * PART : (part + 1) * PART]))
        n = bisect_right(inside, at - start)
        index = part * PART + n
        self._narrow(start + inside[n] - counts[index], counts[index])
        return index
