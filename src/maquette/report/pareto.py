"""Likeness against prompt fidelity: one point for each checkpoint, the front of those that none surpasses in both."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from maquette.report.charts import CHARACTER, Series, label, nice_ticks
from maquette.report.curves import HALF, NARROW, Chart
from maquette.report.facts import Facts
from maquette.runs.names import FIDELITY, PROMPT

PAD = 0.06
"""Of the range of the points, left free on every side."""


@dataclass(frozen=True, slots=True)
class Point:
    """A checkpoint: its scores, their intervals (low, high), and whether it is the base, or the chosen one."""

    step: int
    x: float
    y: float
    x_ends: tuple[float, float]
    y_ends: tuple[float, float]
    is_best: bool = False


@dataclass(frozen=True, slots=True)
class Plane:
    """The rectangle that is drawn in, and the values at its edges."""

    left: float
    top: float
    right: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a pair of values lies."""
        across, up = _share(x, self.x_range), _share(y, self.y_range)
        return self.left + (self.right - self.left) * across, self.bottom - (self.bottom - self.top) * up


def pareto_of(facts: Facts) -> Chart | None:
    """The plot of a run; None before two steps have been scored."""
    like = next((series for series in facts.scores if series.name in FIDELITY.values()), None)
    prompt = next((series for series in facts.scores if series.name == PROMPT), None)
    if like is None or prompt is None:
        return None
    points = points_of(like, prompt, None if facts.best is None else facts.best.step)
    if len(points) < 2:
        return None
    note = (
        "Up and to the right is better. The line joins the checkpoints that no other surpasses in both; bars are 95 % "
        "intervals over pictures."
    )
    large, small = (plot(points, PROMPT, like.name, size) for size in ((HALF[1], HALF[1]), (NARROW[1], NARROW[1])))
    return Chart("Likeness against prompts", large, small, note)


def points_of(like: Series, prompt: Series, best: int | None) -> list[Point]:
    """The steps at which both were measured."""
    there = {step: (y, ends) for step, y, ends in zip(prompt.x, prompt.y, _ends(prompt), strict=True)}
    return [
        Point(int(step), there[step][0], y, there[step][1], ends, is_best=step == best)
        for step, y, ends in zip(like.x, like.y, _ends(like), strict=True)
        if step in there and math.isfinite(y) and math.isfinite(there[step][0])
    ]


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other surpasses in both, or in one with the other the same; from left to right."""
    return sorted(
        (p for p in points if not any(q.x >= p.x and q.y >= p.y and (q.x, q.y) != (p.x, p.y) for q in points)),
        key=lambda point: (point.x, -point.y),
    )


def plot(points: Sequence[Point], x_name: str, y_name: str, size: tuple[int, int]) -> str:
    """The plot as an <svg> element. size: (height, width)."""
    height, width = size
    x_range = _range([value for point in points for value in (point.x, *point.x_ends)])
    y_range = _range([value for point in points for value in (point.y, *point.y_ends)])
    x_ticks = ticks_inside(*x_range, max(2, width // 110))
    y_ticks = ticks_inside(*y_range, max(3, height // 80))
    room = CHARACTER * max(len(label(tick, y_ticks)) for tick in y_ticks) + 12
    plane = Plane(room, 34, width - 14, height - 44, x_range, y_range)
    parts = [
        f'<svg class="chart pareto" role="img" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">',
        f"<title>{escape(y_name)} against {escape(x_name)}</title><desc>{escape(_told(points, x_name, y_name))}</desc>",
        *_axes(plane, x_ticks, y_ticks, x_name, y_name),
        *_front_line(points, plane),
        *(part for point in points for part in _drawn(point, plane)),
        "</svg>",
    ]
    return "".join(parts)


def ticks_inside(low: float, high: float, about: int) -> list[float]:
    """Round numbers within a range, at least two: finer ones where the first choice leaves fewer."""
    ticks: list[float] = []
    while len(ticks) < 2:
        ticks = [tick for tick in nice_ticks(low, high, about) if low <= tick <= high]
        about *= 2
    return ticks


def _axes(plane: Plane, x_ticks: Sequence[float], y_ticks: Sequence[float], x_name: str, y_name: str) -> Iterator[str]:
    for tick in y_ticks:
        _, y = plane.at(plane.x_range[0], tick)
        yield f'<line class="rule" x1="{plane.left:.1f}" x2="{plane.right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        place = f'x="{plane.left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end"'
        yield f'<text class="tick" {place}>{label(tick, y_ticks)}</text>'
    for tick in x_ticks:
        x, _ = plane.at(tick, plane.y_range[0])
        yield f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="{plane.top:.1f}" y2="{plane.bottom:.1f}"/>'
        place = f'x="{x:.1f}" y="{plane.bottom + 18:.1f}" text-anchor="middle"'
        yield f'<text class="tick" {place}>{label(tick, x_ticks)}</text>'
    place = f'x="{(plane.left + plane.right) / 2:.1f}" y="{plane.bottom + 36:.1f}" text-anchor="middle"'
    yield f'<text class="name" {place}>{escape(x_name)}</text>'
    yield f'<text class="name" x="{plane.left:.1f}" y="18">{escape(y_name)}</text>'


def _front_line(points: Sequence[Point], plane: Plane) -> Iterator[str]:
    along = [plane.at(point.x, point.y) for point in front(points)]
    if len(along) > 1:
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in along)
        yield f'<path class="front" d="{path}"/>'


def _drawn(point: Point, plane: Plane) -> Iterator[str]:
    """A point with its intervals, and its step; the chosen one stands out by form and words, not by colour alone."""
    x, y = plane.at(point.x, point.y)
    for (x1, y1), (x2, y2) in (
        (plane.at(point.x_ends[0], point.y), plane.at(point.x_ends[1], point.y)),
        (plane.at(point.x, point.y_ends[0]), plane.at(point.x, point.y_ends[1])),
    ):
        yield f'<line class="interval" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
    kind, radius = ("chosen", 7) if point.is_best else ("base", 4) if point.step == 0 else ("point", 4)
    yield f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'
    words = "base" if point.step == 0 else f"{point.step}, best" if point.is_best else f"{point.step}"
    is_right = x + 10 + CHARACTER * len(words) > plane.right
    place = f'x="{x - 10:.1f}" text-anchor="end"' if is_right else f'x="{x + 10:.1f}"'
    yield f'<text class="{"end" if point.is_best else "tick"}" {place} y="{y - 7:.1f}">{words}</text>'


def _told(points: Sequence[Point], x_name: str, y_name: str) -> str:
    """What the plot shows, for those who do not see it."""
    on_front = {point.step for point in front(points)}
    return " ".join(
        f"{'Base' if p.step == 0 else f'Step {p.step}'}: {y_name} {p.y:.2f}, {x_name} {p.x:.2f}"
        f"{', on the front' if p.step in on_front else ''}{', chosen' if p.is_best else ''}."
        for p in points
    )


def _ends(series: Series) -> list[tuple[float, float]]:
    """The interval of each reading, the reading itself where it has none."""
    known = {x: (low, high) for x, low, high in series.band}
    return [known.get(x, (y, y)) for x, y in zip(series.x, series.y, strict=True)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = PAD * (high - low) or 0.05
    return low - pad, high + pad


def _share(value: float, ends: tuple[float, float]) -> float:
    return (value - ends[0]) / (ends[1] - ends[0])
