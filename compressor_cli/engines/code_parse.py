"""Which language a text is in, and its tree."""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from compressor_cli.core.domains import detect_domain
from compressor_cli.engines.code_languages import LANGUAGES, Grammar, by_extension, grammars, named
from compressor_cli.engines.code_tree import Scan, scan
from compressor_cli.errors import UsageError

if TYPE_CHECKING:
    import tree_sitter

BOM = "\ufeff"

_SAMPLED = 8000  # characters of a text whose language is to be found
_SHEBANG = re.compile(r"#!.*?\b(python|node|ruby|php|lua|swift|kotlin|bash|zsh|ksh|sh)[\d.]*\b")
_LENIENT = frozenset(("shell", "ruby", "php", "css", "sql"))  # whose parsers take sentences for code, or little at all
_GUESSED = 0.1  # the most of a text that may not parse as the language that it is taken for


@dataclass(frozen=True)
class Parsed:
    source: bytes
    grammar: Grammar
    tree: tree_sitter.Tree

    @property
    def broken(self) -> bool:
        return self.tree.root_node.has_error

    @cached_property
    def leaves(self) -> Scan:
        return scan(self.tree, self.source, self.grammar)

    def errors(self) -> float:
        """The share of the source that does not parse."""
        cursor, total = self.tree.walk(), 0
        while True:
            node = cursor.node
            assert node is not None
            if node.is_error or node.is_missing:
                total += max(node.end_byte - node.start_byte, 1)
            elif node.has_error and cursor.goto_first_child():
                continue
            while not cursor.goto_next_sibling():
                if not cursor.goto_parent():
                    return total / max(len(self.source), 1)


def parse(source: bytes, language: str) -> Parsed:
    """By the first of the language's parsers that finds no error, or by the first of all."""
    every = grammars(language)
    if language == "php" and b"<?" not in source:  # without a tag, all of it would be text between programs
        every = every[1:]
    tried: list[Parsed] = []
    for grammar in every:
        tried.append(Parsed(source, grammar, grammar.parse(source)))
        if not tried[-1].broken:
            return tried[-1]
    return tried[0]


def parses(text: str, language: str) -> bool:
    """Whether nothing in the text is an error to the language's parser."""
    name = named(language)
    if name is None:
        raise UsageError(f"no parser for {language}", hint=f"one of {', '.join(LANGUAGES)}")
    return not parse(_encoded(text), name).broken


def python_tree(source: bytes) -> str | None:
    """What Python itself makes of a program, but for its docstrings; None where it does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes that are no escapes, and the like
            tree = ast.parse(source)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Expr(ast.Constant(...))]
        return ast.dump(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def language_of(text: str, hint: str | None, path: str | None = None) -> str | None:
    """By what a fence or flag calls it, else by the file's extension, else by the text."""
    if hint and hint.strip():
        return named(hint)
    found = by_extension(path) if path else None
    shebang = _SHEBANG.match(text) if found is None else None
    if shebang:
        found = named(shebang.group(1))
    return found or _guess(text)


def _guess(text: str) -> str | None:
    """What the lines look like, unless it does not parse as that and does as another."""
    domain = detect_domain(text)
    if domain.name != "code" or domain.language not in (None, *LANGUAGES):
        return None
    sample = text[:_SAMPLED]
    if len(text) > _SAMPLED:
        sample = sample[: sample.rfind("\n") + 1] or sample
    guess = domain.language
    if guess and parses(sample, guess):
        return guess
    source = _encoded(sample)
    errors = {name: parse(source, name).errors() for name in LANGUAGES if name == guess or name not in _LENIENT}
    best = min(errors, key=lambda name: (errors[name], name != guess))
    return best if errors[best] <= _GUESSED else None


def _encoded(text: str) -> bytes:
    return text.removeprefix(BOM).encode(errors="surrogatepass")
