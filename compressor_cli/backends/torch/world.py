"""The processes that train together. torchrun starts them; accelerate connects them. Imports torch."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from torch import distributed

from compressor_cli.core.stopping import Stop
from compressor_cli.errors import SccError, UsageError
from compressor_cli.settings import load_world

T = TypeVar("T")


@dataclass
class World:
    """This process among `size`; the one of rank 0 leads.

    `begun`: all have what they need to train, and from then on take part in the same exchanges.
    """

    rank: int
    size: int
    device: torch.device
    begun: bool = field(default=False)

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, value: T) -> T:
        """What the leading process has, for each."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def largest(self, values: Sequence[int]) -> list[int]:
        """Place by place, over all processes."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, device=self.device)
        distributed.all_reduce(tensor, distributed.ReduceOp.MAX)
        return [int(value) for value in tensor.tolist()]

    def mean(self, value: float) -> float:
        if self.size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.all_reduce(tensor)
        return float(tensor) / self.size

    def wait(self) -> None:
        self.largest([0])

    def together(self, action: Callable[[], Any]) -> None:
        """The leading process acts while the others wait; where it fails, all end with its exit code."""
        self.agree(attempt(action) if self.leads else None)

    def agree(self, failed: BaseException | None, reason: int = 0) -> int:
        """Where any failed all end alike, and one failure is told once. Else the signal that any of them got, or 0."""
        code = exit_code(failed) if failed else 0
        of_leader, code, reason = self.largest([code if self.leads else 0, code, reason])
        if failed and (self.leads or not of_leader):
            raise failed
        if code:
            raise SystemExit(of_leader or code)
        return reason

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Around what the leading process does before training begins: where it ends there, the others end alike."""
        try:
            yield
        except BaseException as exc:
            if not self.begun:
                self.share(exit_code(exc))
            raise
        if not self.begun:
            self.share(0)


def attempt(action: Callable[[], Any]) -> Exception | None:
    try:
        action()
    except Exception as exc:
        return exc
    return None


def exit_code(exc: BaseException) -> int:
    if isinstance(exc, SystemExit):
        return exc.code if isinstance(exc.code, int) else 1
    return exc.exit_code if isinstance(exc, SccError) else 1


def join_world(wanted: str) -> World:
    """Connects the processes. `wanted` is a setting of `device`. Raises UsageError for one that is not here."""
    told = load_world()
    device = _device(wanted, told.size)
    if told.size == 1:
        return World(0, 1, device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # on the number of threads, which it chooses well
        state = PartialState(cpu=device.type == "cpu")
    return World(state.process_index, state.num_processes, state.device)


def leave_world() -> None:
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _device(wanted: str, size: int) -> torch.device:
    here = [name for name, has in (("cuda", torch.cuda), ("mps", torch.backends.mps)) if has.is_available()]
    name = ([*here, "cpu"][0] if size == 1 or here != ["mps"] else "cpu") if wanted == "auto" else wanted
    if name not in (*here, "cpu"):
        raise UsageError(f"device {name}: torch finds none here", hint="device: auto takes what there is")
    if size > 1 and name == "mps":
        raise UsageError("several processes cannot share device mps", hint="train without torchrun, or on the cpu")
    return torch.device(name)


@contextmanager
def patient(world: World, stop: Stop) -> Iterator[None]:
    """Among several processes a second signal is no one's impatience: torchrun adds its own to that of the terminal."""
    if world.size == 1:
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, lambda number, frame: stop.ask(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
