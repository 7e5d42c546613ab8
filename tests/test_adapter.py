"""`--engine adapter`: whatever a trained model writes, the guarantees of `compress` hold, and the receipt says how."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from adapters import (
    PREFIX,
    SYSTEM,
    ScriptedModel,
    again,
    dense,
    document,
    model,
    paragraph,
    piece_of,
    run,
    run_folder,
    said,
)
from conftest import Scc

from compressor_cli import check_facts, compress, expand
from compressor_cli.core.generation import Generated, Prompt
from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.adapter_model import close_model
from compressor_cli.errors import BudgetTooSmallError, MissingExtraError, SccError, UsageError
from compressor_cli.records import Receipt

__all__ = ["model", "run"]  # fixtures
count = token_counter().count
FENCE = "```python\nvalue  =  1  # a remark\n```"
TABLE = "| a    | b |\n|------|---|\n| 1    | 2 |"


def kept(text: str, receipt: Receipt) -> bool:
    facts = check_facts(text, receipt.compressed).facts
    return all(fact.status == "kept" for fact in facts if fact.kind != "names")


def engines(receipt: Receipt) -> list[str]:
    return [block.engine for block in receipt.blocks if block.domain == "prose"]


def test_pieces_go_to_the_model_as_one_batch_and_as_it_was_trained(model: ScriptedModel, run: Path) -> None:
    text = document(5)
    receipt = compress(text, engine="adapter", adapter=run)
    (prompts,) = model.batches
    assert len(prompts) == 5
    assert [one["role"] for one in prompts[0].messages] == ["system", "user"]
    assert prompts[0].messages[0]["content"] == SYSTEM and prompts[0].messages[1]["content"].startswith(PREFIX + "## P")
    assert [piece_of(prompt) for prompt in prompts] == [f"## Part {part}" for part in text.split("## Part ")[1:]] or (
        "\n\n".join(map(piece_of, prompts)) == text
    )
    assert all(prompt.max_tokens == count(piece_of(prompt)) for prompt in prompts)
    assert receipt.engine == "adapter" and receipt.compressed == "\n\n".join(dense(piece_of(one)) for one in prompts)
    assert engines(receipt) == ["adapter"] * 5 and receipt.warnings == ()
    assert receipt.blocks[0].why == "written by scripted"
    assert [text[block.start : block.end] for block in receipt.blocks] == [piece_of(one) for one in prompts]


def test_a_model_is_opened_once_and_another_takes_its_place(model: ScriptedModel, run: Path, work: Path) -> None:
    for _ in range(3):
        compress(paragraph(1), adapter=run)
    assert len(model.opened) == 1 and model.closed == 0 and model.opened[0].adapter == run
    compress(paragraph(1), adapter=run_folder(work / "other"), model="base")
    assert len(model.opened) == 2 and model.closed == 1 and model.opened[1].model == "base"


def test_a_lost_fact_is_asked_for_by_name(model: ScriptedModel, run: Path) -> None:
    model.answer = lambda text, prompt: (
        dense(text) if again(prompt) else dense(text).replace("not ", "").replace("9", "8")
    )
    receipt = compress(paragraph(7), adapter=run)
    first, second = model.batches
    system, user, wrote, demand = second[0].messages
    assert (system, user) == first[0].messages and "to be opened above 8 bar" in wrote["content"]
    assert (
        "not to be opened" in demand["content"] and "above 9 bar" in demand["content"] and "(not: " in demand["content"]
    )
    assert receipt.engine == "adapter" and kept(paragraph(7), receipt)
    (block,) = receipt.blocks
    assert block.why.startswith("written by scripted, asked twice: lost negation 'not to be opened'")
    assert receipt.warnings == ("1 of 1 pieces: the adapter was asked twice",)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda text, prompt: dense(text).replace("not ", ""), "lost negation"),
        (lambda text, prompt: text, "no fewer than before"),
        (lambda text, prompt: f"{text} {text}", "298 tokens, no fewer than before"),
        (lambda text, prompt: said(dense(text), truncated=True), "it ran away"),
        (lambda text, prompt: dense(text) + " and so on" * 40, "it ran away"),
        (lambda text, prompt: "I cannot help with that.", "it refused"),
        (lambda text, prompt: "<think>hm", "nothing was written"),
    ],
)
def test_what_cannot_be_taken_twice_goes_to_the_embedded_engine(
    answer: object, why: str, model: ScriptedModel, run: Path
) -> None:
    text = document(3)

    def one_bad(piece: str, prompt: Prompt) -> str | Generated:
        return answer(piece, prompt) if "Part 1" in piece else dense(piece)  # type: ignore[operator]

    model.answer = one_bad
    receipt = compress(text, adapter=run)
    assert [len(batch) for batch in model.batches] == [3, 1]
    assert engines(receipt) == ["adapter", "prose", "adapter"] and kept(text, receipt)
    assert receipt.blocks[1].why.startswith("by the embedded engine: ") and why in receipt.blocks[1].why
    assert "1 of 3 pieces: the embedded engine took them" in receipt.warnings[0] and why in receipt.warnings[0]
    assert receipt.tokens_out < receipt.tokens_in


def test_what_models_put_around_an_answer_is_taken_off(model: ScriptedModel, run: Path) -> None:
    model.answer = lambda text, prompt: (
        f"<think>so</think>Here is the compressed text:\n```\n{dense(text)}\n```<|im_end|>"
    )
    receipt = compress(paragraph(3), adapter=run)
    assert receipt.compressed == dense(paragraph(3)) and len(model.batches) == 1


def test_no_answer_is_not_asked_again(model: ScriptedModel, run: Path) -> None:
    model.answer = lambda text, prompt: said("", error="out of memory") if "Part 1" in text else dense(text)
    receipt = compress(document(3), engine="adapter", adapter=run)
    assert len(model.batches) == 1 and engines(receipt) == ["adapter", "prose", "adapter"]
    assert "no answer: out of memory" in receipt.blocks[1].why
    close_model()
    model.answer = lambda text, prompt: said("", error="out of memory")
    with pytest.raises(SccError, match="scripted: no answer: out of memory") as caught:
        compress(document(3), engine="adapter", adapter=run)
    assert caught.value.hint and "--engine auto" in caught.value.hint
    receipt = compress(document(3), adapter=run)
    assert receipt.engine == "prose" and "the embedded engine took the whole text" in receipt.warnings[0]


def test_fences_and_tables_keep_their_own_engines(model: ScriptedModel, run: Path) -> None:
    text = f"{paragraph(1)}\n\n{FENCE}\n\n{paragraph(2)}\n\n{TABLE}\n\nShort end.\n"
    receipt = compress(text, adapter=run)
    assert [piece_of(prompt) for prompt in model.batches[0]] == [paragraph(1), paragraph(2)]
    assert receipt.compressed.startswith(
        f"{dense(paragraph(1))}\n\n```python\nvalue  =  1  # a remark\n```\n\n{dense(paragraph(2))}"
    )
    assert "\n\n|a|b|\n|-|-|\n|1|2|\n\n" in receipt.compressed
    assert [block.domain for block in receipt.blocks] == ["prose", "code", "prose", "table", "prose"]
    assert receipt.blocks[-1].why == "by the embedded engine: shorter than 16 tokens"
    windows = text.replace("\n", "\r\n")
    assert compress(windows, adapter=run).compressed.startswith(f"{dense(paragraph(1))}\r\n\r\n```python\r\n")


@pytest.mark.parametrize("text", ["def f(x):\n    # a remark\n    return x + 1\n" * 8, '{"a": [1, 2, 3], "b": "text"}'])
def test_code_and_json_are_not_for_the_model(text: str, model: ScriptedModel, run: Path) -> None:
    receipt = compress(text, engine="adapter", adapter=run)
    assert receipt.engine in ("code", "json") and not model.opened
    assert any("the adapter was not asked" in warning for warning in receipt.warnings)
    plain = compress(text)
    assert receipt.compressed == plain.compressed


def test_logs_and_other_languages_are_left_to_the_embedded_engine(model: ScriptedModel, run: Path) -> None:
    log = "".join(f"2024-05-01 10:00:{n:02d} INFO worker started\n" for n in range(30))
    receipt = compress(log, adapter=run)
    assert receipt.engine == "logs" and not model.batches and "log lines have an engine" in receipt.warnings[0]
    german = (
        "Der Leuchtturm ist nicht für die Öffentlichkeit geöffnet, und das wird sich auch nicht mit dem Umbau ändern. "
    )
    receipt = compress(f"{paragraph(1)}\n\n{FENCE}\n\n{german}", adapter=run)
    assert german.strip() in receipt.compressed and "it is in German" in receipt.blocks[-1].why


def words_of(seed: int) -> object:
    """Bad answers of every kind."""
    chance = random.Random(seed)

    def answer(text: str, prompt: Prompt) -> str | Generated:
        kind = chance.randrange(7)
        words = dense(text).split()
        if kind == 0:
            return " ".join(word for word in words if chance.random() < 0.8)
        if kind == 1:
            return said(" ".join(words * 3), truncated=True)
        if kind == 2:
            return said("", error="gone")
        if kind == 3:
            return text.replace("not ", "").replace("above", "below")
        if kind == 4:
            return " ".join(chance.sample(words, len(words)))
        return dense(text)

    return answer


@pytest.mark.parametrize("seed", range(12))
def test_budget_and_facts_hold_whatever_the_model_says(seed: int, model: ScriptedModel, run: Path) -> None:
    model.answer = words_of(seed)  # type: ignore[assignment]
    text = f"{document(2 + seed % 4)}\n\n{FENCE}\n\n{TABLE}\n\n{paragraph(50)}"
    whole = compress(text, adapter=run)
    assert whole.tokens_out == count(whole.compressed) <= whole.tokens_in and kept(text, whole)
    for rate in (0.85, 0.65, 0.55, 0.4, 0.2):
        most = int(rate * count(text))
        try:
            receipt = compress(text, adapter=run, rate=rate)
        except BudgetTooSmallError as exc:
            assert exc.tokens_needed > most
            receipt = compress(text, adapter=run, max_tokens=exc.tokens_needed)
            most = exc.tokens_needed
        assert count(receipt.compressed) == receipt.tokens_out <= most
        assert kept(text, receipt)
        loose = compress(text, adapter=run, rate=rate, allow_loss=True)
        assert loose.tokens_out <= int(rate * count(text))


def test_same_input_same_result_and_back_again(model: ScriptedModel, run: Path) -> None:
    text = document(3)
    first = compress(text, adapter=run, rate=0.7, with_map=True)
    close_model()
    second = compress(text, adapter=run, rate=0.7, with_map=True)
    assert first.compressed == second.compressed and first.map == second.map
    assert first.map is not None and expand(first.compressed, first.map) == text


def test_a_long_answer_is_asked_to_be_shorter_where_there_is_a_budget(model: ScriptedModel, run: Path) -> None:
    text = document(4)
    tight = {}

    def answer(piece: str, prompt: Prompt) -> str:
        if again(prompt):
            tight[piece] = prompt.messages[-1]["content"]
            return compress(piece, rate=0.55).compressed
        return piece.replace("the ", "")

    model.answer = answer
    receipt = compress(text, adapter=run, rate=0.57)
    assert len(tight) == 4 and all("in fewer than" in demand for demand in tight.values())
    assert engines(receipt) == ["adapter"] * 4 and receipt.tokens_out <= 0.57 * receipt.tokens_in
    assert "tokens where at most" in receipt.blocks[0].why


def test_pins_and_protected_names_and_patterns(model: ScriptedModel, run: Path) -> None:
    text = document(2)
    receipt = compress(text, adapter=run, keep_first=1, keep_last=1)
    assert (
        receipt.compressed.startswith("## Part 0")
        and receipt.compressed.endswith(text[-80:])
        and receipt.engine == "adapter"
    )
    model.answer = lambda piece, prompt: dense(piece).replace("lighthouse", "tower")
    close_model()
    assert compress(paragraph(1), adapter=run).engine == "adapter"
    guarded = compress(paragraph(1), adapter=run, protect_pattern="lighthouse")
    assert guarded.engine == "prose" and "lighthouse" in guarded.compressed


def test_contents_of_a_chat(model: ScriptedModel, run: Path) -> None:
    long = " ".join(map(paragraph, range(4)))
    messages = [{"role": "user", "content": long}, *({"role": "user", "content": "Yes."} for _ in range(4))]
    receipt = compress(json.dumps({"messages": messages}), chat=True, engine="adapter", adapter=run)
    assert json.loads(receipt.compressed)["messages"][0]["content"] == dense(long)
    assert receipt.blocks[0].engine == "adapter"
    assert receipt.blocks[0].why == "written by scripted"


@pytest.mark.parametrize("options", [{}, {"rate": 0.6}, {"task": "chat"}])
def test_contents_of_a_chat_are_one_batch(options: dict[str, Any], model: ScriptedModel, run: Path) -> None:
    """The first requests of all contents, then the second ones; the result is what one after the other gives."""

    def answer(text: str, prompt: Prompt) -> str:
        return dense(text) if again(prompt) or "number 2 " not in text else "Short."

    model.answer = answer
    turns = [{"role": "user", "content": "\n\n".join([paragraph(n), paragraph(n + 1)])} for n in range(1, 8)]
    chat = json.dumps({"messages": [*turns, turns[0]]})
    together = compress(chat, chat=True, keep_last=0, adapter=run, **options)
    first, *others = model.batches
    assert len(first) == 7 and not any(map(again, first)), "each text once"
    if not options:
        assert len(others) == 1 and len(others[0]) == 2 and all(map(again, others[0]))
    close_model()
    one_by_one = compress_one_by_one(chat, chat=True, keep_last=0, adapter=run, **options)
    assert len(model.batches) > len(others) + 1 + 6
    assert replace(together, seconds=0) == replace(one_by_one, seconds=0)


def compress_one_by_one(text: str, **options: Any) -> Receipt:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compressor_cli.engines.compress.ask_ahead", lambda *told: None)
        return compress(text, **options)


def test_an_export_is_asked_as_its_run_was(model: ScriptedModel, work: Path) -> None:
    place = work / "peft"
    place.mkdir()
    told = {"format": "scc-export-1", "prompt": {"system": SYSTEM, "prefix": PREFIX}}
    (place / "export.json").write_text(json.dumps(told))
    (place / "adapter_config.json").write_text('{"base_model_name_or_path": "some/base"}')
    compress(paragraph(1), adapter=place, backend="torch")
    system, user = model.batches[-1][0].messages
    assert (system["content"], user["content"]) == (SYSTEM, PREFIX + paragraph(1))
    (place / "adapter_config.json").write_text('{"base_model_name_or_path": "folder"}')
    close_model()
    with pytest.raises(UsageError, match="--model is needed"):
        compress(paragraph(1), adapter=place, backend="torch")
    compress(paragraph(2), model=place, backend="torch")
    assert model.batches[-1][0].messages[0]["content"] == SYSTEM


def test_an_export_without_a_prompt_gets_the_shipped_one(model: ScriptedModel, work: Path) -> None:
    (work / "export.json").write_text(json.dumps({"format": "scc-export-1", "prompt": None}))
    compress(paragraph(1), adapter=work, backend="torch", model="base")
    assert model.batches[-1][0].messages[0]["content"].startswith("You compress text for a language model")


@pytest.mark.parametrize("prompt", ["text", {"system": 3, "prefix": ["x"]}])
def test_an_export_that_is_damaged(prompt: Any, model: ScriptedModel, work: Path) -> None:
    (work / "export.json").write_text(json.dumps({"format": "scc-export-1", "prompt": prompt}))
    with pytest.raises(UsageError, match="is damaged, or was not written"):
        compress(paragraph(1), adapter=work, backend="torch", model="base")


def test_a_checkpoint_is_of_its_run(model: ScriptedModel, run: Path) -> None:
    place = run / "checkpoints" / "step_00000004"
    place.mkdir(parents=True)
    compress(paragraph(1), adapter=place)
    assert model.opened[0].adapter == place and model.batches[-1][0].messages[0]["content"] == SYSTEM


@pytest.mark.parametrize("result", ["../one", "/etc", "..", "", 3, None])
def test_a_result_that_leads_elsewhere(result: Any, model: ScriptedModel, run: Path, work: Path) -> None:
    (work / "stages").mkdir()
    (work / "stages" / "pipeline.json").write_text(json.dumps({"result": result}))
    with pytest.raises(UsageError, match="names no stage"):
        compress(paragraph(1), adapter=work / "stages", backend="torch", model="base")


def test_without_a_card_the_shipped_prompt_asks(model: ScriptedModel, work: Path) -> None:
    (work / "adapter").mkdir()
    with pytest.raises(UsageError, match="--backend is needed"):
        compress(paragraph(1), adapter="adapter")
    with pytest.raises(UsageError, match="--model is needed"):
        compress(paragraph(1), adapter="adapter", backend="torch")
    compress(paragraph(1), adapter="adapter", backend="torch", model="base")
    system, user = model.batches[0][0].messages
    assert system["content"].startswith("You compress text for a language model") and user["content"] == paragraph(1)


def test_auto_goes_on_without_what_is_not_ready(monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    close_model()

    def missing(*args: object, **more: object) -> None:
        raise MissingExtraError("torch", "torch")

    monkeypatch.setattr("compressor_cli.engines.generators.open_generator", missing)
    receipt = compress(paragraph(1), adapter=run)
    assert receipt.engine == "prose" and receipt.compressed == compress(paragraph(1)).compressed
    assert receipt.warnings[0].startswith("the adapter is not ready: this needs the package 'torch'")
    with pytest.raises(MissingExtraError):
        compress(paragraph(1), adapter=run, engine="adapter")
    close_model()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "adapter"}, "which one"),
        ({"engine": "prose", "adapter": "x"}, "--adapter says nothing to --engine prose"),
        ({"adapter": "nowhere"}, "no such folder"),
        ({"backend": "magic"}, "unknown backend 'magic'"),
        ({"backend": "openai", "model": "x"}, "needs --model"),
        ({"adapter": "x", "base_url": "http://x"}, "--base-url is for"),
        ({"task": "poem"}, "unknown task 'poem'"),
        ({"task": "qa", "rate": 0.5}, "--task and --rate exclude each other"),
        ({"adaptive": True, "max_tokens": 5}, "--adaptive and --max-tokens exclude each other"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, object], message: str, work: Path) -> None:
    with pytest.raises(UsageError, match=message):
        compress(paragraph(1), **options)  # type: ignore[arg-type]


def test_a_run_of_the_embedded_model_is_no_adapter(work: Path) -> None:
    folder = run_folder(work / "e", backend="extractive")
    with pytest.raises(UsageError, match="a model of the embedded engine") as caught:
        compress(paragraph(1), adapter=folder)
    assert caught.value.hint == f"--model {folder}"


@pytest.mark.parametrize(("task", "rate"), [("qa", 0.5), ("code", 0.7), ("chat", 0.4), ("memory", 0.3)])
def test_a_task_has_its_rate(task: str, rate: float) -> None:
    receipt = compress(document(4), task=task, protect="none")
    assert receipt.rate == pytest.approx(rate, abs=0.01) and receipt.ratio <= rate
    assert f"task {task}: the aim is {rate:g} of the tokens" in receipt.warnings
    facts = compress(document(4), task=task)
    assert kept(document(4), facts), "an aim stretches for what is protected"


def test_adaptive_guesses_the_task(samples: Path) -> None:
    code = (Path(__file__).parent.parent / "examples" / "memory_store.py").read_text()
    told = [
        compress(document(3), adaptive=True).warnings[-1],
        compress(document(3), adaptive=True, query="What about the pump?").warnings[-1],
        compress(code, adaptive=True, engine="code").warnings[-1],
    ]
    assert [warning.split(":")[0] for warning in told] == ["task memory", "task qa", "task code"]
    assert compress(code, adaptive=True, engine="code").tokens_out < compress(code, engine="code").tokens_out


def test_the_adapter_is_asked_once_to_meet_an_aim(model: ScriptedModel, run: Path) -> None:
    receipt = compress(document(2), adapter=run, task="memory")
    assert [len(batch) for batch in model.batches] == [2, 2] and receipt.engine == "adapter"
    assert "the adapter did not come down to the aim" in receipt.warnings


def test_the_command(model: ScriptedModel, run: Path, work: Path, scc: Scc) -> None:
    (work / "in.txt").write_text(document(2))
    done = scc("compress", "--engine", "adapter", "--adapter", run, "--backend", "torch", "in.txt", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["engine"] == "adapter"
    (work / "c.yaml").write_text(f"compress: {{adapter: {run}, rate: 0.9}}\n")
    auto = scc("compress", "--config", "c.yaml", "--stats", "in.txt")
    assert auto.exit_code == 0 and "adapter: " in auto.stderr
    prose = scc("compress", "--config", "c.yaml", "--engine", "prose", "--stats", "in.txt", "--task", "memory")
    assert prose.exit_code == 0 and "prose: " in prose.stderr and "task memory" in prose.stderr
    small = scc("compress", "--config", "c.yaml", "--max-tokens", "20", "in.txt")
    assert small.exit_code == 100 and "tokens" in small.stderr
    assert scc("compress", "--engine", "adapter", "in.txt").exit_code == 2


def test_a_stream_is_written_as_it_is_checked(model: ScriptedModel, run: Path, scc: Scc) -> None:
    text = document(12)
    done = scc("compress", "--stream", "--adapter", run, "--stats", stdin=text)
    assert done.exit_code == 0 and "windows" in done.stderr
    assert len(model.batches) > 1 and len(model.opened) == 1
    assert all(fact.status == "kept" for fact in check_facts(text, done.stdout, kinds="numbers,negation").facts)


def test_a_batch_is_of_one_adapter(model: ScriptedModel, run: Path, work: Path, scc: Scc) -> None:
    rows = [{"id": n, "text": paragraph(n)} for n in range(5)]
    (work / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["compress", "--input", "in.jsonl", "--output", "out.jsonl", "--adapter", run]
    assert scc(*words, "--limit", "2").exit_code == 0
    assert scc(*words, "--resume").exit_code == 0
    done = [json.loads(line) for line in (work / "out.jsonl").read_text().splitlines()]
    assert [row["engine"] for row in done] == ["adapter"] * 5 and [row["id"] for row in done] == list(range(5))
    assert sum(len(batch) for batch in model.batches) == 5 and len(model.batches) < 5
    other = scc("compress", "--input", "in.jsonl", "--output", "out.jsonl", "--resume")
    assert other.exit_code == 2 and "adapter" in other.stderr
