"""How a model is asked, and what of its answer is the answer."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor_cli.core.decoding import (
    build_user_message,
    cap_output_length,
    compute_generation_budget,
    strip_generation_artifacts,
    truncate_repetition,
)
from compressor_cli.core.jsonl import read_rows
from compressor_cli.core.tokens import token_counter

SOURCE = "The valve must not be opened above 5 bar before 3 March 2020. The pump is checked each Monday."
ANSWER = "Valve: must not be opened >5 bar before 3 March 2020 | pump checked Mon"
SYSTEM = "Rewrite the text as densely as you can. Answer with the compressed text only."
count = token_counter().count

# Texts with what the clean-up looks for, and what it must not mistake for that.
parts = st.sampled_from(
    ["a ", "the cat ", "5 bar", "\n", "```\n", "```py\n", "<think>", "</think>", "<|im_end|>", "</s>", "Sure, ", "0 ",
     "Here is the text:\n", "- ", "----", "| ", "é", "👩‍🚒", "日本語。", ". ", "Compress:\n", "aa", "\u0301"]
)  # fmt: skip
texts = st.one_of(st.text(max_size=200), st.lists(parts, max_size=60).map("".join))


def test_the_prefix_of_the_training_data_comes_first() -> None:
    assert build_user_message("Text.", "Compress:\n") == "Compress:\nText."
    assert build_user_message("Text.") == build_user_message("Text.", None) == "Text."


@given(st.integers(0, 10_000), st.floats(0.01, 5), st.one_of(st.none(), st.integers(1, 10_000)))
def test_the_budget_is_never_above_the_input(tokens: int, rate: float, most: int | None) -> None:
    budget = compute_generation_budget(tokens, rate=rate, most=most)
    assert 1 <= budget <= max(1, tokens)
    assert most is None or budget <= most


def test_the_budget_is_the_input_or_a_share_of_it() -> None:
    assert compute_generation_budget(301) == 301
    assert compute_generation_budget(301, rate=0.5) == 151
    assert compute_generation_budget(301, most=40) == 40


@pytest.mark.parametrize(
    "written",
    [
        ANSWER,
        f"\n{ANSWER}\n\n",
        f"<think>What matters?\n</think>\n\n{ANSWER}",
        f"What matters? The pressure.</think>{ANSWER}",
        f"<thinking>\nThe bar.</thinking>\n{ANSWER}",
        f"```\n{ANSWER}\n```",
        f"Here is the compressed text:\n\n```text\n{ANSWER}\n```\n",
        f"Sure! Here's a shorter version:\n{ANSWER}",
        f"{ANSWER}<|im_end|>\n<|im_start|>user\nCompress more",
        f"{ANSWER}</s>",
        f"{ANSWER}<|eot_id|><|start_header_id|>user<|end_header_id|>",
        f"<|im_start|>assistant\n{ANSWER}<|endoftext|>",
        f"<s> {ANSWER}",
        f"{SYSTEM}\n{ANSWER}",
        f"{ANSWER}\nAnswer with the compressed text only.",
        f"Compress:\n{ANSWER}",
        f"Compress: {ANSWER}",
        f"<think>x</think>Certainly, here is the text:\n```\n<|im_start|>assistant\n{ANSWER}\n```<|im_end|>",
    ],
)
def test_what_stands_around_an_answer_goes(written: str) -> None:
    assert strip_generation_artifacts(written, SOURCE, f"{SYSTEM}\nCompress:\n{SOURCE}") == ANSWER


@pytest.mark.parametrize("written", ["", "  \n", "<think>What matters is the", "Here is the compressed text:\n"])
def test_without_an_answer_nothing_is_left(written: str) -> None:
    assert strip_generation_artifacts(written, SOURCE) == ""


@pytest.mark.parametrize(
    "source",
    [
        "```py\nx = 1\n```",
        "Here is the plan: we leave on Monday.\nWe come back on Friday.",
        "Sure, it may be so.",
        "The token <|im_end|> ends a turn, and </s> another one.",
        "Models put <think> before and </think> after their thoughts.",
        "Compress:\nthe spring of the valve.",
        "    indented = True",
    ],
)
def test_what_stands_in_the_source_belongs_to_the_answer(source: str) -> None:
    assert strip_generation_artifacts(source, source, f"{SYSTEM}\nCompress:\n{source}") == source
    assert truncate_repetition(source, source) == source


@pytest.mark.parametrize(
    ("written", "source"),
    [
        (
            "Here is the plan: leave Mon.\nBack Fri.",
            "As you asked, here is the plan: we leave on Monday, back on Friday.",
        ),
        ("Here are 3 pumps: A, B, C.", "In this place you will find the three pumps: A, B and C."),
        ("Here's Jo: engineer, 12 y", "Jo, whose card you have here, is an engineer of 12 years."),
        ("Below is sea; above is sky.\nBoth blue.", "What is below us is sea, and above is the sky.\nBoth are blue."),
        ("Compressed code: zip, gz", "The formats of compressed code are zip and gz."),
        ("I've compressed files: a, b", "I have compressed the files a and b."),
        ("Sure, it works, said Ann.", "Ann said: sure, it works."),
        ("OK. Here is why: cost", "It is OK, and this is why: the cost."),
        ("Tags: <think>…</think>, then text", "The tags of thoughts come first, then the text."),
        ("```py\nx=1\n```\nthen\n```py\ny=2\n```", "x = 1\nthen\ny = 2"),
        ("```py\nx=1\n```", "Run this:\n```python\nx = 1\n```"),
    ],
)
def test_an_answer_that_only_looks_like_what_stands_around_one_stays(written: str, source: str) -> None:
    assert strip_generation_artifacts(written, source, f"{SYSTEM}\nCompress:\n{source}") == written


def test_the_line_of_a_preamble_that_has_the_answer_in_it_is_kept() -> None:
    written = f"Here is the compressed text: {ANSWER}\nNothing else."
    assert strip_generation_artifacts(written, SOURCE) == f"{ANSWER}\nNothing else."


@pytest.mark.parametrize(
    "preamble",
    ["Here you go:\n", "Here's what I came up with:\n", "Here is the compressed text.\n", "Sure thing! Here it is:\n"],
)
def test_a_preamble_on_a_line_of_its_own_goes(preamble: str) -> None:
    assert strip_generation_artifacts(preamble + ANSWER, SOURCE) == ANSWER


def test_a_fence_around_fences_goes_and_one_that_is_asked_for_stays() -> None:
    within = "Run this:\n```py\nx=1\n```"
    assert strip_generation_artifacts(f"```markdown\n{within}\n```", "Run this:\n```python\nx = 1\n```") == within
    assert strip_generation_artifacts("Sure!\n```\nx=1\n```", "x = 1", fenced=True) == "```\nx=1\n```"


@given(texts, texts, texts)
def test_stripping_takes_away_only(text: str, source: str, prompt: str) -> None:
    stripped = strip_generation_artifacts(text, source, prompt)
    assert strip_generation_artifacts(stripped, source, prompt) == stripped
    rest = iter(text)
    assert all(char in rest for char in stripped), "in its order"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("the pump " * 30, "the pump"),
        ("Valve shut at 5 bar. " + "no no " * 40, "Valve shut at 5 bar. no"),
        ("a line\n" + "- the pump is checked\n" * 12, "a line\n- the pump is checked"),
        ("one two three four five six\n" * 5 + "one two thr", "one two three four five six"),
        ("x" + "ab" * 60, "xab"),
        ("!" * 500, "!"),
        ("泵每周一检查。" * 20, "泵每周一检查。"),
        ("the cat, " * 15 + "and then the dog.", "the cat, and then the dog."),
        (" ".join(f"Section {n % 3} holds {n % 3} parts and is shut." for n in range(40)), None),
    ],
)
def test_loops_are_cut_to_their_first_round(written: str, kept: str | None) -> None:
    found = truncate_repetition(written)
    if kept is None:
        assert len(found) < len(written) / 5
    else:
        assert found == kept


@pytest.mark.parametrize(
    "text",
    [
        "no, no, no, no: he said it four times, and once more: no.",
        "| a | b |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n| 1 | 2 |",
        "=" * 80 + "\nTitle\n" + "-" * 80,
        "}\n" * 12,
        "yes, yes, yes! " * 3,
        "0x0000000000000001, 1000000000000",
        "Row 1: open\nRow 2: open\nRow 3: open\nRow 4: open\nRow 5: open\nRow 6: open",
    ],
)
def test_legitimate_repetition_stays(text: str) -> None:
    assert truncate_repetition(text) == text


def test_what_the_source_repeats_as_often_stays() -> None:
    zeros = "0 " * 40
    assert truncate_repetition(zeros, f"The row is {zeros}.") == zeros
    assert truncate_repetition("0 " * 80, f"The row is {zeros}.") == "0"
    assert truncate_repetition("a" * 64, f"The hash {'a' * 64}") == "a" * 64
    log = "".join(f"10:0{n} GET /a 200 OK\n" for n in range(10))
    assert truncate_repetition("GET /a 200\n" * 11, log) == "GET /a 200"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]", "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]"),
        ("1 0 0 0 0 0 0 0 0 0 0 0\n0 1 0 0 0 0 0 0 0 0 0 0", "1,0,0,0,0,0,0,0,0,0,0,0\n0,1,0,0,0,0,0,0,0,0,0,0"),
        ("|a|\n|-|\n" + "|1 ok|\n" * 12, "| a |\n| - |\n" + "| 1 | ok |\n" * 12),
        ('[{"a":1},{"a":1},{"a":1},{"a":1},{"a":1}]', '[{"a": 1}, {"a": 1}, {"a": 1}, {"a": 1}, {"a": 1}]'),
        ("</div></div></div></div></div>", "</div>\n" * 5),
        ("GET /a 200\n" * 10, "".join(f"2026-01-01 10:0{n} GET /a HTTP/1.1 200 OK\n" for n in range(10))),
        ("- pump ok\n" * 8, "".join(f"- the pump number {n} is ok\n" for n in range(8))),
    ],
)
def test_what_the_source_says_as_often_in_other_words_stays(text: str, source: str) -> None:
    assert truncate_repetition(text, source) == text


def test_no_row_of_the_samples_is_a_loop(samples_rows: list[tuple[str, str]]) -> None:
    for source, answer in samples_rows:
        assert truncate_repetition(answer, source) == answer
        assert truncate_repetition(source) == source
        assert strip_generation_artifacts(answer, answer) == answer.strip("\n").rstrip()


@pytest.fixture
def samples_rows() -> list[tuple[str, str]]:
    from conftest import REPO

    rows = [row for name in ("train", "valid", "test") for row in read_rows(REPO / f"configs/samples/{name}.jsonl")]
    assert len(rows) == 100
    return [(row["messages"][-2]["content"], row["messages"][-1]["content"]) for row in rows]


@given(texts, st.integers(1, 40), texts)
def test_a_repeated_text_gets_shorter_and_no_text_longer(unit: str, times: int, source: str) -> None:
    text = unit * times
    found = truncate_repetition(text, source)
    assert len(found) <= len(text)
    assert truncate_repetition(found, source) == found
    assert truncate_repetition(text, text) == text


@given(texts, st.integers(1, 60))
def test_a_cap_keeps_a_beginning_within_the_limit(text: str, limit: int) -> None:
    kept = cap_output_length(text, limit, count)
    assert text.startswith(kept) and count(kept) <= limit
    assert cap_output_length(kept, limit, count) == kept
    assert kept == text or not unicodedata.combining(text[len(kept)]) or not kept


def test_a_cap_ends_with_a_sentence_or_a_line_where_there_is_one() -> None:
    text = "The pump is off. The valve is shut since 3.5 bar were reached. Nobody may open it."
    assert (
        cap_output_length(text, count(text) - 2, count)
        == "The pump is off. The valve is shut since 3.5 bar were reached."
    )
    assert cap_output_length("first line\nsecond line that is long", 4, count) == "first line"
    assert cap_output_length("one two three four five", 3, count) == "one two three"
    assert re.fullmatch("(👩‍🚒)+", cap_output_length("👩‍🚒" * 30, 40, count))
    assert cap_output_length("Short.", 40, count) == "Short."
