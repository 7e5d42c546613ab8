"""Ending a run in good order: requests in flight are paid for, so they are waited for; a training loop saves first."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from compressor_cli.errors import SccError

T = TypeVar("T")


@dataclass
class Stop:
    """`reason` is the first one given: an error, or the number of a signal. Nothing new is begun once there is one.

    `leave`, where given, ends the waiting for what takes too long to be waited for, a batch; the first signal calls it.
    `dropped`: what was in flight was not waited for.
    """

    reason: SccError | int | None = None
    leave: Callable[[], None] | None = None
    dropped: bool = False

    @property
    def asked(self) -> bool:
        return self.reason is not None

    def ask(self, reason: SccError | int) -> None:
        self.reason = self.reason if self.reason is not None else reason


@contextmanager
def stopped_by_signals(stop: Stop, tell: Callable[[str], None]) -> Iterator[None]:
    """The first SIGINT or SIGTERM asks to stop; the second one cancels the task that is running now."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    signals = 0

    def received(number: int) -> None:
        nonlocal signals
        signals += 1
        stop.ask(number)
        if signals == 1 and stop.leave is not None:
            stop.leave()
            tell("stopping: what was submitted goes on at the provider; the same command with --resume takes it up")
        elif signals == 1:
            tell("stopping: waiting for the answers that are on their way; once more to drop them")
        elif not stop.dropped:
            stop.dropped = True
            task.cancel()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        loop.add_signal_handler(number, received, number)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """For loops without asyncio: the first SIGINT or SIGTERM asks to stop, the second one does not wait.

    Nothing is told here: the signal may have come in the middle of a line. Outside the main thread, which alone gets
    signals, nothing is asked.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def received(number: int, frame: object) -> None:
        if stop.asked:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        stop.ask(number)

    before = {number: signal.signal(number, received) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def drive(
    next_item: Callable[[], Awaitable[T | None]],
    work: Callable[[T], Awaitable[None]],
    *,
    concurrency: int,
    stop: Stop,
    tell: Callable[[str], None],
) -> None:
    """`concurrency` items at once, until there is none or a stop is asked for; then what is under way is finished."""

    async def worker() -> None:
        while not stop.asked and (item := await next_item()) is not None:
            await work(item)

    try:
        with stopped_by_signals(stop, tell):
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(worker())
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not stop.dropped or task is None:
            raise
        task.uncancel()
        tell("dropped: answers on their way may still be charged, and count as spent")
    except BaseExceptionGroup as group:  # the first is why the others ended
        raise group.exceptions[0] from None
