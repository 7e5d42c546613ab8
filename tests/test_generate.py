"""`scc seed generate` with the real SDKs against a loopback server: the ledger of rows adds up, whatever happens."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Run, Scc
from provider_server import KEY, ProviderServer, Reply, Request, compress_answer, serving

from compressor_cli.core.recipes import shipped_recipes

Row = dict[str, Any]
MODELS = {
    "anthropic": "anthropic:claude-haiku-4-5",
    "openai": "openai:gpt-4.1",
    "google": "google:gemini-2.5-flash",
    "local": "local:tiny",
}
NOUNS = "harbour bridge library orchard railway museum theatre reservoir quarry observatory".split()
SECRET = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6"


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


def short(number: int) -> str:
    return compress_answer(Request("local", "POST", "/", {}, {"content": f"<source>\n{text(number)}\n</source>"}))


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


def shipped() -> Row:
    recipe = yaml.safe_load(shipped_recipes()["compression"].read_text())
    assert isinstance(recipe, dict)
    return recipe


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
    assert "note: chat: 7 accepted rows, 30 are the target: its source is exhausted" in run.stderr
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


# --- failures


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without their waits."""
    monkeypatch.setattr("compressor_cli.chat.retry.FIRST_DELAY", 0.001)


def test_a_bad_request_stands_on_its_row_and_is_tried_again_when_asked(
    server: ProviderServer, work: Path, generate: Any
) -> None:
    corpus(work, 3)
    server.script.append(Reply(400, "the prompt is too strange", {}))
    run = generate("--json", "--concurrency", "1")
    assert run.exit_code == 3 and "error: 1 rows failed" in run.stderr and "--retry-errors" in run.stderr
    assert adds_up(run)["total"]["failed"] == 1
    failed = next(row for row in rows_of() if "error" in row)
    assert "too strange" in failed["error"] and failed["request_id"] and failed["source_id"] == "r0"
    assert generate("--resume").exit_code == 3 and len(server.requests) == 3
    run = generate("--resume", "--retry-errors", "--json")
    assert run.exit_code == 0 and len(server.requests) == 4
    assert adds_up(run)["total"] == told(run)["total"] and told(run)["total"]["accepted"] == 3
    assert len(Path("pairs.jsonl").read_text().splitlines()) == 4  # the failed one stays above


def test_a_failed_row_does_not_keep_a_met_target_open(
    server: ProviderServer, work: Path, talk: Path, generate: Any
) -> None:
    server.answer = Talker()
    server.script.append(Reply(400, "no"))
    run = generate("--json", recipe=talk)
    assert run.exit_code == 0 and adds_up(run)["total"]["failed"] == 1


def test_what_passes_is_tried_again(server: ProviderServer, work: Path, generate: Any, quick: None) -> None:
    corpus(work, 4)
    server.script.extend([Reply(429, "slow down"), Reply(500, "oops"), Reply(200, b"not json"), Reply(529, "busy")])
    run = generate("--json", model="anthropic")
    assert run.exit_code == 0 and adds_up(run)["total"]["accepted"] == 4
    assert len(server.requests) == 8


def test_a_quota_stops_the_run(server: ProviderServer, work: Path, generate: Any) -> None:
    corpus(work, 30)
    quota = {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "param": None,
                       "code": "insufficient_quota"}}  # fmt: skip
    answers = iter(range(30))

    def answer(request: Request) -> str:
        if next(answers) == 4:
            server.script.extend([Reply(429, quota)] * 20)
        return compress_answer(request)

    server.answer = answer
    run = generate("--json", "--concurrency", "2")
    assert run.exit_code == 3 and "exceeded your current quota" in run.stderr and "add credit" in run.stderr
    total = adds_up(run)["total"]
    assert total["asked"] == 30 and total["failed"] == 0 and total["pending"] == 30 - total["accepted"] >= 24
    assert len(server.requests) <= 8
    server.script.clear()
    assert told(generate("--json", "--resume"))["total"]["accepted"] == 30


def test_a_wrong_key_is_one_line(server: ProviderServer, work: Path, generate: Any, monkeypatch: Any) -> None:
    corpus(work, 30)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    run = generate()
    assert run.exit_code == 2 and "OPENAI_API_KEY" in run.stderr and rows_of() == []
    monkeypatch.delenv("OPENAI_API_KEY")
    run = generate("--resume")
    assert run.exit_code == 2 and "no API key for openai" in run.stderr


def test_a_fallback_is_marked_by_its_own_model(server: ProviderServer, work: Path, generate: Any, quick: None) -> None:
    corpus(work, 3)
    recipe = shipped()
    (work / "two.yaml").write_text(yaml.safe_dump(recipe | {"fallback": "embedded"}))
    server.script.extend([Reply(529, "overloaded")] * 6)
    run = generate("--concurrency", "1", recipe="two.yaml")
    assert run.exit_code == 0 and "embedded answers in its place" in run.stderr
    models = [row["model"].partition("-")[0] for row in rows_of()]
    assert models == ["embedded", "gpt", "gpt"] and {row["teacher"] for row in rows_of()} == {"openai:gpt-4.1"}


# --- money


def test_a_cap_is_reached_and_a_larger_one_goes_on(server: ProviderServer, work: Path, generate: Any) -> None:
    corpus(work, 12)
    run = generate("--json", "--budget-usd", "0.05")
    assert run.exit_code == 4 and "--budget-usd" in run.stderr and "larger --budget-usd" in run.stderr
    first = adds_up(run)["total"]
    assert 0 < first["accepted"] < 12 and first["pending"] == 12 - first["accepted"]
    assert len(server.requests) == first["accepted"]
    assert first["cost_usd"] <= 0.05
    run = generate("--json", "--budget-usd", "1", "--resume")
    assert run.exit_code == 0 and adds_up(run)["total"]["accepted"] == 12
    costs = [json.loads(line) for line in Path("costs.jsonl").read_text().splitlines()]
    settled = sum(event["usd"] for event in costs if event["event"] == "settle")
    assert told(run)["total"]["cost_usd"] == pytest.approx(settled)


def test_cached_rows_cost_nothing_and_say_so(server: ProviderServer, work: Path, generate: Any) -> None:
    corpus(work, 3)
    first = told(generate("--json"))["total"]
    assert first["cost_usd"] > 0 and first["cached"] == 0
    Path("pairs.jsonl").unlink()
    run = generate("--json")
    total = adds_up(run)["total"]
    assert (total["cached"], total["cost_usd"], total["accepted"]) == (3, 0.0, 3) and len(server.requests) == 3
    assert {row["cached"] for row in rows_of()} == {True} and all(row["request_id"] for row in rows_of())
    Path("pairs.jsonl").unlink()
    assert told(generate("--json", "--no-cache"))["total"]["cached"] == 0 and len(server.requests) == 6


def test_an_unknown_price(server: ProviderServer, work: Path, generate: Any) -> None:
    corpus(work, 2)
    run = generate("--budget-usd", "1", model="openai:unheard-of")
    assert run.exit_code == 2 and "no price is known" in run.stderr and server.requests == []
    run = generate("--resume", "--json", "--budget-usd", "1", "--allow-unpriced", model="openai:unheard-of")
    assert run.exit_code == 0 and told(run)["total"]["cost_usd"] is None
    assert "unknown" in generate("--resume", model="openai:unheard-of").stdout


def test_a_full_disk_is_one_line(server: ProviderServer, work: Path, generate: Any, monkeypatch: Any) -> None:
    corpus(work, 20)
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if b'"messages"' in data:
            raise OSError(28, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr("compressor_cli.core.jsonl.os.write", full)
    run = generate()
    assert run.exit_code == 1 and run.stderr.endswith("error: No space left on device\n")
    monkeypatch.undo()
