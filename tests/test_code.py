"""Python at each level, and what holds for every language: levels, warnings, the comments that stay."""

from __future__ import annotations

import ast

import pytest
from conftest import REPO

from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.code import LANGUAGES, LEVELS, UNTOUCHED, CodeResult, compress_code, language_of, parses
from compressor_cli.errors import UsageError

COUNT = token_counter().count

MODULE = '''#!/usr/bin/env python3
# -*- coding: utf-8 -*-
"""Module docstring."""

from __future__ import annotations

import os  # trailing


class Empty:
    """Only a docstring."""


class Store(dict):  # a comment
    \'\'\'Docs, with "quotes".\'\'\'

    limit: int = 10

    "not a docstring"

    def get(self, key, *, default=None):
        # a comment of its own

        "doc" 'string'
        text = """kept # verbatim

        with blank lines   
        """
        return self.data.get(
            key,  # the key
            default)   \t

    async def later(self): "one line"

    def total(self, a, b):
        if a < 0: return 1  # negative
        match a:
            case [1, 2, *rest] if rest: pass
            case _:
                x    =   a + \\
                    b
        return f"{x!r:>{10}} # {'#'}"
'''


def compress(source: str, level: str = "compact", language: str = "python") -> CodeResult:
    return compress_code(source, language=language, level=level)


def same_tree(source: str, result: str) -> bool:
    """Without docstrings, which are told here by their form alone, not by `ast.get_docstring` as the product does."""
    scopes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

    def dump(text: str) -> str:
        tree = ast.parse(text)
        for scope in (node for node in ast.walk(tree) if isinstance(node, scopes)):
            match scope.body:
                case [ast.Expr(ast.Constant(str())), *rest]:
                    scope.body = rest or [ast.Expr(ast.Constant(...))]
        return ast.dump(tree)

    return dump(source) == dump(result)


# --- Python, level by level


def test_compact_python() -> None:
    result = compress(MODULE)
    assert result == CodeResult(
        text='''#!/usr/bin/env python3
# -*- coding: utf-8 -*-
from __future__ import annotations
import os
class Empty:
 ...
class Store(dict):
 limit: int =10
 "not a docstring"
 def get(self, key, *, default=None):
  text = """kept # verbatim

        with blank lines   
        """
  return self.data.get(
  key,
  default)
 async def later(self): ...
 def total(self, a, b):
  if a <0: return 1
  match a:
   case [1,2, *rest] if rest: pass
   case _:
    x = a + \\
 b
  return f"{x!r:>{10}} # {'#'}"
''',
        language="python",
        level="compact",
        comments=10,
        lines_left_out=0,
        warnings=(),
    )
    assert same_tree(MODULE, result.text)


def test_levels_take_more_and_more() -> None:
    results = [compress(MODULE, level) for level in LEVELS]
    assert [result.level for result in results] == list(LEVELS)
    sizes = [COUNT(result.text) for result in results]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)
    assert all(same_tree(MODULE, result.text) for result in results[:3])
    assert results[0].comments == 0
    assert '"""Module docstring."""\nfrom' in results[0].text
    assert "    limit: int = 10\n" in results[1].text


def test_outline_leaves_bodies_out_and_counts_their_lines() -> None:
    source = (
        "class A:\n    x = 1\n    @property\n    def f(self) -> int:\n        '''Doc.'''\n        y = 1\n\n"
        "        return y\n    def short(self): return 1\n"
        "def g(a,\n      b):\n    def inner():\n        return a\n    return inner\n"
    )
    result = compress(source, "outline")
    assert result.text == (
        "class A:\n x =1\n @property\n def f(self) -> int:\n  ... # 4 lines\n def short(self): return 1\n"
        "def g(a,\n b):\n ... # 3 lines\n"
    )
    assert (result.level, result.lines_left_out) == ("outline", 7)
    assert compress(result.text, "outline").text == result.text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("'''a'''\n'''b'''\nx = y\n", "'''a'''\n'''b'''\nx = y\n"),  # b would become the docstring
        ("def f():\n    'a'; x\n", "def f():\n 'a'; x\n"),
        ("def f():\n    b'a'\n    x\n", "def f():\n b'a'\n x\n"),
        ("def f():\n    f'a'\n    x\n", "def f():\n f'a'\n x\n"),
        ("def f():\n    'a' f'b'\n    x\n", "def f():\n 'a' f'b'\n x\n"),
        ("def f():\n    ('a')\n    x\n", "def f():\n ('a')\n x\n"),
        ("def f():\n    r'a'\n    x\n", "def f():\n x\n"),
        ("def f():\n    # c\n    'a' \\\n    'b'\n    # d\n    x\n", "def f():\n x\n"),
        ("if x:\n    'a'\n", "if x:\n 'a'\n"),
        ("class A:\n    'a'\n    # c\nx\n", "class A:\n ...\nx\n"),
        ("class A: 'a'\n", "class A: ...\n"),
        ("x = [\n    1,  # one\n    # two\n\n    3]\n", "x = [\n 1,\n 3]\n"),
        ("def f():\n  if a:\n      return (1 +\n          2)\n", "def f():\n if a:\n  return (1 +\n  2)\n"),
        ("if x: # c\n\ty\n\n\tz\n", "if x:\n y\n z\n"),
        ("  def f(self):\n      return self\n\n  x", " def f(self):\n  return self\n x"),
        ("x = 1;  # c\r\nif y:\r\n    z\r\n\r\n", "x =1;\r\nif y:\r\n z\r\n"),
        ("\ufeffx  =  a # c\n", "\ufeffx = a\n"),
        ("x = a\n\f\ndef f():\n\f    y\n", "x = a\ndef f():\n y\n"),
        ("x = (\n    'a'\n    # c\n    'b'\n)\n", "x = (\n 'a'\n 'b'\n)\n"),
        ("x = f'''{\n  y  # no\n}'''  # c\n", "x = f'''{\n  y  # no\n}'''\n"),
        ("@a # b\n\n# c\n@d\ndef f(): pass # e", "@a\n@d\ndef f(): pass"),
        ("print 'a'  # Python 2\n", "print 'a'\n"),
    ],
)  # fmt: skip
def test_python_corners(source: str, expected: str) -> None:
    result = compress(source)
    assert (result.text, result.warnings) == (expected, ())
    assert compress(expected).text == expected


@pytest.mark.parametrize(
    "source", ["", "\n\n", "# only\n# comments\n", '"""Only a docstring."""\n', "#!/bin/sh\n# c\n"]
)
def test_nothing_but_comments_stays(source: str) -> None:
    result = compress(source)
    assert result.text.strip() == source.strip()
    assert bool(result.warnings) == ("# c" in source or "Only" in source or "only" in source)


def test_this_package_is_the_same_program_afterwards() -> None:
    for path in sorted((REPO / "compressor_cli" / "core").glob("*.py")):
        source = path.read_text(encoding="utf-8")
        result = compress(source)
        assert same_tree(source, result.text), path
        assert result.level == "compact"
        assert COUNT(result.text) <= COUNT(source)
        assert compress(result.text).text == result.text


# --- what does not parse, or cannot be read


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(:\n    x  # stays   \n\n\n    y   \n", None),
        (">>> f(1)  # a session\n2\n\n>>> g()\n", None),
        ("x = 1   \n\n\ny = 2  # c\n\n)))\n\nz = 3\n", "x = 1\ny = 2  # c\n)))\nz = 3\n"),
    ],
)
def test_what_does_not_parse_keeps_its_comments(source: str, expected: str | None) -> None:
    assert not parses(source, "python")
    result = compress(source, "outline")
    assert result.level in ("whitespace", UNTOUCHED)
    assert "does not parse as python" in result.warnings[0]
    assert result.text.split() == source.split()
    assert expected in (None, result.text)


@pytest.mark.parametrize("source", ["x = 1 # c\ry = 2\n", "x = 1\0 # c\n", "x = '\ud800'  # c\n"])
def test_what_cannot_be_read_is_left_as_it_is(source: str) -> None:
    result = compress(source)
    assert (result.text, result.level) == (source, UNTOUCHED)
    assert "left as it is" in result.warnings[0]


def test_python_that_only_the_parser_does_not_know() -> None:
    source = "def f(a):  # gone\n    'Doc.'\n    return a, *(a)\n\ndef g():  # gone\n    pass\n"
    assert not parses(source, "python")
    result = compress(source)
    assert (result.level, result.comments) == ("compact", 3)
    assert "gone" not in result.text
    assert same_tree(source, result.text)


def test_most_of_a_c_file_does_not_suffer_from_its_macros() -> None:
    macro = "#define M(x) \\\n    do { x; /* m */ \\\n    } while (0)\n"
    source = ("int f(void)\n{\n    return 1;\n} // c\n" * 5 + macro + "int g; /* d */\n") * 3
    assert not parses(source, "c")
    result = compress(source, "compact", "c")
    assert (result.level, result.comments) == ("compact", 18)
    assert "as a whole" in result.warnings[0]
    assert "/* m */" in result.text
    assert "// c" not in result.text


def test_prose_is_not_taken_for_broken_c() -> None:
    source = (
        'See https://example.com/a, it\'s there.  \n\nThe price of "x" is 3 /* not 4 */ euros, they say; (or so\n' * 3
    )
    result = compress(source, "comments", "c")
    assert result.text.split() == source.split()


@pytest.mark.parametrize("source", [r"SELECT 'it\'s -- x', 3 FROM t; -- c", "# don't\nSELECT '-- x';\n"])
def test_sql_of_which_dialects_disagree_is_left_as_it_is(source: str) -> None:
    result = compress(source, "compact", "sql")
    assert (result.text, result.level) == (source, UNTOUCHED)


def test_unknown_languages_and_levels() -> None:
    for language in (None, "cobol"):
        result = compress_code("x  # y", language=language, level="compact")
        assert (result.text, result.language, result.level) == ("x  # y", language, UNTOUCHED)
        assert "no parser" in result.warnings[0]
    with pytest.raises(UsageError, match="no such level: smallest"):
        compress("x", "smallest")
    with pytest.raises(UsageError, match="no parser for cobol"):
        parses("x", "cobol")


# --- comments that stay


def test_comments_that_the_caller_wants_to_keep() -> None:
    source = "def f():\n    '''At most 3.'''\n    x  # gone\n    y  # limit 4\nclass A:\n    '''5 of them.'''\n"
    result = compress_code(source, language="python", level="compact", keep=lambda text: any(map(str.isdigit, text)))
    assert result.text == "def f():\n '''At most 3.'''\n x\n y # limit 4\nclass A:\n '''5 of them.'''\n"
    assert result.comments == 1


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("python", "#!/usr/bin/python\n# vim: set fileencoding=latin-1 :\nx\n"),
        ("python", '# /// script\n# dependencies = ["x"]\n# ///\nx\n'),
        ("python", "# cython: language_level=3\nx\n"),
        ("ruby", "# frozen_string_literal: true\nx\n"),
        ("go", "//go:build linux\n\npackage a\n//go:embed a.txt\nvar s string\n"),
        ("go", "// +build linux\n\npackage a\n"),
        ("go", 'package a\n// #include <a.h>\n// int x;\nimport "C"\n'),
        ("typescript", '/// <reference types="node" />\n// @ts-ignore\nlet x\n'),
        ("javascript", '/** @jsx h */\nimport(/* webpackChunkName: "x" */ "a")\n'),
        ("sql", "-- name: f :one\nSELECT /*+ HINT */ 1 /*! STRAIGHT_JOIN */;\n"),
        ("shell", "#!/bin/sh\n#SBATCH --time=1\nx\n"),
        ("java", "class A { // \\u000a int x;\n}\n"),
        ("swift", "// swift-tools-version:5.9\nlet x = y\n"),
    ],
)
def test_comments_that_are_code_stay(language: str, source: str) -> None:
    result = compress(source, "compact", language)
    assert (result.text, result.comments, result.warnings) == (source, 0, ())


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("python", "x\n# a\n# vim: set fileencoding=latin-1 :\ny\n"),  # says so only on the first two lines
        ("go", 'package a\n\n// apart\n\nimport "C"\n'),
        ("ruby", "x\n\n# encoding: utf-8\ny\n# note: frozen_string_literal: true\n"),
        ("sql", "-- names: many\nSELECT 1;\n"),
    ],
)
def test_comments_that_only_look_like_it_go(language: str, source: str) -> None:
    result = compress(source, "comments", language)
    assert result.level == "comments"
    assert not any(mark in result.text for mark in ("#", "//", "--"))


def test_blank_lines_that_mean_something_stay() -> None:
    go = 'package a\n\n// not the preamble\n\nimport "C"\n'
    assert compress(go, "whitespace", "go").text == 'package a\n// not the preamble\n\nimport "C"\n'
    cookie = "x\n\n# coding: latin-1\n"  # may not move to the second line
    assert compress(cookie, "whitespace").text == cookie


# --- languages


@pytest.mark.parametrize(
    ("hint", "path", "text", "expected"),
    [
        ("py", None, "", "python"),
        ("TSX", None, "", "typescript"),
        ("c++", None, "", "cpp"),
        ("C#", None, "", "csharp"),
        ("{.bash .numberLines}", None, "", "shell"),
        ("js{1,3}", None, "", "javascript"),
        ("rs,ignore", None, "", "rust"),
        ("yaml", None, "def f(): pass", None),
        ("", "a/b.test.mjs", "", "javascript"),
        (None, "Store.KT", "", "kotlin"),
        (None, "c", "a line of prose, no more than that", None),
        (None, None, "#!/usr/bin/env -S python3.12 -u\nx", "python"),
        (None, None, "#!/bin/sh\nx", "shell"),
        (None, None, "def f(x):\n    return x\n\nclass A:\n    pass\n", "python"),
        (None, None, "package main\n\nfunc main() {\n\tx := 1\n}\n", "go"),
        (None, None, "#include <stdio.h>\nint main(void) {\n    return 0;\n}\n", "c"),
        (None, None, "The quick brown fox jumps over the lazy dog. It was not amused.\n", None),
        (None, None, "", None),
    ],
)
def test_language_of(hint: str | None, path: str | None, text: str, expected: str | None) -> None:
    assert language_of(text, hint, path) == expected


def test_the_languages_of_the_domains_have_parsers() -> None:
    asked = {"python", "javascript", "typescript", "java", "go", "rust", "c", "cpp", "csharp", "ruby", "sql", "shell"}
    assert asked < set(LANGUAGES)
    assert all(language_of("", name) == name for name in LANGUAGES)
