"""The published numbers of min-SNR and EDM, to the digits they are printed with."""

import math
from decimal import Decimal

import pytest
import torch

from maquette.diffusion import affine, weighting
from maquette.diffusion.level import Level, ddpm_path
from maquette.diffusion.scheduler import alphas_cumprod

STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}

# t, alpha_bar, SNR, 1/sqrt(SNR), and min-SNR weights at gamma 5 for epsilon, v and x0 prediction, on Stable Diffusion's
# schedule (1000 steps, fp32).
MIN_SNR = [
    (0, "0.99914998", "1175.44", "0.0291675", "0.004254", "0.004250", "5"),
    (1, "0.99829602", "585.862", "0.0413145", "0.008534", "0.008520", "5"),
    (100, "0.89422315", "8.45387", "0.343932", "0.591445", "0.528884", "5"),
    (250, "0.67379230", "2.06553", "0.695799", "1", "0.673792", "2.065532"),
    (500, "0.27633247", "0.38185", "1.61828", "1", "0.276332", "0.381850"),
    (750, "0.05616980", "0.0595126", "4.09917", "1", "0.056170", "0.059513"),
    (900, "0.01415113", "0.0143543", "8.3466", "1", "0.014151", "0.014354"),
    (999, "0.00466010", "0.00468191", "14.6146", "1", "0.004660", "0.004682"),
]

# sigma, c_skip, c_out, c_in, c_noise, lambda, and the min-SNR weight at gamma 5 of the preconditioned network, at
# sigma_data 0.5.
EDM = [
    (0.002, "0.999984", "0.00199998", "1.99998", "-1.55365", "250004", "0.000020"),
    (0.1, "0.961538", "0.0980581", "1.96116", "-0.575646", "104", "0.0480769"),
    (0.5, "0.5", "0.353553", "1.41421", "-0.173287", "8", "0.625"),
    (1.0, "0.2", "0.447214", "0.894427", "0", "5", "1"),
    (5.0, "0.00990099", "0.497519", "0.199007", "0.402359", "4.04", "1"),
    (80.0, "0.000039061", "0.49999", "0.0124998", "1.09551", "4.00016", "1"),
]


def printed(digits: str):
    """What a number printed so can be: within half a unit of its last digit.

    Whole numbers in the tables (5, 104, 250004) are exact, so they get fp32's rounding and no more.
    """
    if "." not in digits:
        return pytest.approx(float(digits), rel=1e-6, abs=1e-7)
    unit = 10.0 ** int(Decimal(digits).as_tuple().exponent)
    return pytest.approx(float(digits), rel=0, abs=0.5001 * unit)


def table_level(t: int) -> Level:
    return ddpm_path(alphas_cumprod(STABLE_DIFFUSION))(torch.tensor([(t + 0.5) / 1000]))


@pytest.mark.parametrize(("t", "alpha_bar", "snr", "sigma", "epsilon", "velocity", "sample"), MIN_SNR)
def test_min_snr_weights_on_the_schedule_of_stable_diffusion(t, alpha_bar, snr, sigma, epsilon, velocity, sample):
    level = table_level(t)
    assert level.t.item() == t
    assert alphas_cumprod(STABLE_DIFFUSION)[t].item() == printed(alpha_bar)
    assert level.snr.item() == printed(snr)
    assert level.snr.rsqrt().item() == printed(sigma)
    weight = weighting.min_snr(5.0)
    assert weight(level, affine.epsilon(level)).item() == printed(epsilon)
    assert weight(level, affine.velocity(level)).item() == printed(velocity)
    assert weight(level, affine.sample(level)).item() == printed(sample)


@pytest.mark.parametrize(("sigma", "c_skip", "c_out", "c_in", "c_noise", "lam", "weight"), EDM)
def test_edm_coefficients_and_weights(sigma, c_skip, c_out, c_in, c_noise, lam, weight):
    s = torch.tensor([sigma])
    level = Level(s.log() / 4, torch.ones(1), s)
    a = affine.edm(0.5)(level)
    assert a.c_skip.item() == printed(c_skip)
    assert a.c_out.item() == printed(c_out)
    assert a.c_in.item() == printed(c_in)
    assert level.t.item() == printed(c_noise)
    assert a.x0_weight.item() == printed(lam)
    assert a.network_weight.item() == 1
    assert weighting.min_snr(5.0)(level, a).item() == printed(weight)


def test_ratios_of_the_kandinsky_prior():
    level = ddpm_path(alphas_cumprod({"beta_schedule": "squaredcos_cap_v2"}))(torch.tensor([0.0, 0.5005, 0.9995]))
    assert level.t.tolist() == [0, 500, 999]
    assert level.snr[0].item() == printed("24208.5")
    assert level.snr[1].item() == printed("0.969609")
    assert level.snr[2].item() == pytest.approx(2.429e-9, rel=0.0005 / 2.429)
    weight = weighting.min_snr(5.0)(level, affine.sample(level))
    torch.testing.assert_close(weight, level.snr.clamp(max=5))


def test_ratios_of_the_same_schedules_without_the_rounding_of_the_fp32_table():
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
    alpha_bar = torch.cumprod(1 - betas, 0)
    assert ddpm_path(alpha_bar)(torch.zeros(1)).snr.item() == printed("1175.471")
    step, start = (math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2 for time in (1 / 1000, 0.0))
    cosine = torch.tensor([step / start], dtype=torch.float64)
    assert ddpm_path(cosine)(torch.zeros(1)).snr.item() == printed("24221.3")
