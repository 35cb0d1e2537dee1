"""Denoising: the one loss of every family."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from maquette.adapters.bank import blocks
from maquette.diffusion.level import NoisePath, expand_as
from maquette.diffusion.scheduler import Diffusion
from maquette.diffusion.weighting import Weighting
from maquette.errors import ConfigError
from maquette.families.base import Family
from maquette.types import Conditioning, ImageCode, TrainBatch, Words

B = TypeVar("B")
Objective = Callable[[B, Generator], Float[Tensor, " b"]]
"""(batch, rng) -> loss of each example, in fp32, before the batch's own weights."""


@dataclass(frozen=True, slots=True, eq=False)
class Preservation:
    """What holds a model to its base: the weight of their difference, and a context in which the model is its base."""

    weight: float
    as_base: Callable[[], AbstractContextManager[None]]


def denoising(
    family: Family,
    weighting: Weighting,
    *,
    levels: NoisePath | None = None,
    noise_offset: float = 0.0,
    preservation: Preservation | None = None,
    apart: bool = False,
) -> Objective[TrainBatch]:
    """Predict the target of a freshly noised sample; mean squared error per example, weighed by its noise level.

    levels: the noise levels to draw from; None is those that the base was trained at.
    noise_offset: standard deviation of a constant added to every position of a channel's noise, and so to the target
    too; 0.05 to 0.1 lets a model learn very dark and very bright pictures.
    preservation: adds, for batches that bring words of the class, the mean squared difference between what the model
    and its base make of them, at the same noise and weighed by the same noise level; masks do not act on it.
    apart: each concept's examples draw from a stream of their own, as if it were alone in the batch (a bank).
    Levels are stratified over the batch: one draw from each of n equal slices of the distribution, in random order.
    Raises ConfigError where the weighting is infinite at a noise level that is drawn.
    """
    diffusion = family.diffusion
    path = levels or diffusion.path
    _require_finite(weighting, diffusion, path)

    def loss(batch: TrainBatch, rng: Generator) -> Float[Tensor, " b"]:
        x0, u, eps = (drawn_apart if apart else drawn)(batch, rng, noise_offset)
        level = path(u)
        affine = diffusion.parametrization(level)
        x_t = level.noised(x0, eps)
        cond = {**batch.code.cond, **family.embed_text(batch.tokens)}
        x = expand_as(affine.c_in, x0) * x_t
        if preservation is None or batch.class_words is None:
            output, drift = family.predict(x, level.t, cond), 0.0
        else:
            output, drift = beside_base(family, x, level.t, cond, batch.class_words, preservation)
        error = (output.float() - affine.target(x0, eps)).square()
        return weighting(level, affine) * (mean_error(error, batch.mask) + drift)

    return loss


Drawn = tuple[Float[Tensor, "b *s"], Float[Tensor, " b"], Float[Tensor, "b *s"]]
"""What is random in a pass: the clean samples, the quantiles of their noise levels, and the noise."""


def drawn(batch: TrainBatch, rng: Generator, noise_offset: float = 0.0) -> Drawn:
    """The draws of a whole batch, one after the other."""
    x0 = batch.code.draw(rng).float()
    u = stratified(x0.shape[0], rng).to(x0.device)
    eps = torch.randn(x0.shape, generator=rng)
    if noise_offset:
        eps = eps + noise_offset * torch.randn(*x0.shape[:2], *(1,) * (x0.ndim - 2), generator=rng)
    return x0, u, eps.to(x0)


def drawn_apart(batch: TrainBatch, rng: Generator, noise_offset: float = 0.0) -> Drawn:
    """The draws of each concept's block, from a stream that begins anew: what its own run would draw at this step."""
    concepts, size = blocks(batch.concept)
    mean, std = batch.code.mean, batch.code.std
    parts = []
    for rows in (slice(i * size, (i + 1) * size) for i in range(len(concepts))):
        code = ImageCode(mean[rows], None if std is None else std[rows], {})
        own = TrainBatch(code, {}, batch.weight[rows], batch.concept[rows])
        parts.append(drawn(own, Generator().manual_seed(rng.initial_seed()), noise_offset))
    x0, u, eps = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return x0, u, eps


def beside_base(
    family: Family,
    x: Float[Tensor, "b *s"],
    t: Float[Tensor, " b"],
    cond: Conditioning,
    words: Words,
    preservation: Preservation,
) -> tuple[Float[Tensor, "b *s"], Float[Tensor, " b"]]:
    """The model's output, and how far it is from its base when both are asked with other words.

    Both questions to the model share one forward pass.
    """
    with torch.no_grad(), preservation.as_base():
        taught = family.predict(x, t, {**cond, **words.cond, **family.embed_text(words.tokens)})
    asked = {**cond, **words.cond, **family.embed_text(words.tokens)}
    both = {name: torch.cat([value, asked[name]]) for name, value in cond.items()}
    output, kept = family.predict(torch.cat([x, x]), torch.cat([t, t]), both).chunk(2)
    return output, preservation.weight * mean_error((kept.float() - taught.float()).square(), None)


def _require_finite(weighting: Weighting, diffusion: Diffusion, path: NoisePath) -> None:
    ends = path(torch.tensor([0.0, 1 - 2**-24]))
    weights = weighting(ends, diffusion.parametrization(ends))
    if not weights.isfinite().all():
        ratios, values = (", ".join(f"{v:.4g}" for v in numbers.tolist()) for numbers in (ends.snr, weights))
        raise ConfigError(
            f"loss.weighting is not finite at the ends of this base's noise levels: {values} at SNR {ratios}. "
            "A base that predicts noise and was trained down to SNR 0 allows uniform, snr, min_snr and "
            'soft_min_snr: choose one of them, or loss.noise_levels.kind = "lognormal", which never draws SNR 0.'
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
