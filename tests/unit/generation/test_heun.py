"""The EDM paper's sampler against closed forms, and against its algorithm 2 written out."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from maquette.generation.heun import EDMHeunScheduler

SPREAD = 1.3
"""Deviation of the data; not the 0.5 that the preconditioning assumes, so that the network has something to say."""

CHURN = {"s_churn": 40.0, "s_min": 0.05, "s_max": 50.0, "s_noise": 1.003}


def network(seen: Tensor, sigma: float) -> Tensor:
    """What a perfect network with EDM preconditioning answers for data N(0, SPREAD²)."""
    total = sigma**2 + 0.25
    x = seen * math.sqrt(total)
    denoised = SPREAD**2 / (SPREAD**2 + sigma**2) * x
    return (denoised - 0.25 / total * x) / (sigma * 0.5 / math.sqrt(total))


def sampled(x: Tensor, steps: int, generator: torch.Generator | None = None, **settings: float) -> Tensor:
    scheduler = EDMHeunScheduler(**settings)
    scheduler.set_timesteps(steps)
    x = x * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        output = network(scheduler.scale_model_input(x, t), math.exp(4 * t.double().item()))
        (x,) = scheduler.step(output, t, x, generator=generator)
    return x


def algorithm_2(x: Tensor, steps: int, generator: torch.Generator, churn: dict[str, float]) -> Tensor:
    """Karras et al. 2022, algorithm 2, line by line."""
    low, high = 0.002 ** (1 / 7), 80.0 ** (1 / 7)
    t = [(high + i / (steps - 1) * (low - high)) ** 7 for i in range(steps)] + [0.0]

    def denoised(x: Tensor, sigma: float) -> Tensor:
        return SPREAD**2 / (SPREAD**2 + sigma**2) * x

    x = t[0] * x
    for i in range(steps):
        gamma = min(churn["s_churn"] / steps, math.sqrt(2) - 1) if churn["s_min"] <= t[i] <= churn["s_max"] else 0.0
        raised = t[i] + gamma * t[i]
        if gamma:
            eps = churn["s_noise"] * torch.randn(x.shape, generator=generator, dtype=x.dtype)
            x = x + math.sqrt(raised**2 - t[i] ** 2) * eps
        d = (x - denoised(x, raised)) / raised
        following = x + (t[i + 1] - raised) * d
        if t[i + 1] != 0:
            other = (following - denoised(following, t[i + 1])) / t[i + 1]
            following = x + (t[i + 1] - raised) * (d + other) / 2
        x = following
    return x


def test_the_error_falls_with_the_square_of_the_steps():
    """x goes with √(sigma² + SPREAD²). The last step, from 0.002 to 0, errs by 1e-6 whatever the number of steps."""
    x = torch.ones(1, 1, dtype=torch.float64)
    exact = 80.0 * SPREAD / math.sqrt(80.0**2 + SPREAD**2)
    errors = [abs(sampled(x, steps).item() - exact) for steps in (32, 64, 128)]
    assert errors[0] < 0.03
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(2, abs=0.25)


def test_the_network_is_asked_at_both_ends_of_every_step_but_the_last():
    scheduler = EDMHeunScheduler()
    scheduler.set_timesteps(5)
    levels = (4 * scheduler.timesteps).exp()
    assert len(levels) == 9
    assert levels[0].item() == pytest.approx(80.0)
    assert levels[-1].item() == pytest.approx(0.002, rel=1e-5)
    assert torch.equal(levels[1::2], levels[2::2])
    scheduler.set_timesteps(1)
    assert len(scheduler.timesteps) == 1


@pytest.mark.parametrize("churn", [CHURN, {**CHURN, "s_churn": 0.0}], ids=["churn", "plain"])
@pytest.mark.parametrize("steps", [2, 18])
def test_it_is_the_papers_algorithm(steps, churn):
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours = sampled(x, steps, torch.Generator().manual_seed(2), **churn)
    theirs = algorithm_2(x, steps, torch.Generator().manual_seed(2), churn)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)  # the network reads its level in fp32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_sees_the_exact_product_rounded_once(dtype):
    """c_in itself in bf16 would be off by up to 0.6 %, another factor than the step's."""
    scheduler = EDMHeunScheduler()
    scheduler.set_timesteps(18)
    sample = torch.randn(64, generator=torch.Generator().manual_seed(1)).to(dtype)
    for asked, t in enumerate(scheduler.timesteps):
        scheduler.asked = asked
        exact = sample.double() / math.sqrt(math.exp(8 * t.double().item()) + 0.25)
        seen = scheduler.scale_model_input(sample, t)
        assert seen.dtype == dtype
        torch.testing.assert_close(seen.double(), exact, rtol=torch.finfo(dtype).eps * 0.51, atol=1e-7)


def test_churn_everywhere_still_gives_the_data():
    """Noise at the highest level too, where it is part of the first sample. Its deviation over 40,000 values: 0.4 %."""
    x = torch.randn(40_000, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    churned = sampled(x, 64, torch.Generator().manual_seed(2), s_churn=20.0)
    plain = sampled(x, 64)
    assert churned.std().item() == pytest.approx(SPREAD, rel=0.02)
    assert abs(torch.corrcoef(torch.stack([churned.flatten(), plain.flatten()]))[0, 1]) < 0.9


def test_the_config_is_the_checkpoints_own():
    scheduler = EDMHeunScheduler.from_config({"sigma_data": 1.0, "sigma_max": 120.0}, s_churn=3.0)
    assert (scheduler.config.sigma_data, scheduler.config.sigma_max, scheduler.config.s_churn) == (1.0, 120.0, 3.0)
    scheduler.set_timesteps(30)
    assert scheduler.init_noise_sigma == pytest.approx(120.0 * (1 + 3 / 30))
