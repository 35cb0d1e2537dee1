"""LoRA that starts away from 0 and yet as the base: its starting product is subtracted for good, beside the base.

    y = W x + s (B A - B0 A0) x

LoRA-GA, PiSSA and OLoRA are published as a change of the base, W - s B0 A0. Kept apart, the base needs no rounding to
its own precision, no second copy and no place in any file: what is exported is the change itself, of twice the rank.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from peft.tuners.lora import Conv2d as LoraConv2d
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn

from maquette.adapters.beside import Beside, LoraLayer, factors
from maquette.adapters.delta import LowRank


class Offset(Beside):
    """peft's LoRA with its starting product subtracted; ``down`` and ``up`` are the factors at the start.

    Computed as the exported adapter of twice the rank is, so that its pictures are those of training to the bit.
    """

    def __init__(self, down: Float[Tensor, "r in *_"], up: Float[Tensor, "out r *_"]) -> None:
        self.down = down
        self.up = up

    def update(self, module: LoraLayer, adapter: str) -> LowRank:
        """s [B, -B0] [A; A0]."""
        return difference(module, adapter)


def hold_offset(layer: LoraLayer, adapter: str) -> None:
    """Subtract from now on what the layer's factors are now."""
    down, up = factors(layer, adapter)
    layer.lora_variant[adapter] = Offset(down.detach().clone(), up.detach().clone())


def difference(layer: LoraLayer, adapter: str) -> LowRank:
    """The layer's update; with an offset, s [B, -B0] [A; A0] of twice the rank."""
    (down, up), scale = factors(layer, adapter), float(layer.scaling[adapter])
    variant = layer.lora_variant.get(adapter)
    if not isinstance(variant, Offset):
        return LowRank(up, down, scale)
    return LowRank(torch.cat([up, -variant.up], dim=1), torch.cat([down, variant.down]), scale)


def weight_of(layer: LoraLayer) -> Tensor:
    """The base's weight in a layer; a parameter, unless it is held in codes."""
    base = layer.get_base_layer()
    assert isinstance(base, nn.Linear | nn.Conv2d)
    return base.weight


def offsets(layer: nn.Module, adapter: str) -> Mapping[str, Tensor]:
    """The tensors that a checkpoint must hold beside the parameters, by name; none without an offset."""
    variant = layer.lora_variant.get(adapter) if isinstance(layer, LoraLinear | LoraConv2d) else None
    return {"start_A.weight": variant.down, "start_B.weight": variant.up} if isinstance(variant, Offset) else {}
