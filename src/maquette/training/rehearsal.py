"""The run's first batches passed through its model before anything is trained, for starts that come from them."""

from typing import assert_never

import torch

from maquette.adapters.base import Trainable
from maquette.adapters.estimate import Rehearse
from maquette.adapters.starts import Report, Start, start
from maquette.config.adapter import (
    AdapterConfig,
    DoraConfig,
    FullConfig,
    LohaConfig,
    LokrConfig,
    LoraConfig,
    NoAdapterConfig,
)
from maquette.config.factors import GaussianConfig, InitConfig
from maquette.data.dataset import Dataset
from maquette.training.objective import Objective
from maquette.training.runtime import Runtime
from maquette.training.seeds import global_generators, rng_at
from maquette.types import TrainBatch

FP16_SCALE = 2.0**10
"""What losses are multiplied by in fp16: a gradient between 1e-10 and 60 is then a number of that precision. Steps
begin with 2^16, and are skipped until nothing overflows; a start has no second try."""


def init_of(config: AdapterConfig) -> InitConfig:
    """How the factors start; kinds that start at random in their own way count as gaussian."""
    match config:
        case LoraConfig(init=init) | DoraConfig(init=init):
            return init
        case LohaConfig() | LokrConfig() | FullConfig() | NoAdapterConfig():
            return GaussianConfig()
        case _:
            assert_never(config)


def rehearsal(dataset: Dataset, objective: Objective[TrainBatch], runtime: Runtime, seed: int) -> Rehearse:
    """Passes over the batches of the first steps, with noise of their own: a pure function of the seed."""

    scale = 1.0 if runtime.scaler is None else FP16_SCALE

    def rehearse(batches: int, *, backward: bool) -> float:
        step, left = 0, batches
        while left:
            for i, batch in enumerate(dataset.batches_at(step)[:left]):
                rng = rng_at(seed, step, i, stream="rehearsal")
                with global_generators(rng.initial_seed()), torch.set_grad_enabled(backward):
                    with runtime.forward():
                        loss = (batch.weight * objective(batch, rng)).sum()
                    if backward:
                        torch.autograd.backward(scale * loss)
                left -= 1
            step += 1
        return scale

    return rehearse


def start_on(
    init: InitConfig, trainable: Trainable, rehearse: Rehearse, seed: int, report: Report | None = None
) -> Start:
    """Start a fresh adapter as its configuration says, and leave no gradient in it."""
    started = start(trainable, init, rehearse, rng_at(seed, 0, stream="start"), report)
    for group in trainable.groups:
        for param in group.params:
            param.grad = None
    return started
