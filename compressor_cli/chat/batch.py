"""A chat whose requests go to the provider in batches, at the lower price of these.

Requests are queued until no more come, then submitted as one batch, which is polled; each one that waits gets its
reply or its error. It stands where retries and meter stand otherwise: cache(batch).

Killed at any moment and started again, it takes up the batches that `core/batches.py` has on disk: a request that is in
one of them waits for that one. A batch is over only when the run ends in good order, for until then the rows that its
replies became may not be on disk; taken up again, it tells the same replies, and the ledger settles nothing twice.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from compressor_cli.chat import Note, once
from compressor_cli.chat.batch_control import BatchControl
from compressor_cli.chat.batch_meter import BatchMeter, charged
from compressor_cli.chat.batch_service import BatchService, Outcome
from compressor_cli.chat.batches import Batches
from compressor_cli.chat.cache import ReplyCache, cache_key
from compressor_cli.core.batches import Batch
from compressor_cli.errors import (
    BadRequestError,
    DetachedError,
    RateLimitedError,
    SccError,
    SpendCapError,
    UnavailableError,
    UsageError,
)
from compressor_cli.records import ChatReply, ChatRequest
from compressor_cli.settings import ChatSettings

_LAST_SUBMISSION = 30.0  # seconds that the end of a run waits for one that is on its way


@dataclass(eq=False)
class _Entry:
    """A request and who waits for it. `request` is None until it is asked for again after a restart."""

    key: str
    request: ChatRequest | None
    size: int = 0
    attempts: int = 0
    waiting: list[asyncio.Future[ChatReply]] = field(default_factory=list)


@dataclass(eq=False)
class _Open:
    """A batch that is followed; by number, the entries that want its outcome, and None for what a later one has."""

    batch: Batch
    entries: dict[int, _Entry | None]


class BatchChat:
    def __init__(
        self,
        service: BatchService,
        batches: Batches,
        meter: BatchMeter,
        settings: ChatSettings,
        note: Note,
        cache: ReplyCache | None,
    ) -> None:
        self.name = service.name
        self._service, self._batches, self._meter = service, batches, meter
        self._settings, self._note, self._cache = settings, once(note), cache
        self._journal = batches.journal
        self._control = BatchControl(service, batches.journal, settings, self._note)
        self._entries: dict[str, _Entry] = {}  # asked for, or in a batch, and without an outcome
        self._ready: dict[str, ChatReply | Exception] = {}  # outcomes that nobody has asked for yet
        self._lost: dict[str, Exception] = {}  # those of a batch that may have been submitted
        self._queue: list[_Entry] = []
        self._short: list[_Entry] = []  # what the cap has no room for until a batch is settled
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._open: list[_Open] = []
        self._posting = 0
        self._submissions: set[asyncio.Task[None]] = set()
        self._followers: set[asyncio.Task[None]] = set()
        self._loaded = False
        batches.chats.append(self)

    async def ask(self, request: ChatRequest) -> ChatReply:
        """Raises SpendCapError where no batch that is under way can make room, DetachedError when the run stops."""
        if self._batches.detached:
            raise _detached()
        self._take_up()
        key = cache_key(self.name, self._service.url, request)
        if key in self._lost:
            raise self._lost[key]
        if (found := self._ready.pop(key, None)) is not None:
            if isinstance(found, Exception):
                raise found
            return found
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(key, request, self._size(request))
            self._enqueue([entry])
        entry.request = request
        outcome: asyncio.Future[ChatReply] = asyncio.get_running_loop().create_future()
        entry.waiting.append(outcome)
        return await outcome

    def detach(self) -> None:
        for entry in list(self._entries.values()):
            self._deliver(entry, _detached())
        self._queue.clear()
        self._short.clear()
        for follower in self._followers:
            follower.cancel()

    async def aclose(self) -> None:
        """What is in a batch and was not asked for goes into the cache, where the batch has ended by now."""
        try:
            if self._timer is not None:
                self._timer.cancel()
            if self._submissions:
                _, late = await asyncio.wait(self._submissions, timeout=_LAST_SUBMISSION)
                for task in late:
                    task.cancel()
            for task in self._followers:
                task.cancel()
            await asyncio.gather(*self._followers, return_exceptions=True)
            if not self._batches.detached:
                self._take_up(follow=False)
                for one in list(self._open):
                    await self._last_look(one)
                self._keep_ready()
        finally:
            await self._service.aclose()

    # --- from requests to a batch

    def _enqueue(self, entries: Iterable[_Entry]) -> None:
        self._queue += entries
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        full = len(self._queue) >= self._service.most_requests
        wait = 0.0 if full else self._settings.batch_wait
        self._timer = loop.call_at(max(loop.time() + wait, self._not_before), self._submit_queue)

    def _submit_queue(self) -> None:
        queue, self._queue = self._queue, []
        while queue and not self._batches.detached:
            size = count = 0
            for entry in queue[: self._service.most_requests]:
                size += entry.size + 100  # of the custom id
                if count and size > self._service.most_bytes:
                    break
                count += 1
            part, queue = queue[:count], queue[count:]
            self._run(self._submissions, partial(self._submit, part), partial(list, part))

    def _size(self, request: ChatRequest) -> int:
        try:
            return len(json.dumps(self._service.encode("", request), ensure_ascii=False).encode())
        except UnicodeEncodeError:
            raise BadRequestError(f"{self.name}: the request has characters that are no Unicode text") from None

    async def _submit(self, entries: list[_Entry]) -> None:
        """`entries` keeps those that the batch gets."""
        if self._batches.detached:
            return
        batch = self._journal.intend(self.name, self._service.url, [entry.key for entry in entries])
        count, full = self._meter.reserve(batch, _requests(entries))
        if full is not None:
            self._no_room(entries[count:], full, more_to_come=bool(count or self._open or self._posting))
            del entries[count:]
        if not count:
            self._journal.end(batch)
            return
        for entry in entries:
            entry.attempts += 1
        self._posting += 1
        try:
            self._journal.submitting(batch, count)
            name = await self._control.post(batch, _requests(entries))
        except UnavailableError:  # it may be there: the next run looks for it
            raise
        except SccError:
            self._drop(batch)
            raise
        finally:
            self._posting -= 1
        self._journal.submitted(batch, name)
        self._note(f"{self.name}: batch {name} with {count:,} requests is submitted")
        self._begin_to_follow(_Open(batch, dict(enumerate(entries))))

    def _no_room(self, entries: list[_Entry], error: SpendCapError, *, more_to_come: bool) -> None:
        """What the cap has no room for waits for batches under way, which may cost less than is reserved for them."""
        if more_to_come:
            self._short += entries
            return
        for entry in entries:
            self._deliver(entry, error)

    # --- from a batch to replies

    def _take_up(self, *, follow: bool = True) -> None:
        """The batches that an earlier run left."""
        if self._loaded:
            return
        self._loaded = True
        last: dict[str, tuple[_Open, int]] = {}
        for batch in self._journal.open_batches(self.name, self._service.url):
            if batch.count is None:
                self._drop(batch)
                continue
            one = _Open(batch, {})
            for number, key in enumerate(batch.keys[: batch.count]):
                attempts = 1
                if key in last:  # the last batch that has a request counts
                    earlier, place = last[key]
                    earlier.entries[place] = None
                    attempts += self._entries[key].attempts
                self._entries[key] = one.entries[number] = _Entry(key, None, attempts=attempts)
                last[key] = one, number
            self._open.append(one)
        for one in self._open if follow else ():
            self._begin_to_follow(one)

    def _begin_to_follow(self, one: _Open) -> None:
        if one not in self._open:
            self._open.append(one)
        if not self._batches.detached:
            self._run(self._followers, partial(self._follow, one), lambda: [e for e in one.entries.values() if e])

    async def _follow(self, one: _Open) -> None:
        batch = one.batch
        try:
            if batch.id is None and not await self._found(one):
                return
            assert batch.id is not None
            told = 0
            async for progress in self._control.looks(batch.id):
                if progress.ended:
                    break
                if progress.done - told >= max(progress.total // 20, 1):
                    told = progress.done
                    self._note(f"batch {batch.id}: {told:,} of {progress.total:,} requests are done")
            await self._control.patiently(lambda: self._collect(one))
        except UsageError as exc:
            hint = f"it needs the key that began it; without {self._journal.path} all is asked, and paid, again"
            raise UsageError(f"batch {batch.id}: {exc}", hint=hint) from None

    async def _found(self, one: _Open) -> bool:
        """Looks for a batch that was on its way when an earlier run was killed; what is not there is queued again."""
        batch = one.batch
        name = await self._control.patiently(lambda: self._control.locate(batch))
        if name is not None:
            self._journal.submitted(batch, name)
            self._note(f"{self.name}: batch {name}, which an earlier run began, is taken up")
            return True
        self._open.remove(one)
        self._drop(batch)
        for entry in one.entries.values():
            if entry:
                entry.attempts -= 1
                self._again(entry, UnavailableError("never submitted"))
        self._room()
        return False

    async def _collect(self, one: _Open) -> None:
        """Again from the start where it breaks off; what was handed out before is passed over."""

        async def read() -> None:
            async for outcome in self._service.results(one.batch):
                self._hand_out(one, outcome)

        await self._control.read(read)
        for number in list(one.entries):
            missing = UnavailableError(f"{self.name}: batch {one.batch.id} ended without an outcome for it")
            self._hand_out(one, Outcome(one.batch.custom_id(number), error=missing))
        self._open.remove(one)
        self._batches.over.append(one.batch)
        self._room()

    def _hand_out(self, one: _Open, outcome: Outcome) -> None:
        number = one.batch.number(outcome.custom_id)
        if number is None or number not in one.entries:
            return
        entry, result = one.entries.pop(number), self._meter.settle(one.batch, outcome)
        if entry is None:
            return
        if isinstance(result, RateLimitedError | UnavailableError) and not charged(result):
            self._again(entry, result)
        else:
            self._deliver(entry, result)

    def _again(self, entry: _Entry, error: SccError) -> None:
        if entry.request is None or all(outcome.done() for outcome in entry.waiting):
            self._entries.pop(entry.key, None)
        elif entry.attempts >= self._settings.batch_attempts:
            self._deliver(entry, UnavailableError(f"{error} ({entry.attempts} batches)"))
        else:
            if isinstance(error, RateLimitedError):
                self._not_before = asyncio.get_running_loop().time() + self._settings.batch_poll_most
            self._enqueue([entry])

    def _deliver(self, entry: _Entry, result: ChatReply | Exception) -> None:
        """Several who ask the same get one answer, which is paid for once."""
        self._entries.pop(entry.key, None)
        waiting = [outcome for outcome in entry.waiting if not outcome.done()]
        if not waiting:
            self._ready[entry.key] = result
        for number, outcome in enumerate(waiting):
            if isinstance(result, Exception):
                outcome.set_exception(result)
            else:
                outcome.set_result(replace(result, cached=True, cost_usd=0.0) if number else result)

    def _drop(self, batch: Batch) -> None:
        """It is not at the provider."""
        self._meter.release(batch)
        self._journal.end(batch)

    def _room(self) -> None:
        """The cap may have room again for what it had none for."""
        short, self._short = self._short, []
        if short:
            self._enqueue(short)

    # --- tasks, and their end

    def _run(
        self,
        tasks: set[asyncio.Task[None]],
        work: Callable[[], Awaitable[None]],
        entries: Callable[[], Iterable[_Entry]],
    ) -> None:
        """What ends the task ends the waiting for its entries. `work` begins within it, for it may never start."""

        async def guarded() -> None:
            try:
                await work()
            except Exception as exc:
                if isinstance(exc, UnavailableError):  # they may be in a batch: not to be asked again in this run
                    self._lost |= {entry.key: exc for entry in entries()}
                if tasks is self._followers:  # nothing will be settled that others wait for
                    short, self._short = self._short, []
                    for entry in short:
                        self._deliver(entry, exc)
                for entry in list(entries()):
                    self._deliver(entry, exc)
                self._room()

        task = asyncio.get_running_loop().create_task(guarded())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _last_look(self, one: _Open) -> None:
        batch = one.batch
        if batch.id is None:
            return
        try:
            if (await self._service.look(batch.id)).ended:
                await self._collect(one)
            else:
                self._note(f"batch {batch.id} goes on; the next run with --batch and --resume collects it")
        except SccError as exc:
            self._note(f"batch {batch.id}: {exc}")

    def _keep_ready(self) -> None:
        """What was paid for and not asked for: the next one who asks finds it in the cache."""
        lost = 0
        for key, result in self._ready.items():
            if isinstance(result, ChatReply):
                if self._cache is not None:
                    self._cache.keep(key, result)
                lost += self._cache is None or self._cache.find(key) is None
        if lost:
            self._note(f"{self.name}: {lost:,} answers of batches were not asked for any more and are not kept")


def _requests(entries: Iterable[_Entry]) -> list[ChatRequest]:
    """Of entries that are in a queue, which have theirs."""
    return [entry.request for entry in entries if entry.request is not None]


def _detached() -> DetachedError:
    return DetachedError("the batch goes on at the provider", hint="the same command with --resume takes it up")
