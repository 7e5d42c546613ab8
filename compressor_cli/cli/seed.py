"""`scc seed`: pairs and conversations from teachers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compressor_cli.cli.common import ConfigOption, JsonOption, print_json, say
from compressor_cli.cli.spending import (
    AllowUnpricedOption,
    BaseUrlOption,
    BatchOption,
    BudgetOption,
    ConcurrencyOption,
    FallbackOption,
    LedgerOption,
    NoCacheOption,
    PricesOption,
    cost_cell,
    finish,
    opened_chats,
    print_table,
    rows_at_once,
)

if TYPE_CHECKING:
    from compressor_cli.core.estimates import JobEstimate
    from compressor_cli.stages.generate import GenerateSummary

app = typer.Typer(no_args_is_help=True)


@app.callback()  # keeps `generate` a command of its own name while it is the only one
def seed() -> None:
    """Have models write training data."""


@app.command("generate")
def generate_command(
    recipe: Annotated[Path, typer.Option(help="YAML file: prompts, checks, categories and their targets.")],
    output: Annotated[Path, typer.Option(help="JSONL file that rows are appended to.")],
    input: Annotated[
        Path | None, typer.Option(help="Corpus, as `scc data corpus` writes it.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="provider:model, or embedded; that of the recipe if absent.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Ask for this many rows at most.", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an output that holds rows.")] = False,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Ask again for rows that failed.")] = False,
    batch: BatchOption = False,
    concurrency: ConcurrencyOption = None,
    fallback: FallbackOption = None,
    base_url: BaseUrlOption = None,
    no_cache: NoCacheOption = None,
    budget_usd: BudgetOption = None,
    prices: PricesOption = None,
    allow_unpriced: AllowUnpricedOption = None,
    ledger: LedgerOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell rows, tokens and cost; send nothing.")] = False,
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
    chat_flags = {"fallback": fallback or plan.recipe.fallback, "concurrency": concurrency, "base_url": base_url}
    spend_flags = {"budget_usd": budget_usd, "prices": prices, "allow_unpriced": allow_unpriced, "ledger": ledger}
    settings = load_settings(config, chat={**chat_flags, "no_cache": no_cache}, spend=spend_flags)
    at_once = rows_at_once(settings, concurrency, batch=batch)
    corpus = read_corpus(input) if input else []
    name = model or plan.recipe.model
    if dry_run:
        found = estimate_run(
            plan, corpus, name, output, settings.chat, settings.spend, limit=limit, note=say, batch=batch
        )
        _print_estimates(found, as_json)
        return
    with (
        rows_progress("generating") as on_event,
        opened_chats([name], settings, output, command="generate", on_event=on_event, batch=batch) as (
            chats,
            _,
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
    _print_summary(summary, as_json)
    finish(summary.stopped, summary.unfinished)


def _print_summary(summary: GenerateSummary, as_json: bool) -> None:
    if as_json:
        print_json(summary.as_dict())
        return
    columns = ("category", "asked", "accepted", "rejected", "failed", "pending", "cached", "cost", "yield")
    rows = []
    for job in summary.jobs:
        counts = (job.asked, job.accepted, job.rejected, job.failed, job.pending, job.cached)
        share = job.as_dict()["yield"]
        cells = [job.name, *(f"{count:,}" for count in counts), cost_cell(job.cost_usd)]
        rows.append([*cells, "-" if share is None else f"{share:.0%}"])
    print_table(columns, rows)
    for job in summary.jobs:
        if job.reasons:
            told = ", ".join(f"{reason} {count}" for reason, count in sorted(job.reasons.items()))
            say(f"{job.name}: rejected for {told}")
        if job.short:
            say(f"{job.name}: {job.short} accepted rows are missing to the target of {job.target}")


def _print_estimates(estimates: list[JobEstimate], as_json: bool) -> None:
    if as_json:
        print_json({"categories": [one.as_dict() for one in estimates]})
        return
    columns = ("category", "rows", "there", "cached", "input tokens", "output tokens", "cost")
    rows = []
    for one in estimates:
        ranges = [
            f"{r.low:,.0f} to {r.high:,.0f}" if r.low != r.high else f"{r.low:,.0f}"
            for r in (one.rows, one.input_tokens, one.output_tokens)
        ]
        cost = "unknown" if one.usd is None else f"${one.usd.low:,.2f} to ${one.usd.high:,.2f}"
        rows.append([one.name, ranges[0], f"{one.there:,}", f"{one.cached:,}", ranges[1], ranges[2], cost])
    print_table(columns, rows)
    known = [one.usd for one in estimates]
    if all(usd is not None for usd in known):
        low, high = sum(u.low for u in known if u), sum(u.high for u in known if u)
        say(f"in all ${low:,.2f} to ${high:,.2f}; nothing was sent")
    else:
        say("no price is known for this model; nothing was sent")
