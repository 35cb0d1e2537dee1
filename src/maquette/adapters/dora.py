"""DoRA without the full product: the lengths of the rows of W + s B A, from matrices of the size of the rank."""

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from jaxtyping import Float
from peft.tuners.lora import Conv2d as LoraConv2d
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.lora.variants import DoraConv2dVariant, DoraLinearVariant
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn

from maquette.adapters.beside import factors, with_update
from maquette.adapters.delta import LowRank

CHUNK = 1 << 20
"""Weight elements that are widened to fp32 at once: 4 MiB, so that a low-precision weight is never copied whole."""


class GramLinear(DoraLinearVariant):
    """peft's DoRA on linear layers, with another way to the same forward pass; merging is peft's own."""

    def __init__(self, base: nn.Module) -> None:
        self.base_square = squared_lengths(dequantize_module_weight(base))

    def forward(self, module: nn.Module, active_adapter: str, x: Tensor, result: Tensor, **_: object) -> Tensor:
        """W x + bias and x -> the layer's output with the adapter."""
        return rescaled(module, active_adapter, x, result, self.base_square)


class GramConv2d(DoraConv2dVariant):
    """peft's DoRA on convolutions, with another way to the same forward pass; merging is peft's own."""

    def __init__(self, base: nn.Module) -> None:
        self.base_square = squared_lengths(dequantize_module_weight(base))

    def forward(self, module: nn.Module, active_adapter: str, x: Tensor, result: Tensor, **_: object) -> Tensor:
        """W x + bias and x -> the layer's output with the adapter."""
        return rescaled(module, active_adapter, x, result, self.base_square)


def use_gram_norms(layer: LoraLinear | LoraConv2d, adapter: str) -> None:
    """Give a DoRA layer of peft our forward pass, and its magnitude the exact lengths of the base's rows, in fp32."""
    base = layer.get_base_layer()
    variant = GramConv2d(base) if isinstance(layer, LoraConv2d) else GramLinear(base)
    layer.lora_variant[adapter] = variant
    magnitude = layer.get_parameter(f"lora_magnitude_vector.{adapter}.weight")
    magnitude.data = variant.base_square.sqrt().reshape(magnitude.shape)


def rescaled(module: nn.Module, adapter: str, x: Tensor, result: Tensor, base_square: Float[Tensor, " out"]) -> Tensor:
    """m / |W + s B A| * (W x + s B A x) + bias, given W x + bias; the length is a constant to the gradient.

    Source: Liu et al. 2024 (arXiv 2402.09353), equation 5, and section 4.3 for the constant.
    """
    assert isinstance(module, LoraLinear | LoraConv2d)
    base = module.get_base_layer()
    assert isinstance(base, nn.Linear | nn.Conv2d)
    if module.training and not isinstance(module.lora_dropout[adapter], nn.Identity):
        # as in peft: the base's own answer stays whole, and what is rescaled is its answer to the thinned input
        x = module.lora_dropout[adapter](x)
        thinned = base(x.to(result.dtype))
        return result - thinned + rescaled_whole(module, adapter, x, thinned, base_square)
    return rescaled_whole(module, adapter, x, result, base_square)


def rescaled_whole(
    module: LoraLinear | LoraConv2d, adapter: str, x: Tensor, result: Tensor, base_square: Float[Tensor, " out"]
) -> Tensor:
    """The same without dropout."""
    base, scale = module.get_base_layer(), module.scaling[adapter]
    assert isinstance(base, nn.Linear | nn.Conv2d)
    down, up = factors(module, adapter)
    length = row_lengths(dequantize_module_weight(base), down, up, scale, base_square.to(x.device))
    ratio = module.get_parameter(f"lora_magnitude_vector.{adapter}.weight").flatten() / length
    shape = (-1,) if isinstance(base, nn.Linear) else (1, -1, 1, 1)
    total = with_update(base, x, result, LowRank(up, down, scale))
    if base.bias is None:
        return total * ratio.view(shape)
    return torch.addcmul((base.bias - base.bias * ratio).view(shape), total, ratio.view(shape))


@torch.no_grad()
def row_lengths(
    weight: Tensor, down: Tensor, up: Tensor, scale: float, base_square: Float[Tensor, " out"]
) -> Float[Tensor, " out"]:
    """Lengths of the rows of W + s B A, in fp32, in O(rank) memory per row:

    |W + s B A|^2 = |W|^2 + 2 s <W A^T, B> + s^2 <B A A^T, B>, row by row. base_square: |W|^2, which never changes.
    """
    # Shapes without a device have no autocast to switch off.
    with nullcontext() if weight.is_meta else torch.autocast(weight.device.type, enabled=False):
        down, up = down.detach().flatten(1).float(), up.detach().flatten(1).float()
        cross = torch.cat([rows @ down.T for rows in in_fp32(weight.detach().flatten(1))])
        inner = torch.addmm(cross, up, down @ down.T, beta=2, alpha=scale)
        square = base_square + scale * (inner * up).sum(1)
        return square.clamp(min=torch.finfo(torch.float32).tiny).sqrt()


@torch.no_grad()
def squared_lengths(weight: Tensor) -> Float[Tensor, " out"]:
    """Squared lengths of a weight's rows, accumulated in fp64, kept in fp32."""
    return torch.cat([rows.double().square().sum(1) for rows in in_fp32(weight.detach().flatten(1))]).float()


def in_fp32(weight: Float[Tensor, "out n"]) -> Iterator[Float[Tensor, "rows n"]]:
    """The rows of a matrix in fp32: all at once where they are already, else in chunks of bounded size."""
    if weight.dtype == torch.float32:
        yield weight
    else:
        yield from (rows.float() for rows in weight.split(max(1, CHUNK // weight.shape[1])))
