"""From the configured weighting to its formula."""

from typing import assert_never

from maquette.config.optimization import (
    DebiasedConfig,
    MinSnrConfig,
    SnrConfig,
    SoftMinSnrConfig,
    UniformConfig,
    WeightingConfig,
)
from maquette.diffusion import weighting


def weighting_of(config: WeightingConfig) -> weighting.Weighting:
    """The function that weighs an example's error at its noise level."""
    match config:
        case UniformConfig():
            return weighting.uniform
        case MinSnrConfig(gamma=gamma):
            return weighting.min_snr(gamma)
        case SoftMinSnrConfig():
            return weighting.soft_min_snr
        case DebiasedConfig():
            return weighting.debiased
        case SnrConfig():
            return weighting.snr
        case _:
            assert_never(config)
