"""Denoising: the one loss of every family."""

from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from maquette.diffusion.level import expand_as
from maquette.diffusion.scheduler import Diffusion
from maquette.diffusion.weighting import Weighting
from maquette.errors import ConfigError
from maquette.families.base import Family
from maquette.types import TrainBatch

B = TypeVar("B")
Objective = Callable[[B, Generator], Float[Tensor, " b"]]
"""(batch, rng) -> loss of each example, in fp32, before the batch's own weights."""


def denoising(family: Family, weighting: Weighting, *, noise_offset: float = 0.0) -> Objective[TrainBatch]:
    """Predict the target of a freshly noised sample; mean squared error per example, weighed by its noise level.

    noise_offset: standard deviation of a constant added to every position of a channel's noise, and so to the target
    too; 0.05 to 0.1 lets a model learn very dark and very bright pictures.
    Levels are stratified over the batch: one draw from each of n equal slices of the distribution, in random order.
    Raises ConfigError where the weighting is infinite at a noise level that the checkpoint trains on.
    """
    diffusion = family.diffusion
    _require_finite(weighting, diffusion)

    def loss(batch: TrainBatch, rng: Generator) -> Float[Tensor, " b"]:
        x0 = batch.code.draw(rng).float()
        level = diffusion.path(stratified(x0.shape[0], rng).to(x0.device))
        eps = torch.randn(x0.shape, generator=rng)
        if noise_offset:
            eps = eps + noise_offset * torch.randn(*x0.shape[:2], *(1,) * (x0.ndim - 2), generator=rng)
        eps = eps.to(x0)
        affine = diffusion.parametrization(level)
        x_t = level.noised(x0, eps)
        cond = {**batch.code.cond, **family.embed_text(batch.tokens)}
        output = family.predict(expand_as(affine.c_in, x0) * x_t, level.t, cond)
        error = (output.float() - affine.target(x0, eps)).square()
        return weighting(level, affine) * mean_error(error, batch.mask)

    return loss


def _require_finite(weighting: Weighting, diffusion: Diffusion) -> None:
    ends = diffusion.path(torch.tensor([0.0, 1 - 2**-24]))
    weights = weighting(ends, diffusion.parametrization(ends))
    if not weights.isfinite().all():
        ratios, values = (", ".join(f"{v:.4g}" for v in numbers.tolist()) for numbers in (ends.snr, weights))
        raise ConfigError(
            f"loss.weighting is not finite at the ends of this base's noise levels: {values} at SNR {ratios}. "
            "A base that predicts noise and was trained down to SNR 0 allows uniform, snr, min_snr and "
            "soft_min_snr: choose one of them."
        )


def stratified(n: int, rng: Generator) -> Float[Tensor, " n"]:
    """n uniform draws in [0, 1), one from each n-th of the interval, in random order; each alone is uniform."""
    u = (torch.arange(n) + torch.rand(n, generator=rng)) / n
    return u.clamp(max=1 - 2**-24)[torch.randperm(n, generator=rng)]


def mean_error(error: Float[Tensor, "b *s"], mask: Float[Tensor, "b 1 h w"] | None) -> Float[Tensor, " b"]:
    """Mean over each example, or sum(mask * error) / sum(mask) so that a small mask counts as much as a large one."""
    if mask is None:
        return error.flatten(1).mean(1)
    mask = mask.expand_as(error)
    return (mask * error).flatten(1).sum(1) / mask.flatten(1).sum(1)
