"""What the clients of all providers have in common."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Any, TypeVar

from compressor_cli.chat import Note
from compressor_cli.chat.service import Service
from compressor_cli.errors import BadRequestError, SccError
from compressor_cli.records import ChatReply, ChatRequest

T = TypeVar("T")
# SDKs do not validate: an answer of another shape fails where it is read.
_SHAPE = (AttributeError, IndexError, KeyError, TypeError, ValueError)


def count(tokens: Any) -> int:
    if not isinstance(tokens, int):
        raise TypeError("no number of tokens")
    return tokens


class SdkChat(ABC):
    """One SDK client, which keeps its connections: for all requests to a model."""

    def __init__(self, service: Service, note: Note) -> None:
        self.service = service
        self.note = note

    @property
    def name(self) -> str:
        return self.service.name

    async def ask(self, request: ChatRequest) -> ChatReply:
        started = time.perf_counter()
        answer = await self.translated(self._send(request))
        return self.read(answer, time.perf_counter() - started)

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

    def read(self, answer: Any, seconds: float) -> ChatReply:
        try:
            return self._reply(answer, seconds)
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
    async def _send(self, request: ChatRequest) -> Any: ...

    @abstractmethod
    def _reply(self, answer: Any, seconds: float) -> ChatReply: ...

    @abstractmethod
    def _refusal(self, exc: Exception) -> SccError | None:
        """Of exceptions that only this SDK has; None for all others."""

    @abstractmethod
    async def aclose(self) -> None: ...
