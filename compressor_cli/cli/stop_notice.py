"""Saying at once that a signal was heard."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

OnEvent = Callable[[Mapping[str, Any]], None]

_FIRST = "stopping: this step is finished and a checkpoint saved; once more to leave without it"
_SECOND = "leaving; the same command goes on from the last checkpoint"


@contextmanager
def stop_notice(on_event: OnEvent) -> Iterator[OnEvent]:
    """`on_event`, which also gets a message as soon as a run that has begun is asked to stop.

    A handler runs when the library lets go of the main thread, which can be minutes later, and a person would press
    Ctrl-C again meanwhile. What Python writes for each signal to the wakeup descriptor arrives before.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield on_event
        return
    begun = threading.Event()

    def passed_on(event: Mapping[str, Any]) -> None:
        if "row" in event:
            begun.set()
        on_event(event)

    def listen() -> None:
        notices = iter((_FIRST, _SECOND))
        while number := ours.recv(1):
            if number[0] in (signal.SIGINT, signal.SIGTERM) and begun.is_set() and (notice := next(notices, None)):
                on_event({"message": notice})

    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield passed_on
    finally:
        signal.set_wakeup_fd(before)
        theirs.close()
        listener.join()
        ours.close()
