"""From a scene to its picture: labels are drawn large, coloured, scaled down, and handed to the style."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from maquette.embedded import canvas as ink
from maquette.embedded import nature, things
from maquette.embedded.canvas import SIDE, Pen, mixed, new_labels, pen_at
from maquette.embedded.faces import draw_face
from maquette.embedded.keys import rng_for
from maquette.embedded.layers import Layers, Pixels, layers_of
from maquette.embedded.places import PLACE_DRAWINGS, Brush
from maquette.embedded.scene import Face, Scene, Subject
from maquette.embedded.styles import TRAINING_STYLES
from maquette.embedded.unseen_styles import HELD_OUT_STYLE_DRAWINGS
from maquette.embedded.vocabulary import COLOURS, EYE_COLOURS, RGB
from maquette.errors import ConfigError

SIZES: Final = (32, 64, 128)

# A pattern's second colour covers about a third of the body, so that a picture shows which colour is the main one.
STRIPE: Final = 0.35
CHECK: Final = 0.8

KIND_DRAWINGS: Final[Mapping[str, Callable[[Pen, tuple[float, float, float, float]], None]]] = {
    "mug": things.mug,
    "house": things.house,
    "tree": nature.tree,
    "car": things.car,
    "fish": nature.fish,
    "star": nature.star,
    "flower": nature.flower,
    "boat": things.boat,
    "robot": things.robot,
    "cat": nature.cat,
    "bird": nature.bird,
    "book": things.book,
    "lamp": things.lamp,
    "mushroom": nature.mushroom,
    "clock": things.clock,
    "bottle": things.bottle,
    "umbrella": things.umbrella,
    "teapot": things.teapot,
    "snail": nature.snail,
}
STYLE_DRAWINGS: Final[Mapping[str, Callable[[Layers], Pixels]]] = {**TRAINING_STYLES, **HELD_OUT_STYLE_DRAWINGS}


def render(scene: Scene, size: int = 64) -> Image.Image:
    """The picture of a scene in RGB, the same bytes for the same scene.

    size: side in pixels, one of SIZES. Raises ConfigError for another size or an unknown place or style.
    """
    _require("size", size, SIZES)
    _require("place", scene.place, tuple(PLACE_DRAWINGS))
    _require("style", scene.style, tuple(STYLE_DRAWINGS))
    labels = new_labels()
    brush = Brush(ImageDraw.Draw(labels), rng_for("backdrop", scene.seed))
    PLACE_DRAWINGS[scene.place](brush)
    backdrop = labels.copy()
    pen = pen_at(ImageDraw.Draw(labels), scene.x, scene.y, scene.scale, scene.tilt, scene.flip)
    match scene.subject:
        case Subject() as subject:
            KIND_DRAWINGS[subject.kind](pen, subject.proportions)
            labels = _with_pattern(labels, subject, scene)
            inks = _subject_inks(subject)
        case Face() as face:
            draw_face(pen, face, scene.expression)
            inks = _face_inks(face, COLOURS[scene.shirt])
    layers = layers_of(labels, backdrop, _palette(brush.inks, inks), size, scene.seed)
    pixels = STYLE_DRAWINGS[scene.style](layers)
    return Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))


def _require(name: str, value: str | int, allowed: tuple[str, ...] | tuple[int, ...]) -> None:
    if value not in allowed:
        names = ", ".join(map(str, allowed))
        raise ConfigError(f"{name} = {value!r} is unknown to the embedded world; use one of: {names}.")


def _with_pattern(labels: Image.Image, subject: Subject, scene: Scene) -> Image.Image:
    """Draw the pattern in the object's own frame, wherever the map has the body's ink."""
    if subject.pattern == "plain":
        return labels
    pattern = Image.new("L", (SIDE, SIDE), ink.BODY)
    pen = pen_at(ImageDraw.Draw(pattern), scene.x, scene.y, scene.scale, scene.tilt, scene.flip)
    _draw_pattern(pen, subject)
    body = labels.point([255 if number == ink.BODY else 0 for number in range(256)])
    return Image.composite(pattern, labels, body)


def _draw_pattern(pen: Pen, subject: Subject) -> None:
    period = subject.period
    steps = np.arange(-1.5 + subject.phase * period, 1.5, period)
    match subject.pattern:
        case "striped":
            turn = np.radians(subject.angle)
            along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
            for start in steps:
                a, b = start * across, (start + STRIPE * period) * across
                pen.polygon(
                    ink.BODY_SECOND, np.stack([a - 1.6 * along, a + 1.6 * along, b + 1.6 * along, b - 1.6 * along])
                )
        case "dotted":
            for row, y in enumerate(steps):
                for x in steps + 0.5 * period * (row % 2):
                    pen.ellipse(ink.BODY_SECOND, x, y, 0.29 * period, 0.29 * period)
        case _:
            cell = 0.62 * period
            for row, y in enumerate(np.arange(-1.2, 1.2, cell)):
                for x in np.arange(-1.2 + cell * (row % 2) + subject.phase * cell, 1.2, 2 * cell):
                    pen.box(ink.BODY_SECOND, x, y, x + CHECK * cell, y + CHECK * cell)


def _subject_inks(subject: Subject) -> dict[int, RGB]:
    main, second = subject.rgb, subject.second_rgb
    return {
        ink.BODY: main,
        ink.BODY_SECOND: second,
        ink.MAIN: main,
        ink.SHADE: _shade(main),
        ink.LIGHT: mixed(main, (255, 255, 255), 0.35),
        ink.SECOND: second,
        ink.DARK: (38, 34, 40),
        ink.PALE: (246, 240, 226),
        ink.WOOD: (112, 76, 48),
        ink.SHADE_SECOND: _shade(second),
    }


def _face_inks(face: Face, shirt: RGB) -> dict[int, RGB]:
    skin = face.skin
    return {
        ink.SKIN: skin,
        ink.SKIN_SHADE: mixed(skin, (90, 40, 30), 0.2),
        ink.HAIR: face.hair_rgb,
        ink.EYE: EYE_COLOURS[face.eye_colour],
        ink.LIPS: mixed(skin, (190, 40, 60), 0.75 if face.gender == "woman" else 0.45),
        ink.SHIRT: shirt,
        ink.FRAME: (28, 28, 36),
        ink.NOSE: mixed(skin, (120, 50, 30), 0.28),
        ink.BROW: mixed(face.hair_rgb, (40, 30, 30), 0.45),
        ink.BEARD: mixed(face.hair_rgb, (60, 40, 30), 0.12),
        ink.DARK: (24, 22, 26),
        ink.PALE: (250, 248, 244),
    }


def _shade(rgb: RGB) -> RGB:
    """A darker tone for parts in shadow, or a lighter one where the colour is nearly black."""
    return mixed(rgb, (0, 0, 0), 0.3) if sum(rgb) > 150 else mixed(rgb, (255, 255, 255), 0.22)


def _palette(backdrop: list[RGB], subject: dict[int, RGB]) -> list[int]:
    colours: list[RGB] = [(0, 0, 0)] * 256
    colours[: len(backdrop)] = backdrop
    for number, rgb in subject.items():
        colours[number] = rgb
    return [channel for rgb in colours for channel in rgb]
