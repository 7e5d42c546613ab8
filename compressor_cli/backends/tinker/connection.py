"""Waiting for Tinker's SDK: it tries again for minutes or for ever, mostly in silence, and in threads of its own.

Everything that may take long is waited for in `Connection.first`: signals are noticed, what the SDK logs is passed on
from the main thread, a server that is gone is noticed, and whatever is raised becomes one line.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from compressor_cli.backends.tinker.access import Access, is_healthy
from compressor_cli.backends.tinker.failures import AGAIN, told
from compressor_cli.errors import QuotaError, SccError
from compressor_cli.settings import without_tinker_telemetry

T = TypeVar("T")
_TICK = 0.2
_UNPAID = "paused due to billing"  # the SDK says so, and goes on asking for up to an hour


@dataclass(frozen=True)
class Patience:
    """In seconds without an answer: when to ask whether the server is there (and how often), when to give it up, and
    when to tell that it takes long."""

    ask: float = 15
    lost: float = 300
    tell: float = 60
    close: float = 5


PATIENCE = Patience()


class Connection:
    """`strict`: a refusal for want of payment is an error at once. Else the SDK waits for the account to be mended, so
    that a run under way loses nothing."""

    def __init__(self, access: Access, tell: Callable[[str], None], *, strict: bool = True) -> None:
        self.access, self.strict = access, strict
        self._tell = tell
        self._notices: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._told: set[str] = set()

    def wait(self, future: Any, doing: str) -> Any:
        """The result of a future of the SDK, or of this module. Raises SccError for whatever else comes."""
        waited: Future[Any] = future if isinstance(future, Future) else future.future()
        done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        waited.add_done_callback(done.put)
        self.first(done, doing)
        try:
            return waited.result()
        except (Exception, CancelledError) as exc:
            raise told(exc, self.access.url, self.access.key) from None

    def first(self, done: queue.SimpleQueue[T], doing: str) -> T:
        """What is put there first, by any thread. Raises SccError where nothing will be."""
        silence = _Silence(self, doing)
        while True:
            with suppress(queue.Empty):
                return done.get(timeout=_TICK)
            self.pass_on()
            silence.look()

    def call(self, function: Callable[[], T], doing: str) -> T:
        """For what the SDK does before it returns a future; in a thread, which a second signal leaves behind."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                with without_tinker_telemetry():
                    result = function()
            except BaseException as exc:
                future.set_exception(exc)
            else:
                future.set_result(result)

        threading.Thread(target=run, daemon=True).start()
        waited: T = self.wait(future, doing)
        return waited

    def rest(self) -> Any:
        """The SDK's client for what needs no session."""
        import tinker

        return self.call(
            lambda: tinker.RestClient(base_url=self.access.url, api_key=self.access.key), "the server's settings"
        )

    def pass_on(self) -> None:
        """What the SDK has logged meanwhile, each line once."""
        with suppress(queue.Empty):
            while True:
                notice = self._notices.get_nowait().replace(self.access.key, "***")
                if self.strict and _UNPAID in notice:
                    said = notice.rpartition("Error: ")[2]
                    raise QuotaError(f"{self.access.url} asks to be paid: {said}", hint=f"see to billing; {AGAIN}")
                if notice not in self._told:
                    self._told.add(notice)
                    self._tell(f"tinker: {notice}")

    def tell(self, message: str) -> None:
        self._tell(message)

    def notice(self, message: str) -> None:
        """From any thread."""
        self._notices.put(message)


class _Silence:
    """How long one answer has been waited for, and whether the server is still there."""

    def __init__(self, connection: Connection, doing: str) -> None:
        self._connection, self._doing = connection, doing
        self._since = self._answered = time.monotonic()
        self._next_ask, self._next_word = PATIENCE.ask, PATIENCE.tell
        self._gone = False

    def look(self) -> None:
        now = time.monotonic()
        if now - self._since >= self._next_word:
            self._connection.tell(f"waiting for {self._doing}: {self._next_word:.0f} s up to now")
            self._next_word *= 2
        if now - self._since < self._next_ask:
            return
        url = self._connection.access.url
        if is_healthy(self._connection.access, seconds=5):
            self._answered = time.monotonic()
            if self._gone:
                self._connection.tell(f"{url} answers again")
            self._gone = False
        elif now - self._answered >= PATIENCE.lost:
            raise SccError(f"the connection to {url} is lost: no answer for {PATIENCE.lost:.0f} s", hint=AGAIN)
        elif not self._gone:
            self._gone = True
            self._connection.tell(f"no answer from {url}; waiting up to {PATIENCE.lost:.0f} s for it")
        self._next_ask = time.monotonic() - self._since + PATIENCE.ask


@contextmanager
def connected(access: Access, tell: Callable[[str], None], *, strict: bool = True) -> Iterator[Connection]:
    """What the SDK logs goes to `tell`, and nowhere else."""
    connection = Connection(access, tell, strict=strict)
    logger = logging.getLogger("tinker")
    handler = _Handler(connection)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield connection
        connection.pass_on()
    finally:
        logger.removeHandler(handler)
        logger.propagate = not any(isinstance(one, _Handler) for one in logger.handlers)  # of other connections


class _Handler(logging.Handler):
    def __init__(self, connection: Connection) -> None:
        super().__init__(logging.WARNING)
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        line = " ".join(record.getMessage().split())
        if "because of try_again" not in line:  # each poll of a long request says so
            self._connection.notice(line[:300])
