"""Small changes that turn a fact round, and faithful ones that look like them: digits, codes, prefixes, operators."""

from __future__ import annotations

from typing import Any

import pytest
from test_facts_pairs import not_kept, pairs

from compressor_cli.core.facts import KINDS, check_facts, find_facts
from compressor_cli.errors import UsageError

CHANGED = """
Order 12345678901234567 has shipped. => Order 12345678901234568 shipped.
Order 1234567890123456789012345 has shipped. => Order 1234567890123456789012346 shipped.
Order 12,345,678,901,234,567 has shipped. => Order 12,345,678,901,234,568 shipped.
The total is 1000000000000000.01 in all. => Total 1000000000000000.02.
The register 0x1F4A is read first. => Register 0x1F4B read first.
The register 0x1F4A is read first. => Register read first.
The register 0xDEAD is read first. => Register 0xBEEF read first.
The mask is 0b1010 by default. => Mask 0b1011 by default.
The mode is 0o755 by default. => Mode 0o644 by default.
The links are in #FF0000 on the page. => Links are in #FF0001 on page.
The links are in #fff on the page. => Links are in #eee on page.
The links are in #a1b on the page. => Links are on page.
The address is 00:1A:2B:3C:4D:5E on that port. => Address 00:1A:2B:3C:4D:5F on port.
The address is aa-bb-cc-dd-ee-ff on that port. => Address aa-bb-cc-dd-ee-fe on port.
The row is 550E8400-E29B-41D4-A716-446655440000 now. => Row is 550E8400-E29C-41D4-A716-446655440000 now.
The commit 044301a broke it. => Commit 044301b broke it.
The commit 9fceb02d0ae598e95dc970b74767f19372d61af8 broke it. => Commit broke it.
The part SN-00987-B is broken. => Part SN-987-B is broken.
The part SN-00987-B is broken. => Part SN-00987-C is broken.
The call starts at 15:00 UTC today. => Call 15:00 CET today.
The call starts at 15:00 UTC today. => Call 15:00 today.
The rent is due on 03/04/2020 at noon. => Rent due 04/03/2020 noon.
The rent is due on 03/04 at noon. => Rent due 04/03 noon.
Pay the bill within 30 days. => Pay bill after 30 days.
Exactly 5 people came to the talk. => About 5 people came to talk.
About 5 people came to the talk. => Exactly 5 people came to talk.
It takes ~50 ms to start. => Takes 50 ms to start.
The error is ±5 mm at most. => Error +5 mm at most.
Increase the share to 10% now. => Increase share by 10% now.
The table holds 10^6 rows. => Table holds 10 6 rows.
The table holds 10^6 rows. => Table holds 10^5 rows.
All but two members agreed. => Two members agreed.
All but two members agreed. => But two members agreed.
The duty follows from § 12 of the act. => Duty: 12 of act.
The liquid is non-flammable in air. => Liquid flammable in air.
The room is 2x3 m in size. => Room 2x4 m.
The image is 1920x1080 in size. => Image 1920x1200.
Take the pill twice a day. => Take pill 3x/day.
The fee is Rs. 500 for each. => Fee Rs. 600 each.
The fee is Rs. 500 for each. => Fee $500 each.
Smoking is dis-allowed in here. => Smoking is allowed in here.
The bridge is far from safe in winter. => Bridge safe in winter.
The field is optional in this form. => Field mandatory in form.
Not all users agree with it. => No users agree with it.
if a != b: return a => if a == b: return a
if (!ready) return 0; => if (ready) return 0;
if (a <= b) return 0; => if (a < b) return 0;
if (a && b) return 0; => if (a || b) return 0;
total += step; => total -= step;
The loop ends when `i` >= `size` again. => Loop ends when `i` < `size` again.
Pi is 3.14159265358979323846 or so. => Pi is 3.14159265358979323847.
"""
KEPT = """
Order 12,345,678,901,234,567,890,123,456,789 has shipped. => Order 12345678901234567890123456789 shipped.
A third of an hour passed. => 20 min passed.
It runs at 36 km/h. => Runs at 10 m/s.
The room is 2 × 3 m in size. => Room 2x3 m.
The room is 2x3 m in size. => Room 2 × 3 m.
The room is 2 by 3 metres in size. => Room 2x3 m.
The image is 1920 by 1080 pixels. => Image 1920x1080 px.
Take the pill twice a day. => Take pill 2x/day.
Take the pill twice a day. => Take pill 2×/day.
The fee is Rs. 500 for each. => Fee ₹500 each.
The fee is 500 rupees for each. => Fee Rs 500 each.
The liquid is non-flammable in air. => Liquid not flammable in air.
The liquid is non-flammable in air. => Liquid nonflammable in air.
The bridge is far from safe in winter. => Bridge not safe in winter.
The house is far from the sea. => House far from sea.
The field is optional in this form. => Field not mandatory in form.
Not all users agree with it. => Not all agree.
Not every user agrees with it. => Not all users agree with it.
if a !== b: return a => if a != b: return a
x = p if a == 1 else q => x = q if a != 1 else p
if (!ready) return 0; => if (not ready) return 0
Press the key !now and read <b>on</b>. => Press key !now, read on.
The call starts at 15:00 UTC today. => Call 15:00 (UTC) today.
The call starts at 15:00 GMT today. => Call 15:00 UTC today.
All times are UTC; it starts at 15:00 UTC. => Times UTC: starts 15:00.
The call starts at 15:00 today. => Call 15:00 UTC today.
The rent is due on 03/04/2020 at noon. => Rent due 3/4/20 noon.
The rent is due on 03/04/2020 at noon. => Rent due 4 March 2020 noon.
The rent is due on 4 March 2020 at noon. => Rent due 03/04/2020 noon.
Pay the bill within 30 days. => Pay bill in 30 days.
About 5 people came to the talk. => ~5 people came to talk.
It takes ~50 ms to start. => Takes approx. 50 ms to start.
The error is ±5 mm. => Error +/-5 mm.
The table holds 10^6 rows. => Table holds 10⁶ rows.
The table holds 10^6 rows. => Table holds 1 million rows.
The table holds 2^10 rows. => Table holds 1024 rows.
It was founded in 1920² by monks. => Founded 1920 by monks.
All but two members agreed. => All except 2 members agreed.
The duty follows from § 12 of the act. => Duty from Sec. 12 of act.
The register 0x1F4A is read first. => Register 0x1f4a read first.
The row is 550E8400-E29B-41D4-A716-446655440000 now. => Row 550e8400-e29b-41d4-a716-446655440000.
Read issue #123456 and #decade first. => Read issue 123456 and #decade.
The deadline of 5000000b was passed. => 5000000b deadline passed.
The US-UK-2020 talks and the A-1 road. => US-UK-2020 talks, A-1 road.
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


TEXT = "It must not cost 5 EUR at https://a.example/b for `max_n` or Alice Miller."


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        ("all", set(KINDS)), ("none", set()), ((), set()), ("numbers, urls", {"numbers", "urls"}), ("code", {"code"}),
        (["all"], set(KINDS)), ({"names"}, {"names"}),
    ],
)  # fmt: skip
def test_kinds_are_named_as_for_protect(given: Any, kinds: set[str]) -> None:
    assert {fact.kind for fact in check_facts(TEXT, "", kinds=given).facts} == kinds


@pytest.mark.parametrize("given", ["number", "", ",", ["nubers"], ["all", "code"], 5, None, [5], b"code"])
def test_kinds_that_are_none_are_refused(given: Any) -> None:
    with pytest.raises(UsageError, match="kinds"):
        check_facts(TEXT, "", kinds=given)


def test_unknown_kinds_are_told_the_known_ones() -> None:
    with pytest.raises(UsageError, match="kinds wrong: no such kind") as error:
        check_facts(TEXT, TEXT, kinds="wrong")
    assert error.value.hint and all(kind in error.value.hint for kind in KINDS)


@pytest.mark.parametrize(("original", "compressed", "named"), [(1, "2", "original"), ("1", None, "compressed")])
def test_what_is_no_text_is_named(original: Any, compressed: Any, named: str) -> None:
    with pytest.raises(UsageError, match=f"^{named}: text is needed"):
        check_facts(original, compressed)


def test_patterns_are_compiled_ones() -> None:
    with pytest.raises(UsageError, match=r"^patterns: "):
        check_facts(TEXT, TEXT, patterns=["A.*"])  # type: ignore[list-item]


@pytest.mark.parametrize("text", [r'{"a": "\ud83d\ude00 at the sea", "b": "caf\u00e9 \u00e0 la"}', r"caf\u00e9\u00e8"])
def test_escapes_of_json_are_no_paths(text: str) -> None:
    assert [fact.text for fact in find_facts(text, ["urls"])] == []
