"""`scc seed generate --dry-run`: what would be asked for and cost. Nothing is sent, and no key is needed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from compressor_cli.chat import Note
from compressor_cli.chat.cache import cache_key
from compressor_cli.chat.clients import need_batches, open_cache, service_of
from compressor_cli.core.estimates import JobEstimate, Waiting, estimate, shares
from compressor_cli.core.jsonl import read_rows
from compressor_cli.core.prices import load_prices
from compressor_cli.core.recipes import Job, Plan
from compressor_cli.core.seeds import SourceRow, rows_to_come, seeds
from compressor_cli.engines.teacher import NAME
from compressor_cli.records import ChatRequest
from compressor_cli.settings import ChatSettings, SpendSettings


def estimate_run(
    plan: Plan,
    corpus: Sequence[SourceRow],
    model: str,
    target: Path,
    chat: ChatSettings,
    spend: SpendSettings,
    *,
    limit: int | None,
    retry_errors: bool,
    note: Note,
    batch: bool = False,
) -> list[JobEstimate]:
    """For each job. Rows that `target` holds already are not asked for again; `limit` is over all rows of the file."""
    if batch:
        need_batches(model)
    rows_to_come(plan, corpus, note)
    there: set[str] = set()
    accepted = dict.fromkeys((job.name for job in plan.jobs), 0)
    for row in read_rows(target) if target.exists() else ():
        if not ("error" in row and retry_errors):
            there.add(row["key"])
        if row.get("status") == "accepted" and row["job"] in accepted:
            accepted[row["job"]] += 1

    def waiting(job: Job) -> Waiting:
        every = list(seeds(plan.recipe, job, corpus, model))
        left = [seed for seed in every if seed.key not in there and not (seed.row and seed.row.secrets)]
        wanted = None if job.target is None else max(job.target - accepted[job.name], 0)
        return Waiting(job.name, left, sum(seed.key in there for seed in every), wanted)

    jobs = [waiting(job) for job in plan.jobs]
    rows = shares(jobs, None if limit is None else max(limit - len(there), 0))
    price = load_prices(spend.prices).find(model)
    today = price.at(date.today()) if price else None
    url = None if model == NAME else service_of(model, chat, needs_key=False).url
    cache = None if model == NAME else open_cache(chat, note)

    def is_cached(request: ChatRequest) -> bool:
        return cache is not None and cache.find(cache_key(model, url, request)) is not None

    try:
        return [
            estimate(plan.recipe, job, share, price=today, is_cached=is_cached, batch=batch)
            for job, share in zip(jobs, rows, strict=True)
        ]
    finally:
        if cache is not None:
            cache.close()
