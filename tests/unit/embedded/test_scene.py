"""Scenes are pure functions of their keys, and what is held out never occurs in any split."""

import itertools
import math

import pytest

from maquette.embedded.keys import rng_for
from maquette.embedded.scene import (
    Face,
    Subject,
    face_at,
    held_out_face,
    held_out_subject,
    is_reserved,
    scene_at,
    subject_at,
    with_scene,
)
from maquette.embedded.vocabulary import COLOURS, HELD_OUT_KINDS, HELD_OUT_STYLES, KINDS, PATTERNS, PLACES, STYLES
from maquette.errors import ConfigError

SPLITS = ("train", "judge", "verifier", "test")


def combination(subject: Subject) -> tuple[str, ...]:
    return subject.kind, subject.colour, subject.second_colour, subject.pattern


def identity(face: Face) -> tuple[str, ...]:
    return face.gender, face.hair_style, face.hair_colour, face.eye_colour, face.glasses


def test_streams_are_the_same_on_every_machine():
    # Written down once: shipped weights were trained on these draws.
    assert rng_for("scene", "train", 0).getrandbits(64) == 175272089869143985
    assert rng_for("a", 1).random() != rng_for("a1").random()


def test_the_key_and_the_split_alone_decide_the_scene():
    assert scene_at(7, "train") == scene_at(7, "train")
    drawn = [scene_at(key, split) for key in range(50) for split in SPLITS]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("split", SPLITS)
def test_nothing_held_out_occurs_in_a_split(split):
    held_subjects = {combination(held_out_subject(index)) for index in range(2000)}
    held_faces = {identity(held_out_face(index)) for index in range(2000)}
    scenes = [scene_at(key, split) for key in range(3000)]
    subjects = [scene.subject for scene in scenes] + [subject_at(key, split) for key in range(1000)]
    subjects += [face_at(key, split) for key in range(1000)]
    assert not held_subjects & {combination(s) for s in subjects if isinstance(s, Subject)}
    assert not held_faces & {identity(s) for s in subjects if isinstance(s, Face)}
    assert {s.kind for s in subjects if isinstance(s, Subject)} == set(KINDS)
    assert {scene.style for scene in scenes} == set(STYLES)
    assert {scene.place for scene in scenes} == set(PLACES)


def test_the_vocabularies_of_training_and_of_what_is_held_out_are_apart():
    assert not set(KINDS) & set(HELD_OUT_KINDS)
    assert not set(STYLES) & set(HELD_OUT_STYLES)
    assert (len(KINDS), len(HELD_OUT_KINDS), len(STYLES), len(HELD_OUT_STYLES)) == (16, 3, 12, 8)


def test_every_kind_in_every_colour_and_pattern_is_seen_in_training_and_has_a_held_out_sibling():
    for kind, colour, pattern in itertools.product(KINDS, COLOURS, PATTERNS):
        kept = [is_reserved(kind, colour, second, pattern) for second in COLOURS if second != colour]
        assert any(kept), (kind, colour, pattern)
        assert not all(kept), (kind, colour, pattern)


def test_held_out_subjects_are_many_mixed_and_different():
    subjects = [held_out_subject(index) for index in range(57)]
    assert len({combination(subject) for subject in subjects}) == 57
    assert {subject.kind for subject in subjects} == {*KINDS, *HELD_OUT_KINDS}
    assert {subject.pattern for subject in subjects} == set(PATTERNS)
    for kind in (*KINDS, *HELD_OUT_KINDS):
        assert len({subject.colour for subject in subjects if subject.kind == kind}) == 3


def test_held_out_faces_are_at_least_twenty_people():
    faces = [held_out_face(index) for index in range(24)]
    assert len(set(faces)) == 24
    assert len({identity(face) for face in faces}) >= 20


@pytest.mark.parametrize("draw", [held_out_subject, held_out_face])
def test_an_index_below_zero_is_refused(draw):
    with pytest.raises(ConfigError, match=r"-1.*0 or more"):
        draw(-1)


def test_photos_are_three_in_ten():
    share = sum(scene_at(key, "train").style == "photo" for key in range(3000)) / 3000
    # Four standard deviations of a share of 3000 draws.
    assert share == pytest.approx(0.30, abs=4 * math.sqrt(0.3 * 0.7 / 3000))


def test_a_subject_keeps_its_looks_wherever_it_is_staged():
    subject = held_out_subject(0)
    scenes = [with_scene(subject, key, place="sea", style="neon") for key in range(5)]
    assert all(scene.subject == subject for scene in scenes)
    assert {(scene.place, scene.style) for scene in scenes} == {("sea", "neon")}
    assert len({(scene.x, scene.scale, scene.tilt) for scene in scenes}) == 5
    assert len({with_scene(subject, key).place for key in range(60)}) == len(PLACES)
