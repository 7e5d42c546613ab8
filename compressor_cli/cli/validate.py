"""`scc validate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compressor_cli.cli.common import ConfigOption, JsonOption, print_json, say
from compressor_cli.cli.spending import (
    AllowUnpricedOption,
    BaseUrlOption,
    BudgetOption,
    ConcurrencyOption,
    FallbackOption,
    LedgerOption,
    NoCacheOption,
    PricesOption,
    cost_cell,
    finish,
    opened_chats,
)
from compressor_cli.errors import UsageError

if TYPE_CHECKING:
    from compressor_cli.core.agreement import Calibration
    from compressor_cli.stages.validate import ValidateSummary


def validate(
    pairs: Annotated[Path, typer.Argument(help="JSONL of pairs, as `scc seed generate` writes it.")],
    models: Annotated[
        str | None,
        typer.Option(help="Models that do the tasks, by commas: anthropic:...,openai:...", show_default=False),
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="Model that compares the answers, in both orders.", show_default=False)
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help="qa and reasoning for prose, code for code; all if absent.", show_default=False)
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Lowest score that passes; 0.8 if absent.", show_default=False)
    ] = None,
    min_fidelity: Annotated[
        float | None, typer.Option(help="Share of facts kept below which no model is asked.", show_default=False)
    ] = None,
    embeddings: Annotated[
        str | None,
        typer.Option(help="Sentence-transformers model, by name or folder; all-MiniLM-L6-v2.", show_default=False),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Free checks and local metrics only.")] = False,
    gold: Annotated[
        Path | None, typer.Option(help="JSONL of human labels: id, equivalent.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Verdicts; verdicts.jsonl beside the pairs if absent.", show_default=False),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N pairs.", show_default=False)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an output that holds verdicts.")] = False,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Judge again the pairs that failed.")] = False,
    concurrency: ConcurrencyOption = None,
    fallback: FallbackOption = None,
    base_url: BaseUrlOption = None,
    no_cache: NoCacheOption = None,
    budget_usd: BudgetOption = None,
    prices: PricesOption = None,
    allow_unpriced: AllowUnpricedOption = None,
    ledger: LedgerOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say of each pair whether the compressed text means the same: models do the same tasks on both texts.

    A pair is accepted where the lowest score of the models reaches the threshold. accepted.jsonl and rejected.jsonl
    stand beside the verdicts.
    """
    from compressor_cli.cli.progress import rows_progress
    from compressor_cli.settings import load_settings
    from compressor_cli.stages.validate import validate as run

    given = {
        "models": _names(models),
        "judge": judge,
        "tasks": _names(tasks),
        "threshold": threshold,
        "min_fidelity": min_fidelity,
        "embeddings": embeddings,
    }
    chat_flags = {"fallback": fallback, "concurrency": concurrency, "base_url": base_url, "no_cache": no_cache}
    spend_flags = {"budget_usd": budget_usd, "prices": prices, "allow_unpriced": allow_unpriced, "ledger": ledger}
    settings = load_settings(config, validation=given, chat=chat_flags, spend=spend_flags)
    names = () if offline else settings.validation.models
    if not names and not offline:
        raise UsageError("no --models are named", hint="--offline takes free checks and local metrics only")
    referee = None if offline else settings.validation.judge
    target = output or pairs.with_name("verdicts.jsonl")
    every = [*names, *([referee] if referee else [])]
    with (
        rows_progress("validating") as on_event,
        opened_chats(every, settings, target, command="validate", on_event=on_event) as (chats, _),
    ):
        summary = run(
            settings.validation,
            pairs,
            target,
            {name: chats[name] for name in names},
            chats[referee] if referee else None,
            gold=gold,
            limit=limit,
            resume=resume,
            retry_errors=retry_errors,
            concurrency=settings.chat.concurrency,
            on_event=on_event,
        )
    if as_json:
        print_json(summary.as_dict())
    else:
        _print(summary)
    finish(summary.stopped, summary.unfinished)


def _names(given: str | None) -> list[str] | None:
    return None if given is None else [name.strip() for name in given.split(",") if name.strip()]


def _print(summary: ValidateSummary) -> None:
    typer.echo(
        f"{summary.output}: {summary.pairs:,} pairs: {summary.accepted:,} accepted, {summary.rejected:,} rejected"
        f" ({summary.rejected_before:,} when they were made), {summary.failed:,} failed, {summary.pending:,} pending;"
        f" {summary.cached:,} answers cached, {cost_cell(summary.cost_usd)}"
    )
    typer.echo(f"metric: {summary.metric}")
    found = summary.reliability
    if found:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in found.passes.items())
        typer.echo(f"pass by model: {shares}; for every model: {_share(found.transfer)}")
        typer.echo(
            f"agreement (Krippendorff's alpha): {'-' if found.alpha is None else found.alpha}; "
            f"turned with the order: {_share(found.flips)}; abstained: {_share(found.abstentions)}"
        )
        if found.same_family:
            say(f"warning: of one family with the teacher: {', '.join(found.same_family)}; they may favour its words")
    for what, calibration in zip(("in use", "best"), summary.calibration or (), strict=False):
        typer.echo(_calibration(what, calibration))


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _calibration(what: str, found: Calibration) -> str:
    return (
        f"threshold {found.threshold} ({what}) against {found.pairs} labels: balanced accuracy {found.balanced:.1%}, "
        f"precision {_share(found.precision)}, recall {_share(found.recall)}, kappa {found.kappa}"
    )
