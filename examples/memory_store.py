"""An agent's memory in one SQLite file: notes are kept compressed, found by their words, and given back whole.

    $ python examples/memory_store.py notes.db add configs/samples/notes.md configs/samples/transcript.txt
    #1 notes.md: 1572 -> 932 tokens, 40.7% saved, 212 of 216 facts kept
    #2 transcript.txt: 999 -> 504 tokens, 49.5% saved, 117 of 120 facts kept
    $ python examples/memory_store.py notes.db search "Who asked for printed labels?" --budget 600
    $ python examples/memory_store.py notes.db show 2 --original
    $ python examples/memory_store.py notes.db stats
    2 notes: 2571 -> 1436 tokens, 44.1% saved, 329 of 336 facts kept
    7482 bytes: 5658 of compressed text, 1824 of maps
    16251 bytes with originals in place of maps; 10593 the originals alone

`search` prints as many notes as fit the budget, best first, ready for a model's context. The original is not stored:
the compressed text and its map give it back. The index is over titles and compressed texts, so a word that was left
out of a note does not find it.
"""

from __future__ import annotations

import argparse
import re
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from compressor_cli import compress, expand
from compressor_cli.core.text_input import read_text
from compressor_cli.core.tokens import token_counter
from compressor_cli.errors import SccError, UsageError

SCHEMA = """
CREATE TABLE IF NOT EXISTS notes (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, title TEXT NOT NULL, compressed TEXT NOT NULL,
    map BLOB NOT NULL, bytes_in INTEGER NOT NULL, tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL,
    facts INTEGER NOT NULL, kept INTEGER NOT NULL
);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(
    title, compressed, content=notes, content_rowid=id, tokenize='porter unicode61'
);
"""
NOTE = "SELECT id, notes.title, notes.compressed, tokens_in, tokens_out, facts, kept FROM notes"
TOTALS = """SELECT count(*), total(tokens_in), total(tokens_out), total(facts), total(kept), total(bytes_in),
            total(length(CAST(compressed AS BLOB))), total(length(map)) FROM notes"""


@dataclass(frozen=True)
class Note:
    id: int
    title: str
    compressed: str
    tokens_in: int
    tokens_out: int
    facts: int
    kept: int


def open_memory(path: Path) -> sqlite3.Connection:
    memory = sqlite3.connect(path)
    try:
        memory.executescript(SCHEMA)
    except sqlite3.Error as exc:
        memory.close()
        if "no such module" in str(exc):
            raise UsageError("the SQLite of this Python was built without FTS5, its full-text search") from None
        raise
    return memory


def add(memory: sqlite3.Connection, title: str, text: str) -> Note:
    """A text that is there already stays the note it is."""
    original = text.encode()
    digest = sha256(original).digest()
    if not memory.execute("SELECT 1 FROM notes WHERE digest = ?", (digest,)).fetchone():
        receipt = compress(text, with_map=True)
        kept = sum(fact.status == "kept" for fact in receipt.facts)
        sizes = (len(original), receipt.tokens_in, receipt.tokens_out, len(receipt.facts), kept)
        row = (digest, title, receipt.compressed, receipt.map, *sizes)
        with memory:  # the note and its words, or neither
            memory.execute(f"INSERT INTO notes VALUES (NULL{', ?' * len(row)})", row)
            memory.execute("INSERT INTO words (rowid, title, compressed) VALUES (last_insert_rowid(), ?, ?)", row[1:3])
    return Note(*memory.execute(f"{NOTE} WHERE digest = ?", (digest,)).fetchone())


def search(memory: sqlite3.Connection, query: str, budget: int) -> tuple[str, list[Note], int]:
    """(context, notes in it, how many more matched): notes with any of the words, in at most `budget` tokens."""
    words = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", query))  # to FTS5, AND, quotes and + are syntax
    ranked = f"{NOTE} JOIN words ON words.rowid = id WHERE words MATCH ? ORDER BY rank"
    hits = [Note(*row) for row in memory.execute(ranked, (words,))] if words else []
    count = token_counter().count
    context = ""
    notes: list[Note] = []
    for note in hits:
        longer = f"{context}[{note.id}] {note.title}\n{note.compressed.strip()}\n\n"
        if count(longer) <= budget:
            context = longer
            notes.append(note)
    return context, notes, len(hits) - len(notes)


def show(memory: sqlite3.Connection, note_id: int, *, original: bool = False) -> str:
    row = memory.execute("SELECT compressed, map FROM notes WHERE id = ?", (note_id,)).fetchone()
    if row is None:
        raise UsageError(f"there is no note {note_id}")
    return expand(*row) if original else str(row[0])


def stats(memory: sqlite3.Connection) -> str:
    count, tokens_in, tokens_out, facts, kept, originals, compressed, maps = map(int, memory.execute(TOTALS).fetchone())
    return (
        f"{count} notes: {figures(tokens_in, tokens_out, facts, kept)}\n"
        f"{compressed + maps} bytes: {compressed} of compressed text, {maps} of maps\n"
        f"{compressed + originals} bytes with originals in place of maps; {originals} the originals alone"
    )


def figures(tokens_in: int, tokens_out: int, facts: int, kept: int) -> str:
    saved = 1 - tokens_out / tokens_in if tokens_in else 0.0
    return f"{tokens_in} -> {tokens_out} tokens, {saved:.1%} saved, {kept} of {facts} facts kept"


def act(args: argparse.Namespace, memory: sqlite3.Connection) -> None:
    if args.action == "add":
        for file in args.files:
            note = add(memory, file.name, read_text(file))
            print(f"#{note.id} {note.title}: {figures(note.tokens_in, note.tokens_out, note.facts, note.kept)}")
    elif args.action == "search":
        context, notes, more = search(memory, args.query, args.budget)
        sums = (sum(getattr(note, name) for note in notes) for name in ("tokens_in", "facts", "kept"))
        tokens_in, facts, kept = sums
        sys.stdout.write(context)
        told = figures(tokens_in, token_counter().count(context), facts, kept)
        print(f"{len(notes)} notes: {told}; {more} more match but do not fit", file=sys.stderr)
    elif args.action == "show":
        sys.stdout.buffer.write(show(memory, args.id, original=args.original).encode())
    else:
        print(stats(memory))


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="An agent's memory: compressed notes in one SQLite file.")
    parser.add_argument("memory", type=Path, metavar="DB")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("add", help="compress and store").add_argument("files", nargs="+", type=Path, metavar="FILE")
    searching = actions.add_parser("search", help="print what fits a model's context")
    searching.add_argument("query")
    searching.add_argument("--budget", type=int, default=1000, metavar="TOKENS", help="default 1000")
    showing = actions.add_parser("show", help="print one note")
    showing.add_argument("id", type=int)
    showing.add_argument("--original", action="store_true", help="as it was before compression")
    actions.add_parser("stats", help="what the memory holds and spares")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_arguments(argv)
    try:
        if args.action != "add" and not args.memory.exists():
            raise UsageError(f"there is no memory at {args.memory}, `add` makes one")
        with closing(open_memory(args.memory)) as memory:
            act(args, memory)
    except (SccError, sqlite3.Error, OverflowError, UnicodeError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        raise SystemExit(getattr(exc, "exit_code", 1)) from None


if __name__ == "__main__":
    main()
