"""The Inception of the Fréchet inception distance, with TensorFlow's weights of 2015.

It differs from later Inceptions: averages leave out the padding, and the last block takes a maximum.
Source: Heusel et al. 2017 (arXiv 1706.08500); Szegedy et al. 2015 (arXiv 1512.00567), tables and figures 5 to 7.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from maquette.errors import ModelError
from maquette.evaluation.batches import Place
from maquette.evaluation.metric import Picture
from maquette.evaluation.pretrained import PictureNetwork
from maquette.evaluation.sources import Source, fingerprint, read_all_weights
from maquette.families.weights import blank, fill

SIDE: Final = 299
Width = Literal[64, 192, 768, 2048]
Kernel = int | tuple[int, int]


class Conv(nn.Module):
    """Convolution, normalisation by stored statistics, and a rectifier."""

    def __init__(self, width: int, out: int, kernel: Kernel, stride: int = 1, padding: Kernel = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, out, kernel, stride, padding, bias=False)
        self.bn = Statistics(out)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d p q"]:
        """Never below 0."""
        return functional.relu(self.bn(self.conv(x)))


class Statistics(nn.Module):
    """Batch normalisation that only remembers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias, self.running_mean, self.running_var = (
            nn.Parameter(torch.empty(width), requires_grad=False) for _ in range(4)
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The same shape."""
        mean, variance, weight, bias = (
            self.get_parameter(n) for n in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.batch_norm(x, mean, variance, weight, bias, eps=0.001)


@dataclass(frozen=True, slots=True)
class Step:
    """One convolution of a branch: channels out, kernel, stride; padded to keep the size unless it strides."""

    out: int
    kernel: Kernel
    stride: int = 1

    @property
    def padding(self) -> Kernel:
        """Half the kernel, or none with a stride."""
        if self.stride > 1:
            return 0
        return (self.kernel[0] // 2, self.kernel[1] // 2) if isinstance(self.kernel, tuple) else self.kernel // 2


Branch = tuple[Step, ...]
Pool = Callable[[Tensor], Tensor]


class Mixed(nn.Module):
    """Branches over the same input, side by side in the channels; the last one begins with a pool.

    pooled: channels of the convolution behind the pool, 0 for none.
    fork: the last step of every branch of more than one step becomes two, a row and a column of its kernel.
    """

    def __init__(
        self, width: int, branches: Mapping[str, Branch], pool: Pool, pooled: int, *, fork: bool = False
    ) -> None:
        super().__init__()
        self.pool = pool
        self.chains = {name: self._add(name, width, steps, fork=fork) for name, steps in branches.items()}
        self.branch_pool = Conv(width, pooled, 1) if pooled else nn.Identity()

    def _add(self, name: str, width: int, steps: Sequence[Step], *, fork: bool) -> list[list[str]]:
        """Modules under the names of the published file; the names of each stage, two where it forks."""
        stages = []
        for number, step in enumerate(steps, start=1):
            last = fork and number == len(steps) > 1
            names = [f"{name}_{number}{letter}" for letter in ("ab" if last else [""])] if len(steps) > 1 else [name]
            kernels: list[Kernel] = [(1, 3), (3, 1)] if last else [step.kernel]
            for part, kernel in zip(names, kernels, strict=True):
                shaped = Step(step.out, kernel, step.stride)
                self.add_module(part, Conv(width, step.out, kernel, step.stride, shaped.padding))
            stages.append(names)
            width = step.out
        return stages

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d p q"]:
        """All branches, in the order of their names here."""
        outputs = []
        for stages in self.chains.values():
            y = x
            for names in stages:
                y = torch.cat([self.get_submodule(name)(y) for name in names], 1)
            outputs.append(y)
        return torch.cat([*outputs, self.branch_pool(self.pool(x))], 1)


def _mean(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _maximum(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 3, stride=1, padding=1)


def _shrink(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 3, stride=2)


def _fives(width: int, pooled: int) -> Mixed:
    branches = {
        "branch1x1": (Step(64, 1),),
        "branch5x5": (Step(48, 1), Step(64, 5)),
        "branch3x3dbl": (Step(64, 1), Step(96, 3), Step(96, 3)),
    }
    return Mixed(width, branches, _mean, pooled)


def _sevens(inner: int) -> Mixed:
    row, column = (1, 7), (7, 1)
    branches = {
        "branch1x1": (Step(192, 1),),
        "branch7x7": (Step(inner, 1), Step(inner, row), Step(192, column)),
        "branch7x7dbl": (Step(inner, 1), Step(inner, column), Step(inner, row), Step(inner, column), Step(192, row)),
    }
    return Mixed(768, branches, _mean, 192)


def _threes(width: int, pool: Pool) -> Mixed:
    branches = {
        "branch1x1": (Step(320, 1),),
        "branch3x3": (Step(384, 1), Step(384, 3)),
        "branch3x3dbl": (Step(448, 1), Step(384, 3), Step(384, 3)),
    }
    return Mixed(width, branches, pool, 192, fork=True)


class Inception(nn.Module):
    """The network down to its last layer before the classes, named as in the published file."""

    TAPS: Final = {64: "MaxPool_1", 192: "MaxPool_2", 768: "Mixed_6e", 2048: "Mixed_7c"}

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3, padding=1)
        self.MaxPool_1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3)
        self.MaxPool_2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _fives(192, 32), _fives(256, 64), _fives(288, 64)
        narrowing: dict[str, Branch] = {
            "branch3x3": (Step(384, 3, 2),),
            "branch3x3dbl": (Step(64, 1), Step(96, 3), Step(96, 3, 2)),
        }
        self.Mixed_6a = Mixed(288, narrowing, _shrink, 0)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = map(_sevens, (128, 160, 160, 192))
        narrowing = {
            "branch3x3": (Step(192, 1), Step(320, 3, 2)),
            "branch7x7x3": (Step(192, 1), Step(192, (1, 7)), Step(192, (7, 1)), Step(192, 3, 2)),
        }
        self.Mixed_7a = Mixed(768, narrowing, _shrink, 0)
        self.Mixed_7b, self.Mixed_7c = _threes(1280, _mean), _threes(2048, _maximum)

    def forward(self, pixels: Float[Tensor, "b 3 299 299"], width: Width = 2048) -> Float[Tensor, "b d"]:
        """Means over positions at the layer of so many channels; nothing behind it is computed."""
        x = pixels
        for name, module in self.named_children():
            x = module(x)
            if name == self.TAPS[width]:
                break
        return x.mean((2, 3))


def prepare(picture: Picture) -> Float[Tensor, "3 299 299"]:
    """299x299 with an antialiased linear filter, bytes b as (b - 128) / 128.

    As torchmetrics prepares pictures, whose FID the contest's score reads; TensorFlow's own resize differs slightly.
    """
    pixels = picture[None].float()
    pixels = functional.interpolate(pixels, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
    return (pixels[0] - 128) / 128


def open_inception(source: Source, place: Place) -> dict[Width, PictureNetwork]:
    """FID's Inception from the published file or its tensors as safetensors, by the width of the features.

    Raises ModelError where the file is of another network, or damaged.
    """
    tensors = read_all_weights(source.path)
    if "Mixed_7c.branch3x3dbl_3b.conv.weight" not in tensors:
        raise ModelError(
            f"{source.path}: is not FID's Inception. It is published as pt_inception-2015-12-05-6726825d.pth and as "
            "weights-inception-2015-12-05-6726825d.pth, with the same tensors; give one of them."
        )
    # The classes are not looked at, and counts of training batches mean nothing here.
    used = ((n, t) for n, t in tensors.items() if not n.startswith(("fc.", "AuxLogits.")) and "num_batches" not in n)
    network = fill(blank(Inception, str(source.path)), used, place.device, place.dtype, str(source.path))
    digest = fingerprint(network.state_dict())

    def at(width: Width) -> PictureNetwork:
        name = f"Inception {width} ({source.label})"
        return PictureNetwork(name, f"{digest}-{width}", prepare, lambda pixels: network(pixels, width), place)

    return {width: at(width) for width in (64, 192, 768, 2048)}
