"""A parsed source as the flat sequence of its leaves, with the shape of the tree above them.

Trees can be a hundred thousand nodes deep and sources ten megabytes long, so nothing here recurses, and numbers stand
in arrays.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING

from compressor_cli.engines.code_languages import ATOM, BODY, COMMENT, FUNCTION, GLUED, Grammar

if TYPE_CHECKING:
    from tree_sitter import Node, Tree

# What a leaf is. From REMOVED on, it goes at the level `comments`; a docstring that is a whole body becomes `...`.
TOKEN, STUCK, KEPT, REMOVED, DOCSTRING, ELLIPSIS = range(6)
OUTLINED = 6

_PREFIX = re.compile(rb"[rRuU]?['\"]")
_IMPORT_C = re.compile(rb'(?:import[ \t]+)?"C"')
_STRINGS = ("string", "concatenated_string")
_SCRIPT = re.compile(rb"# /// (\w[\w-]*)$")
# Line breaks to some compilers and to no parser here: what follows may be code.
_ODD_BREAKS = re.compile(rb"\xe2\x80[\xa8\xa9]|\xc2\x85")
_SHORT_BODY = 40  # bytes; a body of one such line says more than how long it is


@dataclass
class Scan:
    """Leaf i is `source[starts[i]:ends[i]]`. `shape` has kind and depth of each node that counts, in reading order."""

    source: bytes
    starts: array[int] = field(default_factory=lambda: array("Q"))
    ends: array[int] = field(default_factory=lambda: array("Q"))
    roles: bytearray = field(default_factory=bytearray)
    shape: array[int] = field(default_factory=lambda: array("Q"))
    head: int = 0  # where the second line ends
    bodies: dict[int, bytes] = field(default_factory=dict)  # what stands for the outlined leaf that starts here
    lines_left_out: int = 0
    directives: int = 0  # comments that are code
    pinned: tuple[int, int] | None = None  # what ends before the first, or starts behind the second, stays

    @property
    def size(self) -> int:
        """Leaves that are program."""
        return len(self.roles) - sum(self.roles.count(role) for role in (KEPT, REMOVED, DOCSTRING))

    @property
    def dropped(self) -> int:
        """Comments and docstrings."""
        return sum(self.roles.count(role) for role in (REMOVED, DOCSTRING, ELLIPSIS))

    def add(self, start: int, end: int, role: int) -> None:
        self.starts.append(start)
        self.ends.append(end)
        self.roles.append(role)

    def pin(self, ends: tuple[int, int]) -> None:
        """What stands before the first of the two, or behind the second, stays as it is."""
        self.pinned = ends
        for i, role in enumerate(self.roles):
            if role in (REMOVED, DOCSTRING, ELLIPSIS) and (self.starts[i] < ends[0] or self.ends[i] > ends[1]):
                self.roles[i] = KEPT if role == REMOVED else TOKEN

    def spare(self, keep: Callable[[str], bool]) -> None:
        """Comments and docstrings that `keep` says yes to stay."""
        for i, role in enumerate(self.roles):
            if role in (REMOVED, DOCSTRING, ELLIPSIS):
                text = self.source[self.starts[i] : self.ends[i]].decode()
                if keep(text):
                    self.roles[i] = KEPT if role == REMOVED else TOKEN

    def leaves(self, *, dropping: bool) -> Iterator[tuple[int, int, int]]:
        """Start, end and role of those that stay."""
        every = zip(self.starts, self.ends, self.roles, strict=True)
        return (leaf for leaf in every if leaf[2] not in (REMOVED, DOCSTRING)) if dropping else every


def scan(tree: Tree, source: bytes, grammar: Grammar, *, outline: tuple[int, int] | None = None) -> Scan:
    """The leaves in reading order. White space belongs to none; an atom is one, and so is what did not parse.

    `outline`: bodies between the two places are leaves.
    """
    found = Scan(source, head=len(b"".join(source[:4096].splitlines(keepends=True)[:2])))
    roles, shape = grammar.roles, found.shape
    starts, ends, leaf_roles = found.starts, found.ends, found.roles
    documented = grammar.language.indented
    statement = grammar.kind("expression_statement")
    docstrings: dict[int, int] = _docstrings(tree.root_node, source) if documented else {}
    outlined: set[int] = set()
    cursor = tree.walk()
    depth = 0
    while True:
        node = cursor.node
        assert node is not None  # a cursor stands on a node as long as its tree lives
        kind = node.kind_id
        role = roles.get(kind)
        descend = True
        if role is not None:
            descend = role in (FUNCTION, BODY)
            if role == FUNCTION:
                outlined |= _bodies(node, source, grammar, outline) if outline else set()
            elif role == BODY:
                if node.start_byte in outlined:
                    outlined.discard(node.start_byte)
                    _leave_out(node, found, grammar)
                    descend = False
                elif documented:
                    docstrings |= _docstrings(node, source)
            elif role == COMMENT:
                _add_comment(node, found, grammar)
            elif role in (ATOM, GLUED):
                found.add(node.start_byte, node.end_byte, STUCK if role == GLUED else TOKEN)
                shape.append(depth << 16 | kind)
        elif kind == statement and node.start_byte in docstrings:
            descend = False
            _add_docstring(node, found, grammar, docstrings.pop(node.start_byte), depth)
        if descend:
            shape.append(depth << 16 | kind)
            if cursor.goto_first_child():
                depth += 1
                continue
            start, end = node.start_byte, node.end_byte
            if end > start:
                starts.append(start)
                ends.append(end)
                leaf_roles.append(TOKEN)
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                _keep_blocks(found, grammar)
                found.directives = found.roles.count(KEPT)
                return found
            depth -= 1


def same_program(before: Scan, after: Scan, *, dropping: bool) -> bool:
    """The same tree over the same leaves, apart from what was to be dropped."""
    if before.shape != after.shape or before.directives != after.directives:
        return False
    source, result = before.source, after.source
    kept, found = before.leaves(dropping=dropping), zip(after.starts, after.ends, strict=True)
    for start, end, role in kept:
        at = next(found, None)
        text = b"..." if role == ELLIPSIS and dropping else source[start:end]
        if at is None or text != result[at[0] : at[1]]:
            return False
    return next(found, None) is None


def without_comments(before: Scan) -> bytes:
    """The same bytes with blanks where comments are that go; lines stay."""
    source = bytearray(before.source)
    for start, end, role in zip(before.starts, before.ends, before.roles, strict=True):
        if role == REMOVED:
            source[start:end] = re.sub(rb"[^\r\n]", b" ", source[start:end])
    return bytes(source)


def same_leaves(before: Scan, blanked: Scan) -> bool:
    """Whether the leaves of what `without_comments` gave are those that it left."""
    kept = (leaf[:2] for leaf in before.leaves(dropping=False) if leaf[2] != REMOVED)
    return list(kept) == list(zip(blanked.starts, blanked.ends, strict=True))


def same_tokens(source: bytes, result: bytes, lexed: str) -> bool:
    """As far as a lexer can tell; for what has no tree."""
    pattern = re.compile(lexed.encode())
    before, after = ((m[0] for m in pattern.finditer(text) if m[1] is None) for text in (source, result))
    return all(one == other for one, other in zip_longest(before, after))


def _add_comment(node: Node, found: Scan, grammar: Grammar) -> None:
    start, source = node.start_byte, found.source
    text = source[start : node.end_byte].rstrip()  # some parsers count the line break in
    keep = (
        grammar.comments_kept.match(text)
        or (start < found.head and grammar.head_kept.match(text))
        or _ODD_BREAKS.search(text)
    )
    found.add(start, start + len(text), KEPT if keep else REMOVED)


def _keep_blocks(found: Scan, grammar: Grammar) -> None:
    """Comments that are code as a run: a script's dependencies in Python, the C of a Go file."""
    source, roles = found.source, found.roles
    if grammar.language.name == "python" and b"# /// " in source:
        inside = False
        for i, role in enumerate(roles):
            text = source[found.starts[i] : found.ends[i]] if role in (REMOVED, KEPT) else b""
            inside = inside or _SCRIPT.match(text) is not None
            if inside and text:
                roles[i] = KEPT
            inside = inside and bool(text) and text != b"# ///"
    if grammar.language.name == "go" and b'"C"' in source:
        for i in range(len(roles) - 1, 0, -1):
            before = source[found.ends[i - 1] : found.starts[i]]
            opens = _IMPORT_C.match(source, found.starts[i]) is not None
            if roles[i - 1] == REMOVED and before.count(b"\n") == 1 and (opens or roles[i] == KEPT):
                roles[i - 1] = KEPT


def _docstrings(body: Node, source: bytes) -> dict[int, int]:
    """Where the docstring of this body starts, and what becomes of it; empty where it has none that can go."""
    first, second = _statements(body)
    if first is None or not _is_docstring(first, source):
        return {}
    if body.parent is not None and body.parent.type not in ("function_definition", "class_definition"):
        return {}
    after = first.next_sibling
    if after is not None and after.type == ";":
        return {}
    if second is None:
        return {first.start_byte: DOCSTRING if body.parent is None else ELLIPSIS}
    # A string that comes next would become the docstring in its place.
    is_string = second.type == "expression_statement" and _first(second).type in (*_STRINGS, "parenthesized_expression")
    return {} if is_string else {first.start_byte: DOCSTRING}


def _statements(body: Node) -> tuple[Node | None, Node | None]:
    """The first two, if the first can be a docstring."""
    cursor = body.walk()
    found: list[Node] = []
    more = cursor.goto_first_child()
    while more and len(found) < 2:
        node = cursor.node
        if node is not None and node.is_named and node.type != "comment":
            if node.type != "expression_statement" and not found:
                break
            found.append(node)
        more = cursor.goto_next_sibling()
    return (found[0] if found else None), (found[1] if len(found) > 1 else None)


def _is_docstring(statement: Node, source: bytes) -> bool:
    if statement.child_count != 1 or not _PREFIX.match(source, statement.start_byte):
        return False
    child = _first(statement)
    parts = child.children if child.type == "concatenated_string" else [child]
    strings = [part for part in parts if part.type != "comment"]
    return all(part.type == "string" and _PREFIX.match(source, part.start_byte) for part in strings)


def _first(node: Node) -> Node:
    """What the node starts with, or itself where it has no parts."""
    return (node.child(0) if node.child_count else None) or node


def _add_docstring(node: Node, found: Scan, grammar: Grammar, role: int, depth: int) -> None:
    found.add(node.start_byte, node.end_byte, role)
    if role == ELLIPSIS:
        found.shape.append(depth << 16 | grammar.kind("expression_statement"))
        found.shape.append((depth + 1) << 16 | grammar.kind("ellipsis"))


def _bodies(function: Node, source: bytes, grammar: Grammar, within: tuple[int, int]) -> set[int]:
    braces = "{" in grammar.language.marker.format("")
    found = set()
    for child in function.children:
        if grammar.roles.get(child.kind_id) != BODY or (braces and not source.startswith(b"{", child.start_byte)):
            continue
        if child.start_byte < within[0] or child.end_byte > within[1]:
            continue
        if child.end_byte - child.start_byte > _SHORT_BODY or b"\n" in source[child.start_byte : child.end_byte]:
            found.add(child.start_byte)
    return found


def _leave_out(node: Node, found: Scan, grammar: Grammar) -> None:
    text = found.source[node.start_byte : node.end_byte]
    marker = grammar.language.marker
    lines = text.count(b"\n") + 1 - (2 if text.startswith(b"{") and b"\n" in text else 0)
    lines = max(lines, 1)
    found.lines_left_out += lines
    found.bodies[node.start_byte] = marker.format(f"{lines} line{'s' if lines > 1 else ''}").encode()
    found.add(node.start_byte, node.end_byte, OUTLINED)
