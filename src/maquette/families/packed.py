"""Frozen convolutions whose weights are kept in the order that oneDNN computes in.

torch hands oneDNN a convolution's weight as it lies, and oneDNN brings it into blocks of channels first: anew in every
forward pass, and again for the gradient to the input. Where an output has few positions, as in the lower levels of a
UNet, that takes as long as the products themselves, or several times as long (docs/speed.md). A weight that is frozen
can be brought into that order once for either pass.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from maquette.families.allocation import give_back_freed_memory

POSITIONS = 512
"""The most positions of an output, over all of a batch, at which packing pays. Source: measured, docs/speed.md."""

CHANNELS = 320
"""What the channels of input and output of a packed convolution are multiples of: those of Stable Diffusion's UNets.

With others (192, 384, 768) oneDNN wants another order at some sizes, and takes up to 100 times as long to bring a
packed weight into it. Source: measured, docs/speed.md.
"""

PRECISIONS = (torch.bfloat16,)
"""Products that gain by it: in fp32 a whole step takes as long as before, and more memory. Source: docs/speed.md."""

ONE = (1, 1)


def packing(module: nn.Module, compute: torch.dtype) -> Callable[[], AbstractContextManager[None]]:
    """A context for training passes: inside, the module's frozen convolutions use packed weights where that pays.

    compute: the dtype of products, which must be one of those that ``can_pack`` says yes to.

    Outside, every layer is what it was, and only passes inside ever see a packed weight. Whether one is used depends on
    the layer and the shape of its input alone, so that a resumed run rounds as the uninterrupted one does. To be called
    once it is settled what is frozen.
    """
    layers = [Packed(layer, compute) for layer in packable(module)]
    return partial(_within, layers) if layers else nullcontext


@contextmanager
def _within(layers: Sequence["Packed"]) -> Generator[None]:
    for packed in layers:
        packed.layer.forward = packed
    try:
        yield
    finally:
        for packed in layers:
            del packed.layer.forward


def packed_bytes(layer: nn.Conv2d) -> int:
    """Memory of a layer's weight, packed for either pass."""
    return 2 * layer.weight.nbytes


def packable(module: nn.Module) -> list[nn.Conv2d]:
    """The convolutions whose weights may be packed: frozen, 3x3, stride 1, of outputs as large as their inputs."""
    return [
        layer
        for layer in module.modules()
        if type(layer) is nn.Conv2d
        and (layer.kernel_size, layer.stride, layer.dilation, layer.groups) == ((3, 3), ONE, ONE, 1)
        and layer.padding == ONE
        and layer.padding_mode == "zeros"
        and layer.in_channels % CHANNELS == layer.out_channels % CHANNELS == 0
        and not any(param.requires_grad for param in layer.parameters())
    ]


def pays(x: Tensor) -> bool:
    """Whether a packed weight computes an input's convolution faster than a plain one."""
    return x.ndim == 4 and x.shape[0] * x.shape[2] * x.shape[3] <= POSITIONS


@dataclass(slots=True, eq=False)
class Packed:
    """A convolution with its weight packed for either pass, when that pass first needs it.

    source: the weight that was packed; another in its place, or a change to it, is packed anew.
    """

    layer: nn.Conv2d
    compute: torch.dtype
    source: Tensor | None = None
    version: int = -1
    packed: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """The layer's answer, in place of its forward, which computes what is not in one precision throughout."""
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input.dtype
        if not pays(input) or {dtype, *(param.dtype for param in self.layer.parameters())} != {self.compute}:
            return nn.Conv2d.forward(self.layer, input)
        return _Convolution.apply(input.to(dtype), self)

    def forward(self, x: Tensor) -> Tensor:
        """W * x + bias."""
        return convolve(x, self._weight("forward"), self.layer.bias)

    def backward(self, grad: Tensor) -> Tensor:
        """The gradient to the input: a convolution with the weight turned by half, its channels exchanged."""
        return convolve(grad, self._weight("backward"), None)

    def _weight(self, direction: str) -> Tensor:
        weight = self.layer.weight.detach()
        if self.source is None or self.source.data_ptr() != weight.data_ptr() or self.version != weight._version:
            self.source, self.version, self.packed = weight, weight._version, {}
        if direction not in self.packed:
            self.packed[direction] = reordered(weight if direction == "forward" else turned(weight))
            give_back_freed_memory()  # turning makes a copy
        return self.packed[direction]


def turned(weight: Float[Tensor, "d c 3 3"]) -> Float[Tensor, "c d 3 3"]:
    """The weight whose convolution is the gradient of another's to its input."""
    return weight.flip(2, 3).transpose(0, 1)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, packed: Packed) -> Tensor:  # noqa: ANN401 - autograd's own
        ctx.packed = packed
        return packed.forward(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401 - autograd's own
        [grad] = grads
        return ctx.packed.backward(grad), None


# What follows is the only place that knows of these operations, which torch has for compiled models and calls its own.

OPERATIONS = ("_reorder_convolution_weight", "_convolution_pointwise", "_is_mkldnn_bf16_supported")


def can_pack(compute: torch.dtype) -> bool:
    """Whether steps of a dtype gain by it, with oneDNN and what packs for it in this torch, on this processor."""
    if not torch.backends.mkldnn.is_available() or not all(hasattr(torch.ops.mkldnn, name) for name in OPERATIONS):
        return False
    return compute in PRECISIONS and (compute != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported())


def reordered(weight: Tensor) -> Tensor:
    """A weight in oneDNN's order, for inputs of any size; where one wants another order, oneDNN makes it anew."""
    return torch.ops.mkldnn._reorder_convolution_weight(weight, ONE, ONE, ONE, 1)


def convolve(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution with a packed weight."""
    y = torch.ops.mkldnn._convolution_pointwise(x, packed, bias, ONE, ONE, ONE, 1, "none", [], "")
    return y.contiguous() if x.is_contiguous() else y  # it comes with its channels last
