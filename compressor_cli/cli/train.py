"""`scc train`."""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from compressor_cli.cli.common import ConfigOption, JsonOption, print_json, say


def train(
    output: Annotated[Path, typer.Option("--output", "-o", help="Run folder; a run that was stopped goes on.")],
    backend: Annotated[
        Literal["extractive"], typer.Option("--backend", help="extractive: the small word scorer of the prose engine.")
    ],
    data: Annotated[Path, typer.Option("--data", help="Folder with train.jsonl and valid.jsonl.")] = Path("data/sft"),
    config: ConfigOption = None,
    base_model: Annotated[
        str | None, typer.Option("--base-model", help="Folder of an encoder, or a package that carries one.")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option("--answers", help="Spans that people ask about, by text hash.")
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the data.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Windows a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--lr", help="Learning rate of the encoder.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of weights, order and dropout.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Use only the first N rows of each file.")] = None,
    tensorboard: Annotated[
        bool | None,
        typer.Option(
            "--tensorboard/--no-tensorboard",
            help="Serve TensorBoard on this run while it lasts; also where TB_AUTO=1. TB_HOST, TB_PORT say where.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be trained; start nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a compressor on verbose -> compressed chat rows."""
    from compressor_cli.cli.progress import training_progress
    from compressor_cli.core.board import board_server
    from compressor_cli.settings import load_board, load_settings
    from compressor_cli.stages.train import TrainPlan, train_extractive

    settings = load_settings(
        config,
        extractive={
            "base_model": base_model,
            "answers": answers,
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "seed": seed,
            "limit": limit,
        },
    ).extractive
    with ExitStack() as stack:
        board = load_board()
        if not dry_run and (board.auto if tensorboard is None else tensorboard):
            stack.enter_context(board_server(output, board.host, board.port, say))
        on_event = stack.enter_context(training_progress())
        command = shlex.join(["scc", *sys.argv[1:]])
        result = train_extractive(settings, data, output, command=command, dry_run=dry_run, on_event=on_event)
    if as_json:
        fields = asdict(result)
        print_json({name: str(value) if isinstance(value, Path) else value for name, value in fields.items()})
    elif isinstance(result, TrainPlan):
        say(", ".join(f"{name} {value}" for name, value in asdict(result).items()))
    else:
        typer.echo(str(result.model))
