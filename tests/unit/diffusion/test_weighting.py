"""Weightings against their published closed forms, and at the ends where those are 0/0."""

import math

import pytest
import torch

from maquette.diffusion import affine, weighting
from maquette.diffusion.level import Level, ddpm_path, edm_path
from maquette.diffusion.scheduler import alphas_cumprod
from maquette.errors import ConfigError

STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
TABLE = alphas_cumprod(STABLE_DIFFUSION).double()
PATHS = [affine.epsilon, affine.velocity, affine.sample]
U = (torch.arange(100, dtype=torch.float64) + 0.5) / 100


@pytest.fixture
def level() -> Level:
    return ddpm_path(TABLE)(U)


@pytest.fixture
def edm_level() -> Level:
    return edm_path()(U)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 5.0, 20.0])
def test_min_snr_is_the_published_weight_of_each_prediction(level, gamma):
    weight, snr = weighting.min_snr(gamma), level.snr
    capped = snr.clamp(max=gamma)
    torch.testing.assert_close(weight(level, affine.epsilon(level)), capped / snr)
    torch.testing.assert_close(weight(level, affine.velocity(level)), capped / (snr + 1))
    torch.testing.assert_close(weight(level, affine.sample(level)), capped)


def test_min_snr_weighs_every_example_by_its_own_level():
    level = ddpm_path(TABLE)(torch.tensor([0.1005, 0.9995]))
    weight = weighting.min_snr(5.0)(level, affine.velocity(level))
    assert weight[0].item() == pytest.approx(0.528884, abs=1e-5)
    assert weight[1].item() == pytest.approx(0.004660, abs=1e-6)


def test_min_snr_under_edm_caps_lambda(edm_level):
    lam = 1 / edm_level.sigma.square() + 4
    torch.testing.assert_close(weighting.min_snr(5.0)(edm_level, affine.edm(0.5)(edm_level)), (5 / lam).clamp(max=1))


def test_below_the_smallest_lambda_the_cap_is_flat_in_the_clean_sample(edm_level):
    a = affine.edm(0.5)(edm_level)
    torch.testing.assert_close(weighting.min_snr(4.0)(edm_level, a), 4 * weighting.uniform_x0(edm_level, a))


def test_an_infinite_gamma_caps_nothing(level, edm_level):
    for parametrization in PATHS:
        a = parametrization(level)
        torch.testing.assert_close(weighting.min_snr(math.inf)(level, a), weighting.snr(level, a))
    assert weighting.min_snr(math.inf)(edm_level, affine.edm(0.5)(edm_level)).eq(1).all()


def test_snr_weighting_is_plain_noise_prediction(level, edm_level):
    assert weighting.snr(level, affine.epsilon(level)).eq(1).all()
    torch.testing.assert_close(weighting.snr(level, affine.velocity(level)), level.alpha.square())
    torch.testing.assert_close(weighting.snr(level, affine.sample(level)), level.snr)
    a = affine.edm(0.5)(edm_level)
    torch.testing.assert_close(weighting.snr(edm_level, a), a.c_out.square() / edm_level.sigma.square())


def test_soft_min_snr(level, edm_level):
    sigma = level.snr.rsqrt()
    torch.testing.assert_close(weighting.soft_min_snr(level, affine.sample(level)), 1 / (sigma.square() + 1))
    torch.testing.assert_close(weighting.soft_min_snr(level, affine.epsilon(level)), 1 / (1 + level.snr))
    a = affine.edm(0.5)(edm_level)
    expected = a.c_out.square() / (edm_level.sigma.square() + 0.25)
    torch.testing.assert_close(weighting.soft_min_snr(edm_level, a), expected)


def test_debiased_caps_the_ratio_at_1000(level):
    root = level.snr.clamp(max=1000).sqrt()
    torch.testing.assert_close(weighting.debiased(level, affine.sample(level)), root)
    torch.testing.assert_close(weighting.debiased(level, affine.epsilon(level)), root / level.snr)
    torch.testing.assert_close(weighting.debiased(level, affine.velocity(level)), root / (level.snr + 1))
    first = ddpm_path(TABLE)(torch.zeros(1))
    assert weighting.debiased(first, affine.sample(first)).item() == pytest.approx(math.sqrt(1000))


def test_uniform_weights_are_flat_where_their_names_say(level, edm_level):
    for at, kinds in ((level, PATHS), (edm_level, [affine.edm(0.5)])):
        for parametrization in kinds:
            a = parametrization(at)
            assert weighting.uniform(at, a).eq(1).all()
            torch.testing.assert_close(weighting.uniform_x0(at, a), a.c_out.square())


def test_edm_weighting_is_uniform_on_an_edm_network(edm_level):
    for sigma_data in (0.5, 1.0):
        a = affine.edm(sigma_data)(edm_level)
        torch.testing.assert_close(weighting.edm(edm_level, a), torch.ones(100, dtype=torch.float64))


def test_a_v_network_is_an_edm_network_for_data_of_deviation_one(level):
    """v prediction is EDM's preconditioning at sigma_data = 1, so the weight of either is the plain error of both."""
    v, sigma = affine.velocity(level), level.snr.rsqrt()
    torch.testing.assert_close(weighting.edm(level, v), torch.ones(100, dtype=torch.float64))
    exploding = Level(sigma.log() / 4, torch.ones_like(sigma), sigma)
    e = affine.edm(1.0, negated=True)(exploding)
    torch.testing.assert_close(e.target_eps, v.target_eps)
    torch.testing.assert_close(e.target_x0, v.target_x0)


@pytest.mark.parametrize("weight", [weighting.min_snr(5.0), weighting.snr, weighting.soft_min_snr, weighting.uniform])
@pytest.mark.parametrize("parametrization", PATHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_take_their_limits_at_zero_terminal_snr(weight, parametrization, dtype):
    table = alphas_cumprod({**STABLE_DIFFUSION, "rescale_betas_zero_snr": True}).to(dtype)
    level = ddpm_path(table)(torch.tensor([1 - 2**-24]))
    expected = 1.0 if weight is weighting.uniform or parametrization is affine.epsilon else 0.0
    assert weight(level, parametrization(level)).item() == expected


@pytest.mark.parametrize("gamma", [0.0, -1.0, math.nan])
def test_min_snr_refuses_a_gamma_that_is_not_positive(gamma):
    with pytest.raises(ConfigError, match=rf"gamma is {gamma}; it must be positive"):
        weighting.min_snr(gamma)
