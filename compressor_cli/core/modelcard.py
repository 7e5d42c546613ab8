"""The README of an exported model: what it is made from, how, and how good it is, as far as the run and its eval say.

Nothing of the machine it was made on stands in it: of every path the last part is told.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from compressor_cli.core.lowrank import public_name

_LIBRARIES = {"peft": "peft", "mlx": "mlx", "merged": "transformers", "gguf": "gguf"}
_KINDS = {
    "peft": "a LoRA adapter for PEFT",
    "mlx": "an adapter for mlx-lm",
    "merged": "a whole model",
    "gguf": "a GGUF file for llama.cpp",
}
_UNTOLD = ("model", "seed", "rows", "steps", "teacher", "from_config")


@dataclass(frozen=True)
class CardFacts:
    """What is known. `place` is where users find it, `run` the card of the run, `shape` has the figures of the adapter,
    and `figures` those of an eval. `other_weights`: what was measured were other files than those exported."""

    name: str
    place: str
    format: str
    base: str | None
    run: Mapping[str, Any] = field(default_factory=dict)
    shape: Mapping[str, Any] = field(default_factory=dict)
    dataset: str | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    evaluation: str | None = None
    other_weights: bool = False
    licence: str | None = None


def model_card(facts: CardFacts) -> str:
    return "\n".join([*_front(facts), *_head(facts), *_use(facts), *_training(facts), *_evaluation(facts)]) + "\n"


def _front(facts: CardFacts) -> Iterator[str]:
    """What the hub reads. A base in a folder has no name there."""
    on_hub = facts.base if facts.base and facts.base.count("/") == 1 else None
    told = {
        "base_model": on_hub,
        "base_model_relation": ("adapter" if facts.format in ("peft", "mlx") else "finetune") if on_hub else None,
        "library_name": _LIBRARIES[facts.format],
        "license": facts.licence.lower() if facts.licence else None,
        "datasets": [facts.dataset] if facts.dataset and facts.dataset.count("/") == 1 else None,
        "pipeline_tag": "text-generation",
        "tags": ["prompt-compression", *(["lora"] if facts.shape else [])],
    }
    kept = {name: value for name, value in told.items() if value is not None}
    yield "---"
    yield yaml.safe_dump(kept, sort_keys=False, allow_unicode=True).rstrip()
    yield "---"


def _head(facts: CardFacts) -> Iterator[str]:
    yield f"\n# {_plain(facts.name)}\n"
    yield f"Rewrites text in fewer tokens with the same meaning: {_KINDS[facts.format]}, made with `scc`.\n"
    yield f"- Base model: {_plain(public_name(facts.base) or 'not known')}"
    if facts.licence:
        yield f"- Licence: {_plain(facts.licence)}"
    else:
        yield "- Licence: not known here; that of the base model and of the training data hold"
    for name, value in facts.shape.items():
        yield f"- {name}: {value}"


def _use(facts: CardFacts) -> Iterator[str]:
    base = public_name(facts.base) or "BASE"
    snippets = {
        "peft": (
            "python",
            "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n"
            f'base = AutoModelForCausalLM.from_pretrained("{base}")\n'
            f'model = PeftModel.from_pretrained(base, "{facts.place}")',
        ),
        "mlx": ("sh", f'mlx_lm generate --model {base} --adapter-path {facts.place} --prompt "..."'),
        "merged": (
            "python",
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f'model = AutoModelForCausalLM.from_pretrained("{facts.place}")\n'
            f'tokenizer = AutoTokenizer.from_pretrained("{facts.place}")',
        ),
        "gguf": ("sh", "llama-cli -m model.gguf"),
    }
    language, code = snippets[facts.format]
    yield "\n## Use\n"
    yield from _fenced(code, language)
    prompt = facts.run.get("prompt")
    if isinstance(prompt, Mapping) and any(prompt.values()):
        yield "\nIt was trained on prompts that begin so, and expects the same:"
        for part in ("system", "prefix"):
            if prompt.get(part):
                yield f"\n{'System text' if part == 'system' else 'Before the text of the user'}:\n"
                yield from _fenced(str(prompt[part]), "text")


def _training(facts: CardFacts) -> Iterator[str]:
    run = facts.run
    if not run.get("backend"):
        return
    told = run.get("settings")
    settings: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    hashes, versions = (run[name] if isinstance(run.get(name), Mapping) else {} for name in ("data_sha256", "versions"))
    yield "\n## Training\n"
    yield "| | |\n|---|---|"
    yield from _rows({"backend": run["backend"], "data": facts.dataset})
    yield from _rows({f"{name}, SHA-256": digest for name, digest in hashes.items()})
    yield from _rows({"rows": settings.get("rows"), "steps": run.get("steps_done")})
    yield from _rows({name: f"{value:.4f}" for name, value in facts.losses.items()})
    yield from _rows({name: value for name, value in settings.items() if name not in _UNTOLD})
    yield from _rows({"seed": settings.get("seed")})
    yield from _rows({"versions": ", ".join(f"{name} {version}" for name, version in versions.items())})
    if run.get("command"):
        yield ""
        yield from _fenced(_without_places(str(run["command"])), "sh")


def _evaluation(facts: CardFacts) -> Iterator[str]:
    yield "\n## Evaluation\n"
    if not facts.figures:
        yield "Not evaluated yet: nothing is claimed of its quality."
        return
    yield f"By `scc eval` ({_plain(facts.evaluation or '')}), with 95 % intervals:\n"
    if facts.other_weights:
        yield "The files of weights that were measured are not those that this was made from.\n"
    yield "| | |\n|---|---|"
    yield from _rows(facts.figures)


def figures_of(summary: Mapping[str, Any]) -> dict[str, str]:
    """The figures over all rows in the `summary.json` of an eval, with intervals; none where it has another form."""
    try:
        told = {f"rows ({name})": f"{summary[name]:,}" for name in ("asked", "measured")}
        for name, title in (("tokenizer", "tokens of"), ("metric", "similarity by")):
            if isinstance(by := summary["settings"].get(name), str):
                told[title] = by
        for name, figure in summary["groups"]["overall"].items():
            if figure["value"] is not None:
                told[name] = f"{figure['value']:.4g}"
                if figure["low"] is not None:
                    told[name] += f" ({figure['low']:.4g} to {figure['high']:.4g})"
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
    return told


def _rows(told: Mapping[str, Any]) -> Iterator[str]:
    """Of a table, without what was not set."""
    for name, value in told.items():
        if value not in (None, False, "", [], {}):
            yield f"| {_plain(name)} | {_plain(_without_places(value) if isinstance(value, str) else value)} |"


def _plain(text: object) -> str:
    """In one line, and nothing of it Markdown or HTML."""
    line = " ".join(str(text).split())
    for sign in "\\|`*_[]<>":
        line = line.replace(sign, f"\\{sign}")
    return line


def _without_places(text: str) -> str:
    """The words, and of each that is a path from the root or from home, its last part."""
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    if not any(word.startswith(("/", "~")) or "=/" in word for word in words):
        return text
    return shlex.join([_last_part(word) for word in words])


def _last_part(word: str) -> str:
    flag, equals, value = word.partition("=") if "=/" in word else ("", "", word)
    return f"{flag}{equals}{Path(value).name}" if value.startswith(("/", "~")) else word


def _fenced(code: str, language: str) -> Iterator[str]:
    """Behind a fence that is longer than any within."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", code))])
    yield f"{fence}{language}"
    yield code
    yield fence
