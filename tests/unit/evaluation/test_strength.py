"""Which strengths are recommended, on curves whose answer can be seen."""

import pytest

from maquette.errors import ConfigError
from maquette.evaluation.strength import Point, parse_strengths, recommend


def curve(*points: tuple[float, float, float]) -> list[Point]:
    return [Point(*point) for point in points]


def test_the_range_begins_where_the_subject_is_there_and_ends_where_the_prompt_is_lost():
    found = recommend(curve((0, 0.2, 0.30), (0.4, 0.4, 0.30), (0.8, 0.65, 0.295), (1, 0.7, 0.29), (1.2, 0.7, 0.25)))
    assert (found.low, found.high, found.is_met) == (0.8, 1.0, True)
    assert found.words.startswith("From 0.8 to 1, subject fidelity")


def test_a_single_strength_is_said_as_one():
    found = recommend(curve((0, 0.2, 0.3), (0.5, 0.68, 0.3), (1, 0.7, 0.2)))
    assert (found.low, found.high) == (0.5, 0.5)
    assert found.words.startswith("At 0.5, ")


def test_where_no_strength_has_both_the_nearest_is_named_as_such():
    found = recommend(curve((0, 0.2, 0.3), (0.5, 0.3, 0.28), (0.8, 0.5, 0.27), (1, 0.7, 0.15)))
    assert (found.low, found.is_met) == (0.8, False)
    assert "No strength meets the rule" in found.words


def test_the_longest_unbroken_range_wins():
    found = recommend(curve((0, 0, 0.3), (0.2, 0.9, 0.3), (0.4, 0.5, 0.3), (0.6, 0.9, 0.3), (0.8, 1, 0.3)))
    assert (found.low, found.high) == (0.6, 0.8)


def test_an_adapter_that_brings_nothing_is_told_so():
    found = recommend(curve((0, 0.5, 0.3), (1, 0.4, 0.3)))
    assert not found.is_met
    assert "has not learned it" in found.words


@pytest.mark.parametrize(
    ("text", "strengths"),
    [
        ("0,0.5,1", [0, 0.5, 1]),
        ("1, 0.5", [0.5, 1]),
        ("0,0.4,...,1.2", [0, 0.4, 0.8, 1.2]),
        ("0,0.5,…,1", [0, 0.5, 1]),
        ("0,0.1,...,0.3", [0, 0.1, 0.2, 0.3]),
    ],
)
def test_strengths_are_a_list_or_a_stretch(text, strengths):
    assert parse_strengths(text) == strengths


@pytest.mark.parametrize(
    "text", ["", "1", "0,-1", "a,b", "0,...,1", "0,0.5,...", "1,0,...,2", "0,1,...,2,3", "0,99", "0,1,...,inf"]
)
def test_what_is_no_list_is_refused_with_an_example(text):
    with pytest.raises(ConfigError, match=r"such as 0,0\.[45]"):
        parse_strengths(text)


@pytest.mark.parametrize("text", ["0,0.5,...,1.3", "0,0.5,...,1.2", "0.1,0.5,...,1"])
def test_a_stretch_whose_steps_do_not_meet_its_end_is_refused(text):
    with pytest.raises(ConfigError, match=rf"{text}: steps of 0\.[45] from 0(\.1)? on do not meet 1"):
        parse_strengths(text)
