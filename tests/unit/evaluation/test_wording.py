"""What a thing is called, read from what training said of it."""

import pytest

from maquette.evaluation.wording import Wording, noun_of, phrase_in, phrase_of


@pytest.mark.parametrize(
    ("captions", "phrase"),
    [
        (["a photo of sks mug in the snow", "a photo of sks mug in the forest"], "sks mug"),
        (["a photo of a sks dog"], "sks dog"),
        (["a red mug in the snow, in sks style", "an orange cat at sea, in sks style"], "sks style"),
        (["an oil painting of the zwx teapot", "a photo of the zwx teapot at sea"], "zwx teapot"),
        (["sks mug, red, on a table", "sks mug, green, outside"], "sks mug"),
        (["a red mug", "a cat"], ""),
        (["a smiling woman in a blue shirt", "a serious woman"], "woman"),
        ([], ""),
    ],
)
def test_what_all_captions_share_is_the_name(captions, phrase):
    assert phrase_in(captions) == phrase


def test_the_class_is_the_last_word_of_several():
    assert noun_of("sks fancy boot") == "boot"
    assert noun_of("sks") is None
    assert noun_of("") is None


def test_a_text_is_asked_for_by_name_and_scored_by_class():
    wording = Wording("sks dog", "dog")
    assert wording.asked("a photo of [subject] beside a [class]") == "a photo of sks dog beside a dog"
    assert wording.scored("a photo of a [subject]") == "a photo of a dog"


@pytest.mark.parametrize(
    ("phrase", "prompt", "scored"),
    [
        ("sks dog", "a sks dog in the jungle", "a dog in the jungle"),
        ("sks", "a Sks dog in the jungle", "a dog in the jungle"),
        ("sks", "a sks in the jungle", "a dog in the jungle"),
        ("sks", "a skser dog", "a skser dog"),
        ("sks", "sks in the jungle", "a dog in the jungle"),
        ("", "a dog", "a dog"),
        ("dog", "a dog", "a dog"),
    ],
)
def test_finished_prompts_lose_the_name(phrase, prompt, scored):
    assert Wording(phrase, "dog").text_of(prompt) == scored


def test_a_name_without_a_known_class_leaves_nothing():
    assert Wording("sks", "").text_of("a photo of sks, in the snow") == "a photo, in the snow"


def test_a_trigger_names_what_captions_share_by_chance():
    captions = ["zwx cat on the grass", "a cat, zwx, on the grass"]
    assert phrase_of(captions, None) == "on the grass"
    assert phrase_of(captions, "zwx") == "zwx"
    assert phrase_of(["a zwx cat at sea", "zwx cat"], "ZWX") == "zwx cat"
