"""Prompts made from captions: what stands for the thing, and what a scorer reads in its place."""

import pytest

from maquette.embedded.claims import claims
from maquette.errors import ConfigError
from maquette.evaluation.probes import WORLD, WORLD_SCENES, probes
from maquette.evaluation.wording import Wording, wording_in


@pytest.mark.parametrize(
    ("captions", "given", "expected"),
    [
        (["a photo of sks mug in the snow", "a photo of sks mug at sea"], {}, ("sks mug", "mug", "subject")),
        (["a photo of sks mug on the beach", "a photo of sks mug on the grass"], {}, ("sks mug", "mug", "subject")),
        (["a photo of a sks dog"], {}, ("sks dog", "dog", "subject")),
        (["a photo of sks woman in a room", "a photo of sks woman at night"], {}, ("sks woman", "woman", "face")),
        (["a red mug, in sks style", "a cat at sea, in sks style"], {}, ("sks style", "", "style")),
        (["a photo of sks"], {"class_prompt": "a photo of a dog"}, ("sks", "dog", "subject")),
        (["a photo of sks"], {"noun": "toy robot"}, ("sks", "toy robot", "subject")),
        (["a photo of sks"], {}, ("sks", "object", "subject")),
        (["a photo of sks dog"], {"learns": "style"}, ("sks dog", "", "style")),
        (["a zwx cat", "one zwx thing"], {"trigger": "zwx"}, ("zwx", "object", "subject")),
    ],
)
def test_a_name_is_read_from_what_captions_share(captions, given, expected):
    found = wording_in(captions, **given)
    assert found is not None
    assert (found.phrase, found.noun, found.learned) == expected
    assert found.is_class_known == (expected[1] != "object")


def test_captions_without_common_words_name_nothing():
    assert wording_in(["one two", "three four"]) is None


@pytest.mark.parametrize(
    ("named", "prompt", "text"),
    [
        (Wording("sks mug", "mug", "subject"), "a photo of sks mug on the beach", "a photo of a mug on the beach"),
        (Wording("sks mug", "umbrella", "subject"), "the SKS mug, red", "an umbrella, red"),
        (Wording("sks", "dog", "subject"), "asks for sksy things", "asks for sksy things"),
        (Wording("sks style", "", "style"), "a red car on the beach, in sks style", "a red car on the beach"),
        (Wording("sks style", "", "style"), "a car in the sks style at night", "a car at night"),
    ],
)
def test_a_scorer_reads_the_class_in_place_of_the_name(named, prompt, text):
    assert named.text_of(prompt) == text


def test_each_prompt_comes_with_its_seeds_and_once_without_the_concept():
    mug = Wording("sks mug", "mug", "subject")
    made = probes({0: mug}, ["a [trigger] at night", "sks mug, red"], num=2, seed=5, is_world=True)
    assert [(p.prompt, p.text, p.seed, p.is_neutral) for p in made] == [
        ("a sks mug at night", "a mug at night", 5, False),
        ("a sks mug at night", "a mug at night", 6, False),
        ("sks mug, red", "a mug, red", 5, False),
        ("sks mug, red", "a mug, red", 6, False),
        ("a mug at night", "a mug at night", 5, True),
        ("a mug, red", "a mug, red", 5, True),
    ]


def test_with_several_concepts_each_prompt_belongs_to_the_one_it_names():
    both = {0: Wording("sks mug", "mug", "subject"), 1: Wording("zwx cat", "cat", "subject")}
    made = probes(both, ["sks mug at sea", "zwx cat at sea", "[trigger] in a room"], num=1, seed=0, is_world=True)
    assert [(p.prompt, p.concept) for p in made if not p.is_neutral] == [
        ("sks mug at sea", 0),
        ("sks mug in a room", 0),
        ("zwx cat at sea", 1),
        ("zwx cat in a room", 1),
    ]


def test_a_prompt_that_asks_for_nothing_learned_is_refused():
    with pytest.raises(ConfigError, match=r"evaluation\.prompts: 'a red house': asks for nothing .*'sks mug'"):
        probes({0: Wording("sks mug", "mug", "subject")}, ["a red house"], num=1, seed=0, is_world=True)


def test_the_default_prompts_for_the_world_are_of_the_world():
    for prompt in WORLD:
        read = claims(prompt.format("a mug"))
        assert (read.kind, read.place is not None, read.style is not None) == ("mug", True, True), prompt
    for prompt in WORLD_SCENES:
        read = claims(prompt)
        assert None not in (read.kind, read.colour, read.place), prompt
