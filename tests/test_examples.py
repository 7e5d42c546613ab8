"""The examples do what they say: the memory by itself, the others with the real SDKs against a loopback server."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import REPO
from hypothesis import given, settings
from hypothesis import strategies as st
from provider_server import KEY, ProviderServer, Reply, Request, serving

from compressor_cli.core.tokens import token_counter
from compressor_cli.errors import UsageError

EXAMPLES = REPO / "examples"
PARAGRAPH = EXAMPLES / "paragraph.txt"
SAMPLES = REPO / "configs" / "samples"
sys.path.insert(0, str(EXAMPLES))

import claude_context  # noqa: E402
import memory_store  # noqa: E402
import openai_context  # noqa: E402

COUNT = token_counter().count
QUESTION = "Who takes the calls of customers in the mornings, & not <when>?"

Main = Callable[[list[str]], None]
Said = Callable[[], tuple[str, str]]


def exit_code(main: Main, *args: str | Path) -> int:
    try:
        main([str(arg) for arg in args])
    except SystemExit as exc:
        return int(exc.code or 0)
    return 0


def run_script(name: str, *args: str | Path, stdin: str = "") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, str(EXAMPLES / name), *map(str, args)]
    return subprocess.run(command, input=stdin.encode(), capture_output=True, timeout=60)


def shape(text: str | None) -> str:
    """What a docstring shows of the output has this of it, whatever the figures are by now."""
    return re.sub(r"\d+(\.\d+)?", "...", text or "")


# --- memory_store


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """The two samples, and the verbose texts of some chat rows, prose and code."""
    found = {name: (SAMPLES / name).read_bytes().decode() for name in ("notes.md", "transcript.txt")}
    rows = (SAMPLES / "valid.jsonl").read_text(encoding="utf-8").splitlines()
    return found | {f"row {n}": json.loads(row)["messages"][1]["content"] for n, row in enumerate(rows[:4])}


@pytest.fixture(scope="module")
def filled(texts: dict[str, str]) -> Iterator[sqlite3.Connection]:
    """A memory with all of `texts`, only read by the tests."""
    with closing(memory_store.open_memory(Path(":memory:"))) as connection:
        for title, text in texts.items():
            memory_store.add(connection, title, text)
        yield connection


@pytest.fixture
def memory() -> Iterator[sqlite3.Connection]:
    with closing(memory_store.open_memory(Path(":memory:"))) as connection:
        yield connection


def test_every_note_is_given_back_exactly(filled: sqlite3.Connection, texts: dict[str, str]) -> None:
    notes = [memory_store.add(filled, title, text) for title, text in texts.items()]
    assert [note.id for note in notes] == list(range(1, len(texts) + 1))
    for note in notes:
        assert memory_store.show(filled, note.id, original=True) == texts[note.title]
        assert memory_store.show(filled, note.id) == note.compressed
        assert note.tokens_in == COUNT(texts[note.title])
        assert note.tokens_out == COUNT(note.compressed) <= note.tokens_in
        assert 0 < note.kept <= note.facts
    assert sum(note.tokens_out for note in notes) < 0.8 * sum(note.tokens_in for note in notes)


def test_maps_take_less_room_than_originals(filled: sqlite3.Connection, texts: dict[str, str]) -> None:
    originals = sum(len(text.encode()) for text in texts.values())
    _, with_maps, instead = memory_store.stats(filled).splitlines()
    assert instead.endswith(f"; {originals} the originals alone")
    assert int(with_maps.split()[0]) < originals < int(instead.split()[0])


def test_a_text_that_is_there_stays_one_note(memory: sqlite3.Connection) -> None:
    first = memory_store.add(memory, "bridge", "The old bridge was not open in March 1931, and nobody minded it.\n")
    assert (
        memory_store.add(memory, "again", "The old bridge was not open in March 1931, and nobody minded it.\n") == first
    )
    assert (
        memory_store.add(memory, "bridge", "The old bridge was not open in March 1932, and nobody minded it.\n").id == 2
    )
    assert memory_store.stats(memory).startswith("2 notes: ")


def test_search_fills_the_budget_best_first(filled: sqlite3.Connection) -> None:
    everything = "the a of and Owen certificates"
    full, all_notes, more = memory_store.search(filled, everything, 100_000)
    assert more == 0 and COUNT(full) > 900
    for budget in (1, 150, 600, 900, 1500):
        context, notes, more = memory_store.search(filled, everything, budget)
        assert COUNT(context) <= budget
        assert len(notes) + more == len(all_notes)
        assert notes == [note for note in all_notes if note in notes]  # in the same order
        assert context == "".join(f"[{note.id}] {note.title}\n{note.compressed.strip()}\n\n" for note in notes)


def test_words_are_found_by_their_stem_and_in_titles(memory: sqlite3.Connection) -> None:
    memory_store.add(memory, "harbours.md", "The bridge of Oakham was closed in 1931 and it is not open today.")
    memory_store.add(memory, "lakes.md", "The lake of Durness holds 1,274 million litres and C++ is not spoken there.")

    def found(query: str) -> list[int]:
        return [note.id for note in memory_store.search(memory, query, 500)[1]]

    assert found("Which bridges were opened?") == [1]
    assert found("a lake, in litres") == [2]
    assert found("harbour") == [1]
    assert found("c++") == [2]
    assert sorted(found("Oakham AND Durness")) == sorted(found('"durness" NOT oakham')) == [1, 2]
    assert found("submarine") == found("") == found("+*\"'") == []


@settings(max_examples=50)
@given(st.text(max_size=30) | st.sampled_from(["AND", "NEAR(a b)", "title:x", "a*", "^a", '"', "{a b}:c", "-x", "--"]))
def test_no_query_is_syntax(query: str) -> None:
    with closing(memory_store.open_memory(Path(":memory:"))) as memory:
        memory.execute("INSERT INTO words (rowid, title, compressed) VALUES (1, 'and near', 'title a x c')")
        assert memory_store.search(memory, query, 100)[0] == ""


def test_the_memory_as_a_command(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    added = run_script("memory_store.py", "notes.db", "add", PARAGRAPH)
    assert (added.returncode, added.stderr) == (0, b"")
    line = added.stdout.decode()
    assert line.startswith("#1 paragraph.txt: 157 -> ")
    assert shape(line.replace("paragraph.txt", "notes.md")) in shape(memory_store.__doc__)
    assert exit_code(memory_store.main, "notes.db", "show", "1", "--original") == 0
    assert capsys.readouterr().out.encode() == PARAGRAPH.read_bytes()
    assert exit_code(memory_store.main, "notes.db", "search", "submarines", "--budget", "150") == 0
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("0 notes: 0 -> 0 tokens, 0.0% saved")
    assert exit_code(memory_store.main, "notes.db", "search", "Who was the engineer?", "--budget", "150") == 0
    out, err = capsys.readouterr()
    assert out.startswith("[1] paragraph.txt\n")
    assert err.startswith("1 notes: 157 -> ")
    assert exit_code(memory_store.main, "notes.db", "stats") == 0
    out, _ = capsys.readouterr()
    assert out.startswith("1 notes: 157 -> ")
    assert all(shape(line) in shape(memory_store.__doc__) for line in out.splitlines())


def test_what_goes_wrong_with_a_memory_is_one_line(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "binary").write_bytes(b"\0\1")
    (work / "empty").write_bytes(b"")
    cases: list[tuple[list[str | Path], int, str]] = [
        (["none.db", "stats"], 2, "there is no memory at none.db"),
        (["notes.db", "add", "absent"], 2, "no such file"),
        (["notes.db", "add", "binary"], 2, "binary data"),
        (["notes.db", "add", "empty"], 2, "the input is empty"),
        (["notes.db", "show", "7"], 2, "there is no note 7"),
        (["notes.db", "show", "9" * 30], 1, "too large"),
        ([SAMPLES / "notes.md", "stats"], 1, "file is not a database"),
        ([work, "add", "empty"], 1, "unable to open database file"),
    ]
    for args, code, message in cases:
        assert exit_code(memory_store.main, *args) == code
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith("error: ") and message in err
    assert not (work / "none.db").exists()


def test_a_python_without_full_text_search_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_store, "SCHEMA", memory_store.SCHEMA.replace("fts5", "fts_absent"))
    with pytest.raises(UsageError, match="built without FTS5"):
        memory_store.open_memory(Path(":memory:"))


# --- claude_context, openai_context


@dataclass(frozen=True)
class Provider:
    example: ModuleType
    name: str
    endpoint: str
    model: str

    @property
    def main(self) -> Main:
        main: Main = self.example.main
        return main


PROVIDERS = [
    Provider(claude_context, "anthropic", "/v1/messages", "claude-haiku-5-5"),
    Provider(openai_context, "openai", "/v1/chat/completions", "gpt-5.4-mini"),
]
CUT_OFF = {
    "anthropic": Reply(200, {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None,
        "content": [{"type": "text", "text": "Nobody, and"}], "stop_reason": "max_tokens",
        "usage": {"input_tokens": 9, "output_tokens": 3},
    }),
    "openai": Reply(200, {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Nobody, and"}, "finish_reason": "length"}
        ],
    }),
}  # fmt: skip
both = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with serving() as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """(stdout, stderr), neither with the key in it."""

    def read() -> tuple[str, str]:
        out, err = capsys.readouterr()
        assert KEY not in out + err
        return out, err

    return read


def document_of(request: Request) -> tuple[str, str]:
    """(document, question) as they arrived."""
    prompt = request.body["messages"][-1]["content"]
    start, end = "<document>\n", "\n</document>\n\n"
    assert prompt.startswith(start)
    document, _, question = prompt.removeprefix(start).partition(end)
    return document, question


@both
def test_the_document_arrives_compressed_and_the_question_as_it_is(
    provider: Provider, server: ProviderServer, said: Said
) -> None:
    text = (SAMPLES / "transcript.txt").read_text(encoding="utf-8")
    server.answer = lambda request: "Lucía, but not on the 8th."
    question = "Why are labels not kept in stock?"
    assert exit_code(provider.main, question, SAMPLES / "transcript.txt") == 0
    (request,) = server.requests
    assert (request.provider, request.path) == (provider.name, provider.endpoint)
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body["model"] == provider.model
    document, asked = document_of(request)
    assert asked == question
    assert 0 < COUNT(document) <= 0.6 * COUNT(text)
    assert "84,000" in document
    system = request.body["system"] if provider.name == "anthropic" else request.body["messages"][0]["content"]
    assert system == provider.example.SYSTEM
    out, err = said()
    assert out == "Lucía, but not on the 8th.\n"
    lines = err.splitlines()
    assert f"999 -> {COUNT(document)} tokens, " in lines[0]
    assert shape(f"\n    {lines[0]}\n") in shape(provider.example.__doc__)
    assert shape(f"\n    {lines[-1]}\n") in shape(provider.example.__doc__)
    assert lines[0].startswith("about ") is (provider.name == "anthropic")  # whose tokenizer is not public
    assert lines[-1].startswith(f"{provider.model} counts ") and lines[-1].endswith(" out")
    counted = int(lines[-1].split()[2])
    assert COUNT(document) < counted < COUNT(text)


def test_the_example_as_a_command(server: ProviderServer) -> None:
    done = run_script("openai_context.py", QUESTION, "-", "--model", "another", stdin=PARAGRAPH.read_text("utf-8"))
    assert (done.returncode, done.stdout) == (0, b"An answer.\n")
    assert KEY.encode() not in done.stderr
    (request,) = server.requests
    assert request.body["model"] == "another"
    document, question = document_of(request)
    assert (question, COUNT(document) < 0.7 * 157) == (QUESTION, True)


@both
def test_what_was_lost_or_cut_off_is_told(provider: Provider, server: ProviderServer, work: Path, said: Said) -> None:
    """Names are not protected, and at this rate not all of them can be there."""
    names = ("Agnes Dunmore", "Pelumi Adeyemi", "Ilir Hoxha", "Cornelia Brandt", "Lena Vasko", "Imogen Tarrant")
    (work / "guests.txt").write_text(
        "".join(f"Nobody had asked {name} to come along with the others. " for name in names)
    )
    server.script.append(CUT_OFF[provider.name])
    assert exit_code(provider.main, "Who came?", "guests.txt", "--rate", "0.4") == 0
    document, _ = document_of(server.requests[0])
    out, err = said()
    assert out == "Nobody, and\n"
    lost = [name for name in names if name not in document]
    assert lost
    (told,) = [line for line in err.splitlines() if line.startswith("lost: ")]
    assert all(name in told for name in lost)
    assert err.splitlines()[-1].startswith("the answer is not whole: ")


@both
def test_the_sdk_tries_again(provider: Provider, server: ProviderServer, said: Said) -> None:
    server.script.extend([Reply(429, "slow down", {"retry-after-ms": "1"}), Reply(503, "", {"retry-after-ms": "1"})])
    assert exit_code(provider.main, QUESTION, PARAGRAPH) == 0
    assert [request.body for request in server.requests] == [server.requests[0].body] * 3
    assert said()[0] == "An answer.\n"


@both
def test_what_goes_wrong_is_one_line(
    provider: Provider, server: ProviderServer, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    def error(code: int, *args: str | Path) -> str:
        assert exit_code(provider.main, QUESTION, *args) == code
        out, err = said()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith("error: ")
        return err

    assert "no such file: absent.txt" in error(2, "absent.txt")
    assert "--rate 2.0 is outside (0, 1]" in error(2, PARAGRAPH, "--rate", "2")
    assert "tokens" in error(100, PARAGRAPH, "--rate", "0.01")
    assert server.requests == []
    server.script.append(Reply(400, "the prompt is too long"))
    assert "the prompt is too long" in error(1, PARAGRAPH)
    variable = f"{provider.name.upper()}_API_KEY"
    monkeypatch.setenv(variable, "sk-another")
    assert "invalid key" in error(1, PARAGRAPH)
    monkeypatch.delenv(variable)
    assert variable in error(2, PARAGRAPH)
    monkeypatch.setitem(sys.modules, provider.name, None)
    assert "pip install 'compressor-cli[providers]'" in error(2, PARAGRAPH)
    assert len(server.requests) == 2


def test_a_long_chat_goes_on_with_its_old_contents_compressed(server: ProviderServer, work: Path, said: Said) -> None:
    transcript = (SAMPLES / "transcript.txt").read_text(encoding="utf-8")
    result = PARAGRAPH.read_text(encoding="utf-8")
    call = {"id": "call_1", "type": "function", "function": {"name": "read", "arguments": '{"file": "paragraph.txt"}'}}
    chat: list[dict[str, Any]] = [
        {"role": "system", "content": "You are the assistant of the team. You must not invent figures."},
        {"role": "user", "content": f"Keep this in mind:\n\n{transcript}"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": result},
        {"role": "assistant", "content": "I have read both."},
        {"role": "user", "content": "Good. When is the next meeting of the committee?"},
        {"role": "assistant", "content": "On 25 September."},
        {"role": "user", "content": "And where?"},
        {"role": "assistant", "content": "It does not say."},
    ]
    (work / "chat.json").write_text(json.dumps({"messages": chat}), encoding="utf-8")
    assert exit_code(openai_context.main, QUESTION, "chat.json", "--chat") == 0
    (request,) = server.requests
    *sent, question = request.body["messages"]
    assert question == {"role": "user", "content": QUESTION}
    for n, (before, after) in enumerate(zip(chat, sent, strict=True)):
        if n in (1, 3):
            assert 0 < COUNT(after["content"]) < 0.8 * COUNT(before["content"])
            before = before | {"content": after["content"]}
        assert after == before
    out, err = said()
    assert out == "An answer.\n"
    assert f"{COUNT(json.dumps({'messages': chat}))} -> " in err
    (work / "chat.json").write_text('{"turns": []}', encoding="utf-8")
    assert exit_code(openai_context.main, QUESTION, "chat.json", "--chat") == 2
    assert said()[1].startswith("error: ")
    assert len(server.requests) == 1
