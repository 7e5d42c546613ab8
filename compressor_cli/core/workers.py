"""Work that would hold up the requests in flight, done in processes of its own."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_FEW = 64  # calls that are not worth a process


class Workers:
    """For about `calls` calls: a few are made in this process, more in others, one for each further processor."""

    def __init__(self, calls: int) -> None:
        self._pool = None
        if calls > _FEW:
            spawn = multiprocessing.get_context("spawn")
            count = max((os.cpu_count() or 2) - 1, 1)
            self._pool = ProcessPoolExecutor(min(count, 4), mp_context=spawn, initializer=_attach)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._pool is None:
            return function(*args, **kwargs)
        assert not kwargs  # an executor takes none
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _attach() -> None:
    """Signals are the parent's to handle; when it is killed, its workers end too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
