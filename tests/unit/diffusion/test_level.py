"""Noise paths are quantile functions: uniform draws in, the stated distribution of noise levels out."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, EDMEulerScheduler, EulerDiscreteScheduler
from scipy import stats

from maquette.diffusion.level import Level, ddpm_path, edm_path, expand_as, flow_path, karras, lognormal
from maquette.diffusion.scheduler import alphas_cumprod

SCALED_LINEAR = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").alphas_cumprod
GRID = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000


def test_ddpm_path_gives_every_entry_of_the_table_the_same_share():
    level = ddpm_path(SCALED_LINEAR)(GRID)
    counts = torch.bincount(level.t.long(), minlength=1000)
    assert counts.unique().tolist() == [100]


@pytest.mark.parametrize(
    ("u", "index"), [(0.0, 0), (0.0004999, 0), (0.5, 500), (0.99999, 999), (1 - 2**-24, 999), (1.0, 999)]
)
def test_ddpm_path_reads_the_table_at_floor_of_u_times_its_length(u, index):
    level = ddpm_path(SCALED_LINEAR)(torch.tensor([u]))
    assert level.t.item() == index
    assert level.alpha.square().item() == pytest.approx(SCALED_LINEAR[index].item(), rel=1e-6)  # fp32 square of a root


def test_ddpm_path_is_variance_preserving():
    level = ddpm_path(SCALED_LINEAR.double())(GRID)
    torch.testing.assert_close(level.alpha.square() + level.sigma.square(), torch.ones_like(level.sigma))


@pytest.mark.parametrize(("p_mean", "p_std"), [(-1.2, 1.2), (0.4, 1.0)])
def test_edm_path_is_the_quantile_function_of_the_stated_lognormal(p_mean, p_std):
    level = edm_path(p_mean, p_std)(GRID)
    expected = stats.lognorm(s=p_std, scale=math.exp(p_mean)).ppf(GRID.numpy())
    torch.testing.assert_close(level.sigma, torch.from_numpy(expected), rtol=1e-9, atol=0)
    assert level.sigma.log().mean().item() == pytest.approx(p_mean, abs=1e-6)  # symmetric grid: only rounding is left
    # The grid's outermost slices stand for infinite tails, which costs the variance about 1e-4 of itself.
    assert level.sigma.log().var().item() == pytest.approx(p_std**2, rel=5e-4)
    torch.testing.assert_close(level.t, level.sigma.log() / 4)
    assert level.alpha.eq(1).all()


def test_edm_path_is_finite_at_both_ends_of_the_interval():
    sigma = edm_path()(torch.tensor([0.0, 1 - 2**-24])).sigma
    assert sigma.isfinite().all()
    assert 0 < sigma[0] < 0.002
    assert 80 < sigma[1] < 1e3


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_path_is_the_shifted_uniform_distribution_on_a_straight_line(shift):
    level = flow_path(1000, shift)(GRID)
    torch.testing.assert_close(level.alpha + level.sigma, torch.ones_like(level.sigma))
    torch.testing.assert_close(level.t, level.sigma * 1000)
    # Inverting the shift must give the uniform draw back, away from the clamped ends.
    inner = (GRID > 0.002) & (GRID < 0.998)
    unshifted = level.sigma / (shift - (shift - 1) * level.sigma)
    torch.testing.assert_close(unshifted[inner], GRID[inner])
    assert level.sigma.min() > 0
    assert level.alpha.min() > 0


def test_noised_mixes_each_example_by_its_own_level():
    x0, eps = torch.ones(2, 3, 4, 4), torch.full((2, 3, 4, 4), 10.0)
    level = Level(torch.zeros(2), alpha=torch.tensor([1.0, 0.5]), sigma=torch.tensor([0.0, 0.25]))
    x_t = level.noised(x0, eps)
    assert x_t[0].eq(1).all()
    assert x_t[1].eq(3).all()


def test_expand_as_puts_a_vector_on_the_first_axis_of_any_sample():
    v = torch.arange(3.0)
    assert expand_as(v, torch.zeros(3, 5)).shape == (3, 1)
    assert expand_as(v, torch.zeros(3, 4, 8, 8)).shape == (3, 1, 1, 1)


def test_levels_between_the_entries_of_a_table_are_those_of_diffusers_samplers():
    euler = EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    path = ddpm_path(SCALED_LINEAR)
    ratios = torch.tensor([0.03, 0.1, 0.5, 1.0, 3.0, 14.0])
    known = np.log(euler.sigmas[:-1].flip(0).numpy())
    level = path.at(ratios)
    # In fp32 ln(1 - alpha_bar) has an error of 1e-4 at the first entries, a hundredth of their distance.
    expected = torch.from_numpy(np.array([euler._sigma_to_t(ratio.numpy(), known) for ratio in ratios])).float()
    torch.testing.assert_close(level.t, expected, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(level.sigma / level.alpha, ratios)
    torch.testing.assert_close(level.sigma.square() + level.alpha.square(), torch.ones(6))


def test_a_table_is_the_end_of_what_its_checkpoint_knows():
    path = ddpm_path(SCALED_LINEAR.double())
    below, above = path.at(torch.tensor([1e-4, 1e4], dtype=torch.float64)).t.tolist()
    assert (below, above) == (0.0, 999.0)
    entries = path((torch.arange(1000) + 0.5) / 1000)
    torch.testing.assert_close(path.at(entries.sigma / entries.alpha).t, entries.t, rtol=0, atol=1e-6)
    assert path.ends == pytest.approx((0.0291675, 14.6146), rel=1e-4)


def test_a_table_down_to_pure_noise_ends_at_its_last_entry_with_a_signal():
    table = alphas_cumprod({"beta_schedule": "scaled_linear", "rescale_betas_zero_snr": True})
    path = ddpm_path(table.double())
    level = path.at(torch.tensor([1.0, 1e9], dtype=torch.float64))
    assert level.t[1] == 998
    assert all(value.isfinite().all() for value in (level.t, level.alpha, level.sigma))
    assert math.isfinite(path.ends[1])


@pytest.mark.parametrize(("p_mean", "p_std"), [(-1.2, 1.2), (1.0, 2.0)])
def test_lognormal_levels_of_a_table_are_the_stated_ones_within_it(p_mean, p_std):
    path = ddpm_path(SCALED_LINEAR.double())
    level = path.drawn_by(lognormal(p_mean, p_std))(GRID)
    expected = stats.lognorm(s=p_std, scale=math.exp(p_mean)).ppf(GRID.numpy()).clip(*path.ends)
    torch.testing.assert_close(level.sigma / level.alpha, torch.from_numpy(expected), rtol=1e-9, atol=0)


def test_karras_levels_are_the_training_table_of_diffusers_edm_schedulers():
    theirs = EDMEulerScheduler()
    u = torch.arange(1000, -1, -1, dtype=torch.float64) / 1000
    level = edm_path().drawn_by(karras(0.002, 80.0))(u)
    torch.testing.assert_close(level.sigma.float(), theirs.sigmas[:-1], rtol=1e-6, atol=0)
    torch.testing.assert_close(level.t.float(), theirs.timesteps, rtol=1e-5, atol=1e-6)


def test_flow_levels_have_the_ratio_that_they_were_asked_for():
    path = flow_path(1000, shift=3.0)
    level = path.at(torch.tensor([0.1, 1.0, 9.0], dtype=torch.float64))
    assert (level.sigma / level.alpha).tolist() == pytest.approx([0.1, 1.0, 9.0])
    assert level.t.tolist() == pytest.approx([1000 * r / (1 + r) for r in (0.1, 1.0, 9.0)])
