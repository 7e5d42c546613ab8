"""Language models of providers, behind a protocol of one method.

Layers are wrapped around a client, each a Chat itself: cache(fallback(retry(meter(client)))).
"""

from __future__ import annotations

from typing import Protocol

from compressor_cli.records import ChatReply, ChatRequest


class Chat(Protocol):
    @property
    def name(self) -> str:
        """As the user names it: `provider:model`."""

    async def ask(self, request: ChatRequest) -> ChatReply:
        """Raises ChatError for what the provider says in place of an answer."""

    async def aclose(self) -> None: ...
