"""Recipes: the shipped ones, what does not fit together, and what counts as another setting."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPO

from compressor_cli.core import recipes
from compressor_cli.core.prices import load_prices
from compressor_cli.core.recipes import load_plan, shipped_recipes
from compressor_cli.core.seeds import seed_count
from compressor_cli.errors import UsageError

COMPRESSION: dict[str, Any] = {
    "name": "mine",
    "kind": "compression",
    "model": "openai:gpt-4.1",
    "prompts": {"prose": "compress_prose"},
}
TALK: dict[str, Any] = {
    "name": "talk",
    "kind": "conversation",
    "model": "openai:gpt-4.1",
    "categories": {"one": {"prompt": "skills_tool_use", "target": 3, "topics": ["files"]}},
}


def written(work: Path, recipe: dict[str, Any], **changes: Any) -> Path:
    path = work / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe | changes))
    return path


def test_the_shipped_recipes_are_those_of_configs() -> None:
    folder = REPO / "configs" / "recipes"
    assert set(shipped_recipes()) == {path.stem for path in folder.glob("*.yaml")} == {"compression", "agentic-skills"}
    assert load_plan("compression").settings == load_plan(folder / "compression.yaml").settings


def test_agentic_skills_are_2525_rows_in_seven_categories() -> None:
    plan = load_plan("agentic-skills")
    targets: Counter[str] = Counter()
    for job in plan.jobs:
        targets[job.category] += job.target or 0
    assert targets == {
        "tool_use": 700, "code_navigation": 175, "workflow": 450, "agentic": 400, "craftsmanship": 400,
        "collaboration": 200, "problem_solving": 200,
    }  # fmt: skip
    assert targets.total() == 2525
    variants = [job.variant for job in plan.jobs if job.category == "tool_use"]
    assert variants == ["single", "parallel", "multi_turn", "error_recovery", "parameters"]
    for job in plan.jobs:  # some can be rejected, and a recipe that gives nothing has an end
        assert 4 * (job.target or 0) <= seed_count(plan.recipe, job, []) <= 7 * (job.target or 0), job.name
        assert job.stage in ("tools", "skills") and "training conversation" in job.system


@pytest.mark.parametrize("name", ["compression", "agentic-skills"])
def test_the_model_of_a_shipped_recipe_has_a_price_and_no_end(name: str) -> None:
    from anthropic.resources.messages.messages import DEPRECATED_MODELS

    model = load_plan(name).recipe.model
    assert load_prices().find(model) is not None
    assert model.removeprefix("anthropic:") not in DEPRECATED_MODELS


def test_compression_has_a_prompt_for_prose_and_one_for_code() -> None:
    plan = load_plan("compression")
    assert [(job.name, job.domains, job.target, job.samples) for job in plan.jobs] == [
        ("prose", ("prose",), None, 1),
        ("code", ("code",), None, 1),
    ]
    prose, code = plan.jobs
    assert "notation" in code.system and "negation" in prose.system


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        (COMPRESSION, {"promts": {}}, "promts: no such setting"),
        (COMPRESSION, {"prompts": {}}, "either prompts by domain or categories"),
        (COMPRESSION, {"categories": {"a": {"prompt": "compress_prose"}}}, "either prompts by domain or categories"),
        (COMPRESSION, {"prompts": {"prose": "no_such"}}, "no prompt 'no_such'"),
        (COMPRESSION, {"prompts": {"prose": "../conversation"}}, "no prompt"),
        (COMPRESSION, {"checks": {"max_ratio": 1.5}}, "checks.max_ratio"),
        (COMPRESSION, {"checks": {"min_messages": 2}}, "belong to conversations"),
        (COMPRESSION, {"prompts": {}, "categories": {"a": {"prompt": "compress_prose", "min_calls": 1}}}, "belong to"),
        (TALK, {"prompts": {"prose": "compress_prose"}}, "either prompts by domain or categories"),
        (TALK, {"output": "text"}, "output: json"),
        (TALK, {"training": {"system": "Be."}}, "belong to compression"),
        (TALK, {"checks": {"min_fidelity": 0.9}}, "belong to compression"),
        (TALK, {"categories": {"one": {"prompt": "skills_tool_use", "topics": ["a"]}}}, "a target are needed"),
        (TALK, {"categories": {"one": {"prompt": "skills_tool_use", "target": 3}}}, "topics and a target"),
        (
            TALK,
            {"categories": {"one": {"prompt": "x", "topics": ["a"], "target": 1,
                                    "variants": {"v": {"target": 1, "instruction": "i"}}}}},
            "not with both",
        ),
        (
            TALK,
            {"categories": {"one": {"prompt": "x", "topics": ["a"], "min_calls": 2,
                                    "variants": {"v": {"target": 1, "instruction": "i"}}}}},
            "stand with the variants",
        ),
        (TALK, {"categories": {"a/b": TALK["categories"]["one"]}}, "categories.a/b"),
        (
            TALK,
            {"categories": {"one": {**TALK["categories"]["one"], "min_calls": 3, "max_calls": 2}}},
            "max_calls: 2 is less than min_calls",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_together(recipe: dict[str, Any], changes: dict[str, Any], message: str, work: Path) -> None:
    with pytest.raises(UsageError, match=message):
        load_plan(written(work, recipe, **changes))


def test_a_missing_recipe_names_those_that_are_shipped() -> None:
    with pytest.raises(UsageError) as caught:
        load_plan("compresion")
    assert caught.value.hint == "shipped are agentic-skills, compression"
    with pytest.raises(UsageError, match="No such file"):
        load_plan("mine.yaml")


def test_a_prompt_beside_the_recipe_comes_first(work: Path) -> None:
    (work / "compress_prose.md").write_text("Mine.")
    assert load_plan(written(work, COMPRESSION)).jobs[0].system == "Mine."
    (work / "compress_prose.md").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not UTF-8"):
        load_plan(written(work, COMPRESSION))


def test_a_wheel_has_its_recipes_among_its_assets(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assets = work / "assets" / "recipes"
    assets.mkdir(parents=True)
    (assets / "mine.yaml").write_text(yaml.safe_dump(COMPRESSION))
    monkeypatch.setattr(recipes, "_SHIPPED", (assets, work / "not there"))
    assert load_plan("mine").recipe.name == "mine"


def changed(work: Path, recipe: dict[str, Any], **changes: Any) -> set[str]:
    before, after = (load_plan(written(work, recipe, **given)).settings for given in ({}, changes))
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_settings_are_what_changes_a_row(work: Path) -> None:
    assert changed(work, COMPRESSION, max_tokens=99) == {"recipe max_tokens"}
    assert changed(work, COMPRESSION, checks={"max_ratio": 0.5}) == {"recipe checks"}
    assert changed(work, COMPRESSION, prompts={"prose": "compress_code"}) == {"category prose"}
    one = TALK["categories"]["one"]
    assert changed(work, TALK, categories={"one": one | {"topics": ["files", "mail"]}}) == {"category one"}
    assert not changed(work, TALK, categories={"one": one | {"target": 30, "samples": 90, "stage": "tools"}})
    assert not changed(work, COMPRESSION, model="google:gemini", fallback="embedded")
