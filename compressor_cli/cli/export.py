"""`scc export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from compressor_cli.cli.common import JsonOption


def export(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run of scc train, a folder or archive of an adapter or a model, or tinker://...",
            show_default=False,
        ),
    ],
    to: Annotated[Path, typer.Option("--to", help="Folder for the result.", show_default="required")],
    format: Annotated[
        Literal["peft", "mlx", "merged", "gguf"],
        typer.Option(
            "--format",
            help="peft, mlx: an adapter of that library; merged: a whole model for transformers and mlx-lm; "
            "gguf: the same for llama.cpp, whose clone LLAMA_CPP_DIR names.",
            show_default="required",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option("--model", help="Base model, where the run does not say it or it lies elsewhere."),
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option("--eval", help="Rows of an eval, whose figures go into the model card.", show_default=False),
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--license", help="For the model card; absent: that of the base, where it is known.")
    ] = None,
    push: Annotated[
        str | None,
        typer.Option("--push", metavar="REPO", help="Then upload to the Hugging Face hub; HF_TOKEN is needed."),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="A repository that --push makes is public.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export in --to.")] = False,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="tinker://: a compatible server.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write what was trained in the form of another library, as a whole model, or to the hub."""
    import sys

    from compressor_cli.cli.common import print_json, say
    from compressor_cli.cli.progress import rows_progress
    from compressor_cli.errors import UsageError
    from compressor_cli.settings import load_converter, load_keys
    from compressor_cli.stages.export import ExportRequest
    from compressor_cli.stages.export import export as run_export

    if public and push is None:
        raise UsageError("--public goes with --push")
    key = load_keys().huggingface
    request = ExportRequest(
        source=run,
        to=to,
        format=format,
        model=model,
        evaluation=evaluation,
        licence=licence,
        repo=push,
        public=public,
        force=force,
        base_url=base_url,
        llama_cpp=load_converter().llama_cpp,
        token=key.get_secret_value().strip() if key else None,
        bars=sys.stderr.isatty(),
    )
    with rows_progress("merging") as on_event:
        report = run_export(request, on_event)
    if as_json:
        print_json(report.as_dict())
        return
    for name, size in report.files.items():
        typer.echo(f"{Path(report.to) / name}  {size:,} bytes")
    if report.pushed:
        say(f"pushed to {report.pushed}")
