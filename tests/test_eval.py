"""`scc eval`: rows, prompts, resuming, gates, and what it writes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import REPO, Run
from evaluating import PREFIX, SYSTEM, Scripted, chat_row, dataset, opens, rows_of, said, short, text, write_rows

from compressor_cli.core.baselines import beginning
from compressor_cli.core.evaluation_rows import Asking, read_eval_rows
from compressor_cli.core.generation import Generated, Prompt
from compressor_cli.core.runs import RunSpec, open_run
from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.measuring import Scorer
from compressor_cli.errors import QuotaError, UsageError
from compressor_cli.settings import EvalSettings
from compressor_cli.stages.evaluate import EvalSummary, evaluate

Scc = Callable[..., Run]
EMBEDDED = ["eval", "--backend", "embedded", "--embeddings", "none", "--output", "eval/a.jsonl"]
FIELDS = {
    "key", "id", "line", "domain", "input", "reference", "output", "raw", "tokenizer", "tokens_in", "tokens_reference",
    "tokens_out", "tokens_raw", "model_tokens_in", "model_tokens_out", "ratio", "fidelity", "facts", "lost",
    "similarity", "metric", "truncation", "seconds", "wall_seconds", "truncated", "repaired", "cost_usd",
}  # fmt: skip


def ran(model: Scripted, count: int = 6, *, asking: Asking | None = None, **more: Any) -> EvalSummary:
    rows = read_eval_rows(dataset(Path("data.jsonl"), count), asking)
    settings = EvalSettings.model_validate({"embeddings": "none", **more.pop("settings", {})})
    return evaluate(settings, rows, Path("eval/a.jsonl"), lambda: model, {"backend": "scripted"}, **more)


def test_the_embedded_engine_is_measured_on_the_test_split(samples: Path, scc: Scc) -> None:
    done = scc(*EMBEDDED, "--data", samples)
    assert done.exit_code == 0, done.stderr
    rows = rows_of(Path("eval/a.jsonl"))
    assert len(rows) == 10 and all(set(row) == FIELDS for row in rows)
    written = {path.name for path in Path("eval").rglob("*") if path.is_file()}
    assert written == {"a.jsonl", "a.jsonl.settings.json", "summary.json", "report.html"}
    inputs = [row["messages"][1]["content"] for row in rows_of(samples / "test.jsonl")]
    assert [f"Compress:\n{row['input']}" for row in rows] == inputs
    for row in rows:
        assert 0 < row["tokens_out"] <= row["tokens_in"] and row["ratio"] == round(
            row["tokens_out"] / row["tokens_in"], 4
        )
        assert row["truncation"]["tokens"] <= row["tokens_out"]
        assert not row["repaired"] and row["cost_usd"] == 0 and row["metric"] == "character n-grams"
    assert {row["domain"] for row in rows} == {"prose", "code"}
    assert "ratio, mean" in done.stdout and "fidelity of truncation" in done.stdout and "worst:" in done.stdout


def test_the_summary_has_every_figure_by_domain_with_its_interval(samples: Path, scc: Scc) -> None:
    told = json.loads(scc(*EMBEDDED, "--data", samples, "--json").stdout)
    assert told == json.loads(Path("eval/a/summary.json").read_text())
    assert told["asked"] == told["measured"] == 10 and told["failed"] == told["pending"] == 0
    assert set(told["groups"]) == {"overall", "prose", "code"}
    overall = told["groups"]["overall"]
    for name in (
        "ratio", "ratio_median", "ratio_p90", "savings", "fidelity", "similarity", "pass_rate", "larger", "truncated",
        "latency_p50", "latency_p95", "tokens_per_second", "truncation_fidelity", "truncation_similarity",
    ):  # fmt: skip
        figure = overall[name]
        assert figure["rows"] == 10 and figure["low"] <= figure["value"] <= figure["high"], name
    assert overall["equivalence"]["value"] is None and overall["cost_usd"]["value"] == 0
    assert len(told["best"]) == len(told["worst"]) == 5
    assert not {row["id"] for row in told["best"]} & {row["id"] for row in told["worst"]}


def test_the_same_seed_gives_the_same_summary(samples: Path, scc: Scc) -> None:
    def figures(*more: str) -> Any:
        done = scc(*EMBEDDED[:-1], "eval/a.jsonl", "--data", samples, "--resume", "--json", *more)
        return json.loads(done.stdout)["groups"]

    first = figures()
    assert figures() == first
    assert figures("--seed", "1") != first, "a greedy answer has no seed, an interval has"


def test_rows_say_how_they_are_asked(work: Path) -> None:
    model = Scripted(lambda place, prompt: said(short(place)))
    summary = ran(model)
    assert summary.measured == 6 and model.closed
    first = model.prompts[0]
    assert [dict(message) for message in first.messages] == chat_row(0)["messages"][:2]
    rows = rows_of(Path("eval/a.jsonl"))
    assert sorted(row["input"] for row in rows) == sorted(text(n) for n in range(6))
    by_input = {row["input"]: row for row in rows}
    assert first.max_tokens == by_input[text(0)]["tokens_in"], "never above the input"
    assert by_input[text(3)]["output"] == short(3) and by_input[text(3)]["similarity"] == 1.0


def test_a_run_says_how_its_model_is_asked(work: Path, scc: Scc) -> None:
    model = Scripted(lambda place, prompt: said("x"))
    ran(model, asking=Asking("Be brief.", "Shorten: "))
    assert [message["content"] for message in model.prompts[2].messages] == ["Be brief.", f"Shorten: {text(2)}"]


def test_the_adapter_is_found_with_its_prompt(work: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset(work / "data.jsonl", 3)
    prompt = {"system": "Be brief.", "prefix": "Shorten:\n"}
    with open_run(work / "run", RunSpec("torch", {}, {"train": data}, model="tiny", notes={"prompt": prompt})) as run:
        (run.adapter / "x").parent.mkdir(exist_ok=True)
        (run.adapter / "adapter_model.safetensors").write_bytes(b"weights")
        run.finish()
    model = Scripted(lambda place, prompt: said("Pump."))
    opened: list[Any] = []

    def open_generator(backend: str, source: Any, **options: Any) -> Scripted:
        opened.append((backend, source.model, source.adapter, source.batch_size))
        return model

    opens(monkeypatch, open_generator)
    words = ["eval", "--data", data, "--embeddings", "none", "--output", "eval/a.jsonl", "--batch-size", "3"]
    for adapter in ("run", "run/adapter"):
        assert scc(*words, "--adapter", adapter, "--limit", "2").exit_code == 0
        assert model.prompts[0].messages[-1]["content"] == f"Shorten:\n{text(0)}"
        Path("eval/a.jsonl").unlink()
    assert opened == [("torch", None, Path("run"), 3), ("torch", None, Path("run/adapter"), 3)]
    made_by = json.loads(Path("eval/a.jsonl.settings.json").read_text())
    assert made_by["model"] == "tiny" and made_by["prompt"] == prompt
    assert list(made_by["adapter_sha256"]) == ["adapter_model.safetensors"]
    (work / "pipeline").mkdir()
    (work / "run").rename(work / "pipeline" / "sft")
    (work / "pipeline" / "pipeline.json").write_text('{"stages": ["sft"], "finished": ["sft"], "result": "sft"}')
    assert scc(*words, "--adapter", "pipeline").exit_code == 0
    assert opened[-1][2] == Path("pipeline/sft")


def test_an_exported_adapter_is_asked_as_in_training(work: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset(work / "data.jsonl", 3)
    exported = {"format": "scc-export-1", "prompt": {"system": "Be brief.", "prefix": "Shorten:\n"}}
    (work / "peft").mkdir()
    (work / "peft/export.json").write_text(json.dumps(exported))
    (work / "peft/adapter_model.safetensors").write_bytes(b"weights")
    model = Scripted(lambda place, prompt: said("Pump."))
    opens(monkeypatch, lambda *_, **options: model)
    words = ["eval", "--backend", "torch", "--data", data, "--embeddings", "none", "--output", "eval/a.jsonl"]
    for named in (["--adapter", "peft"], ["--model", "peft"]):
        assert scc(*words, *named).exit_code == 0
        assert [one["content"] for one in model.prompts[0].messages] == ["Be brief.", f"Shorten:\n{text(0)}"]
        assert json.loads(Path("eval/a.jsonl.settings.json").read_text())["prompt"] == exported["prompt"]
        Path("eval/a.jsonl").unlink()
    for damaged in ("{", "[]", '{"prompt": "x"}', '{"prompt": {"system": 1, "prefix": null}}'):
        (work / "peft/export.json").write_text(damaged)
        done = scc(*words, "--adapter", "peft")
        assert done.exit_code == 2 and "export.json is damaged" in done.stderr
    (work / "peft/export.json").unlink()
    done = scc(*words, "--adapter", "peft")
    assert done.exit_code == 0 and "nothing says how peft was asked in training" in done.stderr
    assert model.prompts[0].messages[0]["content"] == SYSTEM


def test_a_domain_may_have_the_name_of_the_whole(work: Path, scc: Scc) -> None:
    rows = [{**chat_row(n), "domain": "overall" if n else "prose\x1b[31m"} for n in range(3)]
    done = scc(*EMBEDDED, "--data", write_rows(work / "data.jsonl", rows))
    groups = json.loads(Path("eval/a/summary.json").read_text())["groups"]
    counted = {name: figures["ratio"]["rows"] for name, figures in groups.items()}
    assert counted == {"overall": 3, "overall (domain)": 2, "prose\x1b[31m": 1}
    assert "\x1b" not in done.stdout


def test_what_stands_around_an_answer_is_cleaned_and_told(work: Path) -> None:
    written = f"<think>Hm.</think>Here is the text:\n{short(0)}<|im_end|>"
    summary = ran(Scripted(lambda place, prompt: said(written if place == 0 else short(place))))
    row = next(row for row in rows_of(Path("eval/a.jsonl")) if row["input"] == text(0))
    assert (row["output"], row["raw"], row["repaired"]) == (short(0), written, True)
    assert row["tokens_raw"] > row["tokens_out"]
    assert summary.groups["overall"]["repaired"].value == pytest.approx(1 / 6, abs=1e-6)


def test_a_fence_that_the_reference_has_is_no_fault(work: Path) -> None:
    row = chat_row(0)
    row["messages"][-1]["content"] = f"```\n{short(0)}\n```"
    data = read_eval_rows(write_rows(work / "data.jsonl", [row, chat_row(1)]), Asking(SYSTEM, PREFIX))
    scorer = Scorer(token_counter(), None)
    asked, plain = (scorer.measured(one, said(f"```\n{short(0)}\n```"), 0.1) for one in data)
    assert (asked["output"], asked["repaired"]) == (row["messages"][-1]["content"], False)
    assert (plain["output"], plain["repaired"]) == (short(0), True)


def test_an_indented_answer_to_an_indented_text_is_not_repaired(work: Path) -> None:
    row = chat_row(0)
    row["messages"][1]["content"] = f"    {text(0)}"
    found = read_eval_rows(write_rows(work / "data.jsonl", [row]), None)[0]
    measured = Scorer(token_counter(), None).measured(found, said(f"    {short(0)}\n"), 0.1)
    assert (measured["output"], measured["repaired"]) == (f"    {short(0)}", False)


@pytest.mark.parametrize("rest", ["", " \n"])
def test_a_row_with_nothing_behind_the_prefix_fails_alone(rest: str, work: Path, scc: Scc) -> None:
    bare = chat_row(0)
    bare["messages"][1]["content"] = PREFIX + rest
    done = scc(*EMBEDDED, "--data", write_rows(work / "data.jsonl", [chat_row(1), bare, chat_row(2)]))
    assert done.exit_code == 3 and "3 rows: 2 measured, 1 failed" in done.stdout
    failed = next(row for row in rows_of(Path("eval/a.jsonl")) if "error" in row)
    assert "line 2: " in failed["error"] and "nothing to compress" in failed["error"]


@pytest.mark.parametrize("share", [0, 0.3, 0.6, 1])
def test_truncation_is_the_beginning_of_the_text_as_it_stands(share: float, work: Path) -> None:
    """Indentation counts: without it, more of a program would fit than truncation keeps."""
    code = "def pump(bar):\n    if bar > 5:\n        return open_valve(bar)\n\n    return None\n"
    row = chat_row(0)
    row["messages"][1]["content"] = code
    found = read_eval_rows(write_rows(work / "data.jsonl", [row]), None)[0]
    count = token_counter().count
    kept = beginning(count)(code, int(share * count(code)))
    assert code.startswith(kept) and count(kept) <= share * count(code)
    assert share < 1 or kept == code.rstrip()
    measured = Scorer(token_counter(), None).measured(found, said(code.rstrip()), 0.1)
    assert measured["truncation"]["tokens"] == measured["tokens_out"]


def test_what_an_earlier_turn_says_is_no_copy_of_instructions(work: Path) -> None:
    line = "The pump was shut off by Ann."
    turns = [("user", "What happened?"), ("assistant", line), ("user", "And then?"), ("assistant", "Nothing.")]
    talk = {"messages": [{"role": role, "content": content} for role, content in turns]}
    row = read_eval_rows(write_rows(work / "data.jsonl", [talk]), None)[0]
    assert Scorer(token_counter(), None).measured(row, said(line), 0.1)["output"] == line


def test_a_model_that_fails_is_measured_as_it_is(work: Path) -> None:
    """Nothing is put back: a lost fact is a lost fact, an answer that runs away is counted as such."""
    answers = [
        "",
        text(1) + " And more, and more of it.",
        "Pump 2 was opened above 4 bar.",
        short(3),
        text(4),
        short(5),
    ]
    model = Scripted(lambda place, prompt: said(answers[place], truncated=place == 3))
    overall = ran(model).groups["overall"]
    rows = {row["line"]: row for row in rows_of(Path("eval/a.jsonl"))}
    assert rows[1]["ratio"] == 0 and rows[1]["fidelity"] == 0
    assert rows[2]["tokens_out"] > rows[2]["tokens_in"]
    assert any("not" in fact["text"] for fact in rows[3]["lost"])
    for name, share in (("empty", 1), ("larger", 1), ("truncated", 1), ("pass_rate", 1)):
        assert overall[name].value == pytest.approx(share / 6, abs=1e-6), name


def test_a_row_that_fails_is_told_and_asked_again_on_request(work: Path) -> None:
    broken = Scripted(
        lambda place, prompt: Generated("", 0, 0, False, 0, error="out of memory") if place == 2 else said("x")
    )
    summary = ran(broken)
    assert (summary.measured, summary.failed, summary.pending) == (5, 1, 0)
    assert summary.unfinished == "1 rows failed"
    mended = Scripted(lambda place, prompt: said("y"))
    assert ran(mended, resume=True).failed == 1 and not mended.prompts, "a failed row is done"
    summary = ran(mended, resume=True, retry_errors=True)
    assert (summary.measured, summary.failed, len(mended.prompts)) == (6, 0, 1)
    assert len(rows_of(Path("eval/a.jsonl"))) == 7, "a journal"


def test_rows_failed_exit_3(work: Path, scc: Scc) -> None:
    data = write_rows(work / "data.jsonl", [chat_row(0), {"messages": []}, chat_row(1), {"text": "x"}])
    with data.open("a") as file:
        file.write("{not JSON\n")
    done = scc(*EMBEDDED, "--data", data)
    assert done.exit_code == 3 and "3 rows failed" in done.stderr
    errors = {row["line"]: row["error"] for row in rows_of(Path("eval/a.jsonl")) if "error" in row}
    assert set(errors) == {2, 4, 5} and "not JSON" in errors[5] and "no `messages`" in errors[4]
    assert "failed: no `messages`" in done.stderr
    assert sum(json.loads(Path("eval/a/summary.json").read_text())["errors"].values()) == 3


def test_of_many_errors_the_commonest_are_told(work: Path, scc: Scc) -> None:
    rows: list[Any] = [chat_row(0), *[{"messages": 1}] * 2, *[[n] for n in range(3)], "a", 1, None, {"messages": []}]
    done = scc(*EMBEDDED, "--data", write_rows(work / "data.jsonl", rows))
    told = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert told[0] == "failed: 3 times a JSON object is needed, this is list" and len(told) == 4
    assert told[-1] == "failed: 3 rows for other reasons: their `error` says which"


@pytest.mark.parametrize("error", [QuotaError("used up")])
def test_what_stops_every_row_stops_the_run(error: Exception, work: Path) -> None:
    def answer(place: int, prompt: Prompt) -> Generated:
        if place == 2:
            raise error
        return said("x")

    summary = ran(Scripted(answer))
    assert (summary.measured, summary.pending, summary.stopped) == (3, 3, error)
    assert ran(Scripted(lambda place, prompt: said("x")), resume=True).measured == 6


def test_a_resume_does_the_rest_and_nothing_twice(work: Path, scc: Scc) -> None:
    data = dataset(work / "data.jsonl", 8)
    assert scc(*EMBEDDED, "--data", data, "--limit", "3").exit_code == 0
    refused = scc(*EMBEDDED, "--data", data)
    assert refused.exit_code == 2 and "already holds rows" in refused.stderr
    done = scc(*EMBEDDED, "--data", data, "--resume")
    assert done.exit_code == 0 and "8 rows: 8 measured, 0 failed, 0 pending (3 were there)" in done.stdout
    rows = rows_of(Path("eval/a.jsonl"))
    assert len({row["key"] for row in rows}) == len(rows) == 8
    (work / "eval/a.jsonl").write_bytes((work / "eval/a.jsonl").read_bytes()[:-40])  # torn
    again = scc(*EMBEDDED, "--data", data, "--resume")
    assert again.exit_code == 0 and "torn" in again.stderr
    assert [row["key"] for row in rows_of(Path("eval/a.jsonl"))] == [row["key"] for row in rows]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--tokenizer", "cl100k_base"], "tokenizer was 'o200k_base', is 'cl100k_base'"),
        (["--max-tokens", "20"], "max_tokens was None, is 20"),
    ],
)
def test_a_resume_under_other_settings_is_refused(flags: list[str], named: str, work: Path, scc: Scc) -> None:
    data = dataset(work / "data.jsonl", 2)
    scc(*EMBEDDED, "--data", data)
    done = scc(*EMBEDDED, "--data", data, "--resume", *flags)
    assert done.exit_code == 2 and named in done.stderr
    assert scc(*EMBEDDED, "--data", data, "--resume", "--threshold", "0.5").exit_code == 0, "changes no row"


def test_equal_rows_stay_two_rows_and_keep_their_ids(work: Path) -> None:
    path = write_rows(work / "d.jsonl", [chat_row(0), chat_row(1), chat_row(0)])
    first, second, third = read_eval_rows(path, None)
    assert len({first.key, second.key, third.key}) == 3 and third.id == f"{first.id}#2"
    turned = read_eval_rows(write_rows(work / "e.jsonl", [chat_row(1), chat_row(0)]), None)
    assert [row.id for row in turned] == [second.id, first.id], "whatever stands before them"


def test_ids_and_domains_of_the_data_are_kept(work: Path) -> None:
    path = dataset(work / "test.jsonl", 2)
    write_rows(work / "test.meta.jsonl", [{"id": "r1", "domain": "mixed"}, {"id": "r2"}])
    assert [(row.id, row.domain) for row in read_eval_rows(path, None)] == [("r1", "mixed"), ("r2", "prose")]
    write_rows(work / "test.meta.jsonl", [{"domain": "long" * 90}, {}])
    assert len(read_eval_rows(path, None)[0].domain) == 40
    write_rows(work / "test.meta.jsonl", [{"id": "r1"}])
    with pytest.raises(UsageError, match="line for line"):
        read_eval_rows(path, None)


def test_of_one_row_no_instruction_is_guessed(work: Path) -> None:
    row = read_eval_rows(dataset(work / "d.jsonl", 1), None)[0]
    assert row.input == PREFIX + text(0)
    assert read_eval_rows(work / "d.jsonl", Asking(SYSTEM, PREFIX))[0].input == text(0)


def test_a_conversation_is_asked_as_it_stands(work: Path) -> None:
    turns = [("user", "Compress:\nHello."), ("assistant", "Hi"), ("user", PREFIX + text(0)), ("assistant", short(0))]
    talk = {"messages": [{"role": role, "content": content} for role, content in turns]}
    path = write_rows(work / "d.jsonl", [chat_row(1), talk])
    row = read_eval_rows(path, Asking("Be brief.", "Shorten:\n"))[1]
    assert [message["content"] for message in row.messages] == [
        "Be brief.",
        "Compress:\nHello.",
        "Hi",
        PREFIX + text(0),
    ]
    assert row.input == text(0)


@pytest.mark.parametrize(
    ("flags", "code", "told"),
    [
        ("fidelity=0.5,ratio<=0.9", 0, ""),
        ("ratio<=0.1", 100, "ratio is 0."),
        ("pass_rate>=0.1,larger<=0", 0, ""),
        ("latency_p95<=0", 100, "at most 0"),
    ],
)
def test_gates(flags: str, code: int, told: str, work: Path, scc: Scc) -> None:
    done = scc(*EMBEDDED, "--data", dataset(work / "data.jsonl", 3), "--fail-under", flags)
    assert done.exit_code == code, done.stderr
    assert told in done.stderr
    assert Path("eval/a/report.html").exists(), "the result is there, whatever it is worth"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--fail-under", "fidelity"], "NAME=VALUE"),
        (["--fail-under", "beauty=1"], "no figure 'beauty'"),
        (["--fail-under", "ratio=0.5"], "less is better of ratio"),
        (["--fail-under", "ratio<=0.5.5"], "no number"),
        (["--fail-under", "equivalence=0.9"], "needs a --judge"),
        (["--output", "eval/a.txt"], "ends with .jsonl"),
        (["--data", "nowhere"], "no such file or folder"),
        (["--adapter", "nowhere"], "no such folder"),
        (["--temperature", "0.5"], "--temperature says nothing to --backend embedded"),
        (["--model", "tiny"], "--model says nothing to --backend embedded"),
        (["--batch-size", "2"], "--batch-size says nothing to --backend embedded"),
        (["--base-url", "http://x"], "--base-url says nothing to --backend embedded"),
        (["--no-cache"], "--no-cache says nothing to --backend embedded without a --judge"),
        (["--judge", "embedded"], "judges nothing"),
        (["--judge", " , "], "--judge names no model"),
        (["--tokenizer", "klingon"], "unknown tokenizer"),
        (["--benchmark", "--output", "x.jsonl"], "with --benchmark it is a chart"),
        (["--benchmark", "--output", "x.png", "--resume"], "measures times only"),
        (["--seed", "-1"], "eval.seed"),
    ],
)
def test_a_wrong_flag_is_refused_before_anything_is_asked(flags: list[str], told: str, work: Path, scc: Scc) -> None:
    data = ["--data", str(dataset(work / "data.jsonl", 2))]
    done = scc(*EMBEDDED, *(data if "--data" not in flags else []), *flags)
    assert done.exit_code == 2 and told in done.stderr, done.stderr
    assert not (work / "eval").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "--backend is needed"),
        (["--backend", "embedded"], "--output is needed"),
        (["--backend", "torch", "--output", "a.jsonl"], "--model is needed"),
        (["--backend", "openai", "--output", "a.jsonl"], "--model is needed"),
    ],
)
def test_what_is_missing_is_named(words: list[str], told: str, work: Path, scc: Scc) -> None:
    done = scc("eval", "--data", dataset(work / "data.jsonl", 2), *words)
    assert done.exit_code == 2 and told in done.stderr


def test_the_test_split_is_pulled_when_it_is_absent(samples: Path, work: Path, scc: Scc) -> None:
    pytest.importorskip("datasets")
    done = scc(*EMBEDDED, "--hf-dataset", samples, "--limit", "2")
    assert done.exit_code == 0 and f"pulling {samples}" in done.stderr
    assert (work / "data/samples/test.jsonl").exists()
    done = scc(*EMBEDDED, "--hf-dataset", samples, "--resume", "--limit", "3")
    assert done.exit_code == 0 and "as it was pulled" in done.stderr
    both = scc(*EMBEDDED, "--hf-dataset", samples, "--data", samples)
    assert both.exit_code == 2 and "give one" in both.stderr


def begun(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "compressor_cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
    )


def wait_for_rows(path: Path, rows: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= rows:
            return
        time.sleep(0.005)


def test_an_interrupted_run_says_so_and_goes_on(work: Path, scc: Scc, processes: list[subprocess.Popen[bytes]]) -> None:
    data = dataset(work / "data.jsonl", 400)
    process = begun(*EMBEDDED, "--data", str(data))
    processes.append(process)
    wait_for_rows(work / "eval/a.jsonl", 5, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and b"--resume goes on" in err and b"Traceback" not in err, err
    there = len(rows_of(Path("eval/a.jsonl")))
    assert 5 <= there < 400
    done = scc(*EMBEDDED, "--data", data, "--limit", there + 3, "--resume")
    assert done.exit_code == 0 and f"({there} were there)" in done.stdout


@pytest.mark.slow
def test_killed_twenty_times_nothing_is_lost_or_doubled(
    work: Path, scc: Scc, processes: list[subprocess.Popen[bytes]]
) -> None:
    data = dataset(work / "data.jsonl", 200)
    whole = scc(*EMBEDDED[:-1], "eval/whole.jsonl", "--data", data)
    assert whole.exit_code == 0
    output, kills = work / "eval/a.jsonl", 0
    for attempt in range(20):
        process = begun(*EMBEDDED, "--data", str(data), *(["--resume"] if output.exists() else []))
        processes.append(process)
        wait_for_rows(output, 9 * (attempt + 1), process)
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills == 20
    assert scc(*EMBEDDED, "--data", data, "--resume").exit_code == 0
    timed = ("seconds", "wall_seconds")
    rows, wanted = (
        [{name: value for name, value in row.items() if name not in timed} for row in rows_of(path)]
        for path in (output, work / "eval/whole.jsonl")
    )
    assert sorted(rows, key=lambda row: row["line"]) == wanted


def test_a_trained_extractive_model_is_an_adapter(work: Path, scc: Scc) -> None:
    data = dataset(work / "data.jsonl", 2)
    shutil.copytree(REPO / "compressor_cli/assets/prose", work / "mine")
    assert scc(*EMBEDDED, "--data", data, "--adapter", "mine").exit_code == 0
    made_by = json.loads(Path("eval/a.jsonl.settings.json").read_text())
    assert made_by["adapter"] == "mine" and list(made_by["adapter_sha256"]) == ["model.onnx"]
    other = scc(*EMBEDDED, "--data", data, "--resume")
    assert other.exit_code == 2 and "adapter was 'mine', is None" in other.stderr
