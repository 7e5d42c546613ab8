"""Curves in the terminal (braille), as SVG in a page that stands alone, and as PNG. One layout for the last two."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from itertools import pairwise
from pathlib import Path

from compressor_cli.core.files import write_atomic
from compressor_cli.errors import MissingExtraError

Point = tuple[float, float]
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf", "#7f7f7f")
_WIDTH, _HEIGHT = 900, 520
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 20, 50
_LEGEND_LINE = 20
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of a braille cell, by column and row
_MARKS = "●▲■◆○△□◇"


@dataclass(frozen=True)
class Curve:
    """Points by rising x, at least one. `dashed` goes with the curve before it, in its colour."""

    name: str
    points: tuple[Point, ...]
    dashed: bool = False


@dataclass(frozen=True)
class Line:
    points: tuple[Point, ...]
    colour: str
    dashed: bool = False


@dataclass(frozen=True)
class Text:
    """`anchor` is where x and y are: start, middle or end of the text, half-way up."""

    at: Point
    text: str
    anchor: str = "start"


def terminal_chart(curves: Sequence[Curve], width: int = 80, height: int = 20) -> str:
    """Lines of at most `width` columns. With several curves the end of each is marked as in the legend."""
    low, high = _span(y for curve in curves for _, y in curve.points)
    first, last = _span(x for curve in curves for x, _ in curve.points)
    ticks = [_number(value) for value in (high, (high + low) / 2, low)]
    margin = max(map(len, ticks)) + 2
    columns = max(10, width - margin)
    cells = [[0] * columns for _ in range(height)]
    marks: dict[tuple[int, int], str] = {}
    for curve, mark in zip(curves, _cycle(_MARKS, len(curves)), strict=True):
        spots = [
            (
                round((x - first) / (last - first) * (2 * columns - 1)),
                round((high - y) / (high - low) * (4 * height - 1)),
            )
            for x, y in curve.points
        ]
        for n, (x, y) in enumerate(_joined(spots)):
            if not curve.dashed or n // 4 % 2 == 0:
                cells[y // 4][x // 2] |= _DOTS[x % 2][y % 4]
        if len(curves) > 1:
            marks[spots[-1][1] // 4, spots[-1][0] // 2] = mark
    lines = []
    for n, row in enumerate(cells):
        tick = {0: ticks[0], height // 2: ticks[1], height - 1: ticks[2]}.get(n, "")
        drawn = "".join(marks.get((n, m), chr(0x2800 + cell) if cell else " ") for m, cell in enumerate(row))
        lines.append(f"{tick:>{margin - 2}} ┤{drawn}".rstrip())
    left, right = f"step {_number(first)}", _number(last)
    left = left if len(left) + len(right) < columns else ""
    lines.append(" " * (margin - 1) + "└" + "─" * columns)
    lines.append(" " * margin + left + right.rjust(columns - len(left)))
    for curve, mark in zip(curves, _cycle(_MARKS, len(curves)), strict=True):
        told = f"{mark} {curve.name}: {_number(curve.points[0][1])} -> {_number(curve.points[-1][1])}"
        lines.append(told if len(told) <= width else told[: width - 1] + "…")
    return "\n".join(lines)


def write_png(curves: Sequence[Curve], path: Path, *, across: str = "step") -> None:
    """Twice the size of the page's picture, scaled down, for smooth lines. Raises MissingExtraError without Pillow."""
    if find_spec("PIL") is None:
        raise MissingExtraError("pillow", "curves")
    from PIL import Image, ImageDraw, ImageFont

    height = _height(curves)
    image = Image.new("RGB", (2 * _WIDTH, 2 * height), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=26)
    for shape in _shapes(curves, across):
        if isinstance(shape, Text):
            anchor = {"start": "lm", "middle": "mm", "end": "rm"}[shape.anchor]
            draw.text((2 * shape.at[0], 2 * shape.at[1]), shape.text, fill="#333333", font=font, anchor=anchor)
        elif len(shape.points) == 1:
            (x, y) = shape.points[0]
            draw.ellipse((2 * x - 6, 2 * y - 6, 2 * x + 6, 2 * y + 6), fill=shape.colour)
        else:
            for part in _dashes(shape.points) if shape.dashed else [shape.points]:
                draw.line([(2 * x, 2 * y) for x, y in part], fill=shape.colour, width=4, joint="curve")
    data = BytesIO()
    image.resize((_WIDTH, height), Image.Resampling.BOX).save(data, "PNG")
    write_atomic(path, data.getvalue())


def write_html(curves: Sequence[Curve], path: Path, title: str, *, across: str = "step") -> None:
    """One page without scripts or anything to load. `across` is what x counts."""
    rows = "\n".join(
        f"<tr><td>{html.escape(curve.name)}</td><td>{_number(curve.points[0][1])}</td>"
        f"<td>{_number(curve.points[-1][1])}</td><td>{_number(min(y for _, y in curve.points))}</td>"
        f"<td>{_number(curve.points[-1][0])}</td></tr>"
        for curve in curves
    )
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>body{{font:16px system-ui,sans-serif;max-width:{_WIDTH}px;margin:2em auto;color:#222}}
svg{{width:100%;height:auto}}td,th{{padding:.2em 1em .2em 0;text-align:right}}
td:first-child,th:first-child{{text-align:left}}
</style></head><body><h1>{html.escape(title)}</h1>
{_svg(curves, across)}
<table><tr><th></th><th>first</th><th>last</th><th>lowest</th><th>last {html.escape(across)}</th></tr>
{rows}</table></body></html>
"""
    write_atomic(path, page.encode("utf-8", "backslashreplace"))


def _svg(curves: Sequence[Curve], across: str) -> str:
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_height(curves)}" role="img" font-family="sans-serif" font-size="13">']
    for shape in _shapes(curves, across):
        if isinstance(shape, Text):
            x, y = shape.at
            told = html.escape(shape.text)
            parts.append(f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="{shape.anchor}" fill="#333">{told}</text>')
        elif len(shape.points) == 1:
            x, y = shape.points[0]
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{shape.colour}"/>')
        else:
            spots = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
            dash = ' stroke-dasharray="6 4"' if shape.dashed else ""
            parts.append(f'<polyline points="{spots}" fill="none" stroke="{shape.colour}" stroke-width="1.5"{dash}/>')
    return "\n".join([*parts, "</svg>"])


def _shapes(curves: Sequence[Curve], across: str) -> list[Line | Text]:
    """Axes with ticks, the curves, and a legend below."""
    low, high = _span(y for curve in curves for _, y in curve.points)
    first, last = _span(x for curve in curves for x, _ in curve.points)
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def place(x: float, y: float) -> Point:
        return _LEFT + (x - first) / (last - first) * (right - _LEFT), bottom - (y - low) / (high - low) * (
            bottom - _TOP
        )

    shapes: list[Line | Text] = []
    for tick in _ticks(low, high):
        y = place(first, tick)[1]
        shapes += [Line(((_LEFT, y), (right, y)), "#e5e5e5"), Text((_LEFT - 8, y), _number(tick), "end")]
    for tick in _ticks(first, last):
        x = place(tick, low)[0]
        shapes += [Line(((x, bottom), (x, bottom + 5)), "#888888"), Text((x, bottom + 16), _number(tick), "middle")]
    shapes += [
        Line(((_LEFT, _TOP), (_LEFT, bottom), (right, bottom)), "#888888"),
        Text(((_LEFT + right) / 2, bottom + 36), across, "middle"),
    ]
    for n, (curve, colour) in enumerate(zip(curves, _colours(curves), strict=True)):
        y = _HEIGHT + _LEGEND_LINE * n
        shapes.append(Line(tuple(place(*point) for point in curve.points), colour, curve.dashed))
        shapes += [Line(((_LEFT, y), (_LEFT + 30, y)), colour, curve.dashed), Text((_LEFT + 40, y), curve.name)]
    return shapes


def _height(curves: Sequence[Curve]) -> int:
    return _HEIGHT + _LEGEND_LINE * len(curves)


def _colours(curves: Sequence[Curve]) -> list[str]:
    number, colours = -1, []
    for curve in curves:
        number += not curve.dashed or number < 0
        colours.append(COLOURS[number % len(COLOURS)])
    return colours


def _span(values: Iterable[float]) -> Point:
    """The lowest and the highest, never the same."""
    known = list(values)
    low, high = min(known), max(known)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers within, about five."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _joined(spots: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spots and those on straight lines between them, in order, each once after another."""
    found = [spots[0]]
    for (x0, y0), (x1, y1) in pairwise(spots):
        steps = max(abs(x1 - x0), abs(y1 - y0))
        found += [(x0 + round((x1 - x0) * n / steps), y0 + round((y1 - y0) * n / steps)) for n in range(1, steps + 1)]
    return found


def _dashes(points: Sequence[Point], drawn: float = 6, gap: float = 4) -> list[list[Point]]:
    parts: list[list[Point]] = []
    walked = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        length = math.hypot(x1 - x0, y1 - y0)
        at = 0.0
        while at < length:
            phase = (walked + at) % (drawn + gap)
            stop = min(length, at + (drawn if phase < drawn else drawn + gap) - phase + 1e-6)
            if phase < drawn:
                ends = [(x0 + (x1 - x0) * t / length, y0 + (y1 - y0) * t / length) for t in (at, stop)]
                parts.append(ends)
            at = stop
        walked += length
    return parts


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 and value == int(value) else f"{value:.4g}"


def _cycle(marks: str, count: int) -> list[str]:
    return [marks[n % len(marks)] for n in range(count)]
