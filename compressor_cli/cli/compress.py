"""`scc compress`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compressor_cli.cli.common import (
    AdapterOption,
    BackendOption,
    ConfigOption,
    EngineModelOption,
    JsonOption,
    ServerOption,
    TokenizerOption,
    json_bytes,
    print_json,
    say,
)
from compressor_cli.errors import PartialError, UsageError

if TYPE_CHECKING:
    from compressor_cli.records import Receipt
    from compressor_cli.settings import CompressSettings


def compress(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Text to compress; none, or -, is stdin.", show_default=False),
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Keep at most this share of the tokens; default 0.5.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", help="Keep at most this many tokens.")] = None,
    tokenizer: TokenizerOption = None,
    engine: Annotated[
        str | None,
        typer.Option("--engine", help="auto, or adapter; or prose, code or json to treat any text as such."),
    ] = None,
    domain: Annotated[
        str | None, typer.Option("--domain", help="What the text is: prose, code, json or mixed; default: detected.")
    ] = None,
    model: EngineModelOption = None,
    adapter: AdapterOption = None,
    backend: BackendOption = None,
    base_url: ServerOption = None,
    level: Annotated[
        str | None,
        typer.Option("--level", help="Code: whitespace, comments, compact or outline; with a budget the last tried."),
    ] = None,
    query: Annotated[str | None, typer.Option("--query", help="A question: what bears on it gets the budget.")] = None,
    protect: Annotated[
        str | None,
        typer.Option(
            "--protect",
            help="Facts that survive: numbers,negation,names,urls,code, all or none; default all but names.",
        ),
    ] = None,
    protect_pattern: Annotated[
        list[str] | None,
        typer.Option("--protect-pattern", help="What matches this regular expression survives. Repeatable."),
    ] = None,
    allow_loss: Annotated[
        bool | None, typer.Option("--allow-loss", help="Lose protected facts, or bodies of code, rather than fail.")
    ] = None,
    omission_marker: Annotated[
        bool | None, typer.Option("--omission-marker", help="Put […] where whole sentences went.")
    ] = None,
    keep_first: Annotated[
        int | None,
        typer.Option("--keep-first", help="The first N sentences stay verbatim; of code N lines, of a chat N turns."),
    ] = None,
    keep_last: Annotated[
        int | None, typer.Option("--keep-last", help="The last N stay verbatim, likewise; of a chat by default 2.")
    ] = None,
    stable_prefix: Annotated[
        int | None,
        typer.Option(
            "--stable-prefix",
            help="The first N tokens stay byte for byte, for a provider's cache; of a chat whole messages.",
        ),
    ] = None,
    chat: Annotated[
        bool | None, typer.Option("--chat", help='The text is {"messages": [...]}: compress its long contents.')
    ] = None,
    adaptive: Annotated[
        bool | None, typer.Option("--adaptive", help="The rate that suits what the text is for, as --task or guessed.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", help="qa (aims at 0.5), code (0.7), chat (0.4) or memory (0.3); implies --adaptive."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write here instead of to stdout.")] = None,
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", help="Write each FILE here under its own name.")
    ] = None,
    rows: Annotated[Path | None, typer.Option("--input", help="Batch: a JSONL file, with --output.")] = None,
    field: Annotated[
        str | None, typer.Option("--field", help="Batch: the field that holds the text; default text.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Batch: only the first N rows.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Batch: go on with an output that was begun.")] = False,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Batch: with --resume, try failed rows again.")
    ] = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Compress stdin while it arrives, some paragraphs at a time.")
    ] = False,
    map_file: Annotated[
        Path | None, typer.Option("--map", help="Write what scc expand needs to give the input back.")
    ] = None,
    receipt_file: Annotated[
        Path | None,
        typer.Option("--receipt", help="Write the receipt here as JSON: every fact, kept, changed or lost."),
    ] = None,
    stats: Annotated[
        bool | None, typer.Option("--stats/--no-stats", help="A line on stderr; default: at a terminal.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Compress text: fewer tokens, the same meaning to the model that reads them.

    One FILE or stdin to stdout, several FILEs to --output-dir, or the rows of a JSONL file with --input and --output.
    """
    flags = locals()
    settings = _settings(flags, config)
    _check_together(flags)
    output = None if str(output) == "-" else output
    show = sys.stderr.isatty() if stats is None else stats
    if rows is not None:
        field = field or ("messages" if settings.chat else "text")
        _batch(settings, rows, output, files, output_dir, field, limit, resume, retry_errors, as_json)
    elif output_dir is not None:
        _many(settings, files or [], output, output_dir, show, as_json)
    else:
        if files and len(files) > 1:
            raise UsageError("several files need --output-dir", hint="scc compress --output-dir OUT FILE...")
        file = files[0] if files else None
        if stream:
            _stream(settings, file, output, show, as_json)
            return
        _one(settings, file, output, map_file, receipt_file, show, as_json)


def _settings(flags: dict[str, Any], config: Path | None) -> CompressSettings:
    from compressor_cli.core.tokens import warm_up

    warm_up(flags["tokenizer"])  # while the settings are read and the model is loaded
    from compressor_cli.settings import CompressSettings, load_settings

    given = {name: flags[name] for name in CompressSettings.model_fields}
    return load_settings(config, compress=given).compress.overridden(given)


def _check_together(flags: dict[str, Any]) -> None:
    """Raises UsageError for flags that do not go together, whatever the text is."""
    batch = flags["rows"] is not None
    if not batch:
        names = ("field", "resume", "retry_errors", "limit")
        given = [f"--{name.replace('_', '-')}" for name in names if flags[name] not in (None, False)]
        if given:
            raise UsageError(f"{' and '.join(given)} {'goes' if len(given) == 1 else 'go'} with --input")
    elif str(flags["output"]) == "-":
        raise UsageError("--output -: a batch is resumable, which standard output is not", hint="name a file")
    several = batch or flags["output_dir"] is not None
    beside = flags["map_file"] or flags["receipt_file"]
    if several and beside:
        raise UsageError(
            "--map and --receipt go with one text", hint="a batch row has the receipt; one run a text for maps"
        )
    if flags["stream"] and beside and not several:
        name = "--map" if flags["map_file"] else "--receipt"
        raise UsageError(f"{name} needs the whole text and does not go with --stream")
    if flags["stream"] and several:
        raise UsageError("--stream goes from stdin or one FILE to stdout or --output")


def _one(
    settings: CompressSettings,
    file: Path | None,
    output: Path | None,
    map_file: Path | None,
    receipt_file: Path | None,
    show: bool,
    as_json: bool,
) -> None:
    from compressor_cli.core.files import write_atomic

    written = [("--output", output), ("--map", map_file), ("--receipt", receipt_file)]
    for name, path in written:
        _check_target(name, path, file)
    if len({path.resolve() for _, path in written if path}) < sum(path is not None for _, path in written):
        raise UsageError("--output, --map and --receipt need names of their own")
    original, receipt = _compress_file(settings, file)
    _tell(receipt, show)
    compressed = _encoded(receipt.compressed)
    if map_file is not None:
        from compressor_cli.core.maps import make_map

        write_atomic(map_file, make_map(original, compressed))
    if receipt_file is not None:
        write_atomic(receipt_file, json_bytes(receipt.as_dict()))
    if output is not None:
        write_atomic(output, compressed)
    if as_json:
        print_json(receipt.as_dict())
    elif output is None:
        sys.stdout.buffer.write(compressed)
        if sys.stdout.isatty() and not receipt.compressed.endswith("\n"):
            sys.stdout.buffer.write(b"\n")


def _stream(settings: CompressSettings, file: Path | None, output: Path | None, show: bool, as_json: bool) -> None:
    """Each window is written as it is done; an --output is there when all of it is."""
    from contextlib import nullcontext

    from compressor_cli.core.files import atomic_writer
    from compressor_cli.core.text_input import open_bytes
    from compressor_cli.stages.stream import compress_stream

    _check_target("--output", output, file)
    told: set[str] = set()
    with open_bytes(file) as source, atomic_writer(output) if output else nullcontext(sys.stdout.buffer) as target:

        def write(receipt: Receipt, text: str) -> None:
            for warning in receipt.warnings:
                kind = re.sub(r"\d+", "N", warning)
                if kind not in told:  # once each: a stream has thousands of windows
                    told.add(kind)
                    say(f"note: {warning} (in this window; more of the kind are not told)")
            target.write(json_bytes(receipt.as_dict()) if as_json else _encoded(text))
            target.flush()

        summary = compress_stream(settings, source.read1, write)
    if show:
        saved = 1 - summary.tokens_out / summary.tokens_in
        say(f"{summary.windows} windows: {summary.tokens_in} -> {summary.tokens_out} tokens, {saved:.1%} saved")


def _check_target(name: str, path: Path | None, source: Path | None) -> None:
    if path is None:
        return
    if str(path) == "-":
        raise UsageError(f"{name} -: standard output is the text's", hint=f"name a file for {name}")
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise UsageError(f"{name} {path} is the input itself", hint=f"name another {name.strip('-')}")
    if path.is_dir():
        hint = "scc compress --output-dir OUT FILE..." if name == "--output" else None
        raise UsageError(f"{name} {path} is a directory", hint=hint)


def _many(
    settings: CompressSettings, files: list[Path], output: Path | None, folder: Path, show: bool, as_json: bool
) -> None:
    """Each file is written as it is done; one that fails is told, the others go on."""
    from compressor_cli.core.files import write_atomic
    from compressor_cli.errors import SccError

    if output is not None or not files:
        raise UsageError("--output-dir takes FILEs and no --output")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output-dir {folder} is not a directory")
    names = [file.name for file in files]
    if len(set(names)) < len(names) or any(str(file) == "-" for file in files):
        raise UsageError("--output-dir: each FILE needs a name of its own")
    for file in files:
        if (folder / file.name).exists() and file.exists() and (folder / file.name).samefile(file):
            raise UsageError(f"--output-dir {folder} would overwrite its input {file}")
    done, failed = [], []
    for file in files:
        try:
            _, receipt = _compress_file(settings, file)
        except SccError as exc:
            say(f"error: {file}: {exc}" if str(file) not in str(exc) else f"error: {exc}")
            failed.append({"file": str(file), "error": str(exc)})
            continue
        write_atomic(folder / file.name, _encoded(receipt.compressed))
        _tell(receipt, show, f"{file}: ")
        done.append({"file": str(file), "output": str(folder / file.name), **receipt.as_dict()})
    if as_json:
        print_json({"files": [*done, *failed]})
    if failed:
        raise PartialError(f"{len(failed)} of {len(files)} files failed")


def _batch(
    settings: CompressSettings,
    rows: Path,
    output: Path | None,
    files: list[Path] | None,
    output_dir: Path | None,
    field: str,
    limit: int | None,
    resume: bool,
    retry_errors: bool,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from compressor_cli.cli.progress import rows_progress
    from compressor_cli.stages.compress import compress_file

    if output is None or files or output_dir is not None:
        raise UsageError("--input takes --output OUT.jsonl, and neither FILEs nor --output-dir")
    with rows_progress("compressing") as on_event:
        summary = compress_file(
            settings,
            rows,
            output,
            field=field,
            resume=resume,
            retry_errors=retry_errors,
            limit=limit,
            on_event=on_event,
        )
    saved = f", {1 - summary.tokens_out / summary.tokens_in:.1%} fewer tokens" if summary.tokens_in else ""
    say(
        f"{summary.output}: {summary.asked} rows, {summary.compressed} compressed, {summary.failed} failed, "
        f"{summary.pending} pending ({summary.already_there} were there){saved}"
    )
    if as_json:
        print_json({**asdict(summary), "output": str(summary.output)})
    if summary.failed or summary.pending:
        raise PartialError(
            f"{summary.failed} rows failed, {summary.pending} are pending",
            hint="their rows have an `error`; --resume --retry-errors tries them again",
        )


def _compress_file(settings: CompressSettings, file: Path | None) -> tuple[bytes, Receipt]:
    """The bytes that were read, and the receipt of their text."""
    from compressor_cli.core.text_input import decode_text, input_name, read_bytes
    from compressor_cli.engines.compress import compress as run
    from compressor_cli.engines.options import Options

    options = settings.given()
    Options(**options)
    original = read_bytes(file)
    text = decode_text(original, input_name(file))
    if not text.strip():
        raise UsageError(f"{input_name(file)}: the input is empty")
    return original, run(text, **options, filename=None if file is None else file.name)


def _tell(receipt: Receipt, show: bool, name: str = "") -> None:
    """Warnings always; the line of figures where it was asked for."""
    for warning in receipt.warnings:
        say(f"note: {name}{warning}")
    if not receipt.exact:
        say(f"note: {name}the tokenizer of {receipt.tokenizer} is not public; tokens are an estimate")
    if show:
        about = "" if receipt.exact else " (estimated)"
        say(
            f"{name}{receipt.engine}: {receipt.tokens_in} -> {receipt.tokens_out} tokens{about}, "
            f"{receipt.savings:.1%} saved, {receipt.seconds * 1000:.0f} ms"
        )


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
