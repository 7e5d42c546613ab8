"""Logits of the last positions alone, where only these are trained on. Imports MLX.

A row is mostly prompt, and a head is a vocabulary wide: what it makes of the prompt is memory and time for nothing. The
body of a model gives its head the last positions only; what the model does beside (scales, caps) stays its own.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import mlx.core as mx


class _Tail:
    """How many positions the model that is being called is asked for; all, where it is None."""

    length: int | None = None


def use_tails(model: Any) -> None:
    """In place, where it is seen to give the same; a model of another build goes on computing all of its logits."""
    body = getattr(model, "model", None)
    if body is None:
        return
    kind, training = body.__class__, model.training
    model.eval()
    tokens = mx.array([[1, 2, 3, 4]])
    wanted = model(tokens)[:, -2:]
    body.__class__ = _with_tail(kind)
    if not _alike(_logits(model, tokens, 2), wanted):
        body.__class__ = kind
    model.train(training)


def tail_logits(model: Any, tokens: mx.array, length: int) -> mx.array:
    """`model(tokens)[:, -length:]`."""
    return _logits(model, tokens, length)[:, -length:]


def _logits(model: Any, tokens: mx.array, length: int) -> mx.array:
    _Tail.length = length
    try:
        logits: mx.array = model(tokens)
    finally:
        _Tail.length = None
    return logits


def _alike(found: mx.array, wanted: mx.array) -> bool:
    """Up to what 16 bits round."""
    if found.shape != wanted.shape:
        return False
    found, wanted = found.astype(mx.float32), wanted.astype(mx.float32)
    return bool((mx.abs(found - wanted).max() <= 0.05 * mx.abs(wanted).max()).item())


@cache
def _with_tail(kind: Any) -> Any:
    def call(body: Any, *args: Any, **kwargs: Any) -> Any:
        hidden = kind.__call__(body, *args, **kwargs)
        return hidden if _Tail.length is None else hidden[:, -_Tail.length :]

    return type(kind.__name__, (kind,), {"__call__": call})
