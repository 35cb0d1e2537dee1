"""What is measured on each picture, with networks simple enough to reckon by hand."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from maquette.errors import DataError
from maquette.evaluation.fidelity import Likeness, by_prompt, drift, ignored, likeness, measured
from maquette.evaluation.metric import Pictures
from maquette.evaluation.networks import Named, Networks
from maquette.evaluation.probes import Probe
from maquette.runs.names import DIVERSITY, DRIFT, FIDELITY, OTHER_PROMPTS, PROMPT

TEXTS = {"east": 0.0, "north": 90.0}


def facing(*degrees: float) -> list[Tensor]:
    """Pictures of one pixel that say an angle in degrees."""
    return [torch.full((3, 1, 1), round(angle), dtype=torch.uint8) for angle in degrees]


def vectors(pictures: Pictures) -> Tensor:
    return unit([float(picture[0, 0, 0]) for picture in pictures])


def unit(degrees: Sequence[float]) -> Tensor:
    radians = torch.tensor(degrees) * math.pi / 180
    return torch.stack([radians.cos(), radians.sin()], 1)


def distance(ones: Pictures, others: Pictures) -> Tensor:
    pairs = zip(ones, others, strict=True)
    return torch.tensor([abs(float(one[0, 0, 0]) - float(other[0, 0, 0])) for one, other in pairs])


def networks() -> Networks:
    angle = Named("angle", "1", vectors)
    texts = Named("angle", "1", lambda texts: unit([TEXTS[text] for text in texts]))
    faces = Named("faces", "1", lambda pictures: [vectors([p])[0] if float(p[0, 0, 0]) else None for p in pictures])
    return Networks(angle, angle, texts, angle, faces, Named("degrees", "1", distance), angle, angle)


PROBES = [
    Probe("sks east", "east", 0, 0),
    Probe("sks east", "east", 1, 0),
    Probe("sks east", "east", 2, 0),
    Probe("sks north", "north", 0, 0),
    Probe("east", "east", 0, 0, is_neutral=True),
    Probe("north", "north", 0, 0, is_neutral=True),
]


def cosine(degrees: float) -> float:
    return math.cos(math.radians(degrees))


def test_every_value_is_that_of_its_picture():
    references = {0: likeness(networks(), "subject", [facing(0), facing(60)])}
    assert references[0].among_themselves == pytest.approx(cosine(60))
    found = measured(networks(), references, "subject", PROBES, facing(0, 60, 90, 30, 45, 90))
    like = found[FIDELITY["subject"]]
    assert like[:4] == pytest.approx(
        [(1 + cosine(60)) / 2, (cosine(60) + 1) / 2, (cosine(90) + cosine(30)) / 2, cosine(30)], abs=1e-6
    )
    assert like[4:] == [None, None]
    assert found[PROMPT] == pytest.approx([1, cosine(60), 0, cosine(60), cosine(45), 1], abs=1e-6)
    assert found[DIVERSITY] == [75.0, 45.0, 60.0, None, None, None]
    assert by_prompt(PROBES, found[DIVERSITY]) == [60.0]


def test_drift_compares_neutral_pictures_with_the_untouched_ones():
    now, before = facing(0, 0, 0, 0, 30, 90), facing(9, 9, 9, 9, 90, 90)
    values = drift(networks(), PROBES, now, before)[DRIFT]
    assert values[:4] == [None] * 4
    assert values[4:] == pytest.approx([1 - cosine(60), 0], abs=1e-6)


def test_an_ignored_prompt_scores_as_the_others_do():
    values = ignored(networks(), PROBES, facing(0, 0, 0, 0, 30, 90))[OTHER_PROMPTS]
    assert values[4:] == pytest.approx([cosine(60), 0], abs=1e-6)
    assert ignored(networks(), PROBES[:5], facing(0, 0, 0, 0, 30))[OTHER_PROMPTS][4] == 0


def test_a_picture_without_a_face_has_no_value():
    references = {0: likeness(networks(), "face", [facing(0, 60)])}
    assert len(references[0].references) == 1
    found = measured(networks(), references, "face", PROBES, facing(0, 60, 90, 30, 45, 90))[FIDELITY["face"]]
    assert found[0] is None
    assert found[1] == pytest.approx(1)
    with pytest.raises(DataError, match="finds no face in the training pictures"):
        likeness(networks(), "face", [facing(0, 0)])


def test_one_training_picture_is_as_like_as_can_be():
    assert Likeness("subject", torch.tensor([[1.0, 0.0]])).among_themselves == 1
