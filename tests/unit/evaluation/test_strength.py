"""Which strengths are recommended, on curves whose answer can be seen."""

import math

import pytest

from maquette.config.suites import load_suite
from maquette.errors import ConfigError, DataError
from maquette.evaluation.evaluate import metric_names
from maquette.evaluation.strength import Point, likeness_of, parse_strengths, recommend, recommended
from maquette.runs.scores import Evaluation, Measured, StrengthRange


def curve(*points: tuple[float, float, float]) -> list[Point]:
    return [Point(*point) for point in points]


def found_for(points: list[Point], likeness: str = "subject_fidelity") -> StrengthRange:
    return recommend(points, likeness)


def test_the_range_begins_where_the_subject_is_there_and_ends_where_the_prompt_is_lost():
    found = found_for(curve((0, 0.2, 0.30), (0.4, 0.4, 0.30), (0.8, 0.65, 0.295), (1, 0.7, 0.29), (1.2, 0.7, 0.25)))
    assert (found.low, found.high, found.is_met) == (0.8, 1.0, True)
    assert found.words.startswith("From 0.8 to 1, subject fidelity")


def test_a_single_strength_is_said_as_one():
    found = found_for(curve((0, 0.2, 0.3), (0.5, 0.68, 0.3), (1, 0.7, 0.2)))
    assert (found.low, found.high) == (0.5, 0.5)
    assert found.words.startswith("At 0.5, ")


def test_where_no_strength_has_both_the_nearest_is_named_as_such():
    found = found_for(curve((0, 0.2, 0.3), (0.5, 0.3, 0.28), (0.8, 0.5, 0.27), (1, 0.7, 0.15)))
    assert (found.low, found.is_met) == (0.8, False)
    assert "No strength meets the rule" in found.words


def test_the_longest_unbroken_range_wins():
    found = found_for(curve((0, 0, 0.3), (0.2, 0.9, 0.3), (0.4, 0.5, 0.3), (0.6, 0.9, 0.3), (0.8, 1, 0.3)))
    assert (found.low, found.high) == (0.6, 0.8)


def test_an_adapter_that_brings_nothing_is_told_so():
    found = found_for(curve((0, 0.5, 0.3), (1, 0.4, 0.3)))
    assert not found.is_met
    assert "has not learned it" in found.words


def state(strength: float, face: float, prompt: float = 0.3) -> Evaluation:
    scores = [
        Measured(name, value, value, value, "higher", 2, "judge")
        for name, value in (("faceless", 0.0), ("face_similarity", face), ("prompt_fidelity", prompt))
    ]
    return Evaluation(f"strength {strength:g}", tuple(scores), (), strength)


def test_a_face_has_its_range_by_the_likeness_of_faces_where_there_are_any():
    found = recommended([state(1.2, math.nan), state(0, math.nan), state(0.4, 0.2), state(0.8, 0.7), state(1, 0.71)])
    assert (found.low, found.high, found.likeness) == (0.8, 1.0, "face_similarity")
    assert found.words.startswith("From 0.8 to 1, face similarity has risen")


def test_a_range_does_not_reach_over_a_strength_without_a_score():
    states = [state(0, 0.1), state(0.2, 0.8), state(0.4, math.nan), state(0.6, 0.8), state(0.8, 0.8)]
    assert (recommended(states).low, recommended(states).high) == (0.6, 0.8)


def test_without_scores_at_two_strengths_nothing_is_recommended():
    with pytest.raises(DataError, match="face_similarity and prompt_fidelity have a score at fewer than two strengths"):
        recommended([state(0, math.nan), state(1, 0.7)])


@pytest.mark.parametrize(
    ("suite", "likeness"),
    [
        ("world", "subject_fidelity"),
        ("world-style", "style_similarity"),
        ("world-face", "face_similarity"),
        ("homework-face", "face_similarity"),
        ("jittor-style", "subject_fidelity"),
        ("dreambooth", "subject_fidelity"),
    ],
)
def test_every_suite_measures_what_was_learned(suite, likeness):
    assert likeness_of(metric_names(load_suite(suite))) == likeness


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
