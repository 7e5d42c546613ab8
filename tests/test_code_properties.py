"""Whatever comes in: nothing crashes, nothing grows, and what parsed parses."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_code_languages import SOURCES, leaves

from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.code import LANGUAGES, LEVELS, compress_code, language_of, parses

COUNT = token_counter().count

languages = st.sampled_from(LANGUAGES)
levels = st.sampled_from(LEVELS)
marks = st.text(st.sampled_from(" \t\n\r\f\\'\"`#/*-$(){}[]<>=:,;!@.|&%0a_é\u2028\ufeff\ud800"), max_size=60)

latin = st.binary(max_size=80).map(lambda raw: raw.decode("latin-1"))


@st.composite
def pieces(draw: st.DrawFn) -> tuple[str, str]:
    """Sources cut anywhere, and cuts of several languages side by side."""
    language = draw(languages)
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        source = SOURCES[language if draw(st.booleans()) else draw(languages)]
        start = draw(st.integers(0, len(source)))
        parts.append(source[start : start + draw(st.integers(0, len(source)))])
    return language, draw(st.sampled_from(["", "\n", " "])).join(parts)


def check(text: str, language: str, level: str) -> None:
    result = compress_code(text, language=language, level=level)
    assert COUNT(result.text) <= COUNT(text)
    assert compress_code(text, language=language, level=level) == result
    if result.level in ("none", "outline"):
        return
    if parses(text, language):
        assert parses(result.text, language)
        assert compress_code(result.text, language=language, level=level).text == result.text
    elif result.level == "whitespace":
        assert result.text.split() == text.removeprefix("\ufeff").split() or text.startswith("\ufeff")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.text(max_size=80) | marks | latin, language=languages, level=levels)
def test_any_text(text: str, language: str, level: str) -> None:
    check(text, language, level)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(piece=pieces(), level=levels)
def test_cut_and_mixed_sources(piece: tuple[str, str], level: str) -> None:
    check(piece[1], piece[0], level)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60) | marks | pieces().map(lambda piece: piece[1]), path=st.none() | st.text(max_size=8))
def test_a_language_is_one_of_those_there_are(text: str, path: str | None) -> None:
    assert language_of(text, None, path) in (None, *LANGUAGES)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_comments_and_blanks_anywhere_between_statements(data: st.DataObject) -> None:
    """Python whose statements are known: what is put between them goes again."""
    depths = [0]
    for _ in range(data.draw(st.integers(1, 12))):
        depths.append(data.draw(st.integers(0, depths[-1] + 1)))
    lines: list[str] = []
    width = data.draw(st.integers(1, 5))
    for i, depth in enumerate(depths):
        opens = i + 1 < len(depths) and depths[i + 1] > depth
        lines += data.draw(
            st.lists(st.sampled_from(["", "   ", "# gone", "        # gone 'x", "\t# gone"]), max_size=2)
        )
        statement = (
            f"while x{i}:" if opens else data.draw(st.sampled_from([f"x{i} = 'a # b'", f"f(x{i},\n  1)", f"'s{i}'"]))
        )
        indent = " " * (width * depth)
        lines.append(indent + statement + data.draw(st.sampled_from(["", "  # gone", "  "])))
    source = "\n".join(lines) + "\n"
    assert parses(source, "python")
    result = compress_code(source, language="python", level="compact")
    kept = "'s0'" in lines[0] and len(depths) == 1
    assert ("gone" in result.text) <= kept
    if result.level == "compact":
        strings = [leaf for leaf in leaves(source, "python") if leaf.startswith(b"'s0'")]
        dropped = 1 if strings and not result.text.startswith("'s0'") else 0
        assert leaves(result.text, "python") == leaves(source, "python")[dropped:]


@pytest.mark.parametrize(
    ("language", "source"),
    [
        ("python", "(" * 20_000 + ")" * 20_000),
        ("python", "x = " + "-" * 20_000 + "1\n"),
        ("javascript", "x = " + "a + " * 20_000 + "a;  // c\n"),
        ("c", "{" * 20_000 + "}" * 20_000),
        ("python", "".join(" " * i + "if x:\n" for i in range(90)) + " " * 90 + "y  # c\n"),
        ("javascript", '!function(e,t){for(var n=1;n<10;n++)t[n]=e(n)+"x";return t}(a,[]);' * 2_000),
        ("cpp", "the quick < brown > fox ; ' \" ( " * 1_000),
    ],
)
def test_depth_and_length(language: str, source: str) -> None:
    result = compress_code(source, language=language, level="compact")
    assert COUNT(result.text) <= COUNT(source)
