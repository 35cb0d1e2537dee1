"""Drawings of man-made objects; each reads at 64 pixels by its silhouette and wears the main colour on its body."""

from maquette.embedded.canvas import BODY, DARK, LIGHT, MAIN, PALE, SECOND, SHADE, SHADE_SECOND, WOOD, Pen

Proportions = tuple[float, float, float, float]


def mug(pen: Pen, p: Proportions) -> None:
    """A mug with its handle on the right; width, height, handle and rim vary."""
    right, top = 0.36 + 0.16 * p[0], -0.85 + 0.25 * p[1]
    middle = (top + 0.95) / 2
    pen.ring(MAIN, right + 0.06, middle, 0.26 + 0.1 * p[2], 0.34 + 0.14 * p[2], 0.15)
    pen.box(BODY, -0.8, top, right, 0.85)
    pen.ellipse(BODY, (right - 0.8) / 2, 0.85, (right + 0.8) / 2, 0.13)
    pen.ellipse(LIGHT, (right - 0.8) / 2, top, (right + 0.8) / 2, 0.17)
    pen.ellipse(SHADE if p[3] < 0.5 else WOOD, (right - 0.8) / 2, top + 0.02, (right + 0.8) / 2 - 0.1, 0.1)


def house(pen: Pen, p: Proportions) -> None:
    """A house with a pitched roof in the second colour, a door and windows."""
    eaves, half = -0.34 + 0.2 * p[0], 0.68 + 0.14 * p[1]
    if p[3] < 0.6:
        pen.box(SHADE_SECOND, 0.3, -0.9, 0.52, eaves)
    pen.box(BODY, -half, eaves, half, 1.0)
    pen.polygon(SECOND, ((-half - 0.18, eaves), (0.0, -1.0), (half + 0.18, eaves)))
    door = -0.32 + 0.5 * p[2]
    pen.box(WOOD, door - 0.17, 0.42, door + 0.17, 1.0)
    for x in (-0.42, 0.42):
        if abs(x - door) > 0.36:
            pen.box(PALE, x - 0.18, eaves + 0.2, x + 0.18, eaves + 0.56)


def car(pen: Pen, p: Proportions) -> None:
    """A car from the side, its bonnet on the right."""
    roof, cabin = -0.5 - 0.16 * p[0], 0.12 * p[1]
    pen.polygon(MAIN, ((-0.7 - cabin, 0.0), (-0.5 - cabin, roof), (0.2 + cabin, roof), (0.56 + cabin, 0.0)))
    pen.polygon(PALE, ((-0.55 - cabin, 0.0), (-0.42 - cabin, roof + 0.12), (-0.2, roof + 0.12), (-0.2, 0.0)))
    pen.polygon(PALE, ((-0.06, 0.0), (-0.06, roof + 0.12), (0.13 + cabin, roof + 0.12), (0.37 + cabin, 0.0)))
    pen.polygon(BODY, ((-1.0, 0.0), (0.8, 0.0), (1.0, 0.14), (1.0, 0.52), (-1.0, 0.52)))
    pen.box(SECOND, 0.86, 0.14, 1.0, 0.3)
    radius = 0.25 + 0.06 * p[2]
    for x in (-0.56, 0.56):
        pen.ellipse(DARK, x, 0.54, radius, radius)
        pen.ellipse(PALE if p[3] < 0.5 else SECOND, x, 0.54, radius * 0.45, radius * 0.45)


def boat(pen: Pen, p: Proportions) -> None:
    """A sailing boat: hull and one tall sail in the main colour, a jib in the second."""
    deck, mast = 0.4 + 0.1 * p[0], -0.12 + 0.24 * p[1]
    pen.line(WOOD, ((mast, deck), (mast, -0.98)), 0.08)
    pen.polygon(BODY, ((mast + 0.08, -0.95), (mast + 0.08, deck - 0.12), (0.86, deck - 0.12)))
    pen.polygon(SECOND, ((mast - 0.08, -0.8 + 0.3 * p[2]), (mast - 0.08, deck - 0.12), (-0.66, deck - 0.12)))
    pen.polygon(MAIN, ((-1.0, deck), (1.0, deck), (0.66, 0.95), (-0.62, 0.95)))
    pen.polygon(SHADE, ((-0.8, deck + 0.34), (0.83, deck + 0.34), (0.66, 0.95), (-0.62, 0.95)))


def robot(pen: Pen, p: Proportions) -> None:
    """A robot facing the viewer, with an antenna, square head, arms and legs."""
    half, head = 0.4 + 0.12 * p[0], 0.32 + 0.12 * p[1]
    pen.line(DARK, ((0.0, -0.6), (0.0, -0.88)), 0.09)
    pen.ellipse(SECOND, 0.0, -0.88, 0.12, 0.12)
    for side in (-1, 1):
        pen.line(SHADE, ((side * half, -0.02), (side * (half + 0.32), 0.1), (side * (half + 0.32), 0.42)), 0.18)
        pen.box(SHADE, side * 0.22 - 0.14, 0.5, side * 0.22 + 0.14, 1.0)
    pen.box(MAIN, -head, -0.78, head, -0.2)
    pen.box(BODY, -half - 0.06, -0.14, half + 0.06, 0.64)
    for x in (-0.48 * head, 0.48 * head):
        pen.ellipse(PALE, x, -0.52, 0.14, 0.14)
        pen.ellipse(DARK, x, -0.52, 0.07, 0.07)
    pen.box(DARK, -0.5 * head, -0.34, 0.5 * head, -0.26)
    if p[3] < 0.5:
        pen.ellipse(SECOND, 0.0, 0.14, 0.13, 0.13)


def book(pen: Pen, p: Proportions) -> None:
    """A closed book standing on end, seen with its spine and its pages."""
    width, top = 0.42 + 0.16 * p[0], -0.92 + 0.18 * p[1]
    pen.polygon(
        PALE, ((-width, top), (width, top), (width + 0.24, top - 0.0 + 0.2), (width + 0.24, 1.0), (-width, 0.9))
    )
    pen.box(MAIN, -width, 0.84, width + 0.1, 0.96)
    pen.polygon(SHADE, ((-width - 0.2, top + 0.14), (-width, top), (-width, 0.9), (-width - 0.2, 1.0)))
    pen.box(BODY, -width, top, width, 0.9)
    middle = top + 0.42 + 0.2 * p[2]
    pen.box(PALE if p[3] < 0.5 else SECOND, -width + 0.16, middle - 0.18, width - 0.16, middle + 0.18)
    pen.box(DARK, -width + 0.28, middle - 0.06, width - 0.28, middle + 0.06)


def lamp(pen: Pen, p: Proportions) -> None:
    """A table lamp: a wide shade in the main colour over a thin stem and a foot."""
    rim, crown = 0.7 + 0.2 * p[0], 0.26 + 0.16 * p[1]
    edge = 0.0 + 0.16 * p[2]
    pen.line(DARK, ((0.0, edge), (0.0, 0.9)), 0.13)
    if p[3] < 0.5:
        pen.ellipse(SECOND, 0.0, 0.52, 0.2, 0.22)
    pen.arc(SECOND, 0.0, 1.0, 0.46, 0.24, 180, 360)
    pen.polygon(BODY, ((-rim, edge), (-crown, -0.95), (crown, -0.95), (rim, edge)))
    pen.ellipse(LIGHT, 0.0, edge, rim, 0.1)


def clock(pen: Pen, p: Proportions) -> None:
    """An alarm clock: a round case in the main colour, a pale dial with two hands, bells and feet."""
    radius = 0.74 + 0.08 * p[0]
    for side in (-1, 1):
        pen.line(DARK, ((side * 0.4, 0.6), (side * 0.62, 0.96)), 0.15)
        pen.ellipse(SECOND, side * 0.5, -0.68, 0.32, 0.22, 38 * side)
    pen.ellipse(BODY, 0.0, 0.1, radius, radius)
    dial = radius * (0.58 + 0.08 * p[1])
    pen.ellipse(PALE, 0.0, 0.1, dial, dial)
    pen.line(DARK, ((0.0, 0.1), (0.0, 0.1 - 0.8 * dial)), 0.1)
    pen.line(DARK, ((0.0, 0.1), (0.6 * dial, 0.1 + (p[2] - 0.5) * 0.8 * dial)), 0.12)
    pen.ellipse(SECOND, 0.0, 0.1, 0.08, 0.08)


def bottle(pen: Pen, p: Proportions) -> None:
    """A bottle with a long neck, a cap and a label in the second colour."""
    half, neck = 0.36 + 0.12 * p[0], 0.13 + 0.05 * p[1]
    shoulder = -0.3 + 0.2 * p[2]
    pen.box(BODY, -half, shoulder, half, 0.92)
    pen.ellipse(BODY, 0.0, 0.92, half, 0.08)
    pen.ellipse(BODY, 0.0, shoulder, half, 0.26)
    pen.box(MAIN, -neck, -0.84, neck, shoulder - 0.1)
    pen.box(SECOND, -neck - 0.05, -1.0, neck + 0.05, -0.78)
    if p[3] < 0.6:
        pen.box(PALE, -half, 0.3, half, 0.62)
        pen.box(SECOND, -half, 0.38, half, 0.54)


def umbrella(pen: Pen, p: Proportions) -> None:
    """An open umbrella with a scalloped edge and a hooked handle."""
    edge = -0.05 + 0.1 * p[0]
    pen.line(WOOD, ((0.0, -0.98), (0.0, 0.78), (0.08, 0.92), (0.22, 0.94), (0.32, 0.8)), 0.1)
    pen.arc(BODY, 0.0, edge, 0.98, 0.72 + 0.14 * p[1], 180, 360)
    ribs = 3 + 2 * round(p[2])
    width = 1.96 / ribs
    for rib in range(ribs):
        left = -0.98 + rib * width
        pen.arc(SECOND if rib % 2 and p[3] < 0.5 else SHADE, left + width / 2, edge, width / 2, 0.17, 0, 180)


def teapot(pen: Pen, p: Proportions) -> None:
    """A round teapot: spout on the right, handle on the left, a lid with a knob."""
    middle, half, tall = 0.3, 0.54 + 0.08 * p[0], 0.5 + 0.1 * p[1]
    pen.ring(SHADE, -half, middle, 0.34, 0.32 + 0.08 * p[2], 0.14)
    pen.polygon(
        MAIN, ((half - 0.2, middle + 0.32), (half - 0.14, middle - 0.1), (0.84, -0.3), (1.0, -0.22), (half + 0.2, 0.5))
    )
    pen.ellipse(BODY, 0.0, middle, half, tall)
    pen.box(SHADE, -0.36, middle + tall - 0.1, 0.36, middle + tall + 0.06)
    pen.arc(SECOND, 0.0, middle - tall + 0.14, 0.38, 0.26, 180, 360)
    knob = 0.1 + 0.05 * p[3]
    pen.ellipse(SECOND, 0.0, middle - tall - 0.18, knob, knob)
