"""What is asked of a teacher, as typed YAML: prompts, the checks a row must pass, and how many rows of what.

A compression recipe turns source rows into pairs. A conversation recipe makes chats up, about a topic in a language, on
the ground of a source row where there is one.
"""

from __future__ import annotations

import math
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from compressor_cli.core.jsonl import content_key
from compressor_cli.errors import UsageError
from compressor_cli.settings import Section, read_yaml, told

Kind = Literal["compression", "conversation"]
Name = Annotated[str, Field(pattern=r"^[^/\s](?:[^/]*[^/\s])?$")]  # a job is `category/variant`
_SPARE = 5  # conversations that can be asked for, by target, where `samples` does not say: the end of a bad run
_PACKAGE = Path(__file__).parents[1]
_SHIPPED = (_PACKAGE / "assets" / "recipes", _PACKAGE.parent / "configs" / "recipes")  # of a wheel, of the source


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

    @model_validator(mode="after")
    def _can_be_met(self) -> Shape:
        if self.max_calls is not None and self.max_calls < max(self.min_calls, self.min_parallel):
            raise ValueError(f"max_calls: {self.max_calls} is less than min_calls or min_parallel asks for")
        return self


class Variant(Shape):
    """A part of a category with a target and an instruction of its own."""

    target: int = Field(ge=1)
    instruction: str
    languages: tuple[str, ...] = ()


class Category(Shape):
    """`target` counts accepted rows; without one, every source row that fits is asked `samples` times.

    `stage` is that of training, and travels with the rows. Of `samples` the last is asked when all rows had the first.
    """

    prompt: str
    stage: str = "sft"
    target: int | None = Field(None, ge=1)
    domains: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    samples: int | None = Field(None, ge=1)
    variants: dict[Name, Variant] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_target(self) -> Category:
        if self.variants and self.target is not None:
            raise ValueError("a target stands with the category or with its variants, not with both")
        if self.variants and self.model_fields_set & Shape.model_fields.keys():
            raise ValueError("counts of calls and messages stand with the variants where there are any")
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
    categories: dict[Name, Category] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        if bool(self.categories) == bool(self.prompts):
            raise ValueError("either prompts by domain or categories are needed")
        if self.kind == "conversation":
            self._fits_conversations()
        elif self.checks.min_messages or any(
            category.variants or category.topics or category.model_fields_set & Shape.model_fields.keys()
            for category in self.categories.values()
        ):
            raise ValueError("variants, topics, and counts of calls and messages belong to conversations")
        return self

    def _fits_conversations(self) -> None:
        if self.prompts or self.output != "json":
            raise ValueError("a conversation is an object of a category: no prompts by domain, output: json")
        if self.training != Training() or self.checks.max_ratio is not None or self.checks.min_fidelity is not None:
            raise ValueError("training, max_ratio and min_fidelity belong to compression")
        for name, category in self.categories.items():
            if not category.topics or (category.target is None and not category.variants):
                raise ValueError(f"categories.{name}: topics and a target are needed")


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

    @property
    def settings(self) -> dict[str, Any]:
        """All that changes what a row holds, by name. Targets, samples and stages only say how many, and where to."""
        recipe = self.recipe.model_dump(
            mode="json", include={"name", "kind", "max_tokens", "temperature", "output", "training", "checks"}
        )
        how_many = {"target", "samples", "stage"}
        of_jobs = {
            f"category {job.name}": content_key(job.model_dump(mode="json", exclude=how_many)) for job in self.jobs
        }
        return {f"recipe {name}": value for name, value in recipe.items()} | of_jobs


def load_plan(recipe: str | Path) -> Plan:
    """By path, or by the name of a recipe that is shipped.

    Raises UsageError for one that cannot be read, does not fit together, or names a prompt there is not.
    """
    path = _path_of(recipe)
    content = read_yaml(path, "--recipe")
    try:
        found = Recipe.model_validate(content)
    except ValidationError as exc:
        raise UsageError(f"--recipe {path}: {'; '.join(map(told, exc.errors()))}") from None
    return Plan(recipe=found, jobs=tuple(_jobs(found, path.parent)))


def shipped_recipes() -> dict[str, Path]:
    return {path.stem: path for folder in _SHIPPED for path in sorted(folder.glob("*.yaml"))}


def _path_of(recipe: str | Path) -> Path:
    path, shipped = Path(recipe), shipped_recipes()
    if path.exists() or path.suffix in (".yaml", ".yml"):
        return path
    if str(recipe) not in shipped:
        raise UsageError(
            f"--recipe {recipe}: no such file, and no shipped recipe of this name",
            hint=f"shipped are {', '.join(shipped)}",
        )
    return shipped[str(recipe)]


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
            languages = part.languages or category.languages
            about = len(category.topics) * max(len(languages), 1)
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
                    languages=languages,
                    topics=category.topics,
                    samples=category.samples or (math.ceil(_SPARE * (part.target or 1) / about) if about else 1),
                    shape=Shape.model_validate(part.model_dump(include=set(Shape.model_fields))),
                )
            )
    return jobs


def read_prompt(name: str, folder: Path) -> str:
    """A file beside the recipe, else one that is shipped."""
    for path in (folder / name, folder / f"{name}.md"):
        if path.is_file():
            return _text(path)
    shipped = files("compressor_cli") / "prompts" / f"{name}.md"
    if "/" in name or not shipped.is_file():
        raise UsageError(f"no prompt {name!r}, neither beside the recipe nor shipped")
    return shipped.read_text(encoding="utf-8")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as exc:
        raise UsageError(f"prompt {path}: {exc.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"prompt {path}: not UTF-8") from None
