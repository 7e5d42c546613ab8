"""What a teacher answered, as a row: accepted with what training gets, or rejected with why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compressor_cli.core.decoding import copied_words, inside, is_refusal, without_thoughts
from compressor_cli.core.duplicates import Fingerprint, fingerprint
from compressor_cli.core.jsonl import parse_row
from compressor_cli.core.paircheck import Reason, check_pair
from compressor_cli.core.recipes import Job, Plan
from compressor_cli.core.seeds import SourceRow
from compressor_cli.core.toolcalls import Unfit, check_shape, need_jsonschema, read_conversation
from compressor_cli.engines.code_languages import LANGUAGES
from compressor_cli.engines.code_names import definitions

_STOPS = {"length": "cut by the limit of tokens", "refusal": "the model refused"}


@dataclass(frozen=True)
class Judgement:
    """`found` has `status`, `reasons`, measures, and for an accepted row `messages` (and `tools`) for training.

    `fingerprint` tells a near-duplicate, where the recipe asks for that.
    """

    found: dict[str, Any]
    fingerprint: Fingerprint | None = None


class Judge:
    """Pure, and made to be sent to other processes. Raises MissingExtraError before anything is paid for."""

    def __init__(self, plan: Plan) -> None:
        if plan.recipe.kind == "conversation":
            need_jsonschema()
        self._recipe = plan.recipe
        self._jobs = {job.name: job for job in plan.jobs}

    def __call__(self, job: str, row: SourceRow | None, text: str, stop: str) -> Judgement:
        found = self._found(self._jobs[job], row, text, stop)
        threshold = self._recipe.checks.near_duplicate
        if threshold is None or found["status"] != "accepted":
            return Judgement(found)
        return Judgement(found, fingerprint(likeness(found), threshold))

    def _found(self, job: Job, row: SourceRow | None, text: str, stop: str) -> dict[str, Any]:
        if stop in _STOPS:
            return _rejected([Reason("cut" if stop == "length" else "refused", _STOPS[stop])], output=text)
        try:
            answer = {"compressed": without_thoughts(text)} if self._recipe.output == "text" else _answer(text)
            if self._recipe.kind == "conversation":
                return self._conversation(job, row, answer)
            return self._pair(job, row, answer)
        except Unfit as exc:
            return _rejected([Reason(exc.reason, str(exc))], output=text)

    def _pair(self, job: Job, row: SourceRow | None, answer: Mapping[str, Any]) -> dict[str, Any]:
        assert row is not None  # a compression has a source, always
        compressed = answer.get("compressed")
        if not isinstance(compressed, str):
            raise Unfit("schema", "no `compressed` text in the answer")
        checks, training = self._recipe.checks, self._recipe.training
        names = definitions(row.text, row.language) if row.language in LANGUAGES else ()
        found = check_pair(row.text, compressed, domain=row.domain, checks=checks, prompt=job.system, names=names)
        pair = {"original": row.text, "compressed": compressed, **found.as_dict()}
        messages = [
            *([{"role": "system", "content": training.system}] if training.system else []),
            {"role": "user", "content": training.user_prefix + row.text},
            {"role": "assistant", "content": compressed},
        ]
        # A rejected one too: it is the other half of a preference.
        return {"status": "rejected" if found.reasons else "accepted", **pair, "messages": messages}

    def _conversation(self, job: Job, row: SourceRow | None, answer: Mapping[str, Any]) -> dict[str, Any]:
        chat = read_conversation(answer)
        shape = check_shape(chat["messages"], job.shape, min_messages=self._recipe.checks.min_messages)
        wrong = [Reason("shape", detail) for detail in shape]
        said = "\n".join(message["content"] for message in chat["messages"])
        if copied := copied_words(said, f"{job.system}\n{job.instruction}", row.text if row else ""):
            wrong.append(Reason("prompt", copied))
        return _rejected(wrong, **chat) if wrong else {"status": "accepted", "reasons": [], **chat}


def likeness(row: Mapping[str, Any]) -> str:
    """What must not be near to that of another row."""
    if "compressed" in row:
        return str(row["compressed"])
    return "\n".join(message["content"] for message in row["messages"])


def _answer(text: str) -> Mapping[str, Any]:
    try:
        return parse_row(inside(text).encode("utf-8", "surrogatepass"))
    except ValueError as exc:
        raise Unfit("refused" if is_refusal(text) else "schema", f"the answer is no JSON object: {exc}") from None


def _rejected(reasons: list[Reason], **rest: Any) -> dict[str, Any]:
    return {"status": "rejected", "reasons": [{"reason": r.reason, "detail": r.detail} for r in reasons], **rest}
