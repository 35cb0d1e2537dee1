"""What the base does on the run's own pictures, before anything is trained: gradients and inputs of its layers.

Both are summed up as the passes produce them, for as many layers in one sweep over the batches as fit into ``BYTES``;
larger models take several. Of the gradients, which are summed on the CPU, the device never holds more than one layer's.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

BYTES = 4 << 30
"""Memory for the sums of one sweep: all attention of SDXL (955 M weights, 3.8 GB in fp32) is gone through in one."""


class Rehearse(Protocol):
    """The first micro-batches of a run, passed through the model as in training, with no optimizer step."""

    def __call__(self, batches: int, *, backward: bool) -> float:
        """Make so many passes, and backward passes; every call makes the same ones, to the bit.

        Returns what gradients are multiplied by, so that small ones do not vanish in fp16; 1 elsewhere.
        """
        ...


def mean_gradients(
    weights: Mapping[str, Tensor], rehearse: Rehearse, batches: int
) -> Generator[tuple[str, Float[Tensor, "*_"]]]:
    """The mean gradient of the loss by each weight, in fp32 on the CPU.

    The weights want a gradient only while their sweep is under way; nothing is left in them.
    """
    for names in sweeps(gradient_sizes(weights)):
        sums = {name: torch.zeros(weights[name].shape) for name in names}
        with wanting([weights[name] for name in names]):
            hooks = [weights[name].register_post_accumulate_grad_hook(taking(sums[name])) for name in names]
            with removing(hooks):
                scale = rehearse(batches, backward=True)
        for name in names:
            yield name, sums.pop(name).div_(scale * batches)


def gradient_sizes(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """How many numbers ``mean_gradients`` sums up for each weight."""
    return {name: weight.numel() for name, weight in weights.items()}


def taking(total: Tensor) -> Callable[[Tensor], None]:
    """A hook that moves a parameter's gradient into a sum as soon as it is there, and frees it."""

    def take(param: Tensor) -> None:
        assert param.grad is not None
        total.add_(param.grad.detach().to("cpu", torch.float32))
        param.grad = None

    return take


@contextmanager
def removing(hooks: Sequence[RemovableHandle]) -> Generator[None]:
    """The hooks act inside alone."""
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def wanting(params: Sequence[Tensor]) -> Generator[None]:
    """Inside, frozen parameters get gradients."""
    before = [param.requires_grad for param in params]
    for param in params:
        param.requires_grad_()
    try:
        yield
    finally:
        for param, was in zip(params, before, strict=True):
            param.requires_grad_(was)
            param.grad = None


def second_moments(
    layers: Mapping[str, nn.Linear], rehearse: Rehearse, batches: int
) -> Generator[tuple[str, Float[Tensor, "n n"]]]:
    """The sum over all inputs x of each layer of x x^T, in fp32 on its device: its eigenvectors are the right singular
    vectors of all inputs stacked."""
    for names in sweeps(moment_sizes(layers)):
        sums = {name: squared(layers[name]) for name in names}
        hooks = [layers[name].register_forward_pre_hook(seeing(sums[name])) for name in names]
        with removing(hooks):
            rehearse(batches, backward=False)
        for name in names:
            yield name, sums.pop(name)


def moment_sizes(layers: Mapping[str, nn.Linear]) -> dict[str, int]:
    """How many numbers ``second_moments`` sums up for each layer."""
    return {name: layer.in_features**2 for name, layer in layers.items()}


def squared(layer: nn.Linear) -> Float[Tensor, "n n"]:
    """An empty second moment for a layer's inputs."""
    return torch.zeros(layer.in_features, layer.in_features, device=layer.weight.device)


def seeing(total: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """A hook that adds what a layer is given to its second moment."""

    @torch.no_grad()
    def see(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        rows = given[0].detach().flatten(0, -2)
        with torch.autocast(rows.device.type, enabled=False):
            total.addmm_(rows.float().T, rows.float())

    return see


def sweeps(sizes: Mapping[str, int]) -> Iterable[list[str]]:
    """Names in their order, cut so that the fp32 numbers of each part fit into ``BYTES``; one alone may exceed it."""
    part: list[str] = []
    total = 0
    for name, size in sizes.items():
        if part and 4 * (total + size) > BYTES:
            yield part
            part, total = [], 0
        part.append(name)
        total += size
    if part:
        yield part
