"""`scc expand`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def expand(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="COMPRESSED", help="What scc compress wrote; none, or -, is stdin.", show_default=False),
    ] = None,
    map_file: Annotated[Path | None, typer.Option("--map", help="The map that was written with it.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write here instead of to stdout.")] = None,
) -> None:
    """Give back the exact input of scc compress --map; without a map, the data of a lossless form of JSON."""
    from compressor_cli.core.files import write_atomic
    from compressor_cli.core.maps import apply_map
    from compressor_cli.core.text_input import decode_text, input_name, read_bytes
    from compressor_cli.engines.expand import expand as run
    from compressor_cli.engines.expand import to_bytes
    from compressor_cli.errors import UsageError

    if output is not None and output.is_dir():
        raise UsageError(f"--output {output} is a directory")
    if map_file is not None and str(map_file) == "-" and (file is None or str(file) == "-"):
        raise UsageError("the text and its map cannot both be stdin")
    compressed = read_bytes(file)
    if map_file is not None:
        original = apply_map(compressed, read_bytes(map_file))
    else:
        original = to_bytes(run(decode_text(compressed, input_name(file))))
    if output is not None:
        write_atomic(output, original)
    else:
        sys.stdout.buffer.write(original)
