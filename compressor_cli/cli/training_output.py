"""What `scc train` prints: a plan for people or as JSON, and where the result lies."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from compressor_cli.cli.common import print_json

if TYPE_CHECKING:
    from compressor_cli.stages.train.plans import TrainPlan


def print_training(result: Any, *, as_json: bool, staged: bool) -> None:
    """Plans by stage, reports of runs, or what the extractive backend gives."""

    if not isinstance(result, list):  # extractive
        _print_extractive(result, as_json)
    elif isinstance(result[0], tuple):
        plans: list[tuple[str | None, TrainPlan]] = result
        if as_json:
            print_json(
                {"stages": [{"name": name, **plan.as_dict()} for name, plan in plans]}
                if plans[0][0]
                else plans[0][1].as_dict()
            )
        else:
            typer.echo("\n\n".join(_told(name, plan) for name, plan in plans))
    elif as_json:
        told = [_plain(report) for report in result]
        print_json({"stages": told} if staged else told[0])
    else:
        typer.echo(str(result[-1].adapter))


def _print_extractive(result: Any, as_json: bool) -> None:
    from compressor_cli.stages.train.extractive import ExtractivePlan

    if as_json:
        print_json(_plain(result))
    elif isinstance(result, ExtractivePlan):
        typer.echo("\n".join(f"{name}: {value:,}" for name, value in asdict(result).items()))
    else:
        typer.echo(str(result.model))


def _plain(record: Any) -> dict[str, Any]:
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def _told(name: str | None, plan: TrainPlan) -> str:
    left = (
        f" ({', '.join(f'{count:,} left out: {why}' for why, count in plan.left_out.items())})" if plan.left_out else ""
    )
    lines = [
        *([f"name: {name}"] if name else []),
        f"backend: {plan.backend}, stage {plan.stage}",
        f"model: {plan.model}",
        f"rows: {plan.rows:,}{left}, {plan.valid_rows:,} for validation",
        f"tokens: {plan.tokens:,} an epoch, {plan.trained_tokens:,} of them trained; at most {plan.longest:,} a row",
        f"steps: {plan.steps:,} of {plan.rows_a_step} rows and about {plan.tokens_a_step:,} tokens,"
        f" {plan.steps_an_epoch:,} an epoch; {plan.total_tokens:,} tokens in all",
        f"checkpoints: {_checkpoints(plan)}",
        f"memory: {_memory(plan)}",
        *([f"cost: {_cost(plan)}"] if plan.backend == "tinker" else []),
        "settings:",
        *(f"  {key}: {value}" for key, value in plan.settings.items() if key != "model"),
    ]
    return "\n".join(lines)


def _checkpoints(plan: TrainPlan) -> str:
    often = f"every {plan.save_every:,} steps" if plan.save_every > 1 else "after each step"
    if plan.backend == "tinker":
        return f"{often}, kept by the server"
    return f"{often}, {_size(plan.checkpoint_bytes) if plan.checkpoint_bytes else 'of unknown size'} each"


def _memory(plan: TrainPlan) -> str:
    if plan.memory_bytes is None:
        return "the server's" if plan.backend == "tinker" else "unknown"
    there = f", {_size(plan.machine_bytes)} are there" if plan.machine_bytes else ""
    return f"about {_size(plan.memory_bytes)}{there}; {plan.trained_weights or 0:,} weights are trained"


def _cost(plan: TrainPlan) -> str:
    if plan.cost_usd is None:
        return f"unknown: no price of {plan.model} is known here"
    return f"about ${float(plan.cost_usd):.2f}, at the list price of {plan.prices_of}"


def _size(count: int) -> str:
    from compressor_cli.core.footprint import size

    return size(count)
