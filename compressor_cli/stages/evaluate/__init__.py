"""`scc eval`: a model answers the rows of a dataset; each answer is measured, appended, and all are summed up."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compressor_cli import __version__
from compressor_cli.chat import Chat
from compressor_cli.core.decoding import compute_generation_budget
from compressor_cli.core.evaluation import Figure, by_domain, plain, samples
from compressor_cli.core.evaluation_rows import EvalRow
from compressor_cli.core.files import write_atomic
from compressor_cli.core.generation import Generated, Generator, Prompt, Sampling
from compressor_cli.core.jsonl import Journal, Row, read_rows
from compressor_cli.core.report import eval_report
from compressor_cli.core.similarity import CHARACTERS, Similarity
from compressor_cli.core.stopping import Stop, stop_on_signals
from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.generators import answers
from compressor_cli.engines.measuring import Scorer, identity
from compressor_cli.errors import ChatError, QuotaError, SccError, SpendCapError, UsageError
from compressor_cli.settings import EvalSettings, ValidationSettings
from compressor_cli.stages.evaluate.judging import Panel, Verdict

OnEvent = Callable[[Mapping[str, Any]], None]
SUMMARY, REPORT = "summary.json", "report.html"


@dataclass(frozen=True)
class EvalSummary:
    """asked = measured + failed + pending. `groups` has figures by name, for `overall` and each domain; `errors` how
    many rows failed for each reason, the commonest first."""

    output: Path
    settings: Mapping[str, Any]
    asked: int
    measured: int
    failed: int
    pending: int
    already_there: int
    repaired: int
    threshold: float
    exact: bool
    groups: Mapping[str, Mapping[str, Figure]]
    best: Sequence[Row]
    worst: Sequence[Row]
    errors: Mapping[str, int]
    stopped: SccError | int | None

    @property
    def unfinished(self) -> str | None:
        """What keeps the run from being done, in words."""
        counted = ((self.failed, "rows failed"), (self.pending, "rows are pending"))
        return ", ".join(f"{count:,} {what}" for count, what in counted if count) or None

    @property
    def folder(self) -> Path:
        """Of the summary and the report: they have the name of the output."""
        return self.output.with_suffix("")

    def as_dict(self) -> dict[str, Any]:
        found = {field: getattr(self, field) for field in self.__dataclass_fields__}
        return found | {
            "output": str(self.output),
            "settings": dict(self.settings),
            "groups": {name: plain(figures) for name, figures in self.groups.items()},
            "stopped": str(self.stopped) if isinstance(self.stopped, SccError) else self.stopped,
        }


def evaluate(
    settings: EvalSettings,
    rows: Sequence[EvalRow],
    target: Path,
    opened: Callable[[], Generator],
    identified: Mapping[str, Any],
    *,
    judges: Mapping[str, Chat] | None = None,
    validation: ValidationSettings | None = None,
    at_once: int = 8,
    resume: bool = False,
    retry_errors: bool = False,
    on_event: OnEvent = lambda event: None,
) -> EvalSummary:
    """`opened` gives the model, once there is something to ask. `identified` says which one and how it is asked.

    Raises UsageError for what is wrong with every row; what is wrong with one stands in its row.
    """
    check_target(target)
    counter = token_counter(settings.tokenizer)
    similarity = Similarity(settings.embeddings, embeddings=settings.embeddings != "none")
    if similarity.name == CHARACTERS and settings.embeddings != "none":
        on_event(
            {"message": f"the package for embeddings is not installed: the cosine of {CHARACTERS} takes their place"}
        )
    made_by = _made_by(settings, identified, similarity.name, list(judges or {}))
    with Journal(target, made_by, resume=resume) as journal:
        if journal.repaired:
            on_event({"message": f"{target}: a torn last row ({journal.repaired} bytes) was cut off; it is done again"})
        run = _Run(settings, journal, Scorer(counter, similarity), on_event)
        waiting = run.waiting(rows, retry_errors)
        if waiting:
            panel = Panel(_court(settings, validation), judges, similarity) if judges else None
            try:
                run.drive(waiting, opened, panel, at_once)
            finally:
                if panel:
                    panel.close()
    if isinstance(run.stop.reason, UsageError):
        raise run.stop.reason
    found = _found(run, rows)
    summary = _summary(run, rows, found, made_by, counter.exact)
    told = json.dumps(summary.as_dict(), indent=2, ensure_ascii=False)
    # Lone surrogates get the escapes that JSON has for them.
    write_atomic(summary.folder / SUMMARY, f"{told}\n".encode("utf-8", "backslashreplace"))
    write_atomic(summary.folder / REPORT, eval_report(summary.as_dict(), found))
    return summary


def check_target(target: Path) -> None:
    if target.suffix != ".jsonl":
        raise UsageError(f"--output {target}: a name that ends with .jsonl is needed", hint="--output eval/NAME.jsonl")
    if target.is_dir() or target.with_suffix("").is_file():
        raise UsageError(
            f"--output {target}: {target.with_suffix('')} is needed for the report", hint="name another one"
        )


def _made_by(settings: EvalSettings, identified: Mapping[str, Any], metric: str, judges: list[str]) -> dict[str, Any]:
    """Whatever changes a row. A seed does where something is drawn."""
    drawn = {"seed": settings.seed} if settings.temperature > 0 else {}
    given = settings.model_dump(mode="json", include={"tokenizer", "temperature", "top_p", "max_tokens"})
    return {**identified, **given, **drawn, "metric": metric, "judge": judges, "version": __version__}


def _court(settings: EvalSettings, validation: ValidationSettings | None) -> ValidationSettings:
    return (validation or ValidationSettings()).model_copy(update={"threshold": settings.threshold})


class _Run:
    def __init__(self, settings: EvalSettings, journal: Journal, scorer: Scorer, on_event: OnEvent) -> None:
        self.settings, self.journal, self.scorer, self.on_event = settings, journal, scorer, on_event
        self.stop = Stop()
        self.counts: Counter[str] = Counter()
        self._judged: deque[tuple[Row, Future[Verdict]]] = deque()

    def waiting(self, rows: Sequence[EvalRow], retry_errors: bool) -> list[EvalRow]:
        """Rows that can be asked. Those that cannot are written down."""
        self.counts["total"] = len(rows)
        asked = []
        for row in rows:
            if self.journal.has(row.key, retry_errors=retry_errors and row.error is None):
                self.counts["already_there"] += 1
            elif row.error is not None:
                self._append({**identity(row), "error": row.error})
            else:
                asked.append(row)
        return asked

    def drive(
        self, rows: Sequence[EvalRow], opened: Callable[[], Generator], panel: Panel | None, at_once: int
    ) -> None:
        """A first signal asks to stop; what judges are at is paid for, and waited for."""
        generator = opened()
        prompts = [Prompt(row.messages, self._budget(row)) for row in rows]
        sampling = Sampling(self.settings.temperature, self.settings.top_p, self.settings.seed)
        try:
            with stop_on_signals() as self.stop:
                for place, answer, seconds in answers(generator, prompts, sampling, self.stop):
                    self._take(rows[place], answer, seconds, panel, at_once)
                self._settle(0)
        finally:
            generator.close()

    def _take(self, row: EvalRow, answer: Generated, seconds: float, panel: Panel | None, at_once: int) -> None:
        if answer.error is not None:
            self._append({**identity(row), "error": answer.error})
            return
        found = self.scorer.measured(row, answer, seconds)
        if panel is None:
            self._append(found)
        else:
            self._judged.append((found, panel.ask(found, row.language)))
            self._settle(at_once)

    def _budget(self, row: EvalRow) -> int:
        return compute_generation_budget(self.scorer.counter.count(row.input), most=self.settings.max_tokens)

    def _settle(self, most: int) -> None:
        """Writes rows whose verdicts are there, and waits while more than `most` are on their way."""
        while self._judged and (self._judged[0][1].done() or len(self._judged) > most):
            row, future = self._judged.popleft()
            try:
                verdict = future.result()
            except (QuotaError, SpendCapError, UsageError) as exc:
                self.stop.ask(exc)
            except ChatError as exc:
                named = {name: row[name] for name in ("key", "id", "line", "domain", "input", "reference")}
                self._append({**named, "error": f"judge: {exc}"})
            else:
                costs = (row["cost_usd"], verdict.pop("cost_usd"))
                cost = None if None in costs else round(sum(costs), 9)
                self._append({**row, **verdict, "cost_usd": cost})

    def _append(self, row: Row) -> None:
        self.journal.append(row)
        self.counts["done"] += 1
        self.on_event({"done": self.counts["done"] + self.counts["already_there"], "total": self.counts["total"]})


def _found(run: _Run, rows: Sequence[EvalRow]) -> list[Row]:
    """The rows that were asked for, whenever they were done; of each the last."""
    there = {row["key"]: row for row in read_rows(run.journal.path)}
    if strangers := len(there.keys() - {row.key for row in rows}):
        run.on_event(
            {"message": f"{run.journal.path}: {strangers:,} rows are not among those asked for now; they stay"}
        )
    return [there[row.key] for row in rows if row.key in there]


def _summary(
    run: _Run, rows: Sequence[EvalRow], found: Sequence[Row], made_by: Mapping[str, Any], exact: bool
) -> EvalSummary:
    settings = run.settings
    done = [row for row in found if "error" not in row]
    best, worst = samples(done)
    return EvalSummary(
        output=run.journal.path,
        settings=made_by,
        asked=len(rows),
        measured=len(done),
        failed=len(found) - len(done),
        pending=len(rows) - len(found),
        already_there=run.counts["already_there"],
        repaired=run.journal.repaired,
        threshold=settings.threshold,
        exact=exact,
        groups=by_domain(done, threshold=settings.threshold, seed=settings.seed),
        best=[_sample(row) for row in best],
        worst=[_sample(row) for row in worst],
        errors=dict(Counter(_reason(row) for row in found if "error" in row).most_common()),
        stopped=run.stop.reason,
    )


def _reason(row: Row) -> str:
    """The same for each line that has it."""
    return str(row["error"]).removeprefix(f"line {row['line']}: ")


def _sample(row: Row) -> Row:
    named = ("id", "domain", "input", "output", "ratio", "fidelity", "equivalence", "similarity", "lost", "truncated")
    return {name: row[name] for name in named if name in row}
