"""From the configuration to what is trained: adapters or whole modules, put into a loaded family."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

import torch
from peft import PeftConfig
from peft.tuners.loha.layer import LoHaLayer
from peft.tuners.lokr.layer import LoKrLayer
from peft.tuners.lora import Conv2d as LoraConv2d
from peft.tuners.lora import Linear as LoraLinear
from torch import Generator, nn

from maquette.adapters.bank import Bank, adapter_of
from maquette.adapters.base import ParamGroup
from maquette.adapters.combined import Attached, Combined
from maquette.adapters.continued import continue_from
from maquette.adapters.full import Full, unfreeze
from maquette.adapters.injected import Injected, Layer, inject
from maquette.adapters.keys import layout_of
from maquette.adapters.lora import peft_lora, start_lora
from maquette.adapters.lycoris import peft_loha, peft_lokr, start_loha, start_lokr
from maquette.adapters.offset import hold_offset, weight_of
from maquette.adapters.rates import grouped
from maquette.adapters.read import read_adapter
from maquette.adapters.starts import check_start, is_special
from maquette.adapters.targets import check_matched, leaves, matches, select
from maquette.adapters.tokens import learned_tokens
from maquette.config.adapter import (
    AdapterConfig,
    DoraConfig,
    FullConfig,
    LohaConfig,
    LokrConfig,
    LoraConfig,
    LowRankConfig,
    NoAdapterConfig,
)
from maquette.config.factors import Displaced, EqualRatesConfig
from maquette.config.schema import RunConfig
from maquette.errors import ModelError
from maquette.families.base import Family


def attach(config: RunConfig, family: Family, *, steps: int, weight_decay: float, rng: Generator) -> Attached | Bank:
    """Freeze the family but for what the run trains, and make that ready to train: in fp32, at its starting values.

    steps: length of the run in optimiser steps, of which text_encoder.stop and tokens.stop take their share. New tokens
    must be in the family already (``tokens.grown``). rng: a CPU generator for the starting values, drawn layer by
    layer; those that come from weights or pictures follow by ``starts.start``.
    Raises ConfigError for patterns that match nothing or a start_from of
    another shape, ModelError where the base lacks what is to be trained.
    """
    for module in family.modules.values():
        module.requires_grad_(requires_grad=False)
    if config.is_bank:  # each concept's adapter starts as it would in a run of its own
        streams = [Generator().manual_seed(rng.initial_seed()) for _ in config.concepts]
        parts = [adapters(config, family, steps, weight_decay, own, k) for k, own in enumerate(streams)]
        bank = Bank([Combined(part) if len(part) > 1 else part[0] for part in parts])
        bank.use([])
        return bank
    parts = adapters(config, family, steps, weight_decay, rng)
    if config.tokens is not None:
        halt_at, retraction = config.tokens_halt(steps), config.tokens.retraction
        rates = {"lr": config.tokens_lr, "weight_decay": config.tokens_decay}
        parts += learned_tokens(family, **rates, halt_at=halt_at, retraction=retraction)
    trainable = Combined(parts) if len(parts) > 1 else parts[0]
    if isinstance(config.adapter, LowRankConfig) and config.adapter.start_from is not None:
        continue_from(trainable, read_adapter(config.adapter.start_from, layout_of(family.modules)).delta)
    return trainable


def adapters(
    config: RunConfig, family: Family, steps: int, weight_decay: float, rng: Generator, concept: int | None = None
) -> list[Attached]:
    """What is trained of the denoiser and of the text encoders; in a bank, of one concept."""
    adapter = "default" if concept is None else adapter_of(concept)
    called = "" if concept is None else f"{config.concepts[concept].trigger} "
    plain = ParamGroup(f"{called}denoiser", (), config.denoiser_lr, weight_decay)
    group = plain if concept is None else replace(plain, clip=adapter)
    parts = denoiser_parts(config.adapter, family.modules["denoiser"], group, rng, adapter)
    text = config.text_encoder
    halt_at = config.text_encoder_halt(steps)
    for name, module in text_encoders(family, needed=text.train != "none").items():
        own = replace(group, name=f"{called}{name}", lr=config.text_encoder_lr, halt_at=halt_at)
        match text.train:
            case "none":
                pass
            case "full":
                parts.append(full(name, module, own))
            case "lora":
                parts.append(text_part(config, name, module, own, rng, adapter))
            case _:
                assert_never(text.train)
    return parts


def text_encoders(family: Family, *, needed: bool) -> Mapping[str, nn.Module]:
    """The family's text encoders, by name. Raises ModelError where it has none and they are needed."""
    found = {name: module for name, module in family.modules.items() if name.startswith("text_encoder")}
    if needed and not found:
        raise ModelError(
            f'text_encoder.train asks for the text encoder, but the base (family "{family.name}") was loaded without '
            f'one; it has {", ".join(family.modules)}. Set text_encoder.train = "none", or load the whole base.'
        )
    return found


def denoiser_parts(
    config: AdapterConfig, module: nn.Module, group: ParamGroup, rng: Generator, adapter: str = "default"
) -> list[Attached]:
    """What is trained of the denoiser: one thing, or nothing."""
    match config:
        case LoraConfig() | DoraConfig() | LohaConfig() | LokrConfig():
            ranks = layer_ranks(config, module)
            return [low_rank(config, "denoiser", module, ranks, scales_of(config, ranks), group, rng, adapter)]
        case FullConfig():
            return [full("denoiser", module, group)]
        case NoAdapterConfig():
            return []
        case _:
            assert_never(config)


def text_part(
    config: RunConfig, name: str, module: nn.Module, group: ParamGroup, rng: Generator, adapter: str = "default"
) -> Injected:
    """An update of the adapter's kind on the attention of one text encoder."""
    assert isinstance(config.adapter, LowRankConfig)  # others are refused by the configuration
    alpha = {"rank": config.text_encoder_rank, "lora_alpha": config.text_encoder_alpha}
    own = config.adapter.model_copy(update=alpha)
    ranks = text_ranks(config, module)
    return low_rank(own, name, module, ranks, scales_of(own, ranks), group, rng, adapter)


def text_ranks(config: RunConfig, module: nn.Module) -> dict[str, int]:
    """Rank of each targeted layer of a text encoder. Raises ConfigError as ``layer_ranks``."""
    assert isinstance(config.adapter, LowRankConfig)
    targets = config.text_encoder.targets or "attention"
    ranks = dict.fromkeys(select(module, targets, key="text_encoder.targets"), config.text_encoder_rank)
    check_ranks(config.adapter, module, ranks)
    return ranks


def full(name: str, module: nn.Module, group: ParamGroup) -> Full:
    """All parameters of a module, in the group's terms."""
    params = unfreeze(module)
    return Full(name, params, filled(group, list(params.values())))


def low_rank(
    config: LowRankConfig,
    name: str,
    module: nn.Module,
    ranks: Mapping[str, int],
    scales: Mapping[str, float],
    group: ParamGroup,
    rng: Generator,
    adapter: str = "default",
) -> Injected:
    """Inject an adapter and give its factors their starting values. adapter: what the layers call it."""
    layers = inject(module, peft_config(config, ranks), scales, adapter)
    for layer in layers.values():
        start(config, layer, rng, adapter)
    ratio = config.lr_ratio if isinstance(config, LoraConfig | DoraConfig) else EqualRatesConfig()
    return Injected(name, layers, grouped(ratio, group, layers, adapter), adapter)


def filled(group: ParamGroup, params: list[nn.Parameter]) -> ParamGroup:
    """The group with its parameters."""
    return replace(group, params=params)


def peft_config(config: LowRankConfig, ranks: Mapping[str, int]) -> PeftConfig:
    """What peft is asked to build."""
    match config:
        case LoraConfig():
            return peft_lora(ranks, dropout=config.dropout)
        case DoraConfig():
            return peft_lora(ranks, dora=True, dropout=config.dropout)
        case LohaConfig():
            return peft_loha(ranks, dropout=config.dropout)
        case LokrConfig():
            kron = {"factor": config.factor, "decompose_both": config.decompose_both}
            return peft_lokr(ranks, dropout=config.dropout, **kron)
        case _:
            assert_never(config)


def start(config: LowRankConfig, layer: Layer, rng: Generator, adapter: str = "default") -> None:
    """Give one layer the starting values of its kind; all kinds start as the base."""
    match config:
        case LoraConfig() | DoraConfig():
            assert isinstance(layer, LoraLinear | LoraConv2d)
            start_lora(layer, adapter, config.init, rng)
            if isinstance(config.init, Displaced) and is_special(config.init, weight_of(layer), layer.r[adapter]):
                hold_offset(layer, adapter)
        case LohaConfig():
            assert isinstance(layer, LoHaLayer)
            start_loha(layer, adapter, rng)
        case LokrConfig():
            assert isinstance(layer, LoKrLayer)
            start_lokr(layer, adapter, rng)
        case _:
            assert_never(config)


def layer_ranks(config: LowRankConfig, module: nn.Module) -> dict[str, int]:
    """Rank of each targeted layer; where several patterns of ``rank_pattern`` match one, the last of them counts.

    Raises ConfigError for patterns that match nothing, and for ranks that adapter.init cannot start.
    """
    paths = select(module, config.targets, config.blocks)
    check_matched(list(config.rank_pattern), paths, "adapter.rank_pattern")
    ranks = dict.fromkeys(paths, config.rank)
    for pattern, rank in config.rank_pattern.items():
        ranks |= {path: rank for path in paths if matches(pattern, path)}
    check_ranks(config, module, ranks)
    return ranks


def check_ranks(config: LowRankConfig, module: nn.Module, ranks: Mapping[str, int]) -> None:
    """Raise ConfigError where a layer is too narrow for how it should start."""
    if isinstance(config, LoraConfig | DoraConfig):
        known = leaves(module)
        check_start(config.init, {path: known[path].weight for path in ranks}, ranks)


def scales_of(config: LowRankConfig, ranks: Mapping[str, int]) -> dict[str, float]:
    """Scale of each layer's update.

    lora_alpha / rank for every layer, also those that ``rank_pattern`` gives another rank; with rslora, lora_alpha over
    the root of each layer's own rank. Rounded so that alpha = scale * rank is a number that files hold exactly: what is
    read back then is what was trained, to the last bit.
    """
    rslora = isinstance(config, LoraConfig | DoraConfig) and config.rslora
    plain = config.lora_alpha / config.rank
    scales = {path: config.lora_alpha / math.sqrt(rank) if rslora else plain for path, rank in ranks.items()}
    return {path: torch.tensor(scale * ranks[path]).item() / ranks[path] for path, scale in scales.items()}
