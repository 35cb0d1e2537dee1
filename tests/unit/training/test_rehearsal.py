"""Passes before training in half precision: gradients neither vanish nor overflow, and are told at their true size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Generator, Tensor, nn

from maquette.adapters.estimate import mean_gradients
from maquette.training.rehearsal import rehearsal
from maquette.training.runtime import ON_CPU, Runtime

HALF = Runtime(torch.device("cpu"), torch.float16, torch.amp.GradScaler("cpu", init_scale=2.0**16))


@dataclass
class Batch:
    weight: Tensor
    x: Tensor


@dataclass
class Batches:
    """Two micro-batches of one example in every step."""

    def batches_at(self, step: int) -> Sequence[Batch]:
        return [Batch(torch.ones(1), torch.tensor([[float(step + 1), float(i)]])) for i in range(2)]


def loss_of(weight: nn.Parameter, size: float) -> Callable[[Batch, Generator], Tensor]:
    """A product that autocast makes in fp16; its gradient is ``size`` times the input."""
    return lambda batch, rng: nn.functional.linear(batch.x, weight).float().flatten() * size


@pytest.mark.parametrize("size", [30.0, 1.0, 1e-8])
@pytest.mark.parametrize("runtime", [ON_CPU, HALF], ids=["fp32", "fp16"])
def test_gradients_have_their_true_size(runtime: Runtime, size: float) -> None:
    weight = nn.Parameter(torch.zeros(1, 2, dtype=torch.float16 if runtime is HALF else torch.float32))
    passes = rehearsal(Batches(), loss_of(weight, size), runtime, 0)
    ((_, gradient),) = mean_gradients({"weight": weight}, passes, 3)
    # Inputs (1, 0), (1, 1) and (2, 0); 1e-8 is below all fp16 numbers, and 30 times 2^16 is above them.
    torch.testing.assert_close(gradient, size * torch.tensor([[4 / 3, 1 / 3]]), rtol=0.02, atol=0)
