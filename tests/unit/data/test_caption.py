from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maquette.data.caption import drawn, expand, has_words, in_front


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
