"""`scc seed generate --dry-run`: what would be asked for and cost. Nothing is sent, and no key is needed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from compressor_cli.chat import Note
from compressor_cli.chat.cache import cache_key
from compressor_cli.chat.clients import need_batches, open_cache, service_of
from compressor_cli.core.estimates import JobEstimate, estimate
from compressor_cli.core.jsonl import read_rows
from compressor_cli.core.prices import load_prices
from compressor_cli.core.recipes import Plan
from compressor_cli.core.seeds import SourceRow
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
    note: Note,
    batch: bool = False,
) -> list[JobEstimate]:
    """For each job. Rows that `target` holds already are not asked for again."""
    if batch:
        need_batches(model)
    there: dict[str, dict[str, Any]] = {row["key"]: row for row in read_rows(target)} if target.exists() else {}
    price = load_prices(spend.prices).find(model)
    cache = None if model == NAME else open_cache(chat, note)
    url = None if model == NAME else service_of(model, chat, needs_key=False).url

    def is_cached(request: ChatRequest) -> bool:
        return cache is not None and cache.find(cache_key(model, url, request)) is not None

    try:
        return [
            estimate(
                plan.recipe,
                job,
                corpus,
                model,
                price=price.at(date.today()) if price else None,
                accepted=sum(row.get("job") == job.name and row.get("status") == "accepted" for row in there.values()),
                is_there=there.__contains__,
                is_cached=is_cached,
                limit=limit,
                batch=batch,
            )
            for job in plan.jobs
        ]
    finally:
        if cache is not None:
            cache.close()
