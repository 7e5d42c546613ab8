"""Work that would hold up the requests in flight, done in processes of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar

from compressor_cli.errors import SccError

P = ParamSpec("P")
T = TypeVar("T")
_FEW = 64  # calls that are not worth a process
_MOST_PROCESSES = 8
_MOST_AT_ONCE = 16  # calls in one message, which is what a message costs much less than as many messages
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Workers(Generic[P, T]):
    """For about `calls` calls of `work`, in one event loop: a few are made in this process, more in others.

    There is a process for each further processor. Until one has come up, this one does the work.
    """

    def __init__(self, work: Callable[P, T], calls: int) -> None:
        self._work = work
        self._ready: set[_Process] = set()
        self._waiting: deque[tuple[tuple[Any, ...], asyncio.Future[T]]] = deque()
        count = 0 if calls <= _FEW else min(max((os.cpu_count() or 2) - 1, 1), _MOST_PROCESSES)
        self._processes = [_Process(work) for _ in range(count)]
        self._idle: list[_Process] = []
        self._watching = False

    async def run(self, *args: P.args, **kwargs: P.kwargs) -> T:
        assert not kwargs
        if self._processes and not self._watching:
            self._watch()
        if not self._ready:
            return self._work(*args, **kwargs)
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((args, done))
        self._hand_out()
        return await done

    def _watch(self) -> None:
        self._watching = True
        loop = asyncio.get_running_loop()
        for process in self._processes:
            loop.add_reader(process.pipe.fileno(), self._read, loop, process)

    def _read(self, loop: asyncio.AbstractEventLoop, process: _Process) -> None:
        try:
            results = process.pipe.recv()
        except (EOFError, OSError):
            loop.remove_reader(process.pipe.fileno())
            self._ready.discard(process)
            self._fail(process.calls)
            if not self._ready:
                self._fail([done for _, done in self._waiting])
                self._waiting.clear()
            return
        self._ready.add(process)  # by its first message
        for done, result in zip(process.calls, results, strict=True):
            if not done.done():  # cancelled
                done.set_result(result)
        process.calls = []
        self._idle.append(process)
        self._hand_out()

    def _fail(self, calls: list[asyncio.Future[T]]) -> None:
        for done in calls:
            if not done.done():
                done.set_exception(SccError("a worker process ended before its work was done; out of memory?"))

    def _hand_out(self) -> None:
        while self._waiting and self._idle:
            share = max(1, min(_MOST_AT_ONCE, len(self._waiting) // len(self._idle)))
            calls = [self._waiting.popleft() for _ in range(share)]
            process = self._idle.pop()
            process.calls = [done for _, done in calls]
            with suppress(OSError):  # it has ended, which its reader hears of
                process.pipe.send([args for args, _ in calls])

    def __enter__(self) -> Workers[P, T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.end()


class _Process:
    """`calls` are those that it is at: one message of them at a time."""

    def __init__(self, work: Callable[..., Any]) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.pipe, other = spawn.Pipe()
        self.calls: list[asyncio.Future[Any]] = []
        self._process = spawn.Process(target=_serve, args=(other, work), daemon=True)
        # Signals are this process's to handle: blocked ones are inherited, and do not get lost here.
        resource_tracker.ensure_running()  # it would unblock them
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        other.close()

    def end(self) -> None:
        self.pipe.close()
        self._process.kill()  # it holds nothing
        self._process.join()
        self._process.close()


def _serve(pipe: Connection, work: Callable[..., Any]) -> None:
    """Until the other end is closed, which it is too when the parent is killed."""
    try:
        pipe.send([])
        while True:
            pipe.send([work(*args) for args in pipe.recv()])
    except (EOFError, OSError):
        return
