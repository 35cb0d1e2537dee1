"""A table of numbers -> a picture (SVG) in which larger ones are darker, each with its number written on it."""

import math
from collections.abc import Sequence
from html import escape

CELL = 56
"""Pixels of one cell's side."""
CHARACTER = 7.0
"""About the width of one letter at the text size of 12."""
LIGHT, DARK = (247, 251, 255), (8, 48, 107)
"""The colours of the smallest and of the largest number."""


def heat_map(title: str, rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]]) -> str:
    """A heat map as an SVG document of its own; cells whose row and column have the same name are framed.

    values: one sequence for each row; a number that is not finite is left white. Colours run from the smallest to the
    largest number of the table, so that two tables do not compare by colour.
    """
    finite = [value for row in values for value in row if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    left, top = CHARACTER * max(map(len, rows)) + 16, CHARACTER * max(map(len, columns)) * 0.75 + 52
    width, height = left + CELL * len(columns) + top, top + CELL * len(rows) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" font-family="sans-serif" font-size="12">',
        f'<title>{escape(title)}</title><rect width="100%" height="100%" fill="white"/>',
        f'<text x="8" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for j, name in enumerate(columns):
        x, y = left + CELL * (j + 0.5), top - 8
        parts.append(f'<text x="{x:.1f}" y="{y:.1f}" transform="rotate(-45 {x:.1f} {y:.1f})">{escape(name)}</text>')
    for i, name in enumerate(rows):
        y = top + CELL * (i + 0.5) + 4
        parts.append(f'<text x="{left - 8:.1f}" y="{y:.1f}" text-anchor="end">{escape(name)}</text>')
    # Frames come last: the next cell would cover their edge.
    cells = [(i, j, value) for i, row in enumerate(values) for j, value in enumerate(row)]
    parts += [_cell(left + CELL * j, top + CELL * i, value, low, high) for i, j, value in cells]
    parts += [_frame(left + CELL * j, top + CELL * i) for i, j, _ in cells if rows[i] == columns[j]]
    return "".join([*parts, "</svg>\n"])


def _cell(x: float, y: float, value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return ""
    share = (value - low) / (high - low) if high > low else 0.0
    colour = ",".join(str(round(a + (b - a) * share)) for a, b in zip(LIGHT, DARK, strict=True))
    ink = "white" if share > 0.5 else "black"
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{CELL}" height="{CELL}" fill="rgb({colour})"/>'
        f'<text x="{x + CELL / 2:.1f}" y="{y + CELL / 2 + 4:.1f}" text-anchor="middle" fill="{ink}">{value:.2f}</text>'
    )


def _frame(x: float, y: float) -> str:
    return (
        f'<rect x="{x + 1:.1f}" y="{y + 1:.1f}" width="{CELL - 2}" height="{CELL - 2}" fill="none" '
        'stroke="#d95f02" stroke-width="2"/>'
    )
