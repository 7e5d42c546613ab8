"""`scc compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compressor_cli.cli.common import ConfigOption, JsonOption
from compressor_cli.cli.spending import (
    AllowUnpricedOption,
    BudgetOption,
    LedgerOption,
    PricesOption,
    ResumeOption,
    RetryErrorsOption,
)


def compare(
    evals: Annotated[
        list[str],
        typer.Argument(
            help="Two or more outputs of scc eval; with --live two compressors: embedded, openai:MODEL or a run.",
            metavar="A B...",
        ),
    ],
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with every row, side by side.", show_default=False)
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Lowest score of a row that passes; 0.8 if absent.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of intervals, and of the lot that deals the rows out.", show_default=False)
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Run two compressors on new text, each on half of it.")] = False,
    source: Annotated[
        Path | None,
        typer.Option("--input", help="With --live: JSONL of texts, or a text in paragraphs.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="With --live: JSONL of what each row became.", show_default=False),
    ] = None,
    assignment: Annotated[
        Path | None,
        typer.Option(
            help="With --live: which row goes to which compressor; OUTPUT.assignment.json if absent.",
            show_default=False,
        ),
    ] = None,
    field: Annotated[
        str | None, typer.Option(help="With --live: field of the texts in JSONL; text if absent.", show_default=False)
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="With --live: the first N rows.", show_default=False)] = None,
    resume: ResumeOption = False,
    retry_errors: RetryErrorsOption = False,
    base_url: Annotated[
        str | None, typer.Option(help="With --live: address of the server of openai:MODEL.", show_default=False)
    ] = None,
    budget_usd: BudgetOption = None,
    prices: PricesOption = None,
    allow_unpriced: AllowUnpricedOption = None,
    ledger: LedgerOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how far evals of the same rows differ, and whether that can be chance.

    Rows are paired by id, and every eval is held against the first: differences with intervals, tests corrected for
    their number, wins, ties and losses.
    """
    from compressor_cli.cli.comparing import Request, run
    from compressor_cli.settings import load_settings

    spend_flags = {"budget_usd": budget_usd, "prices": prices, "allow_unpriced": allow_unpriced, "ledger": ledger}
    given = {"threshold": threshold, "seed": seed}
    settings = load_settings(config, eval=given, chat={"base_url": base_url}, spend=spend_flags)
    only_live = {
        "--input": source,
        "--output": output,
        "--assignment": assignment,
        "--field": field,
        "--limit": limit,
        "--base-url": base_url,
        "--budget-usd": budget_usd,
        "--prices": prices,
        "--allow-unpriced": allow_unpriced,
        "--ledger": ledger,
        "--resume": resume or None,
        "--retry-errors": retry_errors or None,
    }
    run(
        settings,
        Request(
            names=evals,
            html=html,
            live=live,
            source=source,
            output=output,
            assignment=assignment,
            field=field or "text",
            limit=limit,
            resume=resume,
            retry_errors=retry_errors,
            as_json=as_json,
            only_live={flag for flag, value in only_live.items() if value is not None},
        ),
    )
