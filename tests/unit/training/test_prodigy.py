"""Prodigy's step size where a group halts, against prodigyopt itself, given gradients of zero from there on."""

from collections.abc import Callable

import prodigyopt
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from maquette.training.prodigy import Prodigy

HALT = 10  # while the step size still grows; later its maximum hides what happens to it
STEPS = 90


def two(make: Callable[[list[dict]], Optimizer]) -> tuple[list[nn.Parameter], Optimizer]:
    start = torch.Generator().manual_seed(3)
    params = [nn.Parameter(torch.randn(n, generator=start, dtype=torch.float64)) for n in (40, 40)]
    return params, make([{"params": [param]} for param in params])


def run(optimizer: Optimizer, params: list[nn.Parameter], rest: Callable[[Tensor], Tensor | None]) -> list[float]:
    """The step size after each step towards two targets; from HALT on the second group rests."""
    sizes = []
    for step in range(STEPS):
        for param, target, strength in zip(params, (20.0, -40.0), (1.0, 4.0), strict=True):
            noise = torch.randn(param.shape, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
            param.grad = strength * ((param.detach() - target).sign() + 0.5 * noise)
        if step >= HALT:
            params[1].grad = rest(params[1])
        optimizer.step()
        sizes.append(optimizer.param_groups[0]["d"])
    return sizes


SETTINGS = {
    "plain": {},
    "guarded": {"safeguard_warmup": True, "use_bias_correction": True},
    "beta3": {"beta3": 0.95, "weight_decay": 0.01, "decouple": True},
    "growing": {"growth_rate": 1.02, "d_coef": 2.0},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_halted_group_counts_as_one_whose_gradient_is_zero(name: str):
    settings = {"lr": 1.0, "d0": 1e-4, **SETTINGS[name]}
    params, optimizer = two(lambda slots: Prodigy(slots, **settings))
    sizes = run(optimizer, params, lambda _: None)
    others, reference = two(lambda slots: prodigyopt.Prodigy(slots, **settings))
    expected = run(reference, others, torch.zeros_like)
    assert sizes == pytest.approx(expected, rel=1e-6)  # eps * d is added to denominators
    torch.testing.assert_close(params[0], others[0], rtol=1e-4, atol=1e-6)
    assert expected[-1] > 2 * settings["d0"]


def test_without_that_the_step_size_jumps_where_a_group_halts():
    """What prodigyopt does, and why there is a Prodigy of our own: d is larger ever after, for no gradient's sake."""
    params, optimizer = two(lambda slots: prodigyopt.Prodigy(slots, lr=1.0, d0=1e-4))
    jumping = run(optimizer, params, lambda _: None)
    params, optimizer = two(lambda slots: Prodigy(slots, lr=1.0, d0=1e-4))
    steady = run(optimizer, params, lambda _: None)
    assert jumping[:HALT] == steady[:HALT]
    assert jumping[HALT] > 1.5 * steady[HALT]
    assert jumping[-1] > 1.1 * steady[-1]


def test_while_all_learn_it_is_prodigyopt():
    params, optimizer = two(lambda slots: Prodigy(slots, lr=1.0, d0=1e-4))
    others, reference = two(lambda slots: prodigyopt.Prodigy(slots, lr=1.0, d0=1e-4))
    assert run(optimizer, params, lambda p: 0.1 * p.detach()) == run(reference, others, lambda p: 0.1 * p.detach())
    assert torch.equal(params[0], others[0])
