"""Tensor-shaped data that crosses layers.

Axes: b batch, n images, c channels, h w size, t tokens, d features, k concepts, *s any sample shape.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Generator, Tensor

Conditioning = Mapping[str, Shaped[Tensor, "b *_"]]
"""What the denoiser is told besides x_t, by name; each family documents its names and shapes."""

Tokens = Mapping[str, Int[Tensor, "b t"]]
"""Token ids per text encoder; empty once the text conditioning was cached."""


@dataclass(frozen=True, slots=True)
class ImageCode:
    """What frozen modules make of pictures: a Gaussian over the clean sample in the denoiser's own space.

    ``std`` is None where the encoder is deterministic. This is what is cached, so encoder noise stays fresh every step.
    """

    mean: Float[Tensor, "b *s"]
    std: Float[Tensor, "b *s"] | None
    cond: Conditioning

    def draw(self, rng: Generator) -> Float[Tensor, "b *s"]:
        """A clean sample x0; ``rng`` is a CPU generator, so the draw does not depend on the device."""
        if self.std is None:
            return self.mean
        return self.mean + self.std * torch.randn(self.mean.shape, generator=rng).to(self.mean)


@dataclass(frozen=True, slots=True)
class Words:
    """Texts of a batch, finished as conditioning or still as token ids; the other of the two is empty."""

    cond: Conditioning
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """One micro-batch, ready for the objective.

    Averaged over the micro-batches of a step, ``weight`` sums to 1 for plain training and to 1 + lambda with prior
    preservation. ``mask`` weighs the error of each
    position of the sample, 0 where a picture is not to be learned; None learns everything. ``class_words`` are the
    captions with the class in place of what is learned, for output preservation.
    """

    code: ImageCode
    tokens: Tokens
    weight: Float[Tensor, " b"]
    concept: Int[Tensor, " b"]
    mask: Float[Tensor, "b 1 h w"] | None = None
    class_words: Words | None = None
