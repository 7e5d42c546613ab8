"""Prices of training at Tinker, in USD per million tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal


@dataclass(frozen=True)
class TrainingPrice:
    train: Decimal
    as_of: date


def training_price(model: str) -> TrainingPrice | None:
    return None
