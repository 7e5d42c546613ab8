"""The training loop. Imports torch: load it only where it is needed.

Every epoch starts from its own seed, so a run that was stopped goes on from its last whole epoch to the weights that
an uninterrupted one would have.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from compressor_cli.backends.extractive.labels import Example
from compressor_cli.backends.extractive.network import HEADS, Network
from compressor_cli.errors import SccError
from compressor_cli.settings import ExtractiveSettings

Event = dict[str, Any]


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
    network: Network,
    train: list[Window],
    valid: list[Window],
    settings: ExtractiveSettings,
    checkpoint: Path,
    on_event: Callable[[Event], None],
) -> None:
    """Train in place. `checkpoint` is written after every epoch and read where it exists.

    An `epoch` event brings the metrics of all epochs so far, as the checkpoint has them.
    """
    steps_an_epoch = sum(1 for _ in batches(train, settings.batch_size, None))
    total = settings.epochs * steps_an_epoch
    body = [p for p in network.encoder.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": body, "lr": settings.learning_rate},
            {"params": network.head.parameters(), "lr": settings.head_learning_rate},
        ],
        weight_decay=0.01,
    )
    warm = max(settings.warmup * total, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1, (s + 1) / warm) * max(0.0, 1 - s / total))
    history = _restore(checkpoint, network, optimizer, schedule)
    if history:
        on_event({"event": "resumed", "epoch": len(history), "history": history})
    for epoch in range(len(history), settings.epochs):
        began, losses, tokens = time.perf_counter(), [], 0
        torch.manual_seed(settings.seed * 1000 + epoch)
        network.train()
        for n, group in enumerate(batches(train, settings.batch_size, random.Random(settings.seed * 1000 + epoch))):
            batch = make_batch(group)
            loss = loss_of(network(batch.ids, batch.mask), batch, settings.keep_weight)
            if not math.isfinite(loss.item()):
                raise SccError(f"the loss is {loss.item()} at epoch {epoch + 1}, step {n + 1}; try a lower --lr")
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            tokens += int(batch.mask.sum())
            on_event({"event": "step", "step": epoch * steps_an_epoch + n + 1, "total": total, "loss": loss.item()})
        seconds = time.perf_counter() - began
        history = [
            *history,
            {
                "step": (epoch + 1) * steps_an_epoch,
                "epoch": epoch + 1,
                "loss": round(float(np.mean(losses)), 5),
                **evaluate(network, valid, settings),
                "lr": schedule.get_last_lr()[0],
                "tokens": tokens,
                "tokens_per_second": round(tokens / seconds, 1),
                "seconds": round(seconds, 2),
            },
        ]
        _save(checkpoint, history, network, optimizer, schedule)
        on_event({"event": "epoch", "history": history})


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


def _save(path: Path, history: list[Event], network: Network, optimizer: Any, schedule: Any) -> None:
    state = {
        "history": history,
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
    }
    beside = path.with_suffix(".tmp")
    torch.save(state, beside)
    beside.replace(path)


def _restore(path: Path, network: Network, optimizer: Any, schedule: Any) -> list[Event]:
    """Metrics of the epochs that are done; none where there is no checkpoint."""
    if not path.exists():
        return []
    state = torch.load(path, weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    return list(state["history"])
