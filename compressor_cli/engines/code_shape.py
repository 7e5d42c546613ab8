"""The shape of a program's tree, whatever its names and values: one production a node, the node with its children."""

from __future__ import annotations

from collections import Counter

from compressor_cli.engines.code_languages import named
from compressor_cli.engines.code_parse import language_of, parse

_MOST_ERRORS = 0.2  # of the text: beyond, it is no program


def shape(text: str, language: str | None) -> Counter[str] | None:
    """None for what does not parse as a program of the language, or of any where none is given; comments are none."""
    name = named(language) if language else language_of(text, None)
    if name is None or not text.strip():
        return None
    parsed = parse(text.encode("utf-8", "replace"), name)
    if parsed.errors() > _MOST_ERRORS:
        return None
    found: Counter[str] = Counter()
    todo = [parsed.tree.root_node]
    while todo:
        node = todo.pop()
        children = [child for child in node.children if not child.is_extra]
        if children:
            found[f"{node.type}({' '.join(child.type for child in children)})"] += 1
        todo.extend(children)
    return found or None
