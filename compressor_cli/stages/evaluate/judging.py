"""Judges beside a model that generates: asked in a thread of their own, as `scc validate` asks them."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from compressor_cli.chat import Chat
from compressor_cli.core.background import Background
from compressor_cli.core.similarity import Similarity
from compressor_cli.engines.court import Case, Court, Pair
from compressor_cli.settings import ValidationSettings

Verdict = dict[str, Any]


class Panel:
    """Each of `chats` does the tasks on both texts; the first compares the answers. The lowest score counts.

    Free checks do not come before, as in validation: every answer is judged, but one that is empty or the input itself.
    """

    def __init__(self, settings: ValidationSettings, chats: Mapping[str, Chat], similarity: Similarity) -> None:
        judge = next(iter(chats.values()))
        self._court = Court(settings, chats, judge, similarity)
        self._background = Background()

    def ask(self, row: Mapping[str, Any], language: str | None) -> Future[Verdict]:
        if not row["output"] or row["output"] == row["input"]:
            known: Future[Verdict] = Future()
            known.set_result({"equivalence": float(bool(row["output"])), "judges": {}, "cost_usd": 0.0})
            return known
        pair = Pair(row["key"], row["id"], row["domain"], language, row["input"], row["output"], (), {})
        return self._background.submit(self._verdict(Case(pair)))

    async def _verdict(self, case: Case) -> Verdict:
        """`equivalence` is None where no model could do the tasks on the input."""
        models = await self._court.ask_models(case)
        scores = [one["score"] for one in models.values() if one["score"] is not None]
        told = {name: one["score"] for name, one in models.items()}
        return {"equivalence": min(scores, default=None), "judges": told, "cost_usd": case.bill()["cost_usd"]}

    def close(self) -> None:
        self._background.submit(self._court.aclose()).result()
        self._background.close()
