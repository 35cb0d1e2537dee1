"""LPIPS: how different two pictures look, by AlexNet, SqueezeNet or VGG-16 and learned weights of their channels.

Source: Zhang et al. 2018 (arXiv 1801.03924), equation 1, version 0.1 of the published weights.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from maquette.errors import ModelError
from maquette.evaluation.batches import Place, distances, encode
from maquette.evaluation.metric import Pictures
from maquette.evaluation.preparation import IMAGENET_MEAN, IMAGENET_STD, Preparation
from maquette.evaluation.sources import Source, fingerprint, read_all_weights
from maquette.families.weights import blank, check_tensors, fill

Backbone = Literal["alex", "squeeze", "vgg"]

PREPARE: Final = Preparation((256, 256), 2, None, IMAGENET_MEAN, IMAGENET_STD)
"""Pictures of a pair may differ in size, so all are compared at 256x256. Source: S0, the contest's score."""

EPSILON: Final = 1e-8
"""Under the root of a vector's length. Source: torchmetrics, which the contest's score calls."""

TAPS: Final[Mapping[Backbone, Mapping[int, int]]] = {
    "alex": {1: 64, 4: 192, 7: 384, 9: 256, 11: 256},
    "squeeze": {1: 64, 4: 128, 7: 256, 9: 384, 10: 384, 11: 512, 12: 512},
    "vgg": {3: 64, 8: 128, 15: 256, 22: 512, 29: 512},
}
"""Behind which layers the maps are compared, and how many channels they have."""


class Fire(nn.Module):
    """SqueezeNet's block: few channels, then twice as many outputs of size 1 and 3. Source: arXiv 1602.07360."""

    def __init__(self, width: int, inner: int, out: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(width, inner, 1)
        self.expand1x1 = nn.Conv2d(inner, out, 1)
        self.expand3x3 = nn.Conv2d(inner, out, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """d is twice ``out``."""
        x = functional.relu(self.squeeze(x))
        return functional.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], 1))


def backbone(kind: Backbone) -> nn.Sequential:
    """The convolutional part of a published classifier, down to the last layer that is compared, without weights."""
    match kind:
        case "alex":
            return nn.Sequential(
                *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
                *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
                *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
                *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
                *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
            )
        case "squeeze":
            return nn.Sequential(
                *(nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)),
                *(Fire(64, 16, 64), Fire(128, 16, 64), nn.MaxPool2d(3, 2, ceil_mode=True)),
                *(Fire(128, 32, 128), Fire(256, 32, 128), nn.MaxPool2d(3, 2, ceil_mode=True)),
                *(Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)),
            )
        case "vgg":
            layers: list[nn.Module] = []
            width = 3
            for out, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
                for _ in range(count):
                    layers += [nn.Conv2d(width, out, 3, padding=1), nn.ReLU()]
                    width = out
                layers.append(nn.MaxPool2d(2, 2))
            return nn.Sequential(*layers[:-1])


@dataclass(frozen=True, slots=True, eq=False)
class Lpips:
    """A backbone and the weight of each channel at each of its taps, none below 0."""

    name: str
    fingerprint: str
    layers: nn.Sequential
    taps: Mapping[int, Float[Tensor, " c"]]
    place: Place

    def distance(self, ones: Pictures, others: Pictures) -> Float[Tensor, " n"]:
        """LPIPS of each picture and its partner. Raises DataError where they do not pair up."""
        return distances(lambda pictures: encode(pictures, PREPARE, self.embed, self.place), ones, others)

    def embed(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """One long vector for each picture; LPIPS is the squared distance of two.

        For the paper's sum over layers of the mean over places of w (y - y')², it holds sqrt(w / places) y.
        """
        parts, x = [], pixels
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number in self.taps:
                unit = x / (x.square().sum(1, keepdim=True) + EPSILON).sqrt()
                scale = (self.taps[number] / x[0, 0].numel()).sqrt()
                parts.append((unit * scale[:, None, None]).flatten(1))
        return torch.cat(parts, 1)


def open_lpips(source: Source, place: Place) -> Lpips:
    """LPIPS from a folder with the weights of a backbone and of its linear heads, or from one file with both.

    The backbone is torchvision's (features.0.weight, ...) or the one inside a saved LPIPS; which, its shapes tell.
    Raises ModelError where either is missing or damaged, or where they belong to different networks.
    """
    where, tensors = str(source.path), {_name(name): t for name, t in read_all_weights(source.path).items()}
    kind = _kind(tensors, where)
    layers = {name.removeprefix("features."): t for name, t in tensors.items() if name.startswith("features.")}
    network = fill(blank(lambda: backbone(kind), where), layers.items(), place.device, place.dtype, where)
    network.requires_grad_(requires_grad=False)

    names = {f"lin{number}": torch.empty(width) for number, width in enumerate(TAPS[kind].values())}
    heads = {name: tensor.flatten() for name, tensor in tensors.items() if name in names}
    check_tensors(names, heads, f"{where}: LPIPS of {kind}")
    if negative := [name for name in names if heads[name].min() < 0]:
        raise ModelError(f"{where}: {', '.join(negative)} has weights below 0, so it gives no distance. Get it again.")
    weights = [heads[name].to(place.device, place.dtype) for name in names]
    digest = fingerprint(network.state_dict() | dict(zip(names, weights, strict=True)), PREPARE)
    taps = dict(zip(TAPS[kind], weights, strict=True))
    return Lpips(f"LPIPS {kind} ({source.label})", digest, network, taps, place)


_SLICE: Final = re.compile(r"net\.(?:slice|slices\.)\d+\.")
_HEAD: Final = re.compile(r"lin(\d)\.model\.\d\.weight")


def _name(name: str) -> str:
    """A tensor's name as torchvision's backbone or the heads have it; others stay as they are."""
    if head := _HEAD.fullmatch(name):
        return f"lin{head[1]}"
    return _SLICE.sub("features.", name)


def _kind(tensors: Mapping[str, Tensor], where: str) -> Backbone:
    first = tensors.get("features.0.weight")
    missing = ["a backbone (features.0.weight, ...)"] if first is None else []
    if "lin0" not in tensors:
        missing.append("the linear heads (lin0.model.1.weight, ...)")
    if first is None or missing:
        raise ModelError(
            f"{where}: lacks {' and '.join(missing)}. LPIPS needs both: put the weights of AlexNet, SqueezeNet 1.1 or "
            "VGG-16 (alexnet-owt-7be5be79.pth and the like) and the heads (alex.pth and the like) into one folder."
        )
    if first.shape[-1] == 11:
        return "alex"
    return "squeeze" if "features.3.squeeze.weight" in tensors else "vgg"
