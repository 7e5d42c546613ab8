"""The list of prices of training."""

from __future__ import annotations

from datetime import date

import pytest

from compressor_cli.core.training_prices import training_price


def test_what_a_run_costs() -> None:
    """1.2 million tokens of steps at $0.44, and half a million of validations at $0.195, each per million."""
    price = training_price("Qwen/Qwen3-8B")
    assert price is not None
    assert price.cost(1_200_000, 500_000) == 625_500_000
    assert price.cost(1) == 440 and price.cost(0) == 0
    assert date(2026, 10, 1) <= price.as_of


def test_parts_of_a_billionth_are_rounded_up() -> None:
    price = training_price("Qwen/Qwen3.5-4B")
    assert price is not None
    assert type(price)(train=1, prefill=0, as_of=price.as_of).cost(1) == 1


@pytest.mark.parametrize("model", ["Qwen/Qwen3-30B-A3B", "no/such", ""])
def test_what_is_not_listed_has_no_price(model: str) -> None:
    assert training_price(model) is None
