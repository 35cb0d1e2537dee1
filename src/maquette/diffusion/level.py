"""Noise levels: which (alpha, sigma) exist on a path, and how a uniform draw picks one."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


def expand_as(v: Float[Tensor, " b"], like: Tensor) -> Tensor:
    """Append singleton axes to ``v`` so that it broadcasts against ``like`` (b, ...)."""
    return v.reshape(-1, *(1,) * (like.ndim - 1))


@dataclass(frozen=True, slots=True)
class Level:
    """Noise levels of a batch: x_t = alpha * x0 + sigma * eps.

    ``t`` is the time as the network is told it, in the network's own units.
    """

    t: Float[Tensor, " b"]
    alpha: Float[Tensor, " b"]
    sigma: Float[Tensor, " b"]

    @property
    def snr(self) -> Float[Tensor, " b"]:
        """Signal-to-noise ratio, alpha**2 / sigma**2; 0 at pure noise, infinite where sigma is 0."""
        return (self.alpha / self.sigma).square()

    def noised(self, x0: Float[Tensor, "b *s"], eps: Float[Tensor, "b *s"]) -> Float[Tensor, "b *s"]:
        """The forward process: alpha * x0 + sigma * eps."""
        return expand_as(self.alpha, x0) * x0 + expand_as(self.sigma, x0) * eps


NoisePath = Callable[[Float[Tensor, " b"]], Level]
"""u (b,), uniform in [0, 1) -> Level: the quantile function of the training distribution of noise levels."""


def ddpm_path(alphas_cumprod: Float[Tensor, " steps"]) -> NoisePath:
    """Variance-preserving noise on a table of cumulative alphas, every entry equally likely; t is the table's index.

    Levels have the table's dtype: fp32 reproduces the digits of diffusers' schedulers.
    Source: Ho et al. 2020 (arXiv 2006.11239), equation 4.
    """

    def path(u: Float[Tensor, " b"]) -> Level:
        index = (u * len(alphas_cumprod)).long().clamp(0, len(alphas_cumprod) - 1)
        alpha_bar = alphas_cumprod.to(u.device)[index]
        return Level(index.to(alpha_bar.dtype), alpha_bar.sqrt(), (1 - alpha_bar).sqrt())

    return path


def edm_path(p_mean: float = -1.2, p_std: float = 1.2) -> NoisePath:
    """Variance-exploding noise (alpha = 1) with a lognormal sigma; t is ln(sigma) / 4.

    p_mean, p_std: mean and standard deviation of ln(sigma).
    Source: Karras et al. 2022 (arXiv 2206.00364), table 1, c_noise and noise distribution.
    """

    def path(u: Float[Tensor, " b"]) -> Level:
        # u is kept off the ends by half the spacing of fp32 draws, where the quantile function is infinite.
        z = math.sqrt(2) * torch.erfinv(2 * u.clamp(2**-25, 1 - 2**-24) - 1)
        sigma = (p_mean + p_std * z).exp()
        return Level(sigma.log() / 4, torch.ones_like(sigma), sigma)

    return path


def flow_path(num_train_timesteps: int = 1000, shift: float = 1.0) -> NoisePath:
    """Straight line between data and noise: alpha = 1 - sigma, sigma uniform before the shift; t is sigma in steps.

    shift: values above 1 move levels towards noise, sigma -> shift * sigma / (1 + (shift - 1) * sigma).
    Source: Lipman et al. 2023 (arXiv 2210.02747); shift: Esser et al. 2024 (arXiv 2403.03206), equation 23.
    """

    def path(u: Float[Tensor, " b"]) -> Level:
        sigma = u.clamp(1 / num_train_timesteps, 1 - 1e-3)
        sigma = shift * sigma / (1 + (shift - 1) * sigma)
        return Level(sigma * num_train_timesteps, 1 - sigma, sigma)

    return path
