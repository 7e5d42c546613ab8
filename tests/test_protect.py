"""Protected facts survive, whatever the budget, or the command says that they cannot."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compressor_cli import check_facts, compress
from compressor_cli.core.facts import KINDS
from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.options import PROTECTED
from compressor_cli.errors import BudgetTooSmallError, UsageError

TEXT = (
    "The council of Brimley met on Tuesday, 3 March, to talk about the old bridge. Ada Quill, who has kept its records "
    "since 1994, said that it must not carry lorries of more than 7.5 tonnes. Nobody disagreed. The repair will cost "
    "about £48,000, and it cannot begin before the swallows have left. The plans are at https://brimley.example/bridge "
    "and in `plans/bridge.pdf`, made by `draw_bridge()`. After that there was coffee "
    "in the hall, and a long talk about the weather that nobody has written down, as is the custom of the council."
)
count = token_counter().count

_WORDS = (
    "the a of and not never no must may cannot unless only until bridge council Ada Quill 1994 £48,000 7.5% 12 kg 3 "
    "March 2020 10:30 pm v1.2.3 said, repaired it. who? (old) “quote” **bold** `x_y` src/a.py a@b.example "
    "https://x.example/y at least most than more — lorries; tonnes: swallows. half dozen two thousand if"
).split()
texts = st.lists(st.sampled_from(_WORDS), min_size=8, max_size=70).map(" ".join)


def lost(text: str, compressed: str, kinds: str) -> list[str]:
    report = check_facts(text, compressed, kinds=kinds.split(","))
    return [fact.text for fact in report.facts if fact.status != "kept"]


@given(text=texts, rate=st.floats(0.2, 0.9), protect=st.sampled_from([PROTECTED, "numbers", "negation,names"]))
@settings(max_examples=60)
def test_protected_facts_survive_any_rate_or_the_budget_is_refused(text: str, rate: float, protect: str) -> None:
    try:
        receipt = compress(text, rate=rate, protect=protect, domain="prose")
    except BudgetTooSmallError as exc:
        assert exc.tokens_needed > int(rate * count(text))
        receipt = compress(text, max_tokens=exc.tokens_needed, protect=protect, domain="prose")
        assert receipt.tokens_out <= exc.tokens_needed
    assert lost(text, receipt.compressed, protect) == []


@given(text=texts)
@settings(max_examples=40)
def test_the_default_keeps_all_it_protects(text: str) -> None:
    assert lost(text, compress(text, domain="prose").compressed, PROTECTED) == []


def test_the_default_rate_stretches_for_facts_and_says_so() -> None:
    dense = "It costs £48,000, weighs 7.5 tonnes, takes 12 days from 3 March 2020, and must not exceed 20 km/h or 4 m."
    receipt = compress(dense)
    assert receipt.ratio > 0.5
    assert any(
        re.search(r"tokens hold protected facts: up to \d+ are kept, not \d+", told) for told in receipt.warnings
    )


def test_a_budget_too_small_for_the_facts_says_what_they_need() -> None:
    with pytest.raises(BudgetTooSmallError, match=r"protected facts .* need \d+ tokens, the budget is 20") as caught:
        compress(TEXT, max_tokens=20)
    assert caught.value.exit_code == 100
    assert "--allow-loss" in (caught.value.hint or "")
    assert compress(TEXT, max_tokens=caught.value.tokens_needed).tokens_out <= caught.value.tokens_needed


def test_loss_is_allowed_and_told() -> None:
    receipt = compress(TEXT, max_tokens=20, allow_loss=True)
    assert receipt.tokens_out <= 20
    assert any("protected facts need" in told and "lost" in told for told in receipt.warnings)
    assert receipt.fidelity < 1
    assert any(fact.status == "lost" for fact in receipt.facts)


def test_fewer_kinds_need_fewer_tokens() -> None:
    needed = []
    for protect in ("all", PROTECTED, "numbers", "urls"):
        with pytest.raises(BudgetTooSmallError) as caught:
            compress(TEXT, max_tokens=5, protect=protect)
        needed.append(caught.value.tokens_needed)
    assert needed == sorted(needed, reverse=True)
    assert compress(TEXT, max_tokens=5, protect="none").tokens_out <= 5


def test_a_pattern_is_a_fact() -> None:
    receipt = compress(TEXT, rate=0.3, protect="none", protect_pattern=["swallows|coffee in the hall"])
    assert "swallows" in receipt.compressed and "coffee in the hall" in receipt.compressed
    with pytest.raises(BudgetTooSmallError):
        compress(TEXT, max_tokens=3, protect="none", protect_pattern=["coffee in the hall"])


def test_the_receipt_lists_every_fact_with_its_place() -> None:
    receipt = compress(TEXT, rate=0.6)
    assert {fact.kind for fact in receipt.facts} == set(KINDS)
    assert all(TEXT[fact.start : fact.end] == fact.text for fact in receipt.facts)
    kept = sum(fact.status == "kept" for fact in receipt.facts)
    assert receipt.fidelity == pytest.approx(kept / len(receipt.facts), abs=1e-3)
    for kind in PROTECTED.split(","):
        assert receipt.fidelity_by_kind[kind] == 1.0


def test_a_stamp_at_the_margin_is_a_fact_too() -> None:
    text = "\n".join(
        f"10:0{n} Ada: the crane was moved by some people who came along in the morning, as they often do"
        for n in range(5)
    )
    assert lost(text, compress(text).compressed, "numbers") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"protect": "numbers,colours"}, "--protect colours: no such kind of fact"),
        ({"protect": ""}, "--protect is empty"),
        ({"protect": "all,names"}, "--protect all goes with no other kind"),
        ({"protect_pattern": ["("]}, r"--protect-pattern '\(': missing \)"),
        ({"protect_pattern": [1]}, r"protect_pattern: text or a list of texts is needed, this is \[1\]"),
    ],
)
def test_senseless_protection(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compress(TEXT, **arguments)  # type: ignore[arg-type]


PROGRAM = (
    "import os\n\n\ndef size(path):\n    # at most 12 of them, says Ada Quill\n    # plainly the size\n"
    "    return os.stat(path).st_size\n"
)


@pytest.mark.parametrize("level", ["comments", "compact", "outline"])
@pytest.mark.parametrize("protect", ["all", "numbers", "names"])
def test_comments_with_facts_of_kinds_that_were_named_stay_at_any_level(level: str, protect: str) -> None:
    receipt = compress(PROGRAM, level=level, protect=protect, domain="code")
    assert lost(PROGRAM, receipt.compressed, ",".join(KINDS) if protect == "all" else protect) == []
    assert "# at most 12" in receipt.compressed
    assert "plainly" not in receipt.compressed
    assert "# at most 12" not in compress(PROGRAM, level=level, domain="code").compressed


def test_with_loss_allowed_an_error_names_what_is_needed_then() -> None:
    text = TEXT + "\n\n```text\n" + "fixed words " * 10 + "\n```\n"
    with pytest.raises(BudgetTooSmallError) as strict:
        compress(text, max_tokens=5)
    with pytest.raises(BudgetTooSmallError) as loose:
        compress(text, max_tokens=5, allow_loss=True)
    assert loose.value.tokens_needed < strict.value.tokens_needed
    assert "--allow-loss" not in (loose.value.hint or "")
    assert compress(text, max_tokens=loose.value.tokens_needed, allow_loss=True).fidelity < 1
