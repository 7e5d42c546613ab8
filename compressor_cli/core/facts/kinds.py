"""The kinds of facts, and how a caller names some of them."""

from __future__ import annotations

from collections.abc import Collection

from compressor_cli.errors import UsageError

KINDS = ("numbers", "negation", "names", "urls", "code")
_KNOWN = f"{', '.join(KINDS)}, all or none"


def kinds_of(given: str | Collection[str], flag: str) -> tuple[str, ...]:
    """The kinds of facts that a flag or argument names, in the order of `KINDS`."""
    parts = given.split(",") if isinstance(given, str) else given
    if not isinstance(parts, Collection) or not all(isinstance(name, str) for name in parts):
        raise UsageError(f"{flag}: names of kinds are needed, this is {given!r:.60}", hint=_KNOWN)
    names = [name.strip() for name in parts if name.strip()]
    if not names:
        raise UsageError(f"{flag} is empty", hint=_KNOWN)
    if names in (["all"], ["none"]):
        return KINDS if names == ["all"] else ()
    for name in names:
        if name in ("all", "none"):
            raise UsageError(f"{flag} {name} goes with no other kind")
        if name not in KINDS:
            raise UsageError(f"{flag} {name}: no such kind of fact", hint=_KNOWN)
    return tuple(kind for kind in KINDS if kind in names)
