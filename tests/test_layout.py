"""Text into units and back: nothing kept is changed, and what is left of a structure is still one."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor_cli.core.log_lines import event_spans
from compressor_cli.engines.layout import Document, parse
from compressor_cli.engines.render import render

BLOCKS = {
    "headings": "# Harvest\n\n## What we picked in *June*\n\n###### Small print\n\nNothing else.",
    "nested list": "- apples\n  - red ones, mostly\n    - from the old tree\n- pears\n* plums\n+ quinces",
    "numbered list": "1. Open the valve.\n2. Wait 30 seconds.\n   1. Look at the dial.\n10) Close it again.",
    "task list": "- [ ] call the plumber\n- [x] turn the water off\n",
    "link with title": 'See [the plan](https://example.org/a_(b)?x=1 "Plan (old)") and ![map](map.png), please.',
    "reference link": "See [the plan][plan] and [this][].\n\n[plan]: https://example.org 'The plan'\n[this]: <x y>",
    "inline code": "Run `scc compress --rate 0.5`, not ``a ` b``, then (`x y`) again.",
    "table": "Costs:\n\n| item | euro |\n|:-----|-----:|\n| rope  |  12 |\n| `a | b` | 3 |\n\nThat is all.",
    "fence": "Before.\n\n```python\nif  x:\n\n    print( 1 )   \n```\n\nAfter.",
    "tilde fence": "~~~\n```\nnot closed here\n~~~\nAfter.",
    "longer fence": "````\n```\ninner   text\n```\n````\nAfter.",
    "unclosed fence": "Before.\n```\na   b\n\n\nc",
    "fence in a list": "- ```sh\n  ls   -l\n  ```\n- done",
    "fence in a quote": "> ```\n> a   b\n> ```\n> said the manual",
    "front matter": "---\ntitle:   A day\ntags: [a, b]\n---\n\nIt rained.",
    "quotes": "> Never again,\n> she said.\n>> Why not?\n\nNobody knew.",
    "comment": "Text.\n<!-- to   do:\n   check this -->\nMore text.",
    "html": "<details>\n<summary>More</summary>\n\nHidden <b>words</b> here.\n\n</details>",
    "setext": "Harvest\n=======\n\nSecond part\n---\n\nText.",
    "rules": "One.\n\n---\n\nTwo.\n\n* * *\n\nThree.",
    "indented code": "Do this:\n\n    make   all\n    make   test\n\nThen go.",
    "tabs": "one\ttwo\n\tthree\n\n-\tfour",
    "hard breaks": "Rose is a rose  \nis a rose\\\nis a rose.",
    "speakers": "Ann: Are we late?\nBo Lind: No.\n[00:12] Ann: Good, “let us go” then.\nAnn: Now.",
    "em dashes": "The dog—old, deaf and happy—slept -- or so it seemed--all day — until noon.",
    "quotes across": "He said “we will not (under any terms) pay” and “no”. *Not one cent*, **not now**.",
    "formula": "$$\na  + b\n= c\n$$\nThat is $a + b$.",
    "display math": "\\[\na   b\n\\]\nText.",
    "crlf": "One line.\r\n\r\n- two\r\n- three\r\n\r\n```\r\na   b\r\n```\r\nEnd.\r\n",
    "spaced signs": "It ( the cat ) , as they say , sat . Then it left !",
}


def everything(document: Document) -> list[bool]:
    return [True] * len(document.units)


@pytest.mark.parametrize("name", BLOCKS)
def test_all_kept_is_the_text(name: str) -> None:
    text = BLOCKS[name]
    document = parse(text)
    rendered = render(document, everything(document))
    assert rendered.split() == text.split()
    # No line of these is an editor's wrap, so that line ends and empty lines stay as well.
    assert [line.split() for line in rendered.splitlines()] == [line.split() for line in text.splitlines()]
    assert rendered.endswith("\n") == text.endswith("\n")


@pytest.mark.parametrize(
    ("name", "fixed"),
    [
        ("table", "| item | euro |\n|:-----|-----:|\n| rope  |  12 |\n| `a | b` | 3 |"),
        ("fence", "```python\nif  x:\n\n    print( 1 )   \n```"),
        ("tilde fence", "~~~\n```\nnot closed here\n~~~"),
        ("longer fence", "````\n```\ninner   text\n```\n````"),
        ("unclosed fence", "```\na   b\n\n\nc"),
        ("fence in a list", "- ```sh\n  ls   -l\n  ```"),
        ("fence in a quote", "> ```\n> a   b\n> ```"),
        ("front matter", "---\ntitle:   A day\ntags: [a, b]\n---"),
        ("comment", "<!-- to   do:\n   check this -->"),
        ("setext", "Harvest\n=======\n\nSecond part\n---"),
        ("rules", "---\n\n* * *"),
        ("indented code", "    make   all\n    make   test"),
        ("reference link", "[plan]: https://example.org 'The plan'\n[this]: <x y>"),
        ("formula", "$$\na  + b\n= c\n$$"),
        ("display math", "\\[\na   b\n\\]"),
        ("crlf", "```\r\na   b\r\n```\r\n"),
    ],
)
def test_what_is_fixed_stays_byte_for_byte(name: str, fixed: str) -> None:
    document = parse(BLOCKS[name])
    assert render(document, [False] * len(document.units)) == fixed


def test_back_ticks_in_a_line_open_no_fence() -> None:
    document = parse("```a b``` is how it is written.\nThis is text.")
    assert all(line.fixed is None for line in document.lines)
    assert document.units[0].text == "```a b```"


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("a [the big plan](https://example.org/x_(y)) b", "[the big plan](https://example.org/x_(y))"),
        ('a [plan](u "a title"), b', '[plan](u "a title"),'),
        ("a ![two words](a.png) b", "![two words](a.png)"),
        ("a [the plan][ref one] b", "[the plan][ref one]"),
        ("a (`scc compress --rate 0.5`) b", "(`scc compress --rate 0.5`)"),
        ('a <a href="x y">b', '<a href="x y">b'),
        ("a 3.14 b", "3.14"),
        ("a rock-and-roll's b", "rock-and-roll's"),
    ],
)
def test_these_are_one_unit(text: str, unit: str) -> None:
    assert unit in [found.text for found in parse(text).units]


def kept_words(text: str, words: str) -> str:
    """Rendered with just the units whose core is among `words`."""
    document = parse(text)
    chosen = set(words.split())
    assert chosen <= {unit.core for unit in document.units}
    return render(document, [unit.core in chosen for unit in document.units])


@pytest.mark.parametrize(
    ("text", "words", "result"),
    [
        ("He said “we will not pay” today.", "will not", "“will not”."),
        ("He said “we will not pay” today.", "He said today", "He said today."),
        ("It was (as we know, sadly) late.", "sadly late", "(sadly) late."),
        ("It was (as we know, sadly) late.", "was know", "was (know)."),
        ("**Never touch** the wire.", "touch wire", "**touch** wire."),
        ("Nuts, bolts, and screws.", "Nuts screws", "Nuts screws."),
        ("Nuts, bolts, and screws.", "Nuts bolts", "Nuts, bolts."),
        ("Was it late? Nobody knew.", "late Nobody", "late? Nobody."),
        ("One thing: rest; then go on.", "thing", "thing."),
        ("He (the boss [of all]) left.", "of left", "([of]) left."),
        ("The dog—old and deaf—slept.", "dog— slept", "dog slept."),
        ("- one thing\n- two more\n\nThe end.", "two end", "- two\n\nend."),
        ("- pay\n- rest\n  - at noon\n    - on hay\n  - at night", "pay noon hay", "- pay\n- noon\n  - hay"),
        ("- pay\n- rest\n  - at noon\n    - on hay\n  - at night", "pay hay night", "- pay\n- hay\n- night"),
        ("- pay\n- rest\n  - at noon\n    - on hay\n- at night", "rest hay night", "- rest\n  - hay\n- night"),
        ("# Big news\n\nIt rained. We stayed.", "stayed", "stayed."),
        ("Ann: It is late.\nBo: Yes.\nAnn: Go now.", "late Go", "Ann: late.\nAnn: Go."),
        ("The pay ( gross ) was low .", "gross low", "(gross) low."),
    ],
)
def test_what_is_left_reads_as_text(text: str, words: str, result: str) -> None:
    assert kept_words(text, words) == result


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Dr. Oke met Mr. Lund at 5 p.m. on Monday. They ate.", 2),
        ("It costs 3.50 euros. No! Really? Yes… But why.", 5),
        ("“Go.” She went. (They stayed.) End", 4),
        ("No stop at all here", 1),
        ("It was J. R. Hale, e.g. in May.", 1),
        ("He asked “why?” and left.", 1),
    ],
)
def test_sentences(text: str, sentences: int) -> None:
    assert len(parse(text).lines[0].sentences) == sentences


def test_an_endless_sentence_is_cut_at_commas() -> None:
    document = parse(" ".join(["on and on,"] * 100))
    spans = document.lines[0].sentences
    assert spans[0][0] == 0
    assert spans[-1][1] == 300
    assert all(stop == start for (_, stop), (start, _) in pairwise(spans))
    assert max(stop - start for start, stop in spans) <= 160
    assert all(document.units[stop - 1].tail == "," for _, stop in spans)


def test_lines_that_an_editor_broke_are_one() -> None:
    wrapped = (
        "Of all the boats that left the harbour on that cold morning,\nonly two came back before it was dark again.\n"
    )
    assert len(parse(wrapped).lines) == 1
    document = parse(wrapped)
    assert render(document, everything(document)) == wrapped.replace("morning,\n", "morning, ")


def test_a_line_that_is_a_paragraph_is_not_joined_with_the_next() -> None:
    text = "A paragraph that stands on a single line, " * 6 + "end.\nThe next paragraph."
    assert len(parse(text).lines) == 2


def test_a_paragraph_above_a_rule_is_no_heading() -> None:
    document = parse("We went on, and on. " * 8 + "\n---\nThen we slept.")
    assert [line.fixed for line in document.lines] == [None, "---", None]


# --- any text, any choice

inline = st.lists(
    st.sampled_from(
        [
            *"the plan not never 42 3.5% €9 Anna's — end. why? well, he said: no! (late) all; it".split(),
            *("(see here)", "“so be it”", "**very bold**", "(a [long and “odd”] one)", "`x y`", "[a b](u)", "_it is_,"),
        ]
    ),
    min_size=1,
    max_size=12,
).map(" ".join)
lines = st.one_of(
    inline,
    inline.map("# {}".format),
    inline.map("- {}".format),
    inline.map("  - {}".format),
    inline.map("1. {}".format),
    inline.map("> {}".format),
    inline.map("Ann: {}".format),
    st.just(""),
)
documents = st.lists(lines, min_size=1, max_size=8).map("\n".join)
fences = st.sampled_from(["```\na   b\n\n  c\n```", "~~~ py\nx =  1\n~~~", "````\n```\n````", "> ```\n> q   r\n> ```"])


@given(text=st.text(st.characters()) | documents)
def test_all_kept_changes_white_space_only(text: str) -> None:
    document = parse(text)
    assert "".join(render(document, everything(document)).split()) == "".join(text.split())


def words_of(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text)


def is_subsequence(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(word in rest for word in part)


def is_balanced(text: str) -> bool:
    stack: list[str] = []
    for char in text:
        if char in "([“":
            stack.append(char)
        elif char in ")]”" and (not stack or stack.pop() + char not in ("()", "[]", "“”")):
            return False
    return not stack and text.count("*") % 4 == 0 and len(re.findall(r"\b_|_\b", text)) % 2 == 0


@given(text=documents, data=st.data())
def test_any_choice_reads_as_text(text: str, data: st.DataObject) -> None:
    document = parse(text)
    keep = data.draw(st.lists(st.booleans(), min_size=len(document.units), max_size=len(document.units)))
    result = render(document, keep)
    assert is_subsequence(words_of(result), words_of(text))
    for kept_line in result.split("\n"):
        assert "  " not in kept_line.strip()
        assert not re.search(r"[^\W_] [.,;:!?]", kept_line)
        assert kept_line.strip() or not kept_line
    assert "\n\n\n" not in result
    for line in document.lines:
        source = "\n".join(line.raw)
        if line.fixed is None:
            assert is_balanced(source)
            alone = [kept and line.start <= i < line.stop for i, kept in enumerate(keep)]
            assert is_balanced(render(document, alone))


@given(before=documents, fence=fences, after=documents, data=st.data())
def test_fences_stay_whatever_is_chosen(before: str, fence: str, after: str, data: st.DataObject) -> None:
    document = parse(f"{before}\n\n{fence}\n{after}")
    keep = data.draw(st.lists(st.booleans(), min_size=len(document.units), max_size=len(document.units)))
    assert fence in render(document, keep)


def test_log_and_chat_lines_stay_lines() -> None:
    text = (
        "2026-03-04T10:00:01Z INFO the importer read 4,000 rows from the first of the archives it found\n"
        "2026-03-04T10:00:09Z ERROR the second archive was torn and nothing of it was imported\n"
        "[09:15] chen: should I start it again, or does somebody want to look at the archive first?\n"
        "[09:16] bilal: don't start it again\n"
    )
    document = parse(text)
    assert [line.prefix for line in document.lines] == [
        "2026-03-04T10:00:01Z INFO ",
        "2026-03-04T10:00:09Z ERROR ",
        "[09:15] chen: ",
        "[09:16] bilal: ",
    ]
    assert render(document, [True] * len(document.units)) == text


def test_lines_that_an_editor_broke_are_one_paragraph() -> None:
    wrapped = (
        "The pumps were built in 1911 by a firm that no longer exists, and\n"
        "the drawings were lost in a fire; whoever repairs them has to take\n"
        "them apart first and to measure every part by hand.\n"
    )
    ragged = "\n".join(
        ["A first line that goes on for more than sixty characters, then stops.", "Short.", "Another one."]
    )
    assert len(parse(wrapped).lines) == 1
    assert len(parse(ragged).lines) == 3


def test_a_pair_of_html_tags_is_one_unit() -> None:
    units = parse("Use <b>bold words</b> and <a href='x'>a link</a> now.").units
    assert [unit.text for unit in units] == ["Use", "<b>bold words</b>", "and", "<a href='x'>a link</a>", "now."]


LOG = (
    "2026-03-04T10:00:01Z INFO  the server is up (see `x y`)\n"
    "2026-03-04T10:00:02Z ERROR request 7 failed\n"
    'Traceback (most recent call last):\n  File "a.py", line 1\nKeyError: 1\n'
    "\n2026-03-04T10:00:03Z INFO  the server is down.\n"
)


def test_an_event_of_a_log_is_one_unit_on_demand() -> None:
    text = f"It said this:\n\n{LOG}"
    document = parse(text, events=list(event_spans(text.split("\n"))))
    assert [line.prefix for line in document.lines[1:]] == [f"2026-03-04T10:00:0{n}Z " for n in (1, 2, 3)]
    events = [document.units[line.start] for line in document.lines[1:]]
    assert [line.stop - line.start for line in document.lines[1:]] == [1, 1, 1]
    assert events[1].text.endswith('File "a.py", line 1\nKeyError: 1')
    assert all(text[unit.start : unit.end] == unit.text for unit in events)
    assert render(document, everything(document)) == text
    keep = [unit is events[1] for unit in document.units]
    assert render(document, keep) == "\n".join(LOG.splitlines()[1:5]) + "\n"
    assert len(parse(LOG).units) > 10


def test_the_mark_of_many_times_is_one_unit() -> None:
    mark = f"(x40, at {', '.join(f'10:{n:02d}:00' for n in range(1, 39))}, last 10:39:00)"
    assert mark in [unit.text for unit in parse(f"10:00:00 the server is up {mark}").units]
