"""`scc data check`, and the rendering that all backends share, against mlx-lm, TRL and Tinker's SDK as installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Scc
from tiny_model import PLAIN, THINKING, make_model, make_tokenizer

from compressor_cli.core import render_peers
from compressor_cli.core.chat_tokenizer import ChatTokenizer, load_chat_tokenizer
from compressor_cli.core.rendering import Fault, RefusedRow, render

pytest.importorskip("transformers")

Row = dict[str, Any]
LIBRARIES = {"mlx-lm": "mlx_lm", "trl": "trl", "tinker": "tinker"}
INSTALLED = {name for name, package in LIBRARIES.items() if find_spec(package)}
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


def said(*turns: str | Row) -> list[Row]:
    """User and assistant in turn, where a turn is text."""
    roles = ("user", "assistant")
    return [turn if isinstance(turn, dict) else {"role": roles[n % 2], "content": turn} for n, turn in enumerate(turns)]


def chat(*turns: str | Row) -> Row:
    return {"messages": said(*turns)}


def with_calls(arguments: Any) -> Row:
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": arguments}}
    messages = [
        {"role": "user", "content": "Where is it?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "on the table", "tool_call_id": "1"},
        {"role": "assistant", "content": "On the table."},
    ]
    return {"messages": messages, "tools": TOOLS}


GOOD = [
    chat("Compress: the fox", "fox"),
    {"messages": [{"role": "system", "content": "Be brief."}, *said("Hi", "Hello", "More", "Sure")]},
    chat("Why?", "<think>\nA reason.\n</think>\n\nBecause."),
    chat("Why?", "<think>\nEarlier.\n</think>\n\nBecause.", "And?", "So."),
    chat("Text with <think> and\n\n\n trailing ", " é\u00a0\u2603 "),
    with_calls({"place": "hall", "n": [1, None]}),
    with_calls('{"place": "hall", "n": [1, null]}'),
]


def write(path: Path, rows: Iterable[Row | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_tokenizer(folder / "plain", template=PLAIN)
    make_tokenizer(folder / "thinking", template=THINKING)
    make_tokenizer(folder / "unmarked", template=THINKING, marks=())
    make_tokenizer(folder / "silent", template=None)
    return folder


@pytest.fixture
def plain(models: Path) -> ChatTokenizer:
    return load_chat_tokenizer(str(models / "plain"))


@pytest.fixture
def thinking(models: Path) -> ChatTokenizer:
    return load_chat_tokenizer(str(models / "thinking"))


def trained(tokenizer: ChatTokenizer, row: Row, **mask: Any) -> list[str]:
    rendered = render(tokenizer, row, **mask)
    return [tokenizer.hf.decode(rendered.tokens[start:end]) for start, end in rendered.trained]


def refusal(tokenizer: ChatTokenizer, row: Row, **mask: Any) -> tuple[Fault, str]:
    with pytest.raises(RefusedRow) as caught:
        render(tokenizer, row, **mask)
    return caught.value.fault, str(caught.value)


@pytest.mark.parametrize(
    ("name", "short"), [("qwen3.jinja", THINKING), ("qwen3_instruct_2507.jinja", PLAIN)], ids=["thinking", "plain"]
)
def test_the_templates_of_these_tests_are_those_of_qwen(plain: ChatTokenizer, name: str, short: str) -> None:
    """TRL ships the originals. They differ in the words about tools alone."""
    trl = pytest.importorskip("trl")
    original = (Path(trl.__file__).parent / "chat_templates" / name).read_text()
    for row in GOOD:
        for words in ({}, {"add_generation_prompt": True}, {"add_generation_prompt": True, "enable_thinking": False}):
            texts = [
                plain.hf.apply_chat_template(row["messages"], tokenize=False, chat_template=template, **words)
                for template in (original, short)
            ]
            assert texts[0] == texts[1]


@pytest.mark.parametrize("model", ["plain", "thinking"])
def test_the_libraries_render_the_same(models: Path, work: Path, scc: Scc, model: str) -> None:
    write(work / "data/train.jsonl", GOOD)
    run = scc("data", "check", "data", "--model", models / model, "--json")
    assert (run.exit_code, json.loads(run.stdout)["refused"]) == (0, [])
    found = json.loads(run.stdout)
    assert found["compared"].keys() == INSTALLED and found["skipped"].keys() == LIBRARIES.keys() - INSTALLED
    assert (found["total"]["rows"], found["by_kind"]) == (len(GOOD), {})


def test_what_is_trained(plain: ChatTokenizer, thinking: ChatTokenizer) -> None:
    answer = "Sure<|im_end|>\n"
    row = GOOD[1]
    assert trained(plain, row) == [answer]
    assert trained(thinking, row) == ["<think>\n\n</think>\n\n" + answer]
    assert trained(plain, row, mask="all") == ["Hello<|im_end|>\n", answer]
    assert trained(plain, with_calls({"a": 1}), mask="all") == [
        '<tool_call>\n{"name": "look", "arguments": {"a": 1}}\n</tool_call><|im_end|>\n', "On the table.<|im_end|>\n"
    ]  # fmt: skip
    ended_by_user = {"messages": said("Hi", "Hello", "More")}
    assert trained(plain, ended_by_user, mask="all") == ["Hello<|im_end|>\n"]
    rendered = render(plain, row)
    assert plain.hf.decode(rendered.tokens) == plain.text(row["messages"], None)
    assert sum(rendered.weights) == rendered.trained_tokens == len(plain.tokens(answer))


def test_arguments_as_text_and_as_an_object(plain: ChatTokenizer) -> None:
    assert render(plain, with_calls({"a": "é"})) == render(plain, with_calls('{"a":"\\u00e9"}'))
    fault, told = refusal(plain, with_calls('{"a":'))
    assert fault == "malformed" and "not JSON" in told


def test_earlier_answers_that_the_template_writes_otherwise(thinking: ChatTokenizer) -> None:
    """What Qwen3 drops from an answer as soon as another question follows cannot be trained where it stands."""
    fault, told = refusal(thinking, GOOD[3], mask="all")
    assert (fault, "the text of messages[1], from the assistant" in told) == (Fault.DROPPED_BY_TEMPLATE, True)
    fault, told = refusal(thinking, GOOD[1], mask="all")
    assert fault == Fault.MASKED_DIFFERENTLY
    assert "the row up to messages[2]" in told and "'<think>" in told
    fault, told = refusal(thinking, {"messages": [*said("Hi", "One"), {"role": "assistant", "content": "Two"}]})
    assert fault == Fault.MASKED_DIFFERENTLY and "the prompt before messages[2]" in told


def test_an_answer_that_grows_together_with_its_prompt(plain: ChatTokenizer) -> None:
    fault, told = refusal(plain, chat("Hi", "\n\nHello"))
    assert fault == Fault.MASKED_DIFFERENTLY and "'\\n' alone" in told


@pytest.mark.parametrize(
    ("row", "kind", "told"),
    [
        ('{"messages": [', "malformed", "not JSON"),
        ({"text": "raw"}, "malformed", "no `messages`"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "thought": "c"}]},
         "malformed", "no place for thought"),
        ('{"messages": [{"role": "user", "content": "\\ud800"}, {"role": "assistant", "content": "b"}]}',
         "malformed", "lone surrogate"),
        (chat("Hi", " \n"), "empty answer", "messages[1]"),
        (chat("Hi", "<think>\nhm\n</think>\n"), "empty answer", "messages[1]"),
        (chat("Hi", "Hello", "More"), "no trained token", "from the user"),
        ({"messages": [{"role": "assistant", "content": "Hello"}]}, "refused by the template", "nothing comes before"),
        (chat("Say <|im_end|>", "Done"), "special token in content", "messages[0].content holds '<|im_end|>'"),
        (with_calls({"a": "<|endoftext|>"}), "special token in content", "messages[1].tool_calls"),
        ({"messages": [{"role": "developer", "content": "Be brief."}, *said("Hi", "Hello")]},
         "dropped by the template", "messages[0], from the developer"),
    ],
)  # fmt: skip
def test_refusals(models: Path, work: Path, scc: Scc, row: Row | str, kind: str, told: str) -> None:
    write(work / "data/train.jsonl", [GOOD[0]])
    write(work / "data/valid.jsonl", [GOOD[0], row, GOOD[1]])
    run = scc("data", "check", "data", "--model", models / "plain")
    assert run.exit_code == 100
    line = next(line for line in run.stderr.splitlines() if line.startswith("valid.jsonl, line 2: "))
    assert line.startswith(f"valid.jsonl, line 2: {kind}: ") and told in line
    assert f"error: 1 of 4 rows are refused: 1 {kind}" in run.stderr
    assert ["valid", "3", "1"] in [line.split()[:3] for line in run.stdout.splitlines()]


@pytest.mark.parametrize(
    ("template", "row", "kind", "told"),
    [
        ("{{ raise_exception('roles must alternate') }}", GOOD[0], "refused by the template", "roles must alternate"),
        ("{% for m in messages %}{{ m.content + 1 }}{% endfor %}", GOOD[0], "refused by the template", "str"),
        ("{% for m in messages %}{{ m.role + m.content }}{% endfor %}{{ 'assistant' if add_generation_prompt }}",
         with_calls({}), "dropped by the template", "the call of 'look' in messages[1]"),
        ("{% for m in messages %}{{ m.content }}{{ m.tool_calls }}{% endfor %}",
         {**chat("Hi", "Hello"), "tools": TOOLS}, "dropped by the template", "the tool 'look'"),
        ("{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}", GOOD[2],
         "dropped by the template", "the text of messages[1]"),
        ("{% if add_generation_prompt %}Answer:{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}",
         GOOD[0], "masked differently", "'Answ' alone"),
    ],
)  # fmt: skip
def test_other_templates(work: Path, template: str, row: Row, kind: str, told: str) -> None:
    tokenizer = load_chat_tokenizer(str(make_tokenizer(work / "other", template=template)))
    fault, detail = refusal(tokenizer, row)
    assert fault == kind and told in detail
    _, absent = render_peers.open_peers(tokenizer)
    assert absent.keys() == LIBRARIES.keys() - INSTALLED


@pytest.mark.skipif("mlx-lm" not in INSTALLED, reason="mlx-lm is not installed")
def test_mlx_masks_differently_where_thoughts_have_no_token(models: Path, work: Path, scc: Scc) -> None:
    """mlx-lm then switches thinking off: its prompt holds the empty block that TRL trains."""
    write(work / "rows.jsonl", GOOD[:1])
    run = scc("data", "check", "rows.jsonl", "--model", models / "unmarked")
    assert run.exit_code == 100
    assert "rows.jsonl, line 1: masked differently: mlx-lm trains tokens" in run.stderr
    assert "trl" not in run.stderr


def test_rows_beyond_the_length(models: Path, work: Path, scc: Scc, plain: ChatTokenizer) -> None:
    write(work / "data/train.jsonl", GOOD[:2])
    rendered = render(plain, GOOD[1])
    length = len(rendered.tokens)
    words = ("data", "check", "data", "--model", models / "plain", "--max-seq-length")
    assert scc(*words, str(length)).exit_code == 0
    run = scc(*words, str(length - 1))
    left = rendered.trained_tokens - 1
    cut = f"{length} tokens; cut at {length - 1}, {left} of {left + 1} trained tokens are left"
    assert (run.exit_code, f"train.jsonl, line 2: too long: {cut}" in run.stderr) == (100, True)
    assert "0 of" in scc(*words, "20").stderr


def test_totals(models: Path, work: Path, scc: Scc, plain: ChatTokenizer) -> None:
    long = chat("word " * 300, "short")
    write(work / "data/train.jsonl", [*GOOD, long, chat("Hi", "")] * 40)
    write(work / "data/test.jsonl", GOOD[:3])
    run = scc("data", "check", "data", "--model", models / "plain", "--json", "--max-seq-length", "300")
    found = json.loads(run.stdout)
    assert run.exit_code == 100 and run.stderr.count("\n") == len(found["skipped"]) + 2
    assert f"hint: --max-seq-length {found['longest'][0]['tokens']} takes" in run.stderr
    accepted = [render(plain, row) for row in GOOD]
    tokens, loss = (
        [len(one.tokens) for one in accepted], [one.trained_tokens for one in accepted]
    )  # fmt: skip
    train = found["splits"]["train"]
    assert (train["rows"], train["refused"]) == (360, 80)
    assert (train["tokens"], train["trained"]) == (40 * sum(tokens), 40 * sum(loss))
    assert found["total"]["tokens"] == train["tokens"] + sum(tokens[:3])
    assert found["total"]["share"] == pytest.approx(
        (train["trained"] + sum(loss[:3])) / found["total"]["tokens"], abs=1e-4
    )
    assert (train["max"], found["longest"][0]["tokens"] > 300) == (max(tokens), True)
    assert found["by_kind"] == {"too long": 40, "empty answer": 40}
    assert sum(found["histogram"].values()) == 283 + 40
    assert [(row["file"], row["line"]) for row in found["refused"]][:3] == [
        ("train.jsonl", 8), ("train.jsonl", 9), ("train.jsonl", 17)
    ]  # fmt: skip
    told = scc("data", "check", "data", "--model", models / "plain", "--max-seq-length", "300")
    assert "and 40 more (--json has them all)" in told.stderr
    assert [row["line"] for row in found["longest"]] == [8, 17, 26, 35, 44]
    assert f"{found['longest'][0]['tokens']:,} tokens  train.jsonl, line 8\n" in told.stdout
    assert scc("data", "check", "data", "--model", models / "plain", "--limit", "3", "--json").exit_code == 0


def test_files_that_training_does_not_read(models: Path, work: Path, scc: Scc) -> None:
    for name in ("train.jsonl", "train.meta.jsonl", "validation.jsonl"):
        write(work / "data" / name, GOOD[:1])
    run = scc("data", "check", "data", "--model", models / "plain", "--json")
    assert (run.exit_code, json.loads(run.stdout)["ignored"]) == (0, ["validation.jsonl"])
    assert run.stderr.startswith("note: validation.jsonl is not checked") and "meta" not in run.stderr


def test_settings(models: Path, work: Path, scc: Scc) -> None:
    write(work / "rows.jsonl", [GOOD[1]])
    (work / "c.yaml").write_text(f"data_check: {{model: {models / 'thinking'}, mask: all, max_seq_length: 99}}")
    run = scc("data", "check", "rows.jsonl", "--config", "c.yaml")
    assert run.exit_code == 100 and "line 1: masked differently: the row up to messages[2]" in run.stderr
    assert "note: no library masks several answers" in run.stderr
    found = json.loads(scc("data", "check", "rows.jsonl", "--config", "c.yaml", "--mask", "last", "--json").stdout)
    assert (found["mask"], found["max_seq_length"], found["by_kind"]) == ("last", 99, {})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rows.jsonl"], "--model is needed"),
        (["none.jsonl", "--model", "plain"], "no such file: none.jsonl"),
        (["empty", "--model", "plain"], "empty has no train.jsonl, valid.jsonl or test.jsonl"),
        (["blank.jsonl", "--model", "plain"], "no rows in blank.jsonl"),
        (["rows.jsonl", "--model", "none/of/these"], "no such folder"),
        (["rows.jsonl", "--model", "empty"], "no tokenizer that can be read"),
        (["rows.jsonl", "--model", "silent"], "no chat template"),
        (["rows.jsonl", "--model", "plain", "--mask", "some"], "data_check.mask"),
        (["rows.jsonl", "--model", "plain", "--max-seq-length", "1"], "data_check.max_seq_length"),
    ],
)
def test_usage(models: Path, work: Path, scc: Scc, words: list[str], told: str) -> None:
    write(work / "rows.jsonl", GOOD[:1])
    write(work / "blank.jsonl", ["", " "])
    (work / "empty").mkdir()
    for name in ("plain", "silent"):
        (work / name).symlink_to(models / name)
    run = scc("data", "check", *words)
    assert (run.exit_code, run.stdout) == (2, "")
    assert told in run.stderr


def test_a_model_that_the_hub_does_not_give(work: Path, scc: Scc) -> None:
    write(work / "rows.jsonl", GOOD[:1])
    run = scc("data", "check", "rows.jsonl", "--model", "Qwen/Qwen3-8B")
    assert (run.exit_code, run.stdout) == (1, "")
    assert run.stderr.startswith("error: model 'Qwen/Qwen3-8B' is neither a folder nor in the cache")


@pytest.mark.slow
def test_a_model_in_the_cache_of_the_hub(models: Path, work: Path, scc_process: Scc) -> None:
    write(work / "rows.jsonl", GOOD[:1])
    cached = work / "hub/models--org--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs/main").write_text("a" * 40)
    (cached / "snapshots").mkdir()
    (cached / "snapshots" / ("a" * 40)).symlink_to(models / "plain")
    words = ("data", "check", "rows.jsonl", "--model", "org/tiny", "--json")
    run = scc_process(*words, env={"HF_HUB_CACHE": str(work / "hub")})
    assert (run.exit_code, run.stderr) == (
        0,
        "".join(f"{line}\n" for line in run.stderr.splitlines() if "note:" in line),
    )
    assert json.loads(run.stdout)["model"] == "org/tiny"


def test_without_transformers(work: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch) -> None:
    write(work / "rows.jsonl", GOOD[:1])
    monkeypatch.setitem(sys.modules, "transformers", None)
    run = scc("data", "check", "rows.jsonl", "--model", "org/tiny")
    assert run.exit_code == 2 and "compressor-cli[local]" in run.stderr


def test_libraries_that_are_absent_or_broken(
    models: Path, work: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(tokenizer: ChatTokenizer) -> render_peers.Renders:
        def renders(rows: render_peers.Rows) -> list[Any]:
            raise AttributeError("gone in this version")

        return renders

    def unimportable(tokenizer: ChatTokenizer) -> render_peers.Renders:
        raise ImportError("libmlx.so: cannot open")

    libraries = {
        "pytest": ("torch", ("pytest",), broken),
        "mlx-lm": ("local", ("pytest",), unimportable),
        "tinker": ("tinker", ("a_package_of_no_one",), broken),
    }
    monkeypatch.setattr(render_peers, "_LIBRARIES", libraries)
    write(work / "rows.jsonl", GOOD[:1])
    run = scc("data", "check", "rows.jsonl", "--model", models / "plain")
    assert run.exit_code == 0 and "compared with no library" in run.stdout
    notes = run.stderr.splitlines()
    assert notes[0].startswith(f"note: not compared with pytest: version {pytest.__version__} fails")
    assert "gone in this version" in notes[0] and "libmlx.so" in notes[1]
    assert "a_package_of_no_one is not installed" in notes[2] and "compressor-cli[tinker]" in notes[2]


def test_a_row_that_a_library_fails_on(plain: ChatTokenizer) -> None:
    rows = [(row, render(plain, row)) for row in GOOD[:3]]

    def renders(given: render_peers.Rows) -> list[Any]:
        if any(row is GOOD[1] for row, _ in given):
            raise KeyError("role")
        return [ours for _, ours in given]

    told = render_peers.Peer("lib", "1", renders).differences(plain, rows)
    assert told == [None, "lib fails: 'role'", None]


@pytest.mark.skipif("tinker" not in INSTALLED, reason="tinker is not installed")
def test_a_datum_of_tinker(plain: ChatTokenizer) -> None:
    rendered = render(plain, GOOD[1], mask="all")
    datum = render_peers.datum(rendered)
    assert datum.model_input.to_ints() == rendered.tokens[:-1]
    assert datum.loss_fn_inputs["target_tokens"].tolist() == rendered.tokens[1:]
    assert datum.loss_fn_inputs["weights"].tolist() == rendered.weights[1:]


def test_the_tiny_model_is_one_in_both_libraries(work: Path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    mx, mlx_lm = pytest.importorskip("mlx.core"), pytest.importorskip("mlx_lm")
    mx.disable_compile()
    folder = make_model(work / "tiny")
    tokens = render(load_chat_tokenizer(str(folder)), GOOD[1]).tokens
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    expected = theirs(torch.tensor([tokens])).logits.detach().numpy()
    got = np.array(mlx_lm.load(str(folder))[0](mx.array([tokens])))
    assert np.abs(expected - got).max() < 1e-3 < expected.std()
