"""What the clients of all providers have in common."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from compressor_cli.chat import Note
from compressor_cli.chat.service import Service
from compressor_cli.errors import BadRequestError, SccError
from compressor_cli.records import ChatReply, ChatRequest

T = TypeVar("T")
# Nothing is validated: an answer of another shape fails where it is read.
_SHAPE = (AttributeError, IndexError, KeyError, TypeError, ValueError)


def count(tokens: Any) -> int:
    if not isinstance(tokens, int):
        raise TypeError("no number of tokens")
    return tokens


class SdkClient(Protocol):
    def copy(self, *, http_client: Any) -> Any: ...

    async def close(self) -> None: ...


C = TypeVar("C", bound=SdkClient)


class Clients(Generic[C]):
    """`first`, and as many copies as there are requests at once, each with a connection of its own that it keeps.

    The pool of connections of a client that all shared would look at every idle one at each request: with 64 at once
    that is a fifth of the processor time.
    """

    def __init__(self, first: C, http_client: Callable[[], Any]) -> None:
        self._first, self._http_client = first, http_client
        self._every, self._idle = [first], [first]

    @contextmanager
    def lent(self) -> Iterator[C]:
        if not self._idle:
            self._idle.append(self._first.copy(http_client=self._http_client()))
            self._every += self._idle
        client = self._idle.pop()  # the last one used: its connection is the least likely to have expired
        try:
            yield client
        finally:
            self._idle.append(client)

    async def aclose(self) -> None:
        for client in self._every:
            await client.close()


class SdkChat(ABC):
    """One SDK's clients, which keep their connections: for all requests to a model."""

    def __init__(self, service: Service, note: Note) -> None:
        self.service = service
        self.note = note

    @property
    def name(self) -> str:
        return self.service.name

    async def ask(self, request: ChatRequest) -> ChatReply:
        started = time.perf_counter()
        body, request_id = await self.translated(self._send(request))
        return self.read(body, time.perf_counter() - started, request_id)

    async def translated(self, call: Awaitable[T]) -> T:
        """What a call of the SDK returns, or its failure as an error of ours."""
        failure: SccError | None
        try:
            return await call
        except Exception as exc:
            failure = self._failure(exc)
            if failure is None:
                raise
        raise failure  # out here, so that no SDK exception, which knows the key, hangs on it

    def read(self, body: Any, seconds: float, request_id: str | None = None) -> ChatReply:
        try:
            return self._reply(body, seconds, request_id)
        except _SHAPE:
            failure = self.service.unreadable("not the form of an answer")
        raise failure

    def _failure(self, exc: Exception) -> SccError | None:
        import httpx2

        if isinstance(exc, UnicodeEncodeError):
            return BadRequestError(f"{self.name}: the request has characters that are no Unicode text")
        if failure := self._refusal(exc):
            return failure
        for cause in (exc.__cause__, exc):
            if isinstance(cause, httpx2.HTTPError):
                return self.service.no_answer(cause)
        if isinstance(exc, json.JSONDecodeError | UnicodeDecodeError):
            return self.service.unreadable("not JSON")
        return None

    @abstractmethod
    async def _send(self, request: ChatRequest) -> tuple[Any, str | None]:
        """The JSON of the answer, and the id of the request where a header has it.

        As the wire has both: what the SDKs make of them, by their types, takes longer than all that we do.
        """

    @abstractmethod
    def _reply(self, body: Any, seconds: float, request_id: str | None) -> ChatReply: ...

    @abstractmethod
    def _refusal(self, exc: Exception) -> SccError | None:
        """Of exceptions that only this SDK has; None for all others."""

    @abstractmethod
    async def aclose(self) -> None: ...
