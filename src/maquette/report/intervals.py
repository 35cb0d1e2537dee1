"""Scores of several things beside each other -> inline SVG: a dot for each, on the line of its interval."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from maquette.report.charts import CHARACTER, label, nice_ticks, short

ROW, TOP, FOOT = 30, 12, 26
"""Pixels of height: of each thing, above the first, and for the axis."""

LONGEST = 24
"""Characters of a name that a chart has room for."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One thing's score with its interval; nan for no score."""

    name: str
    value: float
    low: float
    high: float


def interval_chart(title: str, bars: Sequence[Bar], width: int) -> str:
    """A chart as an <svg> element, the first thing's value as a line through all; "" where there is no score."""
    numbers = [end for bar in bars for end in (bar.value, bar.low, bar.high) if math.isfinite(end)]
    if not numbers:
        return ""
    low, high = min(numbers), max(numbers)
    if low == high:
        low, high = low - 0.5, high + 0.5
    left = CHARACTER * min(LONGEST, max(len(bar.name) for bar in bars)) + 12
    right = width - CHARACTER * max(len(short(bar.value)) for bar in bars if math.isfinite(bar.value)) - 14
    ticks = nice_ticks(low, high, max(2, int((right - left) // 80)))
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    bottom = TOP + ROW * len(bars)

    def x(value: float) -> float:
        return left + (right - left) * (value - low) / (high - low)

    parts = [
        f'<svg class="chart" role="img" viewBox="0 0 {width} {bottom + FOOT}" xmlns="http://www.w3.org/2000/svg">',
        f"<title>{escape(title)}</title><desc>{escape(_described(bars))}</desc>",
    ]
    for tick in ticks:
        parts.append(f'<line class="rule" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP}" y2="{bottom}"/>')
        place = f'x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle"'
        parts.append(f'<text class="tick" {place}>{label(tick, ticks)}</text>')
    if len(bars) > 1 and math.isfinite(bars[0].value):
        at = x(bars[0].value)
        parts.append(f'<line class="line line-2" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom}"/>')
    for i, bar in enumerate(bars):
        parts += _row(bar, TOP + ROW * i + ROW / 2, left, right, x(bar.low), x(bar.value), x(bar.high))
    return "".join([*parts, "</svg>"])


def _row(bar: Bar, y: float, left: float, right: float, low: float, value: float, high: float) -> Iterator[str]:
    name = bar.name if len(bar.name) <= LONGEST else f"{bar.name[: LONGEST - 1]}…"
    yield f'<text class="name" x="{left - 10:.1f}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>'
    if not math.isfinite(bar.value):
        yield f'<text class="tick" x="{left + 6:.1f}" y="{y + 4:.1f}">no score</text>'
        return
    if math.isfinite(bar.low) and math.isfinite(bar.high):
        yield f'<line class="line" x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
    yield f'<circle class="line" cx="{value:.1f}" cy="{y:.1f}" r="4"/>'
    yield f'<text class="end" x="{right + 8:.1f}" y="{y + 4:.1f}">{short(bar.value)}</text>'


def _described(bars: Sequence[Bar]) -> str:
    """What the chart shows, for those who do not see it."""
    return " ".join(
        f"{bar.name}: {short(bar.value)}, from {short(bar.low)} to {short(bar.high)}."
        if math.isfinite(bar.value)
        else f"{bar.name}: no score."
        for bar in bars
    )
