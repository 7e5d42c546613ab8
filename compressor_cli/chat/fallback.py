"""A second model for what the first cannot answer."""

from __future__ import annotations

from compressor_cli.chat import Chat, Note, once
from compressor_cli.errors import QuotaError, RateLimitedError, UnavailableError
from compressor_cli.records import ChatReply, ChatRequest


class FallbackChat:
    """`model` of a reply says who answered. What is wrong with a request or a key is wrong with the second too."""

    def __init__(self, first: Chat, second: Chat, note: Note) -> None:
        self.name = first.name
        self._first, self._second, self._note = first, second, once(note)

    async def ask(self, request: ChatRequest) -> ChatReply:
        try:
            return await self._first.ask(request)
        except QuotaError as exc:
            self._note(f"{exc}; from here on {self._second.name} answers")
        except (RateLimitedError, UnavailableError):
            self._note(f"{self.name} is not to be had at times; {self._second.name} answers in its place")
        return await self._second.ask(request)

    async def aclose(self) -> None:
        try:
            await self._first.aclose()
        finally:
            await self._second.aclose()
