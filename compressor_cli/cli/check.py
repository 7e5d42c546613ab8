"""`scc check`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compressor_cli.cli.common import JsonOption, print_json, say
from compressor_cli.errors import GateError, PartialError, UsageError

if TYPE_CHECKING:
    from compressor_cli.engines.options import Options
    from compressor_cli.records import FactStatus

_LISTED = 40  # facts told on stderr; --json has them all


def check(
    original: Annotated[Path | None, typer.Argument(metavar="ORIGINAL", show_default=False)] = None,
    compressed: Annotated[
        Path | None, typer.Argument(metavar="COMPRESSED", help="One of the two may be -, stdin.", show_default=False)
    ] = None,
    min_fidelity: Annotated[
        float | None, typer.Option("--min-fidelity", min=0, max=1, help="Exit 100 when fewer facts are kept.")
    ] = None,
    kinds: Annotated[
        str | None, typer.Option("--kinds", help="Facts to look at: numbers,negation,names,urls,code; default all.")
    ] = None,
    protect_pattern: Annotated[
        list[str] | None, typer.Option("--protect-pattern", help="What matches is a fact too. Repeatable.")
    ] = None,
    rows: Annotated[Path | None, typer.Option("--input", help="A JSONL file of pairs, or of chat rows.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="With --input: a report a row.")] = None,
    original_field: Annotated[
        str | None, typer.Option("--original-field", help="With --input: default original.")
    ] = None,
    compressed_field: Annotated[
        str | None, typer.Option("--compressed-field", help="With --input: default compressed.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="With --input: only the first N rows.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Which facts of ORIGINAL are kept, changed or lost in COMPRESSED, whoever made it."""
    from compressor_cli.core.facts.kinds import kinds_of
    from compressor_cli.engines.options import Options

    options = Options(
        protect=kinds_of("all" if kinds is None else kinds, "--kinds") or "none", protect_pattern=protect_pattern or ()
    )
    if rows is not None:
        if original is not None:
            raise UsageError("--input takes no ORIGINAL and COMPRESSED")
        fields = original_field or "original", compressed_field or "compressed"
        _check_rows(rows, output, fields, options, min_fidelity, limit, as_json)
        return
    if output is not None or original_field or compressed_field or limit is not None:
        raise UsageError("--output, --original-field, --compressed-field and --limit go with --input")
    if original is None or compressed is None:
        raise UsageError("ORIGINAL and COMPRESSED are needed", hint="or --input PAIRS.jsonl")
    _check_pair(original, compressed, options, min_fidelity, as_json)


def _check_pair(original: Path, compressed: Path, options: Options, least: float | None, as_json: bool) -> None:
    from compressor_cli.core.facts import check_facts
    from compressor_cli.core.text_input import read_text

    if str(original) == "-" and str(compressed) == "-":
        raise UsageError("only one of the two can be stdin")
    report = check_facts(read_text(original), read_text(compressed), kinds=options.kinds, patterns=options.patterns)
    if as_json:
        print_json(report.as_dict())
    else:
        gone = [fact for fact in report.facts if fact.status != "kept"]
        for fact in gone[:_LISTED]:
            instead = f", there is {fact.found!r}" if fact.found else ""
            say(f"{fact.status}: {fact.kind} {fact.text!r} at {fact.start}{instead}")
        if len(gone) > _LISTED:
            say(f"and {len(gone) - _LISTED} more (--json has them all)")
        _print_table({kind: _counts(report.facts, kind) for kind in report.by_kind}, report.fidelity)
    _tell_unmatched(options, report.by_kind)
    _gate(report.fidelity, least)


def _tell_unmatched(options: Options, by_kind: Collection[str]) -> None:
    if options.patterns and "pattern" not in by_kind:
        say("note: what --protect-pattern names is not in the original")


def _counts(facts: tuple[FactStatus, ...], kind: str) -> tuple[int, int, int]:
    statuses = [fact.status for fact in facts if fact.kind == kind]
    return statuses.count("kept"), statuses.count("changed"), statuses.count("lost")


def _print_table(counts: dict[str, tuple[int, int, int]], fidelity: float) -> None:
    width = max(map(len, [*counts, "fidelity"]))
    typer.echo(f"{'':<{width}}  kept  changed  lost")
    for kind, (kept, changed, lost) in counts.items():
        typer.echo(f"{kind:<{width}}  {kept:>4}  {changed:>7}  {lost:>4}")
    typer.echo(f"{'fidelity':<{width}}  {fidelity:.3f}")


def _check_rows(
    rows: Path,
    output: Path | None,
    fields: tuple[str, str],
    options: Options,
    least: float | None,
    limit: int | None,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from compressor_cli.stages.check import check_pairs

    summary = check_pairs(
        rows,
        output,
        original=fields[0],
        compressed=fields[1],
        kinds=options.kinds,
        patterns=options.patterns,
        min_fidelity=least,
        limit=limit,
    )
    if as_json:
        print_json(asdict(summary))
    else:
        worst = f", lowest {summary.lowest:.3f} (row {summary.worst})" if summary.worst is not None else ""
        below = f", {summary.below} rows below {least}" if least is not None else ""
        kinds = "".join(f"\n{kind}  {share:.3f}" for kind, share in summary.by_kind.items())
        typer.echo(
            f"{summary.asked} rows, {summary.checked} checked, {summary.failed} failed, {summary.facts} facts, "
            f"fidelity {'-' if summary.fidelity is None else f'{summary.fidelity:.3f}'}{worst}{below}{kinds}"
        )
    if summary.checked:
        _tell_unmatched(options, summary.by_kind)
    failed = f"{summary.failed} of {summary.asked} rows could not be checked" if summary.failed else ""
    hint = f"{'its row has' if output else '--output gives'} the `error`" if failed else None
    _gate(summary.fidelity, least, failed, hint)
    if failed:
        raise PartialError(failed, hint=hint)


def _gate(fidelity: float | None, least: float | None, failed: str = "", hint: str | None = None) -> None:
    if least is None or (fidelity is not None and fidelity >= least):
        return
    if fidelity is None:
        unmet = f"no row was checked: --min-fidelity {least} is not met"
    else:
        unmet = f"fidelity {fidelity:.4f} is below --min-fidelity {least}"
    raise GateError("; ".join(filter(None, [unmet, failed])), hint=hint)
