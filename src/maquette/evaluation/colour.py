"""Likeness of colours: correlation of histograms, as a style contest scored it (``official``) and meant it (``fixed``).

The scorer of the Jittor contest computes bins in bytes, which overflow: of RGB it drops blue, so that 256 of
4096 bins are used, and hues from 256 degrees up wrap around, so that violet counts as red or green. Its last bin is out
of range besides. ``official`` repeats all of this, to compare with published numbers; ``fixed`` has what the code was
after. Axes: h w size, k bins.
"""

from collections.abc import Sequence
from typing import Final, Literal

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from maquette.errors import DataError
from maquette.evaluation.metric import EvalSet, Metric, Picture, Score
from maquette.evaluation.scoring import by_concept, references_of, rows_by_concept

Mode = Literal["official", "fixed"]
Space = Literal["rgb", "hsv"]

SPACES: Final[tuple[Space, ...]] = ("rgb", "hsv")
LEVELS: Final = 16
BYTE: Final = 256
BINS: Final = {"rgb": LEVELS**3, "hsv": 72}
OFFICIAL_END: Final = 71
"""The contest counts bins below this one only."""

HUES: Final = (20, 40, 75, 155, 190, 270, 295, 315)
"""Degrees, each the last of its bin; what is above all of them is red again, bin 0."""

SHARES: Final = (51, 178)
"""Of saturation and of value: a fifth and seven tenths of 255."""

FIXED: Final = 12
"""Bits after the point in OpenCV's conversion of bytes."""


def hsv(picture: Picture) -> tuple[Int[Tensor, "h w"], Int[Tensor, "h w"], Int[Tensor, "h w"]]:
    """Hue in half degrees (0 to 179), saturation and value in bytes, rounded as OpenCV's conversion of bytes."""
    red, green, blue = picture.long()
    value = torch.maximum(torch.maximum(red, green), blue)
    spread = value - torch.minimum(torch.minimum(red, green), blue)
    saturation = _divided(spread, value, 255)
    hue = torch.where(
        value == red,
        green - blue,
        torch.where(value == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    sixths = _divided(hue, spread, 30)
    return torch.where(sixths < 0, sixths + 180, sixths), saturation, value


def histogram(picture: Picture, space: Space, mode: Mode = "fixed") -> Float[Tensor, " k"]:
    """How many pixels fall into each of 4096 bins of RGB, or of 72 of hue, saturation and value."""
    if picture.dtype != torch.uint8 or picture.ndim != 3 or picture.shape[0] != 3:
        raise DataError(
            f"a picture of type {picture.dtype} and shape {list(picture.shape)}: histograms read RGB bytes."
        )
    bins = _rgb_bins(picture, mode) if space == "rgb" else _hsv_bins(picture, mode)
    counts = torch.bincount(bins.flatten(), minlength=BINS[space]).double()
    if space == "hsv" and mode == "official":
        counts[OFFICIAL_END:] = 0
    return counts


def correlation(one: Float[Tensor, " k"], other: Float[Tensor, " k"]) -> float:
    """Pearson's correlation over bins; 1 where one of the two is flat, as in OpenCV."""
    a, b = one - one.mean(), other - other.mean()
    scale = float(a.square().sum() * b.square().sum()) ** 0.5
    return float(a @ b) / scale if scale > torch.finfo(torch.float64).eps else 1.0


def colour(mode: Mode, spaces: Sequence[Space], name: str) -> Metric:
    """Higher, -1 to 1: mean correlation of colour histograms of each generated picture with its references.

    spaces: the mean of these; the contest takes both. No network is asked.
    """

    def score(pictures: EvalSet) -> Score:
        rows = rows_by_concept(pictures)
        references = references_of(rows, pictures)
        values: list[float | None] = [None] * len(pictures.generated)
        for concept, of_concept in rows.items():
            means = {space: _mean_histogram(references[concept], space, mode) for space in spaces}
            for row in of_concept:
                found = [correlation(histogram(pictures.generated[row], space, mode), means[space]) for space in spaces]
                values[row] = sum(found) / len(found)
        return by_concept(name, f"colour histograms, {mode}", "higher", values, rows)

    return score


def _mean_histogram(references: Sequence[Picture], space: Space, mode: Mode) -> Float[Tensor, " k"]:
    return torch.stack([histogram(picture, space, mode) for picture in references]).mean(0)


def _rgb_bins(picture: UInt8[Tensor, "3 h w"], mode: Mode) -> Int[Tensor, "h w"]:
    red, green, blue = picture.long() // (BYTE // LEVELS)
    index = blue * LEVELS**2 + green * LEVELS + red
    return index % BYTE if mode == "official" else index


def _hsv_bins(picture: UInt8[Tensor, "3 h w"], mode: Mode) -> Int[Tensor, "h w"]:
    half, saturation, value = hsv(picture)
    degrees = 2 * half % BYTE if mode == "official" else 2 * half
    hue = torch.bucketize(degrees, torch.tensor(HUES)) % len(HUES)
    shares = torch.tensor(SHARES)
    return 9 * hue + 3 * torch.bucketize(saturation, shares) + torch.bucketize(value, shares)


def _divided(a: Int[Tensor, "h w"], b: Int[Tensor, "h w"], scale: int) -> Int[Tensor, "h w"]:
    """scale * a / b by a rounded table of reciprocals, and 0 where b is 0."""
    table = torch.arange(BYTE).double().reciprocal().mul(scale << FIXED).round()
    table[0] = 0
    return (a * table.long()[b] + (1 << (FIXED - 1))) >> FIXED
