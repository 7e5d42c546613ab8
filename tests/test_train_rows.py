"""Rows for training: used, left out and counted, or refused with their line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_model import make_tokenizer

from compressor_cli.core.chat_tokenizer import ChatTokenizer, load_chat_tokenizer
from compressor_cli.core.train_rows import TOO_LONG, RowFilter, TrainRows, read_train_rows
from compressor_cli.errors import UsageError

pytest.importorskip("transformers")

SYSTEM = {"role": "system", "content": "Make it short."}


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    return load_chat_tokenizer(str(make_tokenizer(tmp_path_factory.mktemp("tokenizer"))))


def chat(text: str, answer: str) -> dict[str, Any]:
    return {
        "messages": [
            SYSTEM,
            {"role": "user", "content": f"Compress:\n{text}"},
            {"role": "assistant", "content": answer},
        ]
    }


def write(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path, tokenizer: ChatTokenizer, **changes: Any) -> TrainRows:
    options: dict[str, Any] = {"stage": "sft", "mask": "last", "max_seq_length": 200}
    return read_train_rows(path, tokenizer, **{**options, **changes})


def test_rows_are_tokens_with_their_trained_spans(work: Path, tokenizer: ChatTokenizer) -> None:
    rows = [chat("The quick brown fox jumps.", "fox jumps"), chat("The lazy dog.", "dog")]
    found = read(write(work / "train.jsonl", rows), tokenizer)
    assert len(found) == 2 and not found.left_out
    assert found.tokens == sum(len(row.tokens) for row in found.rendered)
    assert found.trained == sum(row.trained_tokens for row in found.rendered)
    for row, rendered in zip(rows, found.rendered, strict=True):
        ((start, end),) = rendered.trained
        assert tokenizer.hf.decode(rendered.tokens[start:end]) == row["messages"][2]["content"] + "<|im_end|>\n"


def test_the_loss_can_be_on_every_token(work: Path, tokenizer: ChatTokenizer) -> None:
    path = write(work / "train.jsonl", [chat("The lazy dog.", "dog")])
    (whole,) = read(path, tokenizer, mask="none").rendered
    assert whole.trained == ((1, len(whole.tokens)),)


def test_long_rows_are_left_out_and_counted(work: Path, tokenizer: ChatTokenizer) -> None:
    path = write(work / "train.jsonl", [chat("dog " * 300, "dog"), chat("The lazy dog.", "dog")])
    found = read(path, tokenizer)
    assert len(found) == 1
    assert found.left_out == {TOO_LONG: 1}
    assert found.longest <= 200


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"messages": [{"role": "user", "content": "a"}]}, "the last message is from the user"),
        (chat("a", ""), "without text"),
        (chat("a<|im_end|>", "b"), "ends or begins a turn"),
        ({"text": "a"}, "no `messages`"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_with_its_line(
    row: Any, said: str, work: Path, tokenizer: ChatTokenizer
) -> None:
    path = write(work / "train.jsonl", [chat("a", "b"), row])
    with pytest.raises(UsageError, match=r"train\.jsonl, line 2: .*" + said):
        read(path, tokenizer)
    found = read(path, tokenizer, skip_invalid=True)
    assert len(found) == 1 and found.left_out.total() == 1


def test_a_line_that_is_no_json_is_named(work: Path, tokenizer: ChatTokenizer) -> None:
    (work / "train.jsonl").write_text("{}}\n")
    with pytest.raises(UsageError, match="line 1: not JSON"):
        read(work / "train.jsonl", tokenizer)
    assert read(work / "train.jsonl", tokenizer, skip_invalid=True).left_out == {"malformed": 1}


def test_a_text_is_cut_into_pieces_and_none_of_it_is_lost(work: Path, tokenizer: ChatTokenizer) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 40
    path = write(work / "train.jsonl", [{"text": text}])
    found = read(path, tokenizer, stage="pretrain", max_seq_length=50)
    joined = [token for row in found.rendered for token in row.tokens]
    assert tokenizer.hf.decode(joined) == text + tokenizer.hf.eos_token
    assert all(len(row.tokens) <= 50 and row.trained == ((1, len(row.tokens)),) for row in found.rendered)


def test_preferences_stay_as_they_stand(work: Path, tokenizer: ChatTokenizer) -> None:
    row = {
        "prompt": [{"role": "user", "content": "The lazy dog."}],
        "chosen": [{"role": "assistant", "content": "dog"}],
        "rejected": [{"role": "assistant", "content": "The lazy dog indeed."}],
    }
    found = read(write(work / "train.jsonl", [row]), tokenizer, stage="dpo")
    assert found.preferences == [row] and not found.rendered and len(found) == 1
    with pytest.raises(UsageError, match="line 1: `rejected` is no list"):
        read(write(work / "train.jsonl", [{**row, "rejected": "x"}]), tokenizer, stage="dpo")


def test_a_filter_takes_rows_by_what_is_known_of_them(work: Path, tokenizer: ChatTokenizer) -> None:
    path = write(work / "train.jsonl", [chat(f"text {n}", f"answer {n}") for n in range(6)])
    with pytest.raises(UsageError, match=r"train\.meta\.jsonl is missing"):
        read(path, tokenizer, where=RowFilter(domain=("code",)))
    write(work / "train.meta.jsonl", [{"domain": "code" if n % 2 else "prose", "category": f"c{n}"} for n in range(6)])
    found = read(path, tokenizer, where=RowFilter(domain=("code",), category=("c1", "c2", "c3")))
    assert [answer(row, tokenizer) for row in found.rendered] == ["answer 1", "answer 3"]
    assert found.left_out == {"not of this stage": 4}
    write(work / "train.meta.jsonl", [{}])
    with pytest.raises(UsageError, match="line for line"):
        read(path, tokenizer, where=RowFilter(domain=("code",)))


def test_a_share_is_the_same_rows_each_time(work: Path, tokenizer: ChatTokenizer) -> None:
    path = write(work / "train.jsonl", [chat(f"text {n}", f"answer {n}") for n in range(200)])
    first, again = (read(path, tokenizer, where=RowFilter(share=0.25)) for _ in range(2))
    assert first.rendered == again.rendered
    assert 30 <= len(first) <= 70
    assert len(first) + first.left_out["not of this share"] == 200


def test_the_prompt_that_all_rows_share_is_kept(work: Path, tokenizer: ChatTokenizer) -> None:
    rows = [chat("alpha one", "a"), chat("beta two", "b"), chat("gamma", "c")]
    assert read(write(work / "train.jsonl", rows), tokenizer).prompt() == {
        "system": "Make it short.",
        "prefix": "Compress:\n",
    }
    rows[2]["messages"][1]["content"] = "Other"
    assert read(write(work / "train.jsonl", rows), tokenizer).prompt()["prefix"] is None


def answer(rendered: Any, tokenizer: ChatTokenizer) -> str:
    ((start, end),) = rendered.trained
    return str(tokenizer.hf.decode(rendered.tokens[start:end])).removesuffix("<|im_end|>\n")
