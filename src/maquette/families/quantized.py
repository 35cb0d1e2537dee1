"""Frozen weights in 8 or 4 bits: linear layers that keep codes, and multiply them out for as long as they need them."""

import importlib
from types import ModuleType
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from maquette.errors import ConfigError, MissingDependencyError, first_line

M = TypeVar("M", bound=nn.Module)

Quantization = Literal["none", "int8", "nf4"]

BLOCK = 64
"""Weights that share one scale in nf4. Source: Dettmers et al. 2023 (arXiv 2305.14314), section 3."""


class QuantizedLinear(nn.Linear):
    """A frozen linear layer that holds its weight in codes with scales; to everyone who looks, it is a linear layer.

    ``weight`` is computed whenever it is read, and belongs to nobody: writing to it changes nothing. Gradients go
    through to the input, for which the backward pass computes it again rather than keep it.
    """

    # bitsandbytes has layers of its own. On a CPU they run other kernels in evaluation than in training, so that the
    # same weights give other pictures, and their int8 rounds the activations as well.

    def __init__(self, linear: nn.Linear, kind: Literal["int8", "nf4"], device: torch.device) -> None:
        nn.Module.__init__(self)  # past nn.Linear, which would make a weight
        self.in_features, self.out_features, self.kind = linear.in_features, linear.out_features, kind
        self.dtype = linear.weight.dtype
        bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().to(device), requires_grad=False)
        self.register_parameter("bias", bias)
        weight = linear.weight.detach().to(device)
        quantize = library().functional
        match kind:
            case "int8":
                codes, scales, _ = quantize.int8_vectorwise_quant(weight.half())
            case "nf4":
                codes, state = quantize.quantize_4bit(weight, blocksize=BLOCK, quant_type="nf4")
                scales = state.absmax
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)

    @property
    def weight(self) -> Float[Tensor, "out in"]:  # ty: ignore[incompatible-property-override] - computed, not kept
        """The weight as its codes say it, in the precision that the base was loaded in."""
        shape = (self.out_features, self.in_features)
        codes, scales = self.get_buffer("codes"), self.get_buffer("scales")
        multiply_out = library().functional
        if self.kind == "int8":
            return multiply_out.int8_vectorwise_dequant(codes, scales).to(self.dtype)
        state = multiply_out.QuantState(
            absmax=scales, shape=torch.Size(shape), blocksize=BLOCK, quant_type="nf4", dtype=self.dtype
        )
        return multiply_out.dequantize_4bit(codes, state)

    def forward(self, input: Float[Tensor, "*b in"]) -> Float[Tensor, "*b out"]:
        """W x + bias."""
        return _Linear.apply(input, self)


class _Linear(torch.autograd.Function):
    """A linear layer whose weight is not kept for the backward pass, which is what saves the memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: QuantizedLinear) -> Tensor:  # noqa: ANN401 - autograd's own
        ctx.layer, ctx.dtype = layer, x.dtype
        return functional.linear(x, layer.weight, layer.bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401 - autograd's own
        [grad] = grads
        return (grad @ ctx.layer.weight.to(grad.dtype)).to(ctx.dtype), None


def quantized(module: M, kind: Quantization, device: torch.device) -> M:
    """The module on the device, its linear layers quantized; one after the other, so that it never is there whole."""
    if kind != "none":
        for path, layer in list(module.named_modules()):
            if type(layer) is nn.Linear:
                module.set_submodule(path, QuantizedLinear(layer, kind, device))
    return module.to(device)


def is_quantized(module: nn.Module) -> bool:
    """Whether a module holds weights in codes, which cannot be written to."""
    return any(isinstance(layer, QuantizedLinear) for layer in module.modules())


def num_parameters(module: nn.Module) -> int:
    """Numbers that a module's weights stand for, however they are held."""
    coded = sum(
        layer.in_features * layer.out_features for layer in module.modules() if isinstance(layer, QuantizedLinear)
    )
    return coded + sum(param.numel() for param in module.parameters())


def check_quantize(kind: Quantization, device: torch.device) -> None:
    """Raise MissingDependencyError or ConfigError where weights cannot be quantized here; tried on one small layer."""
    if kind == "none":
        return
    library()
    try:
        layer = QuantizedLinear(nn.Linear(BLOCK, BLOCK, bias=False), kind, device)
        torch.isfinite(layer(torch.ones(1, BLOCK, device=device))).all().item()
    except (RuntimeError, NotImplementedError, AttributeError, ValueError) as error:
        raise ConfigError(
            f'model.quantize = "{kind}": bitsandbytes cannot do it on "{device}" ({first_line(error)}). Set '
            'model.quantize = "none", with model.precision = "bf16" to save memory, or train on a CUDA device.'
        ) from error


def library() -> ModuleType:
    """The package bitsandbytes. Raises MissingDependencyError where it is not installed."""
    try:
        return importlib.import_module("bitsandbytes")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            'model.quantize needs bitsandbytes. Install it with pip install "maquette[quant]", or set '
            'model.quantize = "none".'
        ) from error
