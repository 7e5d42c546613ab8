"""JSON in which objects of one shape are rows under one list of columns, written in JSON again.

    [{"id":1,"type":"bug","by":{"name":"Ada"}},        {"$columns":["id",{"type":"bug"},{"by":["name"]}],
     {"id":2,"type":"bug","by":{"name":"Bo"}}]    ->    "$rows":[[1,["Ada"]],[2,["Bo"]]]}

A column is a name; a name with the columns of the objects that stand in it, in double brackets where they stand there
in arrays; or a name with the one value that all rows have. The rows of an object of such objects stand under its keys.
A key that a row lacks is the value of "$absent". An object that does not fit stays an object among the rows. This
reaches what TOON tables do not: optional keys, arrays in cells, a few odd rows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, repeat

from compressor_cli.engines.exactjson import Tree

COLUMNS, ROWS, ABSENT = "$columns", "$rows", "$absent"
_ABSENT_SIGNS = ("-", "~", "?", "absent", "$absent")
_LEAST_SHARE = 0.2  # of the rows; a key in fewer of them costs more as a column than in objects of their own
_SHAPES = 200  # the most common ones say which columns there are
_SPARE = 0.02  # of a table may be signs for absent keys before tables further down are tried as well
_DEEPEST = 64
_LARGEST = 1 << 28  # a short text can claim far more: many rows under long names, or under one long constant


@dataclass(frozen=True)
class Column:
    """`kind`: "cell", "object", "array" (of objects) or "constant"."""

    name: str
    kind: str
    inner: tuple[Column, ...] = ()
    value: Tree = None

    def as_json(self) -> Tree:
        if self.kind == "cell":
            return self.name
        if self.kind == "constant":
            return {self.name: self.value}
        inner = [column.as_json() for column in self.inner]
        return {self.name: inner if self.kind == "object" else [inner]}


def tabulate(tree: Tree) -> Tree:
    """Each array or object of objects as a table where that is shorter; the tree itself where no sign for an absent key
    is free. None of its keys may be "$columns"."""
    text = _text(tree)
    absent = next((sign for sign in _ABSENT_SIGNS if f'"{sign}"' not in text), None)
    return tree if absent is None else _Tabulator(absent).tabulate(tree)


def untabulate(tree: Tree, mark: str, room: Room | None = None) -> Tree:
    """Raises ValueError for what `tabulate` does not write, and for tables of more than `_LARGEST` characters of names
    and constants. `mark` tells numbers from names; `room` is what is left for tables within a table."""
    room = room or Room(_LARGEST)
    if isinstance(tree, list):
        return [untabulate(value, mark, room) if isinstance(value, list | dict) else value for value in tree]
    if not isinstance(tree, dict):
        return tree
    if COLUMNS not in tree:
        return {
            key: untabulate(value, mark, room) if isinstance(value, list | dict) else value
            for key, value in tree.items()
        }
    rows = tree.get(ROWS)
    if tree.keys() - {COLUMNS, ROWS, ABSENT} or not isinstance(rows, list | dict):
        raise ValueError("not a table")
    reader = _Reader(tree.get(ABSENT), mark, room)
    values = reader.objects(list(rows.values()) if isinstance(rows, dict) else rows, _read_columns(tree[COLUMNS], mark))
    return dict(zip(rows, values, strict=True)) if isinstance(rows, dict) else values


# --- columns


def _columns(rows: Sequence[Tree], depth: int = 0) -> tuple[Column, ...]:
    """Empty where no key stands in enough of the objects."""
    if depth > _DEEPEST:
        return ()
    objects = [row for row in rows if isinstance(row, dict)]
    shapes = Counter(map(tuple, objects))
    names = _names(shapes, len(objects))
    fits = {shape for shape in shapes if _fits(shape, names)}
    fitting = [row for row in objects if tuple(row) in fits]
    found = []
    for name in names:
        values = [row[name] for row in fitting if name in row]
        found.append(_column(name, values, len(values) == len(fitting), depth))
    return tuple(found)


def _names(shapes: Counter[tuple[str, ...]], total: int) -> list[str]:
    """Keys that are not rare, in an order that most objects have them in."""
    counts: Counter[str] = Counter()
    for shape, times in shapes.items():
        for key in shape:
            counts[key] += times
    names: list[str] = []
    for shape, _ in shapes.most_common(_SHAPES):
        at = 0
        for key in shape:
            if key in names:
                at = names.index(key) + 1
            elif counts[key] >= _LEAST_SHARE * total:
                names.insert(at, key)
                at += 1
    return names


def _fits(shape: tuple[str, ...], names: Sequence[str]) -> bool:
    rest = iter(names)
    return all(key in rest for key in shape)


def _column(name: str, values: list[Tree], everywhere: bool, depth: int) -> Column:
    first = values[0] if values else None
    if everywhere and len(values) > 1 and not isinstance(first, list | dict) and values.count(first) == len(values):
        return Column(name, "constant", value=first)
    kinds = set(map(type, values))
    if dict in kinds and list not in kinds and (inner := _columns(values, depth + 1)):
        return Column(name, "object", inner)
    if list in kinds and dict not in kinds:
        elements = list(chain.from_iterable(value for value in values if isinstance(value, list)))
        kinds = set(map(type, elements))
        if dict in kinds and list not in kinds and (inner := _columns(elements, depth + 1)):
            return Column(name, "array", inner)
    return Column(name, "cell")


def _read_columns(entries: Tree, mark: str) -> tuple[Column, ...]:
    if not isinstance(entries, list) or not entries:
        raise ValueError("no columns")
    return tuple(_read_column(entry, mark) for entry in entries)


def _read_column(entry: Tree, mark: str) -> Column:
    if isinstance(entry, str) and not entry.startswith(mark):
        return Column(entry, "cell")
    if not isinstance(entry, dict) or len(entry) != 1:
        raise ValueError("not a column")
    ((name, value),) = entry.items()
    if not isinstance(value, list | dict):
        return Column(name, "constant", value=value)
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        return Column(name, "array", _read_columns(value[0], mark))
    return Column(name, "object", _read_columns(value, mark))


# --- rows


@dataclass
class Room:
    left: int

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise ValueError(f"tables of more than {_LARGEST:,} characters")


@dataclass(frozen=True)
class _Tabulator:
    """`done` has each array and object by its id: asked for by the table, and by what the table is weighed against."""

    absent: str
    done: dict[int, Tree] = field(default_factory=dict)

    def tabulate(self, tree: Tree, depth: int = 0) -> Tree:
        if not isinstance(tree, list | dict) or depth > _DEEPEST:
            return tree
        values = tree if isinstance(tree, list) else list(tree.values())
        kinds = Counter(map(type, values))
        if not kinds[list] and not kinds[dict]:
            return tree
        if id(tree) not in self.done:
            columns = _columns(values) if kinds[dict] > 1 and not kinds[list] else ()
            table, spare = self.table(tree, values, columns, depth) if columns else (None, True)
            if spare or table is None or len(_text(table)) >= len(_text(tree)):
                plain: Tree = [self.tabulate(value, depth + 1) for value in values]
                plain = dict(zip(tree, plain, strict=True)) if isinstance(tree, dict) else plain
                table = plain if table is None or len(_text(table)) >= len(_text(plain)) else table
            self.done[id(tree)] = table
        return self.done[id(tree)]

    def table(
        self, tree: Tree, values: list[Tree], columns: tuple[Column, ...], depth: int
    ) -> tuple[dict[str, Tree], bool]:
        """And whether tables further down could be shorter: objects are left in it, or many keys are absent."""
        rows: Tree = self.rows(values, columns, depth + 1)
        if isinstance(tree, dict):
            rows = dict(zip(tree, rows, strict=True))
        text = _text(rows)
        absent = text.count(f'"{self.absent}"')
        missing = {ABSENT: self.absent} if absent else {}
        spare = "{" in text[1:] or absent * len(self.absent) > _SPARE * len(text)
        return {COLUMNS: [column.as_json() for column in columns], **missing, ROWS: rows}, spare

    def rows(self, values: Sequence[Tree], columns: tuple[Column, ...], depth: int) -> list[Tree]:
        """An array for each object that fits; other values as they are."""
        names = [column.name for column in columns]
        fits = {shape: _fits(shape, names) for shape in {tuple(value) for value in values if isinstance(value, dict)}}
        flags = [isinstance(value, dict) and fits[tuple(value)] for value in values]
        objects = [value for value, flag in zip(values, flags, strict=True) if flag]
        cells = [
            self.cells([value.get(column.name, self.absent) for value in objects], column, depth)
            for column in columns
            if column.kind != "constant"
        ]
        rows: Iterator[Tree] = zip(*cells, strict=True) if cells else repeat(())
        return [next(rows) if flag else self.tabulate(value, depth) for value, flag in zip(values, flags, strict=True)]

    def cells(self, values: list[Tree], column: Column, depth: int) -> list[Tree]:
        if column.kind == "object":
            return self.rows(values, column.inner, depth + 1)
        if column.kind == "array":
            elements = list(chain.from_iterable(value for value in values if isinstance(value, list)))
            rows = iter(self.rows(elements, column.inner, depth + 1))
            return [list(islice(rows, len(value))) if isinstance(value, list) else value for value in values]
        return [self.tabulate(value, depth) if isinstance(value, list | dict) else value for value in values]


@dataclass(frozen=True)
class _Reader:
    absent: Tree
    mark: str
    room: Room

    def objects(self, rows: list[Tree], columns: tuple[Column, ...]) -> list[Tree]:
        names = [column.name for column in columns]
        arrays = [row for row in rows if isinstance(row, list)]
        stored = [column for column in columns if column.kind != "constant"]
        if len(set(names)) < len(names) or any(len(row) != len(stored) for row in arrays):
            raise ValueError("a row is longer or shorter than the columns")
        self.room.take(len(arrays) * sum(len(column.name) + len(str(column.value)) for column in columns))
        by_column = iter(zip(*arrays, strict=True)) if arrays else repeat(())
        filled = [
            [column.value] * len(arrays) if column.kind == "constant" else self.values(next(by_column), column)
            for column in columns
        ]
        objects = (
            {
                key: value
                for key, value in zip(names, values, strict=True)
                if self.absent is None or value != self.absent
            }
            for values in zip(*filled, strict=True)
        )
        return [next(objects) if isinstance(row, list) else untabulate(row, self.mark, self.room) for row in rows]

    def values(self, cells: tuple[Tree, ...], column: Column) -> list[Tree]:
        if column.kind == "object":
            return self.objects(list(cells), column.inner)
        if column.kind == "array":
            elements = list(chain.from_iterable(cell for cell in cells if isinstance(cell, list)))
            objects = iter(self.objects(elements, column.inner))
            return [list(islice(objects, len(cell))) if isinstance(cell, list) else cell for cell in cells]
        return [untabulate(cell, self.mark, self.room) if isinstance(cell, list | dict) else cell for cell in cells]


def _text(tree: Tree) -> str:
    return json.dumps(tree, ensure_ascii=False, check_circular=False, separators=(",", ":"))
