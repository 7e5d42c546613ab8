"""What the double of a Tinker server trains: each token predicts the next by factors of low rank, with AdamW."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

VOCABULARY = 1024
_SCALE = 0.3
Json = dict[str, Any]
Floats = NDArray[np.float64]


@dataclass
class State:
    """What a checkpoint holds. `moments` are those of AdamW, absent where only weights are loaded."""

    rank: int
    weights: dict[str, Floats]
    moments: dict[str, tuple[Floats, Floats]]
    steps: int = 0

    @classmethod
    def new(cls, rank: int, seed: int, vocabulary: int) -> State:
        """As LoRA begins: one factor is random, the other zero, so that nothing is learned yet."""
        first = np.random.default_rng(seed).normal(scale=_SCALE, size=(vocabulary, rank))
        weights = {"first": first, "second": np.zeros((rank, vocabulary))}
        return cls(rank, weights, {})

    def copy(self, *, optimizer: bool) -> State:
        weights = {name: array.copy() for name, array in self.weights.items()}
        moments = {name: (a.copy(), b.copy()) for name, (a, b) in self.moments.items()} if optimizer else {}
        return State(self.rank, weights, moments, self.steps if optimizer else 0)

    def tensors(self) -> bytes:
        """The weights as a safetensors file."""
        header, data = {}, b""
        for name, array in self.weights.items():
            offsets = [len(data), len(data) + array.nbytes]
            header[name] = {"dtype": "F64", "shape": list(array.shape), "data_offsets": offsets}
            data += array.tobytes()
        told = json.dumps(header).encode()
        return len(told).to_bytes(8, "little") + told + data


@dataclass
class Row:
    tokens: NDArray[np.int32]
    targets: NDArray[np.int64]
    weights: NDArray[np.float32]


class Model:
    """One training run."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.gradient = {name: np.zeros_like(array) for name, array in state.weights.items()}
        self.next_request = 1

    def forward(self, row: Row, *, backward: bool) -> Floats:
        """Log probabilities of the targets; with `backward`, the gradient of the weighted loss is added."""
        first, second = self.state.weights["first"], self.state.weights["second"]
        hidden = first[row.tokens]
        logits = hidden @ second
        logits -= logits.max(axis=1, keepdims=True)
        logprobs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        places = np.arange(len(row.targets))
        if backward:
            error = np.exp(logprobs)
            error[places, row.targets] -= 1
            error *= row.weights[:, None]
            self.gradient["second"] += hidden.T @ error
            np.add.at(self.gradient["first"], row.tokens, error @ second.T)
        found: Floats = logprobs[places, row.targets]
        return found

    def step(self, params: Json) -> None:
        state, beta1, beta2 = self.state, params["beta1"], params["beta2"]
        state.steps += 1
        norm = float(np.sqrt(sum((part**2).sum() for part in self.gradient.values())))
        clip = params.get("grad_clip_norm", 0.0)
        scale = clip / norm if 0 < clip < norm else 1.0
        for name, weights in state.weights.items():
            gradient = self.gradient[name] * scale
            mean, square = state.moments.get(name, (np.zeros_like(weights), np.zeros_like(weights)))
            mean = beta1 * mean + (1 - beta1) * gradient
            square = beta2 * square + (1 - beta2) * gradient**2
            state.moments[name] = mean, square
            corrected = mean / (1 - beta1**state.steps)
            spread = np.sqrt(square / (1 - beta2**state.steps)) + params["eps"]
            weights *= 1 - params["learning_rate"] * params["weight_decay"]
            weights -= params["learning_rate"] * corrected / spread
            self.gradient[name] = np.zeros_like(weights)
