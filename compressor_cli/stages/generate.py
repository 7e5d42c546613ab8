"""`scc seed generate`: every row asked for ends accepted, rejected, failed or pending; a resume does the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from compressor_cli import __version__
from compressor_cli.chat import Chat
from compressor_cli.core.duplicates import Duplicates
from compressor_cli.core.jsonl import Journal, read_rows
from compressor_cli.core.recipes import Job, Plan
from compressor_cli.core.seeds import Seed, SourceRow, seed_count, seeds
from compressor_cli.core.stopping import Stop, drive
from compressor_cli.core.workers import Workers
from compressor_cli.engines.acceptance import judge
from compressor_cli.errors import ChatError, DetachedError, QuotaError, SccError, SpendCapError, UsageError
from compressor_cli.records import ChatReply

OnEvent = Callable[[Mapping[str, Any]], None]


@dataclass
class Tally:
    """The ledger of one job: asked = accepted + rejected + failed + pending."""

    name: str
    target: int | None
    accepted: int = 0
    rejected: int = 0
    failed: int = 0
    pending: int = 0
    cached: int = 0
    cost_usd: float | None = 0.0
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def asked(self) -> int:
        return self.accepted + self.rejected + self.failed + self.pending

    @property
    def short(self) -> int:
        """Accepted rows that the target lacks."""
        return max((self.target or 0) - self.accepted, 0)

    def count(self, row: Mapping[str, Any]) -> None:
        if "error" in row:
            self.failed += 1
            return
        if row["status"] == "accepted":
            self.accepted += 1
        else:
            self.rejected += 1
            for reason in {found["reason"] for found in row["reasons"]}:
                self.reasons[reason] = self.reasons.get(reason, 0) + 1
        self.cached += row["cached"]
        cost = row["cost_usd"]
        self.cost_usd = None if cost is None or self.cost_usd is None else self.cost_usd + cost

    def as_dict(self) -> dict[str, Any]:
        done = self.accepted + self.rejected
        rates = {"asked": self.asked, "short": self.short, "yield": round(self.accepted / done, 4) if done else None}
        return asdict(self) | rates


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
        """What keeps the run from being done, in words."""
        failed, pending, short = (
            sum(getattr(job, name) for job in self.jobs) for name in ("failed", "pending", "short")
        )
        told = [
            f"{count:,} {what}"
            for count, what in (
                (failed, "rows failed"),
                (pending, "rows are pending"),
                (short, "rows are missing to targets"),
            )
            if count
        ]
        return ", ".join(told) or None

    def as_dict(self) -> dict[str, Any]:
        stopped = str(self.stopped) if isinstance(self.stopped, SccError) else self.stopped
        jobs = [job.as_dict() for job in self.jobs]
        return {"output": str(self.output), "categories": jobs, "already_there": self.already_there, "stopped": stopped}


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

    `leave`, where given, ends the waiting for replies when a signal comes.
    Raises UsageError for what is wrong with every row; what is wrong with one stands in that row.
    """
    recipe = plan.recipe
    total = sum(job.target or seed_count(recipe, job, corpus) for job in plan.jobs)
    if not total:
        raise UsageError("no row of the corpus fits the recipe", hint="compare `domain` and `language` of its rows")
    settings = {"recipe": recipe.name, "recipe_hash": plan.fingerprint, "model": chat.name, "version": __version__}
    with Journal(target, settings, resume=resume) as journal, Workers(min(total, limit or total)) as workers:
        if journal.repaired:
            on_event({"message": f"{target}: a torn last row ({journal.repaired} bytes) was cut off; it is done again"})
        run = _Run(plan, corpus, chat, journal, workers, limit=limit, retry_errors=retry_errors, on_event=on_event)
        run.stop.leave = leave
        asyncio.run(run.drive(min(concurrency, limit or total)))
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
        workers: Workers,
        *,
        limit: int | None,
        retry_errors: bool,
        on_event: OnEvent,
    ) -> None:
        self.plan, self.chat, self.journal, self.workers, self.on_event = plan, chat, journal, workers, on_event
        self.left, self.retry_errors = limit, retry_errors
        self.stop, self.changed = Stop(), asyncio.Event()
        self.already_there = 0
        recipe = plan.recipe
        self.sources = {
            job.name: _Source(job, seeds(recipe, job, corpus, chat.name), seed_count(recipe, job, corpus))
            for job in plan.jobs
        }
        threshold = recipe.checks.near_duplicate
        self.duplicates = Duplicates(threshold) if threshold is not None else None
        for row in self._rows():
            if row.get("status") == "accepted" and row["job"] in self.sources:
                self.sources[row["job"]].accepted += 1
                if self.duplicates:
                    self.duplicates.find_or_add(row["key"], _text_of(row))

    def _rows(self) -> Iterable[dict[str, Any]]:
        """The file's; the last row of a key counts."""
        return {row["key"]: row for row in read_rows(self.journal.path)}.values()

    async def drive(self, concurrency: int) -> None:
        tell = self.on_event
        try:
            await drive(
                self._next,
                self._work,
                concurrency=concurrency,
                stop=self.stop,
                tell=lambda message: tell({"message": message}),
            )
        finally:
            await self.chat.aclose()

    def tallies(self) -> tuple[Tally, ...]:
        """Read from the file. What was not taken up, for a stop, is drawn now, to be counted as pending."""
        found = {name: Tally(name, source.target) for name, source in self.sources.items()}
        for row in self._rows():
            if row["job"] in found:
                found[row["job"]].count(row)
        if self.stop.asked:
            while (seed := self._draw()) is not None:
                self.sources[seed.job.name].in_flight += 1
        for name, source in self.sources.items():
            found[name].pending = source.in_flight
        return tuple(found.values())

    async def _work(self, seed: Seed) -> None:
        source = self.sources[seed.job.name]
        row = await self._row(seed)
        if row is not None:  # else stopped: it stays pending
            source.in_flight -= 1
            source.accepted += self._append(row)

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
            if seed is None:
                continue
            if self.left is not None:
                self.left -= 1
            if not self.journal.has(seed.key, retry_errors=self.retry_errors):
                return seed
            self.already_there += 1
        return None

    async def _row(self, seed: Seed) -> dict[str, Any] | None:
        base = _base(seed, self.chat.name)
        try:
            reply = await self.chat.ask(seed.request)
        except (DetachedError, QuotaError, SpendCapError, UsageError) as exc:
            self.stop.ask(exc)
            return None
        except ChatError as exc:
            return {**base, "error": str(exc), "request_id": exc.request_id}
        judged = await self.workers.run(judge, self.plan.recipe, seed.job, seed.row, reply.text, reply.stop)
        return {**base, **judged, **_received(reply)}

    def _append(self, row: dict[str, Any]) -> bool:
        """Whether it is accepted."""
        if row.get("status") == "accepted" and self.duplicates:
            like = self.duplicates.find_or_add(row["key"], _text_of(row))
            if like is not None:
                row |= {
                    "status": "rejected",
                    "reasons": [{"reason": "duplicate", "detail": f"{like.similarity} like row {like.of}"}],
                }
        if not ("error" in row and self.journal.has(row["key"])):  # else it failed as it had failed before
            self.journal.append(row)
        every = self.sources.values()
        self.on_event(
            {
                "done": sum(one.accepted if one.target else one.taken - one.in_flight for one in every),
                "total": sum(one.total for one in every),
            }
        )
        return row.get("status") == "accepted"


def _base(seed: Seed, model: str) -> dict[str, Any]:
    row = seed.row
    about = (
        {}
        if row is None
        else {"source_id": row.id, "source": row.source, "line": row.line, "licence": row.licence, "domain": row.domain}
    )
    language = seed.language or (row.language if row else None)
    return {
        "key": seed.key,
        "id": seed.id,
        "job": seed.job.name,
        "category": seed.job.category,
        "variant": seed.job.variant,
        "stage": seed.job.stage,
        "sample": seed.sample,
        "topic": seed.topic,
        "language": language,
        **about,
        "teacher": model,
    }


def _received(reply: ChatReply) -> dict[str, Any]:
    names = ("model", "request_id", "stop", "seconds", "cached", "cost_usd")
    return {name: getattr(reply, name) for name in names} | {"usage": asdict(reply.usage)}


def _text_of(row: Mapping[str, Any]) -> str:
    """What must not be near to that of another row."""
    if "compressed" in row:
        return str(row["compressed"])
    return "\n".join(message["content"] for message in row["messages"])
