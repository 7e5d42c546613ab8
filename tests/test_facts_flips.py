"""Small changes that turn a fact round, and faithful ones that look like them: digits, codes, prefixes, operators."""

from __future__ import annotations

import pytest
from test_facts_pairs import not_kept, pairs

CHANGED = """
Order 12345678901234567 has shipped. => Order 12345678901234568 shipped.
Order 1234567890123456789012345 has shipped. => Order 1234567890123456789012346 shipped.
Order 12,345,678,901,234,567 has shipped. => Order 12,345,678,901,234,568 shipped.
The total is 1000000000000000.01 in all. => Total 1000000000000000.02.
Pi is 3.14159265358979323846 or so. => Pi is 3.14159265358979323847.
"""
KEPT = """
Order 12,345,678,901,234,567,890,123,456,789 has shipped. => Order 12345678901234567890123456789 shipped.
A third of an hour passed. => 20 min passed.
It runs at 36 km/h. => Runs at 10 m/s.
"""


@pytest.mark.parametrize(("original", "other"), pairs(CHANGED))
def test_what_was_turned_round_is_caught(original: str, other: str) -> None:
    assert not_kept(original, other)


@pytest.mark.parametrize(("original", "other"), pairs(KEPT))
def test_what_says_the_same_is_kept(original: str, other: str) -> None:
    assert not_kept(original, other) == []


@pytest.mark.parametrize("text", [text for pair in pairs(CHANGED) + pairs(KEPT) for text in pair])
def test_each_keeps_its_own_facts(text: str) -> None:
    assert not_kept(text + " ", text) == []
