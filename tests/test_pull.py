from __future__ import annotations

import csv
import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Scc

from compressor_cli.core import staging
from compressor_cli.core.files import sha256_file
from compressor_cli.errors import SccError, UsageError
from compressor_cli.settings import PullSettings
from compressor_cli.stages.pull import materialize_hf_chat_dataset, parse_split_words, pull

datasets = pytest.importorskip("datasets")

Row = dict[str, Any]


def chat(text: str = "q", **message: Any) -> Row:
    return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "a", **message}]}


def jsonl(path: Path, rows: Iterable[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def rows_of(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def collected() -> Iterator[None]:
    """The readers of `datasets` leave the files of a table that they did not finish to the garbage collector."""
    yield
    gc.collect()


LEFT_OPEN = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def three(work: Path) -> Path:
    """A folder with the splits train, validation and test."""
    for split, count in (("train", 4), ("validation", 2), ("test", 1)):
        jsonl(work / "three" / f"{split}.jsonl", [chat(f"{split} {n}") for n in range(count)])
    return work / "three"


def run_pull(dataset: Path | str, output: str = "sft", *, force: bool = False, **settings: Any) -> dict[str, int]:
    return pull(PullSettings(dataset=str(dataset), output=Path(output), **settings), force=force).rows


# --- what is read -----------------------------------------------------------------------------------------------


def test_three_splits(three: Path, work: Path, scc: Scc) -> None:
    result = scc("data", "pull", "--dataset", "three", "--output", "new/sft")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ("new/sft/train.jsonl  4 rows\nnew/sft/valid.jsonl  2 rows\nnew/sft/test.jsonl  1 rows\n")
    assert result.stderr == ""
    assert sorted(os.listdir("new/sft")) == ["manifest.json", "test.jsonl", "train.jsonl", "valid.jsonl"]
    assert (work / "new/sft/valid.jsonl").read_bytes() == (three / "validation.jsonl").read_bytes()


def test_manifest(three: Path, work: Path) -> None:
    run_pull(three)
    manifest = json.loads((work / "sft/manifest.json").read_text())
    assert manifest["dataset"] == str(three)
    assert manifest["revision"] is None
    assert manifest["split"] == {"train": "train", "validation": "valid", "test": "test"}
    assert manifest["versions"]["datasets"] == datasets.__version__
    assert manifest["versions"].keys() == {"compressor_cli", "datasets", "python"}
    assert re.fullmatch("[0-9a-f]{32}", manifest["fingerprint"])
    for name, file in manifest["files"].items():
        assert file["sha256"] == sha256_file(work / "sft" / name)
        assert file["rows"] == len(rows_of(work / "sft" / name))


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "csv", "arrays.parquet", "jsonl.gz"])
def test_a_single_file_has_the_split_train(kind: str, work: Path) -> None:
    rows = [chat("ein “Wort”\u2028\nzwei"), chat("2", name="n"), chat('{"a": 1}')]
    path = work / f"rows.{kind}"
    as_text = [{"messages": json.dumps(row["messages"])} for row in rows]
    if kind == "json":
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    elif kind == "parquet":
        datasets.Dataset.from_list(as_text).to_parquet(path)
    elif kind == "arrays.parquet":
        datasets.Dataset.from_list(rows).to_parquet(path)
    elif kind == "csv":
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, ["messages"])
            writer.writeheader()
            writer.writerows(as_text)
    else:
        jsonl(path, rows)
        if kind == "jsonl.gz":
            import gzip

            path.write_bytes(gzip.compress(path.read_bytes()))
    assert run_pull(path) == {"train.jsonl": 3}
    assert rows_of(work / "sft/train.jsonl") == rows


def test_splits_named_in_a_readme(work: Path) -> None:
    jsonl(work / "d/a.jsonl", [chat()])
    jsonl(work / "d/b.jsonl", [chat(), chat()])
    jsonl(work / "d/unused.jsonl", ["no json"])
    (work / "d/README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - {split: dev, path: a.jsonl}\n  - {split: train, path: b.jsonl}\n---\n"
    )
    assert run_pull("d") == {"valid.jsonl": 1, "train.jsonl": 2}


def test_rows_of_mixed_shape_stay_as_they_are(work: Path) -> None:
    """The JSON loader of `datasets` would give every message all keys, and decode the text that is JSON itself."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 0.1234567890123456}'}}
    rows = [
        chat('{"a": 1}') | {"id": 1, "domain": "code"},
        {
            "messages": [
                {"role": "developer", "content": "d"},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "content": "42", "tool_call_id": "1", "name": None},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"default": None, "n": 1.0}}}],
            "id": "two",
        },
        chat("\ud800", weight=0) | {"tools": []},
    ]
    jsonl(work / "mixed.jsonl", [json.dumps(row) for row in rows])
    events: list[Mapping[str, Any]] = []
    summary = pull(PullSettings(dataset="mixed.jsonl", output=Path("sft")), on_event=events.append)
    written = rows_of(work / "sft/train.jsonl")
    assert written[0] == chat('{"a": 1}')
    assert written[1]["messages"][1] == {"role": "assistant", "content": "", "tool_calls": [call]}
    assert written[1]["messages"][2] == {"role": "tool", "content": "42", "tool_call_id": "1"}
    assert written[1]["tools"] == rows[1]["tools"]
    assert written[2] == chat("\ud800")
    assert rows_of(work / "sft/train.meta.jsonl") == [{"id": 1, "domain": "code"}, {"id": "two"}, {}]
    assert summary.rows == {"train.jsonl": 3}
    assert summary.as_dict()["left_out"] == {"train": {"messages[].weight": 1}}
    assert any("messages[].weight (1 rows)" in event.get("message", "") for event in events)
    assert {"done": 3, "total": None} in events


def test_a_typed_column_loses_the_keys_it_made_up(work: Path) -> None:
    rows = [chat("1") | {"tools": [{"name": "f", "x": {"y": 1}}, {"name": "g"}]}, chat("2", name="n")]
    datasets.Dataset.from_list(rows).to_parquet(work / "typed.parquet")
    assert run_pull("typed.parquet") == {"train.jsonl": 2}
    assert rows_of(work / "sft/train.jsonl") == rows


def test_a_pulled_folder_can_be_pulled_again(work: Path) -> None:
    jsonl(work / "rows.jsonl", [chat() | {"id": 1}])
    run_pull("rows.jsonl", split={"train": "mine"})
    assert run_pull("sft", "again") == {"train.jsonl": 1}
    with pytest.raises(UsageError, match="is read by this pull"):
        run_pull("sft", "sft", split={"train": "mine"}, force=True)


def test_names_that_are_patterns(work: Path) -> None:
    jsonl(work / "a[1]*.jsonl", [chat()])
    assert run_pull("a[1]*.jsonl") == {"train.jsonl": 1}
    jsonl(work / "d[1]/train.jsonl", [chat()])
    with pytest.raises(UsageError, match="as a pattern; rename it"):
        run_pull("d[1]")


def test_materialize(three: Path, work: Path) -> None:
    assert materialize_hf_chat_dataset(str(three), work / "out") == {
        "train.jsonl": 4,
        "valid.jsonl": 2,
        "test.jsonl": 1,
    }
    (work / "out/train.jsonl").write_text("edited")
    assert materialize_hf_chat_dataset(str(three), str(work / "out"), split_map={"test": "t"}) == {"t.jsonl": 1}
    assert sorted(os.listdir("out")) == ["manifest.json", "t.jsonl"]
    (work / "out/t.jsonl").write_text("edited")
    with pytest.raises(UsageError, match="was edited"):
        materialize_hf_chat_dataset(str(three), work / "out", split_map={"test": "t"}, force=False)


# --- malformed rows ---------------------------------------------------------------------------------------------

MALFORMED = [
    ({}, "no `messages`; its keys are none"),
    ({"text": "x"}, "no `messages`; its keys are text"),
    ({"messages": []}, "`messages` is empty"),
    ({"messages": {"role": "user"}}, "`messages` is an object, not a list"),
    ({"messages": "hello"}, "`messages` is text, and not JSON: 'hello'"),
    ({"messages": ["hello"]}, "messages[0] is text, not an object"),
    ({"messages": [{"content": "x"}]}, "messages[0] has no `role`; its keys are content"),
    ({"messages": [{"role": "bot", "content": "x"}]}, "messages[0].role is 'bot'; known roles: system, user"),
    ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role is ['user']; known roles"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content is a number, not text"),
    ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content is a list, not text"),
    ({"messages": [{"role": "assistant", "content": None}]}, "messages[0] has no `content`"),
    (chat(tool_calls="x"), "messages[1].tool_calls is not a list of objects"),
    (chat(name=3), "messages[1].name is a number, not text"),
    (chat() | {"tools": ["f"]}, "`tools` is not a list of objects"),
    ('{"messages": [{"role": "assistant", "tool_calls": [{"x": NaN}]}]}', "the number NaN has no place in JSON"),
    ("[1]", "a JSON object is needed, this is list"),
    ("{'messages': []}", "not JSON (Expecting property name enclosed in double quotes at column 2)"),
]


@pytest.mark.parametrize(("row", "message"), MALFORMED)
def test_a_malformed_row(row: Any, message: str, work: Path, scc: Scc) -> None:
    jsonl(work / "d/train.jsonl", [chat()])
    jsonl(work / "d/test.jsonl", [chat("42"), "", row, chat()])
    result = scc("data", "pull", "--dataset", "d", "--output", "sft")
    assert (result.exit_code, result.stdout) == (1, "")
    error, hint = result.stderr.splitlines()
    assert error.startswith("error: split 'test', row 1 (the first is 0; test.jsonl, line 3): " + message)
    assert hint == "hint: --skip-invalid goes on without such rows"
    assert not (work / "sft").exists()


@LEFT_OPEN
@pytest.mark.usefixtures("collected")
def test_a_malformed_row_of_a_table(work: Path) -> None:
    datasets.Dataset.from_list([{"messages": json.dumps(chat()["messages"])}, {"messages": "x"}]).to_csv("t.csv")
    with pytest.raises(SccError, match=re.escape("split 'train', row 1 (the first is 0): `messages` is text, and")):
        run_pull("t.csv")


def test_a_failed_pull_leaves_the_earlier_one(three: Path, work: Path, scc: Scc) -> None:
    run_pull(three)
    before = contents(work / "sft")
    jsonl(three / "train.jsonl", [chat("new")])
    jsonl(three / "test.jsonl", [chat("new"), {"messages": []}])
    result = scc("data", "pull", "--dataset", "three", "--output", "sft", "--force")
    assert result.exit_code == 1
    assert contents(work / "sft") == before
    jsonl(three / "test.jsonl", [chat("new")])
    assert run_pull(three) == {"train.jsonl": 1, "valid.jsonl": 2, "test.jsonl": 1}


def test_skip_invalid(work: Path, scc: Scc) -> None:
    bad = {"messages": [{"role": "bot", "content": "x"}]}
    jsonl(work / "rows.jsonl", [chat("1"), bad, "nonsense", bad, chat("2") | {"id": 7}, chat(name=3)])
    words = ("data", "pull", "--dataset", "rows.jsonl", "--output", "sft")
    result = scc(*words, "--skip-invalid", "--json")
    assert result.exit_code == 3
    assert result.stderr == (
        "error: 4 malformed rows were skipped"
        " (train: 2 x unknown role, 1 x the line is not a JSON object, 1 x `name` is not text)\n"
    )
    told = json.loads(result.stdout)
    assert told["skipped"] == json.loads((work / "sft/manifest.json").read_text())["skipped"]
    assert told["skipped"]["train"]["unknown role"] == 2
    assert rows_of(work / "sft/train.jsonl") == [chat("1"), chat("2")]
    assert rows_of(work / "sft/train.meta.jsonl") == [{}, {"id": 7}]

    again = scc(*words, "--skip-invalid", "--json")
    assert (again.exit_code, json.loads(again.stdout)["unchanged"]) == (3, True)
    assert scc(*words).exit_code == 1
    assert len(rows_of(work / "sft/train.jsonl")) == 2


def test_nothing_valid_is_no_pull(work: Path) -> None:
    jsonl(work / "rows.jsonl", ["nonsense"])
    with pytest.raises(SccError, match="has no row to write; 1 were read: the line is not a JSON object"):
        run_pull("rows.jsonl", skip_invalid=True)
    (work / "empty.jsonl").write_text("")
    with pytest.raises(SccError, match="has no row to write; 0 were read"):
        run_pull("empty.jsonl")
    assert not (work / "sft").exists()


UNREADABLE = [
    ("latin.jsonl", b'{"a": 1}\n{"a": "\xe9"}\n', "row|line 2: not UTF-8"),
    ("list.json", b'[{"messages": []},', "list.json: not JSON"),
    ("values.json", b"[1, 2]", "row 0 .*the row is not an object"),
    ("torn.parquet", b"PAR1nonsense", "dataset 'torn.parquet': "),
    ("torn.csv", b'messages\n"a\n', "dataset 'torn.csv': |row 0"),
    ("torn.jsonl.gz", b"\x1f\x8bnonsense", "dataset 'torn.jsonl.gz': "),
]


@LEFT_OPEN
@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize(("name", "data", "message"), UNREADABLE)
def test_unreadable_files_are_one_line(name: str, data: bytes, message: str, work: Path, scc: Scc) -> None:
    (work / name).write_bytes(data)
    result = scc("data", "pull", "--dataset", name)
    lines = [line for line in result.stderr.splitlines() if not line.startswith("hint")]
    assert result.exit_code == 1
    assert len(lines) == 1 and re.search(message, lines[0]), lines
    assert not (work / "data").exists()


# --- usage ------------------------------------------------------------------------------------------------------

USAGE = [
    (["--dataset", "./none"], "no such file or folder: ./none"),
    (["--dataset", "/none/at/all"], "no such file or folder: /none/at/all"),
    (["--dataset", "rows.parquet"], "no such file or folder: rows.parquet"),
    (["--dataset", "a/b/c"], "no such file or folder: a/b/c"),
    (["--dataset", ""], "--dataset is empty"),
    (["--dataset", "three", "--revision", "main"], "--revision is for a dataset on the hub"),
    (["--dataset", "notes.docx"], "notes.docx: not a JSONL, JSON, parquet, CSV or TSV file"),
    (["--dataset", "three", "--split", "train"], "--split train: SOURCE=TARGET is needed"),
    (["--dataset", "three", "--split", "=train"], "--split =train: SOURCE=TARGET is needed"),
    (["--dataset", "three", "--split", "train=../x"], "--split train=../x: the target is a plain name"),
    (["--dataset", "three", "--split", "train=a.jsonl"], "--split train=a.jsonl: the target is a plain name"),
    (["--dataset", "three", "--split", "train=a", "--split", "test=A"], "'train' and 'test' would both become A.jsonl"),
    (["--dataset", "three", "--split", "train=a", "--split", "train=b"], "the split 'train' is named twice"),
    (["--dataset", "three", "--split", "dev=a"], "has no split 'dev'; it has: train, validation, test"),
    (["--dataset", "three", "--output", "notes.docx"], "notes.docx is not a folder"),
    (["--dataset", "three", "--output", "notes.docx/x"], "notes.docx/x is not a folder"),
    (["--config", "none.yaml"], "--config none.yaml: No such file"),
]


@pytest.mark.parametrize(("args", "message"), USAGE)
def test_usage(args: list[str], message: str, three: Path, work: Path, scc: Scc) -> None:
    (work / "notes.docx").write_text("x")
    result = scc("data", "pull", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[0].startswith("error: ")
    assert message in result.stderr
    assert sorted(os.listdir()) == ["notes.docx", "three"]


def test_a_folder_without_data(work: Path, scc: Scc) -> None:
    (work / "d").mkdir()
    result = scc("data", "pull", "--dataset", "d")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: dataset 'd': ")


def test_splits_that_have_no_place(work: Path) -> None:
    jsonl(work / "d/data/part-00000-of-00001.jsonl", [chat()])
    (work / "d/README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: all, path: data/*.jsonl}\n---\n"
    )
    with pytest.raises(UsageError, match="has none of the splits train, validation, test; it has: all") as caught:
        run_pull("d")
    assert caught.value.hint == "say which become which file: --split SOURCE=TARGET"
    assert run_pull("d", split={"all": "train"}) == {"train.jsonl": 1}


def test_splits_beyond_the_three_are_named(work: Path, scc: Scc) -> None:
    for split in ("train", "extra"):
        jsonl(work / f"d/{split}.jsonl", [chat()])
    (work / "d/README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - {split: train, path: train.jsonl}\n  - {split: extra, path: extra.jsonl}\n---\n"
    )
    result = scc("data", "pull", "--dataset", "d", "--output", "sft")
    assert (result.exit_code, result.stdout) == (0, "sft/train.jsonl  1 rows\n")
    assert result.stderr == "splits left out: extra (--split SOURCE=TARGET takes them)\n"


def test_settings_from_a_file(three: Path, work: Path, scc: Scc) -> None:
    (work / "c.yaml").write_text("pull: {dataset: three, output: there, split: {test: probe}}\n")
    assert scc("data", "pull", "--config", "c.yaml").exit_code == 0
    assert sorted(os.listdir("there")) == ["manifest.json", "probe.jsonl"]


def test_without_the_extra(three: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    result = scc("data", "pull", "--dataset", "three")
    assert result.exit_code == 2
    assert "-m pip install 'compressor-cli[data]'" in result.stderr


def test_split_words() -> None:
    assert parse_split_words(None) is None
    assert parse_split_words(["a=b", "c=d"]) == {"a": "b", "c": "d"}


# --- what is there already --------------------------------------------------------------------------------------


def test_again_does_nothing_and_says_so(three: Path, work: Path, scc: Scc) -> None:
    words = ("data", "pull", "--dataset", "three", "--output", "sft")
    first = json.loads(scc(*words, "--json").stdout)
    before = {path: path.stat().st_mtime_ns for path in (work / "sft").iterdir()}
    again = scc(*words)
    assert again.exit_code == 0
    assert "sft already holds three; nothing was done (--force pulls it again)" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in (work / "sft").iterdir()} == before
    told = json.loads(scc(*words, "--json").stdout)
    assert (first.pop("unchanged"), told.pop("unchanged")) == (False, True)
    assert first == told
    assert told["files"]["valid.jsonl"]["path"] == "sft/valid.jsonl"
    assert json.loads(scc(*words, "--json", "--force").stdout)["unchanged"] is False


def test_a_changed_source_is_pulled_anew(three: Path, work: Path) -> None:
    run_pull(three)
    stat = (three / "test.jsonl").stat()
    jsonl(three / "test.jsonl", [chat("tset 0")])
    os.utime(three / "test.jsonl", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    run_pull(three)
    assert rows_of(work / "sft/test.jsonl") == [chat("tset 0")]


def test_a_removed_file_comes_back(three: Path, work: Path) -> None:
    run_pull(three)
    (work / "sft/test.jsonl").unlink()
    run_pull(three)
    assert len(rows_of(work / "sft/test.jsonl")) == 1


def test_an_edited_file_is_kept(three: Path, work: Path, scc: Scc) -> None:
    run_pull(three)
    (work / "sft/train.jsonl").write_text("by hand\n")
    before = contents(work / "sft")
    words = ("data", "pull", "--dataset", "three", "--output", "sft")
    result = scc(*words)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[0] == "error: sft/train.jsonl was edited since it was pulled"
    assert "--force" in result.stderr.splitlines()[1]
    assert contents(work / "sft") == before
    assert scc(*words, "--force").exit_code == 0
    assert len(rows_of(work / "sft/train.jsonl")) == 4


def test_a_file_edited_while_the_pull_runs_is_kept(three: Path, work: Path) -> None:
    run_pull(three)
    jsonl(three / "test.jsonl", [chat("new")])

    def edit(event: object) -> None:
        (work / "sft/train.jsonl").write_text("by hand\n")

    with pytest.raises(UsageError, match="was edited"):
        pull(PullSettings(dataset=str(three), output=Path("sft")), on_event=edit)
    assert rows_of(work / "sft/test.jsonl") == [chat("test 0")]


@pytest.mark.parametrize("name", ["valid.jsonl", "manifest.json"])
def test_a_foreign_file_is_kept(name: str, three: Path, work: Path) -> None:
    (work / "sft").mkdir()
    (work / "sft" / name).write_text('{"files": {"../../x.jsonl": {}}}')
    (work / "sft/notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=f"sft/{name} is there already, and no pull wrote it"):
        run_pull(three)
    assert sorted(os.listdir("sft")) == sorted([name, "notes.txt"])
    run_pull(three, force=True)
    assert (work / "sft/notes.txt").read_text() == "mine"


def test_files_that_would_be_left_over(three: Path, work: Path) -> None:
    run_pull(three)
    before = contents(work / "sft")
    with pytest.raises(
        UsageError, match=r"valid\.jsonl, test\.jsonl in sft, from the earlier pull of .* would be removed"
    ):
        run_pull(three, split={"train": "train"})
    assert contents(work / "sft") == before
    run_pull(three, split={"train": "train"}, force=True)
    assert sorted(os.listdir("sft")) == ["manifest.json", "train.jsonl"]


def test_a_manifest_that_leads_elsewhere_removes_nothing(three: Path, work: Path) -> None:
    run_pull(three)
    jsonl(work / "mine.jsonl", [chat()])
    manifest = json.loads((work / "sft/manifest.json").read_text())
    manifest["files"]["../mine.jsonl"] = {"rows": 1, "sha256": "x"}
    (work / "sft/manifest.json").write_text(json.dumps(manifest))
    run_pull(three, force=True)
    assert (work / "mine.jsonl").exists()


def test_two_pulls_at_once(three: Path, work: Path) -> None:
    with staging.staging(work / "sft"), pytest.raises(UsageError, match="sft is being written by another process"):
        run_pull(three)
    assert run_pull(three)


def test_a_move_that_was_cut_off_is_finished(three: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a power cut: one file is in place, the others and the manifest are still staged."""
    run_pull(three)
    for split in ("train", "validation", "test"):
        jsonl(three / f"{split}.jsonl", [chat("new")])
    replace = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if self.name == "valid.jsonl" and self.parent.name == staging.STAGE:
            raise OSError(5, "Input/output error")
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", failing)
        with pytest.raises(OSError, match="Input/output"):
            run_pull(three)
    assert (work / "sft" / staging.STAGE).exists()
    events: list[Any] = []
    summary = pull(PullSettings(dataset=str(three), output=Path("sft")), on_event=events.append)
    assert summary.unchanged
    assert "was cut off while moving its files was finished" in events[0]["message"]
    assert all(rows_of(work / "sft" / name) == [chat("new")] for name in summary.rows)
    assert not (work / "sft" / staging.STAGE).exists()


def test_what_a_killed_pull_left_is_cleared(three: Path, work: Path) -> None:
    jsonl(work / "sft" / staging.STAGE / "train.jsonl", ["half"])
    run_pull(three)
    assert sorted(os.listdir("sft")) == ["manifest.json", "test.jsonl", "train.jsonl", "valid.jsonl"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(number: int, code: int, three: Path, work: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    run_pull(three)
    before = contents(work / "sft")
    jsonl(three / "train.jsonl", (chat(f"{n} " + "x" * 300) for n in range(150_000)))
    command = [sys.executable, "-m", "compressor_cli", "data", "pull", "--dataset", "three", "--output", "sft"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    processes.append(process)
    staged = work / "sft" / staging.STAGE
    until = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until:
        if staged.exists() and any(path.stat().st_size > 1_000_000 for path in staged.iterdir()):
            process.send_signal(number)
            break
        time.sleep(0.01)
    assert process.wait(30) == code
    assert process.stderr is not None and b"Traceback" not in process.stderr.read()
    assert contents(work / "sft") == before


# --- memory -----------------------------------------------------------------------------------------------------


def peak_of_pull(work: Path, rows: int) -> float:
    """Megabytes at most in a child that pulls so many rows with --streaming."""
    with (work / "big.jsonl").open("w", encoding="utf-8") as handle:
        for number in range(rows):
            handle.write(json.dumps(chat(f"question {number} " + "words " * 20) | {"id": number}) + "\n")
    command = [
        sys.executable,
        "-m",
        "compressor_cli",
        "data",
        "pull",
        "--dataset",
        "big.jsonl",
        "--streaming",
        "--json",
    ]
    code = (
        "import json, resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True, check=True)\n"
        "told = json.loads(done.stdout)['files']['train.jsonl']['rows']\n"
        "print(told, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, check=True, text=True)
    told, peak = map(int, done.stdout.split())
    assert told == rows
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


@pytest.mark.slow
def test_streaming_in_little_memory(work: Path) -> None:
    assert peak_of_pull(work, 60_000) < 450


@pytest.mark.slow
def test_a_million_rows_in_500_megabytes(work: Path) -> None:
    assert peak_of_pull(work, 1_000_000) < 500
