"""Every language: the leaves of the program stay what and where they are, whatever looks like a comment."""

from __future__ import annotations

import pytest
from tree_sitter import Node

from compressor_cli.engines.code import LANGUAGES, LEVELS, compress_code, parses
from compressor_cli.engines.code_languages import grammars

SOURCES = {
    "python": """\
# gone
def f(a, b=1):  # gone
    s = "# stays", 'it''s # stays', f"{a!r} # stays", r'\\# stays'
    t = '''  # stays

      stays   ''' ; u   =   {1: 2, 3: [4, 5]}
    if a: pass  # gone
    # gone
    elif (b and  # gone

          a): x = a \\
              + b
    else:
\tlambda: (yield)
    return not -a ** -b  # gone
""",
    "javascript": """\
#!/usr/bin/env node
"use strict";  // gone
/* gone */ const re = /\\/\\/ stays "/g, s = "// stays", t = `
   /* stays */  ${s /* stays */}

  `;
function f(x) {
    return /* gone
  but ends the line */ x
}
let b = re // gone
/* gone */ ++f
let c = b/**/+/**/+b, d   =   [1, 2, /* gone */ 3];
export const V = () => (
  <div   className="a  b">
    {/* gone */}
    text  // stays
      {a} <b/> {b}
    <i>1</i>   <i>2</i>
  </div>
)
""",
    "typescript": """\
import type { A } from './a' // gone
const x: Record<string,   number> = { a: 1, /* gone */ b: 2 }
type T = `// stays  ${string}`
abstract class C<T> { /* gone */
    private readonly x?: number = 3;
    @dec() get y(): T { return this.x! as T } // gone
}
""",
    "java": """\
package a.b; /* gone */
/** gone {@code x} */
public class A<T extends Comparable<T>> {
    // gone "quote
    private static final String S = "// stays /* stays */", B = \"\"\"
        text   block // stays

        \"\"\";
    char c = '"', d = '\\'';  /* gone */
    @Override public int f(int... xs) { return xs.length > 0 ? xs[0] : - /* gone */ -1; }
}
""",
    "go": """\
// gone
package a

import "fmt" // gone

func F(a, b int) (x int, err error) {
    raw := `// stays
      /* stays */  `
    r := '"' // gone
    x = a /* gone
    but ends the line */
    y := []int{1, 2, /* gone */ 4}
    fmt.Println(raw, r, "// stays", y)
    return
}
""",
    "rust": """\
#![allow(dead_code)]
//! gone
/// gone "quote
#[derive(Debug)]
pub struct P<'a> { x: &'a str, /* gone /* gone */ gone */ y: char }
fn f() -> i32 {
    let r = r#"raw " // stays  /* "#; let c = '"'; let b = b"// stays";
    println!("{}  {}", r, /* gone */ c); // gone
    vec![1, 2, 3].iter().map(|x| x + 1).sum::<i32>()
}
macro_rules! m { ($($x:expr),*) => { /* gone */ [$($x),*] }; }
""",
    "c": """\
/* gone */
#include <stdio.h>  /* gone */
#define F(x)   ((x) + 1) // stays
#define G /* gone */ (2)
#ifdef X /* gone */
# define Y   1
#endif // gone
// gone \\
   gone too
static const char *s = "/* stays */ // stays \\" // stays", c = '"'; /* gone
gone */ int z;
int f(int a,
      int b)
{
    return a/**/-/**/-b; // gone
}
""",
    "cpp": """\
#pragma once
template <typename T, int N = 3>  // gone
class A : public B<T> { /* gone */
public:
    A() : x_{0} {} // gone
    auto s() const -> std::string { return R"x(// stays " )" /* stays */)x"; }
    int big = 1'000'000; // gone, isn't it
private:
    int x_; /* gone */ int y_;
};
""",
    "csharp": """\
#region A // stays
using System; // gone
/// <summary>gone</summary>
namespace N {
#if DEBUG // gone
    class A { string v = @"// stays ""  /* stays */
   second", i = $"a {x /* stays */} // stays", r = \"\"\"
      raw // stays
      \"\"\"; /* gone */ char c = '"'; }
#endif
}
#endregion
""",
    "ruby": """\
# gone
=begin
gone # gone
=end
class A < B # gone
  R = %r{# stays /}x; W = %w[a   # stays]
  def f(x = 1, *rest, k: 2) # gone
    s = "# stays #{x # stays
    }"
    t = <<~ONE + <<-'TWO' # gone
      one # stays

      #{s}
    ONE
      two  # stays
      TWO
    x.map { |y| y ** 2 }
      # gone
      .select(&:odd?)
    a = x ? 1 : 2
  end
end
__END__
data # stays

""",
    "sql": """\
/* gone */ SELECT a, 'it''s -- stays', "b /* stays */"  -- gone
FROM t JOIN u ON t.id   =   u.id
WHERE x <= 3 AND y IN (1, 2, 3); -- gone

CREATE FUNCTION f() RETURNS int AS $$
BEGIN
  -- stays
  RETURN 1;
END $$ LANGUAGE plpgsql;
""",
    "shell": """\
# gone
set -euo pipefail # gone
x="# stays  $(echo "# stays") $#"   y='# stays'
echo a   b#stays  ${x#stays}   ${y:-a  b} # gone
cat <<EOF | grep x   # gone
# stays

  $x
EOF
cat <<-'END' > out
\t# stays
\tEND


if [[ $x =~ ^a\\ +b# ]]; then   # gone
    foo --opt \\
        --other   value \\
        # gone, and ends the command
    for i in 1 2 3; do echo "$i"; done
fi
case $x in # gone
  a) echo a ;; # gone
  *) ;;
esac
""",
    "php": """\

<html>  <?php
# gone
// gone ?>
  <b>  stays </b>  <?= $a  /* gone */ ?>

<?php
#[Attr]
/** gone */
function f(int $a = 1, ?string $b = null): array { // gone
    $s = "// stays {$a}  # stays"; $t = <<<EOT
      # stays  // stays

      EOT;
    $n = <<<'X'
 /* stays */
X;
    return ['a' => 1, 'b' => $a ? 2 : 3]; /* gone */
}
""",
    "kotlin": """\
package a // gone
/** gone /* gone */ gone */
data class P(val x: Int = 1, /* gone */ val y: String = "// stays $x ${x + 1 /* stays */}")
fun f(a: Int): Int {
    val s = \"\"\"
      // stays   /* stays */
    \"\"\"
    val z = a /* gone
    gone */ + 2
    return a
        // gone
        .let { it + 1 }
}
""",
    "swift": """\
import Foundation // gone
/* gone /* gone */ gone */
struct P { /// gone
    let x: Int = 1 /* gone */
    let y = #"raw " // stays"#
    var s: String { return "// stays \\(x /* stays */)" }
    func f(_ a: Int...) -> Int { a.reduce(0, +) /* gone */ }
    let m = \"\"\"
      // stays

      \"\"\"
}
""",
    "lua": """\
--[[ gone
gone ]] local a = [[ -- stays
  ]] -- gone
--[==[ gone ]] ]==]
local function f(x, ...) return "-- stays", x // 2 end -- gone
""",
    "css": """\
@charset "utf-8"; /* gone */
a  b, a>b /* gone */ c { margin: 0 1px; /* gone */ content: "/* stays */";
   background: url(http://stays.example/z); color: #fff }
""",
}


def leaves(source: str, language: str) -> list[bytes]:
    """What is no comment and no white space, by the parser alone."""
    encoded = source.encode()
    tree = next(tree for tree in (g.parse(encoded) for g in grammars(language)) if not tree.root_node.has_error)
    found: list[bytes] = []
    waiting: list[Node] = [tree.root_node]
    while waiting:
        node = waiting.pop()
        if "comment" in node.type or node.type in ("marginalia", "line_continuation"):
            continue
        text = encoded[node.start_byte : node.end_byte]
        if node.children and "string" not in node.type and "heredoc_body" not in node.type:
            waiting.extend(reversed(node.children))
        elif text.strip():
            found.append(text)
    return found


@pytest.mark.parametrize("language", SOURCES)
@pytest.mark.parametrize("level", LEVELS[:3])
def test_the_leaves_stay(language: str, level: str) -> None:
    source = SOURCES[language]
    assert parses(source, language)
    result = compress_code(source, language=language, level=level)
    assert (result.level, result.warnings, result.language) == (level, (), language)
    assert parses(result.text, language)
    assert leaves(result.text, language) == leaves(source, language)
    assert len(result.text) < len(source) or level == "whitespace"
    assert result.text.count("stays") == source.count("stays")
    assert ("gone" in result.text) == (level == "whitespace")
    assert compress_code(result.text, language=language, level=level).text == result.text


@pytest.mark.parametrize("language", SOURCES)
def test_line_ends_stay(language: str) -> None:
    source = SOURCES[language].replace("\n", "\r\n")
    if not parses(source, language):
        pytest.skip("the parser does not know these line ends")
    text = compress_code(source, language=language, level="compact").text
    # To the Ruby parser, the carriage return between a comment and a heredoc is the comment's.
    assert text.count("\n") - text.count("\r\n") == (language == "ruby")
    assert "gone" not in text


def test_every_language_has_a_source() -> None:
    assert set(SOURCES) == set(LANGUAGES)


@pytest.mark.parametrize(
    ("language", "source", "expected"),
    [
        ("javascript", "function f() { return /* x\n */ y }\n", "function f() { return\ny }\n"),
        ("javascript", "f(a /* x */, /* y */ b)\n", "f(a, b)\n"),
        ("javascript", "return/**/x\n", "return x\n"),
        ("javascript", "<a> <b/>  {x}</a>\n", "<a> <b/>  {x}</a>\n"),
        ("typescript", "const a = <T,>(x: T) => <i>{/* c */}</i>\n", "const a = <T,>(x: T) => <i>{}</i>\n"),
        ("go", "var x = 1 /* a\nb */\nvar y = 2\n", "var x =1\nvar y =2\n"),
        ("c", "#define F /* c */ (x)\n", "#define F (x)\n"),
        ("c", "#define A 1 /* c\n c */ + 2\nint  x;\n", "#define A 1  + 2\nint x;\n"),
        ("c", "int a = b - /**/ -1;\n", "int a = b - -1;\n"),
        ("cpp", "vector<vector<int> > a; // c\n", "vector<vector<int> > a;\n"),
        ("c", "{\n    if (a)\n    {\n        b;\n#ifdef X\n        c;\n#endif\n    }\n}\n",
              "{\n if (a)\n {\n  b;\n#ifdef X\n  c;\n#endif\n }\n}\n"),
        ("shell", "a \\\n\n\nb  # c\n", "a \\\n\n\nb\n"),
        ("shell", "if [ a = 3 ]; then # c\n  b\nfi\n", "if [ a = 3 ]; then\n b\nfi\n"),
        ("ruby", "x = y  # c\n  .z\n", "x = y\n .z\n"),
        ("ruby", "puts  -1, [1, 2]\n", "puts -1, [1,2]\n"),
        ("sql", "SELECT 5--3\n, 1 -- c\n;\n", "SELECT 5--3\n,1\n;\n"),
        ("php", "$x = 1; // no tag\n", "$x =1;\n"),
        ("php", "\n<?php\n\n\n$x = 1; ?>\n\n", "\n<?php\n$x =1; ?>\n\n"),
        ("css", "a /* b */ c{}\n", "a c{}\n"),
        ("kotlin", "   val a = b\n    val c = d\n", " val a = b\n  val c = d\n"),
        ("swift", "let x = 1 // c\n", "let x = 1\n"),
    ],
)  # fmt: skip
def test_corners(language: str, source: str, expected: str) -> None:
    assert compress_code(source, language=language, level="compact").text == expected
    assert compress_code(expected, language=language, level="compact").text == expected


BODIES = {  # a body of three lines in its place, and what stands around it
    "java": ("class A {\n  A() {\n%s  }\n  abstract void g();\n}\n", "class A {\n A() {%s}\n abstract void g();\n}\n"),
    "javascript": ("const f = async (a) => {\n%s};\n", "const f = async (a) => {%s};\n"),
    "typescript": ("class A { f(a: string): void {\n%s } }\n", "class A { f(a: string): void {%s} }\n"),
    "go": ("package a\nfunc (t *T) F() error {\n%s}\n", "package a\nfunc (t *T) F() error {%s}\n"),
    "rust": ("impl A {\n  fn f(&self) {\n%s  }\n}\n", "impl A {\n fn f(&self) {%s}\n}\n"),
    "c": ("int f(int a)\n{\n%s}\n", "int f(int a)\n{%s}\n"),
    "cpp": ("struct A { A() : x(1) {\n%s } };\n", "struct A { A() : x(1) {%s} };\n"),
    "csharp": (
        "class A { int P { get { return 1; } set {\n%s } } }\n",
        "class A { int P { get { return 1; } set {%s} } }\n",
    ),
    "php": ("<?php\nfunction f() {\n%s}\n", "<?php\nfunction f() {%s}\n"),
    "kotlin": (
        "class A {\n  fun f(): Int {\n%s  }\n  fun g() = x\n}\n",
        "class A {\n fun f(): Int {%s}\n fun g() = x\n}\n",
    ),
    "swift": ("func f() -> Int {\n%s}\n", "func f() -> Int {%s}\n"),
    "shell": ("f() {\n%s}\nf\n", "f() {%s}\nf\n"),
    "ruby": ("def f(a)\n%send\n", "def f(a)\n%s\nend\n"),
    "lua": ("local function f(a)\n%send\n", "local function f(a)\n%s\nend\n"),
}
MARKERS = {"ruby": " ... # 3 lines", "lua": " ... -- 3 lines"}
CALLS = {
    "shell": "    first_of_all one\n    second_of_all two\n    third_of_all three\n",
    "ruby": "  first_of_all(1)\n  second_of_all(2)\n  third_of_all(3)\n",
}


@pytest.mark.parametrize("language", BODIES)
def test_outlines(language: str) -> None:
    before, after = BODIES[language]
    source = before % CALLS.get(language, "    firstOfAll(1);\n    secondOfAll(2);\n    thirdOfAll(3);\n")
    assert parses(source, language)
    result = compress_code(source, language=language, level="outline")
    assert result.text == after % (MARKERS.get(language) or " ... 3 lines ")
    assert (result.level, result.lines_left_out, result.warnings) == ("outline", 3, ())
    assert compress_code(result.text, language=language, level="outline").text == result.text


@pytest.mark.parametrize("language", SOURCES)
@pytest.mark.parametrize("level", LEVELS)
def test_pinned_ends_stay(language: str, level: str) -> None:
    """Cut at every line: what is pinned stays to the byte, the rest has no comment left, and the whole parses."""
    source = SOURCES[language]
    lines = source.splitlines(keepends=True)
    for n in range(1, len(lines)):
        head, rest = "".join(lines[:n]), "".join(lines[n:])
        first = compress_code(source, language=language, level=level, pinned=(len(head), 0))
        last = compress_code(source, language=language, level=level, pinned=(0, len(rest)))
        assert first.text.startswith(head.rstrip()) and last.text.endswith(rest)
        for result in (first, last):
            if level != "outline":
                assert parses(result.text, language)
                assert leaves(result.text, language) == leaves(source, language)
        left = first.text.removeprefix(head.rstrip()).count("gone")
        assert level == "whitespace" or left <= 2 or first.warnings  # a comment may begin in the head


def test_a_language_without_an_outline_says_so() -> None:
    result = compress_code(SOURCES["sql"], language="sql", level="outline")
    assert result.level == "compact"
    assert result.warnings == ("sql has no outline here: compact instead",)
