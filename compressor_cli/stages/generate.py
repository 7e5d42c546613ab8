"""`scc seed generate`: every row asked for ends accepted, rejected, failed or pending; a resume does the rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor_cli import __version__
from compressor_cli.chat import Chat
from compressor_cli.core.duplicates import Duplicates
from compressor_cli.core.jsonl import Journal, read_rows
from compressor_cli.core.recipes import Job, Plan
from compressor_cli.core.seeds import Seed, SourceRow, rows_to_come, seed_count, seeds
from compressor_cli.core.stopping import Stop, drive
from compressor_cli.core.tallies import Tally, count_rows, total
from compressor_cli.core.workers import Workers
from compressor_cli.engines.acceptance import Judge, Judgement, likeness
from compressor_cli.errors import ChatError, QuotaError, SccError, UsageError
from compressor_cli.records import ChatReply, Usage

OnEvent = Callable[[Mapping[str, Any]], None]
Judges = Workers[[str, SourceRow | None, str, str], Judgement]
_EVERY = 0.1  # seconds between two events of progress


@dataclass(frozen=True)
class GenerateSummary:
    """Of the whole file, with earlier runs. `stopped` is what ended this one early: a spend cap, a quota, a signal."""

    output: Path
    jobs: tuple[Tally, ...]
    already_there: int
    repaired: int
    stopped: SccError | int | None

    @property
    def unfinished(self) -> str | None:
        """What keeps the run from being done, in words. What --limit kept from being asked for does not."""
        counts = {
            "rows failed": sum(job.missed for job in self.jobs),
            "rows are pending": sum(job.pending for job in self.jobs),
            "accepted rows are missing to targets": sum(job.short for job in self.jobs if job.exhausted),
        }
        return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or None

    def as_dict(self) -> dict[str, Any]:
        return {
            "output": str(self.output),
            "categories": [job.as_dict() for job in self.jobs],
            "total": total("total", self.jobs).as_dict(),
            "already_there": self.already_there,
            "stopped": str(self.stopped) if isinstance(self.stopped, SccError) else self.stopped,
            "unfinished": self.unfinished,
        }


def generate(
    plan: Plan,
    corpus: Sequence[SourceRow],
    chat: Chat,
    target: Path,
    *,
    limit: int | None = None,
    resume: bool = False,
    retry_errors: bool = False,
    concurrency: int = 8,
    leave: Callable[[], None] | None = None,
    on_event: OnEvent = lambda event: None,
) -> GenerateSummary:
    """Ask for rows until each job has its target of accepted ones, or its source is exhausted.

    `limit` is over all rows of the file. `leave`, where given, ends the waiting for replies when a signal comes.
    Raises UsageError for what is wrong with every row; what is wrong with one stands in that row.
    """
    rows = rows_to_come(plan, corpus, lambda message: on_event({"message": message}))
    settings = {"model": chat.name, "version": __version__, **plan.settings}
    with (
        Journal(target, settings, resume=resume) as journal,
        Workers(Judge(plan), min(rows, limit or rows) - len(journal.rows)) as judges,
    ):
        if journal.repaired:
            on_event({"message": f"{target}: a torn last row ({journal.repaired} bytes) was cut off; it is done again"})
        run = _Run(plan, corpus, chat, journal, judges, limit=limit, retry_errors=retry_errors, on_event=on_event)
        run.stop.leave = leave
        asyncio.run(run.drive(min(concurrency, limit or rows)))
        if isinstance(run.stop.reason, UsageError):
            raise run.stop.reason
        return GenerateSummary(target, run.tallies(), run.already_there, journal.repaired, run.stop.reason)


class _Source:
    """The seeds of one job, and whether one more may be taken up."""

    def __init__(self, job: Job, every: Iterator[Seed], total: int) -> None:
        self.target, self.total = job.target, job.target or total
        self._every = every
        self.taken = self.accepted = self.in_flight = 0
        self.exhausted = False

    @property
    def progress(self) -> float:
        done = self.taken if self.target is None else self.accepted + self.in_flight
        return done / max(self.total, 1)

    @property
    def done(self) -> int:
        return self.taken - self.in_flight if self.target is None else self.accepted

    @property
    def open(self) -> bool:
        """Supposing that all in flight will be accepted."""
        return not self.exhausted and (self.target is None or self.accepted + self.in_flight < self.target)

    def draw(self) -> Seed | None:
        seed = next(self._every, None)
        self.exhausted = seed is None
        self.taken += seed is not None
        return seed


class _Run:
    def __init__(
        self,
        plan: Plan,
        corpus: Sequence[SourceRow],
        chat: Chat,
        journal: Journal,
        judges: Judges,
        *,
        limit: int | None,
        retry_errors: bool,
        on_event: OnEvent,
    ) -> None:
        self.chat, self.journal, self.judges, self.on_event = chat, journal, judges, on_event
        self.retry_errors = retry_errors
        self.already_there = sum(journal.has(key, retry_errors=retry_errors) for key in journal.rows)
        self.left = None if limit is None else max(limit - self.already_there, 0)
        self.stop, self.changed, self.told = Stop(), asyncio.Event(), 0.0
        recipe = plan.recipe
        self.sources = {
            job.name: _Source(job, seeds(recipe, job, corpus, chat.name), seed_count(recipe, job, corpus))
            for job in plan.jobs
        }
        threshold = recipe.checks.near_duplicate
        self.duplicates = Duplicates(threshold) if threshold is not None else None
        for row in read_rows(journal.path):
            if row.get("status") == "accepted":
                self.sources[row["job"]].accepted += 1
                if self.duplicates:
                    self.duplicates.find_or_add(row["key"], likeness(row))

    async def drive(self, concurrency: int) -> None:
        """While answers are checked, as many requests again are out."""
        self.slots = asyncio.Semaphore(concurrency)
        try:
            await drive(
                self._next,
                self._work,
                concurrency=2 * concurrency,
                stop=self.stop,
                tell=lambda message: self.on_event({"message": message}),
            )
        finally:
            await self.chat.aclose()

    def tallies(self) -> tuple[Tally, ...]:
        """Read from the file. What was not taken up, for a stop, is drawn now, to be counted as pending."""
        found = {name: Tally(name, source.target) for name, source in self.sources.items()}
        count_rows(read_rows(self.journal.path), found)
        if self.stop.asked:
            while (seed := self._draw()) is not None:
                self.sources[seed.job.name].in_flight += 1
        for name, source in self.sources.items():
            found[name].pending, found[name].exhausted = source.in_flight, source.exhausted
        return tuple(found.values())

    async def _work(self, seed: Seed) -> None:
        source = self.sources[seed.job.name]
        found = await self._row(seed)
        if found is not None:  # else stopped: it stays pending
            source.in_flight -= 1
            source.accepted += self._append(*found)
        if self.stop.asked:  # else it asks for the next one itself
            self.changed.set()

    async def _next(self) -> Seed | None:
        """None when nothing will be left to ask for, whatever those in flight come to.

        Whoever finished a row takes what it left to be asked for, so that those who wait wake at the end only: there
        can be tens of thousands.
        """
        while not self.stop.asked:
            if (seed := self._draw()) is not None:
                self.sources[seed.job.name].in_flight += 1
                return seed
            if self.left == 0 or not any(one.in_flight and not one.exhausted for one in self.sources.values()):
                self.changed.set()  # others wait to hear the same
                return None
            self.changed.clear()
            await self.changed.wait()
        self.changed.set()
        return None

    def _draw(self) -> Seed | None:
        """The next that is not there yet, of the job that is furthest behind."""
        while self.left != 0:
            waiting = [source for source in self.sources.values() if source.open]
            if not waiting:
                return None
            seed = min(waiting, key=lambda source: source.progress).draw()
            if seed is None or self.journal.has(seed.key, retry_errors=self.retry_errors):
                continue
            if self.left is not None:
                self.left -= 1
            return seed
        return None

    async def _row(self, seed: Seed) -> tuple[dict[str, Any], Judgement | None] | None:
        """A row, and how it was judged where there is an answer."""
        base = _base(seed, self.chat.name)
        if seed.row is not None and seed.row.secrets:
            reasons = [{"reason": "secret", "detail": kind} for kind in seed.row.secrets]
            return {**base, "status": "rejected", "reasons": reasons, "cached": False, "cost_usd": 0.0}, None
        try:
            async with self.slots:
                if self.stop.asked:
                    return None
                reply = await self.chat.ask(seed.request)
            judged = await self.judges.run(seed.job.name, seed.row, reply.text, reply.stop)
        except ChatError as exc:
            if not isinstance(exc, QuotaError):
                return {**base, "error": str(exc), "request_id": exc.request_id}, None
            self.stop.ask(exc)
        except SccError as exc:
            self.stop.ask(exc)
        else:
            return {**base, **judged.found, **_received(reply)}, judged
        return None

    def _append(self, row: dict[str, Any], judged: Judgement | None) -> bool:
        """Whether it is accepted."""
        if self.duplicates and judged and judged.fingerprint:
            like = self.duplicates.find_or_add(row["key"], judged.fingerprint)
            if like is not None:
                reason = {"reason": "duplicate", "detail": f"{like.similarity} like row {like.of}"}
                row |= {"status": "rejected", "reasons": [reason]}
        self.journal.append(row)
        if (now := time.monotonic()) - self.told > _EVERY:
            self.told = now
            every = self.sources.values()
            self.on_event({"done": sum(one.done for one in every), "total": sum(one.total for one in every)})
        return row.get("status") == "accepted"


def _base(seed: Seed, model: str) -> dict[str, Any]:
    row = seed.row
    about = (
        {}
        if row is None
        else {"source_id": row.id, "source": row.source, "line": row.line, "licence": row.licence, "domain": row.domain}
    )
    return {
        "key": seed.key,
        "id": seed.id,
        "job": seed.job.name,
        "category": seed.job.category,
        "variant": seed.job.variant,
        "stage": seed.job.stage,
        "sample": seed.sample,
        "topic": seed.topic,
        "language": seed.language or (row.language if row else None),
        **about,
        "teacher": model,
    }


def _received(reply: ChatReply) -> dict[str, Any]:
    names = ("model", "request_id", "stop", "seconds", "cached", "cost_usd")
    usage = {name: getattr(reply.usage, name) for name in Usage.__slots__}
    return {name: getattr(reply, name) for name in names} | {"usage": usage}
