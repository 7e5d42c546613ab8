"""`scc seed generate` with the real SDKs against a loopback server: the ledger of rows adds up, whatever happens."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Scc
from generating import (
    MODELS,
    Talker,
    adds_up,
    corpus,
    generate,
    rows_of,
    server,
    shipped,
    short,
    talk,
    text,
    told,
)
from provider_server import KEY, ProviderServer, Reply, Request, compress_answer

__all__ = ["generate", "server", "talk"]  # fixtures
SECRET = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6"


# --- providers


@pytest.mark.parametrize("provider", MODELS)
def test_rows_of_each_provider(provider: str, server: ProviderServer, work: Path, generate: Any) -> None:
    corpus(work, 3, licence="MIT", line=7)
    run = generate("--json", model=provider)
    assert run.exit_code == 0, run.stderr
    prose = adds_up(run)["categories"][0]
    assert (prose["accepted"], prose["asked"], prose["yield"]) == (3, 3, 1.0)
    assert (prose["cost_usd"] == 0) == (provider == "local")
    for row in rows_of():
        number = int(row["source_id"][1:])
        assert row["original"] == text(number) and row["messages"][1]["content"] == f"Compress:\n{text(number)}"
        assert row["messages"][2]["content"] == row["compressed"] and row["fidelity"] == 1.0
        assert (row["teacher"], row["model"]) == (MODELS[provider], MODELS[provider].partition(":")[2])
        assert row["request_id"] and row["usage"]["input_tokens"] > 100 and row["usage"]["output_tokens"] > 5
        assert (row["source"], row["line"], row["licence"], row["domain"]) == (f"doc{number}.md", 7, "MIT", "prose")
        assert row["stop"] == "end" and row["cached"] is False and row["tokens_compressed"] < row["tokens_original"]
    assert len({row["request_id"] for row in rows_of()}) == 3
    assert KEY not in "".join(path.read_text() for path in work.glob("*.jsonl*"))


def test_embedded_needs_no_key_and_stands_on_every_row(work: Path, generate: Any) -> None:
    corpus(work, 4)
    run = generate("--json", model="embedded")
    assert run.exit_code == 0
    assert adds_up(run)["total"]["cost_usd"] == 0.0
    assert {(row["teacher"], row["model"].partition("-")[0]) for row in rows_of()} == {("embedded", "embedded")}


def test_embedded_makes_no_conversations(work: Path, generate: Any) -> None:
    run = generate(recipe="agentic-skills", model="embedded")
    assert (run.exit_code, rows_of()) == (2, [])
    assert "compresses texts and does nothing else" in run.stderr and "another --model" in run.stderr


# --- reasons


def test_each_rejection_has_its_reason(server: ProviderServer, work: Path, generate: Any) -> None:
    corpus(work, 9)
    special = {
        1: "I'm sorry, but I can't help with that.",
        2: '{"compressed": "cut off',
        3: json.dumps({"compressed": text(3)}),
        4: json.dumps({"compressed": text(4) + " And so on and so forth."}),
        5: json.dumps({"compressed": "Harbour."}),
        6: json.dumps({"compressed": "Here is the compressed text:\n" + short(6)}),
        7: json.dumps({"compressed": short(0)}),
    }

    def answer(request: Request) -> str:
        number = int(re.search(r"numbered (\d+)", json.dumps(request.body))[1])  # type: ignore[index]
        return special.get(number) or compress_answer(request)

    server.answer = answer
    run = generate("--json", "--concurrency", "1")
    assert run.exit_code == 0
    prose = adds_up(run)["categories"][0]
    reasons = {row["source_id"]: {one["reason"] for one in row.get("reasons", ())} for row in rows_of()}
    assert reasons["r1"] == {"refused"} and reasons["r2"] == {"schema"} and reasons["r3"] == {"unchanged"}
    assert reasons["r4"] == {"larger"} and "fidelity" in reasons["r5"] and reasons["r6"] == {"preamble"}
    assert "fidelity" in reasons["r7"] and reasons["r8"] == set()
    assert prose["reasons"]["refused"] == 1 and prose["accepted"] == 2 and prose["rejected"] == 7
    kept = {row["source_id"]: row for row in rows_of()}
    assert kept["r2"]["output"] == special[2]  # what was paid for is not thrown away
    assert kept["r3"]["messages"] and kept["r1"]["usage"]["output_tokens"] > 0


def test_cut_and_refused_by_the_provider(server: ProviderServer, work: Path, generate: Any) -> None:
    corpus(work, 2)

    def message(finish: str, content: str | None, refusal: str | None = None) -> Reply:
        said = {"role": "assistant", "content": content, "refusal": refusal}
        usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
        choices = [{"index": 0, "message": said, "finish_reason": finish}]
        return Reply(200, {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4.1", "choices": choices,
                           "usage": usage})  # fmt: skip

    server.script.extend([message("length", '{"compressed": "Brid'), message("stop", None, "No.")])
    assert generate("--concurrency", "1").exit_code == 0
    assert [row["reasons"][0]["reason"] for row in rows_of()] == ["cut", "refused"]


def test_near_duplicates_of_accepted_rows(server: ProviderServer, work: Path, generate: Any) -> None:
    corpus(work, 3)
    recipe = shipped()
    recipe["checks"] = {"near_duplicate": 0.9}
    (work / "loose.yaml").write_text(yaml.safe_dump(recipe))
    server.answer = lambda request: json.dumps({"compressed": "Town needs bridge; parts listed."})
    assert generate("--limit", "2", recipe="loose.yaml").exit_code == 0
    run = generate("--resume", "--json", recipe="loose.yaml")  # those of earlier runs count too
    assert run.exit_code == 0
    assert adds_up(run)["total"]["reasons"] == {"duplicate": 2}
    first = next(row for row in rows_of() if row["status"] == "accepted")
    assert {row["reasons"][0]["detail"] for row in rows_of() if row["reasons"]} == {f"1.0 like row {first['key']}"}


def test_a_secret_is_never_sent(server: ProviderServer, work: Path, generate: Any) -> None:
    path = corpus(work, 3)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1]["text"] += f" The token is {SECRET}."
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = generate("--json")
    assert run.exit_code == 0
    assert adds_up(run)["categories"][0]["reasons"] == {"secret": 1}
    assert len(server.requests) == 2 and SECRET not in json.dumps([request.body for request in server.requests])
    assert SECRET not in Path("pairs.jsonl").read_text()
    assert next(row for row in rows_of() if row["reasons"])["reasons"] == [
        {"reason": "secret", "detail": "github-token"}
    ]


def test_rows_that_fit_no_category_are_told(server: ProviderServer, work: Path, generate: Any) -> None:
    path = corpus(work, 2)
    path.write_text(path.read_text() + json.dumps({"text": '{"a": 1}', "domain": "json"}) + "\n")
    run = generate()
    assert run.exit_code == 0 and len(rows_of()) == 2
    assert "1 of 3 rows of the corpus fit no category: not asked for" in run.stderr
    path.write_text(json.dumps({"text": '{"a": 1}', "domain": "json"}) + "\n")
    run = generate("--resume")
    assert run.exit_code == 2 and "no row of the corpus fits the recipe" in run.stderr


# --- targets, limits, resuming


def test_targets_of_accepted_rows_are_met_exactly(
    server: ProviderServer, work: Path, talk: Path, generate: Any
) -> None:
    server.answer = Talker()
    run = generate("--json", recipe=talk)
    assert run.exit_code == 0, run.stderr
    found = adds_up(run)
    assert {one["name"]: one["accepted"] for one in found["categories"]} == {"chat": 12, "tools/one": 5, "tools/two": 4}
    assert found["total"]["rejected"] > 5 and found["total"]["asked"] == len(server.requests)
    assert found["total"]["reasons"].keys() == {"turns", "arguments"}
    first = [row["job"] for row in rows_of()[:12]]
    assert set(first) == {"chat", "tools/one", "tools/two"}  # side by side
    assert {row["stage"] for row in rows_of()} == {"sft"}
    again = generate("--json", "--resume", recipe=talk)
    assert again.exit_code == 0 and told(again)["total"] == found["total"]
    assert len(server.requests) == found["total"]["asked"]


@pytest.mark.parametrize(("form", "kind"), [("openai", str), ("hf", dict)])
def test_a_split_takes_the_accepted_rows(
    form: str, kind: type, server: ProviderServer, talk: Path, generate: Any, scc: Scc
) -> None:
    server.answer = Talker()
    accepted = told(generate("--json", recipe=talk))["total"]["accepted"]
    run = scc("data", "split", "pairs.jsonl", "--output", "data", "--tools", form, "--ratios", "1", "0", "0", "--json")
    assert run.exit_code == 0, run.stderr
    assert json.loads(run.stdout)["left_out"] == {"rejected when they were made": len(rows_of()) - accepted}
    rows = [json.loads(line) for line in Path("data/train.jsonl").read_text().splitlines()]
    calls = [call for row in rows for message in row["messages"] for call in message.get("tool_calls", ())]
    assert len(rows) == accepted == 21 and len(calls) >= 13
    assert {type(call["function"]["arguments"]) for call in calls} == {kind}
    for call in calls:
        arguments = call["function"]["arguments"]
        assert (json.loads(arguments) if form == "openai" else arguments)["path"].endswith(".py")


def test_rejected_pairs_are_the_other_half_of_preferences(
    server: ProviderServer, work: Path, generate: Any, scc: Scc
) -> None:
    corpus(work, 4)
    recipe = shipped()
    recipe |= {"prompts": {}, "categories": {"all": {"prompt": "compress_prose", "samples": 2}}}
    (work / "twice.yaml").write_text(yaml.safe_dump(recipe))
    seen: Counter[str] = Counter()

    def answer(request: Request) -> str:
        asked = request.body["messages"][1]["content"]
        seen[asked] += 1
        return compress_answer(request) if seen[asked] == 1 else json.dumps({"compressed": "Lost."})

    server.answer = answer
    assert generate("--concurrency", "1", recipe="twice.yaml").exit_code == 0
    assert Counter(row["status"] for row in rows_of()) == {"accepted": 4, "rejected": 4}
    run = scc(
        "data", "split", "pairs.jsonl", "--rejected", "pairs.jsonl", "--format", "preference", "--output", "data",
        "--ratios", "1", "0", "0",
    )  # fmt: skip
    assert run.exit_code == 0, run.stderr
    rows = [json.loads(line) for line in Path("data/train.jsonl").read_text().splitlines()]
    assert [row["rejected"][0]["content"] for row in rows].count("Lost.") == 4


def test_an_exhausted_source_is_told(server: ProviderServer, work: Path, talk: Path, generate: Any) -> None:
    recipe = yaml.safe_load(talk.read_text())
    recipe["categories"] = {"chat": recipe["categories"]["chat"] | {"target": 30, "samples": 1}}
    talk.write_text(yaml.safe_dump(recipe))
    server.answer = Talker()
    run = generate(recipe=talk)
    assert run.exit_code == 3 and len(rows_of()) == 10
    assert "note: chat: 7 of 30 accepted rows, and its source is exhausted" in run.stderr
    assert "hint: --resume goes on with a longer --input or more `samples` in the recipe" in run.stderr
    assert "error: 23 accepted rows are missing to targets" in run.stderr


def test_a_limit_is_over_all_rows_of_the_file(server: ProviderServer, work: Path, talk: Path, generate: Any) -> None:
    server.answer = Talker()
    assert generate("--limit", "5", recipe=talk).exit_code == 0
    assert len(rows_of()) == len(server.requests) == 5
    assert generate("--limit", "5", "--resume", recipe=talk).exit_code == 0
    assert len(server.requests) == 5
    run = generate("--limit", "9", "--resume", "--json", recipe=talk)
    assert run.exit_code == 0 and adds_up(run)["already_there"] == 5
    assert len(rows_of()) == len(server.requests) == 9 == len(Path("pairs.jsonl").read_text().splitlines())
    assert "--limit is reached" in generate("--limit", "9", "--resume", recipe=talk).stderr


def test_nothing_is_overwritten_and_other_settings_are_refused(
    server: ProviderServer, work: Path, generate: Any
) -> None:
    corpus(work, 3)
    assert generate("--limit", "2").exit_code == 0
    before = Path("pairs.jsonl").read_bytes()
    run = generate()
    assert run.exit_code == 2 and "already holds rows" in run.stderr
    run = generate("--resume", model="anthropic")
    assert run.exit_code == 2 and "model was 'openai:gpt-4.1', is 'anthropic:claude-haiku-4-5'" in run.stderr
    recipe = shipped()
    (work / "other.yaml").write_text(yaml.safe_dump(recipe | {"max_tokens": 77}))
    run = generate("--resume", recipe="other.yaml")
    assert run.exit_code == 2 and "recipe max_tokens was 4096, is 77" in run.stderr
    assert Path("pairs.jsonl").read_bytes() == before
    assert generate("--resume").exit_code == 0
    assert Path("pairs.jsonl").read_bytes().startswith(before) and len(rows_of()) == 3
    assert len(server.requests) == 3


def test_a_torn_row_is_done_again(server: ProviderServer, work: Path, generate: Any) -> None:
    corpus(work, 3)
    assert generate("--no-cache").exit_code == 0
    Path("pairs.jsonl").write_bytes(Path("pairs.jsonl").read_bytes()[:-20])
    run = generate("--resume", "--json")
    assert run.exit_code == 0 and "a torn last row" in run.stderr
    assert adds_up(run)["total"]["accepted"] == 3 and len(server.requests) == 4
