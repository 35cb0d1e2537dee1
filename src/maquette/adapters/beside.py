"""The forward pass of low-rank layers: the base's answer and the update's, added in one product.

peft's own pass widens a low-precision input to the factors' fp32, writes the update out in full, scales it and adds it:
four tensors of the size of the layer's output, where one is enough.
"""

import torch
from peft.tuners.lora import Conv2d as LoraConv2d
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.lora.layer import LoraLayer as PeftLayer
from peft.tuners.lora.layer import LoraVariant
from torch import Tensor, nn
from torch.nn import functional

from maquette.adapters.delta import LowRank

LoraLayer = LoraLinear | LoraConv2d


class Beside(LoraVariant):
    """peft's LoRA, added to the base's answer by `with_update`."""

    def update(self, module: LoraLayer, adapter: str) -> LowRank:
        """What is added to the base's weight."""
        down, up = factors(module, adapter)
        return LowRank(up, down, float(module.scaling[adapter]))

    def forward(self, module: PeftLayer, active_adapter: str, x: Tensor, result: Tensor, **kwargs: object) -> Tensor:
        """W x + bias and x -> the layer's output with the adapter. Dropout thins what the update sees, not the base."""
        del kwargs
        assert isinstance(module, LoraLinear | LoraConv2d)
        x = module.lora_dropout[active_adapter](x)
        return with_update(module.get_base_layer(), x, result, self.update(module, active_adapter))

    def merge_unsafe(self, module: PeftLayer, active_adapter: str, orig_weight: Tensor) -> None:
        """Not done here, and refused because peft would take silence for success."""
        raise NotImplementedError("maquette.adapters.worn.fuse adds adapters to a base's weights, with one rounding.")


def with_update(base: nn.Module, x: Tensor, result: Tensor, update: LowRank) -> Tensor:
    """The base's answer to x, and the update's: result + s B A x, in the precision of x.

    The scale is put on what has the rank's few channels, so that neither pass makes another tensor of full size.
    """
    down, up = update.down.to(x.dtype), update.up.to(x.dtype)
    if not isinstance(base, nn.Conv2d):
        inner = functional.linear(x, down).flatten(0, -2)
        return torch.addmm(result.flatten(0, -2), inner, up.t(), alpha=update.scale).view(result.shape)
    assert not isinstance(base.padding, str)
    inner = functional.conv2d(x, down, None, base.stride, base.padding, base.dilation)
    return result + functional.conv2d(update.scale * inner, up)


def factors(layer: LoraLayer, adapter: str) -> tuple[nn.Parameter, nn.Parameter]:
    """The down and the up matrix."""
    return layer.get_parameter(f"lora_A.{adapter}.weight"), layer.get_parameter(f"lora_B.{adapter}.weight")
