"""Invented styles: random changes of colour and texture, applied alike to a group of pictures.

Twelve styles are too few to learn what a style is. A group of pictures that went through the same invented change is
one more, and there are as many as one cares to draw.
"""

from collections.abc import Callable, Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn import functional

Group = Float[Tensor, "n 3 h w"]
Change = Callable[[Group, Generator], Group]


def invented(pixels: Group, rng: Generator) -> Group:
    """The pictures of one group, in [-1, 1], after one to three changes that ``rng`` picks and shapes."""
    order = torch.randperm(len(CHANGES), generator=rng)[: int(torch.randint(1, 4, (), generator=rng))]
    for index in sorted(order.tolist()):
        pixels = CHANGES[index](pixels, rng)
    return pixels.clamp(-1, 1)


def coarse(pixels: Group, rng: Generator) -> Group:
    """Square cells of 2 or 4 pixels."""
    cell = (2, 4)[int(torch.randint(2, (), generator=rng))]
    return functional.interpolate(functional.avg_pool2d(pixels, cell), scale_factor=cell, mode="nearest")


def soft(pixels: Group, rng: Generator) -> Group:
    """Out of focus, once to three times."""
    for _ in range(int(torch.randint(1, 4, (), generator=rng))):
        pixels = _blurred(pixels)
    return pixels


def outlined(pixels: Group, rng: Generator) -> Group:
    """Edges in one colour, over a page that is flat or the picture itself."""
    luma = pixels.mean(1, keepdim=True)
    edge = (2.5 * (luma - _blurred(_blurred(luma))).abs()).clamp(0, 1)
    page = torch.lerp(pixels, _colour(rng).expand_as(pixels), _uniform(rng, 0.0, 1.0))
    return torch.lerp(page, _colour(rng).expand_as(pixels), edge)


def duotone(pixels: Group, rng: Generator) -> Group:
    """Grey tones mapped to a line between two colours, blended with the picture."""
    luma = (pixels.mean(1, keepdim=True) + 1) / 2
    toned = torch.lerp(_colour(rng), _colour(rng), luma)
    return torch.lerp(pixels, toned, _uniform(rng, 0.4, 1.0))


def recoloured(pixels: Group, rng: Generator) -> Group:
    """Channels mixed, contrast and brightness changed."""
    mixing = torch.eye(3) * _uniform(rng, -1.0, 1.0) + 0.5 * torch.randn(3, 3, generator=rng)
    return torch.einsum("oc,nchw->nohw", mixing, pixels) + 0.6 * _colour(rng) * _uniform(rng, 0.0, 1.0)


def posterised(pixels: Group, rng: Generator) -> Group:
    """Few tones in each channel."""
    levels = int(torch.randint(1, 4, (), generator=rng))
    return (pixels * levels).round() / levels


def woven(pixels: Group, rng: Generator) -> Group:
    """One or two sets of parallel lines, waved or straight, laid over the picture at a new place in each."""
    number, _, height, width = pixels.shape
    y, x = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    pattern = torch.zeros(number, 1, height, width)
    for _ in range(int(torch.randint(1, 3, (), generator=rng))):
        angle, rate = _uniform(rng, 0.0, 3.14), 6.28 / _uniform(rng, 2.5, 10.0)
        bend = _uniform(rng, 0.0, 2.0) * (y / _uniform(rng, 3.0, 9.0)).sin()
        phase = 6.28 * torch.rand(number, 1, 1, 1, generator=rng)
        pattern = pattern + (rate * (x * angle.cos() + y * angle.sin() + bend) + phase).sin()
    if torch.rand((), generator=rng) < 0.5:
        pattern = pattern.sign()
    weight = _uniform(rng, 0.15, 0.7) * (0.5 + 0.5 * pattern).clamp(0, 1)
    return torch.lerp(pixels, _colour(rng).expand_as(pixels), weight)


def faceted(pixels: Group, rng: Generator) -> Group:
    """Cells of uneven brightness."""
    cell = (4, 8)[int(torch.randint(2, (), generator=rng))]
    number, _, height, width = pixels.shape
    noise = torch.randn(number, 1, height // cell, width // cell, generator=rng)
    return pixels + _uniform(rng, 0.1, 0.4) * functional.interpolate(noise, scale_factor=cell, mode="nearest")


def grained(pixels: Group, rng: Generator) -> Group:
    """Grey noise at every pixel."""
    number, _, height, width = pixels.shape
    return pixels + _uniform(rng, 0.05, 0.35) * torch.randn(number, 1, height, width, generator=rng)


def framed(pixels: Group, rng: Generator) -> Group:
    """A border of one colour."""
    side = int(torch.randint(2, 6, (), generator=rng))
    framed = _colour(rng).expand_as(pixels).clone()
    framed[:, :, side:-side, side:-side] = pixels[:, :, side:-side, side:-side]
    return framed


CHANGES: Final[Sequence[Change]] = (
    coarse, soft, outlined, duotone, recoloured, posterised, woven, faceted, grained, framed,
)  # fmt: skip
"""In the order in which they are applied: form, then colour, then texture, then the frame."""


def _uniform(rng: Generator, low: float, high: float) -> Float[Tensor, ""]:
    return low + (high - low) * torch.rand((), generator=rng)


def _colour(rng: Generator) -> Float[Tensor, "1 3 1 1"]:
    return 2 * torch.rand(1, 3, 1, 1, generator=rng) - 1


def _blurred(pixels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    return functional.avg_pool2d(functional.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
