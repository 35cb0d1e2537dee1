"""Captions of scenes, put in the many ways that people put them."""

import random
from collections.abc import Mapping, Sequence
from typing import Final

from maquette.embedded.scene import Face, Scene, Subject
from maquette.evaluation.wording import with_article

# The first phrase of each place is the one that folders use.
PLACE_PHRASES: Final[Mapping[str, tuple[str, ...]]] = {
    "beach": ("on the beach", "at the beach", "on a sandy beach"),
    "snow": ("in the snow", "in a snowy landscape"),
    "forest": ("in the forest", "in a forest", "in the woods"),
    "city": ("in the city", "in a city street"),
    "room": ("in a room", "indoors"),
    "desert": ("in the desert", "in a desert"),
    "night": ("at night", "under the night sky"),
    "sea": ("at sea", "in the sea", "on the ocean"),
    "grass": ("on the grass", "in a meadow"),
    "plain": ("on a plain background", "against a plain background"),
}
# What to write before "of"; the first phrase of each style is the plainest.
MEDIA: Final[Mapping[str, tuple[str, ...]]] = {
    "photo": ("a photo", "a photograph"),
    "ink sketch": ("an ink sketch", "an ink drawing"),
    "pixel art": ("pixel art", "a pixel art picture"),
    "watercolor": ("a watercolor", "a watercolor painting"),
    "line art": ("line art", "a line drawing"),
    "mosaic": ("a mosaic", "a mosaic picture"),
    "chalk": ("a chalk drawing", "a chalk picture"),
    "halftone": ("a halftone print", "a halftone picture"),
    "oil painting": ("an oil painting",),
    "blueprint": ("a blueprint",),
    "crayon": ("a crayon drawing", "a crayon picture"),
    "stained glass": ("stained glass", "a stained glass window"),
    "neon": ("a neon sign",),
    "sepia": ("a sepia picture",),
    "papercut": ("a papercut",),
    "woodcut": ("a woodcut",),
    "knitted": ("a knitted picture",),
    "x-ray": ("an x-ray",),
    "risograph": ("a risograph print",),
    "low poly": ("a low poly picture",),
}
_PATTERN_NOUNS: Final[Mapping[str, str]] = {"striped": "stripes", "dotted": "dots", "checkered": "checks"}


def caption(scene: Scene, rng: random.Random) -> str:
    """One caption of the scene: always its kind, mostly its colour, place and style, sometimes the rest."""
    match scene.subject:
        case Subject() as subject:
            noun = object_phrase(subject, rng)
        case Face() as face:
            noun = person_phrase(face, scene, rng)
    place = scene.place if rng.random() < 0.9 else None
    named = rng.random() < (0.7 if scene.style == "photo" else 0.95)
    return _arranged(noun, place, scene.style if named else None, rng)


def object_phrase(subject: Subject, rng: random.Random) -> str:
    """The object as a noun phrase without an article, such as "red mug with white dots"."""
    kind, colour, second, pattern = subject.kind, subject.colour, subject.second_colour, subject.pattern
    with_colour = rng.random() < 0.92
    if pattern == "plain":
        phrase = f"{colour} {kind}" if with_colour else kind
        return f"plain {phrase}" if rng.random() < 0.08 else phrase
    if rng.random() < 0.15:
        return f"{colour} {kind}" if with_colour else kind
    if not with_colour:
        return f"{pattern} {kind}"
    return rng.choice(
        (
            f"{pattern} {colour} {kind}",
            f"{colour} {pattern} {kind}",
            f"{colour} and {second} {pattern} {kind}",
            f"{colour} {kind} with {second} {_PATTERN_NOUNS[pattern]}",
        )
    )


def person_phrase(face: Face, scene: Scene, rng: random.Random) -> str:
    """The person as a noun phrase without an article, such as "smiling woman with glasses in a blue shirt"."""
    adjectives = [scene.expression] if rng.random() < 0.6 else []
    traits = []
    if face.hair_style == "bald":
        adjectives += ["bald"] if rng.random() < 0.75 else []
    elif rng.random() < 0.75:
        traits.append(_hair_phrase(face, rng))
    if face.glasses != "none" and rng.random() < 0.8:
        traits.insert(0, rng.choice(("glasses", "glasses", f"{face.glasses} glasses")))
    if face.beard and rng.random() < 0.75:
        traits.append("a beard")
    if rng.random() < 0.25:
        traits.append(f"{face.eye_colour} eyes")
    words = [*adjectives, face.gender if rng.random() < 0.85 else "person"]
    phrase = " ".join(words) + (f" with {_listed(traits)}" if traits else "")
    if rng.random() < 0.5:
        phrase += rng.choice((" in ", " wearing ")) + with_article(f"{scene.shirt} shirt")
    return phrase


def _hair_phrase(face: Face, rng: random.Random) -> str:
    if rng.random() < 0.4:
        return f"{face.hair_colour} hair"
    if face.hair_style == "bun":
        return f"{face.hair_colour} hair in a bun"
    return f"{face.hair_style} {face.hair_colour} hair"


def _listed(traits: Sequence[str]) -> str:
    return traits[0] if len(traits) == 1 else f"{', '.join(traits[:-1])} and {traits[-1]}"


def _arranged(noun: str, place: str | None, style: str | None, rng: random.Random) -> str:
    where = f" {rng.choice(PLACE_PHRASES[place])}" if place else ""
    roll = rng.random()
    if roll < 0.15:
        tags = [noun, *([_place_tag(place)] if place else []), *([style] if style else [])]
        return ", ".join(tags)
    sentence = with_article(noun) + where
    if not style:
        return sentence
    if roll < 0.35:
        return f"{sentence}, {style}" if rng.random() < 0.6 else f"{sentence}, {style} style"
    medium = MEDIA[style][0] if rng.random() < 0.7 else rng.choice(MEDIA[style])
    return f"{medium} of {sentence}"


def _place_tag(place: str) -> str:
    return "plain background" if place == "plain" else place
