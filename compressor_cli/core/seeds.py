"""From a plan and a corpus to the requests that a teacher gets, in an order that is the same every time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compressor_cli.core.domains import detect_domain
from compressor_cli.core.jsonl import content_key, parse_row, read_lines
from compressor_cli.core.recipes import Job, Plan, Recipe
from compressor_cli.core.secrets import mask
from compressor_cli.core.toolcalls import SCHEMA as CONVERSATION
from compressor_cli.errors import UsageError
from compressor_cli.records import ChatMessage, ChatRequest

COMPRESSION = {
    "type": "object",
    "properties": {"compressed": {"type": "string"}},
    "required": ["compressed"],
    "additionalProperties": False,
}
# Servers of one's own often take no schema, and the prompt tells what the compressed text is to be, not its wrapping.
_AS_JSON = 'Answer with a JSON object: {"compressed": "..."}'
OPEN, CLOSE = "<source>\n", "\n</source>"
_GROUND = 12_000  # characters of a source row that a conversation is built on


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row of a corpus. Rows of one `source`, and `line` of a JSONL file, must not stand in two splits.

    `secrets` are the types of those that stand in the text, which must not be sent.
    """

    id: str
    text: str
    domain: str
    language: str | None
    source: str
    line: int | None
    licence: str | None
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seed:
    """One row that is asked for. `key` has in it all that changes the answer."""

    key: str
    id: str
    job: Job
    sample: int
    row: SourceRow | None
    language: str | None
    topic: str | None
    request: ChatRequest


def read_corpus(path: Path) -> list[SourceRow]:
    """Rows with `text`; what else is missing is found out. Raises UsageError for a line without one.

    Every row is searched for secrets, those of `scc data corpus` again: the file may have been edited since.
    """
    rows: dict[str, SourceRow] = {}
    for number, line in read_lines(path):
        try:
            row = _source_row(parse_row(line), number)
        except ValueError as exc:
            raise UsageError(
                f"{path}, line {number}: {exc}", hint="`scc data corpus` writes rows of this form"
            ) from None
        if row.id in rows:  # an id of its own, or one of the two would not be asked for
            row = replace(row, id=f"{row.id}@{number}")
        rows[row.id] = row
    if not rows:
        raise UsageError(f"{path} holds no rows")
    return list(rows.values())


def _source_row(row: Mapping[str, Any], number: int) -> SourceRow:
    text = row.get("text")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("no `text`")
    known = {name: row.get(name) for name in ("domain", "language", "licence")}
    for name, value in known.items():
        if not isinstance(value, str | None):
            raise ValueError(f"`{name}` is not text")
    domain, language = known["domain"], known["language"]
    if domain is None:
        found = detect_domain(text)
        domain, language = found.name, language or found.language
    row_id = str(number if row.get("id") is None else row["id"])
    source, line = str(row.get("source") or row_id), row.get("line")
    secrets = tuple(sorted({kind for _, _, kind in mask(text).spans}))
    return SourceRow(
        row_id, text, domain, language, source, line if isinstance(line, int) else None, known["licence"], secrets
    )


def rows_to_come(plan: Plan, corpus: Sequence[SourceRow], note: Callable[[str], None]) -> int:
    """About how many, for targets count accepted rows; rows that no job asks for, or that are not sent, are told.

    Raises UsageError where nothing can be asked for.
    """
    recipe = plan.recipe
    if recipe.kind == "compression" and not corpus:
        raise UsageError(f"the recipe {recipe.name} compresses texts, and there are none", hint="--input CORPUS")
    counts = [seed_count(recipe, job, corpus) for job in plan.jobs]
    if not any(counts):
        raise UsageError("no row of the corpus fits the recipe", hint="compare `domain` and `language` of its rows")
    if unfit := sum(not any(_fits(row, job) for job in plan.jobs) for row in corpus):
        note(f"{unfit:,} of {len(corpus):,} rows of the corpus fit no category: not asked for")
    if held := sum(bool(row.secrets) for row in corpus):
        note(f"{held:,} of {len(corpus):,} rows of the corpus hold a secret: not sent")
    return sum(min(job.target or count, count) for job, count in zip(plan.jobs, counts, strict=True))


def seeds(recipe: Recipe, job: Job, corpus: Sequence[SourceRow], model: str) -> Iterator[Seed]:
    """All that the source gives for a job. Rows are read in their order, each `samples` times before none is left."""
    rows = [row for row in corpus if _fits(row, job)]
    for sample in range(job.samples):
        if recipe.kind == "compression":
            for row in rows:
                yield _seed(recipe, job, model, sample, row=row)
        else:
            yield from _conversations(recipe, job, rows, model, sample)


def _fits(row: SourceRow, job: Job) -> bool:
    domain = "prose" if row.domain in ("mixed", "chat") and "prose" in job.domains else row.domain
    return (not job.domains or domain in job.domains) and (not job.languages or row.language in job.languages)


def _conversations(recipe: Recipe, job: Job, rows: Sequence[SourceRow], model: str, sample: int) -> Iterator[Seed]:
    """Each topic in each language; the ground changes from one to the next."""
    grounds = {lang: [row for row in rows if lang in (None, row.language)] for lang in job.languages or (None,)}
    for n, topic in enumerate(job.topics, start=sample * len(job.topics)):
        for language, fitting in grounds.items():
            row = fitting[n % len(fitting)] if fitting else None
            yield _seed(recipe, job, model, sample, row=row, language=language, topic=topic)


def _seed(
    recipe: Recipe,
    job: Job,
    model: str,
    sample: int,
    *,
    row: SourceRow | None,
    language: str | None = None,
    topic: str | None = None,
) -> Seed:
    compression = recipe.kind == "compression"
    parts = [] if compression else [*_told(job, language, topic, sample)]
    if row is not None:
        parts.append(f"{OPEN}{row.text if compression else row.text[:_GROUND]}{CLOSE}")
    if compression and recipe.output == "json":
        parts.append(_AS_JSON)
    request = ChatRequest(
        messages=(ChatMessage("user", "\n\n".join(parts)),),
        system=job.system,
        max_tokens=recipe.max_tokens,
        temperature=recipe.temperature,
        schema=None if recipe.output == "text" else COMPRESSION if compression else CONVERSATION,
        schema_name=recipe.kind,
        sample=sample,
    )
    named = [job.name, row.id if row else None, language, topic, sample]
    key = content_key(named, model, request.system, request.messages[0].content, recipe.max_tokens, recipe.temperature)
    return Seed(
        key, "/".join(str(part) for part in named if part is not None), job, sample, row, language, topic, request
    )


def _told(job: Job, language: str | None, topic: str | None, sample: int) -> Iterator[str]:
    if job.instruction:
        yield f"Of this kind: {job.instruction}"
    lines = [f"Topic: {topic}"]
    if language:
        lines.append(f"Language: {language}")
    if sample:
        lines.append(
            f"Conversation {sample + 1} about this topic: let it differ from the others in task, setting and course."
        )
    yield "\n".join(lines)


def seed_count(recipe: Recipe, job: Job, corpus: Sequence[SourceRow]) -> int:
    """How many `seeds` gives."""
    if recipe.kind == "compression":
        return job.samples * sum(_fits(row, job) for row in corpus)
    return job.samples * len(job.topics) * max(len(job.languages), 1)
