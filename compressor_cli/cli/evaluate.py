"""`scc eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from compressor_cli.cli.common import ConfigOption, JsonOption, TokenizerOption
from compressor_cli.cli.spending import (
    AllowUnpricedOption,
    BudgetOption,
    ConcurrencyOption,
    DryRunOption,
    LedgerOption,
    NoCacheOption,
    PricesOption,
    ResumeOption,
    RetryErrorsOption,
)
from compressor_cli.errors import UsageError


def evaluate(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="eval/NAME.jsonl; with --benchmark a chart, .html or .png.", show_default=False
        ),
    ] = None,
    backend: Annotated[
        Literal["local", "tinker", "torch", "openai", "embedded"] | None,
        typer.Option(
            "--backend",
            help="What runs the model; that of the run if absent. openai: any server that speaks its interface.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="Base model, or its name on a server; that of the run if absent.", show_default=False
        ),
    ] = None,
    adapter: Annotated[
        Path | None,
        typer.Option(
            "--adapter", help="A run of scc train, a folder of an adapter, or tinker://... weights.", show_default=False
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="JSONL file, or a folder whose test.jsonl is taken.", show_default=False),
    ] = None,
    hf_dataset: Annotated[
        str | None,
        typer.Option("--hf-dataset", help="Dataset whose test split is pulled where it is absent.", show_default=False),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N rows.", show_default=False)] = None,
    resume: ResumeOption = False,
    retry_errors: RetryErrorsOption = False,
    judge: Annotated[
        list[str] | None,
        typer.Option(
            "--judge",
            help="Models that say whether both texts mean the same, by commas or repeated; the first compares answers.",
            show_default=False,
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Lowest score of a row that passes; 0.8 if absent.", show_default=False)
    ] = None,
    fail_under: Annotated[
        str | None,
        typer.Option(metavar="GATES", help="Exit 100 unless they hold: fidelity=0.95,ratio<=0.65", show_default=False),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of sampling and of intervals.", show_default=False)] = None,
    temperature: Annotated[
        float | None, typer.Option(help="0, if absent: the likeliest token each time.", show_default=False)
    ] = None,
    top_p: Annotated[
        float | None, typer.Option("--top-p", help="Draw from the likeliest tokens of this share.", show_default=False)
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Most tokens of an answer, never above those of its input.", show_default=False)
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows in work at once; 8.", show_default=False)] = None,
    tokenizer: TokenizerOption = None,
    embeddings: Annotated[
        str | None,
        typer.Option(help="Sentence-transformers model for the similarity, or none.", show_default=False),
    ] = None,
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help="Measure latency and throughput over 100 to 4,000 tokens instead.")
    ] = False,
    base_url: Annotated[
        str | None,
        typer.Option(
            help="Address of the server: of --backend openai or tinker, or local: judges.", show_default=False
        ),
    ] = None,
    concurrency: ConcurrencyOption = None,
    no_cache: NoCacheOption = None,
    budget_usd: BudgetOption = None,
    prices: PricesOption = None,
    allow_unpriced: AllowUnpricedOption = None,
    ledger: LedgerOption = None,
    dry_run: DryRunOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a compressor on the test rows of a dataset: tokens, facts, likeness, latency, cost.

    The model is measured as it is: nothing that it loses is put back. summary.json and report.html stand in a folder
    of the output's name.
    """
    from compressor_cli.cli.evaluating import Request, run
    from compressor_cli.settings import load_settings

    given = {
        "backend": backend,
        "model": model,
        "judge": _names(judge),
        "threshold": threshold,
        "seed": seed,
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "batch_size": batch_size,
        "tokenizer": tokenizer,
        "embeddings": embeddings,
    }
    chat_flags = {"concurrency": concurrency, "base_url": base_url, "no_cache": no_cache}
    spend_flags = {"budget_usd": budget_usd, "prices": prices, "allow_unpriced": allow_unpriced, "ledger": ledger}
    settings = load_settings(config, eval=given, chat=chat_flags, spend=spend_flags)
    given_flags = {
        "--temperature": temperature,
        "--top-p": top_p,
        "--base-url": base_url,
        "--model": model,
        "--batch-size": batch_size,
        "--concurrency": concurrency,
        "--no-cache": no_cache,
    }
    run(
        settings,
        Request(
            output=output,
            adapter=adapter,
            data=data,
            hf_dataset=hf_dataset,
            limit=limit,
            resume=resume,
            retry_errors=retry_errors,
            fail_under=fail_under,
            benchmark=benchmark,
            dry_run=dry_run,
            as_json=as_json,
            flags={flag for flag, value in given_flags.items() if value is not None},
        ),
    )


def _names(given: list[str] | None) -> list[str] | None:
    if given is None:
        return None
    names = list(dict.fromkeys(name.strip() for each in given for name in each.split(",") if name.strip()))
    if not names:
        raise UsageError("--judge names no model", hint="--judge anthropic:... or openai:...")
    return names
