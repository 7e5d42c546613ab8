"""What all chats of one run that ask in batches share: the journal, and the end."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Protocol

from compressor_cli.core.batches import Batch, BatchJournal
from compressor_cli.errors import UsageError


class Detachable(Protocol):
    def detach(self) -> None: ...


class Batches:
    """Of all chats of one run. `detach`, from a signal, lets go of all that wait; then nothing is marked as over."""

    def __init__(self, path: Path) -> None:
        self.journal = BatchJournal(path)
        self.detached = False
        self.over: list[Batch] = []
        self.chats: list[Detachable] = []

    def detach(self) -> None:
        self.detached = True
        for chat in self.chats:
            chat.detach()

    def __enter__(self) -> Batches:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and not self.detached:
                for batch in self.over:
                    self.journal.end(batch)
        finally:
            if not self.journal.batches:
                self.journal.path.unlink(missing_ok=True)
            self.journal.close()


def refuse_open(path: Path) -> None:
    """Raises UsageError where a run without batches would pay again for what is in one."""
    if not path.exists():
        return
    journal = BatchJournal(path)
    journal.close()
    still = sum(not batch.ended for batch in journal.batches.values())
    if still:
        raise UsageError(
            f"{path}: batches of an earlier run are not over ({still})",
            hint="--batch takes them up; remove the file to ask, and pay, again",
        )
