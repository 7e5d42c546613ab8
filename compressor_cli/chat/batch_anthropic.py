"""Anthropic's Message Batches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from compressor_cli.chat.anthropic import AnthropicChat
from compressor_cli.chat.batch_service import Outcome, Progress
from compressor_cli.core.batches import Batch
from compressor_cli.errors import SccError, UnavailableError, UsageError
from compressor_cli.records import ChatRequest

_CLOCKS = timedelta(minutes=10)  # how far those of this machine and the provider may be apart
_STATUSES = {"invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
             "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "api_error": 500,
             "timeout_error": 504, "overloaded_error": 529}  # fmt: skip


class AnthropicBatches:
    """A batch has no place for a token of ours: one that was never confirmed is known by its custom ids, once it has
    ended and shows them, among those that were created since and have as many requests.
    """

    most_requests = 100_000
    most_bytes = 250_000_000

    def __init__(self, chat: AnthropicChat) -> None:
        self.name, self.url = chat.name, chat.service.url
        self._chat = chat
        self._batches = chat.client.messages.batches

    def encode(self, custom_id: str, request: ChatRequest) -> dict[str, Any]:
        return {"custom_id": custom_id, "params": self._chat.body(request)}

    async def prepare(self, requests: Sequence[dict[str, Any]]) -> Any:
        return requests

    async def create(self, token: str, prepared: Any) -> str:
        return str((await self._chat.translated(self._batches.create(requests=prepared))).id)

    async def find(self, token: str, count: int, since: datetime) -> list[str]:
        async def search() -> list[str]:
            found: list[str] = []
            async for batch in self._batches.list(limit=100):  # the newest first
                if batch.created_at < since - _CLOCKS:
                    break
                if _total(batch) == count:
                    found.insert(0, batch.id)
            return found

        return await self._chat.translated(search())

    async def owns(self, name: str, token: str) -> bool | None:
        async def first() -> bool | None:
            if (await self._batches.retrieve(name)).processing_status != "ended":
                return None
            results = await self._batches.results(name)
            try:
                async for row in results:
                    return str(row.custom_id).startswith(f"{token}-")
            finally:
                await results.close()
            return False

        return await self._chat.translated(first())

    async def look(self, name: str) -> Progress:
        batch = await self._chat.translated(self._batches.retrieve(name))
        total = _total(batch)
        return Progress(batch.processing_status == "ended", total - batch.request_counts.processing, total)

    async def results(self, batch: Batch) -> AsyncIterator[Outcome]:
        assert batch.id is not None
        found = await self._chat.translated(self._batches.retrieve(batch.id))
        if not found.results_url:
            raise UsageError("its results are not at the provider any more")
        rows = await self._chat.translated(self._batches.results(batch.id))
        count = 0
        try:
            lines = aiter(rows)
            while (row := await self._chat.translated(anext(lines, None))) is not None:
                count += 1
                yield self._outcome(row)
        finally:
            await rows.close()
        if count < _total(found):
            raise self._chat.service.unreadable(f"{count} of {_total(found)} results of batch {batch.id}")

    def _outcome(self, row: Any) -> Outcome:
        kind = row.result.type
        if kind == "succeeded":
            try:
                return Outcome(row.custom_id, reply=self._chat.read(row.result.message.to_dict(), 0.0))
            except SccError as exc:
                return Outcome(row.custom_id, error=exc)
        if kind != "errored":
            return Outcome(row.custom_id, error=UnavailableError(f"{self.name}: the request {kind} in its batch"))
        told = row.result.error  # parts may be absent: the SDK does not look
        why, request_id = getattr(told, "error", None), getattr(told, "request_id", None)
        status = _STATUSES.get(str(getattr(why, "type", None)), 500)
        message = str(getattr(why, "message", None) or "no reason is given")
        error = self._chat.service.refused(status, message, request_id=request_id)
        if isinstance(error, UnavailableError):  # what a batch does not do, it does not charge
            error = UnavailableError(str(error), request_id=request_id)
        return Outcome(row.custom_id, error=error)

    async def aclose(self) -> None:
        await self._chat.aclose()


def _total(batch: Any) -> int:
    counts = batch.request_counts
    return int(counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired)
