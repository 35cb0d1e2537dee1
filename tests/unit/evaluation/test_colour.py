from collections.abc import Sequence

import cv2
import numpy as np
import pytest
import torch
from tests.unit.evaluation.fakes import fake_set

from maquette.errors import DataError
from maquette.evaluation.colour import BINS, SPACES, Mode, Space, colour, correlation, histogram, hsv
from maquette.evaluation.metric import EvalSet, Picture


def colours(seed: int, size: tuple[int, int] = (40, 50)) -> Picture:
    """Patches of saturated and pale colours, unlike noise, whose histograms are all the same."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.randint(256, (3, 4, 5), generator=generator).float()
    grown = torch.nn.functional.interpolate(small[None], size, mode="bilinear")[0]
    return grown.round().to(torch.uint8)


def plain(red: int, green: int, blue: int) -> Picture:
    return torch.tensor([red, green, blue], dtype=torch.uint8)[:, None, None].expand(3, 6, 7)


def likeness(picture: Picture, references: Sequence[Picture], space: Space, mode: Mode) -> float:
    """The metric on a single picture, given twice since a score has an interval."""
    score = colour(mode, [space], "c")(EvalSet([picture] * 2, ["a dog"] * 2, ["dog"] * 2, {"dog": references}))
    return score.value


def bgr(picture: Picture) -> np.ndarray:
    return np.ascontiguousarray(picture.permute(1, 2, 0).numpy()[:, :, ::-1])


def test_hue_saturation_and_value_are_opencv_s_to_the_last_bit():
    axis = torch.arange(0, 256, 3)
    some = torch.cartesian_prod(axis, axis, axis).T.reshape(3, 86, 86 * 86).to(torch.uint8)
    rest = torch.randint(256, (3, 400, 500), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for picture in (some, rest):
        expected = cv2.cvtColor(bgr(picture), cv2.COLOR_BGR2HSV)
        for ours, theirs in zip(hsv(picture), np.moveaxis(expected, 2, 0), strict=True):
            assert np.array_equal(ours.numpy(), theirs)


def contest(picture: Picture, space: str) -> np.ndarray:
    """The contest's histogram, in bytes and through OpenCV."""
    if space == "rgb":
        blue, green, red = np.moveaxis(bgr(picture) // 16, 2, 0)
        return cv2.calcHist([blue * 16 * 16 + green * 16 + red], [0], None, [4096], [0, 4096])
    half, saturation, value = np.moveaxis(cv2.cvtColor(bgr(picture), cv2.COLOR_BGR2HSV), 2, 0)
    hue = np.zeros_like(half)
    for number, (above, last) in enumerate([(20, 40), (40, 75), (75, 155), (155, 190), (190, 270), (270, 295)], 1):
        hue[(2 * half > above) & (2 * half <= last)] = number
    level = [(channel > 51).astype(np.uint8) + (channel > 178) for channel in (saturation, value)]
    return cv2.calcHist([9 * hue + 3 * level[0] + level[1]], [0], None, [72], [0, 71])


@pytest.mark.parametrize("space", SPACES)
def test_official_likeness_is_the_contest_s(space):
    pictures = [colours(seed) for seed in range(6)]
    generated, references = pictures[0], pictures[1:]
    mean = np.mean([contest(each, space) for each in references], axis=0, dtype=np.float32)
    expected = cv2.compareHist(mean, contest(generated, space), cv2.HISTCMP_CORREL)
    assert likeness(generated, references, space, "official") == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("mode", ["official", "fixed"])
@pytest.mark.parametrize("space", SPACES)
def test_one_colour_is_like_itself_and_two_are_the_closed_form(space, mode):
    red, green = plain(200, 10, 10), plain(10, 200, 10)
    assert likeness(red, [red, red], space, mode) == pytest.approx(1)
    assert likeness(red, [green], space, mode) == pytest.approx(-1 / (BINS[space] - 1))


def test_official_does_not_see_blue_nor_violet_and_fixed_does():
    grey, bluish = plain(100, 100, 100), plain(100, 100, 220)
    assert likeness(grey, [bluish], "rgb", "official") == pytest.approx(1)
    assert likeness(grey, [bluish], "rgb", "fixed") < 0
    violet, red = plain(150, 0, 255), plain(255, 70, 0)  # 275 degrees, 19 after the byte has wrapped; and 16
    assert likeness(violet, [red], "hsv", "official") == pytest.approx(1)
    assert likeness(violet, [red], "hsv", "fixed") < 0


def test_every_pixel_is_in_one_of_the_bins_that_fixed_has():
    picture = colours(3)
    for space in SPACES:
        counts = histogram(picture, space)
        assert counts.shape == (BINS[space],)
        assert counts.sum() == 40 * 50
    assert histogram(plain(255, 0, 230), "hsv")[71] == 42  # hue bin 7, full saturation and value: the last


def test_flat_histograms_correlate_as_in_opencv():
    flat, other = torch.ones(72).double(), torch.arange(72).double()
    assert correlation(flat, other) == 1
    assert cv2.compareHist(flat.float().numpy(), other.float().numpy(), cv2.HISTCMP_CORREL) == 1


def test_both_spaces_together_are_their_mean_for_every_picture():
    pictures = fake_set()
    both, rgb, only_hsv = (colour("fixed", spaces, "c")(pictures) for spaces in (SPACES, ("rgb",), ("hsv",)))
    assert both.per_image == pytest.approx(
        [(a + b) / 2 for a, b in zip(rgb.per_image, only_hsv.per_image, strict=True)]
    )


def test_what_is_not_a_picture_is_refused():
    with pytest.raises(DataError, match=r"torch.float32 and shape \[3, 4, 4\]"):
        histogram(torch.zeros(3, 4, 4), "rgb")
