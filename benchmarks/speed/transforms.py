"""What the public example uses of torchvision.transforms, where torchvision is not installed: the same work, by PIL."""

import random
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Transform = Callable[[Any], Any]


def compose(transforms: Sequence[Transform]) -> Transform:
    """One after the other."""

    def apply(picture: object) -> object:
        for transform in transforms:
            picture = transform(picture)
        return picture

    return apply


def resize(size: int, interpolation: Image.Resampling = Image.Resampling.BILINEAR) -> Transform:
    """The shorter side to a size."""

    def apply(picture: Image.Image) -> Image.Image:
        ratio = size / min(picture.size)
        shape = (round(picture.width * ratio), round(picture.height * ratio))
        return picture if shape == picture.size else picture.resize(shape, interpolation)

    return apply


def crop(size: int, at: Callable[[int], int]) -> Transform:
    """A square; ``at`` gives the offset for a margin."""

    def apply(picture: Image.Image) -> Image.Image:
        left, top = at(picture.width - size), at(picture.height - size)
        return picture.crop((left, top, left + size, top + size))

    return apply


def to_tensor(picture: Image.Image) -> Tensor:
    """(3, h, w) in [0, 1]."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float() / 255


def stand_in() -> None:
    """Make ``from torchvision import transforms`` work in this process, unless it does already."""
    if find_spec("torchvision") is not None:
        return
    transforms = ModuleType("torchvision.transforms")
    transforms.__dict__.update(
        InterpolationMode=Image.Resampling,
        Compose=compose,
        Resize=resize,
        CenterCrop=lambda size: crop(size, lambda margin: margin // 2),
        RandomCrop=lambda size: crop(size, lambda margin: random.randint(0, margin)),
        ToTensor=lambda: to_tensor,
        Normalize=lambda mean, std: lambda x: (x - mean[0]) / std[0],
    )
    package = ModuleType("torchvision")
    package.__dict__["transforms"] = transforms
    sys.modules |= {"torchvision": package, "torchvision.transforms": transforms}
