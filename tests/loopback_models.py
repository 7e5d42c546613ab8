"""Models on the loopback interface that do the tasks of scc from the text alone: teacher, reader, writer and judge.

    loopback_models.py COMMAND...    runs a command whose environment names them, and ends with it

What they answer follows from the text: a pair that keeps its facts passes, and one that changes a number does not.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from provider_server import Request, serving

from compressor_cli.core.seeds import CLOSE, OPEN
from compressor_cli.engines.compress import compress

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_MEASURE = re.compile(r"(\d+(?:\.\d+)?) ([a-z]+)", re.IGNORECASE)
_COMMENT = re.compile(r"^\s*(?:#|//).*\n?", re.MULTILINE)
_TASKS = {
    (files("compressor_cli") / "prompts" / f"{name}.md").read_text(encoding="utf-8"): name
    for name in (
        "compress_prose", "compress_code", "validate_questions", "validate_qa", "validate_reasoning", "validate_code",
        "validate_judge",
    )
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What a request asks, whatever the provider. `task` is the name of the prompt."""

    model: str
    task: str
    user: str


def asked(request: Request) -> Asked:
    body = request.body
    if request.provider == "google":
        system, user = _joined(body["systemInstruction"]["parts"]), _joined(body["contents"][0]["parts"])
        model = request.path.split("/")[-1].partition(":")[0]
    elif request.provider == "anthropic":
        system, user, model = body["system"], body["messages"][0]["content"], body["model"]
    else:
        system, user = (message["content"] for message in body["messages"])
        model = body["model"]
    return Asked(model, _TASKS[system], user)


def answer(request: Request) -> str:
    return told(asked(request))


def told(question: Asked) -> str:
    user = question.user
    if question.task.startswith("compress_"):
        source = user[user.index(OPEN) + len(OPEN) : user.rindex(CLOSE)]
        return json.dumps(
            {"compressed": compress(source, level="comments" if "code" in question.task else None).compressed}
        )
    if question.task == "validate_judge":
        return json.dumps(judged(_between(user, "first"), _between(user, "second")))
    text = _between(user, "text")
    if question.task == "validate_questions":
        units = list(dict.fromkeys(unit for _, unit in _MEASURE.findall(text)))[:4]
        return json.dumps({"questions": [f"How many {unit}?" for unit in units] or ["How many are there?"]})
    if question.task == "validate_qa":
        amounts = {unit: f"{number} {unit}" for number, unit in reversed(_MEASURE.findall(text))}
        units = re.findall(r"How many (.+)\?", user.rpartition("</text>")[2])
        return json.dumps({"answers": [amounts.get(unit, "UNKNOWN") for unit in units]})
    if question.task == "validate_reasoning":
        return f"The text rests on these figures: {', '.join(sorted(set(_NUMBER.findall(text)))) or 'none'}."
    return f"```\n{_COMMENT.sub('', text)}\n```"


def judged(first: str, second: str) -> dict[str, Any]:
    if _NUMBER.findall(first) == _NUMBER.findall(second):
        return {"differences": [], "score": 4, "abstain": False}
    return {"differences": ["a number"], "score": 1, "abstain": False}


def _between(text: str, tag: str) -> str:
    return text[text.index(f"<{tag}>\n") + len(tag) + 3 : text.rindex(f"\n</{tag}>")]


def _joined(parts: list[Mapping[str, str]]) -> str:
    return "".join(part["text"] for part in parts)


if __name__ == "__main__":
    with serving() as server:
        server.answer = answer
        done = subprocess.run(sys.argv[1:], env=os.environ | server.environment())
    sys.exit(done.returncode)
