"""What a network output means: x0_hat = c_skip * x_t + c_out * F(c_in * x_t, t).

Every prediction type in use is one such map, so one target, one loss and one weighting serve them all (docs/maths.md).
Source of the form: Karras et al. 2022 (arXiv 2206.00364), equation 7.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.diffusion.level import Level, expand_as


@dataclass(frozen=True, slots=True)
class Affine:
    """Coefficients of the map between network output and clean sample, per example.

    The target of training is target_x0 * x0 + target_eps * eps. It follows from the first three fields, but is kept in
    closed form because 1 / alpha is infinite at zero terminal SNR while the target is not.

    ``x0_weight`` is the weight of the clean-sample error that min-SNR caps: the SNR, or lambda(sigma) under EDM.
    ``network_weight`` is the same weight in the network's own space, x0_weight * c_out**2, and ``snr_weight`` the SNR
    there, SNR * c_out**2: again in closed form, because c_out may be infinite where its product with the SNR is not.
    ``sigma_data`` is the spread that the parametrisation assumes of clean data.
    """

    c_in: Float[Tensor, " b"]
    c_skip: Float[Tensor, " b"]
    c_out: Float[Tensor, " b"]
    target_x0: Float[Tensor, " b"]
    target_eps: Float[Tensor, " b"]
    x0_weight: Float[Tensor, " b"]
    network_weight: Float[Tensor, " b"]
    snr_weight: Float[Tensor, " b"]
    sigma_data: float = 1.0

    def target(self, x0: Float[Tensor, "b *s"], eps: Float[Tensor, "b *s"]) -> Float[Tensor, "b *s"]:
        """What a perfect network outputs for this clean sample and noise."""
        return expand_as(self.target_x0, x0) * x0 + expand_as(self.target_eps, x0) * eps

    def denoised(self, x_t: Float[Tensor, "b *s"], output: Float[Tensor, "b *s"]) -> Float[Tensor, "b *s"]:
        """The clean sample that a network output stands for."""
        return expand_as(self.c_skip, x_t) * x_t + expand_as(self.c_out, x_t) * output


Parametrization = Callable[[Level], Affine]


def epsilon(level: Level) -> Affine:
    """The network predicts the noise: x0_hat = (x_t - sigma * F) / alpha.

    Source: Ho et al. 2020 (arXiv 2006.11239), equation 15.
    """
    one, zero = torch.ones_like(level.sigma), torch.zeros_like(level.sigma)
    return Affine(one, 1 / level.alpha, -level.sigma / level.alpha, zero, one, level.snr, one, one)


def velocity(level: Level) -> Affine:
    """The network predicts v = alpha * eps - sigma * x0, on a variance-preserving path.

    Source: Salimans & Ho 2022 (arXiv 2202.00512), appendix D.
    """
    one, alpha, sigma = torch.ones_like(level.sigma), level.alpha, level.sigma
    return Affine(one, alpha, -sigma, -sigma, alpha, level.snr, alpha.square(), alpha.square())


def sample(level: Level) -> Affine:
    """The network predicts the clean sample itself."""
    one, zero = torch.ones_like(level.sigma), torch.zeros_like(level.sigma)
    return Affine(one, zero, one, one, zero, level.snr, level.snr, level.snr)


def flow(level: Level) -> Affine:
    """The network predicts eps - x0 on a straight path, alpha = 1 - sigma.

    Source: Esser et al. 2024 (arXiv 2403.03206), section 2.
    """
    one, alpha_squared = torch.ones_like(level.sigma), level.alpha.square()
    return Affine(one, one, -level.sigma, -one, one, level.snr, alpha_squared, alpha_squared)


def edm(sigma_data: float = 0.5, *, negated: bool = False) -> Parametrization:
    """EDM preconditioning on a variance-exploding path (alpha = 1).

    negated: the network outputs -F, as diffusers' EDM schedulers with prediction_type "v_prediction" mean it.
    Source: Karras et al. 2022 (arXiv 2206.00364), table 1; lambda(sigma) = (sigma**2 + sigma_data**2) / (sigma *
    sigma_data)**2.
    """
    sign = -1.0 if negated else 1.0

    def coefficients(level: Level) -> Affine:
        sigma = level.sigma
        total = sigma.square() + sigma_data**2
        root = total.sqrt()
        return Affine(
            c_in=1 / root,
            c_skip=sigma_data**2 / total,
            c_out=sign * sigma * sigma_data / root,
            # (1 - c_skip) / c_out and -c_skip * sigma / c_out, with the common factors cancelled.
            target_x0=sign * sigma / (sigma_data * root),
            target_eps=-sign * sigma_data / root,
            x0_weight=total / (sigma * sigma_data).square(),
            network_weight=torch.ones_like(sigma),
            snr_weight=sigma_data**2 / total,
            sigma_data=sigma_data,
        )

    return coefficients
