"""`scc compare --live A B`: each row of new text goes to one of two compressors, drawn by lot, and stays with it."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compressor_cli import __version__
from compressor_cli.core.decoding import compute_generation_budget
from compressor_cli.core.domains import detect_domain
from compressor_cli.core.evaluation import Figure, figures, plain
from compressor_cli.core.evaluation_rows import EvalRow
from compressor_cli.core.files import write_json
from compressor_cli.core.generation import Generator, Prompt, Sampling
from compressor_cli.core.jsonl import Journal, Row, content_key, parse_row, read_lines, read_rows
from compressor_cli.core.paired import Contrast, unpaired
from compressor_cli.core.stopping import Stop, stop_on_signals
from compressor_cli.core.text_input import read_text
from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.generators import answers
from compressor_cli.engines.measuring import Scorer, identity
from compressor_cli.errors import SccError, UsageError
from compressor_cli.settings import EvalSettings

OnEvent = Callable[[Mapping[str, Any]], None]
_PARAGRAPHS = re.compile(r"\n[ \t]*\n\s*")


@dataclass(frozen=True)
class Arm:
    """A compressor under the name that the person gave it. `messages` make a prompt of a text and its domain."""

    name: str
    opened: Callable[[], Generator]
    messages: Callable[[str, str], tuple[Mapping[str, Any], ...]]
    identified: Mapping[str, Any]


@dataclass(frozen=True)
class LiveSummary:
    """asked = measured + failed + pending; `arms` count the rows that are dealt to each."""

    output: Path
    assignment: Path
    asked: int
    measured: int
    failed: int
    pending: int
    arms: Mapping[str, int]
    figures: Mapping[str, Mapping[str, Figure]]
    contrasts: Sequence[Contrast]
    stopped: SccError | int | None

    @property
    def unfinished(self) -> str | None:
        counted = ((self.failed, "rows failed"), (self.pending, "rows are pending"))
        return ", ".join(f"{count:,} {what}" for count, what in counted if count) or None

    def as_dict(self) -> dict[str, Any]:
        return {
            "output": str(self.output),
            "assignment": str(self.assignment),
            "asked": self.asked,
            "measured": self.measured,
            "failed": self.failed,
            "pending": self.pending,
            "arms": dict(self.arms),
            "figures": {name: plain(found) for name, found in self.figures.items()},
            "contrasts": [{**asdict(one), "verdict": one.verdict} for one in self.contrasts],
            "stopped": str(self.stopped) if isinstance(self.stopped, SccError) else self.stopped,
        }


def compare_live(
    settings: EvalSettings,
    arms: tuple[Arm, Arm],
    source: Path,
    target: Path,
    assignment: Path,
    *,
    field: str = "text",
    limit: int | None = None,
    resume: bool = False,
    retry_errors: bool = False,
    on_event: OnEvent = lambda event: None,
) -> LiveSummary:
    """Rows go to `target` as they are done. `assignment` is written before the first is asked; rows that stand in it
    keep their compressor, and new ones are dealt evenly.

    Raises UsageError for an assignment of other compressors.
    """
    if arms[0].name == arms[1].name:
        raise UsageError(f"{arms[0].name} is named twice", hint="name two compressors")
    if source.exists() and any(path.exists() and path.samefile(source) for path in (target, assignment)):
        raise UsageError(f"{source} would be written over by its own results", hint="name another --output")
    rows = _read(source, field)[:limit]
    counter = token_counter(settings.tokenizer)
    given = settings.model_dump(mode="json", include={"tokenizer", "temperature", "top_p", "max_tokens"})
    names = [arm.name for arm in arms]
    _known(assignment, names)  # before anything is written
    told = {f"{arm.name}, {name}": value for arm in arms for name, value in arm.identified.items()}
    made_by = {"arms": sorted(names), **told, "field": field, **given, "version": __version__}
    with Journal(target, made_by, resume=resume) as journal:
        dealt = _assigned(assignment, names, rows, settings.seed)
        strangers = len(journal.rows.keys() - {row.key for row in rows}) if limit is None else 0
        if strangers:
            gone = f"{strangers:,} rows belong to no row of {source} as it is now; they stay, and do not count"
            on_event({"message": f"{target}: {gone}"})
        run = _Run(settings, journal, Scorer(counter, None), on_event, len(rows))
        with stop_on_signals() as stop:
            for arm in arms:
                waiting = [row for row in rows if dealt[row.key] == arm.name]
                run.ask(arm, [row for row in waiting if not journal.has(row.key, retry_errors=retry_errors)], stop)
        there = {row["key"]: row for row in read_rows(target)}
    found = [there[row.key] for row in rows if row.key in there]
    done = {arm.name: [row for row in found if "error" not in row and row["arm"] == arm.name] for arm in arms}
    return LiveSummary(
        output=target,
        assignment=assignment,
        asked=len(rows),
        measured=sum(map(len, done.values())),
        failed=sum("error" in row for row in found),
        pending=len(rows) - len(found),
        arms=Counter(dealt[row.key] for row in rows),
        figures={name: figures(each, threshold=settings.threshold, seed=settings.seed) for name, each in done.items()},
        contrasts=unpaired(
            arms[0].name, arms[1].name, *done.values(), threshold=settings.threshold, seed=settings.seed
        ),
        stopped=stop.reason,
    )


class _Run:
    def __init__(self, settings: EvalSettings, journal: Journal, scorer: Scorer, on_event: OnEvent, total: int) -> None:
        self.settings, self.journal, self.scorer, self.on_event = settings, journal, scorer, on_event
        self.total = total

    def ask(self, arm: Arm, rows: Sequence[EvalRow], stop: Stop) -> None:
        usable = []
        for row in rows:
            if row.error is None:
                usable.append(row)
            else:
                self._append({**identity(row), "arm": arm.name, "error": row.error})
        if not usable or stop.asked:
            return
        count, sampling = self.scorer.counter.count, self._sampling()
        prompts = [
            Prompt(
                arm.messages(row.input, row.domain),
                compute_generation_budget(count(row.input), most=self.settings.max_tokens),
            )
            for row in usable
        ]
        generator = arm.opened()
        try:
            for place, answer, seconds in answers(generator, prompts, sampling, stop):
                row = usable[place]
                failed = answer.error is not None
                found = {"error": answer.error} if failed else self.scorer.measured(row, answer, seconds)
                self._append({**identity(row), "arm": arm.name, **found})
        finally:
            generator.close()

    def _sampling(self) -> Sampling:
        return Sampling(self.settings.temperature, self.settings.top_p, self.settings.seed)

    def _append(self, row: Row) -> None:
        self.journal.append(row)
        self.on_event({"done": len(self.journal.rows), "total": self.total})


def _read(source: Path, field: str) -> list[EvalRow]:
    """Rows of JSONL, or the paragraphs of a text."""
    rows: list[EvalRow] = []
    seen: Counter[str] = Counter()
    if source.suffix == ".jsonl":
        for number, line in read_lines(source):
            rows.append(_row(number, *_of_line(number, line, field), seen))
    else:
        for number, text in enumerate(_PARAGRAPHS.split(read_text(source).strip()), start=1):
            rows.append(_row(number, None, text, None, seen))
    if not any(row.error is None for row in rows):
        raise UsageError(f"{source}: no text in it", hint="--field names the field of the texts in JSONL")
    return rows


def _of_line(number: int, line: bytes, field: str) -> tuple[str | None, str, str | None]:
    """Id, text and what is wrong."""
    try:
        row = parse_row(line)
        text = row.get(field)
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"no text in field {field!r}")
    except ValueError as exc:
        return f"line {number}", "", f"line {number}: {exc}"
    return (None if row.get("id") is None else str(row["id"])), text, None


def _row(number: int, named: str | None, text: str, error: str | None, seen: Counter[str]) -> EvalRow:
    found = detect_domain(text)
    name = named or content_key(text)[:12]
    seen[name] += 1
    return EvalRow(
        key=content_key(name, seen[name], text),
        id=name if seen[name] == 1 else f"{name}#{seen[name]}",
        line=number,
        domain=found.name,
        language=found.language,
        input=text,
        reference="",
        messages=(),
        error=error,
    )


def _assigned(path: Path, names: list[str], rows: Sequence[EvalRow], seed: int) -> dict[str, str]:
    """By key. New rows are drawn in pairs, one for each compressor."""
    known = _known(path, names)
    new = [row.key for row in rows if row.key not in known]
    draw = random.Random(f"{seed} {len(known)}")
    draw.shuffle(new)
    for first in range(0, len(new), 2):
        pair = new[first : first + 2]
        known |= dict(zip(pair, draw.sample(names, len(pair)), strict=True))
    if new:
        write_json(path, {"arms": names, "seed": seed, "rows": known})
    return known


def _known(path: Path, names: list[str]) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        arms, rows = told["arms"], told["rows"]
        if not isinstance(rows, dict) or not {*rows.values()} <= {*arms}:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{path} is no assignment of scc compare --live", hint="name another --assignment") from None
    if sorted(arms) != sorted(names):
        raise UsageError(
            f"{path} is an assignment of {' and '.join(arms)}, not of {' and '.join(names)}",
            hint="name another --assignment",
        )
    return dict(rows)
