"""What a provider's batches have to be able to do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from compressor_cli.core.batches import Batch
from compressor_cli.errors import SccError
from compressor_cli.records import ChatReply, ChatRequest


@dataclass(frozen=True, slots=True)
class Progress:
    ended: bool
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one request: a reply, or an error, whose kind says whether to try again and whether it was charged."""

    custom_id: str
    reply: ChatReply | None = None
    error: SccError | None = None


class BatchService(Protocol):
    """Every call raises errors of ours only. `most_requests` and `most_bytes` are those of one batch."""

    most_requests: int
    most_bytes: int

    @property
    def name(self) -> str:
        """`provider:model`."""

    @property
    def url(self) -> str | None: ...

    def encode(self, custom_id: str, request: ChatRequest) -> dict[str, Any]: ...

    async def prepare(self, requests: Sequence[dict[str, Any]]) -> Any:
        """What `create` wants of them; done twice, it does no harm."""

    async def create(self, token: str, prepared: Any) -> str:
        """The id of a batch that begins now."""

    async def find(self, token: str, count: int, since: datetime) -> list[str]:
        """Batches that can be the one with this token, of `count` requests, created after `since`."""

    async def owns(self, name: str, token: str) -> bool | None:
        """Whether it is the one with this token; None where that cannot be known yet."""

    async def look(self, name: str) -> Progress: ...

    def results(self, batch: Batch) -> AsyncIterator[Outcome]:
        """Of a batch that has ended, in any order; a request without an outcome was not done."""

    async def aclose(self) -> None: ...
