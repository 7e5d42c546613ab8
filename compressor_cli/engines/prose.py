"""The prose engine: the embedded model's scores, the best runs within the budget, the text put together again.

Fences and tables of a document go to engines of their own (`engines.blocks`), and share its budget.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np

from compressor_cli.engines.blocks import fit_blocks
from compressor_cli.engines.choose import Chooser
from compressor_cli.engines.guard import Guard
from compressor_cli.engines.language import foreign_language
from compressor_cli.engines.layout import Document, Unit, parse
from compressor_cli.engines.options import Options
from compressor_cli.engines.query import find_bearing
from compressor_cli.engines.render import render
from compressor_cli.engines.repair import Keeper
from compressor_cli.engines.scorer import Scorer
from compressor_cli.engines.select import Bools
from compressor_cli.engines.worth import unit_costs
from compressor_cli.errors import BudgetTooSmallError
from compressor_cli.records import Block

_SHORTEST = 16  # units looked at for the smallest result there can be
_BESIDE_FACTS = 0.25  # of what is not protected, kept where the default rate stretches: facts alone say little


@dataclass(frozen=True)
class ProseResult:
    compressed: str
    budget: int
    warnings: tuple[str, ...]
    blocks: tuple[Block, ...] = ()
    breaks: tuple[str, str] = ("", "")  # around what is left, where the first or the last line is gone


@dataclass(frozen=True)
class _Allowed:
    """`tokens` of the result, which are hard where they were `given`; `fixed` of the `total` stay in any case."""

    tokens: int
    given: bool
    total: int
    fixed: int


def compress_prose(
    text: str,
    options: Options,
    *,
    share: float,
    budget: int | None,
    count: Callable[[str], int],
    scorer: Scorer,
    pinned: bool = False,
    events: Collection[tuple[int, int]] = (),
) -> ProseResult:
    """`budget` in tokens is hard; with None, fixed parts are kept and `share` is taken of the rest.

    `pinned`: the text stands between parts that stay, so that nothing of it need be left. `events`:
    lines of a log, (start, stop) each, that are kept or dropped whole. Raises BudgetTooSmallError
    where fixed parts, protected facts, or the smallest unit do not fit the budget.
    """
    document = parse(text, events=events)
    warnings = [] if options.engine == "prose" else _fix_foreign_lines(document)
    total = count(text)
    blocks = fit_blocks(document, options, None if budget is None else budget / total, count)
    fixed = count(render(document, [False] * len(document.units), marker=options.omission_marker))
    allowed = _allowed(budget, share, total, fixed, warnings)
    if not document.units:
        if allowed.given and fixed > allowed.tokens:
            raise _too_small(fixed, allowed.tokens)
        return ProseResult(render(document, []), allowed.tokens, tuple(warnings), blocks)
    chooser = _chooser(document, options, scorer, count, warnings)
    keeper, allowed = _keeper(text, chooser, options, allowed, warnings)
    keep = keeper.choose(allowed.tokens)
    if not keep.any() and not fixed and not pinned:
        least = _least(chooser, allowed, warnings)
        if least is None:
            return ProseResult(text, allowed.tokens, (*warnings, "too short for the rate: left as it is"))
        keep = least
    return ProseResult(chooser.rendered(keep), allowed.tokens, tuple(warnings), blocks, _breaks(document, keep))


def _breaks(document: Document, keep: Bools) -> tuple[str, str]:
    stand = [line.fixed is not None or bool(keep[line.start : line.stop].any()) for line in document.lines]
    blank = [line.blank_after for line in document.lines]
    first = stand.index(True) if any(stand) else len(stand) - 1
    behind = stand[::-1].index(True) if any(stand) else 0
    lead = document.newline * (1 + any(blank[:first])) if first else ""
    return lead, document.newline * (1 + any(blank[-behind - 1 : -1])) if behind else ""


def _allowed(budget: int | None, share: float, total: int, fixed: int, warnings: list[str]) -> _Allowed:
    if budget is not None:
        return _Allowed(budget, True, total, fixed)
    if not fixed:
        return _Allowed(max(int(share * total), 1), False, total, fixed)
    warnings.append(f"{fixed} tokens of fences, tables and other parts that stay as they are come on top of the rate")
    return _Allowed(max(min(fixed + int(share * (total - fixed)), total), 1), False, total, fixed)


def _chooser(
    document: Document, options: Options, scorer: Scorer, count: Callable[[str], int], warnings: list[str]
) -> Chooser:
    bearing = find_bearing(document, options.query) if options.query else None
    if options.query and bearing is None:
        warnings.append("the query shares no word with the text: compressed as without it")
    return Chooser(document, scorer, count, bearing=bearing, marker=options.omission_marker)


def _keeper(
    text: str, chooser: Chooser, options: Options, allowed: _Allowed, warnings: list[str]
) -> tuple[Keeper, _Allowed]:
    """What keeps the protected facts, and the budget with what the default rate stretches for them."""
    guard = Guard(text, chooser.document, options.kinds, options.patterns)
    chooser.prefer(guard.beside)
    keeper = Keeper(chooser, guard)
    needed = chooser.size(keeper.must) if guard else allowed.fixed
    budget, total = allowed.tokens, allowed.total
    if not allowed.given and guard:
        stretched = min(needed + int(_BESIDE_FACTS * (total - needed)), total)
        if stretched > budget:
            warnings.append(f"{needed} tokens hold protected facts: up to {stretched} are kept, not {budget}")
            allowed = replace(allowed, tokens=stretched)
    if needed <= allowed.tokens:
        return keeper, allowed
    if guard and options.allow_loss and allowed.fixed > budget:
        raise _too_small(allowed.fixed, budget)
    if not (guard and options.allow_loss):
        raise _too_small(needed, budget, len(guard))
    warnings.append(f"the {len(guard)} protected facts need {needed} tokens: some of them are lost")
    chooser.prefer(keeper.must)
    return Keeper(chooser, Guard("", chooser.document, ())), allowed


def _least(chooser: Chooser, allowed: _Allowed, warnings: list[str]) -> Bools | None:
    """Something, where the choice is nothing; None where a rate that nobody gave leaves the text as it is."""
    negated = bool(chooser.worth.negated)
    smallest, needed = _smallest(chooser)
    if not allowed.given and (negated or needed > allowed.tokens):
        return None
    if needed > allowed.tokens:
        what = "line" if any(line.event for line in chooser.document.lines) else "word"
        raise BudgetTooSmallError(
            f"no {what} fits a budget of {{budget}} tokens; {{needed}} are needed", needed, allowed.tokens
        )
    if not negated:
        return smallest
    chooser.strict = False
    keep = chooser.choose(allowed.tokens, chooser.nothing)
    warnings.append("a negation did not fit the budget: the meaning may have turned; give a higher one")
    return keep if keep.any() else smallest


def _too_small(needed: int, budget: int, facts: int = 0) -> BudgetTooSmallError:
    if facts:
        return BudgetTooSmallError(
            "the protected facts and what stays as it is need {needed} tokens, the budget is {budget}",
            needed,
            budget,
            hint="--protect names the kinds that must survive; --allow-loss takes what fits and lists what is lost",
        )
    return BudgetTooSmallError("what must stay as it is takes {needed} tokens, the budget is {budget}", needed, budget)


def _smallest(chooser: Chooser) -> tuple[Bools, int]:
    """One unit and the tokens it takes alone, the fewest among those that promise to be short."""
    document, count = chooser.document, chooser.count
    order = np.argsort(unit_costs(document.units, count), kind="stable")[:_SHORTEST]
    sizes: list[tuple[int, int]] = []
    for i in order.tolist():
        one = np.zeros(len(document.units), dtype=bool)
        one[i] = True
        sizes.append((count(chooser.rendered(one)), i))
    needed, best = min(sizes)
    only = np.zeros(len(document.units), dtype=bool)
    only[best] = True
    return only, needed


def _fix_foreign_lines(document: Document) -> list[str]:
    """Turn lines in other languages into fixed ones. Lines too short to tell go with the whole text."""
    words = [unit.core for unit in document.units]
    overall = foreign_language(words[:4000])
    found: list[str] = []
    for line in document.lines:
        if line.fixed is not None:
            continue
        own = foreign_language(words[line.start : line.stop], among_english=overall is None)
        own = own or (overall if line.stop - line.start < 12 else None)
        if own:
            line.fixed = "\n".join(line.raw)
            found.append(own)
    if not found:
        return []
    _drop_units_of_fixed_lines(document)
    languages = ", ".join(sorted(set(found)))
    what = "1 line in {} is left as it is" if len(found) == 1 else f"{len(found)} lines in {{}} are left as they are"
    return [what.format(languages) + " (the model knows English); --engine prose forces"]


def _drop_units_of_fixed_lines(document: Document) -> None:
    kept: list[Unit] = []
    for line in document.lines:
        shift = len(kept) - line.start
        if line.fixed is not None:
            line.start = line.stop = len(kept)
            line.sentences, line.pairs = [], []
            continue
        kept.extend(document.units[line.start : line.stop])
        line.start, line.stop = line.start + shift, line.stop + shift
        line.sentences = [(a + shift, b + shift) for a, b in line.sentences]
        line.pairs = [(i + shift, opener, j + shift, closer) for i, opener, j, closer in line.pairs]
    document.units[:] = kept
