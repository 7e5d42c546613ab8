"""How the double of a Tinker server samples: each token from the one before it, by the weights of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tinker.proto import tinker_public_pb2 as proto
from tinker_factors import Floats, Json, State


class Refused(Exception):
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


@dataclass(frozen=True)
class Sampler:
    base: str
    path: str | None
    state: State


class Samplers:
    """Sessions of sampling. `writes_end`: a token that ends an answer is the last one of it, as at Tinker."""

    def __init__(self, models: Mapping[str, int], states: Mapping[str, State], vocabulary: int) -> None:
        self.models, self.states, self.vocabulary = models, states, vocabulary
        self.writes_end = True
        self.asked: list[Json] = []
        self._open: dict[str, Sampler] = {}

    def open(self, given: Json) -> Json:
        base, path = given.get("base_model"), given.get("model_path")
        if (base is None) == (path is None):
            raise Refused(400, "exactly one of base_model and model_path is needed")
        if base is not None and base not in self.models:
            raise Refused(404, f"no model {base}")
        if path is not None and path not in self.states:
            raise Refused(404, f"no checkpoint {path}")
        state = State.new(1, 0, self.vocabulary) if path is None else self.states[path].copy(optimizer=False)
        name = f"{given['session_id']}:sample:{given['sampling_session_seq_id']}"
        self._open[name] = Sampler(base or next(iter(self.models)), path, state)
        return {"type": "create_sampling_session", "sampling_session_id": name}

    def get(self, name: str) -> Json:
        found = self._find(name)
        return {"sampler_id": name, "base_model": found.base, "model_path": found.path}

    def sample(self, given: Json) -> tuple[Callable[[], bytes], int]:
        """What makes the answer, and the tokens in it."""
        found, params = self._find(given["sampling_session_id"]), given["sampling_params"]
        self.asked.append(given)
        tokens = [token for chunk in given["prompt"]["chunks"] for token in chunk["tokens"]]
        longest = self.models[found.base]
        if not tokens or max(tokens) >= self.vocabulary:
            raise Refused(422, "no tokens, or one that the model does not have")
        if len(tokens) + params["max_tokens"] > longest:
            raise Refused(400, f"{len(tokens)} + {params['max_tokens']} tokens are more than {longest}")
        if given["num_samples"] != 1 or not all(type(one) is int for one in params.get("stop") or ()):
            raise Refused(422, "one sample, which tokens end")
        written, ended = draw(found.state, tokens[-1], params)
        sequence = proto.SampledSequence(
            stop_reason=proto.STOP_REASON_STOP if ended else proto.STOP_REASON_LENGTH,
            tokens=np.array(written[:-1] if ended and not self.writes_end else written, np.int32).tobytes(),
        )
        return lambda: bytes(proto.SampleResponse(sequences=[sequence]).SerializeToString()), len(written)

    def _find(self, name: str) -> Sampler:
        if name not in self._open:
            raise Refused(404, f"no sampler {name}")
        return self._open[name]


def draw(state: State, token: int, params: Json) -> tuple[list[int], bool]:
    """The tokens behind `token`, and whether one of `stop` ended them."""
    rng, written = np.random.default_rng(params.get("seed")), list[int]()
    while len(written) < params["max_tokens"]:
        logits = state.weights["first"][token] @ state.weights["second"]
        token = int(logits.argmax()) if params["temperature"] == 0 else _drawn(logits, params, rng)
        written.append(token)
        if token in (params.get("stop") or ()):
            return written, True
    return written, False


def _drawn(logits: Floats, params: Json, rng: Any) -> int:
    scaled = np.exp((logits - logits.max()) / params["temperature"])
    order = np.argsort(-scaled, kind="stable")
    kept = scaled[order] / scaled.sum()
    kept[np.cumsum(kept) - kept >= params["top_p"]] = 0
    return int(rng.choice(order, p=kept / kept.sum()))
