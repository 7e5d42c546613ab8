"""Texts of a folder, and question sets: all of it is taken, left out for a reason, or told as failed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from compressor_cli.core.folders import gather
from compressor_cli.core.questions import Question, read_questions
from compressor_cli.errors import UsageError


def test_every_file_is_taken_or_counted(work: Path) -> None:
    files = {
        "b.txt": b"two", "a/one.md": b"\xef\xbb\xbfone", ".git/config": b"x", "a/.env": b"x", "empty": b" \n",
        "latin": "naïve".encode("latin-1"), "image": b"\x89\0", "large": b"x" * 101, "exact": b"x" * 100,
    }  # fmt: skip
    for name, data in files.items():
        path = work / "f" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    os.mkfifo(work / "f" / "pipe")
    (work / "f" / "loop").symlink_to(work / "f", target_is_directory=True)
    found = gather([Path("f")], max_bytes=100)
    assert [(file.name, file.text) for file in found.files] == [
        ("f/b.txt", "two"), ("f/exact", "x" * 100), ("f/a/one.md", "one"),
    ]  # fmt: skip
    assert found.left_out == {
        "binary or not UTF-8": 2, "empty": 1, "hidden": 2, "no regular file": 1, "over 100 bytes": 1,
    }  # fmt: skip
    assert found.failed == ()


def test_a_file_counts_once_and_a_hidden_one_where_it_is_named(work: Path) -> None:
    (work / "f").mkdir()
    (work / "f" / "a.txt").write_text("a")
    (work / "f" / ".b.txt").write_text("b")
    (work / "f" / "out.jsonl").write_text("{}")
    paths = [Path("f/a.txt"), Path("f"), Path("f/.b.txt"), Path("f/../f/a.txt")]
    found = gather(paths, max_bytes=100, but_not=Path("f/out.jsonl"))
    assert [file.name for file in found.files] == ["f/a.txt", "f/.b.txt"]
    with pytest.raises(UsageError, match="no such file or folder: gone"):
        gather([Path("f"), Path("gone")], max_bytes=100)


def test_a_name_that_is_no_utf8_can_be_printed(work: Path) -> None:
    (work / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    assert [file.name for file in gather([Path(".")], max_bytes=100).files] == ["caf\\xe9.txt"]


# --- question sets

TEXT = "The bridge at Oakham was finished in 1931. Helena Marsh directed the work."


def test_squad_json(work: Path) -> None:
    asked = [
        {"question": "When?", "answers": [{"text": "1931"}, {"text": "1931"}, {"text": "in 1932"}]},
        {"question": "Who?", "answers": [{"text": "Ada"}]},
        {"question": "Impossible?", "answers": []},
    ]
    paragraphs = [{"context": TEXT, "qas": asked}, {"qas": []}, {"context": "Nothing here.", "qas": asked}]
    path = work / "set.json"
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}, "no article"]}, indent=1))
    found = read_questions(path)
    assert [(p.name, p.text, p.questions) for p in found.passages] == [
        ("article 1, paragraph 1", TEXT, (Question("When?", ("1931",)),))
    ]
    assert found.unanswerable == 5
    assert [name for name, _ in found.failed] == [f"{path}, article 1, paragraph 2", f"{path}, article 2, paragraph 1"]


def test_jsonl_and_equal_texts_in_one_passage(work: Path) -> None:
    rows = [
        {"text": TEXT, "answers": ["Helena Marsh", "the bridge"]},
        {"text": TEXT, "questions": [{"question": "When?", "answers": ["1931", {"text": "Oakham"}]}]},
        {"text": TEXT},
        {"text": "", "answers": ["x"]},
        {"text": TEXT, "questions": [{"question": "When?"}]},
        {"text": TEXT, "answers": [5]},
    ]
    path = work / "set.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n[]\n")
    found = read_questions(path)
    (passage,) = found.passages
    assert passage.name == "line 1"
    assert passage.questions == (
        Question(None, ("Helena Marsh",)), Question(None, ("the bridge",)), Question("When?", ("1931", "Oakham")),
    )  # fmt: skip
    assert [(name.rpartition(" ")[2], error) for name, error in found.failed] == [
        ("3", "neither questions nor answers"),
        ("4", "no text"),
        ("5", "a question without a list of answers"),
        ("6", "an answer that is no text"),
        ("7", "a JSON object is needed, this is list"),
    ]


@pytest.mark.parametrize("content", ["", "hello", '{"data": []}', json.dumps({"text": TEXT, "answers": ["Ada"]})])
def test_a_file_without_questions(content: str, work: Path) -> None:
    (work / "set").write_text(content)
    with pytest.raises(UsageError, match="has no questions"):
        read_questions(work / "set")
