"""The measures see what is lost, and the intervals what is chance; the baselines do what they are named for."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from compressor_cli.core.baselines import without_comments
from compressor_cli.core.comparison import LEAST, Figure, Outcome, all_met, compare, refusals
from compressor_cli.core.metrics import interval_of_shares, paired_interval
from compressor_cli.engines.quality import code_shares, data_shares, minified, prose_shares

PROGRAM = 'class A:\n    """Doc."""\n\n\ndef sum_rows(first, second):\n    """Sum."""\n    return first + second\n'


@pytest.mark.parametrize(
    ("output", "sound", "same", "kept"),
    [
        (PROGRAM, 1, 1, True),
        ("class A:\n    ...\ndef sum_rows(first, second):\n return first + second\n", 1, 1, True),
        ("class A:\ndef sum_rows(first, second):\n return first + second\n", 0, 0, True),
        ("class A:\n    ...\ndef sum_rows(first, second):\n    return second + first\n", 1, 0, True),
        ("class A:\n    ...\n", 1, 0, False),
        ("", 1, 0, False),
    ],
)
def test_a_program_is_the_same_or_not(output: str, sound: int, same: int, kept: bool) -> None:
    shares = code_shares(PROGRAM, output, "python")
    assert (shares["parse"], shares["tree"]) == ((sound, 1), (same, 1))
    found, there = shares["identifiers"]
    assert there > 0 and (found == there) is kept


def test_only_python_has_a_tree_to_compare() -> None:
    assert code_shares("int a; // b\n", "int a;\n", "c") == {"parse": (1, 1), "tree": (0, 0), "identifiers": (0, 0)}
    assert code_shares("int a; // b\n", "int a\n", "c")["parse"] == (0, 1)


@pytest.mark.parametrize(
    ("text", "output", "equal"),
    [
        ('{"a": 1.50}', '{"a":1.50}', True),
        ('{"a": 1.50}', '{"a":1.5}', False),
        ('{"a": [1, 2]}', '{"a":[2,1]}', False),
        ('{"a": [1, 2]}', '{"a":[1,2', False),
        ('{"a": 1}\n{"a": 2}\n', '{"a":1}\n{"a":2}', True),
        ('{"a": 1}\n{"a": 2}\n', '{"a":1}', False),
        ('a,b\n"1",2\n3,4\n"5",6\n', "a,b\n1,2\n3,4\n5,6\n", True),
        ("a,b\n1,2\n3,4\n5,6\n", "a,b\n1,2\n3,4\n5,7\n", False),
    ],
)
def test_data_is_equal_or_not(text: str, output: str, equal: bool) -> None:
    assert data_shares(text, output) == {"equal": (equal, 1)}


def test_minified_json_is_small_and_equal() -> None:
    text = json.dumps({"rows": [{"id": n, "price": 2.50} for n in range(3)]}, indent=4)
    assert minified(text) == json.dumps(json.loads(text), separators=(",", ":"))
    assert minified('{"a": 1}\n\n{"a": 2.50}\n') == '{"a":1}\n{"a":2.50}\n'
    assert data_shares(text, minified(text)) == {"equal": (1, 1)}


def test_facts_and_runs_of_prose() -> None:
    text = "The valve must not be opened above 5 bar. Ask Helena Marsh."
    assert prose_shares(text, text)["facts"][0] == prose_shares(text, text)["facts"][1] >= 3
    shares = prose_shares(text, "valve must be opened above 5 bar")
    kept, there = shares["negation"]
    assert kept < there
    assert {name: shares[name] for name in ("numbers", "names", "run")} == {
        "numbers": (1, 1), "names": (0, 1), "run": (7, 2),
    }  # fmt: skip
    assert prose_shares(text, "")["facts"][0] == 0


# --- comments by regular expressions


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("python", "#!/bin/python\n# a\nx = '#' # b\n\n\ny = 1\n", "#!/bin/python\nx = '#'\ny = 1\n"),
        ("python", 'def f():\n  """D # d."""\n  return """a\n\n # b"""\n', 'def f():\n  return """a\n\n # b"""\n'),
        ("c", '/* a\n b */\nint x; // c\nchar *s = "//"; /* d */ int y;\n', 'int x;\nchar *s = "//"; int y;\n'),
        ("javascript", "a = `// no\n\nb`; // yes\n", "a = `// no\n\nb`;\n"),
        ("shell", "echo ${#a} # b\n  # c\necho 'a # b'\n", "echo ${#a}\necho 'a # b'\n"),
        ("sql", "-- a\nselect '--' /* b */ from t -- c\n", "select '--' from t\n"),
        ("lua", "--[[ a\n b ]]\nx = 1 -- c\n", "x = 1\n"),
    ],
)  # fmt: skip
def test_comments_go_and_strings_stay(language: str, text: str, expected: str) -> None:
    assert without_comments(text, language) == expected


# --- comparison


def outcomes(shares: Sequence[tuple[float, float]], met: tuple[bool, ...] = ()) -> list[Outcome]:
    flags = met or (True,) * len(shares)
    return [Outcome({"facts": share}, 10, 5, 5, ok) for share, ok in zip(shares, flags, strict=True)]


def test_shares_are_of_sums_and_intervals_are_paired() -> None:
    ours, theirs = [(4.0, 4.0)] * 3 + [(9.0, 10.0)] * 3, [(2.0, 4.0)] * 3 + [(4.0, 10.0)] * 3
    first, second = compare({"a": outcomes(ours), "b": outcomes(theirs)}, seed=0)
    assert first.figures["facts"] == Figure(39 / 42, 6)
    figure = second.figures["facts"]
    assert figure.value == 18 / 42 and figure.difference == pytest.approx(0.5)
    assert figure.interval == pytest.approx((0.5, 0.5))  # the same difference in every text, whatever its size


def test_a_difference_that_is_chance_holds_zero() -> None:
    ours, theirs = [(1.0, 2.0), (0.0, 2.0)] * 10, [(0.0, 2.0), (1.0, 2.0)] * 10
    low, high = interval_of_shares(ours, theirs, resamples=1000, seed=3)
    assert low < 0 < high
    assert (low, high) == interval_of_shares(ours, theirs, resamples=1000, seed=3)
    assert paired_interval([3, 1], [1, 1], [4, 4], resamples=200, seed=0) == (0.0, 0.5)


def test_few_texts_have_no_interval_and_empty_ones_do_not_count() -> None:
    ours, theirs = outcomes([(1.0, 2.0)] * LEAST), outcomes([(0.0, 2.0)] * LEAST)
    for which in (ours, theirs):
        which[-1] = Outcome({"facts": (0, 0)}, 10, 5, 5)
    figure = compare({"a": ours, "b": theirs}, seed=0)[1].figures["facts"]
    assert (figure.texts, figure.interval, figure.difference) == (LEAST - 1, None, 0.5)
    nothing = compare({"a": ours[-1:], "b": theirs[-1:]}, seed=0)[1].figures["facts"]
    assert nothing == Figure(None, 0)


def test_a_text_that_one_system_refused_counts_for_none() -> None:
    both = {"a": outcomes([(2, 2), (0, 2)], (True, False)), "b": outcomes([(1, 2), (2, 2)])}
    assert all_met(both) == [True, False]
    assert [standing.figures["facts"].value for standing in compare(both, seed=0)] == [1, 0.5]
    (unmet,) = refusals(both)
    assert (unmet.system, unmet.texts, unmet.tokens, unmet.value) == ("a", 1, 10, 0.5)
