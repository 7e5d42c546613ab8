"""What a compressed text still has of the original, measured on the pair alone: facts, a program, data."""

from __future__ import annotations

import ast
import csv
import io
import warnings

from compressor_cli.core.facts import check_facts
from compressor_cli.core.metrics import Share, kept_runs, words
from compressor_cli.engines.code import parses
from compressor_cli.engines.delimited import delimiter_of
from compressor_cli.engines.exactjson import minify, same_data, without_bom
from compressor_cli.engines.structured import restore, source_of

_KINDS = ("numbers", "negation", "names")


def prose_shares(text: str, output: str) -> dict[str, Share]:
    """Facts kept, of all kinds and of some; `run` is the mean length of the runs of words kept."""
    facts = check_facts(text, output).facts
    statuses = {kind: [fact.status for fact in facts if fact.kind == kind] for kind in _KINDS}
    statuses = {"facts": [fact.status for fact in facts], **statuses}
    return {
        **{name: (found.count("kept"), len(found)) for name, found in statuses.items()},
        "run": kept_runs(words(text), words(output)),
    }


def code_shares(text: str, output: str, language: str) -> dict[str, Share]:
    """`text` must parse. `tree` is of Python alone: the same tree but for docstrings."""
    before = _tree(text) if language == "python" else None
    after = _tree(output) if before else None
    sound = parses(output, language) and (before is None or after is not None)
    facts = check_facts(text, output, kinds=("code",)).facts
    return {
        "parse": (sound, 1),
        "tree": (before is not None and before == after, before is not None),
        "identifiers": (sum(fact.status == "kept" for fact in facts), len(facts)),
    }


def data_shares(text: str, output: str) -> dict[str, Share]:
    """Whether the same data can be read from `output`, number by number as it is written."""
    return {"equal": (output == text or _same_data(text, output), 1)}


def minified(text: str) -> str:
    """JSON, or the lines of JSONL, without white space between tokens; a table stays as it is."""
    source = source_of(text)
    if source == "json":
        return minify(without_bom(text))
    if source == "jsonl":
        return "".join(f"{minify(line)}\n" for line in without_bom(text).split("\n") if line.strip())
    return text


def _tree(source: str) -> str | None:
    """None for what Python does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes, by a text that is only looked at
            tree = ast.parse(source)
            for node in ast.walk(tree):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    _drop_docstring(node)
            return ast.dump(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _drop_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    if ast.get_docstring(node, clean=False) is not None:
        rest = node.body[1:]
        node.body = rest or ([] if isinstance(node, ast.Module) else [ast.Expr(ast.Constant(...))])


def _same_data(text: str, output: str) -> bool:
    source, restored = source_of(text), restore(output)
    if restored is None or restored[0] != source:
        return False
    try:
        if source in ("csv", "tsv"):
            return _cells(text) == _cells(restored[1])
        return same_data(*(_documents(each, source == "jsonl") for each in (text, restored[1])))
    except (ValueError, RecursionError, csv.Error):
        return False


def _documents(text: str, lines: bool) -> list[str]:
    bare = without_bom(text).strip()
    return [line for line in bare.split("\n") if line.strip()] if lines else [bare]


def _cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text) or ","))
