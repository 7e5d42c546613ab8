"""A function in a process of its own, for libraries that end the whole process where they run out of memory.

The child is in a session of its own: Ctrl-C reaches it once, through its parent. It ends in good order, as of SIGTERM,
when its parent is gone.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, NoReturn

from compressor_cli.errors import SccError

OnEvent = Callable[[Mapping[str, Any]], None]
_PASSED_ON = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 3  # signals before the child is not asked any longer


class ChildError(RuntimeError):
    """A bug in the child: its traceback, as text."""


def run_in_child(target: str, args: tuple[Any, ...], on_event: OnEvent) -> Any:
    """Calls `target`, a "module:function", with `args` and `on_event=`; what it returns.

    Arguments, events and result are pickled. SccError, SystemExit and OSError pass as they are. A child that is
    killed is an SccError that names what was saved last, if an event had `saved`.
    """
    ours, theirs = socket.socketpair()
    with _passed_on() as passed, ours, theirs:
        process = start_child(serve, theirs)
        passed.to(process)
        theirs.close()
        try:
            with Connection(ours.detach()) as pipe:
                return _converse(pipe, process, (target, args), on_event, passed)
        finally:  # the pipe is closed, so the child ends
            process.wait()


def start_child(serve: Callable[[int], None], end: socket.socket) -> subprocess.Popen[bytes]:
    """A process in a session of its own that calls `serve`, of a module, with the descriptor of its `end`."""
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; "
        f"from {serve.__module__} import {serve.__name__}; {serve.__name__}({end.fileno()})"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, pass_fds=[end.fileno()], start_new_session=True
    )


class _Passed:
    """The signals that came, for the child; one that comes before there is a child is blocked."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None

    def to(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)

    def received(self, number: int, frame: FrameType | None) -> None:
        self.numbers.append(number)
        if self._process is not None:
            self._process.send_signal(number if len(self.numbers) < _PATIENCE else signal.SIGKILL)


@contextmanager
def _passed_on() -> Iterator[_Passed]:
    """Blocks the signals, for the child to begin with, until it is known; afterwards they are passed on.

    Outside the main thread, which alone gets signals, none is handled.
    """
    passed = _Passed()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, passed.received) for number in _PASSED_ON}
    try:
        yield passed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _converse(
    pipe: Connection, process: subprocess.Popen[bytes], call: tuple[Any, ...], on_event: OnEvent, passed: _Passed
) -> Any:
    saved = None
    try:
        pipe.send(call)
        while True:
            kind, *rest = pipe.recv()
            if kind != "event":
                break
            saved = rest[0].get("saved", saved)
            on_event(rest[0])
    except (EOFError, ConnectionError):
        _died(process.wait(), saved, passed.numbers)
    if kind == "returned":
        return rest[0]
    if kind == "left":
        raise SystemExit(rest[0])
    if kind == "unable":
        raise OSError(*rest)
    if kind == "refused":
        raise rebuilt(*rest)
    raise ChildError(f"in the child process:\n{rest[0]}")


def rebuilt(kind: type[SccError], args: tuple[Any, ...], attributes: dict[str, Any]) -> SccError:
    """Without its `__init__`, whose parameters are not those that the exception keeps."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(attributes)
    return error


def _died(code: int, saved: str | None, passed: list[int]) -> NoReturn:
    if -code in passed or len(passed) >= _PATIENCE:
        raise SystemExit(128 + passed[0])
    raise SccError(
        f"the process that trains {how_it_ended(code)}" + (f"; the last checkpoint is {saved}" if saved else ""),
        hint="the same command goes on from the last checkpoint. Without memory a system ends a process like this: "
        "a smaller --batch-size or --max-seq-length needs less, and so does a smaller model",
    )


def how_it_ended(code: int) -> str:
    """`code` is that of a process which should have gone on."""
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended without a word (exit code {code})"


def open_pipe(descriptor: int) -> Connection:
    """In the child: what libraries print goes to stderr, for stdout is the parent's, for its result."""
    with suppress(OSError):  # closed
        os.dup2(2, 1)
    return Connection(descriptor)


def find_target(target: str) -> Callable[..., Any]:
    module, _, name = target.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def serve(descriptor: int) -> None:
    """What the child does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
    signal.signal(signal.SIGTERM, _leave)
    pipe = open_pipe(descriptor)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
        target, args = pipe.recv()
        threading.Thread(target=_watch, args=(pipe,), daemon=True).start()
        reply: tuple[Any, ...] = ("returned", find_target(target)(*args, on_event=_teller(pipe)))
    except SccError as exc:
        reply = ("refused", type(exc), exc.args, exc.__dict__)
    except OSError as exc:  # a disk that is full or read-only: as it would end this run in its parent
        reply = ("unable", exc.errno, exc.strerror or str(exc), exc.filename)
    except KeyboardInterrupt:
        reply = ("left", 128 + signal.SIGINT)
    except SystemExit as exc:
        reply = ("left", exc.code)
    except BaseException:
        reply = ("failed", traceback.format_exc())
    for number in _PASSED_ON:  # the parent leaves when it has the reply
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        pipe.send(reply)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError):
            stream.flush()
    os._exit(0)  # what a library does at its end can fail or take its time


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _teller(pipe: Connection) -> OnEvent:
    def tell(event: Mapping[str, Any]) -> None:
        with suppress(OSError):  # the parent is gone, and `_watch` has seen it too
            pipe.send(("event", dict(event)))

    return tell


def _watch(pipe: Connection) -> None:
    """The parent never sends again: what comes is its end."""
    with suppress(EOFError, OSError):
        pipe.recv()
    os.kill(os.getpid(), signal.SIGTERM)
