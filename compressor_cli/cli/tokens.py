"""`scc tokens`: how many tokens a text has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compressor_cli.cli.common import ConfigOption, JsonOption, print_json, say


def tokens(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Files to count; none, or -, is stdin.", show_default=False),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="A vocabulary (o200k_base), a model (gpt-4o, Qwen/Qwen3-8B) or a tokenizer.json; default o200k_base.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count tokens, exactly: one line for each file, and their total."""
    from compressor_cli.core.text_input import input_name, read_text
    from compressor_cli.core.tokens import DEFAULT_TOKENIZER, token_counter
    from compressor_cli.settings import load_settings

    settings = load_settings(config, compress={"tokenizer": tokenizer}).compress
    counter = token_counter(settings.tokenizer or DEFAULT_TOKENIZER)
    paths: list[Path | None] = [*files] if files else [None]
    counts = [(input_name(path), counter.count(read_text(path))) for path in paths]
    if not counter.exact:
        say(f"note: the tokenizer of {counter.name} is not public; these counts are an estimate")
    if as_json:
        each = [{"file": name, "tokens": count} for name, count in counts]
        total = sum(count for _, count in counts)
        print_json({"tokenizer": counter.name, "exact": counter.exact, "files": each, "total": total})
    else:
        _print_lines(counts if files else [("", counts[0][1])])


def _print_lines(counts: list[tuple[str, int]]) -> None:
    """Aligned as `wc` does it; a file name is bytes to the system and goes out as it came in."""
    total = sum(count for _, count in counts)
    rows = [*counts, ("total", total)] if len(counts) > 1 else counts
    width = len(str(total))
    for name, count in rows:
        typer.echo(f"{count:>{width}}  {name}".rstrip().encode("utf-8", "surrogateescape"))
