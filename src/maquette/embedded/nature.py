"""Drawings of animals and plants; each reads at 64 pixels by its silhouette and wears the main colour on its body."""

import math

from maquette.embedded.canvas import BODY, DARK, LIGHT, MAIN, PALE, SECOND, SHADE, SHADE_SECOND, WOOD, Pen

Proportions = tuple[float, float, float, float]


def tree(pen: Pen, p: Proportions) -> None:
    """A leafy tree: a broad crown of three to five lobes on a brown trunk."""
    trunk, crown = 0.13 + 0.07 * p[0], 0.42 + 0.1 * p[1]
    pen.polygon(WOOD, ((-trunk, 0.0), (trunk, 0.0), (trunk + 0.12, 1.0), (-trunk - 0.12, 1.0)))
    for x in (-0.46, 0.46):
        pen.ellipse(BODY, x, -0.06 + 0.1 * p[2], crown, crown * 0.9)
    pen.ellipse(BODY, 0.0, -0.44, 0.58, 0.52)
    if p[3] < 0.5:
        for x, y in ((-0.46, 0.0), (0.1, -0.5), (0.5, -0.1), (-0.2, -0.24)):
            pen.ellipse(SECOND, x, y, 0.11, 0.11)


def fish(pen: Pen, p: Proportions) -> None:
    """A fish swimming to the right, with a forked tail and a fin."""
    tall = 0.42 + 0.18 * p[0]
    fork = 0.44 + 0.2 * p[1]
    pen.polygon(SECOND, ((-0.45, 0.0), (-1.0, -fork), (-0.84, 0.0), (-1.0, fork)))
    pen.polygon(SECOND, ((-0.3, -tall * 0.7), (-0.1 + 0.2 * p[2], -tall - 0.3), (0.34, -tall * 0.7)))
    pen.polygon(SHADE_SECOND, ((-0.14, tall * 0.8), (0.0, tall + 0.24), (0.22, tall * 0.8)))
    pen.ellipse(BODY, 0.14, 0.0, 0.78, tall)
    pen.ellipse(PALE, 0.58, -0.12, 0.15, 0.15)
    pen.ellipse(DARK, 0.6, -0.12, 0.08, 0.08)
    if p[3] < 0.5:
        pen.line(SHADE, ((0.3, -tall * 0.55), (0.38, 0.0), (0.3, tall * 0.55)), 0.07)


def star(pen: Pen, p: Proportions) -> None:
    """A five-pointed star with a small face or none."""
    inner = 0.42 + 0.16 * p[0]
    points = []
    for corner in range(10):
        radius = 1.0 if corner % 2 == 0 else inner
        turn = math.pi * corner / 5 - math.pi / 2
        points.append((radius * math.cos(turn), 0.08 + radius * math.sin(turn)))
    pen.polygon(BODY, points)
    if p[1] < 0.6:
        gap = 0.14 + 0.08 * p[2]
        for x in (-gap, gap):
            pen.ellipse(DARK, x, 0.0, 0.07, 0.1)
        pen.line(DARK, ((-0.16, 0.24), (0.0, 0.31), (0.16, 0.24)), 0.07)
    elif p[3] < 0.7:
        pen.ellipse(SECOND, 0.0, 0.08, 0.22, 0.22)


def flower(pen: Pen, p: Proportions) -> None:
    """A flower on a green stem: five to seven petals in the main colour around an eye in the second."""
    petals, length = 5 + round(2 * p[0]), 0.34 + 0.06 * p[1]
    pen.line(SHADE_SECOND, ((0.0, -0.2), (0.05, 1.0)), 0.11)
    for side in (-1, 1):
        pen.ellipse(SHADE_SECOND, side * 0.28, 0.7 + 0.06 * side, 0.28, 0.11, 28 * side if side < 0 else -28)
    for petal in range(petals):
        turn = 2 * math.pi * (petal + p[2]) / petals
        x, y = 0.42 * math.cos(turn), -0.26 + 0.42 * math.sin(turn)
        wide = 0.14 + 0.04 * p[3] + 0.5 / petals
        pen.ellipse(SHADE, x, y, length + 0.05, wide + 0.05, math.degrees(turn))
        pen.ellipse(BODY, x, y, length, wide, math.degrees(turn))
    pen.ellipse(SECOND, 0.0, -0.26, 0.22, 0.22)


def cat(pen: Pen, p: Proportions) -> None:
    """A sitting cat facing the viewer: pointed ears, whiskers, a curled tail."""
    head, ear = 0.44 + 0.08 * p[0], 0.3 + 0.14 * p[1]
    pen.line(MAIN, ((0.3, 0.86), (0.78, 0.8), (0.88, 0.4), (0.72, 0.1 - 0.2 * p[2])), 0.17)
    pen.ellipse(BODY, 0.0, 0.52, 0.46 + 0.08 * p[3], 0.5)
    for side in (-1, 1):
        tip = (side * (head - 0.04), -0.5 - ear)
        pen.polygon(MAIN, ((side * head, -0.42), tip, (side * 0.1, -0.72)))
        pen.polygon(SECOND, ((side * (head - 0.1), -0.5), (tip[0] * 0.94, tip[1] + 0.14), (side * 0.2, -0.66)))
        pen.ellipse(LIGHT, side * 0.2, 0.93, 0.17, 0.1)
    pen.ellipse(BODY, 0.0, -0.34, head + 0.06, 0.44)
    for side in (-1, 1):
        pen.ellipse(PALE, side * 0.2, -0.4, 0.12, 0.12)
        pen.ellipse(DARK, side * 0.2, -0.4, 0.06, 0.1)
        pen.line(DARK, ((side * 0.2, -0.16), (side * 0.66, -0.22)), 0.04)
    pen.polygon(SECOND, ((-0.09, -0.24), (0.09, -0.24), (0.0, -0.13)))


def bird(pen: Pen, p: Proportions) -> None:
    """A plump bird facing right, with a beak, a wing, a tail and thin legs."""
    round_, head = 0.5 + 0.08 * p[0], 0.3 + 0.06 * p[1]
    for x in (-0.08, 0.2):
        pen.line(DARK, ((x, 0.6), (x, 0.96), (x + 0.16, 0.96)), 0.07)
    pen.polygon(SHADE, ((-0.4, 0.0), (-1.0, -0.3 - 0.2 * p[2]), (-0.86, 0.1), (-0.3, 0.42)))
    pen.ellipse(BODY, 0.0, 0.2, round_ + 0.12, round_)
    pen.ellipse(MAIN, 0.42, -0.42, head, head)
    pen.polygon(SECOND, ((0.66, -0.54), (1.0, -0.36), (0.66, -0.26)))
    pen.ellipse(SHADE, -0.14, 0.18, 0.38, 0.2 + 0.06 * p[3], 24)
    pen.ellipse(PALE, 0.5, -0.48, 0.11, 0.11)
    pen.ellipse(DARK, 0.52, -0.48, 0.06, 0.06)


def mushroom(pen: Pen, p: Proportions) -> None:
    """A toadstool: a domed cap in the main colour on a pale stalk."""
    rim, stalk = -0.02 + 0.14 * p[0], 0.2 + 0.1 * p[1]
    pen.polygon(PALE, ((-stalk, rim - 0.1), (stalk, rim - 0.1), (stalk + 0.12, 0.9), (-stalk - 0.12, 0.9)))
    pen.ellipse(PALE, 0.0, 0.9, stalk + 0.12, 0.09)
    pen.ellipse(SHADE, 0.0, rim, 0.86, 0.16)
    pen.arc(BODY, 0.0, rim, 0.95, 0.78 + 0.18 * p[2], 180, 360)
    if p[3] < 0.5:
        for x, y, r in ((-0.46, -0.28, 0.14), (0.06, -0.56, 0.16), (0.5, -0.22, 0.13)):
            pen.ellipse(SECOND, x, rim + y, r, r * 0.85)


def snail(pen: Pen, p: Proportions) -> None:
    """A snail crawling to the right: a big coiled shell on a pale foot, with two horns."""
    shell = 0.56 + 0.08 * p[0]
    pen.polygon(PALE, ((-1.0, 0.9), (-0.6, 0.62), (0.4, 0.62), (0.62, 0.1), (0.92, 0.1), (0.96, 0.6), (0.78, 0.9)))
    for x in (0.66, 0.9):
        pen.line(PALE, ((x, 0.14), (x + 0.06, -0.3 - 0.14 * p[1])), 0.08)
        pen.ellipse(DARK, x + 0.06, -0.34 - 0.14 * p[1], 0.08, 0.08)
    middle = 0.74 - shell
    pen.ellipse(BODY, -0.18, middle, shell, shell)
    turn = [math.pi * (0.5 + 0.16 * step + p[2]) for step in range(20)]
    coil = [(shell * 0.82 * (1 - step / 22), angle) for step, angle in enumerate(turn)]
    pen.line(SECOND, [(-0.18 + r * math.cos(a), middle + r * math.sin(a)) for r, a in coil], 0.1 + 0.04 * p[3])
