"""What the tests of `scc seed generate` share: a corpus, answers, and the ledger of rows as the file has it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Run, Scc
from provider_server import ProviderServer, Request, compress_answer, serving

from compressor_cli.core.recipes import shipped_recipes

Row = dict[str, Any]
MODELS = {
    "anthropic": "anthropic:claude-haiku-4-5",
    "openai": "openai:gpt-4.1",
    "google": "google:gemini-2.5-flash",
    "local": "local:tiny",
}
NOUNS = "harbour bridge library orchard railway museum theatre reservoir quarry observatory".split()


def text(number: int) -> str:
    """No two are near to each other, and small words can go without a fact."""
    noun, other = NOUNS[number % 10], NOUNS[number // 10 % 10]
    words = " ".join(f"{noun[:3]}{other[:4]}{number * k % 97}" for k in range(1, 9))
    return (
        f"The {noun} of the town that was numbered {number} is the one which was in need of the {other}, and it was "
        f"not to be opened before the council had agreed. The list of the parts that are in it: {words}."
    )


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with serving() as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        running.answer = compress_answer
        yield running


def corpus(work: Path, count: int, **more: Any) -> Path:
    path = work / "corpus.jsonl"
    rows = [{"id": f"r{n}", "text": text(n), "domain": "prose", "source": f"doc{n}.md", **more} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def generate(work: Path, scc: Scc) -> Any:
    def run(*args: str | Path, recipe: str | Path = "compression", model: str = "openai") -> Run:
        given = ["--recipe", recipe, "--output", "pairs.jsonl", "--model", MODELS.get(model, model)]
        source = ["--input", "corpus.jsonl"] if (work / "corpus.jsonl").exists() else []
        return scc("seed", "generate", *given, *source, *args)

    return run


def rows_of(path: Path = Path("pairs.jsonl")) -> list[Row]:
    """The last of each key."""
    return list({row["key"]: row for row in map(json.loads, path.read_text().splitlines())}.values())


def told(run: Run) -> Row:
    found = json.loads(run.stdout)
    assert isinstance(found, dict)
    return found


def adds_up(run: Run) -> Row:
    """The table says what the file holds: asked = accepted + rejected + failed + pending, by category."""
    found = told(run)
    for category in found["categories"]:
        rows = [row for row in rows_of() if row["job"] == category["name"]]
        states = Counter("failed" if "error" in row else row["status"] for row in rows)
        for state in ("accepted", "rejected", "failed"):
            assert category[state] == states[state], (category, states)
        assert category["asked"] == len(rows) + category["pending"]
    total = found["total"]
    assert total["asked"] == total["accepted"] + total["rejected"] + total["failed"] + total["pending"]
    return found


def short(number: int) -> str:
    return compress_answer(Request("local", "POST", "/", {}, {"content": f"<source>\n{text(number)}\n</source>"}))


def shipped() -> Row:
    recipe = yaml.safe_load(shipped_recipes()["compression"].read_text())
    assert isinstance(recipe, dict)
    return recipe


@pytest.fixture
def talk(work: Path) -> Path:
    """Two categories of made-up chats, one with variants."""
    recipe = {
        "name": "talk",
        "kind": "conversation",
        "model": MODELS["openai"],
        "checks": {"near_duplicate": 0.95, "min_messages": 2},
        "categories": {
            "chat": {"prompt": "skills_collaboration", "target": 12, "topics": NOUNS},
            "tools": {
                "prompt": "skills_tool_use",
                "topics": NOUNS,
                "variants": {
                    "one": {"target": 5, "instruction": "One call.", "min_calls": 1, "max_calls": 1},
                    "two": {"target": 4, "instruction": "Two calls.", "min_calls": 2},
                },
            },
        },
    }
    path = work / "talk.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


class Talker:
    """Writes chats that are valid but for every third one."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, request: Request) -> str:
        self.asked += 1
        asked = json.dumps(request.body)
        calls = 2 if "Two calls" in asked else 1 if "One call" in asked else 0
        return self.conversation(calls, self.asked, wrong=self.asked % 3 == 0)

    @staticmethod
    def conversation(calls: int, number: int, *, wrong: bool = False) -> str:
        schema = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
        words = " ".join(f"w{number * k}" for k in range(1, 40))
        messages: list[Row] = [{"role": "user", "content": f"Look at {words}", "tool_calls": [], "tool_call_id": ""}]
        for n in range(calls):
            arguments = json.dumps({"file" if wrong else "path": f"{n}.py"})
            call = {"id": f"c{n}", "name": "read", "arguments": arguments}
            messages.append({"role": "assistant", "content": "", "tool_calls": [call], "tool_call_id": ""})
            messages.append({"role": "tool", "content": f"line {n}", "tool_calls": [], "tool_call_id": f"c{n}"})
        if not (wrong and not calls):
            messages.append({"role": "assistant", "content": f"Seen {words}", "tool_calls": [], "tool_call_id": ""})
        tools = [{"name": "read", "description": "Reads.", "parameters": json.dumps(schema)}] if calls else []
        return json.dumps({"tools": tools, "messages": messages})
