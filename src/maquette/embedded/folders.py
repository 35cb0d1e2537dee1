"""Folders of pictures with captions beside them, drawn from the embedded world: data to train on and to test with."""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from maquette.embedded.captions import PLACE_PHRASES, caption, object_phrase, with_article
from maquette.embedded.keys import rng_for
from maquette.embedded.render import render
from maquette.embedded.scene import Face, Subject, held_out_face, held_out_subject, scene_at, subject_at, with_scene
from maquette.embedded.vocabulary import HELD_OUT_STYLES, KINDS, PLACES
from maquette.errors import ConfigError
from maquette.runs.files import sync


@dataclass(frozen=True, slots=True)
class Captioned:
    """A picture and the text that goes beside it."""

    image: Image.Image
    caption: str


def subject_pictures(index: int, count: int, seed: int = 0, token: str | None = None) -> Iterator[Captioned]:
    """Photos of one held-out subject in ever new places and poses.

    token: the word for this subject in captions such as "a photo of sks mug in the snow"; without one, captions
    describe the subject in common words. Raises ConfigError for an index below 0, no pictures or an unusable token.
    """
    subject = held_out_subject(index)
    yield from _portraits(f"subject {index}", subject, subject.kind, count, seed, token)


def face_pictures(index: int, count: int, seed: int = 0, token: str | None = None) -> Iterator[Captioned]:
    """Photos of one held-out person with changing expressions, clothes and places; token as for a subject."""
    face = held_out_face(index)
    yield from _portraits(f"face {index}", face, face.gender, count, seed, token)


def style_pictures(index: int, count: int, seed: int = 0, token: str | None = None) -> Iterator[Captioned]:
    """Different objects in different places, all in one held-out style.

    token: the word for the style in captions such as "a red mug in the snow, in sks style"; without one, captions say
    what is shown and leave the style to be learned from the pictures. Raises ConfigError for an index without a style,
    no pictures or an unusable token.
    """
    if not 0 <= index < len(HELD_OUT_STYLES):
        names = ", ".join(f"{number} {name}" for number, name in enumerate(HELD_OUT_STYLES))
        raise ConfigError(f"index = {index}: no held-out style has this number; choose one of: {names}.")
    _check(count, token)
    kinds, places = _shuffled(KINDS, "style", index, seed), _shuffled(PLACES, "style", index, seed)
    for number in range(count):
        rng = rng_for("folder", "style", index, seed, number)
        subject = _test_subject(kinds[number % len(kinds)], rng.getrandbits(40))
        place = places[number % len(places)]
        scene = with_scene(subject, rng.getrandbits(40), place=place, style=HELD_OUT_STYLES[index])
        text = f"{with_article(object_phrase(subject, rng))} {PLACE_PHRASES[place][0]}"
        yield Captioned(render(scene), f"{text}, in {token} style" if token else text)


def scene_pictures(count: int, seed: int = 0) -> Iterator[Captioned]:
    """Random pictures of the training distribution that no training run has seen, each with a caption."""
    _check(count, None)
    for number in range(count):
        rng = rng_for("folder", "scenes", seed, number)
        scene = scene_at(rng.getrandbits(40), "test")
        yield Captioned(render(scene), caption(scene, rng))


def write_folder(pictures: Iterable[Captioned], out: Path) -> list[Path]:
    """Write 000.png beside 000.txt and so on, and give the pictures' paths; `out` appears only when it is complete.

    Raises ConfigError where `out` is a file, a folder with something in it, or cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: this is a file; name a new folder.")
    if out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"--out {out}: this folder is not empty, and nothing in it is overwritten; name a new one.")
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.absolute().parent) as beside:
            partial = Path(beside) / "folder"
            partial.mkdir()
            names = [_write_pair(partial, number, picture) for number, picture in enumerate(pictures)]
            partial.replace(out)
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error.strerror}); name a folder that can.") from error
    return [out / name for name in names]


def _portraits(
    name: str, subject: Subject | Face, noun: str, count: int, seed: int, token: str | None
) -> Iterator[Captioned]:
    _check(count, token)
    places = _shuffled(PLACES, name, seed)
    for number in range(count):
        rng = rng_for("folder", name, seed, number)
        place = places[number % len(places)]
        scene = with_scene(subject, rng.getrandbits(40), place=place, style="photo")
        text = f"a photo of {token} {noun} {PLACE_PHRASES[place][0]}" if token else caption(scene, rng)
        yield Captioned(render(scene), text)


def _check(count: int, token: str | None) -> None:
    if count < 1:
        raise ConfigError(f"count = {count}: a folder holds at least one picture; give 1 or more.")
    if token is not None and (not token.strip() or token != token.strip() or "\n" in token):
        raise ConfigError(f"token = {token!r}: give a word such as sks, without spaces around it or line breaks.")


def _shuffled(words: tuple[str, ...], *key: int | str) -> list[str]:
    return rng_for("order", *key).sample(words, len(words))


def _test_subject(kind: str, key: int) -> Subject:
    """The first subject of this kind from a key on."""
    while (subject := subject_at(key, "test")).kind != kind:
        key += 1
    return subject


def _write_pair(folder: Path, number: int, picture: Captioned) -> str:
    image, text = folder / f"{number:03d}.png", folder / f"{number:03d}.txt"
    picture.image.save(image, format="PNG")
    text.write_text(picture.caption + "\n", encoding="utf-8")
    sync(image)
    sync(text)
    return image.name
