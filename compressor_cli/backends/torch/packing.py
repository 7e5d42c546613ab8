"""Short rows laid end to end in sequences of `max_seq_length`, so that nothing is computed on padding.

A packed sequence is a row to the pace of the run: `batch_size` counts sequences.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import replace

from compressor_cli.core.pace import Pace, plan_steps
from compressor_cli.core.rendering import Rendered
from compressor_cli.core.training import TrainJob
from compressor_cli.settings import TorchSettings


def pack(lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Best fit, the longest first: the places of the rows of each sequence. No row is longer than `limit`."""
    sequences: list[list[int]] = []
    with_room: dict[int, list[int]] = {}  # sequences by the room left in them
    rooms: list[int] = []  # the keys of those that are not empty, sorted
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        at = bisect_left(rooms, lengths[place])
        if at == len(rooms):
            number, room = len(sequences), limit
            sequences.append([])
        else:
            room = rooms[at]
            number = with_room[room].pop()
            if not with_room[room]:
                del rooms[at]
        sequences[number].append(place)
        room -= lengths[place]
        if not with_room.setdefault(room, []):
            insort(rooms, room)
        with_room[room].append(number)
    return sequences


def packs(rows: Sequence[Rendered], settings: TorchSettings) -> list[list[int]]:
    """The places of the rows of each sequence; without packing each row is one."""
    if not settings.packing:
        return [[place] for place in range(len(rows))]
    return pack([len(row.tokens) for row in rows], settings.max_seq_length)


def packed(job: TrainJob) -> TrainJob:
    """With the pace of its packed sequences. Of a job that is packed already, the same."""
    assert isinstance(job.settings, TorchSettings)
    if not job.settings.packing:
        return job
    rows, settings = len(packs(job.train.rendered, job.settings)), job.settings
    steps = plan_steps(rows, settings.rows_per_step, epochs=settings.epochs, steps=settings.steps)
    return replace(job, pace=Pace(rows, settings.rows_per_step, steps, settings.seed))
