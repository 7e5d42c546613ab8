"""What `scc seed generate` shows: its table at any width, the dry run; and the shipped recipe of skills, run whole."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Run, Scc
from generating import MODELS, Talker, corpus, generate, rows_of, server, shipped, talk, told
from provider_server import ProviderServer, Request, compress_answer

from compressor_cli.core.recipes import shipped_recipes

__all__ = ["generate", "server", "talk"]  # fixtures
STATES = ("asked", "accepted", "rejected", "failed", "pending", "cached", "cost", "yield")


def table(stdout: str) -> dict[str, list[str]]:
    """By category; a variant by its own name."""
    rows = [line.split() for line in stdout.splitlines()]
    assert rows[0] == ["category", *STATES]
    return {row[0]: row[1:] for row in rows if len(row) == len(STATES) + 1}


def test_the_table_groups_variants_under_their_category(server: ProviderServer, talk: Path, generate: Any) -> None:
    server.answer = Talker()
    run: Run = generate(recipe=talk)
    assert run.exit_code == 0
    found = table(run.stdout)
    assert list(found) == ["category", "chat", "tools", "one", "two", "total"]
    asked = {name: int(cells[0]) for name, cells in found.items() if name != "category"}
    assert asked["tools"] == asked["one"] + asked["two"] and asked["total"] == asked["tools"] + asked["chat"]
    assert [found[name][1] for name in ("chat", "one", "two", "tools", "total")] == ["12", "5", "4", "9", "21"]
    assert found["total"][6].startswith("$0.") and found["total"][7].endswith("%")
    assert "chat: rejected for turns" in run.stdout and "tools/one: rejected for arguments" in run.stdout


def in_terminal(columns: int, *args: str) -> str:
    """What a person sees on a terminal of so many columns."""
    master, slave = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "TERM": "xterm"}
    command = [sys.executable, "-m", "compressor_cli", *args]
    with subprocess.Popen(command, stdout=slave, stderr=subprocess.DEVNULL, env=environment) as process:
        os.close(slave)
        seen = b""
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # Linux says the end of a terminal so
                break
            if not part:
                break
            seen += part
    os.close(master)
    assert process.returncode == 0
    return seen.decode()


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_fits_a_terminal(columns: int, server: ProviderServer, talk: Path, work: Path, generate: Any) -> None:
    recipe = yaml.safe_load(talk.read_text())
    names = {"code_navigation": recipe["categories"]["chat"], "tool_use": recipe["categories"]["tools"]}
    names["tool_use"]["variants"]["error_recovery"] = names["tool_use"]["variants"].pop("two")
    talk.write_text(yaml.safe_dump(recipe | {"categories": names}))
    server.answer = Talker()
    assert generate(recipe=talk).exit_code == 0
    command = ["seed", "generate", "--recipe", "talk.yaml", "--output", "pairs.jsonl", "--model", MODELS["openai"]]
    seen = in_terminal(columns, *command, "--resume")
    plain = [line.rstrip("\r") for line in seen.replace("\x1b[1m", "").replace("\x1b[0m", "").split("\n")]
    found = table("\n".join(plain))
    assert {"code_navigation", "error_recovery", "total"} <= set(found)  # whole, each in one line
    assert max(map(len, plain[:10])) <= columns and "…" not in seen


# --- dry run


def test_a_dry_run_prices_and_sends_nothing(
    server: ProviderServer, work: Path, generate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus(work, 40)
    monkeypatch.delenv("OPENAI_API_KEY")
    run = generate("--dry-run", "--json")
    assert run.exit_code == 0
    prose, code = told(run)["categories"]
    assert (prose["rows"], prose["there"], prose["cached"]) == ({"low": 40, "high": 40}, 0, 0)
    assert code["rows"] == {"low": 0, "high": 0} and code["usd"] == {"low": 0.0, "high": 0.0}
    assert 40 * 300 < prose["input_tokens"]["low"] < prose["input_tokens"]["high"]
    assert 0 < prose["usd"]["low"] < prose["usd"]["high"] < 1
    assert server.requests == [] and not Path("pairs.jsonl").exists() and not Path("costs.jsonl").exists()
    shown = generate("--dry-run")
    assert "nothing was sent" in shown.stderr and "in all $0." in shown.stderr
    unpriced = generate("--dry-run", model="openai:unheard-of")
    assert unpriced.exit_code == 0 and "unknown" in unpriced.stdout and "no price is known" in unpriced.stderr


def test_a_dry_run_refuses_and_tells_what_the_run_would(server: ProviderServer, work: Path, generate: Any) -> None:
    corpus(work, 2)
    lines = Path("corpus.jsonl").read_text()
    secret = {"text": f"The script exports ghp_{'a1B2c3D4e5F6' * 3} before it pushes.", "domain": "prose"}
    Path("corpus.jsonl").write_text(lines + json.dumps(secret) + '\n{"text": "1", "domain": "json"}\n')
    dry = generate("--dry-run")
    assert "1 of 4 rows of the corpus fit no category" in dry.stderr and "1 of 4 rows" in generate().stderr
    assert "1 of 4 rows of the corpus hold a secret: not sent" in dry.stderr
    Path("corpus.jsonl").write_text('{"text": "1", "domain": "json"}\n')
    for flags in ((), ("--dry-run",)):
        run = generate("-o", "other.jsonl", *flags)
        assert run.exit_code == 2 and "no row of the corpus fits the recipe" in run.stderr


def test_what_a_run_costs_is_within_its_estimate(server: ProviderServer, work: Path, generate: Any) -> None:
    corpus(work, 30)
    prose = told(generate("--dry-run", "--json"))["categories"][0]["usd"]
    cost = told(generate("--json"))["total"]["cost_usd"]
    assert prose["low"] <= cost <= prose["high"]


def test_a_dry_run_knows_what_is_there_and_what_is_cached(server: ProviderServer, work: Path, generate: Any) -> None:
    corpus(work, 10)
    assert generate("--limit", "4").exit_code == 0
    prose = told(generate("--dry-run", "--json"))["categories"][0]
    assert (prose["there"], prose["rows"]["high"], prose["cached"]) == (4, 6, 0)
    prose = told(generate("--dry-run", "--json", "--limit", "7"))["categories"][0]
    assert prose["rows"] == {"low": 3, "high": 3}
    Path("pairs.jsonl").unlink()
    prose = told(generate("--dry-run", "--json"))["categories"][0]
    assert (prose["there"], prose["rows"]["high"], prose["cached"]) == (0, 10, 4)
    assert len(server.requests) == 4


def test_a_dry_run_of_targets_is_a_range(server: ProviderServer, talk: Path, generate: Any) -> None:
    found = {one["name"]: one["rows"] for one in told(generate("--dry-run", "--json", recipe=talk))["categories"]}
    assert found["chat"] == {"low": 12, "high": 20}
    limited = told(generate("--dry-run", "--json", "--limit", "7", recipe=talk))["categories"]
    assert sum(one["rows"]["low"] for one in limited) == sum(one["rows"]["high"] for one in limited) == 7
    assert [one["rows"]["low"] for one in limited] == [4, 2, 1]


def test_a_dry_run_of_the_embedded_engine_is_free(work: Path, generate: Any) -> None:
    corpus(work, 2)
    assert told(generate("--dry-run", "--json", model="embedded"))["categories"][0]["usd"] == {"low": 0.0, "high": 0.0}


def test_there_is_one_embedded_engine(work: Path, generate: Any) -> None:
    corpus(work, 2)
    run = generate(model="embedded:large")
    assert run.exit_code == 2 and "error: embedded:large: there is one embedded engine" in run.stderr


# --- the rest of the command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "compression"], "compresses texts, and there are none"),
        (["--recipe", "nothing"], "no shipped recipe of this name"),
        (["--recipe", "compression", "--input", "missing.jsonl"], "no such file: missing.jsonl"),
        (["--recipe", "compression", "--model", "gpt"], "'gpt' names no model"),
        (["--recipe", "compression", "--budget-usd", "much"], "spend.budget_usd"),
        (["--recipe", "compression", "--concurrency", "0"], "--concurrency"),
    ],
)
def test_wrong_use(arguments: list[str], message: str, server: ProviderServer, work: Path, scc: Scc) -> None:
    if "--input" not in arguments and "there are none" not in message:
        arguments = [*arguments, "--input", str(corpus(work, 1))]
    model = [] if "--model" in arguments else ["--model", MODELS["openai"]]
    run = scc("seed", "generate", "-o", "pairs.jsonl", *arguments, *model)
    assert run.exit_code == 2 and message in run.stderr and "Traceback" not in run.stderr
    assert server.requests == []


def test_a_setting_comes_before_the_fallback_of_the_recipe(
    server: ProviderServer, work: Path, generate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus(work, 1)
    (work / "two.yaml").write_text(yaml.safe_dump(shipped() | {"fallback": "nobody:knows"}))
    assert generate(recipe="two.yaml").exit_code == 2
    monkeypatch.setenv("SCC_CHAT__FALLBACK", "embedded")
    assert generate("--resume", recipe="two.yaml").exit_code == 0


# --- the recipe of skills


class Skills:
    """Conversations as the recipe wants them, one in nine of them wrong in one of three ways."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, request: Request) -> str:
        self.number += 1
        asked = request.body["messages"][1]["content"]
        users = 3 if "three messages of the user" in asked else 1
        chat = json.loads(Talker.conversation(0, self.number))
        chat["tools"] = json.loads(Talker.conversation(1, 1))["tools"]
        words = " ".join(f"x{self.number * k}" for k in range(1, 40))
        one_call = "One call of one tool" in asked
        messages: list[dict[str, Any]] = []
        calls = 0
        for user in range(users):
            messages.append(_said("user", f"Look {user} at {words}."))
            for _ in range(1 if one_call else 2):
                made = [_call(calls + n) for n in range(1 if one_call else 2)]
                calls += len(made)
                messages.append(_said("assistant", "", made))
                messages += [_said("tool", f"Found {call['id']} {words}.", answers=call["id"]) for call in made]
            messages.append(_said("assistant", f"Done {user}: {words}."))
        if self.number % 27 == 9:
            messages.pop()
        if self.number % 27 == 18:
            messages[1]["tool_calls"][0]["arguments"] = "{}"
        if self.number % 27 == 0:
            return "Sure! Here you go."
        return json.dumps(chat | {"messages": messages})


def _said(role: str, content: str, calls: list[dict[str, str]] | None = None, answers: str = "") -> dict[str, Any]:
    return {"role": role, "content": content, "tool_calls": calls or [], "tool_call_id": answers}


def _call(number: int) -> dict[str, str]:
    return {"id": f"c{number}", "name": "read", "arguments": json.dumps({"path": f"{number}.py"})}


def test_the_skills_run_whole_at_a_tenth(server: ProviderServer, work: Path, generate: Any, scc: Scc) -> None:
    recipe = yaml.safe_load(shipped_recipes()["agentic-skills"].read_text())
    for category in recipe["categories"].values():
        for part in [category, *category.get("variants", {}).values()]:
            if "target" in part:
                part["target"] = -(-part["target"] // 10)
    (work / "skills.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    server.answer = Skills()
    run = generate("--json", "--concurrency", "16", recipe="skills.yaml")
    assert run.exit_code == 0, run.stderr
    by_category = Counter(row["category"] for row in rows_of() if row.get("status") == "accepted")
    assert by_category == {
        "tool_use": 70, "code_navigation": 18, "workflow": 45, "agentic": 40, "craftsmanship": 40,
        "collaboration": 20, "problem_solving": 20,
    }  # fmt: skip
    assert set(told(run)["total"]["reasons"]) == {"turns", "arguments", "schema"}
    assert {row["stage"] for row in rows_of()} == {"tools", "skills"}
    split = scc("data", "split", "pairs.jsonl", "--output", "data", "--tools", "openai", "--json")
    assert split.exit_code == 0 and set(json.loads(split.stdout)["strata"]) == set(by_category)


def test_compress_answers_as_the_benchmark_needs_them() -> None:
    source = "<source>\nThe list of the parts that are in it.\n</source>"
    assert compress_answer(Request("local", "POST", "/", {}, {"content": source})) == "list parts it."
