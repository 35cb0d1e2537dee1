"""How much an example's error counts at its noise level.

Weights are stated for the clean-sample error, w_x0, and returned for the network's own error: w_x0 * c_out**2. One
formula then serves every parametrisation (docs/maths.md).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from maquette.diffusion.affine import Affine
from maquette.diffusion.level import Level
from maquette.errors import ConfigError

Weighting = Callable[[Level, Affine], Float[Tensor, " b"]]
"""(level, affine) -> weight (b,) of the mean squared error of the network output."""

DEBIASED_MAX_SNR = 1000.0
"""Cap of the debiased weighting: above it the weight only chases the last, nearly noiseless step of the schedule."""


def uniform(level: Level, affine: Affine) -> Float[Tensor, " b"]:
    """Flat in the network's space: the plain mean squared error that the checkpoint was trained with."""
    del level
    return torch.ones_like(affine.c_out)


def uniform_x0(level: Level, affine: Affine) -> Float[Tensor, " b"]:
    """Flat in clean-sample space, w_x0 = 1."""
    del level
    return affine.c_out.square()


def snr(level: Level, affine: Affine) -> Float[Tensor, " b"]:
    """w_x0 = SNR: the weight that plain noise prediction amounts to."""
    del level
    return affine.snr_weight


def min_snr(gamma: float = 5.0) -> Weighting:
    """Cap the signal-to-noise ratio that weighs an example, so easy noise levels stop dominating.

    gamma: the cap, dimensionless; 5 in the paper; infinity caps nothing. Under EDM the capped quantity is
    lambda(sigma), never below 1 / sigma_data**2, so there gamma must exceed that to have an effect on some levels only.
    Raises ConfigError if gamma is not positive.
    Source: Hang et al. 2023 (arXiv 2303.09556), section 3.4; carried to any parametrisation in docs/maths.md.
    """
    if not gamma > 0:
        raise ConfigError(f"min-SNR gamma is {gamma}; it must be positive. The paper uses 5.")

    def weight(level: Level, affine: Affine) -> Float[Tensor, " b"]:
        del level
        return (gamma / affine.x0_weight).clamp(max=1) * affine.network_weight

    return weight


def soft_min_snr(level: Level, affine: Affine) -> Float[Tensor, " b"]:
    """A smooth cap: w_x0 = 1 / (sigma**2 + sigma_data**2), with sigma = 1 / sqrt(SNR).

    Source: Crowson et al. 2024 (arXiv 2401.11605), section 3.3; sigma_data is 1 on variance-preserving paths.
    """
    return affine.snr_weight / (1 + affine.sigma_data**2 * level.snr)


def edm(level: Level, affine: Affine) -> Float[Tensor, " b"]:
    """w_x0 = lambda(sigma) = 1 / sigma**2 + 1 / sigma_data**2: unit weight on an EDM-preconditioned network.

    Source: Karras et al. 2022 (arXiv 2206.00364), table 1, loss weighting.
    """
    return (level.snr + affine.sigma_data**-2) * affine.c_out.square()


def debiased(level: Level, affine: Affine) -> Float[Tensor, " b"]:
    """w_x0 = sqrt(SNR), the SNR capped at 1000.

    Source: Yu et al. 2023 (arXiv 2310.08442), equation 10.
    """
    return level.snr.clamp(max=DEBIASED_MAX_SNR).sqrt() * affine.c_out.square()
