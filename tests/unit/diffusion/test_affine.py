"""Every parametrisation against the form it is derived from, and against the others."""

import pytest
import torch
from torch import Tensor

from maquette.diffusion import affine, weighting
from maquette.diffusion.affine import Affine
from maquette.diffusion.level import Level, ddpm_path, edm_path, expand_as, flow_path
from maquette.diffusion.scheduler import alphas_cumprod

STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
TABLE = alphas_cumprod(STABLE_DIFFUSION).double()
ZERO_TERMINAL = alphas_cumprod({**STABLE_DIFFUSION, "rescale_betas_zero_snr": True}).double()
U = (torch.arange(64, dtype=torch.float64) + 0.5) / 64

KINDS = {
    "epsilon": (ddpm_path(TABLE), affine.epsilon),
    "v": (ddpm_path(TABLE), affine.velocity),
    "x0": (ddpm_path(TABLE), affine.sample),
    "flow": (flow_path(), affine.flow),
    "edm": (edm_path(), affine.edm(0.5)),
    "edm negated": (edm_path(), affine.edm(0.5, negated=True)),
    "edm sigma_data 1": (edm_path(), affine.edm(1.0)),
}


@pytest.fixture(params=KINDS)
def at(request: pytest.FixtureRequest) -> tuple[Level, Affine]:
    path, parametrization = KINDS[request.param]
    level = path(U)
    return level, parametrization(level)


def draws(n: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    x0, eps, output = torch.randn(3, n, 4, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return x0, eps, output


def test_the_target_is_what_the_map_turns_into_the_clean_sample(at):
    level, a = at
    x0, eps, _ = draws()
    x_t = level.noised(x0, eps)
    solved = (x0 - expand_as(a.c_skip, x0) * x_t) / expand_as(a.c_out, x0)
    # At SNR 1e5 (EDM's smallest sigma) the solved form cancels five digits; the closed form does not.
    torch.testing.assert_close(a.target(x0, eps), solved, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(a.denoised(x_t, a.target(x0, eps)), x0, rtol=1e-8, atol=1e-8)


def test_weights_in_the_networks_space_are_those_of_the_clean_sample_times_c_out_squared(at):
    level, a = at
    torch.testing.assert_close(a.network_weight, a.x0_weight * a.c_out.square())
    torch.testing.assert_close(a.snr_weight, level.snr * a.c_out.square())


def test_targets_are_the_published_ones():
    x0, eps, _ = draws()
    level = ddpm_path(TABLE)(U)
    alpha, sigma = expand_as(level.alpha, x0), expand_as(level.sigma, x0)
    torch.testing.assert_close(affine.epsilon(level).target(x0, eps), eps)
    torch.testing.assert_close(affine.velocity(level).target(x0, eps), alpha * eps - sigma * x0)
    torch.testing.assert_close(affine.sample(level).target(x0, eps), x0)
    level = flow_path()(U)
    torch.testing.assert_close(affine.flow(level).target(x0, eps), eps - x0)


@pytest.mark.parametrize(
    "weight",
    [
        weighting.min_snr(5.0),
        weighting.min_snr(0.1),
        weighting.soft_min_snr,
        weighting.debiased,
        weighting.snr,
        weighting.uniform_x0,
        weighting.edm,
    ],
)
def test_a_weighting_means_the_same_whatever_the_network_predicts(weight):
    """One wrong clean sample, said as noise, as v and as x0, costs the same: exact identities between the errors."""
    x0, eps, wrong = draws()
    level = ddpm_path(TABLE)(U)
    x_t = level.noised(x0, eps)
    costs = []
    for parametrization in (affine.epsilon, affine.velocity, affine.sample):
        a = parametrization(level)
        said = (wrong - expand_as(a.c_skip, x0) * x_t) / expand_as(a.c_out, x0)
        costs.append(weight(level, a) * (said - a.target(x0, eps)).square().flatten(1).mean(1))
    torch.testing.assert_close(costs[0], costs[2], rtol=1e-8, atol=0)
    torch.testing.assert_close(costs[1], costs[2], rtol=1e-8, atol=0)


def test_errors_of_noise_and_velocity_are_those_of_the_clean_sample_times_a_ratio():
    x0, eps, wrong = draws()
    level = ddpm_path(TABLE)(U)
    x_t, error = level.noised(x0, eps), (wrong - x0).square().flatten(1).sum(1)

    def said_error(a: Affine) -> Tensor:
        said = (wrong - expand_as(a.c_skip, x0) * x_t) / expand_as(a.c_out, x0)
        return (said - a.target(x0, eps)).square().flatten(1).sum(1)

    torch.testing.assert_close(said_error(affine.epsilon(level)), level.snr * error, rtol=1e-8, atol=0)
    torch.testing.assert_close(said_error(affine.velocity(level)), (level.snr + 1) * error, rtol=1e-8, atol=0)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_a_noise_model_seen_as_a_denoiser_of_sigma_space(dtype, rtol):
    """sigma^-2 (D - x0)^2 is the squared error of the noise, and for v that of v over 1 + sigma^2."""
    x0, eps, output = (x.to(dtype) for x in draws())
    level = ddpm_path(TABLE.to(dtype))(U.to(dtype))
    x_t = level.noised(x0, eps)
    sigma = expand_as(level.sigma / level.alpha, x0)
    denoised = affine.epsilon(level).denoised(x_t, output)
    torch.testing.assert_close(
        ((denoised - x0) / sigma).square().flatten(1).mean(1),
        (output - eps).square().flatten(1).mean(1),
        rtol=rtol * 100,
        atol=0,  # x0_hat carries eps divided by alpha: at the noisiest level 15 times as large as x0
    )
    v = affine.velocity(level)
    denoised = v.denoised(x_t, output)
    torch.testing.assert_close(
        (1 + sigma.square()) * ((denoised - x0) / sigma).square(),
        (output - v.target(x0, eps)).square(),
        rtol=rtol * 100,  # errors of single elements may be small differences of large numbers
        atol=1e-4 if dtype is torch.float32 else 1e-10,
    )


def test_edm_loss_is_unit_weight_on_the_preconditioned_network():
    x0, eps, output = draws()
    level = edm_path()(U)
    a = affine.edm(0.5)(level)
    denoised = a.denoised(level.noised(x0, eps), output)
    lam = (level.sigma.square() + 0.25) / (0.5 * level.sigma).square()
    in_x0 = lam * (denoised - x0).square().flatten(1).mean(1)
    in_network = (output - a.target(x0, eps)).square().flatten(1).mean(1)
    torch.testing.assert_close(in_x0, in_network, rtol=1e-8, atol=0)


def test_diffusers_v_prediction_under_edm_is_the_negated_network():
    x0, eps, output = draws()
    level = edm_path()(U)
    plain, negated = affine.edm(0.5)(level), affine.edm(0.5, negated=True)(level)
    x_t = level.noised(x0, eps)
    torch.testing.assert_close(negated.denoised(x_t, -output), plain.denoised(x_t, output))
    torch.testing.assert_close(negated.target(x0, eps), -plain.target(x0, eps))
    torch.testing.assert_close(negated.network_weight, plain.network_weight)


@pytest.mark.parametrize("parametrization", [affine.epsilon, affine.velocity, affine.sample])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_targets_are_finite_and_right_at_zero_terminal_snr(parametrization, dtype):
    level = ddpm_path(ZERO_TERMINAL.to(dtype))(torch.tensor([1 - 2**-24]))
    assert level.snr.item() == 0
    x0, eps, _ = (x[:1].to(dtype) for x in draws())
    expected = {affine.epsilon: eps, affine.velocity: -x0, affine.sample: x0}[parametrization]
    torch.testing.assert_close(parametrization(level).target(x0, eps), expected)


def test_the_ideal_denoiser_of_gaussian_data_needs_no_network_under_edm():
    """For x0 ~ N(0, sigma_data^2) the posterior mean is c_skip * x_t, so a network that says 0 is right."""
    level = edm_path()(U)
    a = affine.edm(0.5)(level)
    torch.testing.assert_close(a.c_skip, 0.25 / (0.25 + level.sigma.square()))


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("heun", 2)])
def test_the_probability_flow_of_that_denoiser_ends_at_the_spread_of_the_data(method, order):
    """dx/dsigma = (x - D(x)) / sigma from sigma 80 down: the spread ends at the data's, to the method's known error."""

    def slope(x: Tensor, sigma: Tensor) -> Tensor:
        a = affine.edm(0.5)(Level(sigma.log() / 4, torch.ones_like(sigma), sigma))
        return (x - a.denoised(x, torch.zeros_like(x))) / sigma

    def end(steps: int) -> float:
        # Karras' spacing (rho 7) down to a sigma at which the exact solution is known too.
        ramp = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        sigmas = (80 ** (1 / 7) + ramp * (0.01 ** (1 / 7) - 80 ** (1 / 7))) ** 7
        x = (sigmas[:1].square() + 0.25).sqrt()
        for now, then in zip(sigmas[:-1, None], sigmas[1:, None], strict=True):
            k = slope(x, now)
            moved = x + (then - now) * k
            x = moved if method == "euler" else x + (then - now) * (k + slope(moved, then)) / 2
        return abs(x.item() - (0.01**2 + 0.25) ** 0.5)

    coarse, fine = end(64), end(128)
    assert fine < 0.05
    assert coarse / fine == pytest.approx(2**order, rel=0.2)  # halving the step divides the error by 2 to the order
