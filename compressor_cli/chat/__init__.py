"""Language models of providers, behind a protocol of one method.

Layers are wrapped around a client, each a Chat itself: fallback(cache(retry(meter(client))), ...). `clients.open_chat`
puts them together. In batches it is fallback(cache(batch)).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from compressor_cli.records import ChatReply, ChatRequest

Note = Callable[[str], None]


class Chat(Protocol):
    @property
    def name(self) -> str:
        """As the user names it: `provider:model`."""

    async def ask(self, request: ChatRequest) -> ChatReply:
        """Raises ChatError for what the provider says in place of an answer."""

    async def aclose(self) -> None: ...


def once(note: Note) -> Note:
    """The same, but nothing is said twice."""
    said: set[str] = set()

    def tell(text: str) -> None:
        if text not in said:
            said.add(text)
            note(text)

    return tell
