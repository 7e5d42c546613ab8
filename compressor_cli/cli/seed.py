"""`scc seed`: pairs and conversations from teachers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compressor_cli.cli.common import ConfigOption, JsonOption, print_json, say
from compressor_cli.cli.spending import (
    GO_ON,
    AllowUnpricedOption,
    BaseUrlOption,
    BatchOption,
    BudgetOption,
    ConcurrencyOption,
    DryRunOption,
    FallbackOption,
    LedgerOption,
    NoCacheOption,
    PricesOption,
    ResumeOption,
    RetryErrorsOption,
    cost_cell,
    finish,
    opened_chats,
    print_table,
    rows_at_once,
    spent_in,
    tell_spent,
    told_reasons,
)

if TYPE_CHECKING:
    from compressor_cli.core.estimates import JobEstimate
    from compressor_cli.core.spend import Ledger
    from compressor_cli.core.tallies import Tally
    from compressor_cli.stages.generate import GenerateSummary

app = typer.Typer(no_args_is_help=True)
_MORE = "--resume goes on with a longer --input or more `samples` in the recipe; --retry-errors with failed rows too"


@app.callback()  # keeps `generate` a command of its own name while it is the only one
def seed() -> None:
    """Have models write training data."""


@app.command("generate")
def generate_command(
    recipe: Annotated[
        str,
        typer.Option(
            help="YAML file of prompts, checks and targets; or one that is shipped: compression, agentic-skills.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="JSONL file that rows are appended to.", show_default=False)
    ],
    input: Annotated[
        Path | None, typer.Option(help="Corpus, as `scc data corpus` writes it.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="provider:model, or embedded; that of the recipe if absent.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Stop at so many rows in the output.", show_default=False)
    ] = None,
    resume: ResumeOption = False,
    retry_errors: RetryErrorsOption = False,
    batch: BatchOption = False,
    concurrency: ConcurrencyOption = None,
    fallback: FallbackOption = None,
    base_url: BaseUrlOption = None,
    no_cache: NoCacheOption = None,
    budget_usd: BudgetOption = None,
    prices: PricesOption = None,
    allow_unpriced: AllowUnpricedOption = None,
    ledger: LedgerOption = None,
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a model for rows until each category has its target, or the source is exhausted.

    Each row is checked for free and ends accepted or rejected; one without an answer is failed. The key of the model
    comes from the environment or .env.
    """
    from compressor_cli.cli.progress import rows_progress
    from compressor_cli.core.recipes import load_plan
    from compressor_cli.core.seeds import read_corpus
    from compressor_cli.settings import load_settings
    from compressor_cli.stages.estimate import estimate_run
    from compressor_cli.stages.generate import generate

    plan = load_plan(recipe)
    chat_flags = {"fallback": fallback, "concurrency": concurrency, "base_url": base_url, "no_cache": no_cache}
    spend_flags = {"budget_usd": budget_usd, "prices": prices, "allow_unpriced": allow_unpriced, "ledger": ledger}
    settings = load_settings(config, chat=chat_flags, spend=spend_flags)
    if settings.chat.fallback is None:
        chat = settings.chat.model_copy(update={"fallback": plan.recipe.fallback})
        settings = settings.model_copy(update={"chat": chat})
    at_once = rows_at_once(settings, concurrency, batch=batch)
    corpus = read_corpus(input) if input else []
    name = model or plan.recipe.model
    if dry_run:
        found = estimate_run(
            plan,
            corpus,
            name,
            output,
            settings.chat,
            settings.spend,
            limit=limit,
            retry_errors=retry_errors,
            batch=batch,
            note=say,
        )
        _print_estimates(found, as_json)
        return
    with (
        rows_progress("generating") as on_event,
        opened_chats([name], settings, output, command="generate", on_event=on_event, batch=batch) as (
            chats,
            spent,
            batches,
        ),
    ):
        summary = generate(
            plan,
            corpus,
            chats[name],
            output,
            limit=limit,
            resume=resume,
            retry_errors=retry_errors,
            concurrency=at_once,
            leave=batches.detach if batches else None,
            on_event=on_event,
        )
    _print_summary(summary, spent, as_json)
    exhausted = any(job.short and job.exhausted for job in summary.jobs)
    finish(summary.stopped, summary.unfinished, _MORE if exhausted else GO_ON)


def _print_summary(summary: GenerateSummary, spent: Ledger, as_json: bool) -> None:
    if as_json:
        print_json({**summary.as_dict(), "ledger": spent_in(spent)})
        return
    from compressor_cli.core.tallies import total

    groups: dict[str, list[Tally]] = {}
    for job in summary.jobs:
        groups.setdefault(job.name.partition("/")[0], []).append(job)
    rows = []
    for name, jobs in groups.items():
        rows.append(_cells(name, total(name, jobs)))
        if len(jobs) > 1:
            rows += [_cells(f"  {job.name.partition('/')[2]}", job) for job in jobs]
    columns = ("category", "asked", "accepted", "rejected", "failed", "pending", "cached", "cost", "yield")
    print_table(columns, rows, _cells("total", total("total", summary.jobs)))
    for job in summary.jobs:
        if job.reasons:
            typer.echo(f"{job.name}: {told_reasons(job.reasons)}")
    for job in summary.jobs:
        if job.failure:
            say(f"{job.name}: {job.failed:,} failed, the last for {job.failure}")
    for job in summary.jobs:
        if job.short and job.exhausted:
            say(f"note: {job.name}: {job.accepted:,} of {job.target:,} accepted rows, and its source is exhausted")
    limited = sum(job.short for job in summary.jobs if not (job.exhausted or job.pending))
    if limited and summary.stopped is None:
        say(f"note: --limit is reached; {limited:,} accepted rows are missing to the targets")
    tell_spent(spent)


def _cells(name: str, job: Tally) -> list[str]:
    counts = (job.asked, job.accepted, job.rejected, job.failed, job.pending, job.cached)
    share = "-" if job.share is None else f"{job.share:.0%}"
    return [name, *(f"{count:,}" for count in counts), cost_cell(job.cost_usd), share]


def _print_estimates(estimates: list[JobEstimate], as_json: bool) -> None:
    if as_json:
        print_json({"categories": [one.as_dict() for one in estimates]})
        return
    columns = ("category", "rows", "there", "cached", "input tokens", "output tokens", "cost")
    table = []
    for one in estimates:
        cost = "unknown" if one.usd is None else f"${_span(one.usd.low, one.usd.high, '.2f')}"
        spans = [_span(r.low, r.high) for r in (one.rows, one.input_tokens, one.output_tokens)]
        table.append([one.name, spans[0], f"{one.there:,}", f"{one.cached:,}", spans[1], spans[2], cost])
    print_table(columns, table)
    known = [one.usd for one in estimates if one.usd is not None]
    if len(known) == len(estimates):
        say(f"in all ${_span(sum(u.low for u in known), sum(u.high for u in known), '.2f')}; nothing was sent")
    else:
        say("no price is known for this model; nothing was sent")


def _span(low: float, high: float, form: str = ".0f") -> str:
    first, last = f"{low:,{form}}", f"{high:,{form}}"
    return first if first == last else f"{first}-{last}"
