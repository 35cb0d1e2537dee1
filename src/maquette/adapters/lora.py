"""LoRA, DoRA and rsLoRA layers: what peft is asked to build, and how their factors start."""

import math
from collections.abc import Mapping

import torch
from peft import LoraConfig as PeftLora
from torch import Generator, nn

from maquette.config.factors import InitConfig, KaimingConfig


def peft_lora(ranks: Mapping[str, int], *, dora: bool = False, dropout: float = 0.0) -> PeftLora:
    """peft's configuration for exactly these layers, each of its own rank; scales are set on the layers afterwards."""
    common = max(set(ranks.values()), key=list(ranks.values()).count)
    return PeftLora(
        r=common,
        lora_alpha=common,
        target_modules=any_of(list(ranks)),
        rank_pattern=rank_patterns(ranks, common),
        lora_dropout=dropout,
        use_dora=dora,
    )


def any_of(paths: list[str]) -> str:
    """A regular expression that matches these module paths and nothing else."""
    return f"(?:{'|'.join(path.replace('.', '[.]') for path in paths)})"


def rank_patterns(ranks: Mapping[str, int], common: int) -> dict[str, int]:
    """peft's rank_pattern for the layers of another rank than the common one: a single pattern for each rank."""
    others = sorted(set(ranks.values()) - {common})
    return {any_of([path for path, rank in ranks.items() if rank == other]): other for other in others}


def start_lora(layer: nn.Module, adapter: str, init: InitConfig, rng: Generator) -> None:
    """Draw the down matrix from ``rng`` and zero the up matrix, so that the layer starts as the base.

    kaiming: uniform within 1 / sqrt(inputs), the default of a torch layer. All other starts are N(0, 1/rank^2) until
    ``starts.start`` gives them their own values.
    """
    matrix = layer.get_parameter(f"lora_A.{adapter}.weight")
    down = torch.empty(matrix.shape)
    if isinstance(init, KaimingConfig):
        nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=rng)
    else:
        nn.init.normal_(down, std=1 / down.shape[0], generator=rng)
    matrix.data.copy_(down)
    nn.init.zeros_(layer.get_parameter(f"lora_B.{adapter}.weight"))
