"""`scc bench compress`: the embedded engines and the baselines on a user's own texts, quality beside every saving.

Prose meets the same budgets as the baselines and is measured by its facts and, in a question set, by the answers that
survive; code by whether it is still the same program, JSON by whether its data comes back.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from compressor_cli.core.baselines import Count
from compressor_cli.core.comparison import Outcome, Standing, Unmet, all_met, compare, refusals
from compressor_cli.core.figures import heading
from compressor_cli.core.files import atomic_writer
from compressor_cli.core.folders import gather
from compressor_cli.core.jsonl import dump_row
from compressor_cli.core.metrics import Share, normalise, stands_in
from compressor_cli.core.questions import read_questions
from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.code import LANGUAGES, language_of, parses
from compressor_cli.engines.code_languages import by_extension
from compressor_cli.engines.contenders import Quality, System, Text, contenders
from compressor_cli.engines.dispatch import domain_of
from compressor_cli.engines.options import Options
from compressor_cli.engines.scorer import EMBEDDED, load_scorer, model_folder
from compressor_cli.engines.structured import source_of
from compressor_cli.errors import BudgetTooSmallError, SccError, UsageError
from compressor_cli.settings import BenchSettings

GROUPS = ("questions", "prose", "code", "json")
_BUDGETED = ("questions", "prose")
_SHORT = "too short for the smallest budget"

OnEvent = Callable[[Mapping[str, Any]], None]
Outcomes = dict[float | None, dict[str, Outcome]]  # by rate and system


@dataclass(frozen=True)
class Table:
    """The systems on the texts of one group at one rate; the first is what the others are compared with.

    `systems` stand on `texts` of the `given`; the others are those that a system in `unmet` refused.
    """

    group: str
    rate: float | None
    given: int
    texts: int
    tokens: int
    questions: int
    systems: tuple[Standing, ...]
    unmet: tuple[Unmet, ...]


@dataclass(frozen=True)
class BenchSummary:
    """`left_out` counts what is in no table, by why; `failed` has what is in none because of an error.

    `misread` are files of code, by their names, whose text scc takes for prose, and compresses as such.
    """

    heading: dict[str, Any]
    tokenizer: str
    exact: bool
    seed: int
    texts: int
    tokens: int
    left_out: dict[str, int]
    misread: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]

    def as_dict(self) -> dict[str, Any]:
        plain = asdict(self)
        failed = [{"text": name, "error": error} for name, error in self.failed]
        return {**plain.pop("heading"), **plain, "failed": failed}


@dataclass
class _Found:
    """Texts by group, and what became of the others."""

    groups: dict[str, list[Text]] = field(default_factory=lambda: {group: [] for group in GROUPS})
    left_out: Counter[str] = field(default_factory=Counter)
    misread: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


def bench(
    settings: BenchSettings,
    paths: Sequence[Path],
    questions: Path | None = None,
    *,
    tokenizer: str,
    model: str | None = None,
    output: Path | None = None,
    command: str = "",
    on_event: OnEvent = lambda event: None,
) -> BenchSummary:
    """Measure the texts of `paths` and of the set `questions`. `output` gets a row a text, rate and system.

    Raises UsageError where there is nothing to measure. A text on which any system fails is in no table.
    """
    counter = token_counter(tokenizer)
    folder = model_folder(model) if model else EMBEDDED
    load_scorer(folder)  # what is wrong for every text is refused before the first
    head = heading(command, folder)
    _check_output(output, [*paths, questions])
    found = _gathered(settings, paths, questions, output, counter.count)
    kept: dict[str, list[tuple[Text, Outcomes]]] = {group: [] for group in GROUPS}
    with atomic_writer(output) if output is not None else nullcontext() as rows:
        for text, group, outcomes in _measured(found, settings, tokenizer, model, counter.count, on_event):
            kept[group].append((text, outcomes))
            if rows is not None:
                rows.writelines(map(dump_row, _rows(text, group, outcomes)))
    return BenchSummary(
        heading=head,
        tokenizer=counter.name,
        exact=counter.exact,
        seed=settings.seed,
        texts=sum(map(len, kept.values())),
        tokens=sum(text.tokens for measured in kept.values() for text, _ in measured),
        left_out={reason: number for reason, number in sorted(found.left_out.items()) if number},
        misread=tuple(found.misread),
        failed=tuple(found.failed),
        tables=tuple(_tables(kept, settings.seed)),
    )


def _check_output(output: Path | None, sources: Sequence[Path | None]) -> None:
    if output is None:
        return
    if output.is_dir():
        raise UsageError(f"--output {output} is a directory")
    if output.exists() and any(path is not None and path.exists() and path.samefile(output) for path in sources):
        raise UsageError(f"--output {output} is an input itself", hint="name another output")


# --- which texts, and in which group


def _gathered(
    settings: BenchSettings, paths: Sequence[Path], questions: Path | None, output: Path | None, count: Count
) -> _Found:
    found = _Found()
    if questions is not None:
        _ask(found, questions, settings, count)
    gathered = gather(paths, max_bytes=settings.max_bytes, but_not=output)
    found.left_out.update(gathered.left_out)
    found.failed += gathered.failed
    for file in gathered.files:
        tokens = count(file.text)
        group, language = _group(file.name, file.text, tokens * min(settings.rates))
        if group in GROUPS:
            found.groups[group].append(Text(file.name, file.text, tokens, language))
        else:
            found.left_out[group] += 1
        if group == "prose" and by_extension(file.name):
            found.misread.append(file.name)
    _limit(found, settings)
    if not any(found.groups.values()):
        reasons = told(found.left_out) or "no files"
        raise UsageError(f"nothing to measure: {reasons}", hint="name files or folders with text, or --questions FILE")
    return found


def told(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {reason}" for reason, number in sorted(left_out.items()) if number)


def _ask(found: _Found, path: Path, settings: BenchSettings, count: Count) -> None:
    asked = read_questions(path)
    found.failed += asked.failed
    found.left_out["questions without an answer that stands in the text"] += asked.unanswerable
    for passage in asked.passages:
        name, tokens = f"{path}, {passage.name}", count(passage.text)
        if settings.query and any(question.text is None for question in passage.questions):
            raise UsageError(f"{name}: --query needs the text of each question")
        if min(settings.rates) * tokens < 1:
            found.left_out[_SHORT] += 1
        else:
            found.groups["questions"].append(Text(name, passage.text, tokens, questions=passage.questions))


def _group(name: str, text: str, smallest: float) -> tuple[str, str]:
    """The group by what `compress` takes the text for, and of code the language; or why no group has it.

    Whether code parses is judged by the name of its file, where that says more than its text.
    """
    domain, named = domain_of(text, Options()), domain_of(text, Options(filename=name))
    if named.name == "code" and named.language not in LANGUAGES:  # CSV, YAML and the like
        domain = named
    if domain.name == "json" or domain.language in ("csv", "tsv"):
        return ("json" if source_of(text) else f"{domain.language or domain.name} that scc leaves as it is"), ""
    if domain.name != "code":
        return (_SHORT if smallest < 1 else "prose"), ""
    taken_for = language_of(text, domain.language)
    if taken_for not in LANGUAGES:
        return f"{domain.language or 'other code'} that scc leaves as it is", ""
    language = language_of(text, None, name) or taken_for
    return ("code" if parses(text, language) else "code that does not parse as it stands"), language


def _limit(found: _Found, settings: BenchSettings) -> None:
    """A sample of each group, in its order."""
    pick = random.Random(settings.seed)
    for group, texts in found.groups.items():
        if settings.limit is not None and len(texts) > settings.limit:
            found.left_out["beyond --limit"] += len(texts) - settings.limit
            chosen = sorted(pick.sample(range(len(texts)), settings.limit))
            found.groups[group] = [texts[i] for i in chosen]


# --- measuring


def _measured(
    found: _Found, settings: BenchSettings, tokenizer: str, model: str | None, count: Count, on_event: OnEvent
) -> Iterator[tuple[Text, str, Outcomes]]:
    """Text by text; one that fails is noted, and the others go on."""
    total, done = sum(map(len, found.groups.values())), 0
    for group, texts in found.groups.items():
        systems, quality = contenders(
            group, tokenizer=tokenizer, model=model, query=settings.query, count=count, seed=settings.seed
        )
        rates = settings.rates if group in _BUDGETED else (None,)
        for text in texts:
            on_event({"done": done, "total": total})
            done += 1
            try:
                outcomes: Outcomes = {
                    rate: {name: _outcome(text, rate, system, quality, count) for name, system in systems.items()}
                    for rate in rates
                }
            except SccError as exc:
                found.failed.append((text.name, str(exc)))
                continue
            yield text, group, outcomes
    on_event({"done": total, "total": total})


def _outcome(text: Text, rate: float | None, system: System, quality: Quality, count: Count) -> Outcome:
    """Where the budget is too small for a system, there is nothing to read, and that is measured."""
    budget = None if rate is None else math.floor(rate * text.tokens)
    met = True
    try:
        outputs = system(text, budget)
    except BudgetTooSmallError:
        outputs, met = [""], False
    sizes = list(map(count, outputs))
    if budget is not None and max(sizes) > budget:
        raise AssertionError(f"{max(sizes)} tokens where the budget is {budget}: {text.name}")
    tokens_out = sum(sizes) / len(sizes)
    shares = _answers(text, outputs) | _mean([quality(text, output) for output in outputs])
    if budget is None:
        shares |= {"saved": (text.tokens - tokens_out, text.tokens), "shorter": (tokens_out < text.tokens, 1)}
    else:
        shares["used"] = (tokens_out, budget)
    return Outcome(shares, text.tokens, tokens_out, budget, met)


def _answers(text: Text, outputs: Sequence[str]) -> dict[str, Share]:
    """A question's answer survives when one of its gold answers does."""
    if not text.questions:
        return {}
    kept = [normalise(output) for output in outputs]
    each = zip(text.questions, kept if len(kept) > 1 else kept * len(text.questions), strict=True)
    found = sum(any(stands_in(answer, output) for answer in question.answers) for question, output in each)
    return {"answers": (found, len(text.questions))}


def _mean(found: Sequence[Mapping[str, Share]]) -> dict[str, Share]:
    """A text counts once, however many results were made of it."""
    count = len(found)
    return {
        name: (sum(shares[name][0] for shares in found) / count, sum(shares[name][1] for shares in found) / count)
        for name in found[0]
    }


def _rows(text: Text, group: str, outcomes: Outcomes) -> Iterator[dict[str, Any]]:
    for rate, systems in outcomes.items():
        for name, outcome in systems.items():
            yield {"group": group, "text": text.name, "rate": rate, "system": name, **asdict(outcome)}


def _tables(kept: Mapping[str, Sequence[tuple[Text, Outcomes]]], seed: int) -> Iterator[Table]:
    for group, measured in kept.items():
        for rate in measured[0][1] if measured else ():
            systems = {name: [outcomes[rate][name] for _, outcomes in measured] for name in measured[0][1][rate]}
            texts = [text for (text, _), met in zip(measured, all_met(systems), strict=True) if met]
            yield Table(
                group=group,
                rate=rate,
                given=len(measured),
                texts=len(texts),
                tokens=sum(text.tokens for text in texts),
                questions=sum(len(text.questions) for text in texts),
                systems=compare(systems, seed),
                unmet=refusals(systems),
            )
