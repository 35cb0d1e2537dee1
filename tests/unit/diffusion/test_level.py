"""Noise paths are quantile functions: uniform draws in, the stated distribution of noise levels out."""

import math

import pytest
import torch
from diffusers import DDPMScheduler
from scipy import stats

from maquette.diffusion.level import Level, ddpm_path, edm_path, expand_as, flow_path

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
