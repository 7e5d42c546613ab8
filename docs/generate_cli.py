"""Write docs/cli.md from the commands themselves; `--check` exits 1 when the file is stale.

Run from anywhere, with the package importable: `python docs/generate_cli.py [--check]`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from typer.main import get_command

from compressor_cli.cli.main import app
from compressor_cli.engines.options import Options
from compressor_cli.settings import PREFIX, Settings

TARGET = Path(__file__).with_name("cli.md")

# The section of the settings where a command's flags have their defaults.
SECTIONS = {
    "scc compress": "compress",
    "scc tokens": "compress",
    "scc bench compress": "bench",
    "scc data corpus": "corpus",
    "scc data pull": "pull",
    "scc data split": "split",
    "scc data stats": "compress",
    "scc train": "extractive",
    "scc eval": "eval",
}

INTRODUCTION = """\
# Command line

Made from the commands by `make docs`; do not edit.

Results go to stdout, everything else to stderr. A value comes from its flag, else from the environment, else from the
file given with `--config`, else from the default.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | wrong usage, setting or input; a missing key or extra |
| 3 | done in part: rows failed or are pending |
| 4 | the spending budget is reached |
| 100 | a gate was not met: the token budget is too small for what must stay |
| 130, 141, 143 | interrupted, the reader of a pipe went away, terminated |
"""


def main() -> int:
    text = render()
    if sys.argv[1:] == ["--check"]:
        fresh = TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text
        if not fresh:
            print(f"{TARGET.name} is stale: run `make docs`", file=sys.stderr)
        return 0 if fresh else 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


def render() -> str:
    command = get_command(app)
    context = command.make_context("scc", [], resilient_parsing=True)
    return "\n".join([INTRODUCTION, *_command(command, context), *_settings()])


def _command(command: Any, context: Any) -> Iterator[str]:
    """Depth first, in the order in which the commands were added."""
    if command.hidden:
        return
    yield f"## {context.command_path}\n"
    yield f"```\n{' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n```\n"
    if command.help:
        yield f"{command.help.strip()}\n"
    yield from _parameters(command, context)
    for name, child in getattr(command, "commands", {}).items():
        yield from _command(child, child.make_context(name, [], parent=context, resilient_parsing=True))


def _parameters(command: Any, context: Any) -> Iterator[str]:
    shown = [parameter for parameter in command.params if not parameter.hidden]
    for kind, title in (("argument", "Argument"), ("option", "Option")):
        rows = [parameter for parameter in shown if parameter.param_type_name == kind]
        if rows:
            yield f"| {title} | Value | Default | Meaning |\n|---|---|---|---|"
            yield "\n".join(_row(parameter, context) for parameter in rows) + "\n"


def _row(parameter: Any, context: Any) -> str:
    if parameter.param_type_name == "argument":
        names, value = f"`{parameter.display_name_raw}`", ""
    else:
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        value = "" if parameter.is_flag else f"`{parameter.display_type_rich(context)}`{_bounds(parameter)}"
    cells = (names, value, _default(parameter, context), parameter.help or "")
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


def _bounds(parameter: Any) -> str:
    low, high = parameter.min, parameter.max
    return (f" from {low:g}" if low is not None else "") + (f" to {high:g}" if high is not None else "")


def _default(parameter: Any, context: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    default = parameter.default
    if default is None and (section := SECTIONS.get(context.command_path)):
        default = _default_of(section, parameter.name)
    return "" if default is None or default is False or default == () else f"`{_plain(default)}`"


def _settings() -> Iterator[str]:
    """Every setting, under its variable; in a YAML file `SCC_PULL__OUTPUT` is `output` in the section `pull`."""
    yield "## Settings\n"
    yield f"{(_settings.__doc__ or '').strip()}\n"
    head = "| Variable | Value | Default |\n|---|---|---|"
    alone = [name for name in Settings.model_fields if not hasattr(_section(name), "model_fields")]
    yield head
    for name in alone:
        field = Settings.model_fields[name]
        yield _setting(name.upper(), field.annotation, field.default)
    yield ""
    for section in Settings.model_fields:
        if section in alone:
            continue
        yield head
        for name, field in _section(section).model_fields.items():
            yield _setting(f"{section.upper()}__{name.upper()}", field.annotation, _default_of(section, name))
        yield ""


def _setting(name: str, annotation: Any, default: Any) -> str:
    kind = _type_told(annotation).replace("|", "\\|")
    return f"| `{PREFIX}{name}` | `{kind}` | {'' if default is None else f'`{_plain(default)}`'} |"


def _default_of(section: str, name: str) -> Any:
    """The defaults of `compress` stand where Python finds them too."""
    if name not in _section(section).model_fields:
        return None
    return getattr(Options, name) if section == "compress" else _section(section).model_fields[name].default


def _section(name: str) -> Any:
    return Settings.model_fields[name].annotation


def _plain(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)


def _type_told(annotation: Any) -> str:
    """`float | None` as `float`: that a value may be absent shows in its empty default."""
    arguments = [argument for argument in get_args(annotation) if argument is not type(None)]
    if get_origin(annotation) is Literal:
        return "|".join(str(argument) for argument in arguments)
    if get_origin(annotation) in (dict, list, tuple):
        return str(annotation)
    if arguments:
        return "|".join(_type_told(argument) for argument in arguments)
    return str(getattr(annotation, "__name__", annotation))


if __name__ == "__main__":
    sys.exit(main())
