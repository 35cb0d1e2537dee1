"""Learning rates over time: multiples of a group's own rate, as functions of the optimizer step."""

import math
from collections.abc import Callable
from typing import assert_never

from maquette.config.optimization import (
    ConstantConfig,
    CosineConfig,
    CosineWithRestartsConfig,
    LinearConfig,
    PolynomialConfig,
    ScheduleConfig,
)


def rate_at(config: ScheduleConfig, steps: int) -> Callable[[int], float]:
    """step, counted from 0 -> multiple of the learning rate, in [0, 1].

    steps: length of the whole run in optimizer steps, whatever the accumulation. The warm-up rises from 0 at step 0 and
    is over at step warmup_steps; the rest of the run has the schedule's own shape, which would end at step ``steps``.
    """
    shape = _shape(config)
    rise, rest = config.warmup_steps, max(1, steps - config.warmup_steps)

    def multiple(step: int) -> float:
        if step < rise:
            return step / rise
        return shape(min(1.0, (step - rise) / rest))

    return multiple


def _shape(config: ScheduleConfig) -> Callable[[float], float]:
    """Share of the time after the warm-up, in [0, 1] -> multiple of the learning rate."""
    match config:
        case ConstantConfig():
            return lambda _: 1.0
        case LinearConfig():
            return lambda share: 1 - share
        case CosineConfig():
            return half_cosine
        case CosineWithRestartsConfig(cycles=cycles):
            return lambda share: half_cosine(share * cycles % 1) if share < 1 else 0.0
        case PolynomialConfig(power=power):
            return lambda share: (1 - share) ** power
        case _:
            assert_never(config)


def half_cosine(share: float) -> float:
    """From 1 at 0 to 0 at 1, level at both ends. Source: Loshchilov and Hutter 2016 (arXiv 1608.03983), equation 5."""
    return (1 + math.cos(math.pi * share)) / 2
