"""`scc eval` with models behind servers: generation, judges, costs, and how fast a model is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Run
from evaluating import PREFIX, SYSTEM, Scripted, dataset, opens, rows_of, said, short, text
from loopback_models import answer as task_answer
from loopback_models import asked
from provider_server import ProviderServer, Reply, Request, serving

from compressor_cli.backends.openai import open_generator
from compressor_cli.core.generation import Generated, ModelSource, Prompt, Sampling
from compressor_cli.errors import QuotaError, UsageError

pytest.importorskip("openai")
pytest.importorskip("diskcache")
Scc = Callable[..., Run]
OUTPUT = ["--embeddings", "none", "--output", "eval/a.jsonl"]


def model_answer(request: Request) -> str:
    """A compression by number, or the task of a judge."""
    try:
        return task_answer(request)
    except (KeyError, ValueError):
        number = re.search(r"number (\d+)", request.body["messages"][-1]["content"])
        assert number is not None
        return short(int(number[1]))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with serving() as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("SCC_CHAT__BASE_URL")
        running.answer = model_answer
        yield running


def url(server: ProviderServer) -> str:
    return f"http://127.0.0.1:{server.port}/local/v1"


def prompts(count: int) -> list[Prompt]:
    system = {"role": "system", "content": SYSTEM}
    return [Prompt((system, {"role": "user", "content": PREFIX + text(n)}), 50 + n) for n in range(count)]


def test_every_prompt_is_answered_once_at_its_place(server: ProviderServer) -> None:
    server.latency = 0.02
    generator = open_generator(ModelSource("tiny", batch_size=5, base_url=url(server)))
    found = dict(generator.generate(prompts(17), Sampling(0.5, 0.9, 7)))
    assert sorted(found) == list(range(17)) and generator.name == "local:tiny"
    for place, answer in found.items():
        assert answer.text == short(place) and answer.tokens_out > 5 and not answer.truncated
        assert answer.seconds >= 0.02
    body = server.requests[0].body
    assert (body["temperature"], body["top_p"], body["seed"], body["model"]) == (0.5, 0.9, 7, "tiny")
    assert body["max_tokens"] in range(50, 67)
    assert dict(generator.generate(prompts(2), Sampling())).keys() == {0, 1}, "again, with the same connections"
    assert "top_p" not in server.requests[-1].body and server.requests[-1].body["temperature"] == 0
    generator.close()


def test_as_many_are_in_work_at_once_as_asked(server: ProviderServer) -> None:
    server.latency = 0.2
    generator = open_generator(ModelSource("tiny", batch_size=4, base_url=url(server)))
    answers = generator.generate(prompts(8), Sampling())
    next(answers)
    assert 4 <= len(server.requests) <= 8
    answers.close()  # type: ignore[attr-defined]
    generator.close()
    assert len(server.requests) <= 8


def test_a_prompt_that_fails_is_an_error_of_its_own(server: ProviderServer) -> None:
    server.script.append(Reply(400, "too long"))
    generator = open_generator(ModelSource("tiny", batch_size=1, base_url=url(server)))
    found = dict(generator.generate(prompts(3), Sampling()))
    errors = [answer.error for answer in found.values() if answer.error]
    assert len(found) == 3 and len(errors) == 1 and "too long" in errors[0]
    called = Prompt(({"role": "user", "content": "x"}, {"role": "tool", "content": "y"}), 9)
    assert "only system, user" in (dict(generator.generate([called], Sampling()))[0].error or "")
    generator.close()


def test_what_holds_for_every_prompt_is_raised(server: ProviderServer) -> None:
    generator = open_generator(ModelSource("gpt-4.1", batch_size=1))
    refused = {"error": {"message": "no money", "type": "insufficient_quota", "code": "insufficient_quota"}}
    server.script.append(Reply(429, refused))
    with pytest.raises(QuotaError):
        dict(generator.generate(prompts(3), Sampling()))
    generator.close()
    with pytest.raises(UsageError, match="--model is needed"):
        open_generator(ModelSource(base_url=url(server)))


def test_a_server_is_evaluated(server: ProviderServer, work: Path, scc: Scc) -> None:
    data = dataset(work / "data.jsonl", 12)
    words = ["eval", "--backend", "openai", "--model", "tiny", "--base-url", url(server), "--data", data, *OUTPUT]
    done = scc(*words, "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    overall = told["groups"]["overall"]
    assert overall["similarity"]["value"] == 1.0 and overall["pass_rate"]["value"] > 0.5
    assert overall["tokens_per_second"]["value"] > 0 and overall["latency_p95"]["value"] > 0
    first = server.requests[0].body["messages"]
    assert [message["role"] for message in first] == ["system", "user"] and first[0]["content"] == SYSTEM
    assert len(server.requests) == 12
    scc(*words, "--resume")
    assert len(server.requests) == 12, "nothing is asked twice"


def test_a_row_that_a_server_refuses_is_failed(server: ProviderServer, work: Path, scc: Scc) -> None:
    server.script.append(Reply(400, "too long"))
    data = dataset(work / "data.jsonl", 4)
    words = ["eval", "--backend", "openai", "--model", "tiny", "--base-url", url(server), "--data", data, *OUTPUT]
    done = scc(*words)
    assert done.exit_code == 3 and "1 rows failed" in done.stderr
    assert scc(*words, "--resume", "--retry-errors").exit_code == 0
    assert len(server.requests) == 5


def test_a_provider_is_paid_within_the_budget(server: ProviderServer, work: Path, scc: Scc) -> None:
    data = dataset(work / "data.jsonl", 6)
    words = ["eval", "--backend", "openai", "--model", "gpt-4.1", "--data", data, *OUTPUT]
    stopped = scc(*words, "--budget-usd", "0.001", "--batch-size", "1")
    assert stopped.exit_code == 4 and "budget" in stopped.stderr.lower()
    assert 0 < len(server.requests) < 6
    done = scc(*words, "--resume", "--budget-usd", "1", "--json")
    assert done.exit_code == 0, done.stderr
    cost = json.loads(done.stdout)["groups"]["overall"]["cost_usd"]["value"]
    rows = rows_of(Path("eval/a.jsonl"))
    assert cost == pytest.approx(sum(row["cost_usd"] for row in rows)) and cost > 0
    settled = [json.loads(line) for line in Path("eval/costs.jsonl").read_text().splitlines()]
    assert all(row.get("command", "eval") == "eval" for row in settled)


@pytest.mark.parametrize("flags", [["--judge", "openai:gpt-5-mini,google:gemini-2.5-flash"],
                                   ["--judge", "openai:gpt-5-mini", "--judge", "google:gemini-2.5-flash"]])  # fmt: skip
def test_judges_say_whether_it_means_the_same(flags: list[str], server: ProviderServer, work: Path, scc: Scc) -> None:
    data = dataset(work / "data.jsonl", 3)
    words = ["eval", "--backend", "embedded", "--data", data, *OUTPUT, *flags, "--budget-usd", "5", "--json"]
    done = scc(*words, "--fail-under", "equivalence=0.2")
    assert done.exit_code == 0, done.stderr
    rows = rows_of(Path("eval/a.jsonl"))
    assert all(0 <= row["equivalence"] <= 1 for row in rows)
    assert all(set(row["judges"]) == {"openai:gpt-5-mini", "google:gemini-2.5-flash"} for row in rows)
    assert all(row["equivalence"] == min(row["judges"].values()) for row in rows)
    told = json.loads(done.stdout)["groups"]["overall"]
    assert told["equivalence"]["rows"] == 3 and told["cost_usd"]["value"] > 0
    tasks = {asked(request).task for request in server.requests}
    assert {"validate_questions", "validate_qa", "validate_reasoning"} <= tasks
    requests = len(server.requests)
    Path("eval/a.jsonl").unlink()
    again = scc(*words)
    assert again.exit_code == 0 and len(server.requests) == requests, "from the cache"
    assert b"equivalence" in Path("eval/a/report.html").read_bytes()


def test_a_changed_number_is_not_equivalent(server: ProviderServer, work: Path, scc: Scc, monkeypatch: Any) -> None:
    def changed(place: int, prompt: Prompt) -> Any:
        return said(
            "" if place == 0 else text(1) if place == 1 else text(place).replace("bar", "kg").replace("2020", "1999")
        )

    opens(monkeypatch, lambda *args, **more: Scripted(changed))
    data = dataset(work / "data.jsonl", 3)
    done = scc("eval", "--backend", "torch", "--model", "x", "--data", data, *OUTPUT, "--judge", "openai:gpt-5-mini")
    assert done.exit_code == 0, done.stderr
    by_line = {row["line"]: row["equivalence"] for row in rows_of(Path("eval/a.jsonl"))}
    assert by_line[1] == 0 and by_line[2] == 1 and by_line[3] < 0.8


def test_a_judge_that_fails_fails_its_row(server: ProviderServer, work: Path, scc: Scc) -> None:
    server.script.append(Reply(400, "no"))
    words = ["eval", "--backend", "embedded", "--data", dataset(work / "data.jsonl", 3), *OUTPUT]
    done = scc(*words, "--judge", "openai:gpt-5-mini")
    assert done.exit_code == 3
    failed = [row for row in rows_of(Path("eval/a.jsonl")) if "error" in row]
    assert len(failed) == 1 and failed[0]["error"].startswith("judge: ")
    other = scc(*words, "--resume")
    assert other.exit_code == 2 and "judge was ['openai:gpt-5-mini'], is []" in other.stderr
    assert scc(*words, "--judge", "openai:gpt-5-mini", "--resume", "--retry-errors").exit_code == 0


def test_judges_stop_at_the_budget(server: ProviderServer, work: Path, scc: Scc) -> None:
    words = ["eval", "--backend", "embedded", "--data", dataset(work / "data.jsonl", 8), *OUTPUT]
    words += ["--judge", "openai:gpt-4.1", "--concurrency", "1", "--no-cache"]
    stopped = scc(*words, "--budget-usd", "0.045")
    assert stopped.exit_code == 4, stopped.stderr
    there = len(rows_of(Path("eval/a.jsonl")))
    assert there < 8
    assert scc(*words, "--budget-usd", "10", "--resume").exit_code == 0
    rows = rows_of(Path("eval/a.jsonl"))
    assert len(rows) == 8 == len({row["key"] for row in rows}) and not any("error" in row for row in rows)


@pytest.mark.slow
def test_the_speed_is_measured_by_length(samples: Path, work: Path, scc: Scc) -> None:
    done = scc("eval", "--benchmark", "--backend", "embedded", "--data", samples, "--batch-size", "2", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert [one["tokens_in"] for one in told["lengths"]] == [100, 250, 500, 1000, 2000, 4000]
    assert told["target_seconds"] == 0.1 and told["machine"]
    for one in told["lengths"]:
        assert 0 < one["p50"] <= one["p95"] and one["within_target"] == (one["p95"] <= 0.1)
        assert 0 < one["tokens_out"] <= one["tokens_in"] and one["tokens_per_second"] > 0
    assert told["lengths"][-1]["p50"] > told["lengths"][0]["p50"]


def test_a_benchmark_ends_at_the_length_that_the_model_does_not_take(
    work: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch, samples: Path
) -> None:
    def answer(place: int, prompt: Prompt) -> Generated:
        long = len(prompt.messages[-1]["content"].split()) > most
        return said("x") if not long else Generated("", 0, 0, False, 0.0, error="the model reads 1,024")

    most = 800
    opens(monkeypatch, lambda *_, **more: Scripted(answer))
    words = ["eval", "--benchmark", "--backend", "torch", "--model", "x", "--data", samples, "--output", "speed.html"]
    done = scc(*words, "--json")
    assert done.exit_code == 0, done.stderr
    lengths = [one["tokens_in"] for one in json.loads(done.stdout)["lengths"]]
    assert lengths == [100, 250, 500, 1000]
    assert "inputs of 2,000 tokens and more are left out: scripted: the model reads 1,024" in done.stderr
    most = 0
    none = scc(*words)
    assert none.exit_code == 1 and "the model reads 1,024" in none.stderr


def test_a_benchmark_asks_no_text_twice(work: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch, samples: Path) -> None:
    model = Scripted(lambda place, prompt: said("x", seconds=0.2))
    seen: list[Prompt] = []
    generate = model.generate

    def watched(prompts: Any, sampling: Any) -> Any:
        seen.extend(prompts)
        return generate(prompts, sampling)

    model.generate = watched  # type: ignore[method-assign]
    opens(monkeypatch, lambda *args, **more: model)
    words = ["eval", "--benchmark", "--backend", "torch", "--model", "x", "--data", samples, "--batch-size", "3"]
    done = scc(*words, "--output", "speed.html")
    assert done.exit_code == 0, done.stderr
    page = Path("speed.html").read_text()
    assert "tokens of the input" in page and "target, 100 ms" in page
    assert len(seen) == 6 * (1 + 5 + 3) == len({json.dumps(prompt.messages) for prompt in seen})
    assert all(prompt.messages[-1]["content"].startswith("Compress:\n") for prompt in seen), "as it was trained"
    assert seen[0].messages[0]["role"] == "system" and seen[0].max_tokens == 100
    assert "missed" in done.stdout and "200" in done.stdout and model.closed
    broken = Scripted(lambda place, prompt: said("", error="out of memory"))
    opens(monkeypatch, lambda *args, **more: broken)
    done = scc("eval", "--benchmark", "--backend", "torch", "--model", "x", "--data", samples)
    assert done.exit_code == 1 and "out of memory" in done.stderr


def test_the_chart_of_speed_can_be_a_picture(
    samples: Path, work: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("PIL")
    model = Scripted(lambda place, prompt: said("x", seconds=prompt.max_tokens / 10_000))
    opens(monkeypatch, lambda *args, **more: model)
    words = ["eval", "--benchmark", "--backend", "torch", "--model", "x", "--data", samples, "--output", "speed.png"]
    told = json.loads(scc(*words, "--json").stdout)
    assert Path("speed.png").read_bytes().startswith(b"\x89PNG")
    assert [one["within_target"] for one in told["lengths"]] == [True, True, True, True, False, False]


def test_a_dry_run_prices_it_and_sends_nothing(server: ProviderServer, work: Path, scc: Scc) -> None:
    data = dataset(work / "data.jsonl", 6)
    words = [
        "eval",
        "--backend",
        "openai",
        "--model",
        "gpt-4.1",
        "--data",
        data,
        *OUTPUT,
        "--judge",
        "openai:gpt-5-mini",
    ]
    told = json.loads(scc(*words, "--dry-run", "--json").stdout)
    assert not server.requests and not Path("eval").exists()
    assert scc(*words).exit_code == 0
    spent = [json.loads(line) for line in Path("eval/costs.jsonl").read_text().splitlines()]
    assert told["rows"] == 6 and told["there"] == 0
    models = [request.body["model"] for request in server.requests]
    assert models.count("gpt-5-mini") <= told["judge_requests"] <= 2 * models.count("gpt-5-mini")
    rows = rows_of(Path("eval/a.jsonl"))
    assert sum(row["model_tokens_out"] for row in rows) <= told["output_tokens"]
    assert sum(row["cost_usd"] for row in rows) <= told["usd"] + told["judge_usd"] and spent
    again = scc(*words, "--dry-run")
    assert again.exit_code == 0 and "0 rows to ask (6 are there)" in again.stderr and "$0.0000" in again.stderr
    free = scc("eval", "--backend", "embedded", "--data", data, "--dry-run")
    assert free.exit_code == 0 and "6 rows to ask" in free.stderr and "nothing was sent" in free.stderr
