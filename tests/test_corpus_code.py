"""Functions, classes and methods, in every language of the code engine."""

from __future__ import annotations

from pathlib import PurePath

import pytest

from compressor_cli.core.chunks import LONG, SHORT, Chunk, Sizes
from compressor_cli.core.code_chunks import (
    BROKEN,
    GENERATED,
    MINIFIED,
    TESTS,
    TRIVIAL,
    UNDEFINED,
    code_chunks,
    file_problem,
)
from compressor_cli.engines.code_languages import LANGUAGES
from compressor_cli.engines.code_parse import parse


def chunks(text: str, language: str, least: int = 1, most: int = 1000) -> list[Chunk]:
    return code_chunks(
        text, parse(text.encode(), language).tree, language, Sizes(least, most, lambda t: len(t.split()))
    )


# Each source, and the first line of each chunk: at a size that holds classes, then at one that does not.
SOURCES = {
    "python": (
        """\
import os

# About A.
@dec
class A:
    x = 1

    # About f.
    @property
    def f(self):
        a = self.x
        return a

    def g(self):
        for i in self: yield i
        return 2

z = 1  # behind z
async def h():
    await z
    return 1
""",
        ["# About A.", "async def h():"],
        ["# About f.", "def g(self):", "async def h():"],
    ),
    "javascript": (
        """\
/** About A. */
export default class A {
  f() { one(); return 1; }
  // About g.
  get g() { two(); return 2; }
}
const h = (x) => { x(); return 3; };
module.exports = { a() { b(); return 1; }, c: function () { d(); return 2; } };
describe("x", () => { one(); two(); });
""",
        [
            "/** About A. */",
            "const h = (x) => { x(); return 3; };",
            "a() { b(); return 1; }",
            "c: function () { d(); return 2; }",
        ],
        ["f() { one(); return 1; }", "// About g.", "const h = (x) => { x(); return 3; };"],
    ),
    "typescript": (
        """\
export abstract class A {
  @dec() f(): number { one(); return 1 }
}
export const g = async (x: number) => { one(); return x }
namespace N { export function h() { one(); return 2 } }
""",
        [
            "export abstract class A {",
            "export const g = async (x: number) => { one(); return x }",
            "namespace N { export function h() { one(); return 2 } }",
        ],
        [],
    ),
    "java": (
        """\
package a;
/** About A. */
public class A {
    /** About f. */
    @Override public int f() { int x = 1; return x; }
    A() { one(); two(); }
}
""",
        ["/** About A. */"],
        ["/** About f. */", "A() { one(); two(); }"],
    ),
    "go": (
        """\
package a

// F does
// more.
func F() int { x := 1; return x }

// T has it.
type T struct { a int; b int }

func (t T) G() { one(); two() }
""",
        ["// F does", "// T has it.", "func (t T) G() { one(); two() }"],
        [],
    ),
    "rust": (
        """\
/// About A.
#[derive(Debug)]
pub struct A { x: u8 }

impl A {
    /// About f.
    pub fn f(&self) -> u8 { one(); two() }
}
""",
        ["/// About A.", "impl A {"],
        [],
    ),
    "c": (
        """\
struct stat *s;
/* About f. */
static int f(void) { one(); return 1; }
#ifdef A
int g(void) { one(); return 2; }
#endif
""",
        ["/* About f. */", "int g(void) { one(); return 2; }"],
        [],
    ),
    "cpp": (
        """\
namespace a {
template <class T> class B { int f() { one(); return 1; } };
int B::g() { one(); return 2; }
}
""",
        ["template <class T> class B { int f() { one(); return 1; } };", "int B::g() { one(); return 2; }"],
        [],
    ),
    "csharp": (
        """\
namespace A {
    /// About B.
    public class B {
        [Attr] public int F() { One(); return 1; }
        int G() { One(); return 2; }
    }
}
""",
        ["/// About B."],
        ["[Attr] public int F() { One(); return 1; }", "int G() { One(); return 2; }"],
    ),
    "ruby": (
        """\
# About A.
module A
  # About f.
  def f(x)
    one
    two
  end
  def self.g; one; two; end
end
""",
        ["# About A."],
        ["# About f.", "def self.g; one; two; end"],
    ),
    "sql": ("-- About a.\nSELECT a FROM b;\nCREATE TABLE t (a int);\n", ["-- About a."], []),
    "shell": ("# About f.\nf() {\n  one\n  two\n}\necho hi\n", ["# About f."], []),
    "php": (
        "<?php\n/** About B. */\nclass B {\n  public function f() { one(); return 1; }\n}\n"
        "function g() { one(); return 2; }\n",
        ["/** About B. */", "function g() { one(); return 2; }"],
        [],
    ),
    "kotlin": (
        "// About A.\nclass A {\n  fun f(): Int {\n    one()\n    return 1\n  }\n}\n"
        "object B {\n  fun g() {\n    one()\n    two()\n  }\n}\n",
        ["// About A.", "object B {"],
        [],
    ),
    "swift": (
        "/// About A.\nstruct A {\n  func f() -> Int {\n    one()\n    return 1\n  }\n}\n"
        "extension A {\n  func g() {\n    one()\n    two()\n  }\n}\n",
        ["/// About A.", "extension A {"],
        [],
    ),
    "lua": (
        "local M = {}\n-- About f.\nfunction M.f(a) one(); return a end\n"
        "M.g = function() one(); return 1 end\nlocal h = function() one(); return 2 end\n",
        ["-- About f.", "M.g = function() one(); return 1 end", "local h = function() one(); return 2 end"],
        [],
    ),
    "css": (".a { color: red }\n\n@media print { .b { color: blue } }\n", [".a { color: red }"], []),
}  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_definitions_of_each_language(language: str) -> None:
    text, whole, by_methods = SOURCES[language]
    found = chunks(text, language)
    assert [chunk.text.splitlines()[0] for chunk in found] == whole
    assert [chunk.problem for chunk in found] == [None] * len(found)
    assert all(chunk.language == language and chunk.domain == "code" for chunk in found)
    if by_methods:
        found = [chunk for chunk in chunks(text, language, most=17) if chunk.problem is None]
        assert [chunk.text.splitlines()[0] for chunk in found][: len(by_methods)] == by_methods


def test_a_method_loses_its_indentation_and_keeps_its_place() -> None:
    text = (
        "class Ä:\n    def f(self):\n        a = 'ü'\n        return a\n\n    def g(self):\n"
        "        b = 2\n        return b\n"
    )
    first, second = chunks(text, "python", most=9)
    assert second.text == "def g(self):\n    b = 2\n    return b"
    assert text[second.start : second.end] == "    def g(self):\n        b = 2\n        return b"
    assert first.end < second.start


def test_a_comment_behind_other_code_or_apart_is_not_taken() -> None:
    text = "x = 1  # of x\ndef f():\n    y = 1\n    return y\n\n# Of nothing.\n\ndef g():\n    y = 1\n    return y\n"
    assert [chunk.text.splitlines()[0] for chunk in chunks(text, "python")] == ["def f():", "def g():"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('def f(self):\n    """Some words about what this returns."""\n    return self.x\n', TRIVIAL),
        ("def f():\n    pass\n", TRIVIAL),
        ("class A(Exception):\n    pass\n", TRIVIAL),
        ("def f():\n    return {\n        1: 2,\n    }\n", None),
        ("class A:\n    x: int\n    y: int\n", None),
        ("def test_it():\n    x = 1\n    assert x\n", TESTS),
        ("class A(unittest.TestCase):\n    def f(self):\n        x = 1\n        return x\n", TESTS),
        ("def f():\n    x = (1\n    return ]x\n", BROKEN),
        ("import os\nprint(os.getcwd())\n", UNDEFINED),
        ("print(1\n", BROKEN),
        ("def f():\n    " + "x = 1; " * 400 + "\n", LONG),
        ("class A:\n    " + "x = 1; " * 400 + "\n", LONG),
    ],
)
def test_what_is_not_taken(text: str, problem: str | None) -> None:
    assert {chunk.problem for chunk in chunks(text, "python")} == {problem}


def test_short_ones_are_told() -> None:
    assert [chunk.problem for chunk in chunks("def f():\n    x = 1\n    return x\n", "python", least=50)] == [SHORT]


def test_what_a_syntax_error_swallows_is_told() -> None:
    text = "def f(a):\n    b = a\n    return b\n\ndef g(a:\n    x = [1\n\ndef h(a):\n    c = a\n    return c\n"
    first, second = chunks(text, "python")
    assert (first.text.splitlines()[0], first.problem) == ("def f(a):", None)
    assert second.problem == BROKEN and "def h(a):" in text[second.start : second.end]


def test_tests_within_a_rust_file() -> None:
    text = "fn f() { one(); two() }\n#[cfg(test)]\nmod tests {\n  #[test]\n  fn g() { one(); two() }\n}\n"
    assert [chunk.problem for chunk in chunks(text, "rust")] == [None, TESTS]


@pytest.mark.parametrize(
    ("path", "text", "problem"),
    [
        ("src/a.py", "x = 1\n", None),
        ("src/contest.py", "x = 1\n", None),
        ("src/latest.js", "x = 1\n", None),
        ("tests/a.py", "x = 1\n", TESTS),
        ("src/test_a.py", "x = 1\n", TESTS),
        ("a_test.go", "x = 1\n", TESTS),
        ("a.spec.ts", "x = 1\n", TESTS),
        ("ATest.java", "x = 1\n", TESTS),
        ("a.go", "// Code generated by protoc. DO NOT EDIT.\n", GENERATED),
        ("a.js", "/* @generated */\n", GENERATED),
        ("a_pb2.py", "x = 1\n", GENERATED),
        ("a.py", "\n" * 20 + "# @generated\n", None),
        ("a.js", "x=1;" * 400 + "\n", MINIFIED),
        ("a.js", "x = 1\n" * 100 + "y" * 4000 + "\n", MINIFIED),
    ],
)
def test_files_of_which_nothing_is_taken(path: str, text: str, problem: str | None) -> None:
    assert file_problem(PurePath(path), text) == problem


def test_a_deep_tree_does_no_harm() -> None:
    assert [chunk.problem for chunk in chunks("(" * 20_000, "javascript")] == [BROKEN]
