"""What stays byte for byte: a prefix for a provider's cache, first and last sentences; and marks where others went."""

from __future__ import annotations

from pathlib import Path

import pytest
import splintr
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor_cli import compress
from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.code_parse import python_tree
from compressor_cli.engines.pins import split_pinned
from compressor_cli.engines.render import OMISSION
from compressor_cli.errors import BudgetTooSmallError, UsageError

SENTENCES = (
    "The council met on a Tuesday to talk about the old bridge by the mill.",
    "Most of those who came had walked along the river in the rain that afternoon.",
    "There was some talk of the weather, and of the price of the timber this year.",
    "In the end the council agreed that the bridge would be closed to lorries.",
    "The meeting ended late, and all went home by the lane behind the church.",
)
TEXT = " ".join(SENTENCES)
count = token_counter().count
_ids = splintr.Tokenizer.from_pretrained("o200k_base").encode_ordinary


@given(
    text=st.text(alphabet="ab .\n#-`é1", max_size=120),
    first=st.integers(0, 4),
    last=st.integers(0, 4),
    prefix=st.integers(0, 30),
    by_lines=st.booleans(),
)
def test_the_parts_make_up_the_text(text: str, first: int, last: int, prefix: int, by_lines: bool) -> None:
    head, middle, tail = split_pinned(
        text, keep_first=first, keep_last=last, stable_prefix=prefix, by_lines=by_lines, count=count
    )
    assert head + middle + tail == text
    assert middle == middle.strip()
    if prefix:
        assert count(head) >= prefix or head == text


@given(prefix=st.integers(1, 70), rate=st.floats(0.3, 0.9))
@settings(max_examples=40)
def test_the_first_tokens_stay(prefix: int, rate: float) -> None:
    try:
        receipt = compress(TEXT, stable_prefix=prefix, rate=rate, protect="none")
    except BudgetTooSmallError as exc:
        receipt = compress(TEXT, stable_prefix=prefix, max_tokens=exc.tokens_needed, protect="none")
        assert receipt.tokens_out <= exc.tokens_needed
    assert _ids(receipt.compressed)[:prefix] == _ids(TEXT)[:prefix]
    assert receipt.tokens_out <= receipt.rate * receipt.tokens_in + 1


def test_first_and_last_sentences_stay() -> None:
    receipt = compress(TEXT, rate=0.7, keep_first=1, keep_last=2)
    assert receipt.compressed.startswith(SENTENCES[0] + " ")
    assert receipt.compressed.endswith(" ".join(SENTENCES[-2:]))
    assert receipt.tokens_out <= 0.7 * receipt.tokens_in
    assert receipt.tokens_out < receipt.tokens_in


def test_what_stays_counts_against_the_budget() -> None:
    with pytest.raises(BudgetTooSmallError, match="verbatim") as caught:
        compress(TEXT, rate=0.3, keep_first=2)
    receipt = compress(TEXT, max_tokens=caught.value.tokens_needed, keep_first=2)
    assert receipt.tokens_out <= caught.value.tokens_needed


def test_all_of_it_may_stay() -> None:
    receipt = compress(TEXT, keep_first=3, keep_last=3)
    assert (receipt.compressed, receipt.engine) == (TEXT, "none")
    assert receipt.warnings == ("all of it stays verbatim",)


def test_lines_of_code_stay() -> None:
    code = "# first line\nimport os\n\n\ndef size(path):\n    # how large\n    return os.stat(path).st_size  # bytes\n"
    receipt = compress(code, keep_first=1, level="comments")
    assert receipt.compressed.startswith("# first line\nimport os")
    assert "how large" not in receipt.compressed


COMMENTED = (
    "#!/usr/bin/env python\n# by the clerk\n\nimport os  # for stat\n\n\nclass Bridge:\n    # one of two\n\n"
    '    def size(self, path):\n        """How large a plan is."""\n        # in bytes\n'
    "        return os.stat(path).st_size  # bytes\n\n"
    "    def name(self):\n        # the name\n        return 'mill'\n\n\n"
    "# the end\nprint(Bridge())  # shown\n"
)


@pytest.mark.parametrize("level", ["comments", "compact", "outline"])
@pytest.mark.parametrize("pins", [{"keep_first": n} for n in (1, 3, 5, 7, 9)] + [{"keep_last": n} for n in (1, 3, 6)])
def test_pinned_code_stays_and_the_rest_is_compressed(level: str, pins: dict[str, int]) -> None:
    """The whole still parses, whatever was cut in two by the pins."""
    receipt = compress(COMMENTED, level=level, domain="code", **pins)  # type: ignore[arg-type]
    lines = [line for line in COMMENTED.splitlines() if line.strip()]
    number = next(iter(pins.values()))
    if "keep_first" in pins:
        assert receipt.compressed.startswith(COMMENTED[: COMMENTED.index(lines[number - 1]) + len(lines[number - 1])])
    else:
        assert receipt.compressed.endswith(COMMENTED[COMMENTED.index(lines[-number]) :])
    assert python_tree(receipt.compressed.encode()) is not None
    if level != "outline":
        assert python_tree(receipt.compressed.encode()) == python_tree(COMMENTED.encode())
    assert receipt.tokens_out < receipt.tokens_in
    assert not any("does not parse" in told for told in receipt.warnings)


@given(prefix=st.integers(1, 140), level=st.sampled_from(["comments", "compact", "outline"]))
@settings(max_examples=60)
def test_the_first_tokens_of_code_stay(prefix: int, level: str) -> None:
    receipt = compress(COMMENTED, stable_prefix=prefix, level=level)
    assert _ids(receipt.compressed)[:prefix] == _ids(COMMENTED)[:prefix]
    assert python_tree(receipt.compressed.encode()) is not None


def test_the_rest_of_pinned_code_is_really_compressed() -> None:
    receipt = compress(COMMENTED, keep_first=2, level="comments")
    assert receipt.compressed == (
        "#!/usr/bin/env python\n# by the clerk\n\nimport os\nclass Bridge:\n    def size(self, path):\n"
        "        return os.stat(path).st_size\n    def name(self):\n        return 'mill'\nprint(Bridge())\n"
    )
    both = compress(COMMENTED, keep_first=2, keep_last=2, level="comments").compressed
    assert both.startswith("#!/usr/bin/env python\n# by the clerk\n") and "in bytes" not in both
    assert both.endswith("\n# the end\nprint(Bridge())  # shown\n")


def test_a_budget_of_pinned_code() -> None:
    with pytest.raises(BudgetTooSmallError, match="python takes") as caught:
        compress(COMMENTED, keep_first=4, max_tokens=20)
    receipt = compress(COMMENTED, keep_first=4, max_tokens=caught.value.tokens_needed)
    assert receipt.tokens_out <= caught.value.tokens_needed
    with pytest.raises(BudgetTooSmallError, match="verbatim") as caught:
        compress(COMMENTED, keep_first=400, max_tokens=20)
    assert caught.value.tokens_needed == count(COMMENTED)


@given(rate=st.floats(0.02, 0.9), first=st.integers(0, 3), last=st.integers(0, 2))
@settings(max_examples=40)
def test_what_is_said_to_be_needed_is_enough(rate: float, first: int, last: int) -> None:
    try:
        compress(TEXT, rate=rate, keep_first=first, keep_last=last)
    except BudgetTooSmallError as exc:
        receipt = compress(TEXT, max_tokens=exc.tokens_needed, keep_first=first, keep_last=last)
        assert receipt.tokens_out <= exc.tokens_needed


def test_json_has_no_first_sentence() -> None:
    with pytest.raises(UsageError, match="--keep-first does not go with JSON"):
        compress('{"a": [1, 2, 3]}', keep_first=1)


@pytest.mark.parametrize("name", ["keep_first", "keep_last", "stable_prefix"])
def test_fewer_than_none_is_an_error(name: str) -> None:
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} -1: at least 0"):
        compress(TEXT, **{name: -1})  # type: ignore[arg-type]


def test_marks_stand_where_sentences_went(samples: Path) -> None:
    receipt = compress(TEXT, rate=0.15, omission_marker=True)
    assert OMISSION in receipt.compressed
    assert f"{OMISSION} {OMISSION}" not in receipt.compressed
    assert receipt.tokens_out <= 0.15 * receipt.tokens_in
    whole = compress((samples / "notes.md").read_text(), rate=0.4, omission_marker=True, protect="none")
    assert whole.compressed.count(OMISSION) > 3
    assert whole.tokens_out <= 0.4 * whole.tokens_in
    assert (
        "```\n" + OMISSION not in whole.compressed.replace("\n\n", "\n") or OMISSION + "\n```" not in whole.compressed
    )


def test_no_mark_where_nothing_went() -> None:
    assert OMISSION not in compress(TEXT, rate=0.9, omission_marker=True).compressed


DOCUMENT = (
    "It takes at most 12 minutes in our long and pleasant experience of the harbour.\n\n"
    "```python\nx = 1  # one\n```\n\n"
    "The ferry must not leave before 7:30 on Sundays, as the clerk said, and nobody else said more than that.\n"
)


@pytest.mark.parametrize("pins", [{"stable_prefix": n} for n in range(1, 45)] + [{"keep_last": 1}, {"keep_first": 1}])
@pytest.mark.parametrize("most", [None, 36, 40])
def test_no_fact_is_cut_by_a_pin_and_no_block_is_glued(pins: dict[str, int], most: int | None) -> None:
    try:
        receipt = compress(DOCUMENT, max_tokens=most, **pins)  # type: ignore[arg-type]
    except BudgetTooSmallError as exc:
        receipt = compress(DOCUMENT, max_tokens=exc.tokens_needed, **pins)  # type: ignore[arg-type]
    assert [fact.text for fact in receipt.facts if fact.status != "kept" and fact.kind != "names"] == []
    assert [line for line in receipt.compressed.splitlines() if "```" in line] == ["```python", "```"]


def test_a_tail_that_begins_in_a_fact_takes_all_of_it() -> None:
    text = "Seven ships came in. Nobody of the crew of no. 12 was hurt. " + TEXT
    receipt = compress(text, keep_last=5, protect_pattern=["hurt. The council"])
    assert "hurt. The council" in receipt.compressed


SNIPPET = (
    "line'''\n        return f\"{a}\" + s\n\n    @property\n    def p(self): return self.x\n\n"
    "    def q(self):\n        # sums\n        return sum(self.y)  # all\n"
)


@pytest.mark.parametrize("prefix", range(1, 40, 3))
def test_code_that_does_not_parse_loses_no_statement_behind_a_pin(prefix: int) -> None:
    receipt = compress(SNIPPET, stable_prefix=prefix, domain="code")
    assert receipt.compressed.split() == SNIPPET.split()
    with pytest.raises(BudgetTooSmallError):
        compress(SNIPPET, stable_prefix=prefix, domain="code", max_tokens=16)


@given(
    words=st.lists(
        st.sampled_from("The a not must 12 of it. no £40 `x_y` bridge\n\n - ## ```\n on 3 March, who? Ada".split(" ")),
        min_size=5,
        max_size=60,
    ),
    pins=st.fixed_dictionaries(
        {}, optional={name: st.integers(1, 12) for name in ("keep_first", "keep_last", "stable_prefix")}
    ),
    rate=st.floats(0.02, 0.6),
    query=st.sampled_from([None, "Who has the bridge?"]),
    marker=st.booleans(),
    allow_loss=st.booleans(),
)
@settings(max_examples=150)
def test_what_an_error_names_is_enough(
    words: list[str],
    pins: dict[str, int],
    rate: float,
    query: str | None,
    marker: bool,
    allow_loss: bool,
) -> None:
    text = " ".join(words) + " and so on."
    most = max(int(rate * count(text)), 1)
    asked = {"query": query, "omission_marker": marker, "allow_loss": allow_loss, "domain": "mixed", **pins}
    try:
        compress(text, max_tokens=most, **asked)  # type: ignore[arg-type]
    except BudgetTooSmallError as exc:
        assert exc.tokens_needed > most
        assert f"budget is {most}" in str(exc) or f"budget of {most}" in str(exc)
        assert str(exc.tokens_needed) in str(exc)
        assert "--allow-loss" not in (exc.hint or "") or not allow_loss
        receipt = compress(text, max_tokens=exc.tokens_needed, **asked)  # type: ignore[arg-type]
        assert receipt.tokens_out <= exc.tokens_needed


def test_the_verbatim_part_alone_may_be_the_result() -> None:
    prefix = count(SENTENCES[0])
    with pytest.raises(BudgetTooSmallError) as caught:
        compress(TEXT, keep_first=1, max_tokens=prefix - 1, protect="none")
    assert caught.value.tokens_needed <= prefix + 1
    receipt = compress(TEXT, keep_first=1, max_tokens=caught.value.tokens_needed, protect="none")
    assert receipt.compressed.strip() == SENTENCES[0]


def test_the_smallest_result_has_its_mark_within_the_budget() -> None:
    text = "They could not reach the database at host four. So it was. And they went home."
    for most in range(1, 6):
        try:
            receipt = compress(text, max_tokens=most, omission_marker=True, allow_loss=True)
        except BudgetTooSmallError as exc:
            assert exc.tokens_needed > most
        else:
            assert receipt.tokens_out <= most
