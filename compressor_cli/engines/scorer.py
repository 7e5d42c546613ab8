"""The embedded model: three chances for each unit of a text, from a small ONNX encoder on the CPU."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor_cli.errors import UsageError

EMBEDDED = Path(__file__).parent.parent / "assets" / "prose"
_CONTEXT = 48  # tokens of what went before that a window sees again
_BATCH = 8
_UNIT_PIECES = 16  # of a longer unit (a URL) the first pieces speak for the rest
_AT_ONCE = 2000  # sentences held as tokens at a time; keeps memory flat on long texts
_UNKNOWN = (-4.0, 0.0, -4.0)  # logits of a unit the tokenizer makes nothing of


@dataclass(frozen=True)
class Scores:
    """One entry a unit, chances in 0..1: an answer starts here; it goes on past here; a writer keeps the unit."""

    start: NDArray[np.float32]
    go_on: NDArray[np.float32]
    keep: NDArray[np.float32]


@dataclass(frozen=True)
class _Window:
    """Token positions `seen:stop` are fed, the logits of `start:stop` are used."""

    seen: int
    start: int
    stop: int


class Scorer:
    """Raises UsageError where `folder` holds no model."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        for name in ("model.onnx", "tokenizer.json", "model.json"):
            if not (folder / name).is_file():
                raise UsageError(
                    f"{folder} holds no extractive model: {name} is missing",
                    hint="name a run of: scc train --backend extractive",
                )
        try:
            self.card: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            self._session = onnxruntime.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
            self._room = int(self.card["max_seq_length"]) - 2
            self._first, self._last = int(self.card["cls_id"]), int(self.card["sep_id"])
        except (KeyError, TypeError, ValueError) as exc:
            raise UsageError(f"{folder} is not an extractive model: model.json: {exc}") from None
        except Exception as exc:  # both libraries raise their own bare exceptions for a file they cannot read
            raise UsageError(f"{folder} is not an extractive model: {exc}") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def score(self, sentences: Sequence[Sequence[str]]) -> Scores:
        """`sentences` are lists of units in the order of the text; the scores are flat over all of them."""
        parts = [self._logits(sentences[at : at + _AT_ONCE]) for at in range(0, len(sentences), _AT_ONCE)]
        logits = np.concatenate(parts) if parts else np.zeros((0, 3), dtype=np.float32)
        chances: NDArray[np.float32] = (1 / (1 + np.exp(-logits))).astype(np.float32)
        return Scores(chances[:, 0], chances[:, 1], chances[:, 2])

    def _logits(self, sentences: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """Mean logits of the pieces of each unit."""
        ids, owners, ends = self._pieces(sentences)
        count = sum(len(sentence) for sentence in sentences)
        total = np.zeros((count, 3), dtype=np.float32)
        windows = sorted(_windows(ends, self._room), key=lambda w: w.stop - w.seen)
        for at in range(0, len(windows), _BATCH):
            batch = windows[at : at + _BATCH]
            for window, logits in zip(batch, self._run(ids, batch), strict=True):
                used = logits[1 + window.start - window.seen : 1 + window.stop - window.seen]
                np.add.at(total, owners[window.start : window.stop], used)
        pieces = np.bincount(owners, minlength=count) if count else np.zeros(0)
        total[pieces > 0] /= pieces[pieces > 0, None]
        total[pieces == 0] = _UNKNOWN
        return total

    def _pieces(self, sentences: Sequence[Sequence[str]]) -> tuple[NDArray[np.int64], NDArray[np.int64], list[int]]:
        """Token ids, the unit each belongs to, and the position at which each sentence ends."""
        encodings = self._tokenizer.encode_batch(
            [[_encodable(unit) for unit in sentence] for sentence in sentences],
            is_pretokenized=True,
            add_special_tokens=False,
        )
        ids: list[int] = []
        owners: list[int] = []
        ends: list[int] = []
        base = 0
        for sentence, encoding in zip(sentences, encodings, strict=True):
            last, run = -1, 0
            for token, unit in zip(encoding.ids, encoding.word_ids, strict=True):
                assert unit is not None  # no special tokens were asked for
                run = run + 1 if unit == last else 1
                last = unit
                if run <= _UNIT_PIECES:
                    ids.append(token)
                    owners.append(base + unit)
            base += len(sentence)
            ends.append(len(ids))
        return np.array(ids, dtype=np.int64), np.array(owners, dtype=np.int64), ends

    def _run(self, ids: NDArray[np.int64], batch: Sequence[_Window]) -> NDArray[np.float32]:
        longest = max(window.stop - window.seen for window in batch) + 2
        tokens = np.zeros((len(batch), longest), dtype=np.int64)
        mask = np.zeros_like(tokens)
        for row, window in enumerate(batch):
            length = window.stop - window.seen + 2
            tokens[row, 0] = self._first
            tokens[row, 1 : length - 1] = ids[window.seen : window.stop]
            tokens[row, length - 1] = self._last
            mask[row, :length] = 1
        (logits,) = self._session.run(None, {"input_ids": tokens, "attention_mask": mask})
        return np.asarray(logits, dtype=np.float32)


def _encodable(unit: str) -> str:
    """A lone surrogate, which JSON can carry, has no UTF-8 form."""
    return unit if unit.isascii() else unit.encode("utf-8", "replace").decode()


def _windows(ends: Sequence[int], room: int) -> Iterator[_Window]:
    """Cover all tokens with windows that begin and end with sentences where they can."""
    total = ends[-1] if ends else 0
    starts = [0, *ends]
    start = 0
    n = 0  # the sentence that holds `start`
    while start < total:
        while n + 1 < len(starts) and starts[n + 1] <= start:
            n += 1
        seen = max(start - min(_CONTEXT, room // 4), 0)
        m = n
        while m > 0 and starts[m - 1] >= seen:
            m -= 1
        seen = starts[m] if seen <= starts[m] < start else seen
        stop = start
        k = n
        while k < len(ends) and ends[k] - seen <= room:
            stop = ends[k]
            k += 1
        if stop == start:
            stop = min(seen + room, total)
        yield _Window(seen, start, stop)
        start = stop


def load_scorer(folder: Path = EMBEDDED) -> Scorer:
    """A model is loaded once a process, however its folder is spelled."""
    return _load(folder.resolve())


@lru_cache(maxsize=2)
def _load(folder: Path) -> Scorer:
    return Scorer(folder)


def model_folder(model: str | Path) -> Path:
    """A folder with a model, or a run that trained one."""
    folder = Path(model)
    if not folder.exists():
        raise UsageError(f"--model {folder}: no such folder", hint="a run of: scc train --backend extractive")
    inside = folder / "model"
    return inside if inside.is_dir() else folder
