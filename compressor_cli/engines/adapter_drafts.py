"""What a trained model wrote for a piece, what is wrong with it, and how it is asked again, once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from compressor_cli.core.decoding import (
    cap_output_length,
    compute_generation_budget,
    is_refusal,
    strip_generation_artifacts,
    truncate_repetition,
)
from compressor_cli.core.facts import check_facts
from compressor_cli.core.generation import Generated, Prompt
from compressor_cli.engines.adapter_model import Model
from compressor_cli.engines.adapter_pieces import Piece
from compressor_cli.engines.options import Options
from compressor_cli.records import FactStatus

_NAMED = 40  # lost facts that a second request names
_TOLD = 3  # in a receipt

Count = Callable[[str], int]


@dataclass(frozen=True)
class Draft:
    """`fault` says why it cannot be taken. `failed`: there was no answer at all. `repaired`: what was wrong before."""

    piece: Piece
    text: str
    tokens: int
    lost: tuple[FactStatus, ...] = ()
    fault: str | None = None
    failed: bool = False
    repaired: str | None = None


def lost_facts(text: str, compressed: str, options: Options) -> tuple[FactStatus, ...]:
    """Of the kinds that are protected."""
    protected = (*options.kinds, "pattern")
    report = check_facts(text, compressed, patterns=options.patterns)
    return tuple(fact for fact in report.facts if fact.status != "kept" and fact.kind in protected)


def told_facts(lost: Sequence[FactStatus]) -> str:
    named = ", ".join(f"{fact.kind} {fact.text!r:.60}" for fact in lost[:_TOLD])
    return f"lost {named}" + (f" and {len(lost) - _TOLD} more" if len(lost) > _TOLD else "")


class Writer:
    def __init__(self, model: Model, options: Options, count: Count, newline: str) -> None:
        self._model, self._options, self._count, self._newline = model, options, count, newline

    def first(self, pieces: Sequence[Piece]) -> list[Draft]:
        answers = self._model.ask([self.prompt(piece) for piece in pieces])
        return [self._draft(piece, answer) for piece, answer in zip(pieces, answers, strict=True)]

    def again(self, drafts: Mapping[Draft, int]) -> dict[Draft, Draft]:
        """A second answer for each, in at most so many tokens. What is wrong with the first is named."""
        answers = self._model.ask([self.second_prompt(draft, most) for draft, most in drafts.items()])
        return {
            draft: self._draft(draft.piece, answer, _demand(draft, most))
            for (draft, most), answer in zip(drafts.items(), answers, strict=True)
        }

    def prompt(self, piece: Piece) -> Prompt:
        return Prompt(self._model.messages(piece.text), compute_generation_budget(piece.tokens))

    def second_prompt(self, draft: Draft, most: int) -> Prompt:
        wrote = cap_output_length(draft.text, draft.piece.tokens, self._count) or "..."
        more = ({"role": "assistant", "content": wrote}, {"role": "user", "content": _demand(draft, most)})
        return Prompt((*self._model.messages(draft.piece.text), *more), compute_generation_budget(draft.piece.tokens))

    def _draft(self, piece: Piece, answer: Generated, demand: str = "") -> Draft:
        if answer.error is not None:
            return Draft(piece, "", 0, fault=f"no answer: {' '.join(answer.error.split())}", failed=True)
        stripped = strip_generation_artifacts(answer.text, piece.text, f"{self._model.prompt}\n{demand}")
        text = truncate_repetition(stripped, piece.text)
        looped = text != stripped
        if self._newline != "\n":
            text = re.sub(r"\r?\n", self._newline, text)
        tokens = self._count(text)
        lost = lost_facts(piece.text, text, self._options) if text else ()
        fault = None
        if not text:
            fault = "nothing was written"
        elif answer.truncated or looped:
            fault = "it ran away"
        elif is_refusal(text, piece.text):
            fault = "it refused"
        elif tokens >= piece.tokens:
            fault = f"{tokens} tokens, no fewer than before"
        elif lost:
            fault = told_facts(lost)
        return Draft(piece, text, tokens, lost, fault)


def _demand(draft: Draft, most: int) -> str:
    """What the model is told about its first answer."""
    lines = ["That cannot be used."]
    if draft.lost:
        lines += ["These must be said, as they are in the text:"]
        lines += [f"- {_told(fact)}" for fact in draft.lost[:_NAMED]]
    lines += [f"Write the compressed text again, in fewer than {most + 1} tokens, each thing once, and nothing else."]
    return "\n".join(lines)


def _told(fact: FactStatus) -> str:
    return fact.text + (f" (not: {fact.found})" if fact.status == "changed" and fact.found else "")
