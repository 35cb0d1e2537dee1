"""The drawing of a person, head and shoulders: identity from the Face, expression and shirt from the scene."""

from maquette.embedded.canvas import (
    BEARD,
    BROW,
    DARK,
    EYE,
    FRAME,
    HAIR,
    LIPS,
    NOSE,
    PALE,
    SHIRT,
    SKIN,
    SKIN_SHADE,
    Pen,
)
from maquette.embedded.scene import Face

EYE_LINE = -0.3


def draw_face(pen: Pen, face: Face, expression: str) -> None:
    """Draw the person from the back of the hair to the frame of the glasses."""
    width = 0.46 + 0.1 * face.proportions[0]
    _hair_behind(pen, face, width)
    pen.box(SKIN_SHADE, -0.18, 0.2, 0.18, 0.62)
    pen.polygon(SHIRT, ((-0.24, 0.5), (0.24, 0.5), (0.72, 0.68), (0.86, 1.1), (-0.86, 1.1), (-0.72, 0.68)))
    pen.arc(SKIN_SHADE, 0.0, 0.5, 0.24, 0.16, 0, 180)
    _head(pen, face, width)
    _hair_before(pen, face, width)
    _features(pen, face, expression)


def _hair_behind(pen: Pen, face: Face, width: float) -> None:
    match face.hair_style:
        case "long":
            pen.ellipse(HAIR, 0.0, -0.36, width + 0.2, 0.6)
            pen.box(HAIR, -width - 0.2, -0.36, width + 0.2, 0.56)
        case "curly":
            for x, y in ((-0.5, -0.5), (0.5, -0.5), (-0.58, -0.22), (0.58, -0.22), (-0.28, -0.78), (0.28, -0.78)):
                pen.ellipse(HAIR, x * (width + 0.06) / 0.52, y, 0.26, 0.26)
            pen.ellipse(HAIR, 0.0, -0.84, 0.26, 0.2)
        case "bun":
            pen.ellipse(HAIR, 0.0, -0.9, 0.27, 0.22)
        case _:
            pass


def _head(pen: Pen, face: Face, width: float) -> None:
    jaw = 0.62 + 0.3 * face.proportions[1]
    for side in (-1, 1):
        pen.ellipse(SKIN_SHADE, side * (width + 0.01), -0.22, 0.09, 0.14)
    if face.beard:
        pen.ellipse(BEARD, 0.0, 0.06, width * (jaw + 0.14), 0.42)
        pen.box(BEARD, -width + 0.005, -0.2, width - 0.005, 0.04)
    pen.ellipse(SKIN, 0.0, -0.3, width, 0.48)
    if not face.beard:
        pen.ellipse(SKIN, 0.0, 0.02, width * jaw, 0.36)
    else:
        pen.ellipse(SKIN, 0.0, -0.12, width * 0.78, 0.24)


def _hair_before(pen: Pen, face: Face, width: float) -> None:
    match face.hair_style:
        case "bald":
            return
        case "spiky":
            for x in (-0.75, -0.38, 0.0, 0.38, 0.75):
                pen.polygon(
                    HAIR, ((x * width - 0.17, -0.56), (x * width * 1.2, -1.0 + 0.1 * abs(x)), (x * width + 0.17, -0.56))
                )
            pen.arc(HAIR, 0.0, -0.44, width + 0.02, 0.38, 190, 350)
        case "long":
            pen.arc(HAIR, 0.0, -0.42, width + 0.06, 0.44, 185, 355)
            pen.polygon(HAIR, ((-width - 0.05, -0.5), (-0.1, -0.72), (-width + 0.12, 0.0), (-width - 0.08, 0.1)))
            pen.polygon(HAIR, ((width + 0.05, -0.5), (0.1, -0.72), (width - 0.12, 0.0), (width + 0.08, 0.1)))
        case "bun":
            pen.arc(HAIR, 0.0, -0.38, width + 0.04, 0.48, 184, 356)
        case _:
            pen.arc(HAIR, 0.0, -0.42, width + 0.05, 0.46, 186, 354)
            pen.box(HAIR, -width - 0.05, -0.48, -width + 0.08, -0.22)
            pen.box(HAIR, width - 0.08, -0.48, width + 0.05, -0.22)


def _features(pen: Pen, face: Face, expression: str) -> None:
    _, _, nose, mouth, brow, spacing = face.proportions
    gap = 0.19 + 0.06 * spacing
    wide = 0.13 if expression == "surprised" else 0.1
    for side in (-1, 1):
        pen.ellipse(PALE, side * gap, EYE_LINE + 0.06, 0.13, wide)
        pen.ellipse(EYE, side * gap, EYE_LINE + 0.06, 0.075, 0.085)
        pen.ellipse(DARK, side * gap, EYE_LINE + 0.06, 0.035, 0.04)
        lift = {"surprised": -0.1, "sad": -0.02}.get(expression, 0.0)
        slope = {"sad": -0.08, "serious": 0.05}.get(expression, 0.0)
        y = EYE_LINE - 0.12 + lift
        pen.line(BROW, ((side * (gap - 0.11), y + slope), (side * (gap + 0.13), y - slope)), 0.055 + 0.045 * brow)
        if face.glasses == "round":
            pen.ring(FRAME, side * gap, EYE_LINE + 0.06, 0.19, 0.19, 0.06)
        elif face.glasses == "square":
            x = side * gap
            corners = ((x - 0.18, -0.4), (x + 0.18, -0.4), (x + 0.18, -0.1), (x - 0.18, -0.1), (x - 0.18, -0.4))
            pen.line(FRAME, corners, 0.07)
    if face.glasses != "none":
        pen.line(FRAME, ((-gap + 0.18, EYE_LINE + 0.04), (gap - 0.18, EYE_LINE + 0.04)), 0.06)
    pen.ellipse(NOSE, 0.0, -0.06 + 0.03 * nose, 0.06 + 0.06 * nose, 0.06 + 0.03 * nose)
    _mouth(pen, expression, 0.17 + 0.07 * mouth)


def _mouth(pen: Pen, expression: str, half: float) -> None:
    match expression:
        case "smiling":
            pen.arc(LIPS, 0.0, 0.1, half + 0.06, 0.2, 0, 180)
            pen.box(PALE, -half + 0.02, 0.1, half - 0.02, 0.16)
        case "surprised":
            pen.ellipse(LIPS, 0.0, 0.18, 0.12, 0.14)
            pen.ellipse(DARK, 0.0, 0.18, 0.07, 0.09)
        case "sad":
            pen.line(LIPS, ((-half, 0.25), (-half * 0.5, 0.16), (half * 0.5, 0.16), (half, 0.25)), 0.08)
        case _:
            pen.line(LIPS, ((-half, 0.18), (half, 0.18)), 0.08)
