"""Charts of a report as SVG: bars of a distribution and points of two figures. Their colours are those of the page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT = 420, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 10, 34
_BINS = 20


def histogram(title: str, values: Sequence[float], low: float, high: float, unit: str = "") -> str:
    """What lies outside of `low` to `high` is counted in the first or the last bar."""
    counts = [0] * _BINS
    for value in values:
        counts[max(0, min(_BINS - 1, int((value - low) / (high - low) * _BINS)))] += 1
    most = max(1, *counts)
    step = (high - low) / _BINS
    across = (_WIDTH - _LEFT - _RIGHT) / _BINS
    bars = []
    for n, count in enumerate(counts):
        tall = (_HEIGHT - _TOP - _BOTTOM) * count / most
        place = f'x="{_LEFT + n * across + 1:.1f}" y="{_HEIGHT - _BOTTOM - tall:.1f}"'
        told = f"{_number(low + n * step)} to {_number(low + (n + 1) * step)}{unit}: {count}"
        bars.append(
            f'<rect class="mark" {place} width="{across - 2:.1f}" height="{tall:.1f}"><title>{told}</title></rect>'
        )
    ticks = [(low, f"{_number(low)}"), ((low + high) / 2, _number((low + high) / 2)), (high, f"{_number(high)}{unit}")]
    return _figure(
        title, [*bars, *_axes(low, high, ticks), _across(f"{most}", 0, _TOP + 8), _across("0", 0, _HEIGHT - _BOTTOM)]
    )


def scatter(title: str, points: Sequence[tuple[float, float, str]], labels: tuple[str, str]) -> str:
    """`points` are x, y and a name; y is 0 to 1, x from 0."""
    last = max(1.0, *(x for x, _, _ in points)) if points else 1.0
    dots = []
    for x, y, name in points:
        cx = _LEFT + x / last * (_WIDTH - _LEFT - _RIGHT)
        cy = _HEIGHT - _BOTTOM - y * (_HEIGHT - _TOP - _BOTTOM)
        told = escape(f"{name}: {labels[0]} {_number(x)}, {labels[1]} {_number(y)}")
        dots.append(f'<circle class="dot" cx="{cx:.1f}" cy="{cy:.1f}" r="4"><title>{told}</title></circle>')
    ticks = [(0.0, "0"), (last / 2, _number(last / 2)), (last, f"{_number(last)} {labels[0]}")]
    return _figure(
        title, [*dots, *_axes(0, last, ticks), _across("1", 0, _TOP + 8), _across("0", 0, _HEIGHT - _BOTTOM)]
    )


def _axes(low: float, high: float, ticks: Sequence[tuple[float, str]]) -> list[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = [f'<path class="axis" fill="none" d="M{_LEFT} {_TOP}V{bottom}H{right}"/>']
    for n, (value, text) in enumerate(ticks):
        x = _LEFT + (value - low) / (high - low) * (right - _LEFT)
        anchor = ("start", "middle", "end")[n]
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="{anchor}">{escape(text)}</text>')
    return parts


def _across(text: str, x: float, y: float) -> str:
    return f'<text x="{x + _LEFT - 6:.1f}" y="{y:.1f}" text-anchor="end">{escape(text)}</text>'


def _figure(title: str, parts: Sequence[str]) -> str:
    drawn = "\n".join(parts)
    label = escape(title)
    return (
        f"<figure><figcaption>{label}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{drawn}</svg></figure>'
    )


def _number(value: float) -> str:
    return f"{value:.3g}"
