from dataclasses import replace

import pytest
import torch
from tests.unit.evaluation.fakes import coded, fake_networks

from maquette.errors import DataError
from maquette.evaluation.faces import face_distance, face_prompt_score, face_similarity, faceless
from maquette.evaluation.metric import EvalSet
from maquette.evaluation.similarity import prompt_fidelity

FACES = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]
NONE = 9


def networks():
    found = fake_networks()

    def call(pictures):
        numbers = [int(each[0, 0, 0]) for each in pictures]
        return [None if number == NONE else torch.tensor(FACES[number]) for number in numbers]

    return replace(found, face=replace(found.face, name="eyes", call=call))


def portraits(generated: list[int], real: list[int]) -> EvalSet:
    count = len(generated)
    return EvalSet(
        [coded(i) for i in generated], ["a face"] * count, ["ann"] * count, {"ann": [coded(i) for i in real]}
    )


def test_the_same_face_is_at_0_a_strange_one_at_root_2_and_the_opposite_at_2():
    distance = face_distance(networks())(portraits([0, 1, 2], [0]))
    assert distance.per_image == pytest.approx([0, 2**0.5, 2])
    assert (distance.better, distance.network) == ("lower", "eyes")
    cosine = face_similarity(networks())(portraits([0, 1, 2], [0]))
    assert cosine.per_image == pytest.approx([1, 0, -1])
    assert cosine.better == "higher"


def test_of_several_references_the_cosine_is_not_what_the_mean_distance_would_give():
    distance = face_distance(networks())(portraits([0, 0], [0, 2]))
    cosine = face_similarity(networks())(portraits([0, 0], [0, 2]))
    assert distance.value == pytest.approx(1)
    assert cosine.value == pytest.approx(0)
    assert 1 - distance.value**2 / 2 == pytest.approx(0.5)


def test_pictures_without_a_face_are_counted_and_skipped():
    pictures = portraits([0, NONE, 1, NONE, 0], [0])
    score = face_distance(networks())(pictures)
    assert score.per_image == (pytest.approx(0), None, pytest.approx(2**0.5), None, pytest.approx(0))
    assert score.n == 3
    assert score.value == pytest.approx(2**0.5 / 3)
    count = faceless(networks())(pictures)
    assert (count.value, count.n, count.per_image) == (2, 5, (0, 1, 0, 1, 0))
    assert 0 <= count.low < 2 < count.high <= 5


@pytest.mark.parametrize("metric", [face_distance, face_similarity, face_prompt_score])
def test_a_concept_without_any_face_is_missing_in_the_mean_and_said(metric):
    pictures = EvalSet(
        [coded(i) for i in (0, 1, NONE, NONE)],
        ["a face"] * 4,
        ["ann", "ann", "bob", "bob"],
        {name: [coded(0)] for name in ("ann", "bob")},
    )
    score = metric(networks())(pictures)
    assert score.value == pytest.approx(sum(score.per_image[:2]) / 2)
    assert score.warnings == ("not one picture of bob has a value, so the score is that of the other concepts alone",)
    assert metric(networks())(portraits([0, NONE, 1], [0])).warnings == ()


@pytest.mark.parametrize("metric", [face_distance, face_similarity, face_prompt_score])
def test_all_faceless_is_no_score_and_never_a_perfect_one(metric):
    with pytest.raises(DataError, match=r"all 3 generated pictures are without a face.*eyes does not find them"):
        metric(networks())(portraits([NONE] * 3, [0]))
    assert faceless(networks())(portraits([NONE] * 3, [0])).value == 3


def test_the_prompt_score_of_faces_is_a_hundred_times_that_of_the_pictures_that_have_one():
    pictures = portraits([0, NONE, 1], [0])
    every = prompt_fidelity(networks())(pictures).per_image
    score = face_prompt_score(networks())(pictures)
    assert score.per_image == (pytest.approx(100 * every[0]), None, pytest.approx(100 * every[2]))
    assert score.value == pytest.approx(50 * (every[0] + every[2]))
    assert score.n == 2


def test_references_without_a_face_are_left_out_and_said():
    score = face_distance(networks())(portraits([0, 0], [0, NONE, 0]))
    assert score.value == 0
    assert score.warnings == ("1 of 3 reference pictures of ann have no face",)
    with pytest.raises(DataError, match="none of the 2 reference pictures of ann has a face"):
        face_distance(networks())(portraits([0, 0], [NONE, NONE]))


def test_one_face_among_many_pictures_is_too_few():
    with pytest.raises(DataError, match=r"^1 generated picture counts here.*at least two"):
        face_distance(networks())(portraits([0, NONE, NONE], [0]))
