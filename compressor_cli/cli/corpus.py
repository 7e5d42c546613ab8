"""`scc data corpus`: texts to make pairs from."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from compressor_cli.cli.common import ConfigOption, JsonOption, print_json, say

if TYPE_CHECKING:
    from compressor_cli.stages.corpus import CorpusSummary


class Redact(StrEnum):
    secrets = "secrets"
    pii = "pii"


class CorpusCommand(typer.core.TyperCommand):
    """`--redact` alone stands for `--redact secrets`; Typer knows no option whose value may be absent."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        values = set(Redact)
        for at in range(len(args) - 1, -1, -1):
            if args[at] == "--redact" and not values & set(args[at + 1 : at + 2]):
                args = [*args[: at + 1], Redact.secrets.value, *args[at + 1 :]]
        return super().parse_args(ctx, args)


def corpus_command(
    sources: Annotated[
        list[Path],
        typer.Argument(help="Files and folders: Markdown, text, code, chat JSONL.", show_default=False),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="JSONL file for the rows.", show_default=False)],
    min_tokens: Annotated[
        int | None, typer.Option(help="Shorter pieces are dropped.", min=1, show_default=False)
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Longer texts are cut, longer functions dropped.", min=1, show_default=False)
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Vocabulary, model or tokenizer.json that counts them.", show_default=False)
    ] = None,
    duplicates: Annotated[
        float | None,
        typer.Option(
            help="Similarity of words in threes from which a text duplicates an earlier one; 1 for equal texts only.",
            min=0.1,
            max=1,
            show_default=False,
        ),
    ] = None,
    redact: Annotated[
        Redact | None,
        typer.Option(
            help="Mask secrets (`--redact` alone does), with `pii` also e-mail addresses and phone numbers."
            " If absent, a piece with a secret is dropped.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Stop at so many rows in the output.", min=1, show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cut files into paragraphs, functions, classes and conversations, one JSONL row each.

    Left out: what is hidden or ignored by git, installed packages, test code, generated code, trivial functions,
    duplicates. Beside corpus.jsonl, corpus.dropped.jsonl says why each piece was dropped, corpus.files.jsonl what came
    of each file.
    """
    from compressor_cli.cli.progress import rows_progress
    from compressor_cli.settings import load_settings
    from compressor_cli.stages.corpus import corpus, require_complete

    flags = {
        "min_tokens": min_tokens,
        "max_tokens": max_tokens,
        "tokenizer": tokenizer,
        "duplicates": duplicates,
        "redact": redact and redact.value,
    }
    settings = load_settings(config, corpus=flags).corpus
    with rows_progress("files") as on_event:
        summary = corpus(settings, sources, output, resume=resume, limit=limit, on_event=on_event)
    if as_json:
        print_json(summary.as_dict())
    else:
        _print(summary)
    require_complete(summary)


def _print(summary: CorpusSummary) -> None:
    there = f" ({summary.already_there:,} were there)" if summary.already_there else ""
    rows = f"{summary.rows:,} rows{there}, {summary.tokens:,} tokens" + _listed(summary.domains, ": ")
    typer.echo(f"{summary.output}: {rows}, from {summary.read:,} of {summary.files:,} files")
    for title, counts in (
        ("files left out", summary.left_out),
        ("pieces dropped", summary.dropped),
        ("masked", summary.redacted),
    ):
        if counts:
            typer.echo(f"{title}: {_listed(counts)}")
    if summary.pending:
        say(f"note: {summary.pending:,} files are pending: the limit is reached")


def _listed(counts: Mapping[str, int], before: str = "") -> str:
    told = ", ".join(f"{n:,} {name}" for name, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return before + told if told else ""
