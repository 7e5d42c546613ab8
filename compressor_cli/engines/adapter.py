"""The adapter engine: a trained model writes the prose, and the guarantees of `compress` hold whatever it writes.

Each piece of a text is checked. One that lost a protected fact, is too long or ran away is asked for once more, with
what was wrong; then the embedded engine takes it. Where pieces that hold do not make a whole that does, the embedded
engine takes the whole text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from compressor_cli.core.generation import Prompt
from compressor_cli.engines.adapter_drafts import Count, Draft, Writer, lost_facts, told_facts
from compressor_cli.engines.adapter_model import Model
from compressor_cli.engines.adapter_pieces import Piece, joined, split_pieces
from compressor_cli.engines.logs import fold_logs
from compressor_cli.engines.options import Options
from compressor_cli.engines.outcome import Outcome
from compressor_cli.errors import BudgetTooSmallError, SccError
from compressor_cli.records import Block

_EMBEDDED = "by the embedded engine: "
_ROUNDS = 6  # of putting pieces together, each with fewer of the adapter or less room
Embedded = Callable[[str, int | None], Outcome]


@dataclass(frozen=True)
class _Part:
    """What stands in the place of a piece."""

    piece: Piece
    text: str
    engine: str
    why: str
    warnings: tuple[str, ...] = ()


class _Whole(Exception):
    """The embedded engine must take the whole text; the message says why."""


class Writing:
    """A text that the adapter is to write. `budget` in tokens is hard; `aim` is a share that the adapter is asked once
    to meet."""

    def __init__(
        self,
        text: str,
        options: Options,
        budget: int | None,
        count: Count,
        *,
        model: Model,
        embedded: Embedded,
        aim: float | None,
    ) -> None:
        self.text, self.options, self.budget, self.count = text, options, budget, count
        self.model, self.embedded = model, embedded
        rate = None if budget is None else budget / count(text)
        self.pieces, self.blocks, newline = split_pieces(text, options, rate, count)
        self.writer = Writer(model, options, count, newline)
        prose = sum(piece.tokens for piece in self.pieces if piece.fixed is None)
        self.stays = count(joined(text, self.pieces, [piece.fixed or "" for piece in self.pieces]))
        self.room = None if budget is None else budget - self.stays
        self.aimed = None if aim is None else int(aim * prose)

    def outcome(self) -> Outcome:
        """Raises BudgetTooSmallError where the embedded engine does, SccError where the adapter was asked for by name
        and answers nothing."""
        try:
            return self._written(self._asked())
        except _Whole as exc:
            outcome = self.embedded(self.text, self.budget)
            return replace(outcome, warnings=(f"the embedded engine took the whole text: {exc}", *outcome.warnings))

    def prompts(self) -> list[Prompt]:
        """What the adapter is asked first; nothing where it is not asked."""
        try:
            return [self.writer.prompt(piece) for piece in self._asked()]
        except _Whole:
            return []

    def more_prompts(self) -> list[Prompt]:
        """What it is asked then, after its answers to the first."""
        if not self.prompts():
            return []
        again = self._again(self.writer.first(self._asked()))
        return [self.writer.second_prompt(draft, most) for draft, most in again.items()]

    def _asked(self) -> list[Piece]:
        if fold_logs(self.text, times=True).rows:
            raise _Whole("log lines have an engine of their own")
        if self.room is not None and self.room < 1:
            raise _Whole("what stays as it is leaves no room")
        asked = [piece for piece in self.pieces if piece.fixed is None and piece.why_not is None]
        if not asked:
            reasons = dict.fromkeys(piece.why_not for piece in self.pieces if piece.why_not)
            raise _Whole("; ".join(filter(None, reasons)) or "there is no prose in it")
        return asked

    def _written(self, asked: Sequence[Piece]) -> Outcome:
        drafts = {draft.piece: draft for draft in self._repaired(self.writer.first(asked))}
        if all(draft.failed for draft in drafts.values()):
            self._unanswered(next(iter(drafts.values())))
        room = self.room
        for _ in range(_ROUNDS):
            parts = self._parts(drafts, room)
            result = joined(self.text, self.pieces, [part.text for part in parts])
            over = 0 if self.budget is None else self.count(result) - self.budget
            if over > 0 and room is not None:
                room -= over
            elif not self._spoiled(result, parts, drafts):
                return self._told(result, parts, drafts)
        raise _Whole("its pieces do not fit together")

    def _unanswered(self, draft: Draft) -> None:
        if self.options.engine == "adapter":
            raise SccError(
                f"{self.model.name}: {draft.fault}", hint="--engine auto has the embedded engine take its place"
            )
        raise _Whole(f"{self.model.name}: {draft.fault}")

    def _repaired(self, drafts: Sequence[Draft]) -> list[Draft]:
        again = self._again(drafts)
        second = self.writer.again(again) if again else {}
        return [_better(draft, second[draft], again[draft]) if draft in second else draft for draft in drafts]

    def _again(self, drafts: Sequence[Draft]) -> dict[Draft, int]:
        """Those that are asked for once more, in at most so many tokens."""
        limit = self.room if self.room is not None else self.aimed
        long = limit is not None and sum(draft.tokens for draft in drafts) > limit
        total = sum(piece.tokens for piece in self.pieces if piece.fixed is None)
        again: dict[Draft, int] = {}
        for draft in drafts:
            most = draft.piece.tokens - 1
            if long and limit is not None:
                most = min(most, max(limit * draft.piece.tokens // total, 1))
            if not draft.failed and (draft.fault or draft.tokens > most):
                again[draft] = most
        return again

    def _parts(self, drafts: dict[Piece, Draft], room: int | None) -> list[_Part]:
        """Sound drafts, as far as there is room for them; the rest of the room goes to the embedded engine."""
        taken = {piece: draft for piece, draft in drafts.items() if draft.fault is None}
        open_pieces = [piece for piece in self.pieces if piece.fixed is None]
        total = sum(piece.tokens for piece in open_pieces)
        crowded: set[Piece] = set()
        if room is not None:
            excess = {piece: draft.tokens - room * piece.tokens // total for piece, draft in taken.items()}
            for piece in sorted(excess, key=lambda piece: (-excess[piece], piece.start)):
                if sum(draft.tokens for draft in taken.values()) <= self._left(room, open_pieces, taken):
                    break
                if excess[piece] > 0:
                    crowded.add(piece)
                    del taken[piece]
            room -= sum(draft.tokens for draft in taken.values())
        rest = sum(piece.tokens for piece in open_pieces if piece not in taken)
        parts = []
        for piece in self.pieces:
            if piece.fixed is not None:
                parts.append(_Part(piece, piece.fixed, "none", ""))
            elif piece in taken:
                parts.append(self._of_adapter(taken[piece]))
            else:
                share = None if room is None else room * piece.tokens // rest
                fault = drafts[piece].fault if piece in drafts else piece.why_not
                why = "no room in the budget for what the adapter wrote" if piece in crowded else fault or ""
                part = self._of_embedded(piece, share, why)
                rest -= piece.tokens
                room = None if room is None else room - self.count(part.text)
                parts.append(part)
        return parts

    def _left(self, room: int, pieces: Sequence[Piece], taken: dict[Piece, Draft]) -> int:
        """What others leave for those that are taken, if each of them gets its share."""
        total = sum(piece.tokens for piece in pieces)
        return room - sum(room * piece.tokens // total for piece in pieces if piece not in taken)

    def _of_adapter(self, draft: Draft) -> _Part:
        again = f", asked twice: {draft.repaired}" if draft.repaired else ""
        return _Part(draft.piece, draft.text, "adapter", f"written by {self.model.name}{again}")

    def _of_embedded(self, piece: Piece, most: int | None, why: str) -> _Part:
        try:
            found = self.embedded(piece.text, most)
        except BudgetTooSmallError:
            raise _Whole(f"a piece needs more than its share of the budget ({why})") from None
        text = found.compressed if self.count(found.compressed) < piece.tokens else piece.text
        return _Part(piece, text, found.engine, f"{_EMBEDDED}{why}", found.warnings)

    def _spoiled(self, result: str, parts: Sequence[_Part], drafts: dict[Piece, Draft]) -> bool:
        """Whether the whole lost what its pieces had kept; drafts that did so are marked."""
        lost = lost_facts(self.text, result, self.options)
        spoiled = False
        for part in parts:
            mine = [fact for fact in lost if part.piece.start < fact.end and fact.start < part.piece.end]
            if not mine or part.piece.fixed is not None:
                continue
            if part.engine == "adapter":
                drafts[part.piece] = replace(drafts[part.piece], fault=f"in the whole, it {told_facts(mine)}")
                spoiled = True
            elif not self.options.allow_loss and part.engine != "none":
                raise _Whole(f"in the whole, a piece {told_facts(mine)}")
        return spoiled

    def _told(self, result: str, parts: Sequence[_Part], drafts: dict[Piece, Draft]) -> Outcome:
        written = [part for part in parts if part.engine == "adapter"]
        asked = len(drafts)
        again = [part.why for part in written if drafts[part.piece].repaired]
        others = [part for part in parts if part.piece in drafts and part.engine != "adapter"]
        notes = [f"{len(again)} of {asked} pieces: the adapter was asked twice"] if again else []
        reasons = "; ".join(dict.fromkeys(part.why.removeprefix(_EMBEDDED) for part in others))
        if not written:
            raise _Whole(f"no piece that the adapter wrote could be taken ({reasons:.300})")
        if others:
            notes.append(f"{len(others)} of {asked} pieces: the embedded engine took them ({reasons:.300})")
        if (
            self.budget is None
            and self.aimed is not None
            and sum(self.count(part.text) for part in written) > self.aimed
        ):
            notes.append("the adapter did not come down to the aim")
        notes += dict.fromkeys(warning for part in parts for warning in part.warnings)
        if self.options.query:
            notes.append("the query makes no difference to what the adapter writes")
        if self.options.omission_marker:
            notes.append("the adapter writes no omission markers")
        aimed = None if self.aimed is None else self.stays + self.aimed
        budget = self.budget if self.budget is not None else aimed
        return Outcome("adapter", result, tuple(notes), budget, blocks=self._blocks(parts))

    def _blocks(self, parts: Sequence[_Part]) -> tuple[Block, ...]:
        written = [
            Block(
                part.piece.start,
                part.piece.end,
                "prose",
                part.engine,
                part.why,
                part.piece.tokens,
                self.count(part.text),
            )
            for part in parts
            if part.piece.fixed is None
        ]
        return tuple(sorted([*written, *self.blocks], key=lambda block: block.start or 0))


def ask_together(writings: Sequence[Writing], model: Model) -> None:
    """All that these will ask, in one batch, and what they will ask then in another. The model remembers its answers,
    so that each writing finds them."""
    for asked in (Writing.prompts, Writing.more_prompts):
        if prompts := [prompt for writing in writings for prompt in asked(writing)]:
            model.ask(prompts)


def _better(first: Draft, second: Draft, most: int) -> Draft:
    """The second answer, unless the first alone is sound, or the shorter one of two that are too long."""
    wrong = first.fault or f"{first.tokens} tokens where at most {most} were asked for"
    if second.fault is None and (first.fault is not None or second.tokens <= first.tokens):
        return replace(second, repaired=wrong)
    if first.fault is None:
        return first
    return replace(second, fault=f"{wrong}, twice" if second.fault == wrong else f"{wrong}; then {second.fault}")
