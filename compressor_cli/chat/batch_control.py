"""The requests around a batch: it is sent once, found again, and looked at until it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from compressor_cli.chat import Note
from compressor_cli.chat.batch_service import BatchService, Progress
from compressor_cli.chat.retry import Limiter, Retries
from compressor_cli.core.batches import Batch, BatchJournal
from compressor_cli.errors import RateLimitedError, SccError, UnavailableError
from compressor_cli.records import ChatRequest
from compressor_cli.settings import ChatSettings

T = TypeVar("T")
_SLOTS = 4  # control requests at once


class BatchControl:
    def __init__(self, service: BatchService, journal: BatchJournal, settings: ChatSettings, note: Note) -> None:
        self.service = service
        self._journal, self._settings, self._note = journal, settings, note
        # A quota that is gone ends the sending, and not the reading of what is paid for.
        self._sending, self._reading = (Retries(Limiter(_SLOTS), settings) for _ in range(2))

    async def post(self, batch: Batch, requests: Sequence[ChatRequest]) -> str:
        """The id that the provider gives it. After UnavailableError it may be there all the same."""
        service, unsure = self.service, False
        encoded = [service.encode(batch.custom_id(number), request) for number, request in enumerate(requests)]
        prepared = await self._sending.run(lambda: service.prepare(encoded))

        async def attempt() -> str:
            nonlocal unsure
            if unsure and (found := await self.locate(batch)):
                return found
            unsure = False
            try:
                return await service.create(batch.token, prepared)
            except UnavailableError:
                unsure = True
                raise

        try:
            return await self._sending.run(attempt)
        except SccError as exc:
            if unsure:
                raise UnavailableError(str(exc), maybe_charged=True) from None
            raise

    async def locate(self, batch: Batch) -> str | None:
        """The id of a batch that was sent and never confirmed; None where it surely is not there."""
        assert batch.count is not None
        since, count, wrong, waited = batch.time, batch.count, self._journal.ids(), False
        while True:
            every = await self._reading.run(lambda: self.service.find(batch.token, count, since))
            found = [name for name in every if name not in wrong]
            if found:
                if await self._is_ours(found[0], batch):
                    return found[0]
                wrong.add(found[0])
            elif waited:
                return None
            else:
                await asyncio.sleep(self._settings.batch_grace)
                waited = True

    async def _is_ours(self, name: str, batch: Batch) -> bool:
        async for _ in self.looks(name):
            ours = await self._reading.run(lambda: self.service.owns(name, batch.token))
            if ours is not None:
                return ours
        return False

    async def read(self, work: Callable[[], Awaitable[T]]) -> T:
        return await self._reading.run(work)

    async def looks(self, name: str) -> AsyncIterator[Progress]:
        wait = self._settings.batch_poll
        while True:
            yield await self.patiently(lambda: self._reading.run(lambda: self.service.look(name)))
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, max(self._settings.batch_poll, self._settings.batch_poll_most))

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """A batch takes hours: an outage that is longer than a request's retries does not end the waiting for it."""
        while True:
            try:
                return await work()
            except (UnavailableError, RateLimitedError) as exc:
                self._note(f"{exc}; still waiting")
            await asyncio.sleep(self._settings.batch_poll_most)
