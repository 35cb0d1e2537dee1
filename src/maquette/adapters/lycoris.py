"""LoHa and LoKr layers: what peft is asked to build, and how their factors start."""

import math
from collections.abc import Mapping

import torch
from peft import LoHaConfig as PeftLoha
from peft import LoKrConfig as PeftLokr
from peft.tuners.loha.layer import LoHaLayer
from peft.tuners.lokr.layer import LoKrLayer
from torch import Generator, nn

from maquette.adapters.lora import any_of, rank_patterns


def peft_loha(ranks: Mapping[str, int], *, dropout: float = 0.0) -> PeftLoha:
    """peft's configuration for exactly these layers. dropout: share of the rows of each update that is dropped."""
    common = max(set(ranks.values()), key=list(ranks.values()).count)
    return PeftLoha(
        r=common,
        alpha=common,
        target_modules=any_of(list(ranks)),
        rank_pattern=rank_patterns(ranks, common),
        rank_dropout=dropout,
    )


def peft_lokr(
    ranks: Mapping[str, int], *, factor: int = -1, decompose_both: bool = False, dropout: float = 0.0
) -> PeftLokr:
    """peft's configuration for exactly these layers. dropout: share of the rows of each update that is dropped.

    factor: size of the left factor where it divides the layer's sizes; -1 splits them as evenly as they go.
    """
    common = max(set(ranks.values()), key=list(ranks.values()).count)
    return PeftLokr(
        r=common,
        alpha=common,
        target_modules=any_of(list(ranks)),
        rank_pattern=rank_patterns(ranks, common),
        rank_dropout=dropout,
        rank_dropout_scale=True,
        decompose_factor=factor,
        decompose_both=decompose_both,
    )


def start_loha(layer: LoHaLayer, adapter: str, rng: Generator) -> None:
    """Draw the factors from ``rng``; the one that starts at zero makes the layer start as the base.

    peft starts the first product a hundred times smaller, so that at a rate meant for LoRA nothing is learnt.
    Source: LyCORIS (standard deviations 0.1 and 1, second a zero).
    """
    draw_normal(layer.hada_w1_a[adapter], 0.1, rng)
    draw_normal(layer.hada_w1_b[adapter], 1.0, rng)
    draw_normal(layer.hada_w2_b[adapter], 1.0, rng)
    nn.init.zeros_(layer.hada_w2_a[adapter])


def start_lokr(layer: LoKrLayer, adapter: str, rng: Generator) -> None:
    """Draw the factors from ``rng``; the right one starts at zero, which makes the layer start as the base.

    Source: LyCORIS (kaiming-uniform, right factor or its b zero).
    """
    for factor in (layer.lokr_w1, layer.lokr_w1_a, layer.lokr_w1_b, layer.lokr_w2_a):
        if adapter in factor:
            drawn = nn.init.kaiming_uniform_(torch.empty(factor[adapter].shape), a=math.sqrt(5), generator=rng)
            factor[adapter].data.copy_(drawn)
    nn.init.zeros_(layer.lokr_w2[adapter] if adapter in layer.lokr_w2 else layer.lokr_w2_b[adapter])


def draw_normal(param: nn.Parameter, std: float, rng: Generator) -> None:
    """Fill a parameter on any device from a CPU generator."""
    param.data.copy_(nn.init.normal_(torch.empty(param.shape), std=std, generator=rng))
