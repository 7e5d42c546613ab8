"""`scc`: the table of commands, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from compressor_cli.cli import (
    bench,
    check,
    compare,
    compress,
    costs,
    data,
    doctor,
    evaluate,
    expand,
    export,
    runs,
    seed,
    serve,
    tokens,
    train,
    validate,
)
from compressor_cli.errors import SccError

if TYPE_CHECKING:
    from types import FrameType


class Boundary(TyperGroup):
    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except SystemExit as exc:
            # Rich (a table, any --help) and Typer end a closed pipe by themselves, and with 1.
            if isinstance(exc.__context__, BrokenPipeError):
                raise SystemExit(141) from None
            raise

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except SccError as exc:
            typer.echo(f"error: {exc}", err=True)
            if exc.hint:
                typer.echo(f"hint: {exc.hint}", err=True)
            raise typer.Exit(exc.exit_code) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            _drop_unwritten()
            raise typer.Exit(141) from None
        except OSError as exc:
            place = f"{exc.filename}: " if exc.filename else ""
            typer.echo(f"error: {place}{exc.strerror or exc}", err=True)
            _drop_unwritten()
            raise typer.Exit(1) from None


def _drop_unwritten() -> None:
    """What stdout does not take, be its reader gone or its disk full, must not fail again when Python ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app = typer.Typer(
    cls=Boundary,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Semantic compression: fewer tokens, the same meaning to the model that reads them.",
)


def _version(value: bool) -> None:
    if value:
        from compressor_cli import __version__

        typer.echo(f"scc {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = None,
) -> None:
    pass


app.command("compress")(compress.compress)
app.command("serve")(serve.serve)
app.command("expand")(expand.expand)
app.command("check")(check.check)
app.command("tokens")(tokens.tokens)
app.add_typer(bench.app, name="bench")
app.add_typer(data.app, name="data")
app.add_typer(seed.app, name="seed")
app.command("validate")(validate.validate)
app.command("costs")(costs.costs)
app.command("train")(train.train)
app.command("eval")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("export")(export.export)
app.add_typer(runs.app, name="runs")
app.command("doctor")(doctor.doctor)


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    os.write(2, b"terminated\n")  # what sys.stderr was about to say may be half written
    raise SystemExit(128 + signum)


def main() -> None:
    signal.signal(signal.SIGTERM, _terminate)
    if sys.stdout is None:
        sys.exit("error: stdout is closed")
    app(prog_name="scc")
