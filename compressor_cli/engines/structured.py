"""JSON, JSONL and CSV in fewer tokens with nothing lost: the same data, and the same text of every number.

The candidates for JSON are the minified text, TOON (https://toonformat.dev) and tables of columns and rows (tables.py);
the one with the fewest tokens that reads back as the same data is taken. CSV loses quotes that no reader needs. What is
no longer in its own format says so in its first line, so that `restore` needs nothing but the text:

    # table                  JSON with tables
    # jsonl table            an array of the lines of a JSONL, with tables
    # toon                   TOON
    # jsonl                  an array of the lines of a JSONL, in TOON
    items[2]{id,name}:       TOON that begins with a header needs no other sign

To TOON the first line is a comment: any reader of TOON 4.4 takes the whole text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from compressor_cli.engines import delimited
from compressor_cli.engines.exactjson import (
    DuplicateKeysError,
    Tree,
    dump,
    free_mark,
    minify,
    parser,
    same_data,
    spell_out,
    without_bom,
)
from compressor_cli.engines.tables import COLUMNS, tabulate, untabulate
from compressor_cli.errors import UsageError

Count = Callable[[str], int]

_TOON_MOST = 4_000_000  # characters; its encoder and decoder are plain Python
_COUNTED_MOST = 400_000  # characters; of longer texts, samples say which is the shortest
_SAMPLES, _SAMPLE = 16, 8_000
_HEADER = re.compile(r'(?:[A-Za-z_][\w.]*|"(?:[^"\\]|\\.)*")?\[\d+:?[\t|]?\]\{.*\}:$', re.MULTILINE)
_SIGNS = {
    "# table": ("table", "json"),
    "# jsonl table": ("table", "jsonl"),
    "# toon": ("toon", "json"),
    "# jsonl": ("toon", "jsonl"),
}
_SIGN_OF = {made: sign for sign, made in _SIGNS.items()}
_CHECKER = json.JSONDecoder(parse_int=str, parse_float=str)  # an int of 5,000 digits would be refused
_SPACE = " \t\r\n"


@dataclass(frozen=True)
class StructuredResult:
    """`form` is "minified", "toon" or "table", or "none" where the text is the input; `source` as `source_of` has it.

    `minified` is the input in its own format without what carries no data, which any saving has to be compared with.
    """

    text: str
    form: str
    source: str
    minified: str
    warnings: tuple[str, ...] = ()


def source_of(text: str) -> str | None:
    """One of "json", "jsonl", "tsv", "csv" (with any other delimiter); None for what is none of them."""
    bare = without_bom(text).strip(_SPACE)
    if bare[:1] in tuple('{["-0123456789tfnNI') and _is_json(bare):
        return "json"
    lines = _lines(bare) if bare[:1] in ("{", "[") else []
    if len(lines) > 1 and all(line[0] in "{[" and _is_json(line) for line in lines):
        return "jsonl"
    delimiter = delimited.delimiter_of(text)
    return None if delimiter is None else "tsv" if delimiter == "\t" else "csv"


def compress_structured(text: str, *, count: Count) -> StructuredResult:
    """Raises UsageError where `source_of` finds nothing. Never more tokens than the input."""
    count = lru_cache(count)
    source = source_of(text)
    if source is None:
        raise UsageError("this is neither JSON, JSONL nor CSV")
    if source in ("csv", "tsv"):
        minified = delimited.without_quotes(text, delimited.delimiter_of(text) or ",")
        minified = minified if source_of(minified) == source else text  # or JSON comes to light
        return _unless_longer(StructuredResult(minified, "minified", source, minified), text, count)
    try:
        return _unless_longer(_compress_json(text, source, count), text, count)
    except RecursionError:
        return StructuredResult(text, "none", source, text, ("nested too deeply: left as it is",))


def restore(text: str) -> tuple[str, str] | None:
    """What the text was made from: its format, and a text in that format with equal data, numbers as they were written.

    JSON, JSONL and CSV are what they were made from. None for a text that is no form of ours, as without its first line
    most prose would be TOON.
    """
    body, end = (text[:-1], "\n") if text.endswith("\n") else (text, "")
    body = without_bom(body)
    first, _, rest = body.partition("\n")
    first = first.removesuffix("\r")
    form, source = _SIGNS.get(first, ("", ""))
    if not form and _HEADER.match(first):
        form, source, rest = "toon", "json", body
    if form:
        found = _read(form, source, rest)
        return None if found is None else (source, found + end)
    kept = source_of(text)
    return None if kept is None else (kept, text)


def _is_json(text: str) -> bool:
    try:
        _CHECKER.decode(text)
        return True
    except RecursionError:  # a thousand brackets and more were well formed
        return True
    except ValueError:
        return False


def _lines(text: str) -> list[str]:
    return [bare for line in text.split("\n") if (bare := line.strip(_SPACE))]


def _unless_longer(result: StructuredResult, text: str, count: Count) -> StructuredResult:
    if result.text != text and count(result.text) < count(text):
        return result
    return StructuredResult(text, "none", result.source, result.minified, result.warnings)


# --- JSON and JSONL


def _compress_json(text: str, source: str, count: Count) -> StructuredResult:
    end = "\n" if text.endswith("\n") else ""
    whole = without_bom(text).strip(_SPACE)
    lines = [whole] if source == "json" else _lines(whole)
    minified = _minified(lines, count)
    if not same_data(minified.split("\n"), lines):
        return StructuredResult(text, "none", source, text)
    mark = free_mark(whole)
    if mark is None:
        return StructuredResult(minified + end, "minified", source, minified + end)
    parse = parser(mark)
    try:
        trees = list(map(parse, lines))
    except DuplicateKeysError:
        warnings = ("an object has a key twice: only minified",)
        return StructuredResult(minified + end, "minified", source, minified + end, warnings)
    data = "\n".join(dump(tree, mark) for tree in trees)
    found = [*_forms(source, trees, data, mark), ("minified", minified)]
    measure = _measure([candidate for _, candidate in found], count)
    for form, candidate in sorted(found, key=lambda pair: measure(pair[1])):
        if form == "minified" or restore(candidate) == (source, data):
            return StructuredResult(candidate + end, form, source, minified + end)
    raise AssertionError("the minified text is among the candidates")


def _minified(lines: list[str], count: Count) -> str:
    minified = "\n".join(map(minify, lines))
    spelled = spell_out(minified)
    if spelled == minified:
        return minified
    measure = _measure((minified, spelled), count)
    return min(spelled, minified, key=measure)


def _forms(source: str, trees: list[Tree], data: str, mark: str) -> Iterator[tuple[str, str]]:
    """`data` is what the trees are as JSON."""
    tree = trees[0] if source == "json" else trees
    if len(data) <= _TOON_MOST and isinstance(tree, list | dict):
        for delimiter in (",", "\t"):
            try:
                toon = _toon(tree, delimiter, mark)
            except ValueError:  # a lone surrogate, or nested too deeply
                break
            bare = source == "json" and _HEADER.match(toon)
            yield "toon", toon if bare else f"{_SIGN_OF['toon', source]}\n{toon}"
    if f'"{COLUMNS}"' not in data and f'"{COLUMNS}"' in (tables := dump(tabulate(tree), mark)):
        yield "table", f"{_SIGN_OF['table', source]}\n{tables}"


def _toon(tree: Tree, delimiter: str, mark: str) -> str:
    """The library would write 1.0 as 1; what it takes for a string it leaves alone."""
    import toon_format

    return toon_format.dumps(tree, delimiter=delimiter).replace(mark, "")


def _read(form: str, source: str, text: str) -> str | None:
    mark = free_mark(text)
    if mark is None or not text:
        return None
    try:
        tree = _read_toon(text, mark) if form == "toon" else _read_tables(text, mark)
        if source == "json":
            return dump(tree, mark)
        return "\n".join(dump(line, mark) for line in tree) if isinstance(tree, list) and tree else None
    except (ValueError, RecursionError):
        return None


def _read_toon(text: str, mark: str) -> Tree:
    import toon_format

    number = mark.__add__
    return toon_format.loads(text, parse_int=number, parse_float=number)


def _read_tables(text: str, mark: str) -> Tree:
    if f'"{COLUMNS}"' not in text:
        raise ValueError("no table")
    return untabulate(parser(mark)(text), mark)


def _measure(texts: Sequence[str], count: Count) -> Callable[[str], float]:
    """Tokens, or an estimate of them where counting every candidate would take longer than all else."""
    if max(map(len, texts)) <= _COUNTED_MOST:
        return count
    return lambda text: len(text) / _SAMPLE / _SAMPLES * sum(map(count, _samples(text)))


def _samples(text: str) -> list[str]:
    step = max(len(text) // _SAMPLES, 1)
    return [text[at : at + _SAMPLE] for at in range(0, step * _SAMPLES, step)]
