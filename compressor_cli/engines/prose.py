"""The prose engine: the embedded model's scores, the best runs within the budget, the text put together again.

Fences and tables of a document go to engines of their own (`engines.blocks`), and share its budget.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

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
    nothing = np.zeros(len(document.units), dtype=bool)
    fixed = count(render(document, nothing.tolist(), marker=options.omission_marker))
    given = budget is not None
    if budget is None:
        budget = max(min(fixed + int(share * (total - fixed)), total) if fixed else int(share * total), 1)
        if fixed:
            warnings.append(
                f"{fixed} tokens of fences, tables and other parts that stay as they are come on top of the rate"
            )
    if not document.units:
        if given and fixed > budget:
            raise _too_small(fixed, budget)
        return ProseResult(render(document, []), budget, tuple(warnings), blocks)
    bearing = find_bearing(document, options.query) if options.query else None
    if options.query and bearing is None:
        warnings.append("the query shares no word with the text: compressed as without it")
    chooser = Chooser(document, scorer, count, bearing=bearing, marker=options.omission_marker)
    guard = Guard(text, document, options.kinds, options.patterns)
    chooser.prefer(guard.beside)
    keeper = Keeper(chooser, guard)
    must = keeper.must
    needed = chooser.size(must) if guard else fixed
    if not given and guard:
        stretched = min(needed + int(_BESIDE_FACTS * (total - needed)), total)
        if stretched > budget:
            warnings.append(f"{needed} tokens hold protected facts: up to {stretched} are kept, not {budget}")
            budget = stretched
    if needed > budget and guard and options.allow_loss and fixed <= budget:
        warnings.append(f"the {len(guard)} protected facts need {needed} tokens: some of them are lost")
        chooser.prefer(must)
        guard, must = Guard("", document, ()), nothing
        keeper = Keeper(chooser, guard)
    elif needed > budget:
        raise _too_small(needed, budget, len(guard))
    keep = keeper.choose(budget)
    if not keep.any() and not fixed and not pinned:
        negated = bool(chooser.worth.negated)
        smallest, needed = _smallest(document, count)
        if not given and (negated or needed > budget):
            return ProseResult(text, budget, (*warnings, "too short for the rate: left as it is"))
        if needed > budget:
            raise BudgetTooSmallError(f"no word fits a budget of {budget} tokens; {needed} are needed", needed)
        if negated:
            chooser.strict = False
            keep = chooser.choose(budget, must)
            warnings.append("a negation did not fit the budget: the meaning may have turned; give a higher one")
        keep = keep if keep.any() else smallest
    return ProseResult(chooser.rendered(keep), budget, tuple(warnings), blocks)


def _too_small(needed: int, budget: int, facts: int = 0) -> BudgetTooSmallError:
    if facts:
        return BudgetTooSmallError(
            f"the protected facts and what stays as it is need {needed} tokens, the budget is {budget}",
            needed,
            hint="--protect names the kinds that must survive; --allow-loss takes what fits and lists what is lost",
        )
    return BudgetTooSmallError(f"what must stay as it is takes {needed} tokens, the budget is {budget}", needed)


def _smallest(document: Document, count: Callable[[str], int]) -> tuple[Bools, int]:
    """One unit and the tokens it takes alone, the fewest among those that promise to be short."""
    order = np.argsort(unit_costs(document.units, count), kind="stable")[:_SHORTEST]
    sizes: list[tuple[int, int]] = []
    for i in order.tolist():
        one = np.zeros(len(document.units), dtype=bool)
        one[i] = True
        sizes.append((count(render(document, one.tolist())), i))
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
