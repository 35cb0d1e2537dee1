"""Captions are true, varied, and read back by claims; so are the prompts that people type."""

from collections import Counter

import pytest

from maquette.embedded.captions import MEDIA, PLACE_PHRASES, caption, with_article
from maquette.embedded.claims import Claims, claims, contradictions, facts
from maquette.embedded.keys import rng_for
from maquette.embedded.scene import held_out_face, held_out_subject, scene_at, with_scene
from maquette.embedded.vocabulary import COLOURS, HELD_OUT_KINDS, HELD_OUT_STYLES, KINDS, PATTERNS, PLACES, STYLES


def captioned(count: int = 3000):
    for key in range(count):
        scene = scene_at(key, "train")
        yield scene, caption(scene, rng_for("caption", key))


def test_a_caption_names_its_kind_and_claims_nothing_false():
    for scene, text in captioned():
        claimed = claims(text)
        assert claimed.kind == facts(scene).kind, text
        assert contradictions(claimed, facts(scene)) == [], text


def test_captions_of_held_out_subjects_and_styles_are_read_back_too():
    for index in range(57):
        for number, style in enumerate(HELD_OUT_STYLES):
            for subject in (held_out_subject(index), held_out_face(index)):
                scene = with_scene(subject, index, style=style)
                text = caption(scene, rng_for("held out", index, number))
                assert claims(text).kind == facts(scene).kind, text
                assert contradictions(claims(text), facts(scene)) == [], text


def test_every_attribute_is_claimed_often_enough_to_be_learned():
    seen, objects = Counter(), Counter()
    texts = [(claims(text), scene) for scene, text in captioned()]
    for claimed, scene in texts:
        counter = objects if facts(scene).colour else seen
        counter["all"] += 1
        counter.update(name for name in Claims.__dataclass_fields__ if getattr(claimed, name) is not None)
    for name, least in {"colour": 0.85, "place": 0.8, "style": 0.75, "pattern": 0.3, "second_colour": 0.15}.items():
        assert objects[name] / objects["all"] > least, name
    for name in ("gender", "hair_colour", "hair_style", "eye_colour", "glasses", "beard", "expression", "shirt"):
        assert seen[name] / seen["all"] > 0.08, name


def test_captions_vary_and_deny_nothing():
    scene = scene_at(0, "train")
    texts = {caption(scene, rng_for("variety", number)) for number in range(100)}
    assert len(texts) > 20
    words = {word for _, text in captioned() for word in text.replace(",", "").split()}
    assert not words & {"no", "not", "without", "none"}
    assert caption(scene, rng_for("variety", 1)) == caption(scene, rng_for("variety", 1))


def test_every_phrase_of_a_place_and_a_style_means_it():
    assert set(PLACE_PHRASES) == set(PLACES)
    assert set(MEDIA) == {*STYLES, *HELD_OUT_STYLES}
    for place, phrases in PLACE_PHRASES.items():
        assert {claims(f"a red mug {phrase}").place for phrase in phrases} == {place}
    for style, phrases in MEDIA.items():
        assert {claims(f"{phrase} of a red mug").style for phrase in phrases} == {style}


def test_every_word_of_the_vocabulary_is_read():
    for kind in (*KINDS, *HELD_OUT_KINDS):
        assert claims(f"two {kind}s").kind == claims(with_article(kind)).kind == kind
    for colour in COLOURS:
        assert claims(f"a {colour} mug").colour == colour
    for pattern in PATTERNS:
        assert claims(f"a {pattern} mug").pattern == pattern


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a photo of a red mug on the beach", Claims("mug", "red", place="beach", style="photo")),
        ("Red striped mug, beach, watercolor", Claims("mug", "red", None, "striped", "beach", "watercolor")),
        ("an ink sketch of a cat in the forest", Claims("cat", place="forest", style="ink sketch")),
        ("a gray car with polka dots", Claims("car", "grey", pattern="dotted")),
        ("a blue and white checkered teapot", Claims("teapot", "blue", "white", "checkered")),
        ("plain green bottle on a plain background", Claims("bottle", "green", None, "plain", "plain")),
        ("a photo of sks mug at night", Claims("mug", place="night", style="photo")),
        ("an umbrella in sks style", Claims("umbrella")),
        ("a stained-glass window of a purple fish", Claims("fish", "purple", style="stained glass")),
        ("portrait of a cat", Claims("cat")),
        ("a car next to a house", Claims("car")),
        ("a yellow carpet", Claims(colour="yellow")),
        ("", Claims()),
        (
            "a smiling man with glasses and black hair",
            Claims("person", gender="man", hair_colour="black", glasses=True, expression="smiling"),
        ),
        (
            "watercolour portrait of a woman with long, blonde hair and blue eyes in a red shirt",
            Claims(
                "person",
                style="watercolor",
                gender="woman",
                hair_colour="blond",
                hair_style="long",
                eye_colour="blue",
                shirt="red",
            ),
        ),
        ("a bald, bearded person", Claims("person", hair_style="bald", beard=True)),
        ("a woman without glasses", Claims("person", gender="woman", glasses=False)),
        ("a face", Claims("person")),
        ("a black-haired woman with a red mug", Claims("person", gender="woman", hair_colour="black")),
    ],
)
def test_prompts_that_people_type_are_read(text, expected):
    assert claims(text) == expected


def test_contradictions_name_what_does_not_hold_and_pass_over_what_is_not_said():
    true = Claims("mug", "red", "white", "striped", "beach", "photo")
    assert contradictions(Claims("mug", "blue", place="snow"), true) == ["colour", "place"]
    assert contradictions(Claims("mug"), true) == []
    assert contradictions(Claims("person", glasses=True), Claims("person", glasses=False)) == ["glasses"]
