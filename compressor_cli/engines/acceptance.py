"""What a teacher answered, as a row: accepted with what training gets, or rejected with why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from compressor_cli.core.decoding import is_refusal
from compressor_cli.core.paircheck import Reason, check_pair
from compressor_cli.core.recipes import Job, Recipe
from compressor_cli.core.seeds import SourceRow
from compressor_cli.core.toolcalls import Unfit, check_shape, read_conversation
from compressor_cli.engines.code_languages import LANGUAGES
from compressor_cli.engines.code_names import definitions

_STOPS = {"length": "cut by the limit of tokens", "refusal": "the model refused"}


def judge(recipe: Recipe, job: Job, row: SourceRow | None, text: str, stop: str) -> dict[str, Any]:
    """`status`, `reasons`, measures, and for an accepted row `messages` (and `tools`). Pure: runs in any process."""
    if stop in _STOPS:
        return _rejected([Reason("cut" if stop == "length" else "refused", _STOPS[stop])], output=text)
    try:
        answer = {"compressed": text} if recipe.output == "text" else _answer(text)
        if recipe.kind == "conversation":
            return _conversation(recipe, job, answer)
    except Unfit as exc:
        return _rejected([Reason(exc.reason, str(exc))], output=text)
    assert row is not None  # compression has a source, always
    return _pair(recipe, job, row, answer, text)


def _answer(text: str) -> Mapping[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError as exc:
        reason = "refused" if is_refusal(text) else "schema"
        raise Unfit(reason, f"the answer is not JSON: {exc}") from None
    if not isinstance(answer, dict):
        raise Unfit("schema", "the answer is no JSON object")
    return answer


def _pair(recipe: Recipe, job: Job, row: SourceRow, answer: Mapping[str, Any], text: str) -> dict[str, Any]:
    compressed = answer.get("compressed")
    if not isinstance(compressed, str):
        return _rejected([Reason("schema", "no `compressed` text in the answer")], output=text)
    names = definitions(row.text, row.language) if row.language in LANGUAGES else ()
    found = check_pair(row.text, compressed, domain=row.domain, checks=recipe.checks, prompt=job.system, names=names)
    pair = {"original": row.text, "compressed": compressed, **found.as_dict()}
    if found.reasons:
        return {"status": "rejected", **pair}
    training = recipe.training
    messages = [
        *([{"role": "system", "content": training.system}] if training.system else []),
        {"role": "user", "content": training.user_prefix + row.text},
        {"role": "assistant", "content": compressed},
    ]
    return {"status": "accepted", **pair, "messages": messages}


def _conversation(recipe: Recipe, job: Job, answer: Mapping[str, Any]) -> dict[str, Any]:
    chat = read_conversation(answer)
    wrong = check_shape(chat["messages"], job.shape, min_messages=recipe.checks.min_messages)
    if wrong:
        return _rejected([Reason("shape", detail) for detail in wrong], **chat)
    return {"status": "accepted", "reasons": [], **chat}


def _rejected(reasons: list[Reason], **rest: Any) -> dict[str, Any]:
    return {"status": "rejected", "reasons": [{"reason": r.reason, "detail": r.detail} for r in reasons], **rest}
