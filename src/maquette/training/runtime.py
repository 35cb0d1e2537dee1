"""Where and in what precision a step runs: autocast, gradient scaling, devices."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer


@dataclass(frozen=True, slots=True)
class Runtime:
    """The precision of the forward pass. Trainable tensors stay in fp32 whatever it is.

    compute: dtype of matrix products; fp32 switches autocast off.
    scaler: loss scaling, needed by fp16 alone, whose small gradients would vanish.
    """

    device: torch.device
    compute: torch.dtype = torch.float32
    scaler: torch.amp.GradScaler | None = None

    def forward(self) -> AbstractContextManager[object]:
        """The context that a forward pass runs in."""
        if self.compute is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.compute)

    def backward(self, loss: Tensor) -> None:
        """Accumulate gradients, scaled where the precision needs it."""
        torch.autograd.backward(loss if self.scaler is None else self.scaler.scale(loss))

    def unscale(self, optimizer: Optimizer) -> None:
        """Bring accumulated gradients back to their true size, before they are clipped."""
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> None:
        """Move the parameters; with scaling, an overflowing step is skipped and the scale reduced."""
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()


ON_CPU = Runtime(torch.device("cpu"))
"""The processor, in fp32."""
