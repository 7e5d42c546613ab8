"""TensorBoard: events made from the rows of metrics, and the program that shows them."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from compressor_cli.errors import MissingExtraError, SccError, UsageError

_TAGS = {"loss": "loss/train", "val_loss": "loss/valid"}
_UNDRAWN = ("step", "seconds")
_FREE_PORTS = 100
_FLUSH_EVERY = 5.0  # seconds

# The board ends when its standard input does: with the run, however that ends.
_SERVE = """
import os, sys
from tensorboard import program
board = program.TensorBoard()
board.configure(argv=[None, *sys.argv[1:]])
print(board.launch(), flush=True)
sys.stdin.read()
os._exit(0)
"""


def has_writer() -> bool:
    return find_spec("tensorboardX") is not None


class BoardWriter:
    """Events of `rows`, and of those written later. What an earlier session wrote is made again from the rows:
    events of steps that a killed run lost would stay otherwise.

    Events are written where they are told, not in a thread as by tensorboardX's own writer, whose failure on a
    full disk is a traceback. The metrics have all of it, so such a failure ends the events alone, by a line to `tell`.
    """

    def __init__(
        self, folder: Path, rows: Sequence[Mapping[str, Any]], started: str, tell: Callable[[str], None]
    ) -> None:
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._started = datetime.fromisoformat(started).timestamp()
        self._tell = tell
        self._events: Any = None
        self._flushed = time.monotonic()
        with self._told():
            from tensorboardX.event_file_writer import EventsWriter

            folder.mkdir(exist_ok=True, parents=True)
            self._events = EventsWriter(str(folder / "events"))
        for row in rows:
            self.write(row)

    def write(self, row: Mapping[str, Any]) -> None:
        if self._events is None:
            return
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        with self._told():
            for name, value in row.items():
                if name not in _UNDRAWN and value is not None:
                    summary = scalar(_TAGS.get(name, name), value)
                    wall_time = self._started + row["seconds"]
                    self._events.write_event(Event(wall_time=wall_time, step=row["step"], summary=summary))
            if time.monotonic() - self._flushed > _FLUSH_EVERY:
                self._events.flush()
                self._flushed = time.monotonic()

    def close(self) -> None:
        if self._events is not None:
            with self._told():
                self._events.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            self._events = None
            self._tell(f"no more TensorBoard events: {exc.strerror or exc}")


@contextmanager
def board_server(folder: Path, host: str, port: int, tell: Callable[[str], None]) -> Iterator[None]:
    """The `tensorboard` program on `folder`, from `port` or the next free one, as long as the context lasts.

    Raises MissingExtraError where it is not installed, SccError where it does not start.
    """
    if find_spec("tensorboard") is None:
        raise MissingExtraError("tensorboard", "curves")
    words = ["--logdir", str(folder), "--host", host, "--port", str(free_port(host, port)), "--load_fast", "false"]
    with tempfile.TemporaryFile("w+") as errors:  # a pipe that nobody empties would stop the board
        board = subprocess.Popen(
            [sys.executable, "-c", _SERVE, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # Ctrl-C is for the run, which stops the board when it is done
        )
        assert board.stdin and board.stdout
        try:
            address = board.stdout.readline().strip()
            if not address:
                errors.seek(0)
                lines = errors.read().strip().splitlines()
                raise SccError(f"tensorboard did not start: {lines[-1] if lines else 'it gave no reason'}")
            tell(f"TensorBoard: {address}")
            yield
        finally:
            board.kill()
            board.stdin.close()
            board.stdout.close()
            board.wait()


def free_port(host: str, port: int) -> int:
    """`port`, or the next one that nothing listens on."""
    for candidate in range(port, min(port + _FREE_PORTS, 65536)):
        try:
            with socket.create_server((host, candidate)):
                return candidate
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise UsageError(f"the board cannot listen on {host}, port {candidate}: {exc.strerror}") from None
    raise UsageError(f"no free port on {host} from {port} on", hint="set TB_PORT to another one")
