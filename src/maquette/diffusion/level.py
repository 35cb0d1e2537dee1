"""Noise levels: which (alpha, sigma) exist on a path, and how a uniform draw picks one."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

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


Quantile = Callable[[Float[Tensor, " b"]], Float[Tensor, " b"]]
"""u (b,), uniform in [0, 1) -> sigma / alpha (b,): a distribution of noise levels, whatever model they are for."""


@dataclass(frozen=True, slots=True)
class NoisePath:
    """The noise levels of a checkpoint, and which of them are drawn; called with u it gives a Level.

    levels: u (b,), uniform in [0, 1) -> Level: the quantile function of the training distribution of noise levels.
    at: sigma / alpha (b,) -> Level of that ratio of noise to signal. A checkpoint that was trained on a table knows
    nothing beyond its ends: there it is the end. ends: the least and the largest ratio that the checkpoint is used at.
    """

    levels: Callable[[Float[Tensor, " b"]], Level]
    at: Callable[[Float[Tensor, " b"]], Level]
    ends: tuple[float, float]

    def __call__(self, u: Float[Tensor, " b"]) -> Level:
        """The noise levels at these quantiles."""
        return self.levels(u)

    def drawn_by(self, quantile: Quantile) -> "NoisePath":
        """The same checkpoint, its noise levels drawn from another distribution."""
        return replace(self, levels=lambda u: self.at(quantile(u)))


def lognormal(p_mean: float = -1.2, p_std: float = 1.2) -> Quantile:
    """ln(sigma) is normal, with this mean and standard deviation.

    Source: Karras et al. 2022 (arXiv 2206.00364), table 1, noise distribution.
    """

    def quantile(u: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        # u is kept off the ends by half the spacing of fp32 draws, where the quantile function is infinite.
        z = math.sqrt(2) * torch.erfinv(2 * u.clamp(2**-25, 1 - 2**-24) - 1)
        return (p_mean + p_std * z).exp()

    return quantile


def karras(sigma_min: float, sigma_max: float, rho: float = 7.0) -> Quantile:
    """Every step of a Karras sampling schedule is equally likely: sigma**(1 / rho) is uniform.

    Source: the schedule is Karras et al. 2022 (arXiv 2206.00364), equation 5; diffusers' training scripts draw from it
    for checkpoints with an EDM scheduler.
    """
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return lambda u: (low + u * (high - low)) ** rho


def ddpm_path(alphas_cumprod: Float[Tensor, " steps"]) -> NoisePath:
    """Variance-preserving noise on a table of cumulative alphas, every entry equally likely; t is the table's index.

    Between two entries t is interpolated linearly in ln(sigma / alpha), as samplers do it.
    Levels have the table's dtype: fp32 reproduces the digits of diffusers' schedulers.
    Source: Ho et al. 2020 (arXiv 2006.11239), equation 4.
    """
    ratios = ((1 - alphas_cumprod) / alphas_cumprod).sqrt()
    finite = ratios[ratios.isfinite()]  # at zero terminal SNR the last entry is noise alone

    def levels(u: Float[Tensor, " b"]) -> Level:
        index = (u * len(alphas_cumprod)).long().clamp(0, len(alphas_cumprod) - 1)
        alpha_bar = alphas_cumprod.to(u.device)[index]
        return Level(index.to(alpha_bar.dtype), alpha_bar.sqrt(), (1 - alpha_bar).sqrt())

    def at(ratio: Float[Tensor, " b"]) -> Level:
        known = finite.to(ratio.device)
        ratio = ratio.to(known.dtype).clamp(known[0], known[-1])
        table, wanted = known.log(), ratio.log()
        above = torch.searchsorted(table, wanted).clamp(1, len(known) - 1)
        share = (wanted - table[above - 1]) / (table[above] - table[above - 1])
        alpha = (1 + ratio.square()).rsqrt()
        return Level(above - 1 + share, alpha, ratio * alpha)

    ends = (float(finite[0]), float(finite[-1])) if len(finite) else (math.inf, math.inf)
    return NoisePath(levels, at, ends)


def edm_path(p_mean: float = -1.2, p_std: float = 1.2, sigma_min: float = 0.002, sigma_max: float = 80.0) -> NoisePath:
    """Variance-exploding noise (alpha = 1) with a lognormal sigma; t is ln(sigma) / 4.

    p_mean, p_std: mean and standard deviation of ln(sigma). sigma_min, sigma_max: the ends of sampling, which bound
    no training.
    Source: Karras et al. 2022 (arXiv 2206.00364), table 1, c_noise and noise distribution.
    """

    def at(sigma: Float[Tensor, " b"]) -> Level:
        return Level(sigma.log() / 4, torch.ones_like(sigma), sigma)

    quantile = lognormal(p_mean, p_std)
    return NoisePath(lambda u: at(quantile(u)), at, (sigma_min, sigma_max))


def flow_path(num_train_timesteps: int = 1000, shift: float = 1.0) -> NoisePath:
    """Straight line between data and noise: alpha = 1 - sigma, sigma uniform before the shift; t is sigma in steps.

    shift: values above 1 move levels towards noise, sigma -> shift * sigma / (1 + (shift - 1) * sigma).
    Source: Lipman et al. 2023 (arXiv 2210.02747); shift: Esser et al. 2024 (arXiv 2403.03206), equation 23.
    """
    low, high = 1 / num_train_timesteps, 1 - 1e-3

    def mixed(sigma: Float[Tensor, " b"]) -> Level:
        return Level(sigma * num_train_timesteps, 1 - sigma, sigma)

    def levels(u: Float[Tensor, " b"]) -> Level:
        sigma = u.clamp(low, high)
        return mixed(shift * sigma / (1 + (shift - 1) * sigma))

    def at(ratio: Float[Tensor, " b"]) -> Level:
        return mixed((ratio / (1 + ratio)).clamp(low, high))

    return NoisePath(levels, at, (low / (1 - low), high / (1 - high)))
