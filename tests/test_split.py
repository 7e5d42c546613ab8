"""`scc data split`: no source in two splits, nothing lost, the same whatever the order; and the forms of export."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from conftest import Scc
from hypothesis import given
from hypothesis import strategies as st

from compressor_cli.core.chatrows import MalformedRow
from compressor_cli.core.exports import alpaca, chat, sharegpt
from compressor_cli.core.groups import group, share_out
from compressor_cli.errors import UsageError
from compressor_cli.records import Pair

Row = dict[str, Any]
RATIOS = {"train": Fraction(4, 5), "valid": Fraction(1, 10), "test": Fraction(1, 10)}


def pair(number: int, *, answer: str = "short", **meta: Any) -> Row:
    said = [{"role": "user", "content": f"Compress: text {number}"}, {"role": "assistant", "content": answer}]
    known = {"id": f"p{number}", "source": f"doc{number // 3}.md", "domain": "prose", **meta}
    return Pair(said, None, known).as_row()


def jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def split_of(folder: Path) -> dict[str, str]:
    """The split of each row, by its id."""
    return {
        meta["id"]: name for name in ("train", "valid", "test") for meta in read(folder / f"{name}.meta.jsonl")
    }  # fmt: skip


@pytest.fixture
def accepted(work: Path) -> Path:
    return jsonl(
        work / "accepted.jsonl", [pair(n, category="code" if n % 2 else "prose", licence="MIT") for n in range(90)]
    )


def test_files(accepted: Path, work: Path, scc: Scc) -> None:
    run = scc("data", "split", accepted, "--output", "data/one")
    assert run.exit_code == 0
    assert ["train", "72", "0.800", "0.8", "24", "36", "36"] in [line.split() for line in run.stdout.splitlines()]
    rows, metas = read(work / "data/one/train.jsonl"), read(work / "data/one/train.meta.jsonl")
    assert all(row.keys() == {"messages"} for row in rows)
    assert all(meta.keys() == {"id", "source", "domain", "category", "licence"} for meta in metas)
    for row, meta in zip(rows, metas, strict=True):
        assert row["messages"][0]["content"] == f"Compress: text {meta['id'][1:]}"
    where = split_of(work / "data/one")
    assert len(where) == 90
    for document in range(30):
        assert len({where[f"p{number}"] for number in range(90) if number // 3 == document}) == 1
    manifest = json.loads((work / "data/one/manifest.json").read_text())
    assert {name: file["rows"] for name, file in manifest["files"].items()} == {
        f"{name}{ending}": rows for name, rows in (("train", 72), ("valid", 9), ("test", 9))
        for ending in (".jsonl", ".meta.jsonl")
    }  # fmt: skip
    assert manifest["sources"] == 30
    assert {name: sum(splits.values()) for name, splits in manifest["strata"].items()} == {"code": 45, "prose": 45}


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does(accepted: Path, work: Path, scc: Scc) -> None:
    rows = read(accepted)
    random.Random(1).shuffle(rows)
    jsonl(work / "shuffled.jsonl", rows)
    assert scc("data", "split", accepted, "--output", "a").exit_code == 0
    assert scc("data", "split", "shuffled.jsonl", "--output", "b").exit_code == 0
    assert scc("data", "split", accepted, "--output", "c", "--seed", "1").exit_code == 0
    for name in ("train.jsonl", "valid.meta.jsonl", "test.jsonl"):
        assert (work / "a" / name).read_bytes() == (work / "b" / name).read_bytes()
    assert split_of(work / "a") != split_of(work / "c")


@given(
    sources=st.lists(
        st.tuples(st.integers(0, 25), st.integers(0, 40), st.sampled_from("abc")), min_size=3, max_size=120
    ),
    seed=st.integers(0, 9),
)
def test_groups_for_any_rows(sources: list[tuple[int, int, str]], seed: int) -> None:
    """Each row has two ties: a document and a prompt."""
    ties = [(f"source {source}", f"prompt {prompt}") for source, prompt, _ in sources]
    groups = group(ties, [stratum for _, _, stratum in sources])
    assert sorted(row for one in groups for row in one.rows) == list(range(len(sources)))
    if len(groups) < 3:
        with pytest.raises(UsageError, match="cannot fill 3 splits"):
            share_out(groups, RATIOS, seed)
        return
    shared = share_out(groups, RATIOS, seed)
    of_tie: dict[str, str] = {}
    for name, members in shared.items():
        assert members
        for row in (row for one in members for row in one.rows):
            for tie in ties[row]:
                assert of_tie.setdefault(tie, name) == name
    largest = max(len(one.rows) for one in groups)
    for name, ratio in RATIOS.items():
        rows = sum(len(one.rows) for one in shared[name])
        assert rows <= ratio * len(sources) + 2 * largest
    backwards = group(ties[::-1], [stratum for _, _, stratum in sources][::-1])
    names = {name: sorted(one.name for one in members) for name, members in shared.items()}
    again = share_out(backwards, RATIOS, seed)
    assert names == {name: sorted(one.name for one in members) for name, members in again.items()}


def test_each_stratum_is_shared_in_the_same_ratios() -> None:
    strata = ["rare"] * 20 + ["common"] * 200
    shared = share_out(group([(str(n),) for n in range(220)], strata), RATIOS, 0)
    for split, ratio in RATIOS.items():
        of = [one.stratum for one in shared[split]]
        assert [Fraction(of.count(name)) for name in ("rare", "common")] == [20 * ratio, 200 * ratio]


def test_what_stays_together(work: Path, scc: Scc) -> None:
    lines = [pair(n, source="chats.jsonl", line=n // 2) for n in range(40)]
    jsonl(work / "lines.jsonl", lines)
    assert scc("data", "split", "lines.jsonl", "--output", "a").exit_code == 0
    where = split_of(work / "a")
    assert all(where[f"p{n}"] == where[f"p{n + 1}"] for n in range(0, 40, 2))
    one = jsonl(work / "one.jsonl", [pair(n, source="book.md", chapter=n // 4) for n in range(40)])
    refused = scc("data", "split", one, "--output", "b")
    assert refused.exit_code == 2 and "1 sources cannot fill 3 splits" in refused.stderr
    assert "--group-by" in refused.stderr and not (work / "b").exists()
    assert scc("data", "split", one, "--output", "b", "--group-by", "chapter").exit_code == 0
    where = split_of(work / "b")
    assert all(where[f"p{n}"] == where[f"p{n + 3}"] for n in range(0, 40, 4))
    unknown = scc("data", "split", one, "--output", "c", "--group-by", "nothing")
    assert (unknown.exit_code, unknown.stdout) == (2, "") and "a row has no such field" in unknown.stderr
    same = jsonl(work / "same.jsonl", [pair(n % 5, source=f"{n}.md", id=f"p{n}") for n in range(40)])
    assert scc("data", "split", same, "--output", "d").exit_code == 0
    where = split_of(work / "d")
    assert all(where[f"p{n}"] == where[f"p{n % 5}"] for n in range(40))


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        ('{"id": 1}\n', [], "pairs.jsonl, line 1: no `messages`"),
        ("nothing\n", [], "pairs.jsonl, line 1: not JSON"),
        ("", [], "gives no row"),
        ('{"messages": [{"role": "user", "content": "a"}]}\n', [], "row 1: the last message is no answer"),
        (None, ["--ratios", "0.8", "0.1", "0.2"], "their sum is 1.1, and 1 is needed"),
        (None, ["--ratios", "1.5", "-0.5", "0"], "each is between 0 and 1"),
        (None, ["--ratios", "nan", "0.5", "0.5"], "each is between 0 and 1"),
        (None, ["--format", "parquet"], "split.format: Input should be"),
        (None, ["--format", "preference"], "--format preference and --rejected go together"),
        (None, ["--rejected", "accepted.jsonl"], "--format preference and --rejected go together"),
        (None, ["--format", "alpaca", "--tools", "hf"], "--tools goes with --format chat"),
        (None, ["--format", "text"], "accepted.jsonl, line 1: no `text`"),
        (None, ["--output", "accepted.jsonl"], "accepted.jsonl is not a folder"),
    ],
)
def test_what_is_refused(
    content: str | None, words: list[str], message: str, accepted: Path, work: Path, scc: Scc
) -> None:
    source = accepted.name
    if content is not None:
        source = "pairs.jsonl"
        (work / source).write_text(content)
    run = scc("data", "split", source, "--output", "out", *words)
    assert (run.exit_code, run.stdout) == (2, "")
    assert message in run.stderr
    assert not (work / "out").exists()


def test_a_ratio_of_zero_writes_no_file(accepted: Path, work: Path, scc: Scc) -> None:
    assert scc("data", "split", accepted, "--output", "a", "--ratios", "0.9", "0.1", "0").exit_code == 0
    assert {path.name for path in (work / "a").iterdir()} == {
        "train.jsonl", "train.meta.jsonl", "valid.jsonl", "valid.meta.jsonl", "manifest.json"
    }  # fmt: skip


def test_files_that_no_split_wrote_stay(accepted: Path, work: Path, scc: Scc) -> None:
    words = ("data", "split", accepted, "--output", "a")
    assert scc(*words).exit_code == 0
    assert scc(*words, "--ratios", "0.9", "0.1", "0").exit_code == 0  # its own files it replaces, and removes
    assert not (work / "a/test.jsonl").exists()
    (work / "a/test.jsonl").write_text("mine\n")
    refused = scc(*words)
    assert refused.exit_code == 2 and "test.jsonl was edited, or no split wrote it" in refused.stderr
    assert (work / "a/test.jsonl").read_text() == "mine\n"
    assert scc(*words, "--force").exit_code == 0
    assert len(read(work / "a/test.jsonl")) == 9
    own = scc("data", "split", "a/train.jsonl", "--output", "a", "--force")
    assert own.exit_code == 2 and "is read by this split" in own.stderr


# --- forms

CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": [2]}'}}
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
AGENT = Pair(
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1 + 2?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "3", "tool_call_id": "c1"},
        {"role": "assistant", "content": "3."},
    ],
    TOOLS,
    {"id": "a"},
)


def test_arguments_as_text_or_as_an_object() -> None:
    as_object = chat(AGENT, "hf")["messages"][2]["tool_calls"][0]
    assert as_object["function"] == {"name": "add", "arguments": {"a": 1, "b": [2]}} and as_object["id"] == "c1"
    back = chat(Pair(chat(AGENT, "hf")["messages"], TOOLS, {}), "openai")
    assert back == {"messages": list(AGENT.messages), "tools": TOOLS} == chat(AGENT, None)


@pytest.mark.parametrize("arguments", ["{", "[1]", 3, None])
def test_arguments_that_are_no_object(arguments: Any) -> None:
    call = {"function": {"name": "add", "arguments": arguments}}
    with pytest.raises(MalformedRow, match="the arguments of a tool call"):
        chat(Pair([{"role": "assistant", "content": "", "tool_calls": [call]}], None, {}), "hf")


def test_sharegpt() -> None:
    assert sharegpt(AGENT) == {
        "conversations": [
            {"from": "system", "value": "Be brief."},
            {"from": "human", "value": "1 + 2?"},
            {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1, "b": [2]}}'},
            {"from": "observation", "value": "3"},
            {"from": "gpt", "value": "3."},
        ],
        "tools": json.dumps(TOOLS),
    }
    two: list[Row] = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]},
        {"role": "tool", "content": "3"},
        {"role": "tool", "content": "4"},
    ]
    turns = sharegpt(Pair(two, None, {}))["conversations"]
    assert [turn["from"] for turn in turns] == ["human", "function_call", "observation"]
    assert len(json.loads(turns[1]["value"])) == 2 and json.loads(turns[2]["value"]) == ["3", "4"]
    with pytest.raises(MalformedRow, match="text beside a tool call"):
        sharegpt(Pair([{"role": "assistant", "content": "Wait.", "tool_calls": [CALL]}], None, {}))


def test_alpaca() -> None:
    said = [("system", "S"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    messages = [{"role": role, "content": content} for role, content in said]
    assert alpaca(Pair(messages, None, {})) == {
        "instruction": "c", "input": "", "output": "d", "system": "S", "history": [["a", "b"]]
    }  # fmt: skip
    assert alpaca(Pair(messages[1:3], None, {})) == {"instruction": "a", "input": "", "output": "b"}
    for wrong in (AGENT, Pair(messages[:2], None, {}), Pair(messages[2:], None, {}), Pair(messages[1:3], TOOLS, {})):
        with pytest.raises(MalformedRow, match="alpaca has"):
            alpaca(wrong)


@pytest.mark.parametrize(
    ("form", "keys"), [("sharegpt", {"conversations"}), ("alpaca", {"instruction", "input", "output"})]
)
def test_other_forms_as_files(form: str, keys: set[str], accepted: Path, work: Path, scc: Scc) -> None:
    assert scc("data", "split", accepted, "--output", "a", "--format", form).exit_code == 0
    assert all(row.keys() == keys for row in read(work / "a/valid.jsonl"))
    jsonl(work / "agent.jsonl", [AGENT.as_row()])
    refused = scc("data", "split", "agent.jsonl", "--output", "b", "--format", "alpaca")
    assert (refused.exit_code, "agent.jsonl, row 1: alpaca has" in refused.stderr) == (2, True)


def test_preference(accepted: Path, work: Path, scc: Scc) -> None:
    rejected = [pair(n, answer="bad", reasons=["facts"]) for n in range(60)]
    rejected += [pair(0, answer="worse"), pair(1), pair(500)]
    jsonl(work / "rejected.jsonl", rejected)
    run = scc(
        "data", "split", accepted, "--output", "a", "--format", "preference", "--rejected", "rejected.jsonl", "--json"
    )
    told = json.loads(run.stdout)
    assert told["left_out"] == {
        "rejected without an accepted answer": 1,
        "rejected equal to the accepted answer": 1,
        "accepted without a rejected answer": 30,
    }
    rows = [row for name in ("train", "valid", "test") for row in read(work / f"a/{name}.jsonl")]
    assert len(rows) == 61 and all(row.keys() == {"prompt", "chosen", "rejected"} for row in rows)
    assert all(row["chosen"] == [{"role": "assistant", "content": "short"}] for row in rows)
    assert sorted({row["rejected"][0]["content"] for row in rows}) == ["bad", "worse"]
    assert all([message["role"] for message in row["prompt"]] == ["user"] for row in rows)
    assert read(work / "a/test.meta.jsonl")[0]["rejected"]["id"] == read(work / "a/test.meta.jsonl")[0]["id"]
    assert "note: 30 rows left out: accepted without a rejected answer" in run.stderr


def test_text_from_a_corpus(work: Path, scc: Scc) -> None:
    jsonl(work / "corpus.jsonl", [{"id": str(n), "text": f"Text {n}", "source": f"{n // 2}.md"} for n in range(40)])
    assert scc("data", "split", "corpus.jsonl", "--output", "a", "--format", "text").exit_code == 0
    assert all(row.keys() == {"text"} for row in read(work / "a/train.jsonl"))
    where = split_of(work / "a")
    assert len(where) == 40 and all(where[str(n)] == where[str(n + 1)] for n in range(0, 40, 2))
