"""What a picture of the embedded world shows: frozen records, drawn as pure functions of integer keys."""

import random
from dataclasses import dataclass, replace
from typing import Literal

from maquette.embedded.keys import rng_for
from maquette.embedded.vocabulary import (
    COLOURS,
    EXPRESSIONS,
    EYE_COLOURS,
    GENDERS,
    GLASSES,
    HAIR_COLOURS,
    HAIR_STYLES,
    HELD_OUT_KINDS,
    KINDS,
    PATTERNS,
    PLACES,
    RGB,
    SKINS,
    STYLES,
)
from maquette.errors import ConfigError

Split = Literal["train", "judge", "verifier", "test"]

FACE_SHARE = 0.15
PHOTO_SHARE = 0.30


@dataclass(frozen=True, slots=True)
class Subject:
    """One object, the same wherever it is rendered.

    period and phase are lengths of the pattern in object units (the object is two units wide), angle is that of the
    stripes in degrees, and proportions are four numbers in [0, 1] whose meaning belongs to the kind.
    """

    kind: str
    colour: str
    second_colour: str
    pattern: str
    rgb: RGB
    second_rgb: RGB
    period: float
    phase: float
    angle: int
    proportions: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Face:
    """One person's identity; expression and clothes belong to the scene.

    proportions are in [0, 1]: width of the face, jaw, nose, mouth, brows, distance of the eyes.
    """

    gender: str
    hair_colour: str
    hair_style: str
    eye_colour: str
    glasses: str
    beard: bool
    skin: RGB
    hair_rgb: RGB
    proportions: tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture: who or what, where, in which style, and how it is posed.

    x and y place the centre and scale gives the side, all as fractions of the picture; tilt is in degrees, clockwise.
    expression and shirt (a colour's name) apply to faces. seed decides incidental detail such as clouds and grain.
    """

    subject: Subject | Face
    place: str
    style: str
    x: float
    y: float
    scale: float
    tilt: float
    flip: bool
    expression: str
    shirt: str
    seed: int


def is_reserved(kind: str, colour: str, second_colour: str, pattern: str) -> bool:
    """Whether this combination belongs to held-out subjects alone: a sixth of all, spread evenly, and whole kinds."""
    if kind in HELD_OUT_KINDS:
        return True
    colours = list(COLOURS)
    place = KINDS.index(kind) + colours.index(colour) + 5 * colours.index(second_colour) + 2 * PATTERNS.index(pattern)
    return place % 6 == 0


def is_reserved_face(gender: str, hair_style: str, hair_colour: str, eye_colour: str, glasses: str) -> bool:
    """Whether this combination belongs to held-out faces alone: a seventh of all, spread evenly."""
    place = (
        GENDERS.index(gender)
        + 2 * HAIR_STYLES[gender].index(hair_style)
        + 3 * list(HAIR_COLOURS).index(hair_colour)
        + 4 * list(EYE_COLOURS).index(eye_colour)
        + 5 * GLASSES.index(glasses)
    )
    return place % 7 == 0


def subject_at(key: int, split: Split) -> Subject:
    """The subject of this key, never one that is held out; splits draw from unrelated streams."""
    rng = rng_for("subject", split, key)
    kind, colour, pattern = rng.choice(KINDS), rng.choice(list(COLOURS)), _pattern(rng)
    free = [s for s in COLOURS if s != colour and not is_reserved(kind, colour, s, pattern)]
    return _subject(rng, kind, colour, rng.choice(free), pattern)


def held_out_subject(index: int) -> Subject:
    """The subject of this index (0 or more), which no split contains; kinds alternate, held-out kinds come first."""
    _require_index(index)
    rng = rng_for("held-out subject", index)
    kinds = HELD_OUT_KINDS + KINDS
    kind, turn = kinds[index % len(kinds)], index // len(kinds)
    colour = list(COLOURS)[(5 * index + 6 * turn) % len(COLOURS)]
    pattern = PATTERNS[index % len(PATTERNS)]
    reserved = [s for s in COLOURS if s != colour and is_reserved(kind, colour, s, pattern)]
    return _subject(rng, kind, colour, rng.choice(reserved), pattern)


def face_at(key: int, split: Split) -> Face:
    """The identity of this key, never one that is held out; splits draw from unrelated streams."""
    return _face(rng_for("face", split, key), held_out=False)


def held_out_face(index: int) -> Face:
    """The identity of this index (0 or more), which no split contains."""
    _require_index(index)
    return _face(rng_for("held-out face", index), held_out=True)


def scene_at(key: int, split: Split) -> Scene:
    """The scene of this key: any kind, place and training style, faces about one time in seven."""
    rng = rng_for("scene", split, key)
    subject = face_at(key, split) if rng.random() < FACE_SHARE else subject_at(key, split)
    return _stage(rng, subject)


def with_scene(subject: Subject | Face, key: int, place: str | None = None, style: str | None = None) -> Scene:
    """The same subject in the scene of this key, in a given place or style where one is named."""
    scene = _stage(rng_for("stage", key), subject)
    return replace(scene, place=place or scene.place, style=style or scene.style)


def _require_index(index: int) -> None:
    if index < 0:
        raise ConfigError(f"index = {index}: held-out subjects and faces are counted from 0; give 0 or more.")


def _pattern(rng: random.Random) -> str:
    return "plain" if rng.random() < 0.4 else rng.choice(PATTERNS[1:])


def _jittered(rng: random.Random, rgb: RGB, amount: int) -> RGB:
    red, green, blue = (min(255, max(0, c + rng.randint(-amount, amount))) for c in rgb)
    return red, green, blue


def _subject(rng: random.Random, kind: str, colour: str, second_colour: str, pattern: str) -> Subject:
    return Subject(
        kind=kind,
        colour=colour,
        second_colour=second_colour,
        pattern=pattern,
        rgb=_jittered(rng, COLOURS[colour], 14),
        second_rgb=_jittered(rng, COLOURS[second_colour], 14),
        period=rng.uniform(0.48, 0.7),
        phase=rng.uniform(0.0, 0.5),
        angle=rng.choice((0, 45, 90, 135)),
        proportions=(rng.random(), rng.random(), rng.random(), rng.random()),
    )


def _face(rng: random.Random, held_out: bool) -> Face:
    while True:  # one draw in seven is held out, so this ends after a few turns
        gender = rng.choice(GENDERS)
        hair_style, hair_colour = rng.choice(HAIR_STYLES[gender]), rng.choice(list(HAIR_COLOURS))
        eye_colour, glasses = rng.choice(list(EYE_COLOURS)), rng.choice(("none", *GLASSES))
        if is_reserved_face(gender, hair_style, hair_colour, eye_colour, glasses) == held_out:
            break
    return Face(
        gender=gender,
        hair_colour=hair_colour,
        hair_style=hair_style,
        eye_colour=eye_colour,
        glasses=glasses,
        beard=gender == "man" and rng.random() < 0.4,
        skin=_jittered(rng, rng.choice(SKINS), 8),
        hair_rgb=_jittered(rng, HAIR_COLOURS[hair_colour], 12),
        proportions=(rng.random(), rng.random(), rng.random(), rng.random(), rng.random(), rng.random()),
    )


def _stage(rng: random.Random, subject: Subject | Face) -> Scene:
    if isinstance(subject, Face):
        scale, floor, tilt = rng.uniform(0.72, 0.95), rng.uniform(1.0, 1.06), rng.uniform(-5, 5)
    else:
        scale, floor, tilt = rng.uniform(0.46, 0.72), rng.uniform(0.86, 0.95), rng.triangular(-16, 16, 0)
    return Scene(
        subject=subject,
        place=rng.choice(PLACES),
        style="photo" if rng.random() < PHOTO_SHARE else rng.choice(STYLES[1:]),
        x=rng.uniform(0.40, 0.60),
        y=floor - scale / 2,
        scale=scale,
        tilt=tilt,
        flip=rng.random() < 0.5,
        expression=rng.choice(EXPRESSIONS),
        shirt=rng.choice(list(COLOURS)),
        seed=rng.getrandbits(32),
    )
