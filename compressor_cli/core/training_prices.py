"""What training in a cloud costs, by list prices; amounts are integers of 1e-9 USD, as in `core.prices`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field

from compressor_cli.core.prices import nano

SHIPPED = Path(__file__).parents[1] / "assets" / "training_prices.yaml"


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _ModelForm(_Form):
    train: Decimal = Field(ge=0)
    prefill: Decimal = Field(ge=0)


class _ListForm(_Form):
    as_of: date
    models: dict[str, _ModelForm]


@dataclass(frozen=True, slots=True)
class TrainingPrice:
    """In 1e-9 USD per million tokens: `train` of steps, `prefill` of validations. `as_of` is the day of the list."""

    train: int
    prefill: int
    as_of: date

    def cost(self, tokens: int, validated: int = 0) -> int:
        """Rounded up."""
        return -(-(tokens * self.train + validated * self.prefill) // 1_000_000)


def training_price(model: str) -> TrainingPrice | None:
    """At Tinker. None where the list does not have the model, which is no price of zero."""
    listed = _ListForm.model_validate(yaml.safe_load(SHIPPED.read_text(encoding="utf-8")))
    form = listed.models.get(model)
    return TrainingPrice(nano(form.train), nano(form.prefill), listed.as_of) if form else None
