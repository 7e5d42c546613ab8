"""`scc validate`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
    DryRunOption,
    FallbackOption,
    LedgerOption,
    NoCacheOption,
    OnEvent,
    PricesOption,
    ResumeOption,
    RetryErrorsOption,
    cost_cell,
    finish,
    opened_chats,
    print_table,
    rows_at_once,
    told_reasons,
)
from compressor_cli.errors import UsageError

if TYPE_CHECKING:
    from compressor_cli.chat import Chat
    from compressor_cli.chat.batches import Batches
    from compressor_cli.core.agreement import Calibration
    from compressor_cli.core.estimates import Range
    from compressor_cli.settings import Settings, ValidationSettings
    from compressor_cli.stages.validate import ValidateSummary
    from compressor_cli.stages.validate.estimate import ValidateEstimate


def validate(
    pairs: Annotated[Path, typer.Argument(help="JSONL of pairs, as `scc seed generate` writes it.")],
    models: Annotated[
        str | None,
        typer.Option(help="Models that do the tasks, by commas: anthropic:...,openai:...", show_default=False),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            help="Model that compares the answers, in both orders; the first of --models if absent, or none.",
            show_default=False,
        ),
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
        typer.Option(
            help="Sentence-transformers model, by name or folder; all-MiniLM-L6-v2 if absent.", show_default=False
        ),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Free checks and local metrics only.")] = False,
    gold: Annotated[
        Path | None,
        typer.Option(help="JSONL of human labels (id, equivalent): the threshold that fits them.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Verdicts; verdicts.jsonl beside the pairs if absent.", show_default=False),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N pairs.", show_default=False)] = None,
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
    """Say of each pair whether the compressed text means the same: models do the same tasks on both texts.

    A pair is accepted where the lowest score of the models reaches the threshold. accepted.jsonl and rejected.jsonl
    stand beside the verdicts.
    """
    from compressor_cli.cli.progress import rows_progress
    from compressor_cli.settings import load_settings
    from compressor_cli.stages.validate import validate as run
    from compressor_cli.stages.validate.estimate import estimate_validation

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
    at_once = rows_at_once(settings, concurrency, batch=batch)
    if offline and batch:
        raise UsageError("--offline asks no model, so there is nothing for --batch")
    names, referee = _asked(settings.validation, offline=offline, given=bool(models or judge or dry_run))
    target = output or pairs.with_name("verdicts.jsonl")
    if dry_run:
        plan = estimate_validation(
            settings.validation,
            names,
            referee,
            pairs,
            target,
            settings.chat,
            settings.spend,
            limit=limit,
            batch=batch,
            note=say,
        )
        _print_estimate(plan, as_json)
        return
    every = [*names, *([referee] if referee else [])]
    with (
        rows_progress("validating") as on_event,
        _opened(every, settings, target, on_event, batch=batch) as (chats, batches),
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
            concurrency=at_once,
            leave=batches.detach if batches else None,
            on_event=on_event,
        )
    if as_json:
        print_json(summary.as_dict())
    else:
        _print(summary)
    finish(summary.stopped, summary.unfinished)


def _names(given: str | None) -> list[str] | None:
    return None if given is None else [name.strip() for name in given.split(",") if name.strip()]


def _asked(settings: ValidationSettings, *, offline: bool, given: bool) -> tuple[list[str], str | None]:
    """The models and the judge."""
    if offline:
        if given:
            raise UsageError("--offline asks no model: leave out --models, --judge and --dry-run")
        return [], None
    names = list(dict.fromkeys(settings.models))
    if not names:
        raise UsageError("no --models are named", hint="--offline takes free checks and local metrics only")
    judge = settings.judge or names[0]
    for name in (*names, judge):
        if name.partition(":")[0] == "embedded":
            raise UsageError("embedded compresses, and answers nothing", hint="--offline needs no model")
    return names, None if judge == "none" else judge


@contextmanager
def _opened(
    names: list[str], settings: Settings, target: Path, on_event: OnEvent, *, batch: bool
) -> Iterator[tuple[dict[str, Chat], Batches | None]]:
    if not names:  # no ledger either
        yield {}, None
        return
    with opened_chats(names, settings, target, command="validate", on_event=on_event, batch=batch) as opened:
        chats, _, batches = opened
        yield chats, batches


def _print_estimate(found: ValidateEstimate, as_json: bool) -> None:
    if as_json:
        print_json(found.as_dict())
        return
    columns = ("model", "requests", "cached", "input tokens", "output tokens", "cost")
    rows = []
    for one in found.models:
        cells = [f"{span.low:,} to {span.high:,}" for span in (one.input_tokens, one.output_tokens)]
        rows.append([one.name, f"{one.requests:,}", f"{one.cached:,}", *cells, _range(one.usd)])
    if rows:
        print_table(columns, rows)
    say(
        f"{found.pairs:,} pairs to judge, {found.there:,} have a verdict, {found.refused:,} fail the free checks; "
        f"in all {_range(found.usd)}, and what models think before they answer; nothing was sent"
    )


def _range(usd: Range | None) -> str:
    return "unknown" if usd is None else f"{cost_cell(usd.low)} to {cost_cell(usd.high)}"


def _print(summary: ValidateSummary) -> None:
    typer.echo(
        f"{summary.output}: {summary.pairs:,} pairs: {summary.accepted:,} accepted, {summary.rejected:,} rejected"
        f" ({summary.rejected_before:,} when they were made), {summary.failed:,} failed, {summary.pending:,} pending;"
        f" {summary.cached:,} answers cached, {cost_cell(summary.cost_usd)}"
    )
    if summary.reasons:
        typer.echo(told_reasons(summary.reasons))
    if summary.failure:
        say(f"{summary.failed:,} failed, the last for {summary.failure}")
    typer.echo(f"metric: {summary.metric}")
    found = summary.reliability
    if found and found.passes:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in found.passes.items())
        typer.echo(f"pass by model: {shares}; for every model: {_share(found.transfer)}")
        typer.echo(
            f"agreement (Krippendorff's alpha): {'-' if found.alpha is None else found.alpha}; "
            f"judgements that turn with the order: {_share(found.flips)}; "
            f"abstained: {_share(found.abstentions)} of tasks, {_share(found.judge_abstentions)} of judgements"
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
