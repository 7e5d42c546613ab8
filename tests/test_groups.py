"""Which words of a sentence are kept or dropped as one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor_cli import compress
from compressor_cli.engines.groups import find_groups
from compressor_cli.engines.layout import parse


def groups(text: str) -> list[str]:
    document = parse(text)
    _, negations, bound = find_groups(document)
    return [" ".join(unit.core for unit in document.units[a:b]) for a, b in sorted(negations + bound)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("At most 3 of 12 cranes may lift.", ["At most 3"]),
        ("They need at least a dozen men, up to four million euros and fewer than 20 boats.",
         ["at least a dozen", "up to four million", "fewer than 20"]),
        ("It lifts no more than 7.5 tonnes.", ["no more than 7.5 tonnes"]),
        ("It carries only 3 men.", ["only 3 men"]),
        ("It is up to you, at most, and over the hill.", []),
        ("Pay by 3 March 2020.", ["by 3 March 2020"]),
        ("Pay by the end of May, or before noon, or after 10:30.", ["by the end of May", "before noon", "after 10:30"]),
        ("It has stood since 1994 and will not close until Monday.", ["since 1994", "will not close", "until Monday"]),
        ("It rose after the 1973 oil crisis and since the 1970s.", ["since the 1970s"]),
        ("It fell by 7 % and stood by the 3 men before them.", []),
        ("It was sold by Acme to Bolt.", ["by Acme", "to Bolt"]),
        ("Acme bought it from the Vikings.", ["from the Vikings"]),
        ("The play was written by Marlowe, the king defeated by the Danes.", ["by the Danes"]),
        ("They went to Rome by train from Paris.", []),
        ("The crew, painted, by Acme.", []),
    ],
)  # fmt: skip
def test_what_goes_together(text: str, found: list[str]) -> None:
    assert groups(text) == found


WORDS = (
    "At most 3 up to no not by until March 2020 the a noon sold Acme to from , only more than Rome. 10:30 was".split()
)


@given(st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join))
@settings(max_examples=200)
def test_no_unit_is_in_two_groups(text: str) -> None:
    found = [span for kind in find_groups(parse(text)) for span in kind]
    assert all(a < b for a, b in found)
    units = [i for a, b in found for i in range(a, b)]
    assert len(units) == len(set(units))


LIMITS = (
    "At most 3 of the 12 cranes on the old quay may lift at the same time when the wind is strong. "
    "The repairs of the wall have to be paid by 3 March, as the harbour board and the town had agreed in a long talk. "
    "The yard with all of its old sheds was sold by Acme to Bolt in a hurry, as most of the people there remember."
)


@pytest.mark.parametrize("budget", range(6, 60, 3))
def test_a_limit_a_deadline_and_a_role_go_with_what_they_limit(budget: int) -> None:
    kept = compress(LIMITS, max_tokens=budget, protect="none").compressed
    assert ("3" in kept.replace("3 March", "")) == ("At most 3" in kept)
    assert ("3 March" in kept) == ("by 3 March" in kept)
    assert ("Acme" in kept) == ("by Acme" in kept)
    assert ("Bolt" in kept) == ("to Bolt" in kept)


def test_a_protected_name_keeps_its_role() -> None:
    kept = compress(LIMITS, max_tokens=48, protect="names").compressed
    assert "by Acme" in kept and "to Bolt" in kept
