"""The bleed matrix against cosines that can be worked out by hand."""

import math

import pytest
import torch

from maquette.errors import DataError
from maquette.evaluation.bleed import bleed
from maquette.evaluation.networks import Named
from maquette.report.heatmap import heat_map


def at(degrees: float) -> torch.Tensor:
    """A picture that stands for a direction."""
    return torch.tensor([[[degrees]]])


def directions(pictures) -> torch.Tensor:
    angles = torch.deg2rad(torch.tensor([float(picture) for picture in pictures]))
    return torch.stack([angles.cos(), angles.sin()], dim=1)


COMPASS = Named("compass", "1", directions)


def test_each_cell_is_the_mean_cosine_of_a_concept_with_a_triggers_pictures():
    made = {"east": [at(0), at(60)], "north": [at(90), at(90)], "none": [at(180)]}
    found = bleed(COMPASS, made, {"east": [at(0)], "north": [at(90), at(30)]})
    assert (found.concepts, found.triggers, found.network) == (("east", "north"), ("east", "north", "none"), "compass")
    third = math.sqrt(3) / 2
    expected = [
        (0.75, 0.0, -1.0),
        ((0 + third + third + third) / 4, (1 + 0.5) / 2, (0 - third) / 2),
    ]
    for row, wanted in zip(found.values, expected, strict=True):
        assert row == pytest.approx(wanted, abs=1e-6)
    assert found.margins == pytest.approx({"east": 0.75, "north": 0.75 - 0.75 * third}, abs=1e-6)
    assert found.called == 1.0
    # Of the two pictures of "east", cosines with east are 1 and 0.5: draws of two of them reach both ends.
    assert (found.low[0][0], found.high[0][0]) == pytest.approx((0.5, 1.0), abs=1e-6)
    assert math.isnan(found.low[0][2])


def test_triggers_that_call_each_others_concept_are_told():
    swapped = bleed(COMPASS, {"east": [at(90)], "north": [at(0)]}, {"east": [at(0)], "north": [at(90)]})
    assert swapped.called == 0.0
    assert swapped.margins == pytest.approx({"east": -1.0, "north": -1.0}, abs=1e-6)


def test_a_concept_without_pictures_is_named():
    with pytest.raises(DataError, match="no pictures of north"):
        bleed(COMPASS, {"east": [at(0)], "north": []}, {"east": [at(0)]})
    with pytest.raises(DataError, match="any concept"):
        bleed(COMPASS, {}, {"east": [at(0)]})


def test_a_heat_map_writes_every_number_and_frames_the_diagonal():
    picture = heat_map("a < b", ["one", "two"], ["one", "two", "none"], [[0.0, 0.5, 1.0], [0.25, math.nan, 0.75]])
    assert [f">{v:.2f}<" in picture for v in (0, 0.5, 1, 0.25, 0.75)] == [True] * 5
    assert "nan" not in picture
    assert "a &lt; b" in picture
    assert picture.count('fill="none"') == 2
    assert "rgb(247,251,255)" in picture  # the smallest
    assert "rgb(8,48,107)" in picture  # the largest
