"""Learning rates over time, against diffusers' schedulers, in optimizer steps."""

import pytest
import torch
from diffusers.optimization import get_scheduler

from maquette.config.optimization import (
    ConstantConfig,
    CosineConfig,
    CosineWithRestartsConfig,
    LinearConfig,
    PolynomialConfig,
)
from maquette.training.schedule import rate_at

STEPS = 60
CASES = {
    "constant": (lambda warmup: ConstantConfig(warmup_steps=warmup), "constant_with_warmup", {}),
    "linear": (lambda warmup: LinearConfig(warmup_steps=warmup), "linear", {}),
    "cosine": (lambda warmup: CosineConfig(warmup_steps=warmup), "cosine", {}),
    "restarts": (
        lambda warmup: CosineWithRestartsConfig(warmup_steps=warmup, cycles=3),
        "cosine_with_restarts",
        {"num_cycles": 3},
    ),
    "polynomial": (lambda warmup: PolynomialConfig(warmup_steps=warmup, power=2.5), "polynomial", {"power": 2.5}),
}


def rates_of_diffusers(name: str, warmup: int, options: dict[str, float]) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=STEPS, **options)
    rates = []
    for _ in range(STEPS + 1):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("warmup", [0, 1, 7])
@pytest.mark.parametrize("case", CASES)
def test_rates_are_those_of_diffusers(case, warmup):
    config, name, options = CASES[case]
    at = rate_at(config(warmup), STEPS)
    # diffusers' polynomial ends at 1e-7 instead of 0.
    assert [at(step) for step in range(STEPS + 1)] == pytest.approx(
        rates_of_diffusers(name, warmup, options), abs=1.1e-7
    )


@pytest.mark.parametrize("case", CASES)
def test_what_falls_starts_at_the_full_rate_and_has_fallen_at_the_end(case):
    at = rate_at(CASES[case][0](0), STEPS)
    assert at(0) == 1
    assert at(STEPS) == at(STEPS + 5) == pytest.approx(1.0 if case == "constant" else 0.0, abs=1e-12)
    assert at(STEPS - 1) < 0.06 or case == "constant"  # lengths are in optimizer steps: no accumulation stretches them


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("warmup", [60, 100])
def test_a_warm_up_as_long_as_the_run_only_rises(case, warmup):
    at = rate_at(CASES[case][0](warmup), STEPS)
    assert [at(step) for step in range(STEPS)] == [step / warmup for step in range(STEPS)]


def test_restarts_return_to_the_full_rate():
    at = rate_at(CosineWithRestartsConfig(cycles=3), STEPS)
    assert [at(step) for step in (0, 20, 40)] == [1, 1, 1]
    assert max(at(step) for step in (19, 39, 59)) < 0.01
