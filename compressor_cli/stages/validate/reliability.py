"""What the verdicts of a run say of those who gave them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from compressor_cli.core.agreement import alpha

_FAMILIES = {
    "anthropic": r"claude",
    "openai": r"(?:chat)?gpt|o\d|davinci|codex",
    "google": r"gemini|gemma|palm",
    "meta": r"(?:code)?llama",
    "mistral": r"mistral|mixtral|codestral|ministral|devstral",
    "qwen": r"qwen|qwq",
    "deepseek": r"deepseek",
    "microsoft": r"phi",
    "xai": r"grok",
}
_NAMES = re.compile("|".join(f"(?P<{name}>(?<![a-z])(?:{words}))" for name, words in _FAMILIES.items()), re.IGNORECASE)


@dataclass(frozen=True)
class Reliability:
    """`alpha`: Krippendorff's, over the scores of the models. `flips`: share of judgements that turn with the order.

    Abstentions are shares, of the tasks and of the judgements. `transfer` is the share of the pairs with a score from
    every model that pass for every model, `passes` that for each. `same_family` are those of a teacher's family.
    """

    alpha: float | None
    flips: float | None
    abstentions: float
    judge_abstentions: float | None
    transfer: float | None
    passes: Mapping[str, float]
    same_family: tuple[str, ...]


def reliability(
    rows: Sequence[Mapping[str, Any]],
    teachers: Sequence[str],
    models: Sequence[str],
    judge: str | None,
    threshold: float,
) -> Reliability:
    """Of verdicts, of which those of the free checks alone do not count."""
    asked = [row for row in rows if row["models"]]
    columns = [[row["models"][name]["score"] for name in models] for row in asked]
    tasks = [task for row in asked for found in row["models"].values() for task in found["tasks"].values()]
    flips = [task["flipped"] for task in tasks if "flipped" in task]
    judged = [score is None for task in tasks for score in task.get("judge", ())]
    by_model = {name: [column[n] for column in columns if column[n] is not None] for n, name in enumerate(models)}
    whole = [min(column) for column in columns if None not in column]
    families = {family(teacher) for teacher in teachers}
    judges = dict.fromkeys((*models, *([judge] if judge else [])))
    return Reliability(
        alpha=alpha(list(zip(*columns, strict=True))) if asked else None,
        flips=round(fmean(flips), 4) if flips else None,
        abstentions=round(fmean(task["abstained"] for task in tasks), 4) if tasks else 0.0,
        judge_abstentions=round(fmean(judged), 4) if judged else None,
        transfer=_share(whole, threshold),
        passes={name: share for name, scores in by_model.items() if (share := _share(scores, threshold)) is not None},
        same_family=tuple(name for name in judges if family(name) in families),
    )


def family(model: str) -> str:
    """Who trained a model, by what its name says, else by its provider, else the name itself."""
    provider, _, name = model.rpartition(":")
    found = _NAMES.search(name)
    if found:
        return str(found.lastgroup)
    return provider if provider in _FAMILIES else name.lower()


def _share(scores: Sequence[float], threshold: float) -> float | None:
    return round(fmean(score >= threshold for score in scores), 4) if scores else None
