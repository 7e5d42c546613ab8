"""The rows and receipts that travel between the parts, all frozen."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one compression did; the same object in Python, in `--json` and in a batch row.

    `ratio` is tokens_out / tokens_in and `savings` 1 - ratio. `rate` is the budget as a share of tokens_in.
    `exact` is False where the tokenizer can only be estimated here. `seconds` is wall time.
    """

    compressed: str
    engine: str
    domain: str
    tokenizer: str
    exact: bool
    tokens_in: int
    tokens_out: int
    ratio: float
    savings: float
    rate: float
    seconds: float
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "warnings": list(self.warnings)}
