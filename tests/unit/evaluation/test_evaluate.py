"""What several measurements of one suite make together."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from tests.unit.evaluation.fakes import coded, fake_networks

from maquette.config.suites import load_suite
from maquette.evaluation.evaluate import measure, summed_up
from maquette.evaluation.metric import EvalSet
from maquette.evaluation.networks import Named, Networks
from maquette.runs.scores import Scores, Shot

NONE = 9


def networks() -> Networks:
    """Of which the face network, "eyes", finds none in pictures of the number 9."""
    faces = Named("eyes", "eyes", lambda found: [None if int(p[0, 0, 0]) == NONE else torch.ones(1) for p in found])
    return replace(fake_networks(), face=faces)


def compared(metrics: Sequence[str], things: Sequence[Sequence[int]], concepts: Sequence[str] = ()) -> Scores:
    """Several things that are told by the numbers of their pictures, each picture of its own prompt."""
    suite = load_suite("homework-face", [f"metrics={json.dumps(metrics)}"])
    evaluations = []
    for i, numbers in enumerate(things):
        names = list(concepts) or ["ann"] * len(numbers)
        prompts = [f"a face {row}" for row in range(len(numbers))]
        pictures = EvalSet(
            [coded(number) for number in numbers], prompts, names, {name: [coded(1)] for name in set(names)}
        )
        shots = [Shot("", text, text, text, 0, name, {}) for text, name in zip(prompts, names, strict=True)]
        evaluations.append(measure(f"thing {i}", pictures, shots, suite, networks()))
    return summed_up(evaluations, suite)


def test_a_first_thing_without_a_score_decides_neither_what_is_better_nor_who_scored():
    scores = compared(["face_distance", "prompt_fidelity"], [[NONE] * 4, [1] * 4])
    assert [each.score("face_distance").better for each in scores.evaluations] == [None, "lower"]
    assert scores.known("face_distance").network == "eyes"
    assert set(scores.networks) == {"eyes", "pixels"}


def test_counts_are_compared_in_pictures_and_shares_of_all_of_them():
    """The second person has more pictures, so that a mean of persons would be another number."""
    metrics, concepts = ["faceless", "retrieval_1"], ["ann"] * 2 + ["bob"] * 4
    scores = compared(metrics, [[1, 2, NONE, NONE, NONE, 3], [NONE, 1, 1, 2, 3, 3]], concepts)
    one, other = scores.evaluations
    assert (one.score("faceless").value, other.score("faceless").value) == (3, 1)
    assert one.score("faceless").concepts == {"ann": 0, "bob": 3}
    found = {each.metric: each for each in scores.differences}
    for metric in metrics:
        assert found[metric].value == pytest.approx(other.score(metric).value - one.score(metric).value)
    assert found["faceless"].low < -2 < found["faceless"].high
    assert found["faceless"].low == pytest.approx(round(found["faceless"].low))  # whole pictures
