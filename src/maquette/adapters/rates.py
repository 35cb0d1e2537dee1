"""Other learning rates for one of the two factors of an update: LoRA+, and S0's adaptive rate."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from peft.tuners.lora import Conv2d as LoraConv2d
from peft.tuners.lora import Linear as LoraLinear
from torch import nn

from maquette.adapters.base import ParamGroup
from maquette.adapters.injected import Layer, own
from maquette.adapters.offset import weight_of
from maquette.config.factors import AdaptiveRatioConfig, EqualRatesConfig, FixedRatioConfig, LrRatioConfig

S0_INPUTS = (320, 640, 1024, 1280)
"""The sizes that S0's code tells apart; larger ones count as the last."""


def grouped(
    config: LrRatioConfig, group: ParamGroup, layers: Mapping[str, Layer], adapter: str = "default"
) -> list[ParamGroup]:
    """The factors of all layers in groups of equal rate: the group's own first, then the raised ones, slowest first.

    Rates that agree to six digits share a group, so that the optimizer has few. ``group`` brings the rate, the decay
    and the name; its parameters are not read.
    """
    raised = "lora_A" if isinstance(config, AdaptiveRatioConfig) and config.target == "A" else "lora_B"
    members: dict[str, list[nn.Parameter]] = {}
    for layer in layers.values():
        ratio = f"{ratio_of(config, layer, adapter):.6g}"
        for name, param in own(layer, adapter):
            members.setdefault(ratio if name.startswith(raised) else "1", []).append(param)
    plain = replace(group, params=members.pop("1", []))
    rates = sorted(members, key=float)
    return [
        *([plain] if plain.params else []),
        *(
            replace(group, name=f"{group.name} {raised[-1]} x{rate}", params=members[rate], lr=group.lr * float(rate))
            for rate in rates
        ),
    ]


def ratio_of(config: LrRatioConfig, layer: Layer, adapter: str = "default") -> float:
    """By how much the raised factor of a layer learns faster."""
    if isinstance(config, EqualRatesConfig) or not isinstance(layer, LoraLinear | LoraConv2d):
        return 1.0
    weight = weight_of(layer)
    return ratio(config, inputs=weight.numel() // weight.shape[0], rank=layer.r[adapter])


def ratio(config: LrRatioConfig, *, inputs: int, rank: int) -> float:
    """By how much the raised factor learns faster in a layer of so many inputs (for a convolution: times its kernel).

    Source: S0 section 2; Hayou et al. 2024 (arXiv 2402.12354) for the fixed ratio.
    """
    match config:
        case EqualRatesConfig():
            return 1.0
        case FixedRatioConfig(ratio=fixed):
            return fixed
        case AdaptiveRatioConfig(gamma=gamma, clamp=clamp, target=target):
            size = inputs if target == "B" else bucket(max(inputs, rank))
            raw = gamma * math.sqrt(size / rank)
            return max(1.0, raw) if clamp else raw
        case _:
            assert_never(config)


def bucket(size: int) -> int:
    """A size as S0's code counts it."""
    return next((known for known in S0_INPUTS if size <= known), S0_INPUTS[-1])
