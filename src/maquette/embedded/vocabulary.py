"""The words of the embedded world and the colours that they stand for."""

from collections.abc import Mapping
from typing import Final

RGB = tuple[int, int, int]

KINDS: Final = (
    "mug", "house", "tree", "car", "fish", "star", "flower", "boat",
    "robot", "cat", "bird", "book", "lamp", "mushroom", "clock", "bottle",
)  # fmt: skip
HELD_OUT_KINDS: Final = ("umbrella", "teapot", "snail")
PERSON: Final = "person"

COLOURS: Final[Mapping[str, RGB]] = {
    "red": (212, 34, 38),
    "orange": (246, 130, 18),
    "yellow": (250, 218, 44),
    "green": (44, 158, 58),
    "turquoise": (48, 204, 198),
    "blue": (38, 80, 214),
    "purple": (128, 46, 176),
    "pink": (250, 140, 190),
    "brown": (120, 72, 36),
    "white": (246, 245, 240),
    "grey": (140, 141, 146),
    "black": (30, 29, 34),
}
PATTERNS: Final = ("plain", "striped", "dotted", "checkered")
PLACES: Final = ("beach", "snow", "forest", "city", "room", "desert", "night", "sea", "grass", "plain")
STYLES: Final = (
    "photo", "ink sketch", "pixel art", "watercolor", "line art", "mosaic",
    "chalk", "halftone", "oil painting", "blueprint", "crayon", "stained glass",
)  # fmt: skip
HELD_OUT_STYLES: Final = (
    "neon", "sepia", "papercut", "woodcut", "knitted", "x-ray", "risograph", "low poly",
)  # fmt: skip

GENDERS: Final = ("man", "woman")
SKINS: Final[tuple[RGB, ...]] = (
    (250, 219, 196), (240, 194, 160), (222, 170, 128), (190, 132, 92), (146, 94, 62), (98, 62, 44),
)  # fmt: skip
HAIR_COLOURS: Final[Mapping[str, RGB]] = {
    "black": (34, 30, 32),
    "brown": (108, 64, 34),
    "blond": (238, 204, 104),
    "red": (196, 78, 28),
    "grey": (168, 170, 176),
}
HAIR_STYLES: Final[Mapping[str, tuple[str, ...]]] = {
    "man": ("short", "curly", "spiky", "long", "bald"),
    "woman": ("long", "bun", "curly", "short"),
}
EYE_COLOURS: Final[Mapping[str, RGB]] = {"brown": (92, 54, 26), "blue": (44, 110, 216), "green": (52, 146, 74)}
GLASSES: Final = ("none", "round", "square")
EXPRESSIONS: Final = ("smiling", "serious", "surprised", "sad")
