"""`scc data corpus`: from files to rows, with what is left out told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import Scc

from compressor_cli.core.duplicates import Duplicates

SECRET = "ghp_" + "a8Kd02mXq7Lw5Rt9Zy3Bn6Vc1Hj4Gf0Ps2Qe"
OTHER = "hunter2" + "!x9Q"


def sentence(n: int) -> str:
    """Ten words that no other has."""
    return "Quay " + " ".join(f"{name}{n}" for name in "red blue green north south east west high low".split()) + "."


def paragraphs(first: int, last: int) -> str:
    return "\n\n".join(" ".join(sentence(10 * n + i) for i in range(3)) for n in range(first, last)) + "\n"


FUNCTION = (
    "def depth_{0}(quay):\n    total_{0} = quay.read_{0}()\n"
    "    for ship_{0} in quay.ships_{0}:\n        total_{0} -= ship_{0}.draught\n"
    "    return total_{0}\n"
)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def tree(work: Path) -> Path:
    """A folder with one of each."""
    root = work / "port"
    files = {
        "LICENSE": "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and",
        "README.md": "---\ntitle: Quays\nlicense: CC-BY-4.0\n---\n# Quays\n\n" + paragraphs(0, 2),
        "notes.txt": paragraphs(2, 3),
        "src/a.py": FUNCTION.format("a") + "\n\n" + FUNCTION.format("b"),
        "src/spdx.go": (
            "// SPDX-License-Identifier: Apache-2.0\npackage a\n\nfunc F(a int) int {\n"
            "\tb := a * 2\n\treturn b + 1\n}\n"
        ),
        "src/node_modules/x.js": "x\n",
        "src/.hidden.py": FUNCTION.format("h"),
        "tests/test_a.py": FUNCTION.format("t"),
        "ignored/a.md": paragraphs(5, 6),
        ".gitignore": "ignored/\n*.log.md\n",
        "x.log.md": paragraphs(6, 7),
        "data.yaml": "a: 1\n",
        "empty.md": "\n",
        "latin.md": "",
        "chat.jsonl": json.dumps({"messages": [{"role": "user", "content": paragraphs(7, 8)}], "license": "MIT-0"})
        + "\n"
        + json.dumps({"text": "no chat"})
        + "\nno json\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "latin.md").write_bytes(b"caf\xe9\n")
    return root


def corpus(scc: Scc, *args: str | Path, code: int = 0) -> dict[str, Any]:
    run = scc("data", "corpus", *args, "--min-tokens", "20", "--json")
    assert run.exit_code == code, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_rows_and_what_is_left_out(scc: Scc, tree: Path, work: Path) -> None:
    summary = corpus(scc, "port", "--output", "corpus.jsonl")
    found = rows(work / "corpus.jsonl")
    assert [(row["source"], row["line"], row["domain"], row["language"], row["licence"]) for row in found] == [
        ("port/README.md", 5, "prose", None, "CC-BY-4.0"),
        ("port/chat.jsonl", 1, "chat", None, "MIT-0"),
        ("port/notes.txt", 1, "prose", None, "MIT"),
        ("port/src/a.py", 1, "code", "python", "MIT"),
        ("port/src/a.py", 8, "code", "python", "MIT"),
        ("port/src/spdx.go", 4, "code", "go", "Apache-2.0"),
    ]
    assert found[0]["title"] == "Quays" and found[0]["text"].startswith("# Quays\n\nQuay red0")
    assert all(row["key"] == row["id"] and row["redacted"] == {} for row in found)
    assert summary["left_out"] == {
        "hidden": 2, "ignored by git": 2, "licence": 1, "other format": 1, "empty": 1, "binary or not UTF-8": 1,
        "installed packages": 1, "test code": 1,
    }  # fmt: skip
    assert summary["dropped"] == {"malformed row: no `messages`": 1, "malformed row: not a JSON object": 1}
    assert (summary["files"], summary["read"], summary["pending"], summary["failed"]) == (15, 5, 0, {})
    assert (summary["rows"], summary["domains"]) == (6, {"prose": 2, "chat": 1, "code": 3})
    assert summary["tokens"] == sum(row["tokens"] for row in found)
    listed = rows(work / "corpus.files.jsonl")
    assert (
        len(listed) == 15 and Counter(row.get("left_out") for row in listed if "left_out" in row) == summary["left_out"]
    )
    assert [(row["line"], row["reason"]) for row in rows(work / "corpus.dropped.jsonl")] == [
        (2, "malformed row: no `messages`"),
        (3, "malformed row: not a JSON object"),
    ]


def test_rows_are_the_same_wherever_the_folder_lies(scc: Scc, tree: Path, work: Path) -> None:
    corpus(scc, "port", "--output", "one.jsonl")
    (work / "deep").mkdir()
    tree.rename(work / "deep" / "port")
    corpus(scc, work / "deep" / "port", "--output", "two.jsonl")
    assert (work / "one.jsonl").read_bytes() == (work / "two.jsonl").read_bytes()


def test_what_is_named_itself_is_taken_and_each_file_once(scc: Scc, tree: Path, work: Path) -> None:
    summary = corpus(
        scc, "port/x.log.md", "port/ignored", "port/src/.hidden.py", "port/x.log.md", "--output", "c.jsonl"
    )
    assert [row["source"] for row in rows(work / "c.jsonl")] == ["x.log.md", "ignored/a.md", ".hidden.py"]
    assert summary["files"] == 3


def test_equal_names_are_told_apart(scc: Scc, work: Path) -> None:
    for n, folder in enumerate(("one/docs", "two/docs")):
        (work / folder).mkdir(parents=True)
        (work / folder / "a.md").write_text(paragraphs(n, n + 1))
    corpus(scc, "one/docs", "two/docs", "--output", "c.jsonl")
    assert [row["source"] for row in rows(work / "c.jsonl")] == ["docs/a.md", "docs/a.md#2"]


def test_names_that_masks_make_equal_are_told_apart(scc: Scc, work: Path) -> None:
    for name in ("dana", "owen"):
        (work / f"{name}@example.org.md").write_text(paragraphs(0, 1))
    files = ("dana@example.org.md", "owen@example.org.md")
    summary = corpus(scc, *files, "--output", "c.jsonl", "--redact", "pii")
    assert summary["rows"] == 1 and summary["dropped"] == {"duplicate": 1}
    listed = rows(work / "c.files.jsonl")
    assert [row["source"] for row in listed] == ["[REDACTED:email]", "[REDACTED:email]#2"]


def test_the_output_is_no_source(scc: Scc, tree: Path) -> None:
    first = corpus(scc, "port", "--output", "port/out.jsonl")
    again = corpus(scc, "port", "--output", "port/out.jsonl", "--resume")
    assert again == first | {"already_there": 6}


def test_duplicates(scc: Scc, work: Path) -> None:
    text = paragraphs(0, 3)
    (work / "a.md").write_text(text)
    (work / "b.md").write_text(text.replace("\n\n", "  \n\n\n").upper())
    (work / "c.md").write_text(text.replace("green1.", "grey1."))
    (work / "d.md").write_text(text.replace("blue11", "grey"))
    (work / "e.md").write_text(paragraphs(2, 5))
    files = [f"{name}.md" for name in "abcde"]
    summary = corpus(scc, *files, "--output", "c.jsonl")
    assert summary["dropped"] == {"duplicate": 2, "near-duplicate": 1}
    kept = {row["source"]: row["id"] for row in rows(work / "c.jsonl")}
    assert list(kept) == ["a.md", "e.md"]
    dropped = rows(work / "c.dropped.jsonl")
    assert [(row["source"], row["duplicate_of"]) for row in dropped] == [(f"{name}.md", kept["a.md"]) for name in "bcd"]
    assert 0.8 <= dropped[2]["similarity"] < 1
    summary = corpus(scc, *files, "--output", "e.jsonl", "--duplicates", "1")
    assert summary["dropped"] == {"duplicate": 2}


def test_short_and_foreign_texts_have_signatures() -> None:
    found = Duplicates(0.8)
    assert found.find_or_add("1", "") is None and found.find_or_add("2", "one") is None
    quay = "这座灯塔建于一八七一年至一八七四年之间由工程师设计"
    assert found.find_or_add("3", quay * 2) is None
    alike = found.find_or_add("4", quay * 2 + "师")
    assert alike is not None and alike.of == "3" and not alike.equal


@pytest.fixture
def leaking(work: Path) -> Path:
    root = work / f"of-{SECRET}"
    root.mkdir()
    (root / "a.md").write_text(
        f"---\ntitle: For {SECRET}\n---\n{paragraphs(0, 1)}\nUse {SECRET} there, dana@example.org.\n"
    )
    (root / "b.md").write_text(f"---\ntitle: For dana@example.org\n---\n{paragraphs(1, 2)}")
    (root / "c.py").write_text(
        FUNCTION.format("c") + f'\n\ndef login(session):\n    session.password = "{OTHER}"\n    return session.open()\n'
    )
    content = f"{paragraphs(2, 3)} {SECRET} +1 212 555 0123"
    (root / "d.jsonl").write_text(
        json.dumps({"messages": [{"role": "user", "content": content}], "license": SECRET}) + "\n"
    )
    return root


def written(work: Path) -> str:
    return "".join(path.read_text() for path in work.glob("c*.json*"))


def test_a_row_with_a_secret_is_dropped_and_its_text_is_nowhere(scc: Scc, leaking: Path, work: Path) -> None:
    run = scc("data", "corpus", leaking, "--output", "c.jsonl", "--min-tokens", "15", "--json")
    summary = json.loads(run.stdout)
    assert summary["dropped"] == {"secret": 3} and summary["rows"] == 2 and summary["redacted"] == {}
    assert SECRET not in written(work) + run.stdout + run.stderr and OTHER not in written(work)
    dropped = rows(work / "c.dropped.jsonl")
    assert [row["types"] for row in dropped] == [{"github-token": 1}, {"secret-keyword": 1}, {"github-token": 1}]
    assert all("text" not in row for row in dropped)
    assert "dana@example.org" in written(work)


@pytest.mark.parametrize("what", ["secrets", "pii"])
def test_redaction_covers_the_whole_row(scc: Scc, leaking: Path, work: Path, what: str) -> None:
    run = scc("data", "corpus", leaking, "--output", "c.jsonl", "--min-tokens", "15", "--redact", what, "--json")
    summary = json.loads(run.stdout)
    found = rows(work / "c.jsonl")
    assert summary["rows"] == len(found) == 5 and not summary["dropped"]
    assert SECRET not in written(work) + run.stdout and OTHER not in written(work)
    assert (
        found[0]["source"] == "of-[REDACTED:github-token]/a.md" and found[0]["title"] == "For [REDACTED:github-token]"
    )
    assert 'session.password = "[REDACTED:secret-keyword]"' in found[3]["text"]
    assert found[4]["licence"] is None
    expected = {"github-token": 2, "secret-keyword": 1}
    if what == "pii":
        expected |= {"email": 1, "phone": 1}
        assert "dana@example.org" not in written(work) and found[1]["title"] == "For [REDACTED:email]"
    assert summary["redacted"] == expected
    assert Counter({k: n for row in found for k, n in row["redacted"].items()}).keys() == expected.keys()


@pytest.mark.parametrize(
    "args", [["--redact", "a.md"], ["a.md", "--redact"], ["a.md", "--redact", "--min-tokens", "5"]]
)
def test_redact_alone_means_secrets(scc: Scc, work: Path, args: list[str]) -> None:
    (work / "a.md").write_text(f"{paragraphs(0, 1)} {SECRET} dana@example.org\n")
    assert scc("data", "corpus", *args, "--output", "c.jsonl").exit_code == 0
    text = rows(work / "c.jsonl")[0]["text"]
    assert SECRET not in text and "dana@example.org" in text


def test_places_are_those_of_the_file_as_it_is(scc: Scc, work: Path) -> None:
    text = f"Key {SECRET} first.\n\n{paragraphs(0, 2)}"
    (work / "a.md").write_text(text)
    corpus(scc, "a.md", "--output", "c.jsonl", "--redact", "secrets", "--max-tokens", "80")
    for row in rows(work / "c.jsonl"):
        assert text[row["start"] : row["end"]] == row["text"].replace("[REDACTED:github-token]", SECRET)
        assert text.count("\n", 0, row["start"]) + 1 == row["line"]


def test_limit_then_resume(scc: Scc, tree: Path, work: Path) -> None:
    whole = corpus(scc, "port", "--output", "whole.jsonl")
    part = corpus(scc, "port", "--output", "part.jsonl", "--limit", "4")
    assert len(rows(work / "part.jsonl")) == 4 and part["pending"] > 0
    rest = corpus(scc, "port", "--output", "part.jsonl", "--resume")
    assert rest == whole | {"output": "part.jsonl", "already_there": 4}
    for name in ("{}.jsonl", "{}.dropped.jsonl", "{}.files.jsonl"):
        assert (work / name.format("part")).read_bytes() == (work / name.format("whole")).read_bytes()


def test_a_file_that_changed_is_read_again(scc: Scc, tree: Path, work: Path) -> None:
    corpus(scc, "port", "--output", "c.jsonl")
    (tree / "notes.txt").write_text(paragraphs(20, 21))
    run = scc("data", "corpus", "port", "--output", "c.jsonl", "--resume", "--min-tokens", "20")
    assert run.exit_code == 0 and "1 rows are from no file as it is now; they stay" in run.stderr
    assert [row["source"] for row in rows(work / "c.jsonl")].count("port/notes.txt") == 2


def test_other_settings_are_refused(scc: Scc, tree: Path) -> None:
    corpus(scc, "port", "--output", "c.jsonl")
    assert scc("data", "corpus", "port", "--output", "c.jsonl").exit_code == 2
    run = scc("data", "corpus", "port", "--output", "c.jsonl", "--resume", "--min-tokens", "21")
    assert run.exit_code == 2 and "min_tokens was 20, is 21" in run.stderr


def test_a_journal_that_lost_rows_is_refused(scc: Scc, tree: Path, work: Path) -> None:
    corpus(scc, "port", "--output", "c.jsonl")
    (work / "c.jsonl").write_bytes(b"".join((work / "c.jsonl").read_bytes().splitlines(keepends=True)[:-1]))
    run = scc("data", "corpus", "port", "--output", "c.jsonl", "--resume", "--min-tokens", "20")
    assert run.exit_code == 2 and "c.jsonl has 5 rows, and c.files.jsonl counts 6" in run.stderr


def test_wrong_use(scc: Scc, work: Path) -> None:
    (work / "a.md").write_text(paragraphs(0, 1))
    (work / "loop.md").symlink_to("loop.md")
    for args in (
        ["missing.md"],
        ["a.md", "--min-tokens", "9", "--max-tokens", "8"],
        ["a.md", "--tokenizer", "no-such"],
        ["a.md", "--redact=all"],
        ["loop.md"],
        ["a.md", "--duplicates", "2"],
        [],
    ):
        run = scc("data", "corpus", *args, "--output", "c.jsonl")
        assert run.exit_code == 2 and "Traceback" not in run.stderr, args
        assert not (work / "c.jsonl").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_told(scc: Scc, work: Path) -> None:
    (work / "port").mkdir()
    (work / "port" / "a.md").write_text(paragraphs(0, 1))
    (work / "port" / "a.md").chmod(0)
    corpus(scc, "port", "--output", "c.jsonl", code=3)


def test_a_file_that_cannot_be_read_is_told_and_tried_again(
    scc: Scc, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "port").mkdir()
    for n, name in enumerate("ab"):
        (work / "port" / f"{name}.md").write_text(paragraphs(n, n + 1))
    real = Path.open

    def fail(path: Path, *args: Any, **options: Any) -> Any:
        if path.name == "a.md":
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        summary = corpus(scc, "port", "--output", "c.jsonl", code=3)
    assert summary["failed"] == {"port/a.md": "Permission denied"} and summary["rows"] == 1
    summary = corpus(scc, "port", "--output", "c.jsonl", "--resume")
    assert summary["failed"] == {} and summary["rows"] == 2


def test_a_missing_package_is_one_line(scc: Scc, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (work / "a.md").write_text(paragraphs(0, 1))
    monkeypatch.setitem(sys.modules, "datasketch", None)
    run = scc("data", "corpus", "a.md", "--output", "c.jsonl")
    assert run.exit_code == 2 and "compressor-cli[data]" in run.stderr and not (work / "c.jsonl").exists()


def test_what_is_printed(scc: Scc, tree: Path) -> None:
    run = scc("data", "corpus", "port", "--output", "c.jsonl", "--min-tokens", "20")
    lines = run.stdout.splitlines()
    assert lines[0].startswith("c.jsonl: 6 rows, ") and lines[0].endswith("3 code, 2 prose, 1 chat, from 5 of 15 files")
    assert lines[1].startswith("files left out: 2 hidden, 2 ignored by git, 1 ")
    assert lines[2] == "pieces dropped: 1 malformed row: no `messages`, 1 malformed row: not a JSON object"


NAMES = ("{}.jsonl", "{}.dropped.jsonl", "{}.files.jsonl")


def forest(work: Path, files: int) -> None:
    (work / "port").mkdir()
    for n in range(files):
        (work / "port" / f"{n:03}.md").write_text(paragraphs(3 * n, 3 * n + 4) + "\nShort\n\n" + "9 " * 300 + "\n")


def kill_at(work: Path, size: int, processes: list[subprocess.Popen[bytes]], *more: str) -> int:
    """Start the command and kill it when it has written so much. Its exit code."""
    args = ["data", "corpus", "port", "--output", "killed.jsonl", "--min-tokens", "20", "--max-tokens", "60", *more]
    process = subprocess.Popen(
        [sys.executable, "-m", "compressor_cli", *args], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    processes.append(process)
    written = [work / name.format("killed") for name in NAMES]
    while process.poll() is None:
        if sum(path.stat().st_size for path in written if path.exists()) > size:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.0005)
    return process.wait()


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_and_resumed_is_the_same(
    scc: Scc, work: Path, processes: list[subprocess.Popen[bytes]], kills: int
) -> None:
    forest(work, 60)
    options = ("--min-tokens", "20", "--max-tokens", "60")
    assert scc("data", "corpus", "port", "--output", "whole.jsonl", *options).exit_code == 0
    total = sum((work / name.format("whole")).stat().st_size for name in NAMES)
    codes = [kill_at(work, total * n // (kills + 1), processes, *(["--resume"] * (n > 0))) for n in range(kills)]
    assert codes.count(-signal.SIGKILL) >= min(2, kills - 1)
    assert scc("data", "corpus", "port", "--output", "killed.jsonl", *options, "--resume").exit_code == 0
    for name in NAMES:
        assert (work / name.format("killed")).read_bytes() == (work / name.format("whole")).read_bytes()


def test_cut_at_any_byte_and_resumed_is_the_same(scc: Scc, work: Path) -> None:
    """What a kill can leave: files cut where the process was in the order of its writes."""
    forest(work, 3)
    options = ("--min-tokens", "20", "--max-tokens", "60")
    assert scc("data", "corpus", "port", "--output", "whole.jsonl", *options).exit_code == 0
    whole = {name: (work / name.format("whole")).read_bytes() for name in NAMES}
    for row_cut in range(0, len(whole["{}.jsonl"]), 411):
        cut = whole["{}.jsonl"][:row_cut]
        done = [json.loads(line)["source"] for line in cut.splitlines() if line.endswith(b"}")]
        listed = [
            line
            for line in whole["{}.files.jsonl"].splitlines(keepends=True)
            if json.loads(line)["source"] in done[:-1]
        ]
        files = [line for line in listed if json.loads(line)["source"] < (done or [""])[-1]]
        dropped = [
            line
            for line in whole["{}.dropped.jsonl"].splitlines(keepends=True)
            if json.loads(line)["source"] < (done or [""])[-1]
        ]
        for name, data in zip(NAMES, (cut, b"".join(dropped), b"".join(files)), strict=True):
            (work / name.format("cut")).write_bytes(data)
            settings = f"{name}.settings.json"
            (work / settings.format("cut")).write_bytes((work / settings.format("whole")).read_bytes())
        run = scc("data", "corpus", "port", "--output", "cut.jsonl", *options, "--resume")
        assert run.exit_code == 0, run.stderr
        for name in NAMES:
            assert (work / name.format("cut")).read_bytes() == whole[name]
