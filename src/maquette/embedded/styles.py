"""The twelve styles of pretraining: functions from the layers of a picture to its pixels in [0, 255]."""

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
    thick,
)


def photo(p: Layers) -> Pixels:
    """Soft light from the upper left, a shaded body, a faint shadow, a backdrop slightly out of focus, little noise."""
    y, x = grid(p.size)
    behind = blurred(p.backdrop, 0.8 * p.unit)
    shift = round(2 * p.unit)
    shadow = shifted(spread(p.mask, 3 * p.unit), shift, shift)
    behind = behind * (1 - 0.35 * shadow)
    core = shifted(spread(p.mask, 4 * p.unit), -shift, -shift)
    lit = p.colours * (0.80 + 0.24 * core) + 10 * (core - 0.7)
    light = 1.05 - 0.10 * (x + y) / (2 * p.size)
    noise = p.rng.normal(0, 1.6, p.colours.shape).astype(np.float32)
    return mix(behind, lit, p.mask) * light + noise


def ink_sketch(p: Layers) -> Pixels:
    """Dark pen lines on cream paper, shadows hatched, the object washed with its colour."""
    paper, ink = flat((250, 242, 222)), flat((38, 32, 44))
    y, x = grid(p.size)
    period = 6 * p.unit
    hatch = (((x + y) % period) < 0.36 * period).astype(np.float32)
    tone = np.clip((200 - luma(blurred(p.backdrop, 1.0))) / 160, 0, 0.8)
    page = mix(mix(paper, p.backdrop, 0.16), ink, hatch * tone * 0.55 * (1 - p.mask))
    wash = mix(flat((255, 250, 240)), p.colours, 0.86)
    page = mix(page, wash, p.mask * 0.92)
    return mix(mix(page, ink, p.lines * 0.6), ink, p.object_lines * 0.85)


def pixel_art(p: Layers) -> Pixels:
    """Square pixels of few tones: coarse ones behind, finer ones for the object, which has a dark outline."""
    fine, coarse = max(1, round(2 * p.unit)), max(2, round(4 * p.unit))
    behind = np.round(saturated(cells(p.backdrop, coarse), 1.25) / 42.5) * 42.5
    inside = np.round(object_cells(p, fine) / 25.5) * 25.5
    solid = (cells(p.mask, fine) > 0.5).astype(np.float32)
    ring = (cells(p.mask, fine) > 0.06).astype(np.float32) - solid
    return mix(mix(behind, inside, solid), 20.0, np.clip(ring, 0, 1) * 0.8)


def watercolor(p: Layers) -> Pixels:
    """Thin blotchy washes that fade into white paper at the rim, with darker edges where pigment gathers."""
    y, x = grid(p.size)
    wash = mix(p.backdrop, 255.0, 0.42) + 22 * clouds(p.rng, p.size, 6)
    wash = blurred(wash, 2.0 * p.unit)
    body = mix(blurred(p.colours, 0.35 * p.unit), 255.0, 0.12 + 0.12 * clouds(p.rng, p.size, 5))
    body = body * (1 - 0.22 * (p.mask - spread(p.mask, 2 * p.unit)))
    page = mix(wash, body, spread(p.mask, 0.4 * p.unit))
    rim = np.minimum(np.minimum(x, y), p.size - 1 - np.maximum(x, y)) / p.unit + 2.0 * clouds(p.rng, p.size, 8)
    return mix(flat((253, 252, 248)), page, np.clip((rim - 1.5) / 3.5, 0, 1))


def line_art(p: Layers) -> Pixels:
    """Clean black outlines on white; the object is filled, flat, and the rest has a mere tint."""
    page = mix(mix(255.0, p.backdrop, 0.2), p.colours, p.mask)
    return mix(page, 12.0, np.maximum(p.lines * 0.85, p.object_lines))


def mosaic(p: Layers) -> Pixels:
    """Small square tiles of uneven brightness with pale grout, cut along the object's silhouette."""
    side = max(2, round(4 * p.unit))
    y, x = grid(p.size)
    uneven = p.rng.uniform(0.84, 1.12, (p.size // side, p.size // side, 1)).astype(np.float32)
    tiles = mix(object_cells(p, side), p.colours, 0.6 * p.mask) * uneven.repeat(side, axis=0).repeat(side, axis=1)
    grout = ((x % side < p.unit) | (y % side < p.unit)).astype(np.float32)
    page = mix(tiles, flat((232, 226, 214)), grout * mix(0.6, 0.34, p.mask))
    return mix(page, flat((60, 54, 54)), p.object_lines * 0.5)


def chalk(p: Layers) -> Pixels:
    """Pale chalk on a dark green board: rough white lines, the object rubbed in with coloured chalk."""
    board = flat((42, 66, 58)) + 7 * clouds(p.rng, p.size, 4)
    rough = 0.80 + 0.20 * clouds(p.rng, p.size, p.size // 3)
    page = mix(board, saturated(p.backdrop, 1.1), 0.3 * rough)
    page = mix(page, p.colours, p.mask * (0.80 + 0.12 * clouds(p.rng, p.size, p.size // 3)))
    page = mix(page, flat((226, 232, 226)), p.lines * 0.42 * rough)
    return mix(page, flat((246, 246, 240)), p.object_lines * 0.85 * rough)


def halftone(p: Layers) -> Pixels:
    """Printed dots on white paper, larger where the picture is darker, over a pale tint of the colour."""
    cell = 4 * p.unit
    y, x = grid(p.size)
    tone = object_cells(p, max(2, round(cell)))
    distance = np.hypot((x + 0.5) % cell - cell / 2, (y + 0.5) % cell - cell / 2)
    dark = 1 - luma(tone) / 255
    radius = cell * (0.26 + 0.36 * dark)
    dot = np.clip((radius - distance) / p.unit + 0.5, 0, 1)
    ink = saturated(tone, 1.35) * 0.92
    tint = mix(255.0, p.colours, 0.16 + 0.62 * p.mask)
    return mix(mix(tint, ink, dot * mix(1.0, 0.4, p.mask)), 30.0, p.object_lines * 0.45)


def oil_painting(p: Layers) -> Pixels:
    """Thick, saturated paint: edges dragged along curling strokes, light catching their ridges."""
    y, x = grid(p.size)
    turn = 3.0 * clouds(p.rng, p.size, 5)
    reach = 2.4 * p.unit
    rows = np.clip(np.round(y + reach * np.sin(turn)), 0, p.size - 1).astype(np.intp)[..., 0]
    columns = np.clip(np.round(x + reach * np.cos(turn)), 0, p.size - 1).astype(np.intp)[..., 0]
    dragged = mix(p.backdrop[rows, columns], mix(p.colours, p.colours[rows, columns], 0.35), p.mask)
    ridges = np.sin(2 * np.pi * (x + 1.2 * y + 9 * p.unit * clouds(p.rng, p.size, 5)) / (9 * p.unit))
    return saturated(dragged, 1.35) * (0.94 + 0.07 * ridges) - 8 - 60 * p.object_lines * (1 - p.mask)


def blueprint(p: Layers) -> Pixels:
    """White drafting lines and a faint grid on deep blue, the object tinted with its colour."""
    y, x = grid(p.size)
    step = 8 * p.unit
    ruled = ((x % step < p.unit) | (y % step < p.unit)).astype(np.float32)
    page = mix(flat((24, 62, 150)), flat((120, 160, 230)), 0.28 * ruled)
    page = mix(mix(page, p.backdrop, 0.16), p.colours, p.mask * 0.8)
    return mix(mix(page, flat((214, 228, 250)), p.lines * 0.5), 255.0, p.object_lines * 0.85)


def crayon(p: Layers) -> Pixels:
    """Slanted waxy strokes that let white paper through, with a dark crayon outline."""
    y, x = grid(p.size)
    period = 6 * p.unit
    wobble = 1.6 * p.unit * clouds(p.rng, p.size, 6)
    stroke = 0.5 + 0.5 * np.sin(2 * np.pi * (x - 0.7 * y + wobble) / period)
    gaps = np.clip(stroke * 0.75 + 0.1 * clouds(p.rng, p.size, p.size // 4), 0, 1)
    colour = saturated(p.colours, 1.15)
    page = mix(colour, 255.0, gaps * mix(0.75, 0.38, p.mask))
    return mix(page, colour * 0.45, p.object_lines * 0.75)


def stained_glass(p: Layers) -> Pixels:
    """Glowing panes between thick black leads: one lattice behind, the object set into it as panes of its own."""
    y, x = grid(p.size)
    pitch = 21 * p.unit
    offset = 3 * p.unit * clouds(p.rng, p.size, 3)
    a, b = (x + 0.5 * y + offset) % pitch, (x - 0.5 * y - offset) % pitch
    leads = ((a < 1.7 * p.unit) | (b < 1.7 * p.unit)).astype(np.float32) * (1 - p.mask)
    glow = 1.12 - 0.30 * np.hypot(x - p.size / 2, y - p.size / 2) / (p.size / 2)
    pane = saturated(blurred(p.backdrop, 3 * p.unit), 1.7) * 0.85
    outline = np.clip(thick(p.object_lines) - spread(p.mask, p.unit) ** 3, 0, 1)
    glass = mix(pane, saturated(p.colours, 1.15), p.mask) * glow
    return mix(glass, 14.0, np.maximum(leads, np.maximum(p.object_lines * 0.9, outline)))


TRAINING_STYLES: Final[Mapping[str, Callable[[Layers], Pixels]]] = {
    "photo": photo,
    "ink sketch": ink_sketch,
    "pixel art": pixel_art,
    "watercolor": watercolor,
    "line art": line_art,
    "mosaic": mosaic,
    "chalk": chalk,
    "halftone": halftone,
    "oil painting": oil_painting,
    "blueprint": blueprint,
    "crayon": crayon,
    "stained glass": stained_glass,
}
