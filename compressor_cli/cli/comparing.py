"""What `scc compare` does once its flags are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from compressor_cli.cli.common import print_json, say
from compressor_cli.cli.spending import OnEvent, finish, tell_spent
from compressor_cli.errors import UsageError

if TYPE_CHECKING:
    from compressor_cli.cli.evaluating import Model
    from compressor_cli.core.paired import Contrast
    from compressor_cli.core.spend import Ledger
    from compressor_cli.settings import Settings
    from compressor_cli.stages.compare.live import Arm, LiveSummary


@dataclass(frozen=True)
class Request:
    """The flags that are no settings. `only_live` are those given that mean nothing without --live."""

    names: list[str]
    html: Path | None
    live: bool
    source: Path | None
    output: Path | None
    assignment: Path | None
    field: str
    limit: int | None
    resume: bool
    retry_errors: bool
    as_json: bool
    only_live: set[str]


def run(settings: Settings, request: Request) -> None:
    from compressor_cli.core.paired import scipy_stats

    scipy_stats()  # before anything is asked
    if request.live:
        _live(settings, request)
    else:
        _evals(settings, request)


def _evals(settings: Settings, request: Request) -> None:
    from compressor_cli.stages.compare import compare

    if request.only_live:
        raise UsageError(f"{', '.join(sorted(request.only_live))}: only with --live")
    if len(request.names) < 2:
        raise UsageError("two evals are needed", hint="scc compare eval/A.jsonl eval/B.jsonl")
    paths = [Path(name) for name in request.names]
    found = compare(paths, threshold=settings.eval.threshold, seed=settings.eval.seed, html=request.html)
    for name, count in found.alone.items():
        if count:
            say(f"note: {count:,} rows of {name} are not in every eval: left out")
    if request.as_json:
        print_json(found.as_dict())
        return
    typer.echo(f"{found.rows:,} rows, paired; differences are to {found.names[0]}")
    for other in found.names[1:]:
        _print([one for one in found.contrasts if one.other == other], other, paired=True)
    if found.differing:
        typer.echo("\nrows that differ most:")
    for rows in found.differing:
        told = "; ".join(
            f"{name} ratio {row['ratio']:.3f}, fidelity {row['fidelity']:.3f}"
            for name, row in zip(found.names, rows, strict=True)
        )
        typer.echo(f"  {rows[0]['id']}  {told}")
    if request.html is not None:
        say(f"{request.html}: every row, side by side")


def _print(found: Sequence[Contrast], other: str, *, paired: bool) -> None:
    from compressor_cli.core.figures import table_lines

    columns = ["", found[0].first, other, "difference [95 %]", "rows", *(["w/t/l"] if paired else []), "p", "Holm", ""]
    typer.echo("")
    for line in table_lines(columns, [list(_cells(one, paired)) for one in found]):
        typer.echo(line)


def _cells(one: Contrast, paired: bool) -> Iterator[str]:
    from compressor_cli.core.evaluation import shown

    interval = "" if one.low is None or one.high is None else f" [{one.low:+.3f}, {one.high:+.3f}]"
    yield from (one.title, shown(one.value_first), shown(one.value_other), f"{one.difference:+.3f}{interval}")
    yield str(one.rows)
    if paired:
        yield f"{one.wins}/{one.ties}/{one.losses}"
    yield from (_chance(one.p), _chance(one.adjusted), one.verdict)


def _chance(p: float) -> str:
    return "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def _live(settings: Settings, request: Request) -> None:
    from compressor_cli.cli.evaluating import chats
    from compressor_cli.cli.progress import rows_progress
    from compressor_cli.engines.generators import fetch_weights
    from compressor_cli.stages.compare.live import compare_live

    if len(request.names) != 2:
        raise UsageError("--live compares two compressors", hint="scc compare --live embedded runs/mine --input FILE")
    if request.html is not None:
        raise UsageError("--html is for evals of the same rows; with --live no row has two results")
    if request.source is None or request.output is None:
        raise UsageError(f"--live needs {'--input' if request.source is None else '--output'}")
    output = request.output
    if output.suffix != ".jsonl":
        raise UsageError(f"--output {output}: a name that ends with .jsonl is needed")
    models = [_model(settings, name) for name in request.names]
    for model in models:
        fetch_weights(model.backend, model.source)
    with rows_progress("comparing") as on_event:
        paid = any(model.backend == "openai" for model in models)
        with chats((), settings, output, "compare", on_event, paid=paid) as (_, ledger):
            first, second = (
                _arm(settings, name, model, ledger, on_event) for name, model in zip(request.names, models, strict=True)
            )
            summary = compare_live(
                settings.eval,
                (first, second),
                request.source,
                output,
                request.assignment or output.with_suffix(".assignment.json"),
                field=request.field,
                limit=request.limit,
                resume=request.resume,
                retry_errors=request.retry_errors,
                on_event=on_event,
            )
            if ledger is not None:
                tell_spent(ledger)
    if request.as_json:
        print_json(summary.as_dict())
    else:
        _print_live(summary)
    finish(summary.stopped, summary.unfinished)


def _print_live(summary: LiveSummary) -> None:
    dealt = ", ".join(f"{count:,} to {name}" for name, count in summary.arms.items())
    typer.echo(
        f"{summary.output}: {summary.asked:,} rows: {summary.measured:,} measured, {summary.failed:,} failed, "
        f"{summary.pending:,} pending; {dealt}"
    )
    if summary.contrasts:
        _print(summary.contrasts, summary.contrasts[0].other, paired=False)
    say(f"{summary.assignment}: which row went to which")


def _model(settings: Settings, name: str) -> Model:
    """`embedded`, `openai:MODEL` or a run. Raises UsageError for anything else."""
    from compressor_cli.cli.evaluating import model_of

    provider, colon, model = name.partition(":")
    if name == "embedded":
        return model_of(settings, backend="embedded", model=None, adapter=None)
    if provider == "openai" and colon and model:
        return model_of(settings, backend="openai", model=model, adapter=None)
    if Path(name).is_dir():
        return model_of(settings, backend=None, model=None, adapter=Path(name))
    raise UsageError(f"{name} is no compressor", hint="embedded, openai:MODEL, or the folder of a run")


def _arm(settings: Settings, name: str, model: Model, ledger: Ledger | None, on_event: OnEvent) -> Arm:
    from compressor_cli.cli.evaluating import opener
    from compressor_cli.stages.compare.live import Arm

    return Arm(name, opener(settings, model, ledger, "compare", on_event), _messages(model), model.identified())


def _messages(model: Model) -> Callable[[str, str], tuple[Mapping[str, Any], ...]]:
    """A run is asked as it was trained, a model of a server as `scc seed generate` asks a teacher."""
    from importlib.resources import files

    from compressor_cli.core.decoding import build_user_message
    from compressor_cli.core.seeds import CLOSE, OPEN

    def messages(text: str, domain: str) -> tuple[Mapping[str, Any], ...]:
        if model.backend == "openai":
            prompt = files("compressor_cli") / "prompts" / f"compress_{'code' if domain == 'code' else 'prose'}.md"
            told = (prompt.read_text(encoding="utf-8"), f"{OPEN}{text}{CLOSE}")
        elif model.asking is not None:
            told = (model.asking.system or "", build_user_message(text, model.asking.prefix))
        else:
            told = ("", text)
        system = [{"role": "system", "content": told[0]}] if told[0] else []
        return (*system, {"role": "user", "content": told[1]})

    return messages
