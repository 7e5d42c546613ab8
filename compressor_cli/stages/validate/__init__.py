"""`scc validate`: models do the same tasks on both texts of a pair; a verdict says how far the answers are the same."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compressor_cli import __version__
from compressor_cli.chat import Chat
from compressor_cli.core.agreement import Calibration, calibrate
from compressor_cli.core.equivalence import tasks_of
from compressor_cli.core.files import atomic_writer
from compressor_cli.core.jsonl import Journal, dump_row, read_rows
from compressor_cli.core.similarity import CHARACTERS, Similarity, metric
from compressor_cli.core.stopping import Stop, drive
from compressor_cli.core.tallies import count_reasons
from compressor_cli.engines.court import TRIES, Case, Court, Pair
from compressor_cli.errors import ChatError, DetachedError, QuotaError, SccError, SpendCapError, UsageError
from compressor_cli.settings import ValidationSettings
from compressor_cli.stages.validate.pairs import Pairs, read_gold, read_pairs
from compressor_cli.stages.validate.reliability import Reliability, reliability

OnEvent = Callable[[Mapping[str, Any]], None]
ACCEPTED, REJECTED = "accepted.jsonl", "rejected.jsonl"


@dataclass(frozen=True)
class ValidateSummary:
    """pairs = accepted + rejected + failed + pending; `rejected_before` of the rejected never came to a model.

    `reasons` counts the rejected by each of their reasons, `failure` is the error of the failed one that came last.
    `cost_usd` is of all rows of the file. What was paid for a pair that has no verdict yet stands in the ledger alone.
    """

    output: Path
    pairs: int
    accepted: int
    rejected: int
    rejected_before: int
    failed: int
    pending: int
    already_there: int
    repaired: int
    cached: int
    cost_usd: float | None
    metric: str
    reasons: dict[str, int]
    failure: str | None
    reliability: Reliability | None
    calibration: tuple[Calibration, Calibration] | None
    stopped: SccError | int | None

    @property
    def unfinished(self) -> str | None:
        """What keeps the run from being done, in words."""
        told = [
            f"{count:,} {what}"
            for count, what in ((self.failed, "pairs failed"), (self.pending, "pairs are pending"))
            if count
        ]
        return ", ".join(told) or None

    def as_dict(self) -> dict[str, Any]:
        stopped = str(self.stopped) if isinstance(self.stopped, SccError) else self.stopped
        return asdict(self) | {"output": str(self.output), "stopped": stopped}


def validate(
    settings: ValidationSettings,
    pairs_file: Path,
    target: Path,
    chats: Mapping[str, Chat],
    judge: Chat | None = None,
    *,
    gold: Path | None = None,
    limit: int | None = None,
    resume: bool = False,
    retry_errors: bool = False,
    concurrency: int = 8,
    leave: Callable[[], None] | None = None,
    on_event: OnEvent = lambda event: None,
) -> ValidateSummary:
    """Without `chats`, free checks and local metrics decide. `accepted.jsonl`, `rejected.jsonl` stand beside `target`.

    `leave`, where given, ends the waiting for replies when a signal comes.
    Raises UsageError for what is wrong with every pair; what is wrong with one stands in its verdict.
    """

    def say(message: str) -> None:
        on_event({"message": message})

    pairs = read_pairs(pairs_file)
    if pairs.failed:
        say(f"{pairs.failed:,} rows of {pairs_file} failed when they were made: they are no pairs")
    labels, strangers = read_gold(gold, pairs.judged) if gold else ({}, 0)
    if strangers:
        say(f"{strangers:,} labels of {gold} are of no pair here")
    if chats:
        check_tasks(settings, pairs.judged)
    _check_places(pairs_file, target)
    name = metric(settings.embeddings)
    if name == CHARACTERS:
        say(f"the package for embeddings is not installed: the cosine of {CHARACTERS} takes their place")
    models = {"models": list(chats), "judge": judge.name if judge else None, "metric": name}
    given = settings.model_dump(mode="json", include={"tasks", "threshold", "min_fidelity"})
    with Journal(target, {**given, **models, "version": __version__}, resume=resume) as journal:
        if journal.repaired:
            say(f"{target}: a torn last row ({journal.repaired} bytes) was cut off; it is done again")
        run = _Run(Court(settings, chats, judge, Similarity(settings.embeddings)), journal, on_event)
        run.stop.leave = leave
        asyncio.run(run.drive(pairs.judged[:limit], min(concurrency, len(pairs.judged)), retry_errors))
        if isinstance(run.stop.reason, UsageError):
            raise run.stop.reason
        return _summary(run, pairs, limit, labels)


def check_tasks(settings: ValidationSettings, pairs: Sequence[Pair]) -> None:
    for domain in sorted({pair.domain for pair in pairs}):
        if not tasks_of(domain, settings.tasks):
            raise UsageError(
                f"none of the tasks {', '.join(settings.tasks)} is for {domain}", hint="add one to --tasks"
            )


def _check_places(pairs_file: Path, target: Path) -> None:
    """No file is written over its own source, nor over what another run has accepted."""
    results = [target.with_name(name) for name in (ACCEPTED, REJECTED)]
    hint = "name an --output in another folder"
    if pairs_file.resolve() in [path.resolve() for path in (target, *results)]:
        raise UsageError(f"{pairs_file} would be written over by its own verdicts", hint=hint)
    begun = target.with_name(f"{target.name}.settings.json").exists()
    for path in results:
        if path.exists() and not begun:
            raise UsageError(f"{path} is there already, and not by {target.name}", hint=hint)


class _Run:
    def __init__(self, court: Court, journal: Journal, on_event: OnEvent) -> None:
        self.court, self.journal, self.on_event = court, journal, on_event
        self.stop = Stop()
        self.already_there = self.done = self.total = 0

    async def drive(self, pairs: Sequence[Pair], concurrency: int, retry_errors: bool) -> None:
        self.total = len(pairs)
        self.failures = Counter(row["key"] for row in read_rows(self.journal.path) if "error" in row)
        waiting = self._waiting(pairs, retry_errors)

        async def next_pair() -> Pair | None:
            return next(waiting, None)

        def tell(message: str) -> None:
            self.on_event({"message": message})

        try:
            await drive(next_pair, self._work, concurrency=concurrency, stop=self.stop, tell=tell)
        finally:
            await self.court.aclose()

    def _waiting(self, pairs: Sequence[Pair], retry_errors: bool) -> Iterator[Pair]:
        for pair in pairs:
            if self.journal.has(pair.key, retry_errors=retry_errors):
                self.already_there += 1
                self.done += 1
            else:
                yield pair

    async def _work(self, pair: Pair) -> None:
        base = {"key": pair.key, "id": pair.id, "domain": pair.domain, "teachers": list(pair.teachers)}
        # The answers that failed it before are in the cache: it takes further ones to get beyond them.
        case = Case(pair, tries=TRIES * (1 + self.failures[pair.key]))
        try:
            row = {**base, **await self.court.verdict(case)}
        except (DetachedError, QuotaError, SpendCapError, UsageError) as exc:
            self.stop.ask(exc)
            return
        except ChatError as exc:
            row = {**base, "error": str(exc), "request_id": exc.request_id, **case.bill()}
        self.journal.append(row)
        self.done += 1
        self.on_event({"done": self.done, "total": self.total})


def _summary(run: _Run, pairs: Pairs, limit: int | None, labels: Mapping[str, bool]) -> ValidateSummary:
    """Of the pairs that were asked for, and of those that had a verdict before."""
    target, court = run.journal.path, run.court
    every = list(read_rows(target))
    verdicts = {row["key"]: row for row in every}
    asked = [pair for n, pair in enumerate(pairs.judged) if limit is None or n < limit or pair.key in verdicts]
    judged = [(pair, verdicts[pair.key]) for pair in asked if pair.key in verdicts]
    done = [(pair, verdict) for pair, verdict in judged if "error" not in verdict]
    accepted = [_with_verdict(pair, verdict) for pair, verdict in done if verdict["passed"]]
    rejected = [_with_verdict(pair, verdict) for pair, verdict in done if not verdict["passed"]]
    refused = [*rejected, *pairs.refused]
    _write(target.with_name(ACCEPTED), accepted)
    _write(target.with_name(REJECTED), refused)
    reasons: dict[str, int] = {}
    for row in refused:
        count_reasons(row, reasons)
    known = [(row["minimum"], labels[pair.key]) for pair, row in done if pair.key in labels]
    scored = [(score, label) for score, label in known if score is not None]
    if len(scored) < len(labels):
        run.on_event({"message": f"{len(labels) - len(scored):,} labels are of pairs that have no score"})
    costs, threshold = [row["cost_usd"] for row in every], court.settings.threshold
    teachers = sorted({teacher for pair, _ in done for teacher in pair.teachers})
    judge = court.judge.name if court.judge else None
    return ValidateSummary(
        output=target,
        pairs=len(asked) + len(pairs.refused),
        accepted=len(accepted),
        rejected=len(refused),
        rejected_before=len(pairs.refused),
        failed=len(judged) - len(done),
        pending=len(asked) - len(judged),
        already_there=run.already_there,
        repaired=run.journal.repaired,
        cached=sum(row["cached"] for row in every),
        cost_usd=None if None in costs else round(sum(costs), 9),
        metric=court.similarity.name,
        reasons=reasons,
        failure=next((verdict["error"] for _, verdict in reversed(judged) if "error" in verdict), None),
        reliability=reliability([row for _, row in done], teachers, list(court.chats), judge, threshold)
        if court.chats
        else None,
        calibration=calibrate(scored, threshold) if scored else None,
        stopped=run.stop.reason,
    )


def _with_verdict(pair: Pair, verdict: Mapping[str, Any]) -> dict[str, Any]:
    scores = {name: found["score"] for name, found in verdict["models"].items()}
    told = {"minimum": verdict["minimum"], "scores": scores, "metric": verdict["metric"]}
    if verdict["passed"]:
        return {**pair.row, "verdict": told}
    return {**pair.row, "status": "rejected", "reasons": verdict["reasons"], "verdict": told}


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with atomic_writer(path) as handle:
        for row in rows:
            handle.write(dump_row(row))
