"""`scc data split`, `scc data stats` and `scc data check`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compressor_cli.cli.common import ConfigOption, JsonOption, print_json, say

if TYPE_CHECKING:
    from compressor_cli.stages.datacheck import CheckedData

_BAR = 40
_LISTED = 40  # refused rows told on stderr; --json has them all


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
    from compressor_cli.core.tokens import DEFAULT_TOKENIZER, token_counter
    from compressor_cli.settings import load_settings
    from compressor_cli.stages.stats import statistics

    settings = load_settings(config, compress={"tokenizer": tokenizer}).compress
    counter = token_counter(settings.tokenizer or DEFAULT_TOKENIZER)
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
    yield from _histogram_lines(found["total"]["histogram"])


def _histogram_lines(histogram: dict[str, int]) -> Iterator[str]:
    bins = list(histogram.items())
    filled = [place for place, (_, count) in enumerate(bins) if count]
    most = max(count for _, count in bins)
    for name, count in bins[filled[0] : filled[-1] + 1]:
        bar = "#" * -(-count * _BAR // most)
        yield f"{name:>8} tokens  {count:>8,}  {bar}".rstrip()


def check(
    place: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with train, valid and test.jsonl of chat rows; or one file.")
    ],
    model: Annotated[
        str | None, typer.Option(help="Whose tokenizer and chat template: a folder, or a name on the hub.")
    ] = None,
    max_seq_length: Annotated[
        int | None, typer.Option(help="What training cuts rows at, in tokens; default 2048.", show_default=False)
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(help="Which answers are trained: last (the default) or all of a row.", show_default=False),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N rows of each file.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Render each row as training will, and refuse those that it would cut, mask differently, or learn nothing from.

    Compared with the renderings of mlx-lm, TRL and Tinker's SDK where they are installed. Exit 100 if a row is refused.
    """
    from compressor_cli.cli.progress import rows_progress
    from compressor_cli.core.chat_tokenizer import load_chat_tokenizer
    from compressor_cli.errors import GateError, UsageError
    from compressor_cli.settings import load_keys, load_settings
    from compressor_cli.stages.datacheck import check_data, data_files

    flags = {"model": model, "max_seq_length": max_seq_length, "mask": mask}
    settings = load_settings(config, data_check=flags).data_check
    if settings.model is None:
        raise UsageError("--model is needed: the tokenizer of the model to train", hint="--model Qwen/Qwen3-8B")
    data_files(place)  # before a tokenizer is fetched
    key = load_keys().huggingface
    tokenizer = load_chat_tokenizer(settings.model, token=key.get_secret_value() if key else None)
    with rows_progress("checking") as on_event:
        found = check_data(place, tokenizer, settings, limit=limit, on_event=on_event)
    for name in found.ignored:
        say(f"note: {name} is not checked: training reads train.jsonl, valid.jsonl and test.jsonl")
    for name, reason in found.skipped.items():
        say(f"note: not compared with {name}: {reason}")
    if settings.mask == "all":
        say("note: no library masks several answers of a row by itself; of masks, that of the last answer is compared")
    if as_json:
        print_json(found.as_dict())
    else:
        for line in _check_lines(found):
            typer.echo(line)
    if found.refused:
        if not as_json:
            _tell_refused(found)
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.by_kind().items())
        raise GateError(f"{len(found.refused):,} of {found.rows:,} rows are refused: {kinds}", hint=_hint(found))


def _hint(found: CheckedData) -> str | None:
    longest = found.longest[0].tokens if found.longest else 0
    too_long = longest > found.settings.max_seq_length
    return f"--max-seq-length {longest} takes the longest row, at its price in memory" if too_long else None


def _tell_refused(found: CheckedData) -> None:
    for row in found.refused[:_LISTED]:
        say(f"{row.file}, line {row.line}: {row.kind}: {row.detail}")
    if len(found.refused) > _LISTED:
        say(f"and {len(found.refused) - _LISTED:,} more (--json has them all)")


def _check_lines(found: CheckedData) -> Iterator[str]:
    from compressor_cli.core.figures import table_lines

    columns = ("rows", "refused", "tokens", "trained", "share", "p50", "p95", "max")
    parts = found.as_dict()
    cells = [
        [name, *(f"{part[column]:.3f}" if column == "share" else f"{part[column]:,}" for column in columns)]
        for name, part in (*parts["splits"].items(), ("total", parts["total"]))
    ]
    yield from table_lines(["split", *columns], cells)
    yield ""
    if any(parts["histogram"].values()):
        yield from _histogram_lines(parts["histogram"])
        yield ""
    for row in found.longest:
        yield f"{row.tokens:>8,} tokens  {row.file}, line {row.line}"
    compared = ", ".join(f"{name} {version}" for name, version in found.compared.items())
    yield f"compared with {compared or 'no library'}"
