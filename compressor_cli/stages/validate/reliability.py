"""What the verdicts of a run say of those who gave them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from compressor_cli.core.agreement import alpha

_FAMILY = re.compile(r"claude|gpt|gemini|gemma|qwen|llama|mistral|mixtral|deepseek|phi|embedded|o\d", re.IGNORECASE)


@dataclass(frozen=True)
class Reliability:
    """`alpha`: Krippendorff's, over the scores of the models. `flips`: share of judgements that turn with the order.

    `transfer` is the share of pairs that pass for every model, `passes` that for each.
    """

    alpha: float | None
    flips: float | None
    abstentions: float
    transfer: float | None
    passes: Mapping[str, float]
    same_family: tuple[str, ...]


def reliability(
    rows: Sequence[Mapping[str, Any]], models: Sequence[str], judge: str | None, threshold: float
) -> Reliability:
    asked = [row for row in rows if row["models"]]
    scores = {name: [row["models"][name]["score"] for row in asked] for name in models}
    tasks = [task for row in asked for found in row["models"].values() for task in found["tasks"].values()]
    flips = [task["flipped"] for task in tasks if "flipped" in task]
    passed = {name: [score >= threshold for score in column if score is not None] for name, column in scores.items()}
    every = [all((score or 0) >= threshold for score in column) for column in zip(*scores.values(), strict=True)]
    teachers = {family(row["teacher"]) for row in asked if row["teacher"]}
    judges = [*models, *([judge] if judge else [])]
    return Reliability(
        alpha=alpha(list(scores.values())) if asked else None,
        flips=round(fmean(flips), 4) if flips else None,
        abstentions=round(fmean(task["abstained"] for task in tasks), 4) if tasks else 0.0,
        transfer=round(fmean(every), 4) if every else None,
        passes={name: round(fmean(column), 4) for name, column in passed.items() if column},
        same_family=tuple(name for name in judges if family(name) in teachers),
    )


def family(model: str) -> str:
    """Who trained a model, as far as its name tells; else its provider."""
    provider, _, name = model.partition(":")
    found = _FAMILY.search(name or provider)
    return found.group().lower() if found else provider
