"""Which comments of a program stay at a level that drops comments."""

from __future__ import annotations

from collections.abc import Callable

from compressor_cli.core.facts import find_facts
from compressor_cli.engines.options import Options


def spared_comments(text: str, options: Options) -> Callable[[str], bool]:
    """Those that state a protected fact, unless a level was asked for or facts may be lost: both name what goes.

    Identifiers and inline code stand in most comments, and most of these in the program too, so they do not count. What
    a pattern matches stays at any level.
    """
    patterns = () if options.allow_loss else options.patterns
    kinds = () if options.level is not None or options.allow_loss else options.kinds
    matches = {found.group() for pattern in patterns for found in pattern.finditer(text)}

    def keep(comment: str) -> bool:
        facts = find_facts(comment, kinds) if kinds else []
        stated = any(fact.kind != "code" or fact.type == "quote" for fact in facts)
        return stated or any(match in comment for match in matches)

    return keep
