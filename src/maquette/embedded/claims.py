"""What a caption or a prompt says of its picture, read back into the words of the world."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from maquette.embedded.scene import Scene, Subject
from maquette.embedded.vocabulary import (
    COLOURS,
    EXPRESSIONS,
    EYE_COLOURS,
    HAIR_COLOURS,
    HAIR_STYLES,
    HELD_OUT_KINDS,
    HELD_OUT_STYLES,
    KINDS,
    PERSON,
    PLACES,
    STYLES,
)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a text says of its picture; None where it says nothing.

    kind is a kind of object or "person"; gender and what follows belong to persons alone.
    """

    kind: str | None = None
    colour: str | None = None
    second_colour: str | None = None
    pattern: str | None = None
    place: str | None = None
    style: str | None = None
    gender: str | None = None
    hair_colour: str | None = None
    hair_style: str | None = None
    eye_colour: str | None = None
    glasses: bool | None = None
    beard: bool | None = None
    expression: str | None = None
    shirt: str | None = None


# Hyphens are spaces by the time that these tables are read.
_KIND_WORDS: Final[Mapping[str, str]] = {
    **{kind: kind for kind in (*KINDS, *HELD_OUT_KINDS)},
    **{f"{kind}s": kind for kind in (*KINDS, *HELD_OUT_KINDS)},
    "cup": "mug",
    "automobile": "car",
    "sailboat": "boat",
    "sailing boat": "boat",
    "kitten": "cat",
    "toadstool": "mushroom",
    "alarm clock": "clock",
    "parasol": "umbrella",
}
_PERSON_WORDS: Final[Mapping[str, str | None]] = {
    "man": "man",
    "men": "man",
    "guy": "man",
    "woman": "woman",
    "women": "woman",
    "lady": "woman",
    "person": None,
    "people": None,
}
_LIKENESS_WORDS: Final[Mapping[str, str]] = {"face": PERSON, "portrait": PERSON}
_COLOUR_WORDS: Final[Mapping[str, str]] = {
    **{colour: colour for colour in COLOURS},
    "gray": "grey",
    "violet": "purple",
    "teal": "turquoise",
    "cyan": "turquoise",
}
_PATTERN_WORDS: Final[Mapping[str, str]] = {
    "plain": "plain",
    "striped": "striped",
    "stripes": "striped",
    "stripy": "striped",
    "dotted": "dotted",
    "dots": "dotted",
    "spotted": "dotted",
    "polka dot": "dotted",
    "checkered": "checkered",
    "chequered": "checkered",
    "checked": "checkered",
    "checks": "checkered",
}
_PLACE_WORDS: Final[Mapping[str, str]] = {
    **{place: place for place in PLACES if place != "plain"},
    "snowy": "snow",
    "woods": "forest",
    "street": "city",
    "indoors": "room",
    "ocean": "sea",
    "meadow": "grass",
    "plain background": "plain",
    "plain backdrop": "plain",
    "white background": "plain",
    "empty background": "plain",
}
_STYLE_WORDS: Final[Mapping[str, str]] = {
    **{style.replace("-", " "): style for style in (*STYLES, *HELD_OUT_STYLES)},
    "photograph": "photo",
    "ink drawing": "ink sketch",
    "8 bit": "pixel art",
    "watercolour": "watercolor",
    "line drawing": "line art",
    "crayons": "crayon",
    "paper cut": "papercut",
}
_EXPRESSION_WORDS: Final[Mapping[str, str]] = {
    **{expression: expression for expression in EXPRESSIONS},
    "smile": "smiling",
    "smiles": "smiling",
    "happy": "smiling",
    "unhappy": "sad",
}
_HAIR_COLOUR_WORDS: Final[Mapping[str, str]] = {
    **{colour: colour for colour in HAIR_COLOURS},
    "blonde": "blond",
    "gray": "grey",
    "ginger": "red",
}
_HAIR_STYLE_WORDS: Final[Mapping[str, str]] = {
    **{style: style for styles in HAIR_STYLES.values() for style in styles},
}


def _any_of(words: Mapping[str, object]) -> str:
    """A pattern that matches any of these phrases, the longest first."""
    return rf"\b(?:{'|'.join(sorted(map(re.escape, words), key=len, reverse=True))})\b"


_HAIR: Final = re.compile(rf"((?:(?:{_any_of(_HAIR_COLOUR_WORDS)}|{_any_of(_HAIR_STYLE_WORDS)}) )+)hair(?:ed)?\b")
_EYES: Final = re.compile(rf"({_any_of(EYE_COLOURS)}) eye[sd]\b")
_SHIRT: Final = re.compile(rf"({_any_of(_COLOUR_WORDS)}) (?:shirt|t shirt|sweater|jumper|top)\b")
_SHAVEN: Final = re.compile(r"\b(?:without|no)(?: a)? (glasses|beard)\b")


def claims(text: str) -> Claims:
    """What this text claims; of two claims of one sort the first counts, and words not known here claim nothing."""
    rest = " ".join(re.findall(r"[a-z0-9]+", text.lower()))
    style, rest = _taken(rest, _STYLE_WORDS)
    place, rest = _taken(rest, _PLACE_WORDS)
    hair, rest = _cut(rest, _HAIR)
    eyes, rest = _cut(rest, _EYES)
    shirt, rest = _cut(rest, _SHIRT)
    thing, person = _found(rest, _KIND_WORDS), _found(rest, _PERSON_WORDS)
    if (person and (thing is None or person.start() < thing.start())) or (not thing and _found(rest, _LIKENESS_WORDS)):
        genders = [_PERSON_WORDS[word] for word in re.findall(_any_of(_PERSON_WORDS), rest)]
        lacks = _SHAVEN.findall(rest)
        return Claims(
            kind=PERSON,
            place=place,
            style=style,
            gender=next((gender for gender in genders if gender), None),
            hair_colour=_taken(hair or "", _HAIR_COLOUR_WORDS)[0],
            hair_style=_taken(hair or "", _HAIR_STYLE_WORDS)[0] or _taken(rest, {"bald": "bald", "bun": "bun"})[0],
            eye_colour=eyes,
            glasses=_has(rest, r"\b(?:glasses|spectacles)\b", "glasses" in lacks),
            beard=_has(rest, r"\bbeard(?:ed)?\b", "beard" in lacks),
            expression=_taken(rest, _EXPRESSION_WORDS)[0],
            shirt=_COLOUR_WORDS[shirt] if shirt else None,
        )
    colours = [_COLOUR_WORDS[word] for word in re.findall(_any_of(_COLOUR_WORDS), rest)]
    pattern = _taken(rest, _PATTERN_WORDS)[0]
    return Claims(
        kind=_KIND_WORDS[thing.group()] if thing else None,
        colour=colours[0] if colours else None,
        second_colour=colours[1] if len(colours) > 1 and pattern not in (None, "plain") else None,
        pattern=pattern,
        place=place,
        style=style,
    )


def facts(scene: Scene) -> Claims:
    """Everything that a caption of this scene may truthfully claim."""
    subject = scene.subject
    if isinstance(subject, Subject):
        return Claims(
            kind=subject.kind,
            colour=subject.colour,
            second_colour=subject.second_colour,
            pattern=subject.pattern,
            place=scene.place,
            style=scene.style,
        )
    return Claims(
        kind=PERSON,
        place=scene.place,
        style=scene.style,
        gender=subject.gender,
        hair_colour=subject.hair_colour,
        hair_style=subject.hair_style,
        eye_colour=subject.eye_colour,
        glasses=subject.glasses != "none",
        beard=subject.beard,
        expression=scene.expression,
        shirt=scene.shirt,
    )


def contradictions(claimed: Claims, true: Claims) -> list[str]:
    """The names of the claims that do not hold, in the order of the record."""
    names = [field.name for field in fields(Claims)]
    return [name for name in names if getattr(claimed, name) not in (None, getattr(true, name))]


def _found(text: str, words: Mapping[str, object]) -> re.Match[str] | None:
    return re.search(_any_of(words), text)


def _taken(text: str, words: Mapping[str, str]) -> tuple[str | None, str]:
    """The meaning of the first of these words, and the text without it."""
    match = _found(text, words)
    return (words[match.group()], text[: match.start()] + text[match.end() :]) if match else (None, text)


def _cut(text: str, pattern: re.Pattern[str]) -> tuple[str | None, str]:
    """The pattern's first group where it first matches, and the text without the match."""
    match = pattern.search(text)
    return (match.group(1), text[: match.start()] + text[match.end() :]) if match else (None, text)


def _has(text: str, pattern: str, is_denied: bool) -> bool | None:
    if is_denied:
        return False
    return True if re.search(pattern, text) else None
