"""Pieces of Markdown and text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor_cli.core.chunks import FIGURES, LONG, SHORT, Chunk, FrontMatter, Sizes, front_matter, prose_chunks
from compressor_cli.core.conversations import conversation_chunks, transcript
from compressor_cli.core.tokens import token_counter


def words(text: str) -> int:
    return len(text.split())


def sizes(least: int, most: int) -> Sizes:
    return Sizes(least, most, words)


def taken(text: str, least: int, most: int) -> list[str]:
    return [chunk.text for chunk in prose_chunks(text, sizes(least, most)) if chunk.problem is None]


def test_paragraphs_are_packed_up_to_the_greatest_size() -> None:
    assert taken("a b c\n\nd e f\n\n\ng h i\n", 2, 6) == ["a b c\n\nd e f", "g h i"]


def test_a_heading_stays_with_what_follows() -> None:
    assert taken("a b c\n\n## One\n\nd e f\n\nTwo\n===\ng h i j\n", 3, 7) == [
        "a b c",
        "## One\n\nd e f",
        "Two\n===\ng h i j",
    ]


def test_a_short_rest_goes_with_what_is_before_it_or_is_dropped_by_name() -> None:
    assert taken("a b c d\n\ne\n", 3, 5) == ["a b c d\n\ne"]
    found = prose_chunks("a b c d e\n\nf\n", sizes(3, 5))
    assert [(chunk.text, chunk.problem) for chunk in found] == [("a b c d e", None), ("f", SHORT)]


FENCE = "```py\nx = one\n\ny = two\n```"


@pytest.mark.parametrize("mark", ["```", "~~~~"])
@pytest.mark.parametrize("indent", ["", "   ", "- ", "> "])
def test_a_fence_is_never_cut(mark: str, indent: str) -> None:
    fence = "\n".join([f"{indent}{mark}py", "x = one", "", "# no heading", "", f"{indent.replace('-', ' ')}{mark}"])
    text = f"a b c\n\n{fence}\n\nd e f\n"
    for most in range(4, 30):
        for chunk in prose_chunks(text, sizes(1, most)):
            assert chunk.text.count(mark) in (0, 2)
    assert any(chunk.problem == LONG for chunk in prose_chunks(text, sizes(1, 4)))


def test_a_large_paragraph_is_cut_at_lines_then_sentences() -> None:
    assert taken("One two three. Four five.\nSix seven eight.\n", 1, 5) == [
        "One two three. Four five.",
        "Six seven eight.",
    ]
    assert taken("One two three. Four five six.", 1, 4) == ["One two three.", "Four five six."]
    assert [c.problem for c in prose_chunks("one two three four five six", sizes(1, 4))] == [LONG]


def test_a_table_is_one() -> None:
    table = "| a | b |\n|---|---|\n| c. | d |\n| e. | f |\n"
    assert [chunk.problem for chunk in prose_chunks(table, sizes(1, 9))] == [LONG]


def test_figures_are_no_prose() -> None:
    assert [c.problem for c in prose_chunks("1.5 2.5 3.5 4.5 x\n", sizes(1, 9))] == [FIGURES]


def test_front_matter() -> None:
    text = '---\ntitle: "On quays"\nlicense: MIT\ntags:\n  - a\n---\nText.\n'
    front = front_matter(text)
    assert (front.title, front.licence, text[front.end :]) == ("On quays", "MIT", "Text.\n")
    assert front_matter('+++\r\ntitle = "T"\r\n+++\r\nText').title == "T"
    assert front_matter("---\n\nA rule, no fields.\n\n---\nMore.\n") == FrontMatter()
    assert front_matter("Text.\n---\ntitle: x\n---\n") == FrontMatter()


MARKDOWN = st.lists(
    st.sampled_from(
        [
            "# Head\n",
            "Some words, and more of them. A sentence!\n",
            "\n",
            "```\ncode\n",
            "```\n",
            "- item one\n",
            "Ünïcode\r\n",
        ]
    ),
    max_size=40,
).map("".join)


@given(MARKDOWN, st.integers(1, 20), st.integers(0, 60))
def test_nothing_but_white_space_is_in_no_chunk(text: str, least: int, more: int) -> None:
    count = token_counter().count
    found = prose_chunks(text, Sizes(least, least + more, count))
    at = 0
    for chunk in found:
        assert not text[at : chunk.start].strip() and text[chunk.start : chunk.end] == chunk.text
        assert chunk.tokens == count(chunk.text)
        assert chunk.problem or least <= chunk.tokens <= least + more
        at = chunk.end
    assert not text[at:].strip()


def conversation(*contents: str) -> list[str]:
    roles = ("user", "assistant")
    return transcript({"messages": [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]})


def told(chunks: list[Chunk]) -> list[tuple[int, int, str, str]]:
    return [(chunk.start, chunk.end, chunk.domain, chunk.text) for chunk in chunks if chunk.problem is None]


def test_a_conversation_is_one_chunk_where_it_fits() -> None:
    found = list(conversation_chunks(conversation("How deep?", "Nine metres."), sizes(2, 20)))
    assert told(found) == [(0, 2, "chat", "user: How deep?\n\nassistant: Nine metres.")]


def test_a_large_conversation_is_cut_between_turns_and_a_large_turn_as_prose() -> None:
    found = list(conversation_chunks(conversation("a b", "c d", "e f g. h i j.", "k"), sizes(2, 6)))
    assert told(found) == [
        (0, 2, "chat", "user: a b\n\nassistant: c d"),
        (2, 3, "prose", "user: e f g."),
        (2, 3, "prose", "h i j."),
        (3, 4, "chat", "assistant: k"),
    ]


def test_calls_of_tools_stay() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "depth", "arguments": "{}"}}
    turns = transcript({"messages": [{"role": "assistant", "tool_calls": [call]}]})
    assert turns == [
        'assistant:\ncalls {"id": "1", "type": "function", "function": {"name": "depth", "arguments": "{}"}}'
    ]
