"""Averages of what is trained, and holding them in the model's parameters for a while."""

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from maquette.adapters.base import ParamGroup
from maquette.adapters.state import restore
from maquette.training.checkpoint import Piece


class Ema:
    """A running average of every parameter of these groups, in which a weight counts half after ``half_life_images``.

    It holds only what training has visited, not the start: early averages are divided by the weight they have gathered.
    Source: Karras et al. 2022 (arXiv 2206.00364) for the half-life in images; Kingma and Ba 2014 (arXiv 1412.6980),
    section 3, for the division.
    """

    __slots__ = ("averages", "half_life_images", "params")

    def __init__(self, groups: Sequence[ParamGroup], half_life_images: float) -> None:
        self.params: dict[str, nn.Parameter] = {
            f"{group.name}.{i}": param for group in groups for i, param in enumerate(group.params)
        }
        self.half_life_images = half_life_images
        self.averages: dict[str, Tensor] = {name: param.detach().clone() for name, param in self.params.items()}

    @torch.no_grad()
    def update(self, images: int, images_seen: int) -> None:
        """Take in the parameters after a step of ``images`` pictures, the run having seen ``images_seen`` with them."""
        share = self._faded(images) / self._faded(images_seen)
        for name, param in self.params.items():
            self.averages[name].lerp_(param, share)

    @contextmanager
    def applied(self) -> Generator[None]:
        """Inside, the parameters hold their averages; afterwards they are what they were, to the bit."""
        with restored(list(self.params.values())):
            with torch.no_grad():
                for name, param in self.params.items():
                    param.copy_(self.averages[name])
            yield

    def state(self) -> Piece:
        """What a checkpoint must hold of it."""
        return Piece(self.averages)

    def load(self, piece: Piece) -> None:
        """Take the averages of a checkpoint. Raises CheckpointError where they are of other parameters."""
        restore(self.averages, piece.tensors)

    def _faded(self, images: int) -> float:
        """How much of a weight is gone after so many pictures."""
        return -math.expm1(-math.log(2) * images / self.half_life_images)


@contextmanager
def restored(params: Sequence[Tensor]) -> Generator[None]:
    """Let the block change parameters, and give them back afterwards exactly as they were."""
    before = [param.detach().clone() for param in params]
    try:
        yield
    finally:
        with torch.no_grad():
            for param, value in zip(params, before, strict=True):
                param.copy_(value)


@runtime_checkable
class _TwoMode(Protocol):
    """An optimizer whose parameters are one thing while training and another when they are used."""

    def train(self) -> None: ...
    def eval(self) -> None: ...


@contextmanager
def ready_to_use(optimizer: Optimizer) -> Generator[None]:
    """Inside, a schedule-free optimizer's parameters are the averages that it trains for; other optimizers' stay.

    Its own way back, an interpolation, loses the last bits; here the parameters come back unchanged.
    """
    if not isinstance(optimizer, _TwoMode):
        yield
        return
    with restored([param for group in optimizer.param_groups for param in group["params"]]):
        optimizer.eval()
        try:
            yield
        finally:
            optimizer.train()
