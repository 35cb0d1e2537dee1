"""Pictures through a network, some at a time."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.errors import DataError
from maquette.evaluation.metric import Features, Picture, Pictures

Prepare = Callable[[Picture], Float[Tensor, "3 h w"]]
"""A picture as a network reads it."""

Forward = Callable[[Float[Tensor, "b 3 h w"]], Tensor]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a network runs, how its numbers are held, and how many pictures it is given at a time."""

    device: torch.device
    dtype: torch.dtype = torch.float32
    batch: int = 16


@torch.inference_mode()
def encode(pictures: Pictures, prepare: Prepare, forward: Forward, place: Place) -> Tensor:
    """What a network makes of each picture, fp32 on the CPU. Raises DataError where there is no picture."""
    if not pictures:
        raise DataError("There are no pictures to look at; give at least one.")
    rows = []
    for start in range(0, len(pictures), place.batch):
        pixels = torch.stack([prepare(picture) for picture in pictures[start : start + place.batch]])
        rows.append(forward(pixels.to(place.device, place.dtype)).float().cpu())
    return torch.cat(rows)


PAIRS = 16
"""Pairs whose vectors are held at once: those of VGG-16 have 32 MB a picture."""


def distances(embed: Features, ones: Pictures, others: Pictures) -> Float[Tensor, " n"]:
    """The squared distance of the vectors of each picture and its partner.

    Among neighbouring pairs every picture is encoded once. Raises DataError where the pictures do not pair up.
    """
    if len(ones) != len(others):
        raise DataError(f"{len(ones)} pictures cannot be paired with {len(others)}: each needs one partner.")
    found = []
    for start in range(0, len(ones), PAIRS):
        pairs = list(zip(ones[start : start + PAIRS], others[start : start + PAIRS], strict=True))
        distinct = {id(picture): picture for pair in pairs for picture in pair}
        vectors = dict(zip(distinct, embed(list(distinct.values())), strict=True))
        found += [(vectors[id(one)] - vectors[id(other)]).square().sum() for one, other in pairs]
    if not found:
        raise DataError("There are no pictures to compare; give at least one pair.")
    return torch.stack(found)
