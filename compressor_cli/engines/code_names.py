"""The names that a piece of code defines: what an outline of it would show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compressor_cli.engines.code_parse import parse

if TYPE_CHECKING:
    from tree_sitter import Node

# Ends of the kinds of nodes that define something, over all grammars here, and those among them that do not count.
_DEFINES = ("_definition", "_declaration", "_item", "type_spec", "_specifier", "method", "class", "module")
_PLAIN = (
    "variable_", "lexical_", "import_", "package_", "use_", "parameter_", "accessor_", "storage_class_",
    "local_variable_", "field_", "public_field_", "property_", "column_",
)  # fmt: skip
_FUNCTIONS = ("arrow_function", "function_expression")  # a variable that holds one is its name
_NO_NAMES = (b"constructor",)  # it stands for the name of its class
_DEEPEST = 12  # of a declarator: int (*(*f)(int))[3]


def definitions(text: str, language: str) -> tuple[str, ...]:
    """Functions, methods, classes and types, each once, in order. Code that does not parse gives what can be told."""
    names: dict[str, None] = {}
    todo = [parse(text.encode("utf-8", "replace"), language).tree.root_node]
    while todo:
        node = todo.pop()
        if _is_definition(node):
            name = _name(node)
            if name is not None and name.text and name.text not in _NO_NAMES:
                names[name.text.decode("utf-8", "replace")] = None
        todo.extend(reversed(node.children))
    return tuple(names)


def _is_definition(node: Node) -> bool:
    if node.type == "variable_declarator":
        value = node.child_by_field_name("value")
        return value is not None and value.type in _FUNCTIONS
    return node.is_named and node.type.endswith(_DEFINES) and not node.type.startswith(_PLAIN)


def _name(node: Node) -> Node | None:
    """Where C keeps it inside of declarators, there."""
    found = node.child_by_field_name("name")
    below = node.child_by_field_name("declarator")
    for _ in range(_DEEPEST):
        if found is not None or below is None:
            break
        if below.type in ("identifier", "field_identifier", "qualified_identifier", "destructor_name"):
            return below
        found, below = below.child_by_field_name("name"), below.child_by_field_name("declarator")
    return found
