"""A model that several threads ask: what comes together goes to it together. It lives in a thread of its own, as some
libraries want a model to be used where it was loaded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread

from compressor_cli.core.generation import Generated, Generator, Prompt, Sampling
from compressor_cli.errors import SccError

_GATHER = 0.01  # seconds that the first prompt waits for others


@dataclass
class _Job:
    prompts: Sequence[Prompt]
    sampling: Sampling
    answers: dict[int, Generated] = field(default_factory=dict)
    done: Future[dict[int, Generated]] = field(default_factory=Future)


class Batching:
    """A Generator around the one that `opened` gives. Raises what that raises."""

    def __init__(self, opened: Callable[[], Generator]) -> None:
        self.batches = self.prompts = 0
        self._waiting: SimpleQueue[_Job | None] = SimpleQueue()
        ready: Future[str] = Future()
        self._thread = Thread(target=self._run, args=(opened, ready), daemon=True)
        self._thread.start()
        self.name = ready.result()

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[tuple[int, Generated]]:
        job = _Job(prompts, sampling)
        if not self._thread.is_alive():
            raise SccError(f"{self.name} is closed")
        self._waiting.put(job)
        yield from job.done.result().items()

    def close(self) -> None:
        self._waiting.put(None)
        self._thread.join()

    def _run(self, opened: Callable[[], Generator], ready: Future[str]) -> None:
        try:
            generator = opened()
        except BaseException as exc:
            ready.set_exception(exc)
            return
        ready.set_result(generator.name)
        goes_on = True
        while goes_on and (first := self._waiting.get()) is not None:
            jobs, goes_on = self._gathered(first)
            for sampling in dict.fromkeys(job.sampling for job in jobs):
                self._answer(generator, [job for job in jobs if job.sampling == sampling], sampling)
        generator.close()

    def _gathered(self, first: _Job) -> tuple[list[_Job], bool]:
        """With all that wait, or come in a moment; and whether there will be more."""
        jobs, end = [first], time.monotonic() + _GATHER
        while True:
            try:
                job = self._waiting.get(timeout=max(end - time.monotonic(), 0))
            except Empty:
                return jobs, True
            if job is None:
                return jobs, False
            jobs.append(job)

    def _answer(self, generator: Generator, jobs: Sequence[_Job], sampling: Sampling) -> None:
        """Each job is done with the last of its prompts, whatever the others wait for."""
        owners = [(job, place) for job in jobs for place in range(len(job.prompts))]
        self.batches += 1
        self.prompts += len(owners)
        try:
            for at, answer in generator.generate([job.prompts[place] for job, place in owners], sampling):
                job, place = owners[at]
                job.answers[place] = answer
                if len(job.answers) == len(job.prompts):
                    job.done.set_result(job.answers)
            failed: BaseException = SccError(f"{self.name} left prompts without an answer")
        except BaseException as exc:
            failed = exc
        for job in jobs:
            if not job.done.done():
                job.done.set_exception(failed)
