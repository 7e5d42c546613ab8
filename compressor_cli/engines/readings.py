"""The ways to fold the logs of a text, those that lose the least first."""

from __future__ import annotations

from dataclasses import dataclass, replace

from compressor_cli.engines.guard import lost_as_told
from compressor_cli.engines.logs import MARK, Folded, fold_logs
from compressor_cli.engines.options import Options

_HOLDS = 3  # rounds of finding lines that hold what a fold would lose


@dataclass(frozen=True)
class Reading:
    """A text with its logs folded one way, and the options under which the rest is found; None: nothing else goes."""

    folded: Folded
    options: Options | None
    whole_events: bool = False


def readings(text: str, options: Options, budget: int | None) -> tuple[Reading, ...]:
    """Times that are protected by default go where the default rate or the budget cannot be met with all of them, and
    before anything goes that only --allow-loss gives up. --engine prose takes words out of log lines; their marks stay.
    """
    listed = _folded(text, options, times=True)
    if not listed.rows:
        return (Reading(listed, options),)
    short = _folded(text, options, times=False)
    whole = options.engine != "prose"
    if not whole:
        options = replace(options, protect_pattern=(*options.protect_pattern, f"(?m){MARK.pattern}"))
    strict = replace(options, allow_loss=False)
    if "numbers" not in options.kinds:
        return Reading(listed, None), Reading(short, options, whole)
    told = options.protect is not None
    if budget is None:
        return Reading(listed, None), *([] if told else [Reading(short, None)]), Reading(listed, strict, whole)
    shorter = [Reading(short, strict, whole)] if short.text != listed.text and not told else []
    return Reading(listed, strict, whole), *shorter, *([Reading(short, options, whole)] if options.allow_loss else [])


def _folded(text: str, options: Options, *, times: bool) -> Folded:
    """Without the folds that would lose what was told to be protected; of the times that go where `times` are not
    asked for, a pattern alone decides."""
    told = options if times else replace(options, protect="none")
    held: set[int] = set()
    for _ in range(_HOLDS):
        folded = fold_logs(text, times=times, held=held)
        lost = lost_as_told(text, folded.text, told) if folded.lines else []
        if not lost:
            return folded
        for fact in lost:
            first = text.count("\n", 0, fact.start)
            held.update(range(first, first + text.count("\n", fact.start, fact.end) + 1))
    return fold_logs(text, times=times, held=range(text.count("\n") + 1))
