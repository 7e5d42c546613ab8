"""Reports: pages that stand alone, in which nothing of a model or a dataset is anything but text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browsing import CHROMIUM, DESKTOP, PHONE, use
from conftest import Run
from evaluating import Scripted, chat_row, said, short, text, write_rows
from hypothesis import given
from hypothesis import strategies as st

from compressor_cli.core.evaluation import samples as best_and_worst
from compressor_cli.core.evaluation_rows import read_eval_rows
from compressor_cli.core.report_charts import histogram, scatter
from compressor_cli.core.report_page import Column, TableRow, marked, page
from compressor_cli.settings import EvalSettings
from compressor_cli.stages.evaluate import evaluate

Scc = Callable[..., Run]
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'& \u2028 \ud800 <!-- ]]>"


class Reader(HTMLParser):
    """Elements, their attributes, and what stands in scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.scripts and self.elements[-1][0] == "script":
            self.scripts[-1] += data


def read(path: Path) -> tuple[Reader, Any]:
    """The page, and the rows in it."""
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader, json.loads(reader.scripts[0])


def report(rows: list[dict[str, Any]], answer: Callable[[int], str], name: str = "a") -> Path:
    data = write_rows(Path("data.jsonl"), rows)
    model = Scripted(lambda place, prompt: said(answer(place), error="out of memory" if answer(place) == "!" else None))
    settings = EvalSettings(embeddings="none")
    asked = read_eval_rows(data, None)
    evaluate(settings, asked, Path(f"eval/{name}.jsonl"), lambda: model, {"backend": "torch", "model": "tiny"})
    return Path(f"eval/{name}/report.html")


@pytest.fixture
def thirty(work: Path) -> Path:
    """Rows of which one loses facts, one fails, one is larger and one is truncated."""
    answers = {1: "Pump 1.", 2: "!", 3: text(3) * 2}
    return report([chat_row(n) for n in range(70)], lambda place: answers.get(place, short(place)))


def test_a_page_loads_nothing_and_has_every_row(thirty: Path) -> None:
    reader, data = read(thirty)
    tags = {tag for tag, _ in reader.elements}
    assert not tags & {"link", "img", "iframe", "object", "embed"} - {"link"}
    sources = [attributes.get("src") or attributes.get("href") for _, attributes in reader.elements]
    assert [source for source in sources if source] == ["data:,"], "the icon, which browsers would ask for"
    policy = next(dict(a)["content"] for tag, a in reader.elements if "http-equiv" in a)
    assert policy is not None and policy.startswith("default-src 'none'")
    assert not re.search(r"https?://|//[a-z]", thirty.read_text().replace("http-equiv", ""))
    assert len(data["rows"]) == 70
    assert sum(tag == "svg" for tag, _ in reader.elements) == 4
    tags_of_rows = {tag for row in data["rows"] for tag in row["tags"]}
    assert tags_of_rows == {"best five", "worst five", "failed", "facts lost", "larger"}
    for name in ("best five", "worst five"):
        assert sum(name in row["tags"] for row in data["rows"]) == 5
    widths = [attributes.get("content") for tag, attributes in reader.elements if attributes.get("name") == "viewport"]
    assert widths == ["width=device-width, initial-scale=1"]
    text_of_page = thirty.read_text()
    assert "prefers-color-scheme: dark" in text_of_page and "ratio, mean" in text_of_page


def test_lost_facts_are_marked_in_the_input(thirty: Path) -> None:
    _, data = read(thirty)
    row = next(row for row in data["rows"] if any("Pump 1." in part[0] for _, parts in row["texts"] for part in parts))
    title, parts = row["texts"][0]
    assert title.startswith("Input") and "".join(part for part, _, _ in parts) == text(1)
    lost = {part for part, status, _ in parts if status}
    assert "above 3 bar" in lost and any("March 2020" in part for part in lost)


def test_texts_of_others_stay_texts(work: Path) -> None:
    hostile = {"messages": [{"role": "user", "content": HOSTILE + text(0)}, {"role": "assistant", "content": HOSTILE}]}
    path = report([hostile, chat_row(1)], lambda place: HOSTILE if place == 0 else "!")
    plain, _ = read(report([chat_row(0), chat_row(1)], lambda place: short(place), "b"))
    reader, data = read(path)
    assert len(reader.scripts) == len(plain.scripts) == 2
    assert not any(name.startswith("on") for _, attributes in reader.elements for name in attributes)
    shown = [part for row in data["rows"] for _, parts in row["texts"] for part, _, _ in parts]
    assert HOSTILE in shown


@given(st.text(max_size=60), st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=8))
def test_marks_take_nothing_away(text: str, spans: list[tuple[int, int]]) -> None:
    parts = marked(text, [(start, start + size, "lost", "") for start, size in spans])
    assert "".join(part for part, _, _ in parts) == text
    assert all(part for part, _, _ in parts)


@given(st.text(max_size=40))
def test_any_text_can_stand_in_a_page(text: str) -> None:
    row = TableRow([(text, text)], text, [text], [text], [(text, [(text, "", "")])])
    reader = Reader()
    reader.feed(page(text, [], [Column(text)], [row]).decode())
    assert json.loads(reader.scripts[0])["rows"][0]["cells"] == [[text, text]]


@given(st.lists(st.floats(0, 5), min_size=1, max_size=30))
def test_charts_count_every_value(values: list[float]) -> None:
    drawn = histogram("Ratio", values, 0, max(1.0, *values))
    assert sum(int(count) for count in re.findall(r": (\d+)</title>", drawn)) == len(values)
    assert len(re.findall("<circle", scatter("x", [(value, 0.5, "<r>") for value in values], ("a", "b")))) == len(
        values
    )


def test_best_and_worst_are_different_rows() -> None:
    rows = [{"id": str(n), "output": "x", "fidelity": n / 10, "ratio": 0.5} for n in range(7)]
    best, worst = best_and_worst(rows)
    assert [row["id"] for row in best] == ["6", "5", "4"] and [row["id"] for row in worst] == ["0", "1", "2"]
    assert best_and_worst(rows[:1]) == ([], [])


# --- in a browser

browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
SEARCH = """
search.value = "number 1 was"; search.dispatchEvent(new Event("input"));
const line = document.querySelector("tr.row");
line.click();
const sections = [...document.querySelectorAll("tr.detail section")];
const told = {
  count: count.textContent,
  marks: [...document.querySelectorAll("mark")].map(mark => mark.textContent),
  tops: sections.map(section => Math.round(section.getBoundingClientRect().top)),
  wide: [document.documentElement.scrollWidth, innerWidth],
  spare: getComputedStyle(document.querySelector(".spare")).display,
};
line.click();
told.closed = document.querySelectorAll("tr.detail").length;
return told;
"""


@browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_the_report_is_searched_and_clicked(width: int, thirty: Path) -> None:
    told = use(thirty, SEARCH, width=width)
    assert told["count"] == "1 of 70 rows" and "above 3 bar" in told["marks"] and told["closed"] == 0
    assert told["wide"][0] <= told["wide"][1], "nothing to scroll sideways"
    side_by_side = len(set(told["tops"][:2])) == 1
    assert side_by_side == (width == DESKTOP) and (told["spare"] == "none") == (width == PHONE)


@browser
@pytest.mark.slow
def test_rows_are_sorted_filtered_and_shown_in_parts(thirty: Path) -> None:
    told = use(thirty, """
    const shown = () => [...document.querySelectorAll("tr.row")].map(line => line.cells[1].textContent);
    const before = shown().length;
    more.click();
    const all = shown().length, hidden = more.hidden;
    const head = document.querySelectorAll("#table th")[1];
    head.firstChild.click();
    const rising = shown();
    head.firstChild.click();
    const falling = shown(), sorted = head.getAttribute("aria-sort");
    group.value = "failed"; group.dispatchEvent(new Event("change"));
    const failed = shown();
    document.querySelector("tr.row").dispatchEvent(new KeyboardEvent("keydown", {key: "Enter"}));
    return {before, all, hidden, rising, falling, sorted, failed, note: document.querySelector(".notes").textContent};
    """)  # fmt: skip
    assert (told["before"], told["all"], told["hidden"]) == (50, 70, True)
    ratios = [float(value) for value in told["rising"][:-1]]
    assert ratios == sorted(ratios) and told["rising"][-1] == "failed"
    assert told["falling"][0] == told["rising"][-2] and told["sorted"] == "descending"
    assert told["failed"] == ["failed"] and told["note"] == "out of memory"


@browser
@pytest.mark.slow
def test_no_text_runs_in_the_browser(work: Path) -> None:
    hostile = {"messages": [{"role": "user", "content": HOSTILE + text(0)}, {"role": "assistant", "content": HOSTILE}]}
    path = report([hostile, chat_row(1)], lambda place: HOSTILE)
    told = use(path, """
    window.alert = () => { document.body.dataset.ran = "yes"; };
    document.querySelectorAll("tr.row").forEach(line => line.click());
    return {ran: document.body.dataset.ran || "no", images: document.images.length,
            texts: [...document.querySelectorAll("pre")].map(pre => pre.textContent)};
    """)  # fmt: skip
    assert told["ran"] == "no" and told["images"] == 0
    assert any("<img src=x onerror=alert(2)>" in shown for shown in told["texts"])


@browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_the_comparison_is_searched_and_clicked(width: int, work: Path, scc: Scc) -> None:
    pytest.importorskip("scipy")
    rows = [chat_row(n) for n in range(8)]
    report(rows, short)
    report(rows, lambda place: "Pump 1." if place == 1 else short(place), "b")
    done = scc("compare", "eval/a.jsonl", "eval/b.jsonl", "--html", "compare.html")
    assert done.exit_code == 0, done.stderr
    told = use(Path("compare.html"), SEARCH, width=width)
    assert told["count"] == "1 of 8 rows" and "above 3 bar" in told["marks"]
    assert told["wide"][0] <= told["wide"][1]
    reader, data = read(Path("compare.html"))
    assert data["rows"][0]["tags"] == ["differs most"] and len(reader.scripts) == 2
