"""`scc data split` and `scc data stats`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from compressor_cli.cli.common import ConfigOption, JsonOption, print_json, say

_BAR = 40


def split(
    source: Annotated[Path, typer.Argument(metavar="PAIRS", help="JSONL rows with `messages`: accepted.jsonl.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.", show_default="required")],
    ratios: Annotated[
        tuple[float, float, float] | None, typer.Option(help="Shares of train, valid and test.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Which sources go where.", show_default=False)] = None,
    format: Annotated[
        str | None, typer.Option(help="chat, sharegpt, alpaca, preference or text.", show_default=False)
    ] = None,
    tools: Annotated[
        str | None,
        typer.Option(help="Arguments of tool calls: openai writes text, hf objects; else as they are."),
    ] = None,
    rejected: Annotated[
        Path | None, typer.Option(help="With --format preference: rejected.jsonl.", show_default=False)
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(help="The field that names what stays together; absent: the source document.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that no split wrote.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write train.jsonl, valid.jsonl and test.jsonl, no source in two of them, with manifest.json beside them.

    What else is known of a row stands in <split>.meta.jsonl, line for line.
    """
    from compressor_cli.settings import load_settings
    from compressor_cli.stages.split import split as run

    flags = {"ratios": ratios, "seed": seed, "format": format, "tools": tools, "group_by": group_by}
    settings = load_settings(config, split=flags).split
    summary = run(source, output, settings, rejected=rejected, force=force)
    for reason, count in summary.manifest["left_out"].items():
        say(f"note: {count:,} rows left out: {reason}")
    if as_json:
        print_json(summary.as_dict())
        return
    for line in _split_lines(summary.manifest):
        typer.echo(line)


def _split_lines(manifest: dict[str, Any]) -> Iterator[str]:
    from compressor_cli.core.figures import table_lines

    files = {file["split"]: file for file in manifest["files"].values()}
    rows = sum(file["rows"] for file in files.values())
    cells = []
    for name, file in files.items():
        strata = [f"{count.get(name, 0):,}" for count in manifest["strata"].values()]
        share = f"{file['rows'] / rows:.3f}"
        cells.append(
            [name, f"{file['rows']:,}", share, f"{manifest['ratios'][name]:g}", f"{file['sources']:,}", *strata]
        )
    yield from table_lines(["split", "rows", "share", "asked", "sources", *manifest["strata"]], cells)


def stats(
    places: Annotated[list[Path], typer.Argument(metavar="PATH...", help="JSONL files, and folders of them.")],
    tokenizer: Annotated[
        str | None, typer.Option(help="As for scc tokens; default o200k_base.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rows and tokens of training data: in all, by split, domain and category, with a histogram.

    Tokens are of the contents, without a chat template. Ratio is compressed to original, or answer to question.
    """
    from compressor_cli.core.tokens import token_counter
    from compressor_cli.settings import load_settings
    from compressor_cli.stages.stats import statistics

    counter = token_counter(load_settings(config, compress={"tokenizer": tokenizer}).compress.tokenizer)
    found = statistics(places, counter)
    if not counter.exact:
        say(f"note: the tokenizer of {counter.name} is not public; these counts are an estimate")
    if as_json:
        print_json(found)
        return
    for line in _stats_lines(found):
        typer.echo(line)


def _stats_lines(found: dict[str, Any]) -> Iterator[str]:
    from compressor_cli.core.figures import table_lines

    columns = ("rows", "tokens", "mean", "p50", "p95", "max")
    for kind, parts in (*found["by"].items(), ("total", {"": found["total"]})):
        if parts:
            rows = [
                [
                    name,
                    *(f"{part[column]:,}" for column in columns),
                    "-" if part["ratio"] is None else f"{part['ratio']:.3f}",
                ]
                for name, part in parts.items()
            ]
            yield from table_lines([kind, *columns, "ratio"], rows)
            yield ""
    bins = list(found["total"]["histogram"].items())
    filled = [place for place, (_, count) in enumerate(bins) if count]
    most = max(count for _, count in bins)
    for name, count in bins[filled[0] : filled[-1] + 1]:
        bar = "#" * -(-count * _BAR // most)
        yield f"{name:>8} tokens  {count:>8,}  {bar}".rstrip()
