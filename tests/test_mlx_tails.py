"""Logits of the trained part of a row: loss and gradients are those of all logits, whatever the model does there."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from compressor_cli.core.rendering import Rendered

mx: Any = pytest.importorskip("mlx.core")
nn: Any = pytest.importorskip("mlx.nn")
pytest.importorskip("mlx_lm")

SMALL: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64, "num_attention_heads": 2, "head_dim": 16,
    "num_key_value_heads": 2, "vocab_size": 97, "rms_norm_eps": 1e-6, "rope_theta": 1e4,
    "max_position_embeddings": 512,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "qwen3": {"tie_word_embeddings": True},
    "llama": {"tie_word_embeddings": False},
    "gemma2": {"final_logit_softcapping": 5.0},
    "cohere": {"logit_scale": 3.0},
}


def a_model(kind: str) -> Any:
    module = importlib.import_module(f"mlx_lm.models.{kind}")
    mx.random.seed(0)
    return module.Model(module.ModelArgs.from_dict({"model_type": kind, **SMALL, **KINDS[kind]}))


def rows() -> list[Rendered]:
    return [Rendered([(7 * n + at) % 97 for n in range(300 + at)], ((250 + at, 300 + at),)) for at in range(2)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_and_its_gradients_are_those_of_all_logits(kind: str) -> None:
    from compressor_cli.backends.mlx.tails import use_tails
    from compressor_cli.backends.mlx.training import make_batch, sum_loss

    tokens, following, trained = make_batch(rows())
    assert (tokens.shape, following.shape, trained.shape) == ((2, 320), (2, 128), (2, 128))
    model = a_model(kind)
    plain = nn.value_and_grad(model, sum_loss)(model, tokens, following, trained)
    seen: list[int] = []

    def loss(model: Any, *batch: Any) -> Any:
        seen.append(model.model(tokens).shape[1])
        return sum_loss(model, *batch)

    use_tails(model)
    found = nn.value_and_grad(model, loss)(model, tokens, following, trained)
    assert seen == [320]  # as it was for all others
    assert found[0].item() == pytest.approx(plain[0].item(), rel=1e-5)
    flat = importlib.import_module("mlx.utils").tree_flatten
    for (name, one), (_, other) in zip(flat(found[1]), flat(plain[1]), strict=True):
        assert mx.allclose(one, other, rtol=1e-3, atol=1e-4).item(), name


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16], ids=str)
def test_the_head_is_given_the_last_positions_alone(dtype: Any) -> None:
    from compressor_cli.backends.mlx.tails import tail_logits, use_tails

    model = a_model("llama")
    model.set_dtype(dtype)
    use_tails(model)
    assert model.training
    given: list[int] = []

    class Head(type(model.lm_head)):  # type: ignore[misc]
        def __call__(self, x: Any) -> Any:
            given.append(x.shape[1])
            return super().__call__(x)

    model.lm_head.__class__ = Head
    tokens = mx.array([[1, 2, 3, 4, 5, 6]])
    assert mx.allclose(tail_logits(model, tokens, 2), model(tokens)[:, -2:], atol=1e-2).item()
    assert given == [2, 6]


def test_a_model_of_another_build_computes_all_of_its_logits() -> None:
    from compressor_cli.backends.mlx.tails import tail_logits, use_tails

    class Mixing(nn.Module):  # type: ignore[misc]
        """What its head makes of a position depends on those before."""

        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Embedding(97, 8)

        def __call__(self, tokens: Any) -> Any:
            return mx.cumsum(self.model(tokens), axis=1)

    for model in (Mixing(), nn.Embedding(97, 8)):
        use_tails(model)
        tokens = mx.array([[5, 6, 7]])
        assert mx.allclose(tail_logits(model, tokens, 2), model(tokens)[:, -2:]).item()
