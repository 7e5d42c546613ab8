"""Rows as the SDK sends them, and the loss in what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compressor_cli.core.rendering import Rendered
from compressor_cli.errors import SccError

LOSS = "cross_entropy"  # the sum of -log p times weight


def datum(row: Rendered, weight: float) -> Any:
    """`weight` is that of each trained token."""
    import tinker

    inputs, targets, weights = row.shifted()
    scaled = np.asarray(weights, dtype=np.float32) * np.float32(weight)
    loss_inputs: dict[str, Any] = {"target_tokens": targets, "weights": scaled}
    return tinker.Datum(model_input=tinker.ModelInput.from_ints(inputs), loss_fn_inputs=loss_inputs)


def total_loss(output: Any, rows: Sequence[Rendered]) -> float:
    """From the log probabilities of trained tokens: what stands beside them may be infinite."""
    results = output.loss_fn_outputs
    if len(results) != len(rows):
        raise SccError(f"the server gave {len(results)} results for {len(rows)} rows")
    total = 0.0
    for result, row in zip(results, rows, strict=True):
        trained = np.asarray(row.shifted()[2], dtype=bool)
        logprobs = np.asarray(result["logprobs"].data if "logprobs" in result else [], dtype=np.float64)
        if logprobs.shape != trained.shape:
            raise SccError(f"the server gave {logprobs.size} log probabilities for {trained.size} tokens")
        total -= float(logprobs[trained].sum())
    return total
