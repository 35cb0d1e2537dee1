"""Numbers -> inline SVG: line charts that need no script, no network and no colour to be read."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Literal

CHARACTER = 6.6
"""About the width in pixels of one figure at the charts' text size of 12: room for labels is reckoned with it."""


@dataclass(frozen=True, slots=True)
class Series:
    """One thing drawn in a chart.

    look: "line", told apart from other lines by its dashes; "marks", a line with a dot at each reading; "cloud", faint
    readings behind a line, whose outliers do not stretch the axis. Readings that are not finite are left out.
    low, high: the ends of each reading's interval, shaded; empty, or not finite, where there is none.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    look: Literal["line", "marks", "cloud"] = "line"
    low: Sequence[float] = ()
    high: Sequence[float] = ()

    @property
    def band(self) -> list[tuple[float, float, float]]:
        """(x, low, high) of the readings that have an interval."""
        if not self.low:
            return []
        whole = zip(self.x, self.low, self.high, strict=True)
        return [(x, low, high) for x, low, high in whole if math.isfinite(low) and math.isfinite(high)]


@dataclass(frozen=True, slots=True)
class Frame:
    """The rectangle that is drawn in, and what its edges mean."""

    left: float
    top: float
    right: float
    bottom: float
    x_end: float
    low: float
    high: float

    def x(self, value: float) -> float:
        """Where a step lies."""
        return self.left + (self.right - self.left) * value / self.x_end

    def y(self, value: float) -> float:
        """Where a value lies; one beyond the axis lies at its end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.bottom - (self.bottom - self.top) * share


def line_chart(
    title: str, series: Sequence[Series], *, x_end: float, size: tuple[int, int], x_name: str = "step"
) -> str:
    """A line chart as an <svg> element; the classes of its parts get their colours from the page.

    title: its accessible name. x_end: where the x axis ends, so that an unfinished run shows how much is left.
    size: (height, width) in pixels at which text has its natural size. Returns "" when there is nothing to draw.
    """
    drawn = [finite(each) for each in series]
    drawn = [each for each in drawn if each.x]
    if not drawn:
        return ""
    height, width = size
    low, high = value_range(drawn)
    ticks = nice_ticks(low, high, max(3, height // 55))
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    labels = [label(tick, ticks) for tick in ticks]
    frame = Frame(
        left=CHARACTER * max(map(len, labels)) + 10,
        top=30 if len(drawn) > 1 else 14,
        right=width - CHARACTER * max(len(short(each.y[-1])) for each in drawn) - 12,
        bottom=height - 40,
        x_end=max(x_end, 1 if x_name == "step" else 0, *(each.x[-1] for each in drawn)),
        low=low,
        high=high,
    )
    parts = [
        f'<svg class="chart" role="img" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">',
        f"<title>{escape(title)}</title><desc>{escape(description(drawn, frame))}</desc>",
        *_axes(frame, ticks, labels, x_name),
        *_curves(drawn, frame),
        *(_legend(drawn, frame) if len(drawn) > 1 else ()),
        "</svg>",
    ]
    return "".join(parts)


def finite(series: Series) -> Series:
    """The readings that are finite numbers."""
    kept = [i for i, (x, y) in enumerate(zip(series.x, series.y, strict=True)) if math.isfinite(x) and math.isfinite(y)]
    low, high = ([ends[i] for i in kept] if ends else [] for ends in (series.low, series.high))
    return Series(series.name, [series.x[i] for i in kept], [series.y[i] for i in kept], series.look, low, high)


def value_range(series: Sequence[Series]) -> tuple[float, float]:
    """The lowest and highest value an axis has to show: all of every line, and the bulk (96 %) of every cloud.

    The range reaches down to 0 where that costs less than half of the height, and is never empty.
    """
    lows, highs = [], []
    for each in series:
        ordered = sorted([*each.y, *(end for _, *ends in each.band for end in ends)])
        cut = len(ordered) // 50 if each.look == "cloud" else 0
        lows.append(ordered[cut])
        highs.append(ordered[-1 - cut])
    low, high = min(lows), max(highs)
    if 0 < low < high / 2 or low == high > 0:
        low = 0.0
    elif low == high:
        low, high = low - 1, high + 1
    return low, high


def nice_ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from at most ``low`` to at least ``high``.

    about: how many steps are wanted; between half and twice as many come out.
    """
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def label(tick: float, ticks: Sequence[float]) -> str:
    """A tick's number, with as many decimals as the distance to its neighbour needs."""
    step = ticks[1] - ticks[0]
    if tick == 0:
        return "0"
    if max(abs(each) for each in ticks) < 0.005 or max(abs(each) for each in ticks) >= 1e6:
        mantissa, _, exponent = f"{tick:.3e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{tick:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def short(value: float) -> str:
    """A number in three significant digits: 0.0831, 1e-4, 1500."""
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def description(series: Sequence[Series], frame: Frame) -> str:
    """What the chart shows, for those who do not see it."""
    told = [
        f"{each.name}: from {short(each.y[0])} at {each.x[0]:g} to {short(each.y[-1])} at {each.x[-1]:g},"
        f" lowest {short(min(each.y))}, highest {short(max(each.y))}."
        for each in series
    ]
    outside = [not frame.low <= y <= frame.high for each in series for y in each.y]
    if any(outside):
        told.append(f"{sum(outside)} of {len(outside)} readings lie beyond the axis and are drawn at its end.")
    return " ".join(told)


def thinned(series: Series, most: int) -> Series:
    """The lowest and the highest reading of each of ``most / 2`` equal stretches, so that no peak is lost."""
    count = len(series.x)
    if count <= most:
        return series
    edges = [round(i * count / (most // 2)) for i in range(most // 2 + 1)]
    kept: list[int] = []
    for start, stop in pairwise(edges):
        stretch = range(start, stop)
        kept += sorted({min(stretch, key=series.y.__getitem__), max(stretch, key=series.y.__getitem__)})
    kept = sorted({0, *kept, count - 1})
    return Series(series.name, [series.x[i] for i in kept], [series.y[i] for i in kept], series.look)


def _axes(frame: Frame, ticks: Sequence[float], labels: Sequence[str], x_name: str) -> Iterator[str]:
    for tick, text in zip(ticks, labels, strict=True):
        y = frame.y(tick)
        kind = "axis" if tick == ticks[0] else "rule"
        yield f'<line class="{kind}" x1="{frame.left:.1f}" x2="{frame.right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{frame.left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
    steps = nice_ticks(0, frame.x_end, int((frame.right - frame.left) // 90) + 1)
    for tick in (
        tick for tick in steps if tick <= frame.x_end * (1 + 1e-9) and (x_name != "step" or tick == int(tick))
    ):
        x, text = frame.x(tick), label(tick, steps)
        yield f'<text class="tick" x="{x:.1f}" y="{frame.bottom + 18:.1f}" text-anchor="middle">{text}</text>'
    x, y = (frame.left + frame.right) / 2, frame.bottom + 36
    yield f'<text class="name" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(x_name)}</text>'


def _curves(series: Sequence[Series], frame: Frame) -> Iterator[str]:
    most = int(frame.right - frame.left)
    taken: list[tuple[float, str]] = []
    for each, style in zip(series, _styles(series), strict=True):
        points = [(frame.x(x), frame.y(y)) for x, y in zip(*_xy(thinned(each, most)), strict=True)]
        yield from _band(each, frame)
        if len(points) > 1:
            path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            yield f'<path class="{style}" d="{path}"/>'
        if each.look == "marks" or len(points) == 1:
            yield from (f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in points)
        if each.look != "cloud":
            (x, y), text = points[-1], short(each.y[-1])
            if any(abs(y - other) < 13 and text == told for other, told in taken):
                continue
            while any(abs(y - other) < 13 for other, _ in taken):  # two ends at one height: the later one moves up
                y -= 13
            taken.append((y, text))
            yield f'<text class="end" x="{x + 6:.1f}" y="{y + 4:.1f}">{text}</text>'


def _band(series: Series, frame: Frame) -> Iterator[str]:
    """The intervals of a line: an area between their ends, or a bar where there is only one."""
    there = series.band
    if len(there) > 1:
        edge = [(frame.x(x), frame.y(high)) for x, _, high in there]
        edge += [(frame.x(x), frame.y(low)) for x, low, _ in reversed(there)]
        yield f'<polygon class="band" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in edge)}"/>'
    elif there:
        x, low, high = frame.x(there[0][0]), frame.y(there[0][1]), frame.y(there[0][2])
        yield f'<line class="interval" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'


def _legend(series: Sequence[Series], frame: Frame) -> Iterator[str]:
    x = frame.left
    for each, style in zip(series, _styles(series), strict=True):
        yield f'<line class="{style}" x1="{x:.1f}" x2="{x + 22:.1f}" y1="10" y2="10"/>'
        yield f'<text class="name" x="{x + 28:.1f}" y="14">{escape(each.name)}</text>'
        x += 28 + CHARACTER * len(each.name) + 22


def _styles(series: Sequence[Series]) -> list[str]:
    """The classes of each series: clouds are alike, lines are numbered so that each has its own dashes and colour."""
    styles, number = [], 0
    for each in series:
        if each.look == "cloud":
            styles.append("cloud")
        else:
            number = number % 4 + 1
            styles.append(f"line line-{number}")
    return styles


def _xy(series: Series) -> tuple[Sequence[float], Sequence[float]]:
    return series.x, series.y
