"""From a corpus to requests: the same every time, each row with a key of its own, and no secret among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from compressor_cli.core.recipes import Plan, load_plan
from compressor_cli.core.seeds import CLOSE, OPEN, Seed, SourceRow, read_corpus, rows_to_come, seed_count, seeds
from compressor_cli.errors import UsageError

KEY = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hJ6"
MODEL = "openai:gpt-4.1"


def corpus_of(path: Path, *rows: dict[str, Any]) -> list[SourceRow]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_corpus(path)


def all_seeds(plan: Plan, corpus: list[SourceRow], model: str = MODEL) -> list[Seed]:
    return [seed for job in plan.jobs for seed in seeds(plan.recipe, job, corpus, model)]


def talk(work: Path, **category: Any) -> Plan:
    path = work / "talk.yaml"
    one = {"prompt": "skills_tool_use", "target": 6, "topics": ["files", "mail", "maps"]} | category
    path.write_text(yaml.safe_dump({"name": "t", "kind": "conversation", "model": MODEL, "categories": {"one": one}}))
    return load_plan(path)


def test_rows_of_a_corpus(work: Path) -> None:
    rows = corpus_of(
        work / "c.jsonl",
        {"id": "a", "text": "def f(x):\n    return x + 1\n", "domain": "code", "language": "python", "licence": "MIT",
         "source": "src/a.py", "line": 3},
        {"text": "The committee met on Monday and agreed on the price of the plan."},
        {"id": "a", "text": "Another text of the same id, which is told apart from the first one."},
    )  # fmt: skip
    assert rows[0] == SourceRow("a", "def f(x):\n    return x + 1\n", "code", "python", "src/a.py", 3, "MIT")
    assert (rows[1].id, rows[1].domain, rows[1].source) == ("2", "prose", "2")
    assert rows[2].id == "a@3"
    found = all_seeds(load_plan("compression"), rows)
    assert len({seed.key for seed in found}) == len(found) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: not JSON"),
        ("{}", "line 1: no `text`"),
        ('{"text": "  "}', "line 1: no `text`"),
        ('{"text": "a", "domain": 5}', "line 1: `domain` is not text"),
        ("", "holds no rows"),
    ],
)
def test_what_is_no_corpus(line: str, message: str, work: Path) -> None:
    (work / "c.jsonl").write_text(line + "\n")
    with pytest.raises(UsageError, match=message):
        read_corpus(work / "c.jsonl")


def test_secrets_are_looked_for_in_a_corpus_that_was_edited_too(work: Path) -> None:
    row = {"text": f"The deploy script exports {KEY} before it pushes to the server."}
    assert corpus_of(work / "foreign.jsonl", row)[0].secrets == ("github-token",)
    (work / "own.jsonl.settings.json").write_text("{}")
    assert corpus_of(work / "own.jsonl", row)[0].secrets == ("github-token",)


def test_a_key_is_of_all_that_changes_the_answer(work: Path) -> None:
    plan = load_plan("compression")
    row = {"id": "a", "text": "The committee met on Monday.", "domain": "prose"}
    (seed,) = all_seeds(plan, corpus_of(work / "c.jsonl", row))
    (again,) = all_seeds(plan, corpus_of(work / "c.jsonl", row | {"licence": "MIT"}))
    assert seed.key == again.key
    others = [
        all_seeds(plan, corpus_of(work / "c.jsonl", row), "openai:gpt-5"),
        all_seeds(plan, corpus_of(work / "c.jsonl", row | {"text": "The committee met on Friday."})),
        all_seeds(plan, corpus_of(work / "c.jsonl", row | {"id": "b"})),
        all_seeds(plan, corpus_of(work / "c.jsonl", row | {"domain": "code"})),
    ]
    assert len({seed.key, *(other.key for (other,) in others)}) == 5
    assert seed.request.messages[0].content == (
        f'{OPEN}The committee met on Monday.{CLOSE}\n\nAnswer with a JSON object: {{"compressed": "..."}}'
    )
    assert seed.request.schema is not None and seed.request.system == plan.jobs[0].system


def test_rows_that_no_category_takes_are_counted(work: Path) -> None:
    plan = load_plan("compression")
    rows = corpus_of(
        work / "c.jsonl",
        *({"text": "A text.", "domain": domain} for domain in ("prose", "code", "mixed", "chat", "json", "email")),
    )
    notes: list[str] = []
    assert rows_to_come(plan, rows, notes.append) == 4
    assert notes == ["2 of 6 rows of the corpus fit no category: not asked for"]
    assert [seed.job.name for seed in all_seeds(plan, rows)] == ["prose", "prose", "prose", "code"]


def test_conversations_go_round_topics_languages_and_grounds(work: Path) -> None:
    plan = talk(work, languages=["python", "go"], samples=2)
    texts = [{"id": f"p{n}", "text": f"def f{n}(): pass", "domain": "code", "language": "python"} for n in range(4)]
    rows = corpus_of(work / "c.jsonl", *texts, {"id": "x", "text": "fn f() {}", "domain": "code", "language": "rust"})
    found = all_seeds(plan, rows)
    assert len(found) == seed_count(plan.recipe, plan.jobs[0], rows) == 12
    assert [(seed.topic, seed.language, seed.sample) for seed in found[:3]] == [
        ("files", "python", 0), ("files", "go", 0), ("mail", "python", 0),
    ]  # fmt: skip
    grounds = [seed.row.id for seed in found if seed.language == "python" and seed.row]
    assert grounds == ["p0", "p1", "p2", "p3", "p0", "p1"]  # all of them, however many languages there are
    assert all(seed.row is None for seed in found if seed.language == "go")
    texts_asked = [seed.request.messages[0].content for seed in found]
    assert len(set(texts_asked)) == 12 and "Conversation 2 about this topic" in texts_asked[6]
    assert found == all_seeds(plan, rows)


def test_five_conversations_can_be_asked_for_one_that_is_wanted(work: Path) -> None:
    plan = talk(work, target=20)
    assert seed_count(plan.recipe, plan.jobs[0], []) == 102  # 3 topics, 34 samples
