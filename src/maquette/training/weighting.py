"""From the configured loss to its formulas: how much an example counts, and at which noise levels it is seen."""

import math
from typing import assert_never

import torch

from maquette.config.loss import (
    AsTrainedConfig,
    DebiasedConfig,
    EdmConfig,
    KarrasConfig,
    LognormalConfig,
    MinSnrConfig,
    NoiseLevelsConfig,
    SnrConfig,
    SoftMinSnrConfig,
    UniformConfig,
    UniformX0Config,
    WeightingConfig,
)
from maquette.diffusion import weighting
from maquette.diffusion.level import NoisePath, karras, lognormal
from maquette.diffusion.scheduler import Diffusion
from maquette.errors import ConfigError


def weighting_of(config: WeightingConfig) -> weighting.Weighting:
    """The function that weighs an example's error at its noise level."""
    match config:
        case UniformConfig():
            return weighting.uniform
        case UniformX0Config():
            return weighting.uniform_x0
        case EdmConfig():
            return weighting.edm
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


def levels_of(config: NoiseLevelsConfig, path: NoisePath) -> NoisePath:
    """A base's noise levels, drawn as configured.

    Raises ConfigError where they lie beyond those that the base knows.
    """
    low, high = path.ends
    match config:
        case AsTrainedConfig():
            return path
        case LognormalConfig(p_mean=p_mean, p_std=p_std):
            if not low <= math.exp(p_mean) <= high:
                raise _beyond("p_mean", p_mean, "most levels would be the same end", math.log(low), math.log(high))
            return path.drawn_by(lognormal(p_mean, p_std))
        case KarrasConfig(rho=rho, sigma_min=least, sigma_max=most):
            for key, value in (("sigma_min", least), ("sigma_max", most)):
                if value is not None and not low <= value <= high:
                    raise _beyond(key, value, "nothing lies beyond", low, high)
            return path.drawn_by(karras(least or low, most or high, rho))
        case _:
            assert_never(config)


def check_cap(config: WeightingConfig, diffusion: Diffusion, levels: NoisePath) -> None:
    """Raise ConfigError where min-SNR would cap every noise level, so that none of them is told from the others."""
    if not isinstance(config, MinSnrConfig):
        return
    ends = levels(torch.tensor([0.0, 1 - 2**-24]))
    least = float(diffusion.parametrization(ends).x0_weight.min())
    if config.gamma <= least:
        raise ConfigError(
            f"loss.weighting.gamma is {config.gamma:g}, but what it caps is never below {least:.4g} on this base, so "
            'that all noise levels would count alike: give more (the paper uses 5), or say kind = "uniform_x0".'
        )


def _beyond(key: str, value: float, what: str, low: float, high: float) -> ConfigError:
    return ConfigError(
        f"loss.noise_levels.{key} is {value:g}, but this base was trained for {low:.4g} to {high:.4g}: {what}. Give a "
        "number in between."
    )
