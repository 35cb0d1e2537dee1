"""How a picture becomes what a network reads: resized by Pillow, cropped, and scaled to the network's own range."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from maquette.errors import ModelError
from maquette.evaluation.metric import Picture
from maquette.families.weights import read_json

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a network wants done to a picture, in this order.

    size: the shorter side, or (height, width). resample: Pillow's number of the filter (2 bilinear, 3 bicubic), which
    is antialiased. crop: side of the middle square that is kept, or None. mean, std: of each channel, after the bytes
    became 0 to 1.
    """

    size: int | tuple[int, int]
    resample: int
    crop: int | None
    mean: Triple
    std: Triple

    def __call__(self, picture: Picture) -> Float[Tensor, "3 h w"]:
        """The prepared picture, fp32."""
        values = np.asarray(self.resized(picture), np.float32)
        scaled = (values / 255 - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return torch.from_numpy(scaled).permute(2, 0, 1)

    def resized(self, picture: Picture) -> Image.Image:
        """The picture at the size that the network reads."""
        image = Image.fromarray(picture.permute(1, 2, 0).cpu().numpy())
        image = image.resize(self._wide_high(image.width, image.height), Image.Resampling(self.resample))
        if self.crop is None:
            return image
        left, top = (image.width - self.crop) // 2, (image.height - self.crop) // 2
        return image.crop((left, top, left + self.crop, top + self.crop))

    @property
    def side(self) -> int | None:
        """The side of the square that the network is given; None where pictures keep their shape."""
        if self.crop is not None:
            return self.crop
        return self.size[0] if isinstance(self.size, tuple) and self.size[0] == self.size[1] else None

    def _wide_high(self, width: int, height: int) -> tuple[int, int]:
        if isinstance(self.size, tuple):
            return self.size[1], self.size[0]
        if width <= height:
            return self.size, int(self.size * height / width)
        return int(self.size * width / height), self.size


IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)

CLIP: Final = Preparation(224, 3, 224, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""Source: the published code of Radford et al. 2021 (arXiv 2103.00020)."""

DINO: Final = Preparation(256, 3, 224, IMAGENET_MEAN, IMAGENET_STD)
"""Source: the evaluations of Caron et al. 2021 (arXiv 2104.14294) and of DINOv2 (arXiv 2304.07193)."""


def read_preparation(folder: Path, standard: Preparation) -> Preparation:
    """What the preprocessor_config.json of a folder asks for; what it leaves open, or all without one, is standard.

    Raises ModelError where it asks for steps that are not taken here.
    """
    file = folder / "preprocessor_config.json"
    if not file.is_file():
        return standard
    config = read_json(file)
    steps = ("do_resize", "do_rescale", "do_normalize")
    odd = [step for step in steps if config.get(step, True) is not True]
    odd += [name for name in ("do_pad", "do_flip_channel_order") if config.get(name)]
    if odd or abs(_number(config.get("rescale_factor", 1 / 255)) - 1 / 255) > 1e-6:
        unknown = ", ".join(odd or ["rescale_factor"])
        raise ModelError(f"{file}: asks for a preparation that is not known here ({unknown}).")
    # A number alone is the shorter side where a crop follows, and both sides where none does.
    cropped = bool(config.get("do_center_crop", standard.crop is not None and "ViT" not in _kind(config)))
    try:
        prepared = replace(
            standard,
            size=_size(config["size"], cropped) if "size" in config else standard.size,
            resample=int(_number(config.get("resample", standard.resample))),
            crop=_side(config.get("crop_size", standard.crop)) if cropped else None,
            mean=_triple(config.get("image_mean", standard.mean)),
            std=_triple(config.get("image_std", standard.std)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{file}: does not say how pictures are prepared ({error!r}). Get it again.") from error
    shortest = prepared.size if isinstance(prepared.size, int) else min(prepared.size)
    if prepared.crop is not None and prepared.crop > shortest:
        raise ModelError(f"{file}: crops {prepared.crop} pixels out of {shortest}; its sizes do not fit.")
    return prepared


def _kind(config: Mapping[str, object]) -> str:
    return str(config.get("image_processor_type") or config.get("feature_extractor_type") or "")


def _size(value: object, cropped: bool) -> int | tuple[int, int]:
    if isinstance(value, Mapping):
        if "shortest_edge" in value:
            return int(_number(value["shortest_edge"]))
        return int(_number(value["height"])), int(_number(value["width"]))
    side = int(_number(value))
    return side if cropped else (side, side)


def _side(value: object) -> int:
    if isinstance(value, Mapping):
        if value["height"] != value["width"]:
            raise ValueError("the crop is no square")
        value = value["height"]
    return int(_number(value))


def _triple(value: object) -> Triple:
    if not isinstance(value, list | tuple):
        raise TypeError("a mean or deviation is no list")
    red, green, blue = (_number(part) for part in value)
    return red, green, blue


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value
