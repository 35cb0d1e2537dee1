"""Where and in what precision a step runs: autocast, gradient scaling, devices, processes."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import psutil
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from maquette.training.processes import ALONE, Processes


@dataclass(frozen=True, slots=True)
class Runtime:
    """The precision of the forward pass. Trainable tensors stay in fp32 whatever it is.

    compute: dtype of matrix products; fp32 switches autocast off.
    scaler: loss scaling, needed by fp16 alone, whose small gradients would vanish.
    processes: who shares the micro-batches of a step.
    passes: what forward and backward of a micro-batch run in (`families.packed`).
    """

    device: torch.device
    compute: torch.dtype = torch.float32
    scaler: torch.amp.GradScaler | None = None
    processes: Processes = ALONE
    passes: Callable[[], AbstractContextManager[object]] = nullcontext

    def forward(self) -> AbstractContextManager[object]:
        """The context that a forward pass runs in."""
        if self.compute is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.compute)

    def backward(self, loss: Tensor) -> None:
        """Accumulate gradients, scaled where the precision needs it."""
        torch.autograd.backward(loss if self.scaler is None else self.scaler.scale(loss))

    def gathered(self, params: Sequence[nn.Parameter], loss: Tensor, images: int) -> tuple[Tensor, int]:
        """Add up gradients, loss and number of pictures over all processes; alone, they are whole already.

        A parameter without a gradient in one process gets the others'; without one in any, it has none.
        """
        if self.processes.count == 1:
            return loss, images
        moved = [param.grad is not None for param in params]
        told = self.processes.meet(images, int.from_bytes(hashlib.sha256(bytes(moved)).digest()[:7]))
        if len({pattern for _, pattern in told}) > 1:
            moved = self.processes.any_of(moved)
        for param, is_moved in zip(params, moved, strict=True):
            if is_moved and param.grad is None:
                param.grad = torch.zeros_like(param)
        loss = loss.clone()
        self.processes.add([*(param.grad for param in params if param.grad is not None), loss])
        return loss, sum(count for count, _ in told)

    def unscale(self, optimizer: Optimizer) -> None:
        """Bring accumulated gradients back to their true size, before they are clipped."""
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> bool:
        """Move the parameters; with scaling, an overflowing step is skipped and the scale reduced.

        Returns whether they moved.
        """
        if self.scaler is None:
            optimizer.step()
            return True
        scale = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        return self.scaler.get_scale() >= scale


ON_CPU = Runtime(torch.device("cpu"))
"""The processor, in fp32."""


def memory_in_use(device: torch.device) -> int:
    """The most memory of a GPU that was in use, or what the process has of the machine's, in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return psutil.Process().memory_info().rss
