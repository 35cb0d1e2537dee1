"""What a start that is not at random costs: what a run keeps of it, what is summed up for it, and its passes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import nn

from maquette.adapters.base import Trainable
from maquette.adapters.beside import LoraLayer
from maquette.adapters.estimate import gradient_sizes, moment_sizes, sweeps
from maquette.adapters.offset import offsets, weight_of
from maquette.adapters.starts import ADAPTER, lora_layers, special_layers
from maquette.config.adapter import LowRankConfig
from maquette.config.factors import (
    Displaced,
    EvaConfig,
    GaussianConfig,
    InitConfig,
    KaimingConfig,
    LoraGaConfig,
    OloraConfig,
    PissaConfig,
)
from maquette.config.schema import RunConfig
from maquette.planning.sizes import FP32
from maquette.training.rehearsal import init_of

GRADIENT = 3
"""Forward passes that a pass with its gradients is worth: backward makes two products for each one of the forward."""


@dataclass(frozen=True, slots=True)
class StartCosts:
    """The costs of a start; all 0 and "" where it is at random.

    words: what it is, for people. kept: bytes of the starting product, which is subtracted ever after. sums: bytes on
    the training device while the start is computed. passes: as many forward passes of a micro-batch take as long.
    """

    words: str = ""
    kept: int = 0
    sums: int = 0
    passes: int = 0


def start_costs(config: RunConfig, trainable: Trainable, device: torch.device) -> StartCosts:
    """The costs of a run's start on a device; ``trainable`` may be on the meta device."""
    init = init_of(config.adapter)
    layers = special_layers(lora_layers(trainable), init)
    held = [tensor for layer in layers.values() for tensor in offsets(layer, ADAPTER).values()]
    parts = [sum(part) for part in _sums(init, layers)]
    on_device = device.type == "cpu" or isinstance(init, EvaConfig)  # gradients are summed on the CPU
    recomputed = 1 if config.training.gradient_checkpointing else 0
    match init:
        case GaussianConfig() | KaimingConfig():
            return StartCosts()
        case PissaConfig() | OloraConfig():
            words, each = "the base's weights", 0
        case LoraGaConfig(batches=batches):
            words, each = f"the gradient over {batches} micro-batches", batches * (GRADIENT + recomputed)
        case EvaConfig(batches=batches):
            words, each = f"the layers' inputs in {batches} micro-batches", batches
        case _:
            assert_never(init)
    assert isinstance(config.adapter, LowRankConfig)
    doubled = f"; files have rank {2 * config.adapter.rank}" if isinstance(init, Displaced) else ""
    return StartCosts(
        f"{init.kind}, from {words}{doubled}",
        kept=sum(tensor.nbytes for tensor in held),
        sums=FP32 * max(parts, default=0) if on_device else 0,
        passes=len(parts) * each,
    )


def _sums(init: InitConfig, layers: Mapping[str, LoraLayer]) -> list[list[int]]:
    """How many numbers each sweep over the batches sums up, layer by layer; empty where there is no sweep."""
    match init:
        case LoraGaConfig():
            sizes = gradient_sizes({name: weight_of(layer) for name, layer in layers.items()})
        case EvaConfig():
            bases = {name: layer.get_base_layer() for name, layer in layers.items()}
            sizes = moment_sizes({name: base for name, base in bases.items() if isinstance(base, nn.Linear)})
        case _:
            return []
    return [[sizes[name] for name in names] for names in sweeps(sizes)]
