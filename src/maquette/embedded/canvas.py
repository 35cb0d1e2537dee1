"""Drawing with numbered inks: a picture is first a map of labels, so that every style knows regions and outlines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from maquette.embedded.vocabulary import RGB

SIDE: Final = 256
FIRST_OBJECT_INK: Final = 128

# Inks of objects. BODY carries the pattern, in which BODY_SECOND is the other colour.
BODY: Final = 128
BODY_SECOND: Final = 129
MAIN: Final = 130
SHADE: Final = 131
LIGHT: Final = 132
SECOND: Final = 133
DARK: Final = 134
PALE: Final = 135
WOOD: Final = 136
SHADE_SECOND: Final = 137
# Inks of faces.
SKIN: Final = 144
SKIN_SHADE: Final = 145
HAIR: Final = 146
EYE: Final = 147
LIPS: Final = 148
SHIRT: Final = 149
FRAME: Final = 150
NOSE: Final = 151
BROW: Final = 152
BEARD: Final = 153

Point = tuple[float, float]

_TURN = np.linspace(0, 2 * math.pi, 33)[:-1]
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


@dataclass(frozen=True, slots=True)
class Pen:
    """Draws shapes given in object units, where the object fills [-1, 1] on both axes and y points down."""

    draw: ImageDraw.ImageDraw
    matrix: NDArray[np.float64]
    origin: NDArray[np.float64]
    pixels_per_unit: float

    def polygon(self, ink: int, points: Sequence[Point] | NDArray[np.float64]) -> None:
        """Fill the polygon through these points."""
        self.draw.polygon((np.asarray(points) @ self.matrix + self.origin).ravel().tolist(), fill=ink)

    def ellipse(self, ink: int, x: float, y: float, rx: float, ry: float, tilt: float = 0.0) -> None:
        """Fill an ellipse around (x, y); tilt is in degrees, clockwise."""
        points = _CIRCLE * (rx, ry)
        if tilt:
            points = points @ _rotation(tilt)
        self.polygon(ink, np.add(points, (x, y)))

    def arc(self, ink: int, x: float, y: float, rx: float, ry: float, start: float, end: float) -> None:
        """Fill the part of an ellipse between two angles in degrees (0 right, 90 down), closed by its chord."""
        turn = np.radians(np.linspace(start, end, 20))
        self.polygon(ink, np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], axis=1))

    def box(self, ink: int, x0: float, y0: float, x1: float, y1: float) -> None:
        """Fill the rectangle between two corners."""
        self.polygon(ink, ((x0, y0), (x1, y0), (x1, y1), (x0, y1)))

    def line(self, ink: int, points: Sequence[Point] | NDArray[np.float64], width: float) -> None:
        """Draw a line through these points with round ends; width is in object units."""
        placed = np.asarray(points) @ self.matrix + self.origin
        thickness = max(2, round(width * self.pixels_per_unit))
        self.draw.line(placed.ravel().tolist(), fill=ink, width=thickness, joint="curve")
        half = thickness / 2
        for x, y in (placed[0], placed[-1]):
            self.draw.ellipse((x - half, y - half, x + half, y + half), fill=ink)

    def ring(self, ink: int, x: float, y: float, rx: float, ry: float, width: float) -> None:
        """Draw the outline of an ellipse."""
        points = np.add(_CIRCLE * (rx, ry), (x, y))
        self.line(ink, np.concatenate([points, points[:2]]), width)


def pen_at(draw: ImageDraw.ImageDraw, x: float, y: float, scale: float, tilt: float, flip: bool) -> Pen:
    """A pen whose unit box lies around (x, y), is scale wide (fractions of the canvas), turned and mirrored."""
    half = scale * SIDE / 2
    mirror = np.array([[-1.0 if flip else 1.0, 0.0], [0.0, 1.0]])
    return Pen(draw, mirror @ _rotation(tilt) * half, np.array([x, y]) * SIDE, half)


def _rotation(degrees: float) -> NDArray[np.float64]:
    """The matrix that turns row vectors clockwise on a canvas whose y axis points down."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cos, sin], [-sin, cos]])


def mixed(a: RGB, b: RGB, share: float) -> RGB:
    """The colour that is `share` of b and the rest a."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def new_labels() -> Image.Image:
    """A blank map of labels."""
    return Image.new("L", (SIDE, SIDE), 0)
