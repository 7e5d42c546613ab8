"""Which URLs, paths, identifiers and quotations another text keeps."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable

from compressor_cli.core.facts.sides import ENOUGH, KEPT, Outcome, Side, changed_places, nearest, stands
from compressor_cli.core.facts.tokens import Found
from compressor_cli.core.facts.values import plainly

_SMALL = frozenset(
    "a an the of to for that which is are was were be it its it's it’s in on at by with w as and this i".split()
)


def exact_outcomes(one: Side, other: Side) -> list[Outcome]:
    known: dict[Hashable, Outcome] = {}
    standing = {found.value for found in other.exact} | {_bare(found) for found in other.exact}
    own = {found.value for found in one.exact}
    strange: defaultdict[str, list[Found]] = defaultdict(list)
    for found in other.exact:
        if found.value not in own:
            strange[found.type].append(found)
    for fact in one.exact:
        if fact.value not in known:
            kept = fact.value in standing or _bare(fact) in standing or _exact_stands(other, fact)
            known[fact.value] = KEPT if kept else nearest(one, other, fact, strange[fact.type])
    result = [known[fact.value] for fact in one.exact]
    mine, theirs = one.exact, other.exact
    changed_places(one, other, mine, theirs, result, lambda i, k: _said(mine[i]) == _said(theirs[k]))
    return result


def _said(found: Found) -> Hashable:
    """A quotation as its words that say something, anything else as it is."""
    assert isinstance(found.value, tuple)
    return tuple(_words(found.value[1])) if found.value[0] == "quote" else found.value


def _bare(found: Found) -> Hashable:
    """Inline code without its blanks."""
    assert isinstance(found.value, tuple)
    kind, text = found.value
    return (kind, "".join(text.split())) if kind == "inline_code" else found.value


def _exact_stands(other: Side, fact: Found) -> bool:
    assert isinstance(fact.value, tuple)
    kind, text = fact.value
    if kind == "url":
        bare = re.sub(r"^(?:https?://)?(?:www\.)?", "", text).rstrip("/")
        schemes = {
            f"{scheme}{www}{bare}{end}" for scheme in _schemes(text) for www in ("", "www.") for end in ("", "/")
        }
        return any(stands(other, url, True) for url in sorted(schemes, key=len, reverse=True))
    if kind in ("email", "path"):
        return stands(other, text, True) or (kind == "path" and text.startswith("./") and stands(other, text[2:], True))
    if kind == "identifier" and text[-1] == "s" and "_" not in text and stands(other, text[:-1]):
        return True
    return stands(other, text) or (kind == "quote" and _loosely(other, text))


def _schemes(url: str) -> tuple[str, ...]:
    scheme = url[: url.find("://") + 3] if "://" in url else ""
    return (scheme, "") if scheme.lower() in ("http://", "https://") else (scheme,)


def _loosely(other: Side, text: str) -> bool:
    """A quotation without its marks and small words."""
    said = _words(text)
    if not said or (len(said) < 2 and len(said[0]) < 3):
        return False
    words = other.words.words
    first = said[0]
    forms = (first, *(first + end for end in ("st", "nd", "rd", "th"))) if first.isdigit() else (first,)
    for i in [i for form in forms for i in other.at.get(form, ())[:ENOUGH]]:
        run = [plainly(word) for word in words[i : i + 3 * len(said)] if word not in _SMALL]
        if run[: len(said)] == said:
            return True
    return False


def _words(text: str) -> list[str]:
    return [plainly(word) for word in re.findall(r"\w+(?:['’]\w+)*", text.lower()) if word not in _SMALL]
