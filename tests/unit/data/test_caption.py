from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maquette.config.words import expand, has_words
from maquette.data.caption import Tagged, drawn, in_front


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("a photo of sks dog", "sks", True),
        ("a photo of SKS dog", "sks", True),
        ("TOK2 in a garden", "TOK", False),
        ("sks, on a beach", "sks", True),
        ("risks", "sks", False),
        ("a <s0><s1> dog", "<s0><s1>", True),
        ("a sks  dog", "sks dog", False),
    ],
)
def test_words_are_whole_words(text, words, expected):
    assert has_words(text, words) is expected


def test_trigger_replaces_every_placeholder():
    assert expand("[trigger] beside [trigger]", "sks dog") == "sks dog beside sks dog"
    assert in_front("in the snow", "sks") == "sks, in the snow"
    assert in_front("", "sks") == ""


def test_dropout_share_and_its_ends():
    draws = [drawn("a", Random(i), dropout=0.25) for i in range(2000)]
    # Binomial(2000, 0.25): standard deviation 19.4, five of them either side.
    assert 400 < draws.count("") < 600
    assert all(drawn("a", Random(i), dropout=0.0) == "a" for i in range(50))
    assert all(drawn("a", Random(i), dropout=1.0) == "" for i in range(50))


tags = st.lists(st.text(st.characters(categories=["L"]), min_size=1, max_size=6), min_size=1, max_size=8)


@given(tags=tags, keep=st.integers(0, 9), seed=st.integers(0, 99))
def test_shuffling_keeps_all_tags_and_the_first_in_place(tags, keep, seed):
    result = drawn(", ".join(tags), Random(seed), shuffle=True, keep_tokens=keep).split(", ")
    assert result[:keep] == tags[:keep]
    assert Counter(result) == Counter(tags)


def test_every_order_comes_up():
    orders = {drawn("sks, a, b, c", Random(i), shuffle=True, keep_tokens=1) for i in range(200)}
    assert len(orders) == 6


def test_without_shuffle_the_caption_is_untouched():
    assert drawn("b ,a,, c", Random(0)) == "b ,a,, c"


class Reversing(Random):
    """A shuffle whose outcome anybody can write down."""

    def shuffle(self, x):
        x.reverse()


# Each worked out by hand from S0's rules: trigger, style and tags joined by commas, then two spaces become one, two
# commas become one, and a comma with a space becomes a comma, once each and in this order.
@pytest.mark.parametrize(
    ("lead", "tags", "extra", "rng", "golden"),
    [
        ("style_00,purple, lineart", "apple, fruit, apple", None, None, "style_00,purple,lineart,apple,fruit,apple"),
        (
            "style_00,purple, lineart",
            "mug, cup, mug",
            "horizontal_flip",
            None,
            "style_00,purple,lineart,mug,cup,mug,horizontal_flip",
        ),
        (
            "style_00,purple, lineart",
            "ball, round, toy",
            "horizontal_flip",
            Reversing(),
            "style_00,purple,lineart,horizontal_flip,toy,round,ball",
        ),
        ("style_20,sketch", ", dragon", None, None, "style_20,sketch,dragon"),
        ("style_20,sketch", ", dragon", None, Reversing(), "style_20,sketch,dragon,"),
        ("style_20,sketch", "dragon,, wing", None, None, "style_20,sketch,dragon,wing"),
        ("style_05,watercolor,", "cat", None, None, "style_05,watercolor,cat"),
        ("style_05,light  blue", "cat,  pet", None, None, "style_05,light blue,cat,pet"),
        ("style_05", "", None, None, "style_05"),
    ],
)
def test_captions_of_tags_are_built_as_in_the_reference(lead, tags, extra, rng, golden):
    assert Tagged(lead, tags).text(rng, extra) == golden


def test_tags_are_drawn_behind_what_leads_them():
    caption = Tagged("style_00,lineart", "apple, fruit, red, round")
    texts = {drawn(caption, Random(f"0/caption/{step}/0"), shuffle=True, extra="flipped") for step in range(200)}
    assert all(text.startswith("style_00,lineart,") for text in texts)
    assert all(sorted(text.split(",")[2:]) == ["apple", "flipped", "fruit", "red", "round"] for text in texts)
    assert len(texts) > 60  # of 120 orders
    assert drawn(caption, Random("7"), shuffle=True) == drawn(caption, Random("7"), shuffle=True)
    assert drawn(caption, Random(0), dropout=1.0) == ""


def test_plain_captions_tell_of_a_mirrored_picture_too():
    assert drawn("a dog, red", Random(0), extra="mirrored") == "a dog, red, mirrored"
    assert drawn("", Random(0), extra="mirrored") == ""
