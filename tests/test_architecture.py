"""The layers of docs/architecture.md, the fast start, and the public names."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPO

import compressor_cli

PACKAGE = REPO / "compressor_cli"

# Who may import whom: a layer sees those before it. `settings` and `records` see `errors` only.
LAYERS = ("errors", "settings", "records", "core", "chat", "backends", "engines", "stages", "cli")
APART = {"stages", "backends"}  # whose members never import each other
TERMINAL = {"typer", "rich", "click"}
# What a command may load before it knows that it will run; typer brings rich along by itself.
HEAVY = {
    "anthropic", "datasets", "datasketch", "detect_secrets", "diskcache", "google", "jsonschema", "krippendorff",
    "mlx", "numpy", "onnxruntime", "openai", "pandas", "prometheus_client", "pyarrow", "pydantic", "pydantic_settings",
    "requests", "splintr", "starlette", "tiktoken", "tinker", "tokenizers", "torch", "transformers", "uvicorn", "yaml",
}  # fmt: skip


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(REPO).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), path


def imports(path: Path, *, top_level: bool = False) -> set[str]:
    """Dotted names that a module imports at run time; `from a import b` counts as `a.b` where that is a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = _top_level(tree) if top_level else ast.walk(tree)
    typing_only = {id(node) for block in ast.walk(tree) if _is_typing(block) for node in ast.walk(block)}
    found: set[str] = set()
    for node in nodes:
        if top_level and id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {_submodule(node.module, alias.name) for alias in node.names}
    return found


def _top_level(tree: ast.Module) -> Iterator[ast.AST]:
    """Statements that run on import: all but the bodies of functions."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def _is_typing(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _submodule(module: str, name: str) -> str:
    path = REPO.joinpath(*module.split("."), name)
    return f"{module}.{name}" if path.with_suffix(".py").is_file() or path.is_dir() else module


def layer(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


ALL = [pytest.param(name, path, id=name) for name, path in modules()]
LAYERED = [case for case in ALL if layer(str(case.values[0])) in LAYERS]


def test_every_module_has_a_layer() -> None:
    others = {layer(name) for name, _ in modules()} - set(LAYERS)
    assert others == {"", "__main__"}


@pytest.mark.parametrize(("name", "path"), LAYERED)
def test_imports_point_down(name: str, path: Path) -> None:
    own = layer(name)
    for imported in imports(path):
        if not imported.startswith("compressor_cli."):
            continue
        other = layer(imported)
        assert LAYERS.index(other) <= LAYERS.index(own), f"{name} imports {imported}"
        if own in ("settings", "records"):
            assert other in ("errors", own), f"{name} imports {imported}"
        if own in APART and other == own:
            assert _unit(imported) in (_unit(name), f"compressor_cli.{own}"), f"{name} imports {imported}"


def _unit(module: str) -> str:
    """One stage or backend, be it a module or a folder: the first three names."""
    return ".".join(module.split(".")[:3])


@pytest.mark.parametrize(("name", "path"), [case for case in LAYERED if layer(str(case.values[0])) != "cli"])
def test_only_cli_knows_the_terminal(name: str, path: Path) -> None:
    assert not {imported.split(".")[0] for imported in imports(path)} & TERMINAL
    prints = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if _is_print(node)]
    assert not prints, f"{name} prints"


def _is_print(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"


@pytest.mark.parametrize(("name", "path"), [case for case in LAYERED if layer(str(case.values[0])) == "cli"])
def test_commands_load_nothing_before_they_run(name: str, path: Path) -> None:
    allowed = {"typer", "typer.core", "compressor_cli.errors", "compressor_cli.cli"}
    for imported in imports(path, top_level=True):
        if imported.split(".")[0] not in sys.stdlib_module_names:
            assert imported in allowed or imported.startswith("compressor_cli.cli."), f"{name}: {imported}"


@pytest.mark.parametrize(("name", "path"), [case for case in ALL if layer(str(case.values[0])) != "settings"])
def test_only_settings_reads_the_environment(name: str, path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"):
            pytest.fail(f"{name}, line {node.lineno} reads the environment")


def test_a_start_loads_nothing_heavy() -> None:
    code = "import sys, compressor_cli.cli.main; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "typer" in done.stdout.split()
    assert not set(done.stdout.split()) & HEAVY


def test_the_package_alone_loads_nothing() -> None:
    code = "import sys, compressor_cli; print(*[name for name in sys.modules if name.startswith('compressor_cli.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_public_names() -> None:
    assert set(compressor_cli.__all__) == {
        "Receipt", "__version__", "check_facts", "compress", "expand", "materialize_hf_chat_dataset"
    }  # fmt: skip
    assert set(dir(compressor_cli)) == set(compressor_cli.__all__)
    assert all(callable(getattr(compressor_cli, name)) for name in compressor_cli.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        compressor_cli.nothing  # noqa: B018
