"""`scc train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from compressor_cli.cli.common import ConfigOption, JsonOption


def train(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Run folder; a run that was stopped goes on.", show_default=False),
    ] = None,
    backend: Annotated[
        Literal["local", "tinker", "torch", "extractive"] | None,
        typer.Option(
            "--backend",
            help="local: MLX; tinker: Tinker's cloud; torch: TRL and PEFT; extractive: the prose engine's word scorer.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder with train.jsonl and valid.jsonl, or a file.", show_default=False),
    ] = None,
    hf_dataset: Annotated[
        str | None,
        typer.Option(
            "--hf-dataset",
            help="Dataset to pull where --data is absent; Sudhendra/semantic-compression-sft.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    stage: Annotated[
        Literal["pretrain", "sft", "dpo", "distill"] | None,
        typer.Option(
            "--stage", help="What is learned; sft if absent. All four with --backend torch.", show_default=False
        ),
    ] = None,
    stages: Annotated[
        Path | None,
        typer.Option("--stages", help="YAML file of stages, each from the one before.", show_default=False),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Base model: a folder, or a name on the hub.", show_default=False)
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the data.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Updates of the weights.", show_default=False)] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="Rows a batch, over all processes.", show_default=False)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--lr", help="Highest learning rate.", show_default=False)
    ] = None,
    rank: Annotated[int | None, typer.Option("--rank", help="Rank of the adapter.", show_default=False)] = None,
    max_seq_length: Annotated[
        int | None, typer.Option("--max-seq-length", help="Longer rows are left out, and told.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of weights, order and dropout.", show_default=False)
    ] = None,
    save_every: Annotated[
        int | None, typer.Option("--save-every", help="Steps between checkpoints.", show_default=False)
    ] = None,
    keep_last: Annotated[int | None, typer.Option("--keep-last", help="Checkpoints kept.", show_default=False)] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", help="Use only the first N rows of each file.", show_default=False)
    ] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave out rows that cannot be trained on, and count them.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with the run that is in --output.", show_default=False)
    ] = True,
    resume_from: Annotated[
        Path | None,
        typer.Option("--resume-from", help="Go on from this checkpoint; later ones are set aside.", show_default=False),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option("--teacher", help="Model that distill learns from.", show_default=False)
    ] = None,
    from_config: Annotated[
        Path | None,
        typer.Option("--from-config", help="config.json to pretrain from random weights.", show_default=False),
    ] = None,
    legacy_pth: Annotated[
        bool | None,
        typer.Option("--legacy-pth", help="torch: also write out/<stage>_<hidden>.pth.", show_default=False),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="tinker: a compatible server.", show_default=False)
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="tinker: verify key and connection, list models.")] = False,
    answers: Annotated[
        Path | None,
        typer.Option("--answers", help="extractive: spans that people ask about, by text hash.", show_default=False),
    ] = None,
    tensorboard: Annotated[
        bool | None,
        typer.Option(
            "--tensorboard/--no-tensorboard",
            help="Serve TensorBoard on this run while it lasts; also where TB_AUTO=1. TB_HOST, TB_PORT say where.",
            show_default=False,
        ),
    ] = None,
    wandb: Annotated[
        str | None,
        typer.Option("--wandb", metavar="PROJECT", help="Also log to this project of W&B.", show_default=False),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained, what it takes and costs; start nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a compressor on verbose -> compressed chat rows."""
    from compressor_cli.cli.training import Request, run

    request = Request(
        output=output,
        backend=backend,
        data=data,
        hf_dataset=hf_dataset,
        config=config,
        stages=stages,
        skip_invalid=skip_invalid,
        resume=resume,
        resume_from=resume_from,
        check=check,
        tensorboard=tensorboard,
        wandb=wandb,
        dry_run=dry_run,
        as_json=as_json,
        settings={
            "--model": ("model", model),
            "--stage": ("stage", stage),
            "--epochs": ("epochs", epochs),
            "--steps": ("steps", steps),
            "--batch-size": ("batch_size", batch_size),
            "--lr": ("learning_rate", learning_rate),
            "--rank": ("rank", rank),
            "--max-seq-length": ("max_seq_length", max_seq_length),
            "--seed": ("seed", seed),
            "--save-every": ("save_every", save_every),
            "--keep-last": ("keep_last", keep_last),
            "--limit": ("limit", limit),
            "--teacher": ("teacher", teacher),
            "--from-config": ("from_config", from_config),
            "--legacy-pth": ("legacy_pth", legacy_pth),
            "--base-url": ("base_url", base_url),
            "--answers": ("answers", answers),
        },
    )
    run(request)
