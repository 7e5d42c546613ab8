"""What is left of code at each level, whether it is still the same program, and how fast that goes.

    python benchmarks/code_levels.py --humaneval HumanEval.jsonl --stdlib

`regex` is what comment stripping by regular expression leaves: all but `#` to the end of the line and strings in triple
quotes. A file counts where Python parses it as it stands; it is the same where `ast.dump` without docstrings is, a body
that was only a docstring counting as `...`. The programs of HumanEval are run with their tests, before and after.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import subprocess
import sys
import sysconfig
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from reporting import add_json, heading, physical_cores, print_heading, print_table, write_figures

from compressor_cli.core.tokens import token_counter
from compressor_cli.engines.code import LEVELS, compress_code
from compressor_cli.engines.scorer import EMBEDDED

_TIMEOUT = 30  # seconds that a program may take with its tests
_COLUMNS = ("system", "tokens left", "parse", "same tree", "tests broken", "stopped lower", "MB/min")
_TRIPLE = re.compile(r"\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?'''")
_HASH = re.compile(r"#.*$", re.MULTILINE)

System = Callable[[str], tuple[str, str]]  # a source's text and level afterwards


@dataclass(frozen=True)
class Program:
    source: str
    tests: str  # what runs after it, empty where nothing does


@dataclass(frozen=True)
class Outcome:
    """Counts of programs; `broken` is None where none has tests, or for an outline, which is not there to be run."""

    system: str
    programs: int
    left: float
    parse: int
    same: int
    broken: int | None
    lower: int
    speed: float  # MB a minute, of processor time


def by_regex(source: str) -> tuple[str, str]:
    return _HASH.sub("", _TRIPLE.sub("", source)), "regex"


def by_level(level: str) -> System:
    def system(source: str) -> tuple[str, str]:
        result = compress_code(source, language="python", level=level)
        return result.text, result.level

    return system


SYSTEMS: dict[str, System] = {"regex": by_regex, **{level: by_level(level) for level in LEVELS}}


def read_humaneval(path: Path) -> list[Program]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [
        Program(row["prompt"] + row["canonical_solution"], f"\n{row['test']}\ncheck({row['entry_point']})\n")
        for row in rows
    ]


def read_folder(folder: Path) -> list[Program]:
    """Every file that is UTF-8 and that Python parses as it stands; packages installed into it are not part of it."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        if "site-packages" in path.parts:
            continue
        try:
            source = path.read_bytes().decode()
        except UnicodeDecodeError:
            continue
        if tree(source) is not None:
            found.append(Program(source, ""))
    return found


def tree(source: str) -> str | None:
    """The program without its docstrings, or None where it does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sources that warn when they are compiled
            parsed = ast.parse(source)
        for node in ast.walk(parsed):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                _drop_docstring(node)
        return ast.dump(parsed)
    except (SyntaxError, ValueError, RecursionError):
        return None


def _drop_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    if ast.get_docstring(node, clean=False) is not None:
        rest = node.body[1:]
        node.body = rest or ([] if isinstance(node, ast.Module) else [ast.Expr(ast.Constant(...))])


def passes(program: Program, text: str) -> bool:
    command = [sys.executable, "-I", "-c", text + program.tests]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def measure(programs: Sequence[Program], names: Sequence[str]) -> Iterator[Outcome]:
    count = token_counter().count
    tokens = sum(count(program.source) for program in programs)
    size = sum(len(program.source.encode()) for program in programs)
    trees = [tree(program.source) for program in programs]
    tested = [program for program in programs if program.tests]
    with ThreadPoolExecutor(physical_cores()) as pool:
        before = list(pool.map(passes, tested, [program.source for program in tested]))
        for name in names:
            system = SYSTEMS[name]
            system(programs[0].source)  # loads what it needs
            began = time.process_time()
            results = [system(program.source) for program in programs]
            seconds = max(time.process_time() - began, 1e-9)
            texts = [text for text, _ in results]
            after = [tree(text) for text in texts]
            broken = None
            if tested and name != "outline":
                now = pool.map(passes, tested, texts)
                broken = sum(was and not passed for was, passed in zip(before, now, strict=True))
            yield Outcome(
                system=name,
                programs=len(programs),
                left=sum(map(count, texts)) / max(tokens, 1),
                parse=sum(found is not None for found in after),
                same=sum(a == b for a, b in zip(after, trees, strict=True)),
                broken=broken,
                lower=sum(level not in (name, "regex") for _, level in results),
                speed=60 * size / 1e6 / seconds,
            )


def row(outcome: Outcome) -> tuple[str, ...]:
    name = outcome.system if outcome.system == "regex" else f"scc --level {outcome.system}"
    parse, same = (f"{100 * found / outcome.programs:.1f} %" for found in (outcome.parse, outcome.same))
    broken = "-" if outcome.broken is None else str(outcome.broken)
    return (name, f"{100 * outcome.left:.1f} %", parse, same, broken, str(outcome.lower), f"{outcome.speed:,.0f}")


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    standard = Path(sysconfig.get_path("stdlib"))
    parser.add_argument("--humaneval", type=Path, metavar="JSONL", help="programs with tests, which are run")
    help_files = "a folder of Python files; default: the standard library of this Python"
    parser.add_argument("--stdlib", type=Path, nargs="?", const=standard, metavar="FOLDER", help=help_files)
    parser.add_argument("--systems", nargs="+", choices=tuple(SYSTEMS), default=list(SYSTEMS))
    add_json(parser)
    args = parser.parse_args(argv)
    if args.humaneval is None and args.stdlib is None:
        parser.error("name --humaneval, --stdlib or both")
    return args


def main() -> None:
    args = parse_arguments()
    head = heading(EMBEDDED)
    print_heading(head)
    sets = (("HumanEval", read_humaneval, args.humaneval), ("files", read_folder, args.stdlib))
    tables = []
    for name, read, path in sets:
        if path is not None:
            programs = read(path)
            outcomes = list(measure(programs, args.systems))
            megabytes = sum(len(program.source.encode()) for program in programs) / 1e6
            print_table(f"{name}: {len(programs):,} programs, {megabytes:.1f} MB", _COLUMNS, [row(o) for o in outcomes])
            tables.append({"set": name, "systems": [asdict(outcome) for outcome in outcomes]})
    write_figures(args.json, head, tables=tables)


if __name__ == "__main__":
    main()
