"""`scc data`: bring texts and chat data in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compressor_cli.cli import datasets
from compressor_cli.cli.common import ConfigOption, JsonOption, print_json, say
from compressor_cli.cli.corpus import CorpusCommand, corpus_command

if TYPE_CHECKING:
    from compressor_cli.stages.pull import PullSummary

app = typer.Typer(no_args_is_help=True)


@app.callback()
def data() -> None:
    """Bring in texts to make pairs from, and the chat data that training and evaluation read."""


app.command("corpus", cls=CorpusCommand)(corpus_command)


@app.command("pull")
def pull_command(
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Dataset on the Hugging Face hub, or a local folder or file (JSONL, JSON, parquet, CSV)."
            " Sudhendra/semantic-compression-sft if absent.",
            show_default=False,
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.", show_default=False)] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the files; data/sft if absent.", show_default=False)
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE=TARGET",
            help="Write this split of the source to TARGET.jsonl; once for each."
            " If absent: train to train, validation to valid, test to test.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Pull again, and replace files that were edited.")] = False,
    streaming: Annotated[
        bool | None,
        typer.Option("--streaming", help="Read from the hub in constant memory, keeping no copy.", show_default=False),
    ] = None,
    skip_invalid: Annotated[
        bool | None,
        typer.Option("--skip-invalid", help="Go on without malformed rows; exit 3 if any.", show_default=False),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a chat dataset as train.jsonl, valid.jsonl and test.jsonl, with manifest.json beside them.

    Each row is checked; a malformed one stops the pull and leaves the folder as it was.
    """
    from compressor_cli.cli.progress import rows_progress
    from compressor_cli.settings import load_keys, load_settings
    from compressor_cli.stages.pull import parse_split_words, pull, require_complete

    flags = {
        "dataset": dataset,
        "revision": revision,
        "output": output,
        "split": parse_split_words(split),
        "streaming": streaming,
        "skip_invalid": skip_invalid,
    }
    settings = load_settings(config, pull=flags).pull
    key = load_keys().huggingface
    with rows_progress("reading rows") as on_event:
        summary = pull(settings, force=force, token=key.get_secret_value() if key else None, on_event=on_event)
    if as_json:
        print_json(summary.as_dict())
    else:
        _print(summary)
    require_complete(summary)


def _print(summary: PullSummary) -> None:
    for name, rows in summary.rows.items():
        typer.echo(f"{summary.output / name}  {rows} rows")
    if summary.unchanged:
        say(f"{summary.output} already holds {summary.manifest['dataset']}; nothing was done (--force pulls it again)")


app.command("split")(datasets.split)
app.command("stats")(datasets.stats)
app.command("check")(datasets.check)
