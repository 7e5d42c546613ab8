"""What the lossless forms of JSON, JSONL and CSV save, against minified JSON and TOON, and that the data comes back.

    python benchmarks/structured.py
    python benchmarks/structured.py --files export.csv events.jsonl response.json

Without files, documents are made up from a seed, such as programs send to models. TOON is what its library writes by
itself, in which 1.0 is 1; ours is what `scc compress` takes. The data is compared number text by number text.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import toon_format
from reporting import add_json, heading, print_heading, print_table, write_figures

from compressor_cli.core.tokens import DEFAULT_TOKENIZER, token_counter
from compressor_cli.engines.delimited import delimiter_of
from compressor_cli.engines.scorer import EMBEDDED
from compressor_cli.engines.structured import compress_structured, restore, source_of

_WORDS = (
    "order payment customer invoice shipment refund cart session token timeout retry queue worker cache index report "
    "export import sync schedule webhook account profile upload download search filter update error warning"
).split()
_NAMES = (
    "Ada Byron",
    "Bo Lindqvist",
    "Chen Wei",
    "Dana Whitfield",
    "Émile Roux",
    "Farah Khan",
    "Grace O'Neil",
    "Ida Sæther",
)


@dataclass(frozen=True)
class Figures:
    """Tokens, but for `form`, `seconds` and `equal`; None where there is no such form of the document."""

    name: str
    source: str
    given: int
    indented: int | None
    minified: int
    toon: int | None
    ours: int
    form: str
    seconds: float
    megabytes: float
    equal: bool


def measure(name: str, text: str, count: Callable[[str], int]) -> Figures:
    """Of the time, that of `count` is a part: candidates are compared by it."""
    began = time.perf_counter()
    result = compress_structured(text, count=count)
    seconds = time.perf_counter() - began
    restored = restore(result.text)
    values = None if result.source in ("csv", "tsv") else _values(text, result.source)
    return Figures(
        name=name,
        source=result.source,
        given=count(text),
        indented=None if values is None else count(_indented(values, result.source)),
        minified=count(result.minified),
        toon=None if values is None else count(toon_format.dumps(values)),
        ours=count(result.text),
        form=result.form,
        seconds=seconds,
        megabytes=len(text.encode("utf-8", "replace")) / 1e6,
        equal=restored is not None and restored[0] == result.source and data(*restored) == data(result.source, text),
    )


def data(source: str, text: str) -> Any:
    """What a reader gets: numbers as they are written, objects as pairs; the cells of a CSV."""
    if source in ("csv", "tsv"):
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text) or ","))
    return _values(
        text, source, parse_int=_number, parse_float=_number, parse_constant=_number, object_pairs_hook=tuple
    )


def _number(literal: str) -> tuple[str, str]:
    return "number", literal


def _values(text: str, source: str, **hooks: Any) -> Any:
    text = text.removeprefix("\ufeff")
    if source == "json":
        return json.loads(text, **hooks)
    return [json.loads(line, **hooks) for line in text.split("\n") if line.strip()]


def _indented(values: Any, source: str) -> str:
    texts = [json.dumps(value, indent=2, ensure_ascii=False) for value in ([values] if source == "json" else values)]
    return "\n".join(texts)


# --- documents


def issues(rows: int, pick: random.Random) -> str:
    """A page of an API as it answers: one line, nested users, arrays of labels, nulls, some optional keys."""
    labels = [
        {"id": 200 + i, "name": name, "color": f"{pick.randrange(1 << 24):06x}"} for i, name in enumerate(_WORDS[:6])
    ]
    items = []
    for i in range(rows):
        item = {
            "id": 10_000 + i,
            "url": f"https://api.example.com/repos/acme/shop/issues/{i}",
            "title": _sentence(pick, 6),
            "user": {"login": pick.choice(_NAMES), "id": pick.randrange(9999), "type": "User", "site_admin": False},
            "labels": pick.sample(labels, pick.randrange(3)),
            "state": pick.choice(("open", "closed")),
            "assignee": {"login": pick.choice(_NAMES), "id": pick.randrange(9999)} if pick.random() < 0.4 else None,
            "comments": pick.randrange(12),
            "created_at": _moment(pick),
            "body": _sentence(pick, 14),
        }
        if pick.random() < 0.3:
            item["closed_at"] = _moment(pick)
        items.append(item)
    return json.dumps({"total_count": rows, "incomplete_results": False, "items": items})


def measurements(rows: int, pick: random.Random) -> str:
    """A flat table, the best case of any tabular form, as a program would indent it."""
    items = [
        {
            "sensor": f"s-{i % 7}",
            "at": 1700000000 + 60 * i,
            "celsius": round(pick.gauss(19, 4), 1),
            "ok": pick.random() < 0.9,
        }
        for i in range(rows)
    ]
    return json.dumps({"unit": "C", "readings": items}, indent=2)


def config(rows: int, pick: random.Random) -> str:
    """Nested settings, little of which repeats."""
    services = {
        f"{pick.choice(_WORDS)}-{i}": {
            "image": f"registry.example.com/{pick.choice(_WORDS)}:{i}.{pick.randrange(9)}",
            "replicas": pick.randrange(1, 5),
            "env": {word.upper(): pick.choice(_WORDS) for word in pick.sample(_WORDS, pick.randrange(1, 4))},
            "ports": [8000 + i] if pick.random() < 0.6 else [],
            "limits": {"cpu": f"{pick.randrange(1, 9)}00m", "memory": f"{pick.randrange(1, 9)}Gi"},
        }
        for i in range(rows // 8)
    }
    return json.dumps({"version": "3.9", "defaults": {"retries": 3, "backoff": 1.50}, "services": services}, indent=2)


def geojson(rows: int, pick: random.Random) -> str:
    features = [
        {
            "type": "Feature",
            "geometry": {
                "type": "Point",
                "coordinates": [round(pick.uniform(5, 15), 5), round(pick.uniform(47, 55), 5)],
            },
            "properties": {
                "name": _sentence(pick, 2),
                "kind": pick.choice(_WORDS),
                "population": pick.randrange(10**6),
            },
        }
        for _ in range(rows)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}, indent=2)


def logs(rows: int, pick: random.Random) -> str:
    """JSONL: lines of a few shapes, written by a program that escapes what is not ASCII."""
    lines = []
    for _ in range(rows):
        line: dict[str, Any] = {
            "ts": _moment(pick),
            "level": "info",
            "service": pick.choice(_WORDS[:4]),
            "msg": _sentence(pick, 5),
        }
        if pick.random() < 0.5:
            line |= {"status": pick.choice((200, 200, 200, 404, 500)), "ms": round(pick.expovariate(0.02), 3)}
        if pick.random() < 0.1:
            line |= {"level": "error", "error": {"type": "TimeoutError", "message": _sentence(pick, 4)}}
        if pick.random() < 0.3:
            line["user"] = pick.choice(_NAMES)
        lines.append(json.dumps(line))
    return "\n".join(lines) + "\n"


def export(rows: int, pick: random.Random) -> str:
    """CSV in which every cell is quoted, as many programs export it."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=csv.QUOTE_ALL)
    writer.writerow(["id", "customer", "city", "amount", "note"])
    for i in range(rows):
        note = _sentence(pick, 5) + (", " + _sentence(pick, 2) if pick.random() < 0.3 else "")
        writer.writerow([f"{i:06d}", pick.choice(_NAMES), "Göteborg", f"{pick.uniform(1, 900):.2f}", note])
    return file.getvalue()


def _sentence(pick: random.Random, words: int) -> str:
    return " ".join(pick.choices(_WORDS, k=words)).capitalize()


def _moment(pick: random.Random) -> str:
    return (
        f"2026-0{pick.randrange(1, 10)}-{pick.randrange(10, 29)}T{pick.randrange(10, 24)}:{pick.randrange(10, 60)}:07Z"
    )


DOCUMENTS: dict[str, Callable[[int, random.Random], str]] = {
    "API response": issues,
    "measurements": measurements,
    "configuration": config,
    "GeoJSON": geojson,
    "log, JSONL": logs,
    "export, CSV": export,
}


def print_figures(figures: Sequence[Figures]) -> None:
    columns = ("document", "input", "indent=2", "minified", "TOON", "ours", "form", "of minified", "MB/s", "equal")
    rows = [
        (
            f.name,
            f"{f.given:,}",
            "" if f.indented is None else f"{f.indented:,}",
            f"{f.minified:,}",
            "" if f.toon is None else f"{f.toon:,}",
            f"{f.ours:,}",
            f.form,
            f"{100 * f.ours / f.minified:.1f} %",
            f"{f.megabytes / f.seconds:.1f}",
            "yes" if f.equal else "NO",
        )
        for f in figures
    ]
    print_table("Tokens", columns, rows)


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=Path, nargs="+", metavar="FILE", help="JSON, JSONL or CSV of your own")
    parser.add_argument("--rows", type=int, default=400, help="rows of each document that is made up")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokenizer", default=DEFAULT_TOKENIZER)
    add_json(parser)
    return parser.parse_args(argv)


def texts(arguments: argparse.Namespace) -> dict[str, str]:
    if not arguments.files:
        return {name: make(arguments.rows, random.Random(arguments.seed)) for name, make in DOCUMENTS.items()}
    found = {}
    for path in arguments.files:
        text = path.read_bytes().decode("utf-8")
        if source_of(text) is None:
            print(f"{path}: neither JSON, JSONL nor CSV", file=sys.stderr)
        else:
            found[path.name] = text
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """1 where some data did not come back."""
    arguments = parse_arguments(argv)
    count = token_counter(arguments.tokenizer).count
    count("warm")
    head = heading(EMBEDDED) | {"model": "none, this is by rules"}
    head["versions"]["toon-format"] = version("toon-format")
    print_heading(head)
    figures = [measure(name, text, count) for name, text in texts(arguments).items()]
    if not figures:
        return 1
    print_figures(figures)
    write_figures(arguments.json, head, figures=[asdict(found) for found in figures])
    return 0 if all(found.equal for found in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
