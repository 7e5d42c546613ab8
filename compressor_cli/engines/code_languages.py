"""What the code engine must know of a language beyond its parser, and how the parsers are loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tree_sitter

_NEVER = r"(?!)"


@dataclass(frozen=True)
class Language:
    """Kinds are tree-sitter's names of nodes.

    `atoms` are kept byte for byte, whatever stands in them. `glued` atoms also keep the white space before them.
    `keep` matches comments that change how the program runs or builds, `head` those that do so in the first two lines.
    `lexed` matches a comment (its first group) or a token without a parser's help, in languages simple enough for that.
    `doubtful`: dialects differ in where a string ends.
    `tight`: a space may go between one of these bytes and a number. `wraps`: a comment with a line break in it ends a
    statement as the break would. `functions` hold a child of a kind in `bodies`, which an outline leaves out.
    """

    name: str
    aliases: str
    extensions: str
    grammars: tuple[str, ...]
    comments: str = "comment"
    atoms: str = ""
    glued: str = ""
    keep: str = _NEVER
    head: str = r"#!"
    tight: bytes = b",=<>:"
    wraps: bool = False
    lexed: str = ""
    doubtful: str = _NEVER
    functions: str = ""
    bodies: str = "block"
    marker: str = "{{ ... {} }}"

    @property
    def indented(self) -> bool:
        """Indentation is syntax."""
        return self.name == "python"


_C_ATOMS = "string_literal char_literal raw_string_literal system_lib_string preproc_arg"
_C_LEXED = (
    r"(?s)(//(?:\\\r?\n|[^\n])*|/\*.*?\*/)|(?:u8|[uUL])?R\"(?P<end>[^()\\\s]{0,16})\(.*?\)(?P=end)\""
    r"|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|\d(?:'?[\w.])*|\w+|\S"
)
_SQL_LEXED = r"(?s)(--[^\n]*|/\*.*?\*/)|'(?:''|[^'\n])*'|\"[^\"\n]*\"|`[^`\n]*`|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|\w+|\S"
_JS_ATOMS = "string template_string template_literal_type regex jsx_text hash_bang_line"
_JS_KEEP = r"//[/ ]*<(?:reference|amd-)|/[/*]+\s*@ts-|/\*+[\s*]*@jsx|/[/*]+\s*(?:webpack[A-Z]|@vite-ignore)"
_JS_FUNCTIONS = (
    "function_declaration function_expression generator_function generator_function_declaration arrow_function "
    "method_definition"
)
_OUTLINED = r"|# \d+ lines?$"  # what an outline says of a body that it left out

_LANGUAGES = (
    Language(
        "python", "py py3 python3 pyi py2 python2", "py pyi pyw", ("tree_sitter_python",),
        atoms="string",
        keep=r"# ?(?:cython|distutils) ?:" + _OUTLINED, head=r"#!|#.*?coding[:=]",
        functions="function_definition", marker="... # {}",
    ),
    Language(
        "javascript", "js jsx mjs cjs node es6 ecmascript", "js jsx mjs cjs", ("tree_sitter_javascript",),
        comments="comment html_comment", atoms=_JS_ATOMS, keep=_JS_KEEP, wraps=True,
        functions=_JS_FUNCTIONS, bodies="statement_block",
    ),
    Language(
        "typescript", "ts tsx mts cts", "ts tsx mts cts",
        ("tree_sitter_typescript.language_typescript", "tree_sitter_typescript.language_tsx"),
        comments="comment html_comment", atoms=_JS_ATOMS, keep=_JS_KEEP, wraps=True,
        functions=_JS_FUNCTIONS, bodies="statement_block",
    ),
    Language(
        "java", "jsh", "java", ("tree_sitter_java",),
        comments="line_comment block_comment", atoms="string_literal character_literal template_expression",
        keep=r"(?s).*\\u+00",  # an escape can end a comment
        functions="method_declaration constructor_declaration compact_constructor_declaration static_initializer "
        "lambda_expression",
        bodies="block constructor_body",
    ),
    Language(
        "go", "golang", "go", ("tree_sitter_go",),
        atoms="interpreted_string_literal raw_string_literal rune_literal", wraps=True,
        keep=r"//(?:go:|line |export |extern )|/\*line |// ?\+build",
        functions="function_declaration method_declaration func_literal",
    ),
    Language(
        "rust", "rs", "rs", ("tree_sitter_rust",),
        comments="line_comment block_comment", atoms="string_literal raw_string_literal char_literal shebang",
        functions="function_item closure_expression",
    ),
    Language(
        "c", "h", "c h", ("tree_sitter_c", "tree_sitter_cpp"),
        atoms=_C_ATOMS, lexed=_C_LEXED, functions="function_definition", bodies="compound_statement",
    ),
    Language(
        "cpp", "c++ cc cxx hpp hxx c++11 c++17 c++20", "cpp cc cxx hpp hh hxx", ("tree_sitter_cpp",),
        atoms=_C_ATOMS, lexed=_C_LEXED,
        functions="function_definition lambda_expression", bodies="compound_statement",
    ),
    Language(
        "csharp", "cs c# dotnet", "cs csx", ("tree_sitter_c_sharp",),
        atoms="string_literal verbatim_string_literal raw_string_literal interpolated_string_expression "
        "character_literal preproc_arg shebang_directive",
        functions="method_declaration constructor_declaration destructor_declaration operator_declaration "
        "conversion_operator_declaration local_function_statement accessor_declaration lambda_expression "
        "anonymous_method_expression",
    ),
    Language(
        "ruby", "rb jruby", "rb rake gemspec", ("tree_sitter_ruby",),
        atoms="string string_array symbol_array delimited_symbol regex subshell heredoc_body character uninterpreted",
        keep=r"# ?(?:-\*- ?)?(?:frozen_string_literal|warn_indent|shareable_constant_value) ?:" + _OUTLINED,
        head=r"#!|#.*?coding[:=]|#\\ ",
        tight=b",=<>",
        functions="method singleton_method", bodies="body_statement", marker="... # {}",
    ),
    Language(
        "sql", "mysql postgres postgresql psql plpgsql sqlite tsql pgsql mariadb bigquery", "sql ddl",
        ("tree_sitter_sql",),
        comments="comment marginalia", atoms="literal function_body",
        keep=r"/\*[+!]|--[+\d]|--\s*(?:name ?:|\+\w+ |migrate:|liquibase |changeset |rollback )",
        lexed=_SQL_LEXED, doubtful=r"(?m)\\['\"`]|^\s*#",
        tight=b",=<>",
    ),
    Language(
        "shell", "sh bash zsh ksh shellscript", "sh bash zsh ksh", ("tree_sitter_bash",),
        atoms="string raw_string ansi_c_string translated_string regex expansion heredoc_content",
        glued="heredoc_body heredoc_end",
        keep=r"#(?:SBATCH|PBS|BSUB|OAR|COBALT|MSUB|\$) ", head=r"#!|#(?:compdef|autoload)\b", tight=b"",
        functions="function_definition", bodies="compound_statement",
    ),
    Language(
        "php", "php3 php7 php8", "php phtml", ("tree_sitter_php.language_php", "tree_sitter_php.language_php_only"),
        atoms="string encapsed_string heredoc nowdoc shell_command_expression", glued="text text_interpolation php_tag",
        functions="function_definition method_declaration anonymous_function", bodies="compound_statement",
    ),
    Language(
        "kotlin", "kt kts", "kt kts", ("tree_sitter_kotlin",),
        comments="line_comment block_comment",
        atoms="string_literal multiline_string_literal character_literal shebang",
        functions="function_declaration secondary_constructor anonymous_initializer anonymous_function getter setter",
        bodies="function_body block",
    ),
    Language(
        "swift", "", "swift", ("tree_sitter_swift",),
        comments="comment multiline_comment",
        atoms="line_string_literal multi_line_string_literal raw_string_literal regex_literal shebang_line",
        head=r"// ?swift-tools-version", tight=b",", wraps=True,
        functions="function_declaration init_declaration deinit_declaration computed_getter computed_setter",
        bodies="function_body",
    ),
    Language(
        "lua", "luau", "lua", ("tree_sitter_lua",),
        atoms="string hash_bang_line", keep=r"-- \d+ lines?$",
        functions="function_declaration function_definition", marker="... -- {}",
    ),
    Language("css", "", "css", ("tree_sitter_css",), atoms="string_value js_comment", tight=b",:"),
)  # fmt: skip

_BY_NAME = {language.name: language for language in _LANGUAGES}
_BY_ALIAS = {alias: item.name for item in _LANGUAGES for alias in (item.name, *item.aliases.split())}
_BY_EXTENSION = {extension: item.name for item in _LANGUAGES for extension in item.extensions.split()}
LANGUAGES: tuple[str, ...] = tuple(_BY_NAME)

COMMENT, ATOM, GLUED, SPACE, FUNCTION, BODY = range(6)
_ERROR = 65535  # tree-sitter's number for what it could not parse


@dataclass(frozen=True)
class Grammar:
    """`roles` says what to do with a node by the number of its kind; those without a role are plain syntax."""

    language: Language
    parser: tree_sitter.Language
    roles: dict[int, int]
    comments_kept: re.Pattern[bytes]
    head_kept: re.Pattern[bytes]
    doubtful: re.Pattern[bytes]

    def parse(self, source: bytes) -> tree_sitter.Tree:
        from tree_sitter import Parser

        return Parser(self.parser).parse(source)

    def kind(self, name: str) -> int:
        return self.parser.id_for_node_kind(name, True) or 0


def grammars(language: str) -> list[Grammar]:
    """In the order in which they are to be tried."""
    return [_grammar(language, name) for name in _BY_NAME[language].grammars]


def named(hint: str) -> str | None:
    """The language that a fence, a flag or the like names."""
    words = hint.strip().lower().lstrip("{.").split(maxsplit=1)
    return _BY_ALIAS.get(re.split(r"[,:;{}]", words[0])[0]) if words else None


def by_extension(path: str) -> str | None:
    return _BY_EXTENSION.get(PurePath(path).suffix[1:].lower())


@lru_cache(maxsize=64)
def _grammar(language: str, name: str) -> Grammar:
    from tree_sitter import Language as Parsed

    module, _, function = name.partition(".")
    loaded = Parsed(getattr(import_module(module), function or "language")())
    known = _BY_NAME[language]
    by_name = {
        kind: role
        for role, kinds in (
            (BODY, known.bodies),
            (FUNCTION, known.functions),
            (ATOM, known.atoms),
            (GLUED, known.glued),
            (COMMENT, known.comments),
            (SPACE, "line_continuation"),
        )
        for kind in kinds.split()
    }
    roles = {_ERROR: ATOM}
    for number in range(loaded.node_kind_count):
        kind = loaded.node_kind_for_id(number) or ""
        if loaded.node_kind_is_named(number):
            if kind in by_name:
                roles[number] = by_name[kind]
        elif not kind.strip():
            roles[number] = SPACE
    keep, head, doubtful = (re.compile(pattern.encode()) for pattern in (known.keep, known.head, known.doubtful))
    return Grammar(known, loaded, roles, keep, head, doubtful)
