"""Prompts as tokens, and tokens as answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_model import PLAIN, make_tokenizer

from compressor_cli.core.chat_prompts import ChatPrompts, chat_prompts
from compressor_cli.core.chat_tokenizer import load_chat_tokenizer
from compressor_cli.core.generation import Prompt

USER = {"role": "user", "content": "the quick brown fox"}
ENDOFTEXT, END = 0, 2  # ids


def opened(folder: Path, template: str = PLAIN, generation: Any = None, **config: Any) -> ChatPrompts:
    tokenizer = load_chat_tokenizer(str(make_tokenizer(folder, template=template)))
    (folder / "config.json").write_text(json.dumps(config))
    if generation:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    return chat_prompts(tokenizer)


def test_a_prompt_ends_where_the_answer_begins(work: Path) -> None:
    prompts = opened(work)
    (asked,), refused = prompts.encode([Prompt((USER,), 5)])
    text = prompts.tokenizer.hf.decode(asked.tokens)
    assert text == "<|im_start|>user\nthe quick brown fox<|im_end|>\n<|im_start|>assistant\n"
    assert (asked.place, asked.max_tokens, refused) == (0, 5, [])


@pytest.mark.parametrize(
    ("config", "generation", "ends"),
    [
        ({}, None, {END}),
        ({"eos_token_id": ENDOFTEXT}, None, {ENDOFTEXT, END}),
        ({"eos_token_id": END}, {"eos_token_id": [END, ENDOFTEXT, 1]}, {ENDOFTEXT, 1, END}),
        ({"eos_token_id": None}, {"eos_token_id": "strange"}, {END}),
    ],
)
def test_what_ends_an_answer(config: Any, generation: Any, ends: set[int], work: Path) -> None:
    assert opened(work, generation=generation, **config).ends == ends


def test_a_base_model_ends_where_the_template_ends_an_answer(work: Path) -> None:
    make_tokenizer(work)
    config = json.loads((work / "tokenizer_config.json").read_text())
    (work / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": "<|endoftext|>"}))
    (work / "config.json").write_text('{"eos_token_id": 0}')
    assert chat_prompts(load_chat_tokenizer(str(work))).ends == {ENDOFTEXT, END}


def test_a_template_that_ends_an_answer_with_text_has_no_token_for_it(work: Path) -> None:
    prompts = opened(work, "{% for message in messages %}{{ message.content }} END {% endfor %}", eos_token_id=0)
    assert prompts.ends == {ENDOFTEXT, END}  # of the config, and of the tokenizer


@pytest.mark.parametrize(
    ("config", "left"),
    [
        ({}, None),
        ({"max_position_embeddings": 40}, 40),
        ({"n_positions": 40}, 40),
        ({"text_config": {"max_position_embeddings": 40}}, 40),
        ({"max_position_embeddings": 40, "rope_parameters": {"rope_type": "default"}}, 40),
        ({"max_position_embeddings": 40, "rope_scaling": {"type": "yarn", "factor": 4}}, None),
    ],
)
def test_an_answer_has_the_positions_that_the_prompt_leaves(config: Any, left: int | None, work: Path) -> None:
    prompts = opened(work, **config)
    (asked,), _ = prompts.encode([Prompt((USER,), 100)])
    assert asked.max_tokens == (left - len(asked.tokens) if left else 100)


def test_what_cannot_be_asked_is_refused_in_its_place(work: Path) -> None:
    prompts = opened(work, max_position_embeddings=30)
    long = Prompt(({"role": "user", "content": "x " * 50},), 5)
    half = Prompt(({"role": "user", "content": "x \ud800"},), 5)
    asked, refused = prompts.encode(
        [Prompt((USER,), 5), long, Prompt((USER,), 0), Prompt(({"role": "user"},), 5), half]
    )
    assert [one.place for one in asked] == [0]
    (_, first), (_, second), (_, third), (_, fourth) = refused
    assert [place for place, _ in refused] == [1, 2, 3, 4]
    assert first.error and first.error.endswith("tokens, and the model reads 30")
    assert second.error == "max_tokens leaves no room for an answer"
    assert third.error and "content" in third.error
    assert fourth.error and "half of a surrogate pair" in fourth.error


def test_an_answer_has_no_special_tokens_and_no_half_of_a_character(work: Path) -> None:
    prompts = opened(work)
    (asked,), _ = prompts.encode([Prompt((USER,), 5)])
    tokens = prompts.tokenizer.tokens("<think> fox 🦊<|im_start|>")
    whole = prompts.answer(asked, tokens, truncated=False, seconds=0.5)
    assert (whole.text, whole.tokens_out, whole.tokens_in) == ("<think> fox 🦊", len(tokens), len(asked.tokens))
    cut = prompts.answer(asked, tokens[:-2], truncated=True, seconds=0.5)
    assert (cut.text, cut.truncated, cut.seconds) == ("<think> fox ", True, 0.5)
