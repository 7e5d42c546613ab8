"""A function in a process of its own that is made once and asked many times; each of its answers is a stream.

The child holds nothing that is worth saving: it is killed when it is not needed any more, and ends with its parent.
"""

from __future__ import annotations

import os
import socket
import threading
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, NoReturn

from compressor_cli.core.child import ChildError, find_target, how_it_ended, open_pipe, rebuilt, start_child
from compressor_cli.errors import SccError

Answer = Callable[..., Iterable[Any]]


class ChildService:
    """`target`, a "module:function", is called with `args` in the child, and returns the function that answers.

    Where that yields None it may be left off; the rest arrives here. Arguments and answers are pickled. An SccError
    passes as it is, and one that ends an answer leaves the service as it was. Raises one, too, where the child is
    killed: `purpose` is what it was for, as in "the process that trains".
    """

    def __init__(self, target: str, args: tuple[Any, ...], *, purpose: str, hint: str) -> None:
        self._purpose, self._hint = purpose, hint
        self._number = 0
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._process = start_child(serve, theirs)
            self._pipe = Connection(ours.detach())
        try:
            self._send((target, args))
            self._receive(0)
        except BaseException:
            self.close()
            raise

    def ask(self, *request: Any) -> Generator[Any, None, None]:
        """What the function yields, called with `request`. One at a time: the one before is left off."""
        self._number += 1
        number, whole = self._number, False
        self._send((number, request))
        try:
            while True:
                assert number == self._number, "left off: another request came"
                kind, value = self._receive(number)
                if whole := kind == "done":
                    return
                yield value
        finally:
            if not whole and number == self._number:
                self._number += 1
                with suppress(SccError):
                    self._send((self._number, None))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._pipe.close()

    def _send(self, message: Any) -> None:
        try:
            self._pipe.send(message)
        except OSError:
            self._died()

    def _receive(self, number: int) -> tuple[str, Any]:
        """What is said next of request `number`; 0 is the making of the function."""
        while True:
            try:
                kind, answered, *rest = self._pipe.recv()
            except (EOFError, OSError):
                self._died()
            if kind == "failed":
                raise ChildError(f"in the child process:\n{rest[0]}")
            if answered == number and kind == "refused":
                raise rebuilt(*rest)
            if answered == number:
                return kind, rest[0]

    def _died(self) -> NoReturn:
        raise SccError(f"the process that {self._purpose} {how_it_ended(self._process.wait())}", hint=self._hint)


def serve(descriptor: int) -> None:
    """What the child does."""
    pipe = open_pipe(descriptor)
    number = 0
    try:
        target, args = pipe.recv()
        requests = _Requests(pipe)
        answer: Answer = find_target(target)(*args)
        pipe.send(("done", number, None))
        while True:
            number, request = requests.waiting.get()
            try:
                requests.send_all(number, answer(*request))
                pipe.send(("done", number, None))
            except SccError as exc:
                pipe.send(_refusal(number, exc))
    except SccError as exc:
        pipe.send(_refusal(number, exc))
    except BaseException:
        with suppress(OSError):  # the parent is gone
            pipe.send(("failed", number, traceback.format_exc()))
    os._exit(0)


def _refusal(number: int, exc: SccError) -> tuple[Any, ...]:
    return "refused", number, type(exc), exc.args, exc.__dict__


class _Requests:
    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._latest = 0
        self.waiting: SimpleQueue[tuple[int, tuple[Any, ...]]] = SimpleQueue()
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self) -> None:
        while True:
            try:
                self._latest, request = self._pipe.recv()
            except (EOFError, OSError):
                os._exit(0)
            if request is not None:
                self.waiting.put((self._latest, request))

    def send_all(self, number: int, items: Iterable[Any]) -> None:
        """Until another request came, or it was said that this one is left off."""
        for item in items:
            if self._latest != number:
                return
            if item is not None:
                self._pipe.send(("item", number, item))
