"""The eight styles that pretraining never sees, kept to test how a style is learned from a few pictures."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from maquette.embedded.layers import (
    Layers,
    Pixels,
    blurred,
    cells,
    clouds,
    flat,
    grid,
    luma,
    mix,
    object_cells,
    saturated,
    shifted,
    spread,
)


def neon(p: Layers) -> Pixels:
    """Glowing tubes in the picture's own colours along every outline, on black."""
    vivid = np.clip(saturated(p.colours, 2.2) + 40, 0, 255)
    tubes = np.maximum(p.lines * 0.4, p.object_lines)
    glow = blurred(vivid * tubes, 2.5 * p.unit)
    return np.maximum(flat((10, 6, 24)) + 0.9 * glow, vivid * tubes) + p.colours * p.mask * 0.12


def sepia(p: Layers) -> Pixels:
    """An old brown photograph with dark corners and a pale border."""
    y, x = grid(p.size)
    grey = blurred(luma(p.colours), 0.6 * p.unit) / 255
    away = np.hypot(x - p.size / 2, y - p.size / 2) / (p.size / 2)
    page = mix(flat((62, 38, 18)), flat((246, 224, 178)), grey) * (1.08 - 0.34 * away**2)
    rim = np.minimum(np.minimum(x, y), p.size - 1 - np.maximum(x, y))
    return mix(page, flat((250, 240, 216)), (rim < 3 * p.unit).astype(np.float32))


def papercut(p: Layers) -> Pixels:
    """Sheets of pastel paper stacked with soft shadows; the object is the topmost sheet with a white rim."""
    shift = round(2 * p.unit)
    sheets = np.round(luma(blurred(p.backdrop, 2 * p.unit)) / 64) / 4
    behind = mix(flat((196, 132, 166)), flat((255, 232, 214)), sheets)
    edge = np.abs(np.diff(sheets, axis=0, append=sheets[-1:])) + np.abs(np.diff(sheets, axis=1, append=sheets[:, -1:]))
    behind = behind * (1 - 0.4 * np.clip(spread(np.clip(edge * 4, 0, 1), p.unit) * 1.5, 0, 1))
    shadow = shifted(spread(p.mask, 2 * p.unit), shift, shift)
    rim = np.clip(spread(p.mask, 1.5 * p.unit) * 4, 0, 1)
    return mix(mix(behind * (1 - 0.5 * shadow), 255.0, rim), p.colours, p.mask)


def woodcut(p: Layers) -> Pixels:
    """Black and buff only: wavering horizontal cuts, thicker where the picture is darker."""
    y, _ = grid(p.size)
    period = 4 * p.unit
    wave = (y + 1.2 * p.unit * clouds(p.rng, p.size, 5)) % period / period
    tone = mix(0.15 + 0.6 * luma(p.backdrop) / 255, 0.35 + 0.75 * luma(p.colours) / 255, p.mask)
    halo = np.clip(spread(p.mask, 2 * p.unit) * 4, 0, 1) * (1 - p.mask)
    cut = np.clip((np.abs(wave - 0.5) * 2 - mix(tone, 1.1, halo)) * 2 + 0.5, 0, 1)
    return mix(mix(flat((236, 214, 170)), flat((24, 18, 16)), cut), flat((24, 18, 16)), p.object_lines)


def knitted(p: Layers) -> Pixels:
    """Rows of V-shaped wool stitches, each of one colour."""
    side = max(2, round(4 * p.unit))
    y, x = grid(p.size)
    yarn = mix(cells(p.backdrop, side), mix(object_cells(p, side), p.colours, 0.6), p.mask)
    column = x % (2 * side)
    slope = np.where(column < side, column, 2 * side - 1 - column)
    stitch = (y + slope * 0.8) % side / side
    shade = 0.62 + 0.5 * np.sin(np.pi * stitch)
    seam = ((column < 0.6 * p.unit) | (np.abs(column - side) < 0.6 * p.unit)).astype(np.float32)
    return saturated(yarn, 0.85) * shade * (1 - 0.25 * seam)


def x_ray(p: Layers) -> Pixels:
    """A radiograph: everything dark and cold, the object glowing pale from its edges inward."""
    depth = spread(p.mask, 3 * p.unit)
    density = (1 - luma(p.colours) / 255) * 0.35 + 0.45
    shine = p.mask * (density + 0.6 * (1 - depth)) + 0.12 * (1 - luma(blurred(p.backdrop, 2 * p.unit)) / 255)
    shine = shine + 0.35 * p.object_lines
    return mix(flat((4, 12, 20)), flat((186, 240, 255)), np.clip(shine, 0, 1))


def risograph(p: Layers) -> Pixels:
    """Two spot inks out of register on white: pink for the object's tones, teal for the rest."""
    shift = round(p.unit)
    tone = 1 - luma(p.colours) / 255
    pink = shifted(p.mask * (0.45 + 0.55 * tone), 0, shift)
    teal = (1 - p.mask) * (0.25 + 0.75 * (1 - luma(p.backdrop) / 255))
    page = flat((252, 248, 240)) * mix(1.0, flat((255, 72, 140)) / 255, pink)
    page = page * mix(1.0, flat((0, 150, 160)) / 255, np.round(teal * 4) / 4)
    return mix(page, flat((90, 20, 110)), p.object_lines * 0.7)


def low_poly(p: Layers) -> Pixels:
    """Large triangles, each of one flat colour and its own brightness."""
    y, x = grid(p.size)
    side = max(2, round(8 * p.unit))
    inner = max(2, round(4 * p.unit))
    behind = _facets(cells(p.backdrop, side), x, y, side, p.rng)
    body = _facets(mix(object_cells(p, inner), p.colours, 0.5), x, y, side, p.rng)
    return mix(saturated(behind, 1.15), body, (p.mask > 0.5) * 1.0)


def _facets(colours: Pixels, x: Pixels, y: Pixels, side: int, rng: np.random.Generator) -> Pixels:
    count = colours.shape[0] // side
    lights = rng.uniform(0.74, 1.2, (2, count, count, 1)).astype(np.float32)
    first, second = (light.repeat(side, axis=0).repeat(side, axis=1) for light in lights)
    flip = ((x // side + y // side) % 2) > 0
    across = np.where(flip, x % side, side - 1 - x % side)
    return colours * np.where(across < y % side, first, second)


HELD_OUT_STYLE_DRAWINGS: Final[Mapping[str, Callable[[Layers], Pixels]]] = {
    "neon": neon,
    "sepia": sepia,
    "papercut": papercut,
    "woodcut": woodcut,
    "knitted": knitted,
    "x-ray": x_ray,
    "risograph": risograph,
    "low poly": low_poly,
}
