"""The configured loss becomes the formulas that it names, or is refused before anything is trained."""

import pytest
import torch

from maquette.config.load import load_config
from maquette.config.loss import (
    AsTrainedConfig,
    EdmConfig,
    KarrasConfig,
    LognormalConfig,
    MinSnrConfig,
    UniformX0Config,
)
from maquette.diffusion import affine, weighting
from maquette.diffusion.level import ddpm_path, edm_path, karras, lognormal
from maquette.diffusion.scheduler import Diffusion, alphas_cumprod
from maquette.errors import ConfigError
from maquette.training.weighting import check_cap, levels_of, weighting_of

STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
TABLE = ddpm_path(alphas_cumprod(STABLE_DIFFUSION))
U = torch.linspace(0, 0.999, 50)


def test_weightings_are_those_of_their_names():
    assert weighting_of(EdmConfig()) is weighting.edm
    assert weighting_of(UniformX0Config()) is weighting.uniform_x0


def test_levels_are_drawn_as_configured():
    assert levels_of(AsTrainedConfig(), TABLE) is TABLE
    drawn = levels_of(LognormalConfig(p_mean=-0.5, p_std=1.0), TABLE)(U)
    assert torch.equal(drawn.t, TABLE.at(lognormal(-0.5, 1.0)(U)).t)
    drawn = levels_of(KarrasConfig(), TABLE)(U)
    assert torch.equal(drawn.t, TABLE.at(karras(*TABLE.ends)(U)).t)
    drawn = levels_of(KarrasConfig(sigma_min=0.1, sigma_max=2.0, rho=3.0), edm_path())(U)
    assert torch.equal(drawn.sigma, karras(0.1, 2.0, 3.0)(U))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LognormalConfig(p_mean=4.0), "p_mean is 4, but this base was trained for -3.535 to 2.682"),
        (KarrasConfig(sigma_max=80.0), "sigma_max is 80, but this base was trained for 0.02917 to 14.61"),
        (KarrasConfig(sigma_min=0.002), "sigma_min is 0.002"),
    ],
)
def test_levels_that_the_base_does_not_know_are_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        levels_of(config, TABLE)


def test_the_ends_of_a_schedule_must_be_in_order():
    with pytest.raises(ConfigError, match=r"loss.noise_levels.sigma_min is 2, and sigma_max 1"):
        load_config(
            sets=["loss.noise_levels.kind=karras", "loss.noise_levels.sigma_min=2", "loss.noise_levels.sigma_max=1"]
        )


@pytest.mark.parametrize(
    ("diffusion", "low", "high"),
    [
        (Diffusion(edm_path(), affine.edm(0.5)), 4.0, 4.01),
        (Diffusion(TABLE, affine.epsilon), 0.004, 0.005),
    ],
    ids=["edm", "table"],
)
def test_a_cap_below_everything_is_refused(diffusion, low, high):
    with pytest.raises(ConfigError, match=r"loss.weighting.gamma is .*uniform_x0"):
        check_cap(MinSnrConfig(gamma=low), diffusion, diffusion.path)
    check_cap(MinSnrConfig(gamma=high), diffusion, diffusion.path)
