"""`scc seed generate` where providers fail, money ends or the disk is full: told, recorded, and taken up again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from generating import (
    Talker,
    adds_up,
    corpus,
    generate,
    rows_of,
    server,
    shipped,
    talk,
    told,
)
from provider_server import ProviderServer, Reply, Request, compress_answer

__all__ = ["generate", "server", "talk"]  # fixtures


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
    again = generate("--resume")
    assert again.exit_code == 3 and len(server.requests) == 3
    assert "prose: 1 failed, the last for openai:gpt-4.1: 400: the prompt is too strange" in again.stderr
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
    assert run.exit_code == 1 and run.stderr.endswith("error: pairs.jsonl: No space left on device\n")
    monkeypatch.undo()
