"""The training loop. Imports torch: load it only where it is needed.

Every epoch starts from its own seed, and a checkpoint has the random state, so that a run that was stopped goes on to
the weights that an uninterrupted one would have.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch.nn import functional

from compressor_cli.backends.extractive.labels import Example
from compressor_cli.backends.extractive.network import HEADS, Network
from compressor_cli.core.checkpoints import Position, load_state
from compressor_cli.core.files import write_json
from compressor_cli.core.runs import Run, require_finite
from compressor_cli.core.stopping import Stop
from compressor_cli.settings import ExtractiveSettings


@dataclass(frozen=True)
class Window:
    """Token ids with their markers, the word of each (-1 for markers), and the labels of those words."""

    ids: list[int]
    words: list[int]
    example: Example


@dataclass(frozen=True)
class Batch:
    ids: torch.Tensor
    mask: torch.Tensor
    owner: torch.Tensor  # row of the labels for each token, -1 for none
    kept: torch.Tensor
    starts: torch.Tensor
    goes_on: torch.Tensor


def make_windows(examples: Sequence[Example], tokenizer: Any, longest: int, cls_id: int, sep_id: int) -> list[Window]:
    windows: list[Window] = []
    for example in examples:
        encoding = tokenizer.encode(list(example.words), is_pretokenized=True, add_special_tokens=False)
        ids, words = encoding.ids, encoding.word_ids
        at = 0
        while at < len(ids):
            stop = min(at + longest - 2, len(ids))
            while stop < len(ids) and stop > at + 1 and words[stop] == words[stop - 1]:
                stop -= 1
            windows.append(Window([cls_id, *ids[at:stop], sep_id], [-1, *words[at:stop], -1], example))
            at = stop
    return windows


def make_batch(windows: Sequence[Window]) -> Batch:
    longest = max(len(window.ids) for window in windows)
    ids = torch.zeros(len(windows), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    owner = torch.full_like(ids, -1)
    labels: list[tuple[float, float, float]] = []
    for row, window in enumerate(windows):
        ids[row, : len(window.ids)] = torch.tensor(window.ids)
        mask[row, : len(window.ids)] = 1
        last = -1
        for at, word in enumerate(window.words):
            if word < 0:
                continue
            if word != last:
                example = window.example
                labels.append((example.kept[word], example.starts[word], example.goes_on[word]))
                last = word
            owner[row, at] = len(labels) - 1
    kept, starts, goes_on = torch.tensor(labels, dtype=torch.float).T
    return Batch(ids, mask, owner, kept, starts, goes_on)


def pool(logits: torch.Tensor, owner: torch.Tensor, count: int) -> torch.Tensor:
    """Mean logits of the tokens of each word: count x 3."""
    flat = owner.reshape(-1)
    used = flat >= 0
    total = torch.zeros(count, HEADS).index_add(0, flat[used], logits.reshape(-1, HEADS)[used])
    pieces = torch.zeros(count).index_add(0, flat[used], torch.ones(int(used.sum())))
    return total / pieces[:, None]


def loss_of(logits: torch.Tensor, batch: Batch, keep_weight: float) -> torch.Tensor:
    words = pool(logits, batch.owner, len(batch.kept))
    bce = functional.binary_cross_entropy_with_logits
    loss = logits.sum() * 0
    for head, labels, weight in ((0, batch.starts, 1.0), (1, batch.goes_on, 1.0), (2, batch.kept, keep_weight)):
        known = labels >= 0
        if known.any():  # weighted by its share, so that every word of the text counts alike
            loss = loss + weight * known.float().mean() * bce(words[:, head][known], labels[known])
    return loss


def batches(windows: list[Window], size: int, rng: random.Random | None) -> Iterator[list[Window]]:
    """Windows of like length together; shuffled where `rng` is given."""
    order = list(windows)
    if rng:
        rng.shuffle(order)
    for at in range(0, len(order), size * 16):
        block = sorted(order[at : at + size * 16], key=lambda window: len(window.ids))
        group = [block[i : i + size] for i in range(0, len(block), size)]
        if rng:
            rng.shuffle(group)
        yield from group


def fit(
    network: Network, train: list[Window], valid: list[Window], settings: ExtractiveSettings, run: Run, stop: Stop
) -> None:
    """Train in place, from where `run` stands. Saves a checkpoint after every epoch, and where `stop` is asked for."""
    loop = _Loop(network, train, valid, settings, run, stop)
    loop.restore()
    while loop.epoch < settings.epochs:
        loop.one_epoch()


class _Loop:
    """Where training stands. `losses`, `tokens` and `seconds` are those of the epoch that is under way."""

    def __init__(
        self,
        network: Network,
        train: list[Window],
        valid: list[Window],
        settings: ExtractiveSettings,
        run: Run,
        stop: Stop,
    ) -> None:
        self.network, self.train, self.valid, self.settings, self.run, self.stop = (
            network, train, valid, settings, run, stop
        )  # fmt: skip
        self.epoch, self.step_in_epoch, self.step = 0, 0, 0
        self.losses: list[float] = []
        self.tokens, self.seconds = 0, 0.0
        self.steps_an_epoch = sum(1 for _ in batches(train, settings.batch_size, None))
        total = settings.epochs * self.steps_an_epoch
        body = [p for p in network.encoder.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": body, "lr": settings.learning_rate},
                {"params": network.head.parameters(), "lr": settings.head_learning_rate},
            ],
            weight_decay=0.01,
        )
        warm = max(settings.warmup * total, 1)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda s: min(1, (s + 1) / warm) * max(0.0, 1 - s / total)
        )

    def one_epoch(self) -> None:
        """Goes on within an epoch that was stopped: its order comes from its seed, its dropout from the saved state."""
        seed = self.settings.seed * 1000 + self.epoch
        if not self.step_in_epoch:
            torch.manual_seed(seed)
        self.network.train()
        order = batches(self.train, self.settings.batch_size, random.Random(seed))
        for group in islice(order, self.step_in_epoch, None):
            self._one_step(group)
            if self.stop.asked and self.step_in_epoch < self.steps_an_epoch:
                self._save()
                self.run.leave_if(self.stop)
        self.run.record(
            self.step,
            self.epoch + 1,
            loss=round(float(np.mean(self.losses)), 5),
            lr=self.schedule.get_last_lr()[0],
            tokens=self.tokens,
            seconds=self.seconds,
            **evaluate(self.network, self.valid, self.settings),
        )
        self.epoch, self.step_in_epoch = self.epoch + 1, 0
        self.losses, self.tokens, self.seconds = [], 0, 0.0
        self._save()
        self.run.leave_if(self.stop)

    def _one_step(self, group: list[Window]) -> None:
        began = time.perf_counter()
        batch = make_batch(group)
        loss = loss_of(self.network(batch.ids, batch.mask), batch, self.settings.keep_weight)
        self.step, self.step_in_epoch = self.step + 1, self.step_in_epoch + 1
        require_finite(loss.item(), self.step)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.losses.append(loss.item())
        self.tokens += int(batch.mask.sum())
        self.seconds += time.perf_counter() - began
        self.run.on_event({"done": self.step, "total": self.run.spec.steps})

    def _save(self) -> None:
        self.run.save(Position(self.epoch, self.step_in_epoch, self.step), self._write)

    def _write(self, folder: Path) -> None:
        save_file(self.network.state_dict(), folder / "weights.safetensors")
        state = {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": torch.get_rng_state(),
        }
        torch.save(state, folder / "optimizer.pt")
        write_json(
            folder / "epoch.json", {"losses": self.losses, "tokens": self.tokens, "seconds": round(self.seconds, 3)}
        )

    def restore(self) -> None:
        found = self.run.resumed
        if found is None:
            return
        self.network.load_state_dict(load_file(found.path / "weights.safetensors"))
        state = torch.load(found.path / "optimizer.pt", weights_only=True)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        under_way = load_state(found, "epoch.json")
        self.losses, self.tokens, self.seconds = under_way["losses"], under_way["tokens"], under_way["seconds"]
        self.epoch, self.step_in_epoch, self.step = astuple(found.position)


def evaluate(network: Network, windows: list[Window], settings: ExtractiveSettings) -> dict[str, float | None]:
    """Validation loss, and the area under the ROC curve of each head; None where a class is missing."""
    network.eval()
    losses: list[float] = []
    scores: list[NDArray[np.float32]] = []
    labels: list[NDArray[np.float32]] = []
    with torch.no_grad():
        for group in batches(windows, settings.batch_size, None):
            batch = make_batch(group)
            logits = network(batch.ids, batch.mask)
            losses.append(float(loss_of(logits, batch, settings.keep_weight)))
            scores.append(pool(logits, batch.owner, len(batch.kept)).numpy())
            labels.append(torch.stack([batch.starts, batch.goes_on, batch.kept], dim=1).numpy())
    if not losses:
        return {"val_loss": None}
    score, label = np.concatenate(scores), np.concatenate(labels)
    areas = {}
    for head, name in enumerate(("auc_start", "auc_go_on", "auc_keep")):
        known = label[:, head] >= 0
        areas[name] = auc(label[known, head] > 0.5, score[known, head])
    return {"val_loss": round(float(np.mean(losses)), 5), **areas}


def auc(truth: NDArray[np.bool_], score: NDArray[np.float32]) -> float | None:
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return None
    ranks = np.empty(len(score))
    ranks[np.argsort(score, kind="stable")] = np.arange(1, len(score) + 1)
    area = (ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives)
    return round(float(area), 4)
