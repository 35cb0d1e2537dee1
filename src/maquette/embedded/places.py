"""Backdrops: ten places, each told apart at a glance by layout and colour, each varied by its scene's seed."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from PIL import ImageDraw

from maquette.embedded.canvas import SIDE, Point
from maquette.embedded.vocabulary import RGB


@dataclass(frozen=True, slots=True)
class Brush:
    """Draws a backdrop in fractions of the canvas; every colour it is given becomes an ink below the objects' inks."""

    draw: ImageDraw.ImageDraw
    rng: random.Random
    inks: list[RGB] = field(default_factory=list)

    def ink(self, rgb: RGB, jitter: int = 12) -> int:
        """A new ink near this colour: all channels move together by up to jitter, and each by a third of it."""
        together = self.rng.randint(-jitter, jitter)
        apart = jitter // 3
        moved = (min(255, max(0, c + together + self.rng.randint(-apart, apart))) for c in rgb)
        red, green, blue = moved
        self.inks.append((red, green, blue))
        return len(self.inks) - 1

    def band(self, ink: int, top: float, bottom: float = 1.0) -> None:
        """Fill the full width between two heights."""
        self.draw.rectangle((0, top * SIDE, SIDE, bottom * SIDE), fill=ink)

    def box(self, ink: int, x0: float, y0: float, x1: float, y1: float) -> None:
        """Fill a rectangle."""
        self.draw.rectangle((x0 * SIDE, y0 * SIDE, x1 * SIDE, y1 * SIDE), fill=ink)

    def blob(self, ink: int, x: float, y: float, rx: float, ry: float) -> None:
        """Fill an ellipse."""
        self.draw.ellipse(((x - rx) * SIDE, (y - ry) * SIDE, (x + rx) * SIDE, (y + ry) * SIDE), fill=ink)

    def shape(self, ink: int, points: Sequence[Point]) -> None:
        """Fill a polygon."""
        self.draw.polygon([(x * SIDE, y * SIDE) for x, y in points], fill=ink)

    def line(self, ink: int, points: Sequence[Point], width: float) -> None:
        """Draw a line through these points."""
        self.draw.line([(x * SIDE, y * SIDE) for x, y in points], fill=ink, width=round(width * SIDE), joint="curve")


def beach(b: Brush) -> None:
    """Pale sky, a band of turquoise sea, yellow sand with foam at its edge, a sun and a palm."""
    horizon, shore, slant = b.rng.uniform(0.26, 0.36), b.rng.uniform(0.5, 0.6), b.rng.uniform(-0.08, 0.08)
    b.band(b.ink((168, 218, 246)), 0.0)
    b.blob(b.ink((255, 236, 130)), b.rng.uniform(0.1, 0.9), b.rng.uniform(0.08, 0.2), 0.09, 0.09)
    b.band(b.ink((56, 164, 200)), horizon)
    foam, sand = b.ink((240, 248, 246), 4), b.ink((240, 212, 146))
    b.shape(foam, ((0, shore - slant - 0.04), (0.5, shore - 0.01), (1, shore + slant - 0.04), (1, 1), (0, 1)))
    b.shape(sand, ((0, shore - slant), (0.5, shore + 0.03), (1, shore + slant), (1, 1), (0, 1)))
    side = b.rng.choice((0.1, 0.9))
    lean = 0.06 if side < 0.5 else -0.06
    trunk, leaf = b.ink((142, 98, 58)), b.ink((62, 140, 66))
    b.line(trunk, ((side, shore + 0.1), (side + lean, 0.26)), 0.035)
    for dx, dy in ((-0.17, 0.06), (-0.12, -0.09), (0.02, -0.14), (0.14, -0.06), (0.16, 0.08)):
        b.line(leaf, ((side + lean, 0.26), (side + lean + dx, 0.26 + dy)), 0.045)


def snow(b: Brush) -> None:
    """Grey-blue sky full of flakes over white hills with a few dark firs."""
    hill = b.rng.uniform(0.42, 0.54)
    b.band(b.ink((166, 188, 214)), 0.0)
    fir, cap = b.ink((44, 84, 80)), b.ink((228, 238, 246), 4)
    for _ in range(4):
        x, top = b.rng.uniform(0.0, 1.0), hill - b.rng.uniform(0.16, 0.3)
        b.shape(fir, ((x - 0.09, hill + 0.08), (x, top), (x + 0.09, hill + 0.08)))
        b.shape(cap, ((x - 0.035, top + 0.08), (x, top), (x + 0.035, top + 0.08)))
    b.blob(b.ink((224, 234, 246), 6), b.rng.uniform(0.1, 0.3), 1.0, 0.8, 1.0 - hill)
    b.blob(b.ink((242, 247, 252), 4), b.rng.uniform(0.7, 0.9), 1.06, 0.8, 0.98 - hill)
    flake = b.ink((250, 252, 255), 2)
    for _ in range(14):
        b.blob(flake, b.rng.random(), b.rng.random() * hill, 0.014, 0.014)


def forest(b: Brush) -> None:
    """A dim green wood: many trunks, a canopy above and moss below."""
    floor = b.rng.uniform(0.62, 0.74)
    b.band(b.ink((92, 138, 84)), 0.0)
    far, near = b.ink((62, 82, 54)), b.ink((78, 56, 40))
    for step in range(6):
        x = (step + b.rng.uniform(0.1, 0.9)) / 6
        wide = b.rng.uniform(0.025, 0.045)
        b.box(far if step % 2 else near, x - wide, 0.0, x + wide, floor + 0.06)
    b.band(b.ink((50, 92, 46)), floor)
    canopy, light = b.ink((34, 84, 44)), b.ink((56, 116, 56))
    for step in range(7):
        b.blob(canopy if step % 2 else light, step / 6, b.rng.uniform(-0.02, 0.08), 0.14, b.rng.uniform(0.14, 0.2))
    for _ in range(3):
        b.blob(light, b.rng.random(), b.rng.uniform(floor + 0.04, 0.98), 0.09, 0.03)


def city(b: Brush) -> None:
    """Tall buildings with lit windows under a hazy sky, a grey street with a dashed line."""
    street = b.rng.uniform(0.68, 0.76)
    b.band(b.ink((190, 200, 212)), 0.0)
    walls = [b.ink(rgb) for rgb in ((104, 112, 132), (132, 116, 112), (86, 96, 116), (150, 142, 138))]
    window = b.ink((252, 226, 148), 6)
    x = -0.05
    while x < 1.0:
        wide, top = b.rng.uniform(0.17, 0.25), b.rng.uniform(0.08, 0.38)
        b.box(b.rng.choice(walls), x, top, x + wide, street)
        for row in range(5):
            y = top + 0.06 + row * 0.12
            for column in (0.28, 0.72):
                if b.rng.random() < 0.75:
                    b.box(window, x + column * wide - 0.026, y, x + column * wide + 0.026, y + 0.055)
        x += wide
    b.band(b.ink((176, 174, 170)), street, street + 0.05)
    b.band(b.ink((78, 80, 88)), street + 0.05)
    dash = b.ink((238, 236, 226), 4)
    shift = b.rng.random() * 0.3
    for step in range(-1, 4):
        b.box(dash, step * 0.3 + shift, 0.9, step * 0.3 + shift + 0.16, 0.93)


def room(b: Brush) -> None:
    """A papered wall with a window and a picture, a skirting board and a wooden floor."""
    floor = b.rng.uniform(0.66, 0.74)
    wall = b.rng.choice(((226, 204, 176), (196, 210, 190), (214, 190, 196), (190, 200, 216)))
    b.band(b.ink(wall), 0.0)
    frame, glass = b.ink((250, 248, 240), 4), b.ink((150, 206, 240))
    left = b.rng.choice((0.08, 0.62))
    b.box(frame, left, 0.08, left + 0.3, 0.44)
    for dx in (0.03, 0.165):
        for dy in (0.03, 0.195):
            b.box(glass, left + dx, 0.08 + dy, left + dx + 0.105, 0.08 + dy + 0.135)
    other = 0.7 if left < 0.5 else 0.12
    b.box(b.ink((120, 78, 46)), other, 0.12, other + 0.19, 0.34)
    b.box(
        b.ink(b.rng.choice(((216, 150, 110), (130, 160, 150), (236, 220, 180)))), other + 0.03, 0.15, other + 0.16, 0.31
    )
    b.band(b.ink((248, 244, 234), 4), floor - 0.035, floor)
    b.band(b.ink((176, 122, 76)), floor)
    plank = b.ink((150, 98, 58))
    for y in (floor + 0.09, floor + 0.2):
        b.band(plank, y, y + 0.014)


def desert(b: Brush) -> None:
    """A peach sky over orange dunes, with a cactus or two."""
    horizon = b.rng.uniform(0.42, 0.54)
    b.band(b.ink((252, 208, 150)), 0.0)
    b.blob(b.ink((255, 246, 214), 4), b.rng.uniform(0.15, 0.85), b.rng.uniform(0.12, 0.26), 0.08, 0.08)
    b.blob(b.ink((222, 150, 84)), b.rng.uniform(0.0, 0.4), horizon + 0.3, 0.7, 0.34)
    b.blob(b.ink((236, 166, 92)), b.rng.uniform(0.6, 1.0), horizon + 0.42, 0.8, 0.42)
    b.shape(b.ink((206, 128, 66)), ((0, 0.9), (0.4, b.rng.uniform(0.72, 0.8)), (1, 0.9), (1, 1), (0, 1)))
    cactus = b.ink((72, 128, 72))
    for x in b.rng.choice(((0.1,), (0.9,), (0.1, 0.92))):
        foot = horizon + 0.2
        b.line(cactus, ((x, foot), (x, foot - 0.34)), 0.06)
        b.line(cactus, ((x, foot - 0.12), (x + 0.08, foot - 0.12), (x + 0.08, foot - 0.25)), 0.04)
        b.line(cactus, ((x, foot - 0.08), (x - 0.08, foot - 0.08), (x - 0.08, foot - 0.2)), 0.04)


def night(b: Brush) -> None:
    """A deep blue sky with a moon and stars over dark hills."""
    hill = b.rng.uniform(0.6, 0.72)
    b.band(b.ink((26, 32, 84), 8), 0.0)
    b.band(b.ink((44, 50, 112), 8), hill - 0.2)
    light = b.ink((250, 246, 214), 4)
    moon, height = b.rng.uniform(0.12, 0.88), b.rng.uniform(0.12, 0.2)
    b.blob(light, moon, height, 0.09, 0.09)
    if b.rng.random() < 0.5:
        b.blob(0, moon + 0.045, height - 0.02, 0.08, 0.08)
    for _ in range(12):
        b.blob(light, b.rng.random(), b.rng.uniform(0.02, hill - 0.1), 0.011, 0.011)
    b.blob(b.ink((36, 64, 74), 8), b.rng.uniform(0.0, 0.4), 1.1, 0.8, 1.1 - hill)
    b.blob(b.ink((44, 76, 80), 8), b.rng.uniform(0.6, 1.0), 1.14, 0.8, 1.06 - hill)


def sea(b: Brush) -> None:
    """Open water to the horizon: blue below a light sky, rows of white-crested waves, a cloud."""
    horizon = b.rng.uniform(0.22, 0.34)
    b.band(b.ink((196, 226, 246)), 0.0)
    cloud = b.ink((250, 252, 254), 2)
    x = b.rng.uniform(0.15, 0.85)
    for dx, r in ((-0.1, 0.05), (0.0, 0.07), (0.1, 0.05)):
        b.blob(cloud, x + dx, 0.12, r + 0.03, r)
    b.band(b.ink((32, 102, 170)), horizon)
    tones = [b.ink((40, 120, 186), 6), b.ink((28, 88, 156), 6)]
    crest = b.ink((206, 232, 244), 6)
    for row in range(5):
        y = horizon + 0.1 + row * 0.14
        shift = b.rng.random() * 0.25
        wave = [(step * 0.125 - shift, y + (0.03 if step % 2 else -0.02)) for step in range(11)]
        b.shape(tones[row % 2], [*wave, (1.3, y + 0.1), (-0.3, y + 0.1)])
        b.line(crest, wave, 0.016)


def grass(b: Brush) -> None:
    """A bright meadow dotted with small blossoms under a blue sky with clouds."""
    horizon = b.rng.uniform(0.4, 0.52)
    b.band(b.ink((122, 188, 244)), 0.0)
    cloud = b.ink((250, 252, 255), 2)
    for x in (b.rng.uniform(0.1, 0.35), b.rng.uniform(0.65, 0.9)):
        y = b.rng.uniform(0.08, 0.24)
        for dx, r in ((-0.09, 0.045), (0.0, 0.065), (0.09, 0.045)):
            b.blob(cloud, x + dx, y, r + 0.03, r)
    b.blob(b.ink((104, 182, 76)), b.rng.uniform(0.1, 0.9), 1.0, 0.9, 1.06 - horizon)
    b.band(b.ink((122, 200, 82)), horizon + 0.16)
    blade, blossom = b.ink((84, 164, 62)), b.ink((252, 250, 226), 3)
    for _ in range(9):
        x, y = b.rng.random(), b.rng.uniform(horizon + 0.2, 0.98)
        b.shape(blade, ((x - 0.03, y), (x - 0.015, y - 0.06), (x, y), (x + 0.015, y - 0.07), (x + 0.03, y)))
    for _ in range(6):
        b.blob(blossom, b.rng.random(), b.rng.uniform(horizon + 0.2, 0.98), 0.018, 0.018)


def plain(b: Brush) -> None:
    """A studio backdrop of one pale colour with a slightly darker table."""
    tone = b.rng.choice(((236, 228, 214), (214, 226, 232), (226, 216, 230), (222, 232, 214), (230, 230, 230)))
    b.band(b.ink(tone, 8), 0.0)
    red, green, blue = tone
    b.band(b.ink((red - 22, green - 22, blue - 20), 6), b.rng.uniform(0.72, 0.8))


PLACE_DRAWINGS: Final[Mapping[str, Callable[[Brush], None]]] = {
    "beach": beach,
    "snow": snow,
    "forest": forest,
    "city": city,
    "room": room,
    "desert": desert,
    "night": night,
    "sea": sea,
    "grass": grass,
    "plain": plain,
}
