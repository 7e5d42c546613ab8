"""`scc runs`: real run folders in each state, in a table, in full, and as curves."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import Scc
from hypothesis import example, given
from hypothesis import strategies as st

from compressor_cli.core import curves
from compressor_cli.core.checkpoints import Position
from compressor_cli.core.curves import Curve, terminal_chart, write_html, write_png
from compressor_cli.core.runs import RunSpec, open_run


def write(folder: Path) -> None:
    (folder / "w.json").write_text("{}")


def make_run(path: Path, losses: Sequence[float], *, finish: bool = True, valid: float | None = None) -> None:
    spec = RunSpec("torch", {"seed": 1}, {}, "a/model", steps=10, save_every=2)
    with open_run(path, spec) as run:
        for step, loss in enumerate(losses, start=1):
            run.record(step, 0, loss=loss, val_loss=valid, lr=1e-4, tokens=5, seconds=1)
            if run.due(step):
                run.save(Position(0, step, step), write)
        if finish:
            run.finish()


@pytest.fixture
def runs(work: Path) -> Path:
    make_run(work / "runs/done", [3, 2, 1.5, 1.2], valid=1.75)
    make_run(work / "runs/group/stopped", [2.5, 2], finish=False)
    with pytest.raises(RuntimeError):
        make_run(work / "runs/failed", _failing())
    (work / "runs/notes").mkdir()
    return work / "runs"


def _failing() -> Any:
    yield 3.0
    raise RuntimeError("x")


def test_the_table_has_every_run(runs: Path, scc: Scc) -> None:
    (runs / "broken").mkdir()
    (runs / "broken/run.json").write_text("{")
    done = scc("runs", "list", runs)
    assert done.exit_code == 0
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.split()}
    assert re.search(
        r"torch +a/model +finished +4/10 +1\.2000 +1\.7500 +\d{4}-\d\d-\d\d \d\d:\d\d +0:00:0\d", lines["done"]
    )
    assert re.search(r"stopped +2/10 +2\.0000 +- ", lines["group/stopped"])
    assert " failed " in lines["failed"] and "notes" not in lines
    assert "broken/run.json is not JSON" in done.stderr
    rows = json.loads(scc("runs", "list", runs, "--json").stdout)
    assert [row["name"] for row in rows] == ["done", "group/stopped", "failed"]
    assert rows[0]["steps"] == 4 and rows[0]["best_val_loss"] == 1.75 and rows[0]["seconds"] >= 0


def test_a_run_is_running_as_long_as_its_process(runs: Path, work: Path, scc: Scc) -> None:
    def state() -> str:
        found = {row["name"]: row["state"] for row in json.loads(scc("runs", "list", runs, "--json").stdout)}
        return str(found["live"])

    with open_run(runs / "live", RunSpec("torch", {}, {})) as run:
        run.record(1, 0, loss=1.0)
        with (run.folder / "metrics.jsonl").open("ab") as handle:
            handle.write(b'{"step": 2, "l')
        assert state() == "running"
        card = (runs / "live/run.json").read_bytes()
    assert state() == "stopped"
    (runs / "live/run.json").write_bytes(card)  # as a kill leaves it
    assert state() == "stopped"


def test_a_run_in_full(runs: Path, scc: Scc) -> None:
    (runs / "done/checkpoints/step_00000004/w.json").write_text("")
    done = scc("runs", "show", runs / "done")
    assert done.exit_code == 0
    for line in ("state: finished", "settings.seed: 1", "step_00000002: ", "sessions.1.from_step: 0"):
        assert line in done.stdout
    assert re.search(r"step_00000002: \d+ bytes, valid\n", done.stdout)
    assert "not valid: w.json has 0 bytes of 2" in done.stdout
    found = json.loads(scc("runs", "show", runs / "done", "--json").stdout)
    assert found["run"]["settings"] == {"seed": 1}
    assert [checkpoint["valid"] for checkpoint in found["checkpoints"]] == [True, False]


def test_curves_fit_80_columns_of_a_pipe(runs: Path, scc: Scc) -> None:
    done = scc("runs", "plot", runs / "done", runs / "group/stopped")
    assert done.exit_code == 0
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert any(0x2800 < ord(letter) <= 0x28FF for letter in done.stdout)
    for told in ("● done: 3 -> 1.2", "▲ done (validation): 1.75 -> 1.75", "■ stopped: 2.5 -> 2", "step 1", "\x1b"):
        assert (told in done.stdout) == (told != "\x1b")
    found = json.loads(scc("runs", "plot", runs / "done", "--json").stdout)
    assert found["curves"][0] == {"name": "done", "points": [[1, 3], [2, 2], [3, 1.5], [4, 1.2]]}


def test_names_do_not_steer_the_terminal(work: Path, scc: Scc) -> None:
    make_run(work / "runs/\x1b]0;title\x07\x9b31m", [1, 2])
    for words in (("list", "runs"), ("show", "runs/\x1b]0;title\x07\x9b31m"), ("plot", "runs/\x1b]0;title\x07\x9b31m")):
        done = scc("runs", *words)
        assert done.exit_code == 0 and "?]0;title??31m" in done.stdout
        assert not {"\x1b", "\x07", "\x9b"} & set(done.stdout)


def test_runs_of_one_name_are_told_apart(work: Path, scc: Scc) -> None:
    for name in ("a/sft", "b/sft"):
        make_run(work / name, [1, 2])
    done = scc("runs", "plot", "a/sft", "b/sft")
    assert "a/sft: 1 -> 2" in done.stdout and "b/sft: 1 -> 2" in done.stdout


def test_a_terminal_that_is_not_utf8_gets_a_chart(runs: Path, scc_process: Scc) -> None:
    done = scc_process("runs", "plot", runs / "done", env={"PYTHONIOENCODING": "ascii"})
    assert done.exit_code == 0 and "done: 3 -> 1.2" in done.stdout


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_loads_nothing_and_runs_nothing(work: Path, scc: Scc) -> None:
    name = '<script>alert(1)</script>&"'
    write_html([Curve(name, ((1, 2), (2, 1)))], work / "p.html", name)
    text = (work / "p.html").read_text()
    tags = _Tags()
    tags.feed(text)
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in tags.found}
    assert not {"src", "href", "onload", "srcset"} & {name for _, attributes in tags.found for name in attributes}
    assert "http" not in text.replace("http-equiv", "") and "url(" not in text and "@import" not in text
    assert text.count("&lt;script&gt;") == 4 and "<polyline" in text


@pytest.mark.skipif(find_spec("PIL") is None, reason="pillow is not installed")
def test_pictures_of_several_runs(runs: Path, work: Path, scc: Scc) -> None:
    from PIL import Image

    done = scc("runs", "plot", runs / "done", runs / "group/stopped", "--png", "p.png", "--html", "p.html")
    assert (done.exit_code, done.stdout.split()) == (0, ["p.png", "p.html"])
    with Image.open(work / "p.png") as image:
        assert (image.format, image.width) == ("PNG", 900)
        colours = {colour for _, colour in image.convert("RGB").getcolors(10**6) or []}
    for colour in curves.COLOURS[:2]:
        red, green, blue = bytes.fromhex(colour[1:])
        assert any(abs(r - red) + abs(g - green) + abs(b - blue) < 20 for r, g, b in colours), colour
    assert (work / "p.html").read_text().count("stroke-dasharray") == 2  # the curve, and its line in the legend


def test_without_pillow_the_extra_is_named(runs: Path, scc: Scc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "find_spec", lambda name: None)
    done = scc("runs", "plot", runs / "done", "--png", "p.png")
    assert done.exit_code == 2 and "'pillow'" in done.stderr and "[curves]" in done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("list", "nowhere"), "no such folder: nowhere"),
        (("show", "nowhere"), "nowhere is no run: it has no run.json"),
        (("plot", "nowhere"), "nowhere is no run"),
        (("plot", "empty"), "no losses yet in empty"),
    ],
)
def test_what_is_no_run_is_told(args: tuple[str, ...], message: str, work: Path, scc: Scc) -> None:
    make_run(work / "empty", [])
    done = scc("runs", *args)
    assert done.exit_code == 2 and message in done.stderr


def test_a_folder_without_runs(work: Path, scc: Scc) -> None:
    (work / "runs").mkdir()
    done = scc("runs", "list")
    assert (done.exit_code, done.stdout) == (0, "") and "no runs in runs" in done.stderr
    assert scc("runs", "list", "--json").stdout == "[]\n"


values = st.floats(-1e9, 1e9, allow_nan=False)
shapes = st.lists(
    st.lists(st.tuples(st.integers(0, 10**7).map(float), values), min_size=1, max_size=8), min_size=1, max_size=4
)


@example([[(1000.0, -1e9), (1001.0, 0.0)]], 30, False)
@given(shapes, st.integers(30, 200), st.booleans())
def test_any_curves_can_be_drawn(points: list[list[tuple[float, float]]], width: int, dashed: bool) -> None:
    given = [Curve(f"run {n}", tuple(sorted(each)), dashed) for n, each in enumerate(points)]
    lines = terminal_chart(given, width).splitlines()
    assert len(lines) == 20 + 2 + len(given) and all(len(line) <= width for line in lines)
    write_html(given, Path("p.html"), "t")
    numbers = [
        float(number)
        for spots in re.findall(r'points="([^"]+)"', Path("p.html").read_text())
        for number in re.split("[ ,]", spots)
    ]
    assert all(-1 <= number <= 1000 for number in numbers)


@pytest.mark.skipif(find_spec("PIL") is None, reason="pillow is not installed")
def test_a_curve_of_one_point_and_a_flat_one(work: Path) -> None:
    write_png([Curve("one", ((1, 1),)), Curve("flat", ((1, 2), (5, 2)), dashed=True)], work / "p.png")
    assert (work / "p.png").stat().st_size > 1000
