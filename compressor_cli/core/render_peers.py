"""What mlx-lm, TRL and Tinker's SDK make of rows by themselves, to compare with this project's own rendering.

Each is the library's own code, run where it is installed: it finds what a template does under the arguments that a
library passes to it, such as `enable_thinking` from mlx-lm.
"""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

from compressor_cli.core.chat_tokenizer import ChatTokenizer
from compressor_cli.core.rendering import RefusedRow, Rendered, Row, first_difference, render
from compressor_cli.errors import install_command

Rows = Sequence[tuple[Row, Rendered]]
_PROBE: Row = {"messages": [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "Two."}]}
Renders = Callable[[Rows], list[Rendered]]


@dataclass(frozen=True)
class Peer:
    """`renders` takes rows as `training_row` makes them, beside our rendering; each has the last answer as a span."""

    name: str
    version: str
    renders: Renders

    def differences(self, tokenizer: ChatTokenizer, rows: Rows) -> list[str | None]:
        """For each row, how the library's rendering differs from ours."""
        try:
            theirs: Sequence[Rendered | str] = self.renders(rows)
        except Exception:  # whatever a library raises: then it is asked row by row, for the row that it fails on
            theirs = [self._alone(row) for row in rows]
        told = [_difference(tokenizer, ours, other) for (_, ours), other in zip(rows, theirs, strict=True)]
        return [line and f"{self.name} {line}" for line in told]

    def _alone(self, row: tuple[Row, Rendered]) -> Rendered | str:
        try:
            return self.renders([row])[0]
        except Exception as exc:
            return f"fails: {_one_line(exc)}"


def open_peers(tokenizer: ChatTokenizer) -> tuple[list[Peer], dict[str, str]]:
    """The libraries that are here, and by name why others are not compared."""
    peers, absent = [], {}
    try:
        probe = [(_PROBE, render(tokenizer, _PROBE))]
    except RefusedRow:  # no library can be blamed for that
        probe = []
    for name, (extra, packages, opened) in _LIBRARIES.items():
        missing = [package for package in packages if find_spec(package) is None]
        if missing:
            absent[name] = f"{missing[0]} is not installed ({install_command(extra)})"
            continue
        try:
            peer = Peer(name, version(name), opened(tokenizer))
            if probe:
                peer.renders(probe)
        except ImportError as exc:  # mlx without a backend is installed, and cannot be imported
            absent[name] = f"it cannot be imported: {_one_line(exc)}"
        except Exception as exc:  # another version than the one this was written for: no fault of the rows
            absent[name] = f"version {version(name)} fails on one question and answer: {_one_line(exc)}"
        else:
            peers.append(peer)
    return peers, absent


def _one_line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200] or type(exc).__name__


def _difference(tokenizer: ChatTokenizer, ours: Rendered, theirs: Rendered | str) -> str | None:
    if isinstance(theirs, str):
        return theirs
    if ours.tokens != theirs.tokens:
        place = first_difference(ours.tokens, theirs.tokens)
        there, here = (tokenizer.hf.decode(one.tokens[place : place + 4]) for one in (theirs, ours))
        return f"renders other tokens from token {place} on: {there!r}, here {here!r}"
    start, end = ours.trained[-1]
    if end == len(ours.tokens) and theirs.trained[-1:] != ours.trained[-1:]:
        first, last = theirs.trained[-1] if theirs.trained else (end, end)
        return f"trains tokens {first} to {last}, here {start} to {end}"
    return None


def _mlx(tokenizer: ChatTokenizer) -> Renders:
    """Its datasets. Its default loss (0.32) also counts the padding token after a row, whatever the row."""
    importlib.import_module("mlx.core")
    loaded = importlib.import_module("mlx_lm.utils").load_tokenizer(str(tokenizer.folder))
    dataset = importlib.import_module("mlx_lm.tuner.datasets").ChatDataset([], loaded, mask_prompt=True)

    def renders(rows: Rows) -> list[Rendered]:
        found = (dataset.process(row) for row, _ in rows)
        return [Rendered(tokens, ((min(offset, len(tokens)), len(tokens)),)) for tokens, offset in found]

    return renders


def _trl(tokenizer: ChatTokenizer) -> Renders:
    """The preparation of SFTTrainer, without a model. As a stream, since a table would give each call of a tool the
    arguments of all the others."""
    stream = importlib.import_module("datasets").IterableDataset
    logging.getLogger("trl").setLevel(logging.ERROR)  # what it warns of is what is compared here
    prepare = importlib.import_module("trl.trainer.sft_trainer").SFTTrainer._prepare_dataset
    trainer = SimpleNamespace(_tokenizer=tokenizer.hf, chat_template=None, completion_only_loss=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of a default of its own
        args = importlib.import_module("trl").SFTConfig("unused", max_length=None, use_cpu=True, bf16=False)

    def renders(rows: Rows) -> list[Rendered]:
        data = [
            {"prompt": row["messages"][:-1], "completion": row["messages"][-1:], "tools": row.get("tools")}
            for row, _ in rows
        ]
        found = prepare(trainer, stream.from_generator(lambda: iter(data)), tokenizer.hf, args, False, None, "rows")
        return [_of_labels(row["input_ids"], row["labels"]) for row in found]

    return renders


def _of_labels(tokens: list[int], labels: list[int]) -> Rendered:
    start = next((place for place, label in enumerate(labels) if label != -100), len(labels))
    return Rendered(tokens, ((start, len(tokens)),))


def _tinker(tokenizer: ChatTokenizer) -> Renders:
    """The SDK has no renderer: what can be compared is that a datum holds the same."""

    def renders(rows: Rows) -> list[Rendered]:
        return [_of_datum(datum(ours)) for _, ours in rows]

    importlib.import_module("tinker")
    return renders


def datum(rendered: Rendered) -> Any:
    """For a training client's forward_backward with the loss `cross_entropy`."""
    tinker = importlib.import_module("tinker")
    inputs, targets, weights = rendered.shifted()
    return tinker.Datum(
        model_input=tinker.ModelInput.from_ints(inputs), loss_fn_inputs={"target_tokens": targets, "weights": weights}
    )


def _of_datum(datum: Any) -> Rendered:
    targets, weights = (datum.loss_fn_inputs[name].tolist() for name in ("target_tokens", "weights"))
    tokens = [*datum.model_input.to_ints(), targets[-1]]
    end = len(weights) - next((place for place, weight in enumerate(reversed(weights)) if weight), len(weights))
    start = end - next((place for place, weight in enumerate(reversed(weights[:end])) if not weight), end)
    return Rendered(tokens, ((start + 1, end + 1),))


_LIBRARIES: dict[str, tuple[str, tuple[str, ...], Callable[[ChatTokenizer], Renders]]] = {
    "mlx-lm": ("local", ("mlx", "mlx_lm"), _mlx),
    "trl": ("torch", ("torch", "trl", "datasets"), _trl),
    "tinker": ("tinker", ("tinker",), _tinker),
}
