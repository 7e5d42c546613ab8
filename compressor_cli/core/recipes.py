"""What is asked of a teacher, as typed YAML: prompts, the checks a row must pass, and how many rows of what.

A compression recipe turns source rows into pairs. A conversation recipe makes chats up, about a topic in a language, on
the ground of a source row where there is one.
"""

from __future__ import annotations

from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from compressor_cli.core.jsonl import content_key
from compressor_cli.errors import UsageError
from compressor_cli.settings import Section, read_yaml, told

Kind = Literal["compression", "conversation"]
_SAMPLES = 20  # conversations about one topic in one language, where nothing else is said


class Checks(Section):
    """Free checks of a row; what is None is not asked. The counts are of conversations."""

    max_ratio: float | None = Field(None, gt=0, le=1)
    min_fidelity: float | None = Field(None, ge=0, le=1)
    near_duplicate: float | None = Field(None, gt=0, le=1)
    min_messages: int = Field(0, ge=0)


class Shape(Section):
    """What a conversation must have: calls of tools, calls in one message, messages of the user."""

    min_calls: int = Field(0, ge=0)
    max_calls: int | None = Field(None, ge=0)
    min_parallel: int = Field(0, ge=0)
    min_users: int = Field(1, ge=1)


class Variant(Shape):
    """A part of a category with a target and an instruction of its own."""

    target: int = Field(ge=1)
    instruction: str
    languages: tuple[str, ...] = ()


class Category(Shape):
    """`target` counts accepted rows; without one, every source row that fits is asked `samples` times."""

    prompt: str
    stage: str = "sft"
    target: int | None = Field(None, ge=1)
    domains: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    samples: int | None = Field(None, ge=1)
    variants: dict[str, Variant] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_target(self) -> Category:
        if self.variants and self.target is not None:
            raise ValueError("a target stands with the category or with its variants, not with both")
        return self


class Training(Section):
    """What a training row says around a pair."""

    system: str = ""
    user_prefix: str = ""


class Recipe(Section):
    name: str
    kind: Kind
    model: str
    fallback: str | None = None
    max_tokens: int = Field(4096, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    output: Literal["json", "text"] = "json"
    training: Training = Training()
    prompts: dict[str, str] = Field(default_factory=dict)
    checks: Checks = Checks()
    categories: dict[str, Category] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        if self.kind == "conversation":
            if not self.categories or self.prompts:
                raise ValueError("a conversation recipe has categories, and no prompts by domain")
            if self.output != "json":
                raise ValueError("a conversation is an object: output has to be json")
            for name, category in self.categories.items():
                if category.target is None and not category.variants:
                    raise ValueError(f"categories.{name}: a conversation category needs a target")
                if not category.topics:
                    raise ValueError(f"categories.{name}: topics are needed")
        elif not (self.categories or self.prompts):
            raise ValueError("prompts by domain or categories are needed")
        elif any(category.variants or category.topics for category in self.categories.values()):
            raise ValueError("variants and topics belong to conversations")
        return self


class Job(Section):
    """What is asked until `target` rows are accepted. `name` is `category` or `category/variant`."""

    name: str
    category: str
    variant: str | None
    stage: str
    system: str
    instruction: str
    target: int | None
    domains: tuple[str, ...]
    languages: tuple[str, ...]
    topics: tuple[str, ...]
    samples: int
    shape: Shape


class Plan(Section):
    """A recipe with its prompts read."""

    recipe: Recipe
    jobs: tuple[Job, ...]

    @cached_property
    def fingerprint(self) -> str:
        """Of all that changes what a row holds; targets, samples and stages only say how many, and where to."""
        recipe = self.recipe.model_dump(mode="json", exclude={"categories", "prompts", "model", "fallback"})
        how_many = {"target", "samples", "stage"}
        return content_key(recipe, [job.model_dump(mode="json", exclude=how_many) for job in self.jobs])


def load_plan(path: Path) -> Plan:
    """Raises UsageError for a recipe that cannot be read, does not fit together, or names a prompt there is not."""
    content = read_yaml(path, "--recipe")
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as exc:
        raise UsageError(f"--recipe {path}: {'; '.join(map(told, exc.errors()))}") from None
    return Plan(recipe=recipe, jobs=tuple(_jobs(recipe, path.parent)))


def _jobs(recipe: Recipe, folder: Path) -> list[Job]:
    categories = recipe.categories or {
        domain: Category(prompt=prompt, domains=(domain,)) for domain, prompt in recipe.prompts.items()
    }
    jobs = []
    for name, category in categories.items():
        system = read_prompt(category.prompt, folder)
        if recipe.kind == "conversation":
            system = f"{read_prompt('conversation', folder)}\n{system}"
        parts: list[tuple[str | None, Category | Variant]] = [*category.variants.items()] or [(None, category)]
        for variant, part in parts:
            jobs.append(
                Job(
                    name=f"{name}/{variant}" if variant else name,
                    category=name,
                    variant=variant,
                    stage=category.stage,
                    system=system,
                    instruction=part.instruction if isinstance(part, Variant) else "",
                    target=part.target,
                    domains=category.domains,
                    languages=part.languages or category.languages,
                    topics=category.topics,
                    samples=category.samples or (_SAMPLES if category.topics else 1),
                    shape=Shape.model_validate(part.model_dump(include=set(Shape.model_fields))),
                )
            )
    return jobs


def read_prompt(name: str, folder: Path) -> str:
    """A file beside the recipe, else one that is shipped."""
    for path in (folder / name, folder / f"{name}.md"):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    shipped = files("compressor_cli") / "prompts" / f"{name}.md"
    if "/" in name or not shipped.is_file():
        raise UsageError(f"no prompt {name!r}, neither beside the recipe nor shipped")
    return shipped.read_text(encoding="utf-8")
