"""Opposites, denials that change their sentence, and roles: contradictions that are told, and what is none."""

from __future__ import annotations

import pytest

from compressor_cli.core.facts import check_facts
from compressor_cli.core.facts.opposites import without_prefix

CONTRADICTED = """
The bridge is safe for lorries. => Bridge unsafe for lorries.
The bridge is safe for lorries. => Bridge dangerous for lorries.
The claim was invalid in two points. => Claim valid in 2 points.
He was careless with the keys. => He was careful with keys.
Prices of copper fell in June. => Copper prices rose in June.
The signal stands above the bridge. => Signal stands below bridge.
The clerk resigned before the audit. => Clerk resigned after audit.
After the audit, the clerk resigned. => Before audit, clerk resigned.
The vault is not open at night. => Vault not closed at night.
Pump A did not start. Pump B started. => Pump A started. Pump B did not start.
A did not start. B started. => A started. B did not start.
The mill was built by Corden. => Mill built Corden.
Farrow was taken over by Lisle. => Farrow took over Lisle.
Lisle took over Farrow. => Lisle was taken over by Farrow.
"""
THE_SAME = """
The signal stands above the bridge. => Bridge stands below signal.
The vault is not open at night. => Vault closed at night.
Import of tin rose, export of tin fell. => Tin: export fell, import rose.
The claim was invalid in part and valid in part. => Claim partly valid, partly invalid.
The fund is a non-profit body for schools. => Fund: nonprofit body for schools.
It is impossible to observe the core from Earth. => Core unobservable from Earth.
The new pump is less expensive than the old one. => New pump cheaper than old.
Space is falling inwards at the edge. => Space infall at edge.
The pier was hit and the tower was not hit. => Pier hit, not tower.
Town schools may charge. Village schools may not charge. => Town schools may charge; village schools may not.
The mill was built by Corden. => Corden built mill.
"""


def pairs(block: str) -> list[tuple[str, str]]:
    lines = (line.split(" => ") for line in block.strip().splitlines())
    return [(original, other) for original, other in lines]


@pytest.mark.parametrize(("original", "other"), pairs(CONTRADICTED))
def test_what_is_contradicted_is_changed(original: str, other: str) -> None:
    assert "changed" in {fact.status for fact in check_facts(original, other).facts}


@pytest.mark.parametrize(("original", "other"), pairs(THE_SAME))
def test_what_means_the_same_is_kept(original: str, other: str) -> None:
    assert [fact for fact in check_facts(original, other).facts if fact.status != "kept"] == []


def test_an_opposite_is_told_with_its_place() -> None:
    [fact] = check_facts("The bridge is safe for lorries.", "Bridge unsafe for lorries.").facts
    assert (fact.kind, fact.type, fact.text, fact.status, fact.found) == (
        "negation", "opposite", "safe", "changed", "unsafe"
    )  # fmt: skip
    assert (fact.start, fact.end) == (14, 18)


def test_opposites_are_not_asked_for_without_negations() -> None:
    assert check_facts("The bridge is safe for lorries.", "Bridge unsafe for lorries.", kinds=["numbers"]).facts == ()


@pytest.mark.parametrize(
    ("word", "rest"),
    [("unsafe", "safe"), ("illegal", "legal"), ("nonlinear", "linear"), ("inward", ""), ("until", ""), ("infall", "")],
)
def test_without_prefix(word: str, rest: str) -> None:
    assert without_prefix(word) == rest
