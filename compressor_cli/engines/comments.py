"""Which comments of a program stay at a level that drops comments."""

from __future__ import annotations

from collections.abc import Callable

from compressor_cli.core.facts import find_facts
from compressor_cli.engines.options import Options


def spared_comments(text: str, options: Options) -> Callable[[str], bool]:
    """Those that state a protected fact, unless a level was asked for or facts may be lost: both name what goes.

    Identifiers and inline code stand in most comments, and most of these in the program too, so they do not count. What
    the caller named does, at any level: the kinds of --protect, and what a pattern matches.
    """
    patterns = () if options.allow_loss else options.patterns
    told = options.protect is not None
    given_up = options.allow_loss or (options.level is not None and not told)
    kinds = () if given_up else options.kinds
    matches = {found.group() for pattern in patterns for found in pattern.finditer(text)}

    def keep(comment: str) -> bool:
        facts = find_facts(comment, kinds) if kinds else []
        stated = any(told or fact.kind != "code" or fact.type == "quote" for fact in facts)
        return stated or any(match in comment for match in matches)

    return keep
